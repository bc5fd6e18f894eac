"""``diffident train``: learn and calibrate; ready to score."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from . import _show

if TYPE_CHECKING:
    from ..detector import Detector


@click.command("train", short_help="Learn from known-good items and calibrate on those held out.")
@click.argument("items", type=click.Path())
@click.option("-o", "--out", required=True, type=click.Path(), help="The folder to write.")
@click.option("--recipe", default="reconstruction", show_default=True, help="How items are asked about; see 'diffident list recipes'.")
@click.option("--network", default="none", show_default=True, help="What is learned; 'none' keeps the items and is ready at once.")
@click.option(
    "--size", default=None, metavar="N|HxW", help="Height and width to which items are brought. Default: their own if all are alike and at most 64, else 64."
)
@click.option("--channels", type=click.Choice(["1", "3"]), default=None, help="Default: what the items have.")
@click.option("--share", type=float, default=0.25, show_default=True, help="Of the items, held out to calibrate; at least 99 where that is at most half.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the split.")
@click.option("--keep", type=click.IntRange(min=0), default=64, show_default=True, help="How many known-good pictures stay in the folder, to look at.")
@click.option("--flag", type=float, default=None, help="Flag at p-values up to this. Default: the strictest of .01, .02, .05 within reach.")
@click.option("--abstain", type=float, default=None, help="Abstain above --flag and up to this.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def command(
    items: str,
    out: str,
    recipe: str,
    network: str,
    size: str | None,
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
    """
    wanted = _show.size(size)

    from ..folder import writable
    from ..learning import Training, learn
    from ..verdict import Policy

    policy, how = Policy(flag, abstain), Training(network, wanted, int(channels) if channels else None, share, seed, keep=keep)
    target = writable(out)
    learned = learn(items, recipe, how, policy, target.name, _show.bar)
    detector = learned.detector
    detector.save(target)
    _show.left_out(learned.left_out)
    facts = {"trained": len(detector.model.seen), **_show.calibrated(detector, out, len(learned.left_out))}
    lines = [
        f"learned from {facts['trained']} items, calibrated on {facts['references']}, written to {out}",
        *_resized(detector),
        facts["promise"],
        f"next: diffident score {out} ITEMS -o scores.csv",
    ]
    _show.summary(facts, as_json, lines)


def _resized(detector: Detector) -> list[str]:
    """A line when pictures are brought to another size: what is smaller than a pixel then is lost."""
    sizes = {(int(vitals["height"]), int(vitals["width"])) for vitals in detector.calibrated.references.vitals}
    height, width = detector.model.modality.shape[1:]
    if sizes == {(height, width)}:
        return []
    had = "{}x{}".format(*sizes.pop()) if len(sizes) == 1 else f"{len(sizes)} different sizes"
    return [f"pictures of {had} are brought to {height}x{width}; --size keeps more detail"]
