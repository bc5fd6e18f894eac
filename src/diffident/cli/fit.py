"""``diffident fit``: calibrate a model again, on other known-good items or on more of them; no training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from . import _show

if TYPE_CHECKING:
    from ..detector import Detector


@click.command("fit", short_help="Calibrate a model on other known-good items; no training.")
@click.argument("model", type=click.Path())
@click.argument("items", type=click.Path())
@click.option("-o", "--out", default=None, type=click.Path(), help="The folder to write. Default: MODEL itself.")
@click.option("--recipe", default=None, help="How items are asked about. Default: as before; see 'diffident list recipes'.")
@click.option("--keep", type=click.IntRange(min=0), default=64, show_default=True, help="How many known-good pictures stay in the folder, to look at.")
@click.option("--flag", type=float, default=None, help="Flag at p-values up to this. Default: what was asked in training, else the strictest in reach.")
@click.option("--abstain", type=float, default=None, help="Abstain above --flag and up to this. Default: as before.")
@_show.DEPTH
@click.option("--join", is_flag=True, help="Add ITEMS to the references that MODEL has; only they are asked about.")
@_show.KINDS
@_show.KIND
@_show.PRECISION
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def command(
    model: str,
    items: str,
    out: str | None,
    recipe: str | None,
    keep: int,
    flag: float | None,
    abstain: float | None,
    depth: float | None,
    join: bool,
    kinds: str | None,
    kind: str,
    precision: str,
    as_json: bool,
) -> None:
    """Calibrate MODEL on the known-good ITEMS. They take the place of the references that it had; none may have trained it.

    With --join they are added to those that it had, and of the pictures kept to be looked at those stay that are there.
    """
    if join and (recipe or kinds):
        raise click.UsageError("--join keeps the recipe and the kinds of the references that are there; leave out --recipe and --kinds")

    from dataclasses import replace

    from ..detector import Detector
    from ..folder import writable
    from ..recipes import recipe as recipe_of

    had = (Detector.load if join else Detector.uncalibrated)(model, precision)
    policy = had.policy.changed(flag, abstain, depth)
    target = writable(out or model)
    wanted = replace(had, recipe=recipe_of(recipe or had.recipe), policy=policy)
    wanted = _told_apart(wanted, items) if kinds and not had.model.kinds else wanted
    parts, gallery = wanted.measure(wanted.opened(items, kind), 0 if join and had.gallery else keep, _show.bar)
    detector = wanted.fit_parts([*([had.calibrated.references] if join else []), *parts], gallery)
    detector.save(target)
    unread = [(name, problem) for scores in parts for name, problem in zip(scores.names, scores.problems, strict=True) if problem]
    _show.left_out(unread)
    facts = _show.calibrated(detector, str(target), len(unread))
    _show.summary(facts, as_json, [f"calibrated on {facts['references']} items, written to {target}", facts["promise"]])


def _told_apart(detector: Detector, items: str) -> Detector:
    """The same, with a model that tells apart the kinds by whose names the first folders of these items are called."""
    from dataclasses import replace

    kinds = sorted({item.kind for item in detector.opened(items)} - {""})
    return replace(detector, model=detector.model.of_kinds(kinds), calibration=None, gallery=None)
