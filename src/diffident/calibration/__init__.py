"""How the numbers of known-good items look, and where a new item stands among them: strangeness, p-values, evidence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from ..errors import NotFinite, NotPerElement, TooFewReferences, WrongShape
from ..scores import Scores
from .combiners import COMBINERS, combiner
from .depth import Depth, Limit, Standing, standing
from .drift import Drift, DriftState
from .fusion import Fusion
from .heights import Heights, Highest, PlaceByPlace, Places
from .ranks import conformal_p, evidence_p, false_alarm_bound, false_discoveries, fewest_discoveries, needed, require_served, smallest_p
from .risk import Approved, Certified, needed_trials, release_threshold, withhold_threshold
from .strangeness import Gaussian, Ranks, Robust, Strangeness

__all__ = [
    "COMBINERS",
    "Approved",
    "Calibration",
    "Certified",
    "Depth",
    "Drift",
    "DriftState",
    "Fusion",
    "Gaussian",
    "Heights",
    "Highest",
    "Judged",
    "Limit",
    "PlaceByPlace",
    "Places",
    "Ranks",
    "Robust",
    "Standing",
    "Strangeness",
    "combiner",
    "conformal_p",
    "evidence_p",
    "false_alarm_bound",
    "false_discoveries",
    "fewest_discoveries",
    "needed",
    "needed_trials",
    "release_threshold",
    "require_served",
    "smallest_p",
    "standing",
    "withhold_threshold",
]


@dataclass(frozen=True, eq=False)
class Judged:
    """Where m items stand among the references. Rows of unreadable items are NaN.

    Attributes:
        strangeness: (m,), raw, larger is stranger: for ranking.
        p: (m,), conformal p-value of all statistics together; small is strange.
        evidence: (m, k), p-value of each statistic by itself: which of them speaks.
        references: how many known-good items stand behind them; of several kinds, the fewest behind any of them.
        beside: behind each item, (m,): the known-good of its own kind. All of them, unless it is said.
        whys: per item, empty or why nothing can be said of it, (m,).
        peaks: (m, dimensions), where maps are combined: the place that stands out most, as a share of each side; None elsewhere.
        parts: (m,), in how many parts each item was judged, see :meth:`Calibration.parts`; None if all were judged whole.
    """

    strangeness: np.ndarray
    p: np.ndarray
    evidence: np.ndarray
    references: int
    beside: tuple[int, ...] = ()
    whys: tuple[str, ...] = ()
    peaks: np.ndarray | None = None
    parts: np.ndarray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "beside", self.beside or (self.references,) * len(self.p))
        object.__setattr__(self, "whys", self.whys or ("",) * len(self.p))

    def somewhere(self) -> Judged:
        """The same without saying where: items were turned and moved before their places were compared, or only the highest place was kept."""
        return self if self.peaks is None else replace(self, peaks=self.peaks[:, :0])

    def declining(self, whys: Sequence[str]) -> Judged:
        """The same with a reason, where there is one, why nothing can be said of an item, (m,); a reason that is there already stays."""
        return replace(self, whys=tuple(had or why for had, why in zip(self.whys, whys, strict=True)))

    def in_parts(self, parts: np.ndarray | None) -> Judged:
        """The same of items judged in so many parts each, (m,): every p-value counts as often, and where is another matter. None changes nothing."""
        if parts is None:
            return self
        p, evidence = np.minimum(1.0, parts * self.p), np.minimum(1.0, parts[:, None] * self.evidence)
        return replace(self.somewhere(), p=p, evidence=evidence, parts=parts)


@dataclass(frozen=True, eq=False)
class Calibration:
    """Known-good scores, and the way in which many statistics become one p-value.

    What is assumed, in plain words: a good item to come and the references are *exchangeable*: taken by the same camera,
    in the same way, at times that do not matter, so that nobody could tell which of them came last. The references were
    not used to train the model. Then a good item is flagged at level a with probability at most a, averaged over
    calibrations. All items of a run share this one set of references, so a run's own false-alarm rate scatters around
    that average: :func:`false_alarm_bound` says how far. Nothing is promised when the good items themselves change.

    Where references are of several kinds (``Scores.kinds``), an item is judged beside those of its own kind alone, and the
    promise holds for each kind by itself, however unlike they are: beside all of them together a kind whose numbers run high
    would be flagged all the time, and one whose numbers run low never. Source: Vovk 2012, Conditional validity of inductive
    conformal predictors (Mondrian).

    Raises:
        TooFewReferences: no references.
        NotFinite: a reference without finite numbers; the message names the first ones.

    >>> values = np.random.default_rng(0).normal(size=(99, 2))
    >>> rows = dict(columns=("a", "b"), tails=("upper", "upper"), says=("odd", "uneven"), fingerprint="f")
    >>> good = Scores(tuple(map(str, range(99))), values=values, digests=("",) * 99, vitals=({},) * 99, **rows)
    >>> new = Scores(("x",), values=np.array([[9.0, 9.0]]), digests=("",), vitals=({},), **rows)
    >>> Calibration(good).judge(new).p
    array([0.01])
    """

    references: Scores
    combiner: Strangeness = field(default_factory=Gaussian)

    def __post_init__(self) -> None:
        if not len(self.references):
            raise TooFewReferences("cannot calibrate with 0 reference items; give at least 19 to flag at p <= 0.05, 99 for p <= 0.01")
        bad = np.flatnonzero(~self.references.readable)
        if len(bad):
            first = ", ".join(self.references.names[i] for i in bad[:3]) + (", ..." if len(bad) > 3 else "")
            raise NotFinite(f"{len(bad)} of {len(self.references)} references have no finite score ({first}); leave them out or repair them")
        object.__setattr__(self, "combiner", self.combiner.told(self.references.columns))

    def __len__(self) -> int:
        return len(self.references)

    def judge(self, scores: Scores) -> Judged:
        """Strangeness, p-value and evidence of each item; each row is the same alone or in any company.

        Raises:
            ForeignScores: the scores come from another model or recipe than the references.
        """
        scores.require(self.references.fingerprint, "these references")
        tails = self.references.tails
        strangeness, p, evidence = np.full(len(scores), np.nan), np.full(len(scores), np.nan), np.full(scores.values.shape, np.nan)
        peaks = np.full((len(scores), self.references.maps.ndim - 2), np.nan) if self.mapped and self.references.maps is not None else None
        for references, rows in self._apart(scores):
            known, items = self._read(references), self._read(scores)[rows]
            strangeness[rows] = self.combiner.score(known, items, tails)
            p[rows] = self.combiner.p_values(known, items, tails)
            evidence[rows] = evidence_p(references.values, scores.values[rows], tails)
            if peaks is not None and isinstance(self.combiner, Heights):
                peaks[rows] = self.combiner.peaks(known, items)
        beside = tuple(self.kinds.get(kind, 0) for kind in scores.kinds)
        foreign = f"of no known kind: known are {', '.join(filter(None, self.kinds)) or 'none'}"
        whys = tuple("" if kind in self.kinds else foreign for kind in scores.kinds)
        return Judged(strangeness, p, evidence, min(self.kinds.values()), beside, whys, peaks).in_parts(self.parts(scores))

    def beyond(self, scores: Scores, level: float, grain: Mapping[str, float]) -> tuple[str, ...]:
        """Per item, empty or why it is out of depth by plain measures, among the references of its kind; see :func:`standing`.

        A good item is out of depth with probability at most ``level``; that is added to the share that is flagged.
        """
        whys = np.full(len(scores), "", dtype=object)
        for references, rows in self._apart(scores):
            items = [vitals for vitals, asked in zip(scores.vitals, rows, strict=True) if asked]
            whys[rows] = standing(references.vitals, items, grain).beyond(level)
        return tuple(whys)

    def parts(self, scores: Scores) -> np.ndarray | None:
        """In how many parts each item is judged, (m,); None where all items are brought to one size.

        The highest place of a large item lies higher than that of a small one only because there are more places. An item that
        fits into every reference (of its kind) is judged whole: it is as large or smaller than all of them, which makes its p-value
        larger if anything. Any other is cut into parts of which each fits into the smallest reference (least height by least width); each
        part's highest place is ranked among the references', and ``p = min(1, parts x smallest p)`` (Bonferroni). The smallest is
        that of the item's highest place, so nothing but the number of parts is needed. Valid if what is good looks alike all over.
        With n references an item of k parts has p of k / (n + 1) at best.
        """
        if scores.sizes is None or self.references.sizes is None:
            return None
        parts = np.ones(len(scores))
        for references, rows in self._apart(scores):
            if references.sizes is not None:
                known, asked = references.sizes, scores.sizes[rows]
                parts[rows] = np.ceil(asked / known.min(axis=0)).prod(axis=1)
        return parts

    @cached_property
    def kinds(self) -> dict[str, int]:
        """How many references there are of each kind, sorted by name; of one without a name where there are no kinds."""
        return {kind: self.references.kinds.count(kind) for kind in sorted(set(self.references.kinds))}

    @cached_property
    def _by_kind(self) -> dict[str, Scores]:
        if len(self.kinds) == 1:
            return {kind: self.references for kind in self.kinds}
        return {kind: self.references.select([one == kind for one in self.references.kinds]) for kind in self.kinds}

    def _apart(self, scores: Scores) -> Iterator[tuple[Scores, np.ndarray]]:
        """The references of each kind, and the rows of readable items of that kind."""
        for kind, references in self._by_kind.items():
            rows = scores.readable & np.array([one == kind for one in scores.kinds], dtype=bool)
            if rows.any():
                yield references, rows

    @property
    def mapped(self) -> bool:
        """Whether maps are combined, so that :meth:`places` can speak."""
        return isinstance(self.combiner, Heights)

    def places(self, scores: Scores) -> Places:
        """Where each item stands out, with a p-value that holds for all places together; NaN throughout for an unreadable one.

        Raises:
            NotPerElement: this calibration combines numbers, not maps.
            ForeignScores: see :meth:`judge`.
        """
        combines = self.require_places()
        scores.require(self.references.fingerprint, "these references")
        items = self._read(scores)
        grid, most = items.shape[2:], max(self.kinds.values())
        heights, p, ceilings = (np.full((len(scores), *shape), np.nan) for shape in (grid, grid, (most,)))
        for references, rows in self._apart(scores):
            found = combines.places(self._read(references), items[rows])
            heights[rows], p[rows], ceilings[rows, : len(references)] = found.heights, found.p, found.ceilings
        return Places(heights, p, ceilings)

    def require_places(self) -> Heights:
        """The combiner of maps, by which places can be told apart.

        Raises:
            NotPerElement: this calibration combines numbers, not maps.
        """
        if not isinstance(self.combiner, Heights):
            raise NotPerElement(
                f"a calibration by {self.combiner.name!r} knows how strange an item is and not where; for places use a recipe that combines maps "
                "('places' or 'highest'), such as 'inspection'"
            )
        return self.combiner

    def _read(self, scores: Scores) -> np.ndarray:
        """What of these scores is combined."""
        if self.combiner.reads == "values":
            return scores.values
        if scores.maps is None:
            raise WrongShape(f"{self.combiner.name!r} combines maps and these scores hold none; score the items again with a recipe that combines maps")
        return scores.maps
