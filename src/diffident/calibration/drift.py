"""Do the numbers of a stream still look as they did? Evidence that grows while they do not, with a bound on ever raising a false alarm."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from ..errors import InvalidSetting, NotFinite, TooFewReferences

#: Bets on a shift of so many deviations: each pays the likelihood ratio of normal numbers with that shift, read off the p-value.
SHIFTS = (0.35, 0.7, 1.4)

#: The bet on a few very strange items pays ``POWER p ** (POWER - 1)``.
POWER = 0.5

#: The stake still kept back after t steps is ``(1 + t / PATIENCE) ** -THRIFT``: slow, so that much is left after a long quiet stream.
PATIENCE, THRIFT = 100.0, 0.25

#: Tie-breaking numbers are drawn in blocks of this many, so that any step's number follows from the seed and the step alone.
BLOCK = 256

#: No p-value below: the bets fall as p grows, so this can only make evidence smaller.
SMALLEST = 1e-12

NORMAL = NormalDist()


@dataclass(frozen=True)
class DriftState:
    """What is known of drift after a step.

    Attributes:
        evidence: the capital won by betting that the stream grows stranger, from 1; inf where it is too large for a float.
        alarm: whether evidence has ever reached ``1 / level``; it stays.
        steps: how many numbers have been seen.
        p: of the last number, against all before it.
    """

    evidence: float
    alarm: bool
    steps: int
    p: float


class Drift:
    """A watch over a stream: it raises an alarm when the numbers grow stranger, and in a stream that never changes, ever, with probability at most ``level``.

    Each number gets a smoothed conformal p-value against *all* before it, ``p = (#{greater} + u (1 + #{equal})) / (n + 1)`` with
    u uniform and seeded, and joins them: so long as nothing changes these p-values are independent and uniform. (Against known-good numbers
    that stay fixed they are not independent, and the bound fails.) Capital of 1 is staked bit by bit on bets that open one after
    another, ``M_t = sum_s w_s prod_{i=s..t} f(p_i) + (what is not staked yet)``, averaged over a few f with mean 1 under the
    uniform law: a mixture of martingales, hence a martingale, and ``P(ever M_t >= 1 / level) <= level`` (Ville). Because stakes
    open all the time, a long quiet stream does not use up the capital by which a late change is noticed.

    When to trust it: an alarm says that the numbers are not exchangeable, nothing more: they may have grown stranger, or
    come in bursts. Silence is no proof. After an alarm find the cause and begin a new watch; numbers since then have joined the history.

    This is the one calibration object that changes: every ``update`` adds to it. One stream, one object, one thread. It keeps every
    number (8 bytes a step and a little); :meth:`to_config` and :meth:`from_config` carry it over a restart, bit for bit.

    Args:
        history: known-good numbers before the stream, in any order; 100 or more react well. They count for nothing but comparison.
        level: the probability of ever raising a false alarm.
        seed: of the numbers that break ties.

    Raises:
        TooFewReferences: no history.
        NotFinite: a number that is NaN or infinite.
        InvalidSetting: a level outside (0, 1).

    Source: Vovk, Nouretdinov, Gammerman 2003, Testing exchangeability on-line; Volkhonskiy et al. 2017 and Vovk et al. 2021 for bets that open late.

    >>> rng = np.random.default_rng(0)
    >>> drift = Drift(rng.normal(size=200))
    >>> any(drift.update(x).alarm for x in rng.normal(size=200))
    False
    >>> any(drift.update(x).alarm for x in rng.normal(1.5, size=60))
    True
    """

    def __init__(self, history: Sequence[float] | np.ndarray, level: float = 0.05, seed: int = 0) -> None:
        if not 1e-9 <= level < 1.0:
            raise InvalidSetting(f"the level of a drift alarm lies between 1e-09 and 1; got {level:g}")
        known = np.asarray(history, dtype=np.float64).ravel()
        if not len(known):
            raise TooFewReferences("cannot watch for drift with 0 known-good numbers; give at least 1, better 100")
        if not np.isfinite(known).all():
            raise NotFinite(f"{int((~np.isfinite(known)).sum())} of {len(known)} known-good numbers are NaN or infinite; leave them out")
        self.level, self.seed, self.steps, self.alarm = level, seed, 0, False
        self._known: list[float] = sorted(known.tolist())
        self._running = [-math.inf] * (len(SHIFTS) + 1)  # log capital of the bets that are open
        self._block: tuple[int, np.ndarray] = (-1, np.zeros(0))

    def update(self, score: float) -> DriftState:
        """Take in the next number of the stream, larger is stranger, and say where the evidence stands.

        Raises:
            NotFinite: the number is NaN or infinite; it is not taken in.
        """
        score = float(score)
        if not math.isfinite(score):
            raise NotFinite(f"a watch for drift needs finite numbers; number {self.steps + 1} of the stream is {score}")
        known, low, high = self._known, bisect_left(self._known, score), bisect_right(self._known, score)
        p = (len(known) - high + self._uniform() * (1 + high - low)) / (len(known) + 1)
        insort(known, score)
        opened, self.steps = math.log(_kept(self.steps) - _kept(self.steps + 1)), self.steps + 1
        self._running = [_log_sum(capital, opened) + won for capital, won in zip(self._running, _log_bets(p), strict=True)]
        log_evidence = self._log_evidence()
        self.alarm = self.alarm or log_evidence >= -math.log(self.level)
        return DriftState(math.exp(log_evidence) if log_evidence < 700 else math.inf, self.alarm, self.steps, p)

    def to_config(self) -> dict[str, object]:
        """Everything that the watch knows, for JSON: put down here, it goes on as if it had never stopped."""
        running = None if not self.steps else list(self._running)
        return {"level": self.level, "seed": self.seed, "steps": self.steps, "alarm": self.alarm, "running": running, "known": list(self._known)}

    @staticmethod
    def from_config(config: Mapping[str, object]) -> Drift:
        """Read back what :meth:`to_config` wrote."""
        known, running = config["known"], config["running"]
        drift = Drift(np.asarray(known, dtype=np.float64), float(str(config["level"])), int(str(config["seed"])))
        drift.steps, drift.alarm = int(str(config["steps"])), bool(config["alarm"])
        if running is not None:
            drift._running = np.asarray(running, dtype=np.float64).tolist()
        return drift

    def _uniform(self) -> float:
        number, place = divmod(self.steps, BLOCK)
        if self._block[0] != number:
            self._block = (number, np.random.default_rng((self.seed, number)).random(BLOCK))
        return float(self._block[1][place])

    def _log_evidence(self) -> float:
        total = math.log(_kept(self.steps))
        for capital in self._running:
            total = _log_sum(total, capital - math.log(len(self._running)))
        return total


def _log_bets(p: float) -> list[float]:
    """What each bet pays on a p-value, as logarithms; each has mean 1 if p is uniform and falls as p grows."""
    p = min(max(p, SMALLEST), 1 - 1e-16)
    z = -NORMAL.inv_cdf(p)
    return [shift * z - shift * shift / 2 for shift in SHIFTS] + [math.log(POWER) + (POWER - 1) * math.log(p)]


def _kept(step: int) -> float:
    """The stake kept back after so many steps."""
    return (1 + step / PATIENCE) ** -THRIFT


def _log_sum(a: float, b: float) -> float:
    """``log(exp(a) + exp(b))``."""
    low, high = (a, b) if a < b else (b, a)
    return high + math.log1p(math.exp(low - high))
