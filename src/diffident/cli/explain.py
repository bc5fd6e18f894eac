"""``diffident explain``: one item, why it was decided so, and what the model saw."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import _show

if TYPE_CHECKING:
    from ..report import Explanation


@click.command("explain", short_help="Show what a decision about one item rests on.")
@click.argument("model", type=click.Path())
@click.argument("item", type=click.Path())
@click.option(
    "-o", "--out", default=None, type=click.Path(), help="A .png picture: the item, its map, the nearest known-good, the film of the model's answers."
)
@_show.KIND
@_show.PRECISION
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def command(model: str, item: str, out: str | None, kind: str, precision: str, as_json: bool) -> None:
    """Explain what MODEL makes of one ITEM (a file): its decision, the evidence of each statistic, and a picture to look at.

    A model that is not calibrated gives no p-value, and the picture all the same. Recipes without a map show the film only.
    """
    from ..data import Items
    from ..detector import Detector
    from ..errors import InvalidSetting
    from ..report import explain
    from ..report.page import require_place, write
    from ..report.pictures import png

    if out is not None and Path(out).suffix.lower() != ".png":
        raise InvalidSetting(f"an explanation is a picture that ends in .png; got {out}")
    target = None if out is None else require_place(Path(out))
    detector, items = Detector.load(model, precision), Items.open(item)
    items = detector.opened(items, kind)
    if Path(item).is_dir():
        raise InvalidSetting(
            f"explain takes one item, and {item} is a folder; name a file in it, or for all of them: diffident score {model} {item} --report page.html"
        )
    found = explain(detector, items[0])
    if target is not None:
        write(target, png(found.picture))
    _show.summary(facts(found, out), as_json, lines(found, out))


def facts(found: Explanation, out: str | None) -> dict[str, Any]:
    """The explanation as plain data; what is not a number is null."""
    verdict, first = found.verdict, {"path": found.name}
    told = {"decision": None, "p_value": None, "score": None, "reason": "", "because": "", "evidence": {}}
    if verdict is not None:
        told = {
            "decision": verdict.decision,
            "p_value": _plain(verdict.p),
            "score": _plain(verdict.score),
            "reason": verdict.reason,
            "because": verdict.because,
        }
        told["evidence"] = {column: _plain(p) for column, p in verdict.evidence.items()}
    return {**first, **told, "raw": {column: _plain(x) for column, x in found.raw.items()}, "nearest": found.nearest or None, "out": out}


def lines(found: Explanation, out: str | None) -> list[str]:
    """The same for people."""
    width = max(map(len, found.raw))
    own = {} if found.verdict is None else found.verdict.evidence
    told = [f"  {column:<{width}}  {x:<10.4g}" + (f"  p = {own[column]:.3g}" if column in own else "") for column, x in found.raw.items()]
    near = [f"nearest known-good: {found.nearest}"] if found.nearest else []
    return [
        *str(found).split("\n"),
        "",
        "each statistic by itself (p above is of all of them together):",
        *(line.rstrip() for line in told),
        *near,
        *([f"picture written to {out}"] if out else []),
    ]


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None
