"""``diffident fit``: calibrate a model again, on other known-good items; no training."""

from __future__ import annotations

import click

from . import _show


@click.command("fit", short_help="Calibrate a model on other known-good items; no training.")
@click.argument("model", type=click.Path())
@click.argument("items", type=click.Path())
@click.option("-o", "--out", default=None, type=click.Path(), help="The folder to write. Default: MODEL itself.")
@click.option("--recipe", default=None, help="How items are asked about. Default: as before; see 'diffident list recipes'.")
@click.option("--keep", type=click.IntRange(min=0), default=64, show_default=True, help="How many known-good pictures stay in the folder, to look at.")
@click.option("--flag", type=float, default=None, help="Flag at p-values up to this. Default: as before.")
@click.option("--abstain", type=float, default=None, help="Abstain above --flag and up to this. Default: as before.")
@_show.PRECISION
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def command(
    model: str, items: str, out: str | None, recipe: str | None, keep: int, flag: float | None, abstain: float | None, precision: str, as_json: bool
) -> None:
    """Calibrate MODEL on the known-good ITEMS. They take the place of the references that it had; none may have trained it."""
    from dataclasses import replace

    from ..detector import Detector
    from ..folder import writable
    from ..recipes import recipe as recipe_of

    had = Detector.uncalibrated(model, precision)
    policy = had.policy.changed(flag, abstain)
    target = writable(out or model)
    wanted = replace(had, recipe=recipe_of(recipe or had.recipe), policy=policy)
    parts, gallery = wanted.measure(items, keep, _show.bar)
    detector = wanted.fit_parts(parts, gallery)
    detector.save(target)
    unread = [(name, problem) for scores in parts for name, problem in zip(scores.names, scores.problems, strict=True) if problem]
    _show.left_out(unread)
    facts = _show.calibrated(detector, str(target), len(unread))
    _show.summary(facts, as_json, [f"calibrated on {facts['references']} items, written to {target}", facts["promise"]])
