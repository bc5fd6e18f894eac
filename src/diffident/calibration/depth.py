"""Out of the detector's depth: items so unlike the known-good in plain measure (size, contrast, detail) that no p-value of the model should speak."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from ..errors import InvalidSetting
from .ranks import reaches
from .strangeness import TIE

#: The one measure with a meaning here: the share of an item's elements that are finite numbers.
FINITE = "finite"


@dataclass(frozen=True)
class Limit:
    """One measure of an item and the range in which the detector can speak; the ends belong to it.

    Attributes:
        name: of the measure in an item's vitals, for example ``width``.
        low: smallest value within depth.
        high: largest value within depth.
        says: what is wrong outside, in plain words, for example ``wrong size``.

    Raises:
        InvalidSetting: low above high, or not a number.
    """

    name: str
    low: float
    high: float
    says: str

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise InvalidSetting(f"the limit {self.name!r} needs low <= high; got {self.low:g} and {self.high:g}")

    def check(self, value: float) -> str:
        """Empty, or the reason why this value is out of depth."""
        if self.low <= value <= self.high:
            return ""
        usual = f"at least {self.low:g}" if math.isinf(self.high) else f"{self.low:g} to {self.high:g}"
        return f"{self.says}: {self.name} {value:g}, known-good items have {usual}"


@dataclass(frozen=True)
class Depth:
    """All limits of a detector. Modalities measure and choose them; this class only compares.

    >>> depth = Depth((Limit("width", 28.0, 28.0, "wrong size"),))
    >>> depth.check({"width": 64.0})
    'wrong size: width 64, known-good items have 28 to 28'
    >>> depth.check({"width": 28.0})
    ''
    """

    limits: tuple[Limit, ...] = ()

    def check(self, vitals: Mapping[str, float]) -> str:
        """Empty if the item is within depth, else the first reason in plain words.

        A measure that is NaN or absent, or a share ``finite`` below 1, is out of depth too: silence is no evidence of health.
        """
        share = vitals.get(FINITE, 1.0)
        if not share >= 1.0:
            return f"not finite: {1 - share:.2%} of its values are NaN or infinite"
        for limit in self.limits:
            if limit.name not in vitals:
                return f"{limit.says}: {limit.name} was not measured"
        nameless = [name for name, value in vitals.items() if math.isnan(value)]
        if nameless:
            return f"not finite: {nameless[0]} is not a number"
        return next((reason for limit in self.limits if (reason := limit.check(vitals[limit.name]))), "")

    def to_config(self) -> list[dict[str, object]]:
        """The limits, for JSON, which has no infinity: there a limit that is open above has no ``high``."""
        return [{name: value for name, value in asdict(limit).items() if (name, value) != ("high", math.inf)} for limit in self.limits]

    @staticmethod
    def from_config(config: Sequence[Mapping[str, object]]) -> Depth:
        """Read back what :meth:`to_config` wrote."""
        return Depth(tuple(Limit(str(c["name"]), float(str(c["low"])), float(str(c.get("high", "inf"))), str(c["says"])) for c in config))


@dataclass(frozen=True, eq=False)
class Standing:
    """Where items stand among known-good ones by plain measures alone.

    Attributes:
        p: (m,), conformal p-value of all measures together; small is strange.
        says: per item, the measure that speaks loudest against it, in plain words.
    """

    p: np.ndarray
    says: tuple[str, ...]

    def beyond(self, level: float) -> tuple[str, ...]:
        """Per item, empty or why it is out of depth at that level."""
        return tuple(f"out of depth: {says} (p = {p:.2g})" if reaches(p, level) else "" for p, says in zip(self.p, self.says, strict=True))


def standing(references: Sequence[Mapping[str, float]], items: Sequence[Mapping[str, float]], grain: Mapping[str, float]) -> Standing:
    """How strange items are by plain measures, with a known error rate: no model is asked.

    ``s = d' (C + I)^-1 d``: d is an item's distance from the mean of references and item together, C their covariance, each measure in
    units of its ``grain``, the smallest difference that means anything. Without it a measure that hardly ever moves would rule: the one
    good picture with a white pixel would be the strangest of all, and hide a picture that is nothing but noise. Refitted with each item,
    ``p = (1 + #{i: s_i >= s}) / (n + 1)`` is exact: a good item has ``p <= a`` with probability at most a. Trust it to notice sensors,
    archives and pictures of something else; it does not look for defects, and a large one may move it.

    Measured is what all references and the item have in common, so that references of an earlier version keep working.

    Args:
        references, items: vitals of each.
        grain: by name, of the measures that are looked at; above 0.

    Raises:
        TooFewReferences: there are no references.

    >>> known = [{"detail": 0.8 + 0.001 * i} for i in range(99)]
    >>> found = standing(known, [{"detail": 0.31}, {"detail": 0.85}], {"detail": 0.02})
    >>> found.beyond(0.01)
    ('out of depth: detail 0.31, known-good items have 0.8 to 0.898 (p = 0.01)', '')
    """
    shared = [name for name in grain if all(name in one for one in references)]
    found = [_stands(references, item, {name: grain[name] for name in shared if name in item}) for item in items]
    return Standing(np.array([p for p, _ in found]), tuple(says for _, says in found))


def _stands(references: Sequence[Mapping[str, float]], item: Mapping[str, float], grain: Mapping[str, float]) -> tuple[float, str]:
    """The p-value of one item, and what speaks loudest; 1 and silence where nothing is measured."""
    if not grain:
        return 1.0, ""
    units = np.array(list(grain.values()))
    rows = np.array([[one[name] for name in grain] for one in (*references, item)])
    # an infinite or absent number is for the limits to refuse; here it only must not spoil the others'
    everyone = np.clip(np.nan_to_num(rows, nan=0.0) / units, -1e9, 1e9)
    away = everyone - everyone.mean(axis=0)
    covariance = away.T @ away / len(away) + np.eye(len(units))
    strange = np.einsum("ij,ij->i", away @ np.linalg.inv(covariance), away)
    p = float(1 + np.sum(strange[:-1] >= strange[-1] * (1 - TIE))) / len(strange)
    return p, _loudest(rows, np.abs(away[-1]) / np.sqrt(np.diagonal(covariance)), tuple(grain))


def _loudest(rows: np.ndarray, far: np.ndarray, names: tuple[str, ...]) -> str:
    """The measure by which an item, the last row, is rarest; of several as rare the one that is farthest out."""
    known, own = rows[:-1], rows[-1]
    rare = np.minimum((known >= own).sum(axis=0), (known <= own).sum(axis=0))
    j = int(np.lexsort((-far, rare))[0])
    low, high = known[:, j].min(), known[:, j].max()
    together = "" if rare[j] == 0 else "by its measures together, most by "
    return f"{together}{names[j]} {own[j]:.3g}, known-good items have {low:.3g} to {high:.3g}"
