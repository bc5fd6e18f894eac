"""How well scores put the strange above the normal: AUROC, average precision, FPR95, and how sure that figure is.

All read the same thing. Going down the items from the strangest, let tp(k) and fp(k) count the strange and the normal
items with a score at or above the k-th distinct value; P and N are the totals. Items of equal score are passed in one
step, so no order among them is ever assumed. Only the order of scores matters: they are compared as they are, in
float64, never clipped or scaled, and infinities are allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InvalidSetting, WrongShape


def auroc(labels: ArrayLike, scores: ArrayLike) -> float:
    """The chance that a strange item gets a higher score than a normal one, ties counted as half.

    AUROC = (#{strange > normal} + #{strange = normal} / 2) / (P N), counted in integers; 0.5 is worth nothing, 1 is perfect.

    Args:
        labels: (n,), 1 = strange, 0 = normal.
        scores: (n,), larger is stranger; infinities allowed.

    Raises:
        WrongShape: not one label per score.
        InvalidSetting: labels other than 0 and 1, only one of them, or a score that is not a number.

    Example:
        >>> auroc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
        0.75

    Source: Hanley and McNeil, The meaning and use of the area under a ROC curve, Radiology 1982.
    """
    hits, false = _steps(*checked(labels, scores))
    strange, normal = np.diff(hits, prepend=0), np.diff(false, prepend=0)
    beaten_twice = 2 * (false[-1] - false) + normal  # normals below each step, and half of those on it, times two
    return int(strange @ beaten_twice) / (2 * int(hits[-1]) * int(false[-1]))


def average_precision(labels: ArrayLike, scores: ArrayLike) -> float:
    """How pure the top of the list is, averaged over the strange items found on the way down.

    AP = sum_k (tp(k) - tp(k-1)) / P * tp(k) / (tp(k) + fp(k)): a step function, not interpolated. A random score reaches
    P / (P + N), so quote that share beside it.

    Args:
        labels: (n,), 1 = strange, 0 = normal.
        scores: (n,), larger is stranger; infinities allowed.

    Raises:
        WrongShape: not one label per score.
        InvalidSetting: labels other than 0 and 1, only one of them, or a score that is not a number.

    Example:
        >>> round(average_precision([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]), 4)
        0.8333

    Source: Davis and Goadrich, The relationship between precision-recall and ROC curves, ICML 2006.
    """
    hits, false = _steps(*checked(labels, scores))
    return float(np.diff(hits, prepend=0) @ (hits / (hits + false)) / hits[-1])


def fpr_at(labels: ArrayLike, scores: ArrayLike, recall: float = 0.95) -> float:
    """The share of normal items flagged at the strictest threshold that still finds that share of the strange ones.

    FPR = fp(k) / N at the first k with tp(k) / P >= recall: the smallest false positive rate of any threshold with a true
    positive rate of at least ``recall``, without interpolation. 0 is perfect. Here the strange items are the positives;
    papers that call the known items positive report ``fpr_at(1 - labels, -scores)``, which is another number.

    Args:
        labels: (n,), 1 = strange, 0 = normal.
        scores: (n,), larger is stranger; infinities allowed.
        recall: share of the strange items to be found, in (0, 1].

    Raises:
        WrongShape: not one label per score.
        InvalidSetting: labels other than 0 and 1, only one of them, a score that is not a number, or a recall outside (0, 1].

    Example:
        >>> fpr_at([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
        0.5

    Source: Liang, Li and Srikant, Enhancing the reliability of out-of-distribution image detection (ODIN), ICLR 2018.
    """
    if not 0 < recall <= 1:
        raise InvalidSetting(f"cannot find a share of {recall} of the strange items; give a recall above 0 and up to 1, such as 0.95")
    hits, false = _steps(*checked(labels, scores))
    return float(false[np.argmax(hits / hits[-1] >= recall)] / false[-1])


@dataclass(frozen=True)
class Interval:
    """A figure and the range in which it would fall again with other items of the same kind.

    Example:
        >>> print(Interval(0.9318, 0.87, 0.9712))
        0.932 [0.870, 0.971]
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def interval(
    metric: Callable[[np.ndarray, np.ndarray], float],
    labels: ArrayLike,
    scores: ArrayLike,
    groups: ArrayLike | None = None,
    repeats: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The metric, with a percentile bootstrap interval that respects groups.

    Items are drawn again with replacement, strange ones among the strange and normal ones among the normal, and the metric
    is computed anew; ``low`` and ``high`` cut off (1 - confidence) / 2 of these figures on either side. With ``groups``,
    whole groups (tiles, recordings, persons) are drawn, among groups that hold the same classes: photographs of one tile
    are not independent, and an interval over photographs would be too short. Trust it from some ten groups a class upward;
    at a metric of exactly 0 or 1 it has no width, which proves nothing.

    Args:
        metric: ``(labels, scores) -> float``, such as :func:`auroc`.
        labels: (n,), 1 = strange, 0 = normal.
        scores: (n,), larger is stranger; infinities allowed.
        groups: (n,) names or numbers of the independent units, or None where each item is one.
        repeats: how often to draw again, at least 1.
        confidence: share of the drawn figures inside the interval, in (0, 1).
        seed: of the draws; the same seed gives the same interval.

    Raises:
        WrongShape: not one label and one group per score.
        InvalidSetting: as the metric, or a class with fewer than two groups to draw from, or a setting outside its range.

    Example:
        >>> labels, scores = [0] * 20 + [1] * 20, list(range(0, 20)) + list(range(10, 30))
        >>> print(interval(auroc, labels, scores))
        0.875 [0.762, 0.956]

    Source: Efron and Tibshirani, An introduction to the bootstrap, 1993, chapters 8 and 13.
    """
    if repeats < 1 or not 0 < confidence < 1:
        raise InvalidSetting(f"cannot draw {repeats} times for a confidence of {confidence}; give at least 1 repeat and a confidence between 0 and 1")
    strange, values = checked(labels, scores)
    names = _named(strange, groups)
    _require_two(strange, names)
    drawn, items = np.empty(repeats), np.arange(len(values))
    for i, times in enumerate(redrawn(strange, names, repeats, seed)):
        rows = np.repeat(items, times)
        drawn[i] = metric(strange[rows], values[rows])
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(metric(strange, values)), float(low), float(high))


def _steps(strange: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cumulative counts (tp, fp) at every distinct score, from the strangest down, int64."""
    order = np.argsort(scores)[::-1]
    ranked = scores[order]
    ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)  # compared, not subtracted: inf - inf is no number
    hits = np.cumsum(strange[order])[ends]
    return hits, ends + 1 - hits


def checked(labels: ArrayLike, scores: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    marks, values = np.asarray(labels), np.asarray(scores)
    if marks.ndim != 1 or marks.shape != values.shape:
        raise WrongShape(f"a ranking needs one label per score in two flat lists of equal length; labels are {marks.shape}, scores {values.shape}")
    if values.dtype.kind not in "biuf":
        raise InvalidSetting(f"scores must be real numbers to be ranked, these are {values.dtype}; convert them to float")
    if (missing := int(np.isnan(values).sum())) > 0:
        raise InvalidSetting(f"{missing} of {len(values)} scores are not a number and cannot be ranked; leave unreadable items out, and say how many")
    positive = marks == 1
    if not (positive | (marks == 0)).all():
        raise InvalidSetting(f"labels must be 1 (strange) or 0 (normal), these hold {np.unique(marks)[:5].tolist()}; convert them first")
    if (found := int(positive.sum())) in (0, len(marks)):
        raise InvalidSetting(f"ranking needs strange and normal items, here are {found} strange and {len(marks) - found} normal; give at least one of each")
    return positive.astype(np.int64), values.astype(np.float64)


def redrawn(strange: np.ndarray, groups: np.ndarray, repeats: int, seed: int = 0) -> Iterator[np.ndarray]:
    """How often each item is drawn, (n,), ``repeats`` times: whole groups, with replacement, among groups that hold the same classes.

    Args:
        strange: (n,), 1 = strange, 0 = normal.
        groups: (n,) names or numbers of the independent units.
        repeats: how often to draw.
        seed: of the draws.

    Example:
        >>> [times.tolist() for times in redrawn(np.array([0, 0, 1, 1]), np.array([1, 2, 3, 3]), 2)]
        [[0, 2, 1, 1], [1, 1, 1, 1]]
    """
    group_of = np.unique(groups, return_inverse=True)[1]
    holds = _holds(strange, group_of)
    strata = [np.flatnonzero((holds[0] == normal) & (holds[1] == odd)) for normal, odd in ((True, False), (False, True), (True, True))]
    rng, strata = np.random.default_rng(seed), [stratum for stratum in strata if len(stratum)]
    for _ in range(repeats):
        yield np.bincount(np.concatenate([rng.choice(stratum, len(stratum)) for stratum in strata]), minlength=group_of.max() + 1)[group_of]


def _holds(strange: np.ndarray, group_of: np.ndarray) -> np.ndarray:
    """Whether each group holds normal and strange items, (2, groups)."""
    return np.stack([np.bincount(group_of, weights=strange == label) > 0 for label in (0, 1)])


def _named(strange: np.ndarray, groups: ArrayLike | None) -> np.ndarray:
    """The group of each item."""
    names = np.arange(len(strange)) if groups is None else np.asarray(groups)
    if names.shape != strange.shape:
        raise WrongShape(f"an interval over groups needs one group per score; groups are {names.shape}, scores {strange.shape}")
    return names


def _require_two(strange: np.ndarray, groups: np.ndarray) -> None:
    """Refuse to draw where a class has but one group of a sort."""
    holds = _holds(strange, np.unique(groups, return_inverse=True)[1])
    for label, word in enumerate(("normal", "strange")):
        others = [int((holds[label] & (holds[1 - label] == mixed)).sum()) for mixed in (True, False)]
        if max(others) < 2:
            raise InvalidSetting(
                f"an interval draws among groups that hold the same classes and needs two of a sort; the {word} items come from "
                f"{others[0]} mixed and {others[1]} pure groups; give more groups, or quote the figure without an interval"
            )
