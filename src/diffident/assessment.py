"""How good is a detector on a labelled folder? Its figures with intervals, beside a control, cheap baselines and null scores."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import PIL.Image

from .calibration import Calibration
from .calibration.combiners import combiner
from .calibration.ranks import smallest_p, steps
from .data import Item, Items
from .detector import Detector
from .errors import DiffidentError, ItemError
from .evaluate import BASELINES, NULLS, Interval, aupro, auroc, average_precision, fpr_at, interval, pixel_auroc, pixel_intervals
from .evaluate.labelled import GOOD, Labelled, mask
from .learning import Progress, silent
from .modalities import Modality
from .rows import Cell
from .scores import Scores
from .verdict import Policy, Verdicts

#: Of the kind of a row that counts the strange items of every kind.
EVERY = "*"

RANKING = {"AUROC": auroc, "AP": average_precision, "FPR95": fpr_at}
PIXELS = ("pixel AUROC", "AUPRO")
FIGURES = (*RANKING, *PIXELS)

#: What a verdict decides, in the order of tables.
DECISIONS = ("accept", "abstain", "flag", "unreadable")

#: Of the file of an assessment.
FORMAT = 1


@dataclass(frozen=True)
class Row:
    """What one method reaches on the good items and the strange ones of one kind.

    Attributes:
        method: the recipe; the recipe with ``, untrained``: the control; or a baseline or null of ``diffident.evaluate``.
        kind: of the strange items; ``*`` is every kind.
        good, strange: how many items were ranked.
        figures: by name, of those that could be computed; an interval without ends where there are too few items to draw again.
    """

    method: str
    kind: str
    good: int
    strange: int
    figures: Mapping[str, Interval]

    def cells(self) -> dict[str, Cell]:
        """As a row of a table, see :data:`COLUMNS`."""
        found: dict[str, Cell] = {"method": self.method, "kind": self.kind, "good": self.good, "strange": self.strange}
        for name, one in self.figures.items():
            found |= {name: one.value, f"{name} low": one.low, f"{name} high": one.high}
        return found


#: Of a table of rows.
COLUMNS = ("method", "kind", "good", "strange", *(f"{name}{end}" for name in FIGURES for end in ("", " low", " high")))


@dataclass(frozen=True)
class Assessment:
    """What was found on a labelled folder.

    Attributes:
        recipe: by which the detector asks: the method of its own rows.
        rows: figures of every method, of all strange items together and of each kind.
        decisions: for ``good`` and for each kind, how many items were accepted, flagged, abstained from and unreadable.
        promise: what the detector promises about good items.
        notes: in plain sentences, what was left out and what is suspicious.
    """

    recipe: str
    rows: tuple[Row, ...]
    decisions: Mapping[str, Mapping[str, int]]
    promise: str
    notes: tuple[str, ...] = field(default=())

    def of(self, kind: str = EVERY) -> tuple[Row, ...]:
        """The rows of a kind."""
        return tuple(row for row in self.rows if row.kind == kind)

    def facts(self) -> dict[str, Any]:
        """All of it as plain data for JSON; what is not a number is None."""
        rows = [{name: _plain(cell) for name, cell in row.cells().items()} for row in self.rows]
        told = {"format": FORMAT, "recipe": self.recipe, "promise": self.promise, "notes": list(self.notes)}
        return told | {"decisions": {kind: dict(counts) for kind, counts in self.decisions.items()}, "rows": rows}


def assess(detector: Detector, labelled: Labelled, repeats: int = 500, control: bool = True, seed: int = 0, progress: Progress = silent) -> Assessment:
    """The detector's figures on a labelled folder, and what stands beside them.

    AUROC, AP and FPR95 rank items by their strangeness; pixel AUROC and AUPRO compare maps, brought bilinearly to the size
    of the masks. The same recipe is asked of ``model.untrained()``: what that reaches is not owed to what was learned. It
    is calibrated on items of ``train/good``, from which the cheap baselines learn as well. Items that cannot be read, and
    those that the detector was made from, are left out of all figures, and it is said how many.

    Trust an interval from some ten items of a kind upward. Items are drawn one by one: where several show one part, the
    intervals are too short.

    Args:
        detector: a calibrated one.
        labelled: the folder, opened.
        repeats: how often items are drawn again for the intervals.
        control: whether the untrained model is asked too, which takes as long again.
        seed: of the control and the draws.
        progress: see :data:`diffident.learning.Progress`.

    Raises:
        NotCalibrated: the detector has seen no known-good items.
        InvalidSetting: fewer repeats than one.
    """
    promise, recipe, notes = detector.promise(), detector.scorer.asked.name, list[str]()
    scores, maps = _asked(detector, labelled.test, "scoring", progress)
    verdicts = detector.judge_all(scores)
    kept = _kept(detector, labelled, verdicts, scores, notes)
    asked = {recipe: _Answer(np.array([v.score for v in verdicts]), maps)}
    if control:
        asked[f"{recipe}, untrained"] = _control(detector, labelled, seed, notes, progress)
    asked |= _others(detector.model.modality, labelled, kept, notes, progress)
    masks = _masks(labelled, scores, kept, notes) if maps is not None else _no_maps(recipe, len(scores), notes)
    truth = _Truth(np.array(labelled.kinds), kept, masks, repeats, seed)
    tasks = [(name, kind) for name in asked for kind in (EVERY, *labelled.defects)]
    rows = [truth.row(name, kind, asked[name]) for name, kind in progress(tasks, "drawing again", len(tasks))]
    decisions = {kind: _counts(verdicts, labelled, kind) for kind in (GOOD, *labelled.defects)}
    return Assessment(recipe, tuple(rows), decisions, promise, (*notes, *_alarms(verdicts, labelled)))


@dataclass(frozen=True, eq=False)
class _Answer:
    """What a method says of every test item: strangeness (n,) and maps (h, w), one for each; None where it says nothing."""

    strangeness: np.ndarray | None
    maps: Sequence[np.ndarray] | None = None


@dataclass(frozen=True, eq=False)
class _Truth:
    """What is known of every test item: its kind (n,), whether it takes part (n,), and its mask or None."""

    kinds: np.ndarray
    kept: np.ndarray
    masks: Sequence[np.ndarray | None]
    repeats: int
    seed: int

    def row(self, method: str, kind: str, answer: _Answer) -> Row:
        takes_part = self.kept & ((self.kinds == GOOD) | (self.kinds == kind) | (kind == EVERY))
        rows, strange = np.flatnonzero(takes_part), (self.kinds[takes_part] != GOOD).astype(np.int64)
        figures = self._ranking(strange, answer.strangeness[rows]) if answer.strangeness is not None else {}
        figures |= self._pointing(rows, answer.maps) if answer.maps is not None else {}
        return Row(method, kind, int((strange == 0).sum()), int(strange.sum()), figures)

    def _ranking(self, strange: np.ndarray, scores: np.ndarray) -> dict[str, Interval]:
        fewest = min(strange.sum(), (1 - strange).sum())
        if fewest < 2:
            return {name: _bare(metric(strange, scores)) for name, metric in RANKING.items()} if fewest else {}
        return {name: interval(metric, strange, scores, repeats=self.repeats, seed=self.seed) for name, metric in RANKING.items()}

    def _pointing(self, rows: np.ndarray, maps: Sequence[np.ndarray]) -> dict[str, Interval]:
        masked = [(mask, _sized(maps[i], mask)) for i in rows if (mask := self.masks[i]) is not None and np.isfinite(maps[i]).all()]
        marked = sum(bool(mask.any()) for mask, _ in masked)
        if not marked or all(mask.all() for mask, _ in masked):
            return {}
        masks, sized = [mask for mask, _ in masked], [found for _, found in masked]
        if marked < 2:
            return dict(zip(PIXELS, (_bare(pixel_auroc(masks, sized)), _bare(aupro(masks, sized))), strict=True))
        return dict(zip(PIXELS, pixel_intervals(masks, sized, repeats=self.repeats, seed=self.seed), strict=True))


def _bare(figure: float) -> Interval:
    """A figure of which it cannot be said how sure it is."""
    return Interval(figure, math.nan, math.nan)


def _sized(found: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A map bilinearly at the size of its mask."""
    if found.shape == mask.shape:
        return found
    return np.asarray(PIL.Image.fromarray(found).resize((mask.shape[1], mask.shape[0]), PIL.Image.Resampling.BILINEAR))


def _asked(detector: Detector, items: Items, doing: str, progress: Progress) -> tuple[Scores, Sequence[np.ndarray] | None]:
    """Scores of all items, and their maps where the recipe has any."""
    mapped = bool(detector.scorer.asked.mapped)
    parts = list(progress(detector.stream(items, mapped), doing, _chunks(detector, items)))
    maps = [one.map for _, _, found in parts for one in found if one is not None]
    return Scores.merge([scores for _, scores, _ in parts]), maps if mapped else None


def _kept(detector: Detector, labelled: Labelled, verdicts: Verdicts, scores: Scores, notes: list[str]) -> np.ndarray:
    """Which test items take part in the figures, (n,): those with a score that the detector was not made from."""
    finite, before = scores.readable, np.array([bool(d) and d in detector.seen for d in scores.digests], dtype=bool)
    names = [v.name for v, ok in zip(verdicts, finite, strict=True) if not ok]
    _note(notes, names, "cannot be read or is not finite", "cannot be read or are not finite", "left out of all figures")
    names = [v.name for v, seen in zip(verdicts, before, strict=True) if seen]
    _note(notes, names, "was seen in training or is a reference", "were seen in training or are references", "left out of all figures")
    _note(notes, labelled.strays, "lies in test itself and is of no kind", "lie in test itself and are of no kind", "left out")
    return finite & ~before


def _note(notes: list[str], names: Sequence[str], one: str, many: str, then: str, most: int = 3) -> None:
    """A sentence about items, if there are any, naming the first."""
    if names:
        shown = ", ".join(names[:most]) + (", …" if len(names) > most else "")
        notes.append(f"{len(names)} {'item' if len(names) == 1 else 'items'} {one if len(names) == 1 else many}: {then} ({shown})")


def _control(detector: Detector, labelled: Labelled, seed: int, notes: list[str], progress: Progress) -> _Answer:
    """What the same recipe says when it asks a model that has learned nothing, calibrated on as many known-good items."""
    twin = Detector(detector.model.untrained(seed), detector.scorer.asked)
    known = _spaced(labelled.train, len(detector.calibrated))
    references = Scores.merge([scores for _, scores in progress(twin.scorer.stream(known), "calibrating, untrained", _chunks(twin, known))]) if known else None
    if references is None or not references.readable.any():
        notes.append(f"{labelled.root / 'train' / GOOD} holds nothing to calibrate the untrained model on: it is left out where items are ranked")
        return _Answer(None, _asked(twin, labelled.test, "scoring, untrained", progress)[1])
    calibration = Calibration(references.select(references.readable), combiner(twin.scorer.asked.combine))
    fitted = replace(twin, calibration=calibration, policy=Policy(max(detector.settled().flag or 0.0, smallest_p(len(calibration)))))
    scores, maps = _asked(fitted, labelled.test, "scoring, untrained", progress)
    return _Answer(calibration.judge(scores).strangeness, maps)


def _chunks(detector: Detector, items: Items) -> int:
    return len(items) if detector.model.tiles is not None else -(-len(items) // detector.model.chunk)


def _spaced(items: Items, most: int) -> Items:
    """At most so many items, evenly spaced."""
    places = np.unique(np.linspace(0, len(items) - 1, min(len(items), most)).round().astype(int)) if len(items) else []
    return Items(tuple(items[int(i)] for i in places))


def _others(modality: Modality, labelled: Labelled, kept: np.ndarray, notes: list[str], progress: Progress) -> dict[str, _Answer]:
    """What baselines and nulls say of the items that take part, brought to the model's size."""
    test = _values(modality, (item for item, ok in zip(labelled.test, kept, strict=True) if ok), int(kept.sum()), progress)
    train = _values(modality, iter(labelled.train), len(labelled.train), progress)
    if not len(train):
        notes.append(f"{labelled.root / 'train' / GOOD} holds nothing to learn from: {', '.join(BASELINES)} are left out")
    found = {}
    for name, score in [*(BASELINES.items() if len(train) else ()), *NULLS.items()]:
        try:
            said = score(train, test) if name in BASELINES else score(test)  # type: ignore[call-arg, operator]
        except DiffidentError as refusal:
            notes.append(f"{name} is left out: {refusal}")
            continue
        whole = np.full(len(kept), np.nan)
        whole[kept] = said
        found[name] = _Answer(whole)
    return found


def _values(modality: Modality, items: Iterator[Item], count: int, progress: Progress) -> np.ndarray:
    """Those that can be read and are finite, (n, c, h, w), from 0 (black) to 1 (white)."""
    found = [values for item in progress(items, "reading", count) if np.isfinite(values := _opened(modality, item)).all()]
    return (np.stack(found).clip(-1, 1) + 1) / 2 if found else np.zeros((0, *modality.shape), np.float32)


def _opened(modality: Modality, item: Item) -> np.ndarray:
    try:
        return modality.open(item).values
    except ItemError:
        return np.array(np.nan)


def _no_maps(recipe: str, count: int, notes: list[str]) -> list[np.ndarray | None]:
    notes.append(f"the recipe {recipe!r} has no maps, so there are no pixel figures")
    return [None] * count


def _masks(labelled: Labelled, scores: Scores, kept: np.ndarray, notes: list[str]) -> list[np.ndarray | None]:
    """Where each item that takes part is strange; of good ones nowhere. None where that is not known."""
    if not labelled.masked:
        notes.append(f"{labelled.root / 'ground_truth'} holds no mask of a test item, so there are no pixel figures")
        return [None] * len(kept)
    found, absent, wrong = [], [], []
    for i, (item, kind, file) in enumerate(zip(labelled.test, labelled.kinds, labelled.masks, strict=True)):
        one = None
        if kept[i] and kind == GOOD:
            one = np.zeros(_size(scores, i), dtype=bool)
        elif kept[i] and file is None:
            absent.append(item.name)
        elif kept[i] and file is not None:
            one, problem = _read(file, _size(scores, i))
            wrong += [problem] if problem else []
        found.append(one)
    _note(notes, absent, "has no mask", "have no mask", "left out of the pixel figures")
    _note(notes, wrong, "has a mask that cannot be used", "have masks that cannot be used", "left out of the pixel figures")
    return found


def _size(scores: Scores, i: int) -> tuple[int, int]:
    """Of an item as it was stored."""
    return int(scores.vitals[i]["height"]), int(scores.vitals[i]["width"])


def _read(file: Item, size: tuple[int, int]) -> tuple[np.ndarray | None, str]:
    """A mask, or in words why it cannot be used."""
    try:
        found = mask(file)
    except ItemError as refusal:
        return None, str(refusal)
    if found.shape != size:
        return None, f"{file.name} is {found.shape[0]}x{found.shape[1]} and its picture {size[0]}x{size[1]}"
    return (found, "") if found.any() else (None, f"{file.name} marks nothing")


def _counts(verdicts: Verdicts, labelled: Labelled, kind: str) -> dict[str, int]:
    counts = Counter(v.decision for v, of in zip(verdicts, labelled.kinds, strict=True) if of == kind)
    return {decision: counts[decision] for decision in DECISIONS}


def _alarms(verdicts: Verdicts, labelled: Labelled) -> list[str]:
    """A sentence when so many or so few good items are flagged that they are hardly as the references were.

    Items judged by one calibration share its luck: of m items the number flagged follows a beta-binomial law with
    k = floor(level (n + 1)) and n + 1 - k. Source: Vovk 2012, Conditional validity of inductive conformal predictors.
    """
    from scipy.stats import betabinom

    judged = [v for v, kind in zip(verdicts, labelled.kinds, strict=True) if kind == GOOD and v.judged]
    if not judged:
        return ["no item of test/good could be judged, so nothing is said about false alarms"]
    flagged, n, level = sum(v.decision == "flag" for v in judged), judged[0].references, judged[0].level
    k = steps(n, level)
    low, high = (int(q) for q in betabinom(len(judged), k, n + 1 - k).ppf([0.025, 0.975]))
    if low <= flagged <= high:
        return []
    return [
        f"{flagged} of {len(judged)} items of test/good are flagged, where 95 of 100 calibrations would flag {low} to {high} of items like the references: "
        "test/good is not as they were, so the promise does not hold here, and every figure compares with good items that the detector does not know"
    ]


def _plain(cell: Cell) -> Cell:
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell
