"""How much is won by declining: what risk remains when the strangest are withheld, and whether a map points at its own errors.

Items are kept from the least strange upward. With l(j) the loss of the j-th of them, the risk of keeping k is R(k) = mean of
l(1) ... l(k). Where scores are equal no order is assumed: every figure takes the mean over all orders of equal items, which
is exact and not drawn. Losses are 1 for a failure and 0 for what is good, but for maps, whose errors are numbers.

Intervals come from :func:`diffident.evaluate.interval`, which keeps the numbers of good and failed items: they say how
sure the ranking is at this failure rate, and not how sure the rate is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InvalidSetting, WrongShape
from .ranking import Interval, auroc, checked, redrawn

#: One array (*shape) for each item, or all of them stacked (n, *shape).
Maps = Sequence[np.ndarray] | np.ndarray

#: At how many shares removed a sparsification curve is told.
STEPS = 50


def risk_coverage(labels: ArrayLike, scores: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """The share of failures among what is kept, for every share that can be kept.

    Args:
        labels: (n,), 1 = failure, 0 = good.
        scores: (n,), larger is stranger and withheld first; infinities allowed.

    Returns:
        coverage k/n and risk R(k), each (n,), from the least strange item alone to all of them.

    Raises:
        WrongShape: not one label per score.
        InvalidSetting: labels other than 0 and 1, only one of them, or a score that is not a number.

    Example:
        >>> coverage, risk = risk_coverage([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
        >>> coverage.tolist(), risk.tolist()
        ([0.25, 0.5, 0.75, 1.0], [0.0, 0.5, 0.3333333333333333, 0.5])

    Source: El-Yaniv and Wiener, On the foundations of noise-free selective classification, JMLR 2010.
    """
    failures, values = checked(labels, scores)
    kept = np.arange(1, len(values) + 1)
    return kept / len(values), _kept(failures, values) / kept


def aurc(labels: ArrayLike, scores: ArrayLike) -> float:
    """The risk, averaged over all numbers of items that could be kept: smaller is better.

    AURC = 1/n sum_k R(k). A score that knows nothing reaches the failure rate; the best possible is about r + (1 - r) ln(1 - r)
    at a failure rate r, so figures at different rates cannot be compared: quote :func:`excess_aurc` beside it.

    Args:
        labels: (n,), 1 = failure, 0 = good.
        scores: (n,), larger is stranger; infinities allowed.

    Raises:
        WrongShape, InvalidSetting: as :func:`risk_coverage`.

    Example:
        >>> round(aurc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]), 4)
        0.3333

    Source: Geifman, Uziel and El-Yaniv, Bias-reduced uncertainty estimation for deep neural classifiers, ICLR 2019.
    """
    return float(risk_coverage(labels, scores)[1].mean())


def excess_aurc(labels: ArrayLike, scores: ArrayLike) -> float:
    """How far AURC lies above that of an oracle, which withholds every failure first: E-AURC, 0 is perfect.

    The oracle's area is computed for these very numbers of items, sum over k > n - P of (k - n + P) / (k n) with P failures.

    Args:
        labels: (n,), 1 = failure, 0 = good.
        scores: (n,), larger is stranger; infinities allowed.

    Raises:
        WrongShape, InvalidSetting: as :func:`risk_coverage`.

    Example:
        >>> excess_aurc([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4])
        0.0

    Source: Geifman, Uziel and El-Yaniv, ICLR 2019.
    """
    failures, values = checked(labels, scores)
    return _area(failures, values) - _area(failures, failures)


def augrc(labels: ArrayLike, scores: ArrayLike) -> float:
    """The chance that an item is a failure *and* kept, averaged over coverages: AUGRC, smaller is better.

    The area under R(k) k/n against k/n, by trapezoids from (0, 0), which is (1 - AUROC) r (1 - r) + r^2 / 2 with r the failure rate.
    Unlike AURC it does not weigh the first few items most. A score that knows nothing reaches r / 2, an oracle r^2 / 2.

    Args:
        labels: (n,), 1 = failure, 0 = good.
        scores: (n,), larger is stranger; infinities allowed.

    Raises:
        WrongShape, InvalidSetting: as :func:`risk_coverage`.

    Example:
        >>> augrc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
        0.1875

    Source: Traub et al., Overcoming common flaws in the evaluation of selective classification systems, NeurIPS 2024 (2407.01032).
    """
    rate = float(checked(labels, scores)[0].mean())
    return (1 - auroc(labels, scores)) * rate * (1 - rate) + rate**2 / 2


def risk_at(labels: ArrayLike, scores: ArrayLike, coverage: float = 0.9) -> float:
    """The share of failures among what is kept when at least that share of all items is kept.

    R(k) at the smallest k with k/n >= coverage.

    Args:
        labels: (n,), 1 = failure, 0 = good.
        scores: (n,), larger is stranger; infinities allowed.
        coverage: share of the items to be kept, in (0, 1].

    Raises:
        WrongShape, InvalidSetting: as :func:`risk_coverage`; or a coverage outside (0, 1].

    Example:
        >>> risk_at([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4], 0.75)
        0.3333333333333333
    """
    _require_share("keep a share of", "all items", coverage)
    shares, risk = risk_coverage(labels, scores)
    return float(risk[_least(coverage, len(shares)) - 1])


def coverage_at(labels: ArrayLike, scores: ArrayLike, risk: float = 0.05) -> float:
    """The largest share of items that can be kept with no more than that share of failures among them; 0 if there is none.

    max k/n with R(k) <= risk. It is read off the very items that are judged, so it promises nothing of others.

    Args:
        labels: (n,), 1 = failure, 0 = good.
        scores: (n,), larger is stranger; infinities allowed.
        risk: the share of failures that is allowed, in [0, 1).

    Raises:
        WrongShape, InvalidSetting: as :func:`risk_coverage`; or a risk outside [0, 1).

    Example:
        >>> coverage_at([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4], 0.4)
        0.75
    """
    if not 0 <= risk < 1:
        raise InvalidSetting(f"cannot allow a share of {risk} of failures; give a risk from 0 to below 1, such as 0.05")
    shares, risks = risk_coverage(labels, scores)
    within = np.flatnonzero(risks <= risk)
    return float(shares[within[-1]]) if len(within) else 0.0


def removed_at(labels: ArrayLike, scores: ArrayLike, kept: float = 0.99) -> float:
    """The share of failures that is removed when that share of the good is kept: 1 is perfect.

    Items are kept from the least strange upward until the g-th good one, g the smallest number with g / N >= kept among N good
    ones; what comes after it is removed. A score that knows nothing removes about 1 - kept.

    Args:
        labels: (n,), 1 = failure, 0 = good.
        scores: (n,), larger is stranger; infinities allowed.
        kept: share of the good to be kept, in (0, 1].

    Raises:
        WrongShape, InvalidSetting: as :func:`risk_coverage`; or a share outside (0, 1].

    Example:
        >>> removed_at([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
        0.5
    """
    _require_share("keep a share of", "the good", kept)
    failures, values = checked(labels, scores)
    total = int(failures.sum())
    last = _least(kept, len(values) - total)
    at = np.sort(values[failures == 0])[last - 1]  # the score of the good item that is kept last
    good, bad = values[failures == 0], values[failures == 1]
    tied, rank = int((good == at).sum()), last - int((good < at).sum())
    ahead = (bad == at).sum() * rank / (tied + 1)  # of the failures tied with it, those before it in a random order
    return float(1 - ((bad < at).sum() + ahead) / total)


@dataclass(frozen=True, eq=False)
class Sparsification:
    """What error remains as the elements that a map calls most uncertain are taken away, in units of the error of all.

    Attributes:
        removed: shares of the elements taken away, (k,), from 0 upward.
        remaining: mean error of the rest, (k,); 1 where nothing is taken away.
        oracle: the same where the elements of largest error go first.
        ause: area between the two over all shares; 0 is perfect.
        gain: area between random removal, which leaves the error at 1, and the map; 0 is worth nothing, below 0 is misleading.
    """

    removed: np.ndarray
    remaining: np.ndarray
    oracle: np.ndarray
    ause: Interval
    gain: Interval

    @property
    def uninformative(self) -> bool:
        """No better than random by its interval: such a map must not be shown as if it pointed anywhere."""
        return self.gain.low <= 0

    def __str__(self) -> str:
        return f"AUSE {self.ause}, gain over random {self.gain}" + (", uninformative" if self.uninformative else "")


def sparsification(errors: Maps, maps: Maps, groups: ArrayLike | None = None, repeats: int = 2000, confidence: float = 0.95, seed: int = 0) -> Sparsification:
    """Whether a map of uncertainty points at the errors of the same item, with intervals over items.

    Within each item elements are removed from the most uncertain downward, so that it does not count which items are uncertain
    as a whole. With e_i(k) the mean error of the k least uncertain of the n_i elements of item i, and e_i that of all of them,
    the area of an item is 1/n_i sum_k e_i(k); AUSE = sum_i (area - area of the oracle) / sum_i e_i, and
    gain = sum_i (e_i - area) / sum_i e_i. Elements of one picture are not independent: whole items, or whole groups, are drawn again.

    Args:
        errors: one (*shape) for each item, at least 0. Items may differ in shape.
        maps: one (*shape) for each, larger is more uncertain; infinities allowed.
        groups: (n,) names or numbers of the independent units, or None where each item is one.
        repeats: how often to draw again, at least 1.
        confidence: share of the drawn figures inside the interval, in (0, 1).
        seed: of the draws.

    Raises:
        WrongShape: a map that is not of the shape of its errors, or not one map and one group for each.
        InvalidSetting: fewer than two units, errors below 0 or not finite, no error at all, or a value that is not a number.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> errors = rng.exponential(size=(20, 8, 8))
        >>> sparsification(errors, errors).ause.value, sparsification(errors, rng.normal(size=(20, 8, 8))).uninformative
        (0.0, True)

    Source: Ilg et al., Uncertainty estimates and multi-hypotheses networks for optical flow, ECCV 2018; the gain is Poggi et al., CVPR 2020.
    """
    if repeats < 1 or not 0 < confidence < 1:
        raise InvalidSetting(f"cannot draw {repeats} times for a confidence of {confidence}; give at least 1 repeat and a confidence between 0 and 1")
    pairs = _maps(errors, maps)
    units = np.arange(len(pairs)) if groups is None else np.asarray(groups)
    if units.shape != (len(pairs),):
        raise WrongShape(f"an interval over groups needs one group per item; groups are {units.shape}, for {len(pairs)} items")
    if (found := len(np.unique(units))) < 2:
        raise InvalidSetting(f"an interval draws among items or groups and needs two; here is {found}: give more items")
    means = np.array([wrong.mean() for wrong, _ in pairs])
    if not means.sum() > 0:
        raise InvalidSetting(f"none of {len(pairs)} items has any error, so no map can point at it; give items with errors")
    areas = np.array([(_area(wrong, told), _area(wrong, wrong)) for wrong, told in pairs])
    per_item = np.stack([areas[:, 0] - areas[:, 1], means - areas[:, 0], means], axis=1)
    often = np.stack(list(redrawn(np.zeros(len(pairs), dtype=np.int64), units, repeats, seed)))
    removed = np.arange(STEPS) / STEPS
    curves = [np.mean([_remaining(wrong, by, removed) for wrong, by in of], axis=0) / means.mean() for of in (pairs, [(wrong, wrong) for wrong, _ in pairs])]
    return Sparsification(removed, *curves, *_intervals(per_item, often, confidence))


def _intervals(per_item: np.ndarray, often: np.ndarray, confidence: float) -> list[Interval]:
    """The sums of all columns but the last over that of the last, and what becomes of it when items are drawn so often."""
    drawn = often @ per_item
    drawn = drawn[drawn[:, -1] > 0]  # a draw of items without error says nothing
    ratios, (exact,) = drawn[:, :-1] / drawn[:, -1:], per_item.sum(0, keepdims=True)
    low, high = np.quantile(ratios, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return [Interval(float(exact[i] / exact[-1]), float(low[i]), float(high[i])) for i in range(len(low))]


def _remaining(losses: np.ndarray, scores: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """Mean loss of what is left when those shares of the elements are removed, the most uncertain first."""
    kept = np.maximum(np.ceil((1 - removed) * len(losses) - 1e-9), 1).astype(int)
    return _kept(losses, scores)[kept - 1] / kept


def _area(losses: np.ndarray, scores: np.ndarray) -> float:
    """The risk averaged over all numbers kept."""
    return float((_kept(losses, scores) / np.arange(1, len(losses) + 1)).mean())


def _kept(losses: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Sum of the losses of the k least strange items for each k, (n,): the mean over all orders of equal scores.

    Within a tie the sum rises in a straight line, for each of its items is as likely to come next as any other.
    """
    order = np.argsort(scores, kind="stable")
    ranked, sums = scores[order], np.cumsum(losses[order], dtype=np.float64)
    ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    return np.interp(np.arange(len(ranked)), np.append(-1, ends), np.append(0.0, sums[ends]))


def _least(share: float, of: int) -> int:
    """The smallest number that is at least that share, and at least 1; a share such as .95 of 100 is 95 whatever its last bit."""
    return max(1, math.ceil(share * of - 1e-9))


def _require_share(doing: str, what: str, share: float) -> None:
    if not 0 < share <= 1:
        raise InvalidSetting(f"cannot {doing} {share} of {what}; give a share above 0 and up to 1, such as 0.95")


def _maps(errors: Maps, maps: Maps) -> list[tuple[np.ndarray, np.ndarray]]:
    """Errors and values of each item, flat."""
    if len(errors) != len(maps):
        raise WrongShape(f"a sparsification needs one map for the errors of each item; there are {len(maps)} maps for {len(errors)} items")
    pairs = [(np.asarray(wrong), np.asarray(told)) for wrong, told in zip(errors, maps, strict=True)]
    for i, (wrong, told) in enumerate(pairs):
        if wrong.shape != told.shape or not wrong.size:
            raise WrongShape(f"a map has the shape of the errors that it points at; of item {i} the errors are {wrong.shape}, the map {told.shape}")
        if not np.isfinite(wrong).all() or wrong.min() < 0 or np.isnan(told).any():
            raise InvalidSetting(f"errors are finite and 0 or more, and values of a map are numbers; those of item {i} are not; leave it out")
    return [(wrong.ravel().astype(np.float64), told.ravel().astype(np.float64)) for wrong, told in pairs]
