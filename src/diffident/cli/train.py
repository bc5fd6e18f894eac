"""``diffident train``: learn and calibrate; ready to score."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from . import _show

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ..detector import Detector
    from ..learning import Outcome


@click.command("train", short_help="Learn from known-good items and calibrate on those held out.")
@click.argument("items", type=click.Path())
@click.option("-o", "--out", required=True, type=click.Path(), help="The folder to write; an earlier model there is replaced, once the new one is whole.")
@click.option("--recipe", default=None, help="How items are asked about; see 'diffident list recipes'. Default: inspection; with --network reconstruction.")
@click.option("--network", default=None, help="What is learned: unet, mlp; or at once positions, patches, pca, none. Default: what the recipe wants.")
@click.option("--space", default="pixels", show_default=True, help="Where the diffusion lives, unless the recipe says it; see 'diffident list spaces'.")
@click.option(
    "--features", default=None, metavar="NAME|FILE", help="Of which network: mobilenet_v2, timm:NAME, a file of weights, or own. Default: the recipe's."
)
@click.option("--vary", multiple=True, help="Learn known-good items once more, changed: mirror, upside-down, half-turn, auto or none. Default: the recipe's.")
@click.option("--images-seen", type=int, default=50_000, show_default=True, help="Items shown to the network in all, each as often as it is shown.")
@click.option("--width", type=int, default=64, show_default=True, help="Channels of the network on its finest grid, a multiple of 32.")
@click.option("--batch", type=int, default=64, show_default=True, help="Items a step.")
@click.option("--rate", type=float, default=0.04, show_default=True, help="Of learning, at its highest.")
@click.option("--every", type=float, default=30.0, show_default=True, help="Seconds between checkpoints: what an interruption may cost.")
@click.option(
    "--prepare",
    multiple=True,
    metavar="NAME",
    help="Done to items first: equalise, photometry, registration, or auto; may be repeated. Default: the recipe's.",
)
@_show.KINDS
@_show.PRECISION
@click.option(
    "--size", default=None, metavar="N|HxW", help="Height and width to which items are brought. Default: their own, but no more than the space can use."
)
@click.option("--tile", type=int, default=None, help="Judge large pictures at their own size, in tiles of so many pixels a side, such as 256.")
@click.option("--channels", type=click.Choice(["1", "3"]), default=None, help="Default: what the items have.")
@click.option("--share", type=float, default=0.25, show_default=True, help="Of the items, held out to calibrate; at least 99 where that is at most half.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the split, and of all that is random in learning.")
@click.option("--keep", type=click.IntRange(min=0), default=64, show_default=True, help="How many known-good pictures stay in the folder, to look at.")
@click.option("--flag", type=float, default=None, help="Flag at p-values up to this. Default: the strictest of .01, .02, .05 within reach.")
@click.option("--abstain", type=float, default=None, help="Abstain above --flag and up to this.")
@_show.DEPTH
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def command(
    items: str,
    out: str,
    recipe: str | None,
    network: str | None,
    space: str,
    features: str | None,
    vary: tuple[str, ...],
    images_seen: int,
    width: int,
    batch: int,
    rate: float,
    every: float,
    prepare: tuple[str, ...],
    kinds: str | None,
    precision: str,
    size: str | None,
    tile: int | None,
    channels: str | None,
    share: float,
    seed: int,
    keep: int,
    flag: float | None,
    abstain: float | None,
    depth: float | None,
    as_json: bool,
) -> None:
    """Learn what is ordinary from the known-good ITEMS (a folder, or one file) and write a detector that is ready to score.

    The items are split by content: one part is learned from, the other calibrates the decisions. Items that cannot be
    read, and copies of others, are left out and named. With --kinds folder one model learns parts of several kinds,
    ITEMS/KIND/*.png, and promises its rate of false alarms for each of them.

    Interrupted, by Ctrl-C or a power cut, the same command goes on where it last wrote: checkpoints lie in OUT.training
    until OUT is whole. Under torchrun all processes share the work.
    """
    wanted = _show.size(size)

    from dataclasses import replace

    from ..folder import writable
    from ..learning import learn, write
    from ..settings import Training, suited
    from ..verdict import Policy

    sized, varied = int(channels) if channels else None, tuple(name for name in vary if name != "none") if vary else None
    how = Training(network, wanted, sized, share, seed, "image", keep, space, images_seen, width, batch, rate, every, precision)
    how = replace(how, prepare=prepare or None, vary=varied, features=features, kinds=kinds or "", tile=tile)
    policy, target = Policy(flag, abstain, depth or 0.0), writable(out)
    earlier = _earlier(target)
    with _show.Interruption() as stop:
        learned = learn(items, suited(recipe, network, tile), how, policy, target.name, _show.stoppable(stop), target)
    write(learned, target)
    _tell(learned, out, as_json, [*earlier, *([] if kinds else _show.folders(items))])


def _earlier(target: Path) -> list[str]:
    """What is said of a finished model that is replaced, from its manifest; nothing where there is none."""
    import json

    from ..folder import MANIFEST

    if not (target / MANIFEST).is_file():
        return []
    try:
        facts = json.loads((target / MANIFEST).read_text("utf-8"))
        made, count = facts["model"]["notes"].get("made", "an unknown date"), facts.get("detector", {}).get("references", 0)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return [f"replaced: a model in {target} whose manifest could not be read"]
    return [f"replaced: the model in {target}, made on {made} and calibrated on {count} items"]


def _tell(learned: Outcome, out: str, as_json: bool, beside: Sequence[str]) -> None:
    """What was learned and what is promised, for people or machines, and lines for standard error; of several processes the first one tells."""
    from ..optimise import leads

    if not leads():
        return
    _show.left_out(learned.left_out)
    for line in beside:
        click.echo(line, err=True)
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
