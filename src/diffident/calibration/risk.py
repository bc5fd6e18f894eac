"""Below which score a sample may be released: failures bounded by a labelled trial, or good samples withheld bounded without labels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np

from ..errors import InvalidSetting, NotFinite, TooFewReferences, WrongShape
from .ranks import ROUNDING, false_alarm_bound, needed, steps

#: Where testing starts: at which share of the trial, with which share of the permitted error. Found by simulation in binormal
#: worlds alone (``benchmarks.release``): the early start serves where little can be released, the late one where much can.
STARTS = ((0.1, 0.5), (0.3, 0.5))

#: Each rung releases at least this many times as many as the one before: finer steps are chances to stumble, coarser ones overshoot.
SPACING = 1.02


@dataclass(frozen=True)
class Rung:
    """One threshold that will be tested: below it lie so many requests of the trial. Settled before a label is seen.

    Attributes:
        released: how many requests lie below.
        share: of the permitted error, given to this rung to start with; more is passed on from below.
    """

    released: int
    share: float


@dataclass(frozen=True)
class Certified:
    """The threshold that a labelled trial supports, and what it rests on. Release a score *strictly below* the threshold.

    Attributes:
        threshold: the first attempt below it is released; -inf releases nothing, inf all that has a finite score.
        released: requests of the trial that are released at it.
        bad: how many of these failed.
        of: requests in the trial.
        risk: the failure rate among released items that was asked for.
        confidence: the share of trials in which that holds.
        bound: upper limit of the failure rate at the level at which this threshold was tested (Clopper-Pearson), never above
            ``risk``; NaN if nothing is released. It describes this threshold by itself. What is promised of a threshold that was *chosen* is ``risk``.
    """

    threshold: float
    released: int
    bad: int
    of: int
    risk: float
    confidence: float
    bound: float

    @property
    def always_withholds(self) -> bool:
        """Whether the trial supports no threshold, so that nothing is ever released."""
        return self.threshold == -math.inf

    def to_config(self) -> dict[str, object]:
        """For JSON, which has neither infinity nor NaN: those are words."""
        return {name: value if math.isfinite(value) else str(value) for name, value in asdict(self).items()}

    @staticmethod
    def from_config(config: Mapping[str, object]) -> Certified:
        """Read back what :meth:`to_config` wrote."""
        threshold, risk, confidence, bound = (float(str(config[name])) for name in ("threshold", "risk", "confidence", "bound"))
        released, bad, of = (int(str(config[name])) for name in ("released", "bad", "of"))
        return Certified(threshold, released, bad, of, risk, confidence, bound)


@dataclass(frozen=True)
class Approved:
    """The threshold that requests known to be good support: few like them are withheld. Release a score *strictly below* it.

    Attributes:
        threshold: the first attempt below it is released.
        of: how many good requests stand behind it.
        level: the share of good requests that may be withheld, averaged over calibrations.
        bound: the share that this calibration stays below with 90 % confidence.
    """

    threshold: float
    of: int
    level: float
    bound: float

    def to_config(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)

    @staticmethod
    def from_config(config: Mapping[str, object]) -> Approved:
        """Read back what :meth:`to_config` wrote."""
        threshold, level, bound = (float(str(config[name])) for name in ("threshold", "level", "bound"))
        return Approved(threshold, int(str(config["of"])), level, bound)


def needed_trials(risk: float, confidence: float = 0.9) -> int:
    """How many labelled requests it takes at the very least: so many in a row without a failure, ``ceil(log(1 - confidence) / log(1 - risk))``.

    Raises:
        InvalidSetting: a risk or confidence outside (0, 1).

    >>> needed_trials(0.05), needed_trials(0.01, 0.95)
    (45, 299)
    """
    risk, confidence = _between("risk", risk), _between("confidence", confidence)
    return max(1, math.ceil(math.log1p(-confidence) / math.log1p(-risk) - ROUNDING))


def release_threshold(scores: np.ndarray, bad: np.ndarray, risk: float, confidence: float = 0.9) -> Certified:
    """The largest threshold at which, with this confidence over trials, at most the share ``risk`` of what is released fails.

    A request makes up to ``tries`` attempts and releases the first whose score lies below the threshold; if there is none it
    is withheld. Below the (m + 1)-th smallest of the requests' own minima lie m requests, and given that threshold they are
    independent draws of what it will release. So ``P(Binomial(m, risk) <= failures)`` is an exact p-value of "this threshold
    fails too often", tries included. Several m are tested, all settled beforehand (:func:`ladder`), with the permitted error
    ``1 - confidence`` divided among two starts; what a rung does not use up is passed on to the next (fallback). Ties are
    left out of what lies below, which keeps the p-value exact.

    When to trust it: requests to come are like those of the trial and independent, the scores and labels are made by the
    same procedure with the same number of tries, and nobody chose the score by looking at this trial. Each start by itself is
    exact for any score. That a level may be passed on rests on one thing more: where the failure rate crosses ``risk``, it
    rises with the threshold, as it does for a score worth having. No threshold is promised: where the trial does not
    suffice, nothing is released. An upper bound over trials is not one over requests: within one trial in ten (at .9) the rate may be higher.

    Args:
        scores: (n, tries) or (n,), larger is stranger; NaN or inf is an attempt that was never finished and is never released.
        bad: the same shape, 0 or 1 (or bool), whether the attempt failed; not read where there is no score.
        risk: the failure rate among released items that must not be exceeded.
        confidence: the share of trials in which it holds.

    Raises:
        TooFewReferences: even without a failure the trial would be too small; the message gives the number needed.
        WrongShape: scores and labels do not fit together.
        NotFinite: an attempt has a score and no label.
        InvalidSetting: a risk or confidence outside (0, 1), or a label that is neither 0 nor 1.

    Source: Angelopoulos, Bates, Candes, Jordan, Lei 2021, Learn then test; Wiens 2003, A fixed sequence Bonferroni procedure.

    >>> scores = np.arange(100.0)
    >>> certified = release_threshold(scores, scores >= 80, risk=0.1)
    >>> certified.threshold, certified.released, certified.bad, certified.of
    (78.0, 78, 0, 100)
    >>> release_threshold(scores, scores < 50, risk=0.1).always_withholds
    True
    """
    scores, failed = _trial(scores, bad)
    n = len(scores)
    if n < (fewest := needed_trials(risk, confidence)):
        raise TooFewReferences(
            f"cannot bound failures among released items at {risk:g} with confidence {confidence:g} from {n} labelled requests: even without one "
            f"failure it takes {fewest}; give at least {fewest} (several times as many to release much), or relax the risk or the confidence"
        )
    best, passed = Certified(-math.inf, 0, 0, n, risk, confidence, math.nan), 0.0
    minima = np.append(np.sort(scores.min(axis=1)), math.inf)
    for rung in ladder(n, risk, confidence):
        level = passed + rung.share * (1 - confidence)
        threshold = float(minima[rung.released])
        released, failures = _outcome(scores, failed, threshold)
        holds = upper_limit(failures, released, level) <= risk * (1 + ROUNDING) if level else False
        if holds:
            best = Certified(threshold, released, failures, n, risk, confidence, upper_limit(failures, released, level))
        passed = level if holds else 0.0
    return best


def withhold_threshold(scores: np.ndarray, level: float) -> Approved:
    """The threshold at which at most the share ``level`` of requests like these is withheld. It needs no labels and bounds no failures.

    A request counts by the smallest score of its attempts; with ``k = floor(level (n + 1))`` the threshold lies just above the k-th
    largest of these. A request to come is exchangeable with these, so it is withheld with probability at most ``level``, averaged over
    calibrations (split conformal; Vovk, Gammerman, Shafer 2005). When to trust it: these requests were made by the same
    procedure, tries included, and all are good.

    Shapes: scores (n, tries) or (n,); larger is stranger; NaN or inf is an attempt that was never finished.

    Raises:
        TooFewReferences: so few requests cannot bound this level; the message gives the number needed.
        NotFinite: in so many requests no attempt was finished that the level is exceeded whatever the threshold.
        InvalidSetting: a level outside (0, 1).

    >>> withhold_threshold(np.arange(99.0), 0.05).threshold > 94.0
    True
    """
    minima = np.sort(_finished(scores).min(axis=1))
    n, k = len(minima), steps(len(minima), level)
    if k < 1:
        raise TooFewReferences(f"cannot bound withheld requests at {level:g} with {n} of them; give at least {needed(level)}, or a higher share")
    if math.isinf(minima[n - k]):
        lost = int(np.isinf(minima).sum())
        raise NotFinite(f"in {lost} of {n} requests no attempt was finished, so more than {level:g} are withheld at any threshold; give up fewer early")
    return Approved(float(np.nextafter(minima[n - k], math.inf)), n, level, false_alarm_bound(n, level))


@lru_cache(maxsize=64)
def ladder(n: int, risk: float, confidence: float) -> tuple[Rung, ...]:
    """Which numbers of released requests are tested, in this order, and how the permitted error is divided; it depends on nothing else.

    Only numbers are tested at which one more failure comes to be allowed: with a few more requests and no more failures
    allowed, a test is only harder. A start that has no room before the next one gives its share to that one. The last rung releases everything.

    >>> [(rung.released, rung.share) for rung in ladder(120, 0.05, 0.9)]
    [(45, 1.0), (77, 0.0), (105, 0.0), (120, 0.0)]
    """
    rungs: list[Rung] = []
    carried, spent, earliest = 0.0, 0.0, 1.0
    for j, (place, share) in enumerate(STARTS):
        share, earliest = share + carried, min(earliest, place)
        last = j + 1 == len(STARTS)
        end = math.inf if last else _first_at(n, risk, STARTS[j + 1][1] * (1 - confidence), STARTS[j + 1][0] * n)
        begin = _first_at(n, risk, share * (1 - confidence), earliest * n)
        if not last and begin >= min(end, STARTS[j + 1][0] * n):
            carried = share
            continue
        spent, carried, earliest = spent + share, 0.0, 1.0
        rungs.append(Rung(int(begin), share))
        for m in worthwhile(n, risk, min(1.0, spent) * (1 - confidence)):
            if rungs[-1].released * SPACING <= m < end and m > begin:
                rungs.append(Rung(int(m), 0.0))
    return tuple(rungs) if rungs[-1].released == n else (*rungs, Rung(n, 0.0))


def worthwhile(n: int, risk: float, level: float) -> np.ndarray:
    """The numbers of released requests, up to n, at which one more failure comes to be allowed in a test at this level.

    >>> worthwhile(120, 0.05, 0.1)
    array([ 45,  77, 105])
    """
    from scipy.stats import binom  # here: it takes a second to import

    m = np.arange(n + 1)
    allowed = binom.ppf(level, m, risk) - 1  # the most failures whose tail lies below the level; -1 if there is none
    return m[1:][np.diff(np.maximum(allowed, -1)) > 0]


def upper_limit(failures: int, of: int, level: float) -> float:
    """The failure rate that is excluded, and all above it, at this level by so few failures: Clopper-Pearson, exact.

    >>> upper_limit(0, 45, 0.1) <= 0.05 < upper_limit(0, 44, 0.1)
    True
    """
    from scipy.special import betaincinv

    return 1.0 if failures >= of else float(betaincinv(failures + 1, of - failures, 1 - level))


def _first_at(n: int, risk: float, level: float, place: float) -> float:
    """The first worthwhile number from this place on; inf if there is none."""
    found = [m for m in worthwhile(n, risk, level) if m >= place]
    return float(found[0]) if found else math.inf


def _outcome(scores: np.ndarray, failed: np.ndarray, threshold: float) -> tuple[int, int]:
    """How many requests are released at a threshold, and how many of these fail: each releases its first attempt below."""
    below = scores < threshold
    first = below & (below.cumsum(axis=1) == 1)
    return int(below.any(axis=1).sum()), int((first & failed).sum())


def _finished(scores: np.ndarray) -> np.ndarray:
    """Scores (n, tries) in float64; attempts that were never finished are inf."""
    scores = np.asarray(scores, dtype=np.float64)
    scores = scores[:, None] if scores.ndim == 1 else scores
    if scores.ndim != 2 or not scores.shape[1]:
        raise WrongShape(f"scores of a trial are (requests, tries), or (requests,) for one try; got {scores.shape}")
    return np.where(np.isnan(scores), math.inf, scores)


def _trial(scores: np.ndarray, bad: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores and failures, (n, tries); what was never finished is inf and no failure."""
    scores, bad = np.asarray(scores), np.asarray(bad, dtype=np.float64)
    if scores.shape != bad.shape:
        raise WrongShape(f"each attempt needs a score and a label; got scores {scores.shape} and labels {bad.shape}")
    finished = _finished(scores)
    labels = bad.reshape(finished.shape)[np.isfinite(finished)]
    if np.isnan(labels).any():
        raise NotFinite(f"{int(np.isnan(labels).sum())} of {labels.size} finished attempts have no label; label them all, or leave those requests out whole")
    if not np.isin(labels, (0.0, 1.0)).all():
        raise InvalidSetting("a label is 0 (good) or 1 (failed); other values are not understood")
    return finished, (bad.reshape(finished.shape) == 1) & np.isfinite(finished)


def _between(name: str, value: float) -> float:
    if not 1e-9 <= value < 1.0:
        raise InvalidSetting(f"a {name} lies between 0 and 1; got {value:g}")
    return value
