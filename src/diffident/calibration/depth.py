"""Out of the detector's depth: items so unlike the known-good in plain measure (size, contrast) that no p-value should speak."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from ..errors import InvalidSetting

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
