"""The judge of judges: do observed flags lie inside the limits of what was promised? Used by every benchmark that claims an error rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import betabinom

from diffident.calibration.ranks import steps

#: Chance that a table of correct rows is called broken, all rows together (Holm).
FAMILY = 0.05


@dataclass(frozen=True)
class Counts:
    """What one procedure did in ``repeats`` fresh worlds, with ``m`` good items judged in each by one calibration of ``n`` references.

    ``side``: ``both`` for continuous scores, whose rate is known exactly; ``above`` where ties may make it smaller.
    """

    name: str
    n: int
    level: float
    m: int
    repeats: int
    flags: int
    side: Literal["both", "above"] = "both"


@dataclass(frozen=True)
class Judgement:
    """One row of the table: the counts, what was expected, the row's own 95 % limits, its p and whether it stands after Holm."""

    counts: Counts
    expected: float
    low: int
    high: int
    p: float
    inside: bool

    @property
    def cannot_flag(self) -> bool:
        """Whether so few references cannot reach the level at all: then no flag is the only right answer."""
        return steps(self.counts.n, self.counts.level) == 0


def judge_counts(rows: Sequence[Counts]) -> list[Judgement]:
    """Judge every row against the exact law of its count, Holm over the rows.

    The items of one repeat share their calibration, so a repeat's count is beta-binomial(m; k, n + 1 - k) with
    k = floor(level (n + 1)), and the total is a sum of such, found by exact convolution. Rows that cannot flag are inside
    if and only if they never did, and take no part in Holm's count.
    """
    found = [_law(row) for row in rows]
    p = np.array([law[3] for law in found])
    takes_part = np.array([steps(row.n, row.level) > 0 for row in rows], dtype=bool)
    inside = np.where(takes_part, True, p > 0)
    inside[takes_part] = ~_holm(p[takes_part])
    return [Judgement(row, *law, bool(ok)) for row, law, ok in zip(rows, found, inside, strict=True)]


def alarm_range(n: int, level: float, m: int) -> tuple[float, float]:
    """Where 95 % of observed false-alarm rates fall: m good items, one calibration of n references, all exchangeable (beta-binomial, exact)."""
    k = steps(n, level)
    return tuple(float(q) / m for q in betabinom(m, k, n + 1 - k).ppf([0.025, 0.975])) if k else (0.0, 0.0)  # type: ignore[return-value]


def _law(row: Counts) -> tuple[float, int, int, float]:
    """Expected total, its 95 % limits, and the p-value of the observed one."""
    k = steps(row.n, row.level)
    if k == 0:
        return 0.0, 0, 0, float(row.flags == 0)
    total = row.m * row.repeats
    once = betabinom.pmf(np.arange(row.m + 1), row.m, k, row.n + 1 - k)
    law = np.clip(np.fft.irfft(np.fft.rfft(once, 2 * total + 2) ** row.repeats, 2 * total + 2)[: total + 1], 0, None)
    up_to = np.cumsum(law) / law.sum()
    low, high = int(np.searchsorted(up_to, 0.025)), int(np.searchsorted(up_to, 0.975))
    at_least, at_most = 1 - (up_to[row.flags - 1] if row.flags else 0.0), up_to[row.flags]
    p = at_least if row.side == "above" else 2 * min(at_least, at_most)
    return total * k / (row.n + 1), low, high, float(np.clip(p, 0, 1))


def _holm(p: np.ndarray) -> np.ndarray:
    """Which hypotheses fall, the chance of any false fall being at most FAMILY."""
    order, falls = np.argsort(p), np.zeros(len(p), dtype=bool)
    for rank, i in enumerate(order):
        if p[i] > FAMILY / (len(p) - rank):
            break
        falls[i] = True
    return falls
