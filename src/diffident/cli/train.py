"""``diffident train``: learn and calibrate; ready to score."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from . import _show

if TYPE_CHECKING:
    from ..detector import Detector
    from ..learning import Outcome


@click.command("train", short_help="Learn from known-good items and calibrate on those held out.")
@click.argument("items", type=click.Path())
@click.option("-o", "--out", required=True, type=click.Path(), help="The folder to write.")
@click.option("--recipe", default="reconstruction", show_default=True, help="How items are asked about; see 'diffident list recipes'.")
@click.option("--network", default="unet", show_default=True, help="What is learned: unet, mlp, or none, which keeps the items and is ready at once.")
@click.option("--space", default="pixels", show_default=True, help="Where the diffusion lives, unless the recipe says it; see 'diffident list spaces'.")
@click.option("--images-seen", type=int, default=50_000, show_default=True, help="Items shown to the network in all, each as often as it is shown.")
@click.option("--width", type=int, default=64, show_default=True, help="Channels of the network on its finest grid, a multiple of 32.")
@click.option("--batch", type=int, default=64, show_default=True, help="Items a step.")
@click.option("--rate", type=float, default=0.04, show_default=True, help="Of learning, at its highest.")
@click.option("--every", type=float, default=30.0, show_default=True, help="Seconds between checkpoints: what an interruption may cost.")
@_show.PRECISION
@click.option(
    "--size", default=None, metavar="N|HxW", help="Height and width to which items are brought. Default: their own if all are alike and at most 64, else 64."
)
@click.option("--tile", type=int, default=None, help="Judge large pictures at their own size, in tiles of so many pixels a side, such as 256.")
@click.option("--channels", type=click.Choice(["1", "3"]), default=None, help="Default: what the items have.")
@click.option("--share", type=float, default=0.25, show_default=True, help="Of the items, held out to calibrate; at least 99 where that is at most half.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the split, and of all that is random in learning.")
@click.option("--keep", type=click.IntRange(min=0), default=64, show_default=True, help="How many known-good pictures stay in the folder, to look at.")
@click.option("--flag", type=float, default=None, help="Flag at p-values up to this. Default: the strictest of .01, .02, .05 within reach.")
@click.option("--abstain", type=float, default=None, help="Abstain above --flag and up to this.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def command(
    items: str,
    out: str,
    recipe: str,
    network: str,
    space: str,
    images_seen: int,
    width: int,
    batch: int,
    rate: float,
    every: float,
    precision: str,
    size: str | None,
    tile: int | None,
    channels: str | None,
    share: float,
    seed: int,
    keep: int,
    flag: float | None,
    abstain: float | None,
    as_json: bool,
) -> None:
    """Learn what is ordinary from the known-good ITEMS (a folder, or one file) and write a detector that is ready to score.

    The items are split by content: one part is learned from, the other calibrates the decisions. Items that cannot be
    read, and copies of others, are left out and named.

    Interrupted, by Ctrl-C or a power cut, the same command goes on where it last wrote: checkpoints lie in OUT.training
    until OUT is whole. Under torchrun all processes share the work.
    """
    wanted = _show.size(size)

    from ..folder import writable
    from ..learning import Training, learn, write
    from ..optimise import leads
    from ..verdict import Policy

    policy, deep = Policy(flag, abstain), int(channels) if channels else None
    how = Training(network, wanted, deep, share, seed, "image", keep, space, images_seen, width, batch, rate, every, precision, tile=tile)
    target = writable(out)
    with _show.Interruption() as stop:
        learned = learn(items, recipe, how, policy, target.name, _show.stoppable(stop), target)
    write(learned, target)
    if leads():
        _show.left_out(learned.left_out)
        _tell(learned, out, as_json)


def _tell(learned: Outcome, out: str, as_json: bool) -> None:
    """What was learned and what is promised, for people or machines."""
    detector, loss = learned.detector, learned.held_out_loss
    facts = {"trained": len(detector.model.seen), "held_out_loss": loss, **_show.calibrated(detector, out, len(learned.left_out))}
    lines = [
        f"learned from {facts['trained']} items, calibrated on {facts['references']}, written to {out}",
        *_resized(detector),
        *([] if loss is None else [f"held-out loss {loss:.4f}; about 1 would be no better than a Gaussian"]),
        facts["promise"],
        f"next: diffident score {out} ITEMS -o scores.csv",
    ]
    _show.summary(facts, as_json, lines)


def _resized(detector: Detector) -> list[str]:
    """A line when pictures are brought to another size: what is smaller than a pixel then is lost."""
    sizes = {(int(vitals["height"]), int(vitals["width"])) for vitals in detector.calibrated.references.vitals}
    if detector.model.tiles is not None:
        return []
    height, width = detector.model.modality.shape[1:]
    if sizes == {(height, width)}:
        return []
    had = "{}x{}".format(*sizes.pop()) if len(sizes) == 1 else f"{len(sizes)} different sizes"
    return [f"pictures of {had} are brought to {height}x{width}; --size keeps more detail"]
