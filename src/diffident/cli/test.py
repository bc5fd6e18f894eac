"""``diffident test``: how good a model is on a labelled folder, with intervals, beside a control and null scores."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import _show

if TYPE_CHECKING:
    from ..assessment import Assessment
    from ..evaluate import Interval
    from ..evaluate.labelled import Labelled


@click.command("test", short_help="How good a model is on a labelled folder: figures with intervals, beside null scores.")
@click.argument("model", type=click.Path())
@click.argument("folder", metavar="DIR", type=click.Path())
@click.option("-o", "--out", default=None, type=click.Path(), help="A .json file for everything, or .csv or .jsonl for the figures.")
@click.option("--repeats", type=click.IntRange(min=1), default=500, show_default=True, help="How often items are drawn again for the intervals.")
@click.option("--no-control", is_flag=True, help="Do not ask an untrained model as well; takes half the time.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the untrained model and of what is drawn.")
@_show.DEPTH
@click.option("--kind", default="", metavar="NAME", help="Of what kind of thing the items of DIR are, where MODEL tells kinds apart.")
@_show.PRECISION
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(
    model: str, folder: str, out: str | None, repeats: int, no_control: bool, seed: int, depth: float | None, kind: str, precision: str, as_json: bool
) -> None:
    """Test MODEL on DIR, whose folders say what is good and what is strange.

    \b
    DIR/test/good/*.png                 good pictures
    DIR/test/KIND/x.png                 strange ones, a folder for each kind
    DIR/ground_truth/KIND/x_mask.png    where x is strange; without masks there are no pixel figures
    DIR/train/good/*.png                known-good pictures for the baselines and the control

    Beside the model's own recipe stand the same recipe asked of an untrained model, cheap baselines that learn from
    DIR/train/good, and null scores that know nothing of what is good. Figures have 95 % intervals.
    """
    from ..assessment import assess
    from ..detector import Detector
    from ..evaluate.labelled import Labelled

    if out is not None:
        _require_writable(Path(out))
    detector, labelled = _show.deciding(Detector.load(model, precision), depth=depth), Labelled.open(folder)
    if kind or detector.model.kinds:  # the folders of DIR say what is wrong with an item, not what it is
        detector.model.require(kind)
        labelled = labelled.of_kind(kind)
    found = assess(detector, labelled, repeats, not no_control, seed, _show.bar)
    if out is not None:
        _write(Path(out), found)
    _show.summary(found.facts() | {"model": model, "dir": folder, "out": out}, as_json, _lines(found, labelled, model, folder, out))


def _require_writable(out: Path) -> None:
    """Refuse before the work what cannot be written after it."""
    from ..errors import InvalidSetting, OutputError

    if out.suffix.lower() not in (".json", ".csv", ".jsonl"):
        raise InvalidSetting(f"cannot tell the form of {out}: results are written as .json, .csv or .jsonl")
    if out.is_dir() or not out.absolute().parent.is_dir() or not os.access(out.absolute().parent, os.W_OK):
        raise OutputError(f"cannot write {out}: it is a folder, or lies in none that can be written to; choose another place")


def _write(out: Path, found: Assessment) -> None:
    from ..assessment import COLUMNS
    from ..errors import OutputError
    from ..rows import RowWriter

    if out.suffix.lower() == ".json":
        try:
            out.write_text(json.dumps(found.facts(), indent=1, allow_nan=False) + "\n", "utf-8")
        except OSError as error:
            raise OutputError(f"cannot write {out}: {error.strerror or error}; choose another place or make room") from error
        return
    with RowWriter(out, COLUMNS) as rows:
        for row in found.rows:
            rows.write(row.cells())


def _lines(found: Assessment, labelled: Labelled, model: str, folder: str, out: str | None) -> list[str]:
    from ..assessment import DECISIONS, FIGURES

    good, kinds = labelled.kinds.count("good"), len(labelled.defects)
    strange = len(labelled.test) - good
    head = f"{model} on {folder}: {good} good {_s('item', good)}, {strange} strange of {kinds} {_s('kind', kinds)}"
    decided = [["", "items", *DECISIONS], *([kind, str(sum(n.values())), *(str(n[d]) for d in DECISIONS)] for kind, n in found.decisions.items())]
    names = [name for name in FIGURES if any(name in row.figures for row in found.rows)]
    methods = [["every kind", *names], *([row.method, *(_figure(row.figures.get(name)) for name in names)] for row in found.of())]
    by_kind = [[f"{found.recipe}, by kind", *names]]
    by_kind += [[row.kind, *(_figure(row.figures.get(name)) for name in names)] for row in found.rows if row.method == found.recipe and row.kind != "*"]
    lines = [head, found.promise, "", *_aligned(decided, right=True), "", *_aligned(methods)]
    lines += ["", *_aligned(by_kind)] if kinds > 1 else []
    lines += ["", *(f"note: {note}" for note in found.notes)] if found.notes else []
    return lines + (["", f"figures written to {out}"] if out else [])


def _s(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"


def _figure(one: Interval | None) -> str:
    """A figure as people read it, without an interval where it has none."""
    if one is None:
        return "-"
    return str(one) if one.low == one.low else f"{one.value:.3f}"  # NaN is not itself


def _aligned(rows: Sequence[Sequence[str]], right: bool = False) -> list[str]:
    """Rows of cells in columns: the first to the left, the others to the left or right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(f"{cell:{'>' if right and i else '<'}{width}}" for i, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip() for row in rows]
