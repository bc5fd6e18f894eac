"""One strangeness to a p-value with a known error rate: conformal ranks, what they can reach, and whole batches."""

from __future__ import annotations

import math

import numpy as np

from ..errors import InvalidSetting, NotFinite, TooFewReferences, WrongShape
from .strangeness import Ranks, counts

#: How the p-values of a batch hang together: ``positive`` or ``any``. A plain word, so that a wrong one is refused in words.
Dependence = str

#: 0.29 * 100 is 28.999999999999996: products and quotients of levels are taken to be whole within this.
ROUNDING = 1e-9


def conformal_p(references: np.ndarray, items: np.ndarray) -> np.ndarray:
    """The share of known-good numbers, the item's own included, that are at least as large, (m,); small is strange.

    ``p = (1 + #{i: r_i >= x}) / (n + 1)``. If item and references are exchangeable, ``P(p <= a) <= a`` for every a,
    whatever their distribution; ties count against flagging. All items of a run share these references, so their
    p-values move together: the rate realised with one calibration scatters, see :func:`false_alarm_bound`.
    Source: Vovk, Gammerman, Shafer 2005; Laxhammar and Falkman 2010 for anomalies.

    Shapes: references (n,), items (m,); larger is stranger.

    Raises:
        TooFewReferences: there are no references.

    >>> conformal_p(np.arange(9.0), np.array([4.0, 100.0]))
    array([0.6, 0.1])
    """
    return evidence_p(np.asarray(references)[:, None], np.asarray(items)[:, None], ("upper",))[:, 0]


def evidence_p(references: np.ndarray, items: np.ndarray, tails: tuple[str, ...]) -> np.ndarray:
    """A conformal p-value for each column by itself, (m, k), on the side its tail names (``both``: see ``Ranks``).

    It says which statistic speaks against an item. Each column is valid alone; the smallest of k is not: judge by the combined p.

    Shapes: references (n, k), items (m, k).

    Raises:
        TooFewReferences: there are no references.
        NotFinite: a number is NaN.
        WrongShape: columns and tails do not fit together.

    >>> evidence_p(np.arange(9.0)[:, None], np.array([[-100.0], [4.0]]), ("both",)).tolist()
    [[0.1], [1.0]]
    """
    references, items = np.asarray(references, dtype=np.float64), np.asarray(items, dtype=np.float64)
    if references.ndim != 2 or items.ndim != 2 or not references.shape[1] == items.shape[1] == len(tails):
        raise WrongShape(f"references (n, k), items (m, k) and k tails are needed; got {references.shape}, {items.shape} and {len(tails)} tails")
    if not len(references):
        raise TooFewReferences("cannot give a p-value with 0 reference items; give at least 19 to flag at p <= 0.05")
    if np.isnan(references).any() or np.isnan(items).any():
        raise NotFinite("a p-value needs numbers, and some of these are NaN; leave those rows out first")
    return np.stack([_column_p(references[:, j], items[:, j], tail) for j, tail in enumerate(tails)], axis=1)


def _column_p(references: np.ndarray, items: np.ndarray, tail: str) -> np.ndarray:
    if tail == "both":
        return Ranks().p_values(references[:, None], items[:, None], (tail,))
    return (counts(references, items, 1 if tail == "upper" else -1) + 1) / (len(references) + 1)


def reaches(p: float, level: float) -> bool:
    """Whether ``p <= level``, fractions being equal as fractions.

    >>> reaches(3 / 10, 0.1 + 0.2), reaches(0.051, 0.05)
    (True, False)
    """
    return bool(p <= level * (1 + ROUNDING))


def needed(level: float) -> int:
    """How many references it takes for any item to be flagged at this level: ``ceil(1 / level) - 1``.

    Raises:
        InvalidSetting: a level outside (0, 1).

    >>> needed(0.01), needed(0.05)
    (99, 19)
    """
    return max(1, math.ceil(1 / _level(level) - ROUNDING) - 1)


def smallest_p(n: int) -> float:
    """The smallest p-value that n references can give, ``1 / (n + 1)``.

    >>> smallest_p(99)
    0.01
    """
    return 1 / (n + 1)


def steps(n: int, level: float) -> int:
    """k = floor(level (n + 1)): an item is flagged when fewer than k references are at least as strange.

    >>> steps(99, 0.29), steps(50, 0.01)
    (29, 0)
    """
    return math.floor(_level(level) * (n + 1) + ROUNDING)


def false_alarm_bound(n: int, level: float, confidence: float = 0.9) -> float:
    """The false-alarm rate that *this* calibration stays below, with that confidence; 0 when nothing can be flagged.

    The promise ``P(p <= level) <= level`` is an average over calibrations. One calibration, frozen, realises a rate that
    follows ``Beta(k, n + 1 - k)`` with k = floor(level (n + 1)); this is its quantile. The law is exact for one continuous
    statistic or a fixed score; when a combiner is refitted with each item it is an approximation. Source: Vovk 2012,
    Conditional validity of inductive conformal predictors.

    Raises:
        InvalidSetting: a level or confidence outside (0, 1).

    >>> round(false_alarm_bound(64, 0.05), 3), round(false_alarm_bound(64, 0.05, 0.975), 3)
    (0.081, 0.108)
    """
    from scipy.special import betaincinv  # here: a command's help must not wait for scipy

    k = steps(n, level)
    if not 0.0 < confidence < 1.0:
        raise InvalidSetting(f"a confidence lies between 0 and 1; got {confidence:g}")
    return float(betaincinv(k, n + 1 - k, confidence)) if k else 0.0


def fewest_discoveries(m: int, level: float, n: int, dependence: Dependence = "positive") -> int:
    """How many of m items must be stranger than all n references before the first is called: ``ceil(m / (level (n + 1)))``.

    More than m means that nothing can ever be called. ``any`` divides the level by ``1 + 1/2 + ... + 1/m``.

    >>> fewest_discoveries(1000, 0.1, 1000), fewest_discoveries(100, 0.05, 9)
    (10, 200)
    """
    return max(1, math.ceil(m * _price(m, dependence) / (_level(level) * (n + 1)) - ROUNDING))


def require_served(m: int, level: float, n: int, dependence: Dependence = "positive") -> None:
    """Refuse a batch of m items in which n references cannot bound false discoveries, before any work is done.

    Raises:
        TooFewReferences: even if every item were stranger than all references, none could be called.
        InvalidSetting: a level outside (0, 1), or an unknown dependence.
    """
    if m and (fewest := fewest_discoveries(m, level, n, dependence)) > m:
        enough = math.ceil(_price(m, dependence) / level - ROUNDING) - 1
        raise TooFewReferences(
            f"cannot bound false discoveries at {level:g} in a batch of {m} with {n} reference items: {fewest} items would have to be stranger "
            f"than all of them; give at least {enough}, or relax the level"
        )


def false_discoveries(p: np.ndarray, level: float, n: int, dependence: Dependence = "positive") -> np.ndarray:
    """Which of a batch to call strange so that, on average, at most the share ``level`` of those called is known-good, (m,) bool.

    Benjamini-Hochberg (``positive``) or Benjamini-Yekutieli (``any``). What is proved: for p-values of one fixed
    statistic that share their references, the dependence is positive and Benjamini-Hochberg holds (Bates, Candes, Lei,
    Romano, Sesia 2023, Testing for outliers with conformal p-values). For full conformal p-values, where the combiner
    is refitted with each item, that is measured by our benchmark ``guarantees`` and not proved; ``any`` always holds, at a price.

    Args:
        p: p-values of the batch, (m,), readable items only.
        n: how many references stand behind them.

    Raises:
        TooFewReferences: even if every item were stranger than all references, none could be called.
        NotFinite: a p-value is NaN.
        InvalidSetting: a level outside (0, 1), or an unknown dependence.

    >>> false_discoveries(np.array([0.001, 0.001, 0.4, 0.9]), 0.1, n=999)
    array([ True,  True, False, False])
    """
    p = np.asarray(p, dtype=np.float64)
    if np.isnan(p).any():
        raise NotFinite(f"{int(np.isnan(p).sum())} of {len(p)} p-values are NaN; leave unreadable items out of the batch")
    if not len(p):
        return np.zeros(0, dtype=bool)
    require_served(len(p), level, n, dependence)
    from scipy.stats import false_discovery_control  # here: it takes a second to import

    adjusted = false_discovery_control(p, method="bh" if dependence == "positive" else "by")
    return adjusted <= level * (1 + ROUNDING)


def _level(level: float) -> float:
    if not 1e-9 <= level < 1.0:
        raise InvalidSetting(f"a level lies between 1e-09 and 1; got {level:g}")
    return level


def _price(m: int, dependence: str) -> float:
    """What a dependence costs: the factor by which the level of a batch of m is divided."""
    if dependence not in ("positive", "any"):
        raise InvalidSetting(f"dependence is 'positive' or 'any'; got {dependence!r}")
    return sum(1 / i for i in range(1, m + 1)) if dependence == "any" else 1.0
