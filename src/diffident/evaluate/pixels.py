"""How well maps point at the defects: pixel AUROC and AUPRO, exact over every threshold, with intervals over pictures.

A mask marks the defective pixels of a picture; of an ordinary picture it marks none. Lowering a threshold from the highest
value of all maps, let the false positive rate be the share of unmarked pixels, of all pictures together, at or above it.
Pixels of equal value are passed in one step. Maps are compared as they are, never clipped or scaled.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InvalidSetting, WrongShape
from .ranking import Interval, redrawn

#: AUPRO is usually quoted up to this false positive rate: beyond it a map marks a third of every good surface.
LIMIT = 0.3

#: How many thresholds the drawn figures of an interval are computed on; the figure itself takes every one.
STEPS = 2000

#: One array (h, w) for each picture, or all of them stacked (n, h, w).
Pictures = Sequence[np.ndarray] | np.ndarray


def pixel_auroc(masks: Pictures, maps: Pictures) -> float:
    """The chance that a defective pixel gets a higher value than an ordinary one, ties counted as half.

    AUROC = (#{marked > unmarked} + #{marked = unmarked} / 2) / (P N) over the pixels of all pictures together, counted in
    integers. Large defects outweigh small ones, and a few percent of false marks hardly show: quote AUPRO beside it.

    Args:
        masks: one (h, w) for each picture; what is not 0 is defective. Pictures may differ in size.
        maps: one (h, w) for each, of the size of its mask; larger is stranger; infinities allowed.

    Raises:
        WrongShape: a map that is not of the size of its mask, or not one for each.
        InvalidSetting: no pixel is marked, or all are; or a value that is not a number.

    Example:
        >>> pixel_auroc([np.array([[0, 0, 1, 1]])], [np.array([[0.1, 0.4, 0.35, 0.8]])])
        0.75

    Source: Bergmann et al., The MVTec anomaly detection dataset, IJCV 2021, 129, 1038-1059.
    """
    pairs = _checked(masks, maps)
    ordinary, marked = _pooled(pairs)
    values, counts = np.unique(marked, return_counts=True)
    below_twice = np.searchsorted(ordinary, values, "left") + np.searchsorted(ordinary, values, "right")
    return int(counts @ below_twice) / (2 * len(ordinary) * len(marked))


def aupro(masks: Pictures, maps: Pictures, limit: float = LIMIT) -> float:
    """How much of each defect is found while few ordinary pixels are marked: every defect counts alike, however small.

    Marked pixels that touch, at corners too, make a region. PRO(t) is the mean over the regions of all pictures of the
    share of the region at or above t. AUPRO = 1 / limit * the area under PRO as a function of the false positive rate,
    from 0 to ``limit``, by trapezoids between all distinct thresholds, from (0, 0), and interpolated linearly at ``limit``.
    A map that knows nothing reaches about limit / 2; 1 is perfect. Compare figures of one limit only.

    Args:
        masks: one (h, w) for each picture; what is not 0 is defective. Pictures may differ in size.
        maps: one (h, w) for each, of the size of its mask; larger is stranger; infinities allowed.
        limit: the highest false positive rate looked at, in (0, 1].

    Raises:
        WrongShape: a map that is not of the size of its mask, or not one for each.
        InvalidSetting: no pixel is marked, or all are; a value that is not a number; or a limit outside (0, 1].

    Example:
        >>> mask, map = np.array([[1, 0, 0, 0, 1]]), np.array([[0.9, 0.1, 0.2, 0.3, 0.25]])
        >>> round(aupro([mask], [map], limit=1.0), 4)
        0.8333

    Source: Bergmann et al., The MVTec anomaly detection dataset, IJCV 2021, 129, 1038-1059, section 5.2; its reference evaluation.
    """
    _require_limit(limit)
    pairs = _checked(masks, maps)
    ordinary, marked = _pooled(pairs)
    weights, regions = _weights(pairs)
    values, place = np.unique(marked, return_inverse=True)
    found = np.cumsum(np.bincount(place, weights=weights)[::-1]) / regions
    # between the values of marked pixels PRO does not rise: the curve is known by the points just above and at each of them
    above = len(ordinary) - np.stack([np.searchsorted(ordinary, values, "right"), np.searchsorted(ordinary, values, "left")])[:, ::-1]
    rates = np.concatenate([above.T.ravel() / len(ordinary), [1.0]])
    shares = np.concatenate([[0.0], np.repeat(found, 2)])[: 2 * len(values)]
    return _area(rates, np.append(shares, 1.0), limit)


def pixel_intervals(
    masks: Pictures,
    maps: Pictures,
    limit: float = LIMIT,
    groups: ArrayLike | None = None,
    repeats: int = 500,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[Interval, Interval]:
    """Pixel AUROC and AUPRO, each with a percentile bootstrap interval over pictures.

    The figures are exact. Pictures, not pixels, are drawn again with replacement, those with defects among themselves and
    those without among themselves; or whole ``groups`` of them. The drawn figures are computed on a fixed grid of
    thresholds and moved by what the grid costs the figure itself. Trust it from some ten pictures with defects upward.

    Args:
        masks, maps, limit: see :func:`aupro`.
        groups: the independent unit of each picture (its part, its tile), or None where each picture is one.
        repeats: how often to draw again, at least 1.
        confidence: share of the drawn figures inside the interval, in (0, 1).
        seed: of the draws; the same seed gives the same interval.

    Raises:
        WrongShape: as :func:`aupro`; or not one group for each picture.
        InvalidSetting: as :func:`aupro`; fewer than two pictures with defects; or a setting outside its range.

    Example:
        >>> masks = np.zeros((20, 8, 8), int)
        >>> masks[:10, 2:4, 2:4] = 1
        >>> maps = masks + np.random.default_rng(0).normal(size=masks.shape)
        >>> print(*pixel_intervals(masks, maps), sep="; ")
        0.754 [0.689, 0.814]; 0.454 [0.363, 0.547]

    Source: Efron and Tibshirani, An introduction to the bootstrap, 1993, chapters 8 and 13.
    """
    if not 0 < confidence < 1:
        raise InvalidSetting(f"a confidence lies between 0 and 1; got {confidence:g}")
    exact, drawn = pixel_draws(masks, maps, limit, groups, repeats, seed)
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0).clip(0, 1)
    return Interval(float(exact[0]), float(low[0]), float(high[0])), Interval(float(exact[1]), float(low[1]), float(high[1]))


def pixel_draws(
    masks: Pictures, maps: Pictures, limit: float = LIMIT, groups: ArrayLike | None = None, repeats: int = 500, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """(pixel AUROC, AUPRO) and what they become when pictures are drawn again: (2,) and (repeats, 2).

    One seed draws the same pictures for every method, so that the difference of two methods' draws is a paired one.

    Args:
        masks, maps, limit, groups, repeats, seed: see :func:`pixel_intervals`.

    Raises:
        what :func:`pixel_intervals` raises.
    """
    exact = np.array([pixel_auroc(masks, maps), aupro(masks, maps, limit)])
    pairs = _checked(masks, maps)
    ordinary, marked, overlap, regions = _binned(pairs)
    drawn = np.array([_figures(times @ ordinary, times @ marked, times @ overlap, times @ regions, limit) for times in _draws(pairs, groups, repeats, seed)])
    return exact, drawn + exact - _figures(ordinary.sum(0), marked.sum(0), overlap.sum(0), regions.sum(), limit)


Pairs = list[tuple[np.ndarray, np.ndarray]]


def _checked(masks: Pictures, maps: Pictures) -> Pairs:
    """(mask, map) of each picture, as bool and float."""
    if len(masks) != len(maps):
        raise WrongShape(f"pixels are judged by one mask for each map; got {len(masks)} masks and {len(maps)} maps")
    pairs = [(np.asarray(mask) != 0, np.asarray(found)) for mask, found in zip(masks, maps, strict=True)]
    for i, (mask, found) in enumerate(pairs):
        if mask.ndim != 2 or mask.shape != found.shape:
            raise WrongShape(f"mask {i} is {mask.shape} and its map {found.shape}; bring the map to the height and width of its mask")
        if found.dtype.kind not in "biuf" or np.isnan(found).any():
            raise InvalidSetting(f"map {i} holds values that are not a number; leave pictures without a map out, and say how many")
    marked, total = sum(int(mask.sum()) for mask, _ in pairs), sum(mask.size for mask, _ in pairs)
    if marked in (0, total):
        raise InvalidSetting(f"pixel metrics need defective and ordinary pixels, here {marked} of {total} are marked; give at least one of each")
    return pairs


def _require_limit(limit: float) -> None:
    if not 0 < limit <= 1:
        raise InvalidSetting(f"cannot integrate up to a false positive rate of {limit:g}; give a limit above 0 and up to 1, such as {LIMIT}")


def _pooled(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """The values of all ordinary pixels, ascending, and those of the marked ones in the order of the pictures."""
    ordinary = np.concatenate([found[~mask] for mask, found in pairs])
    ordinary.sort()
    return ordinary, np.concatenate([found[mask] for mask, found in pairs])


def _weights(pairs: Pairs) -> tuple[np.ndarray, int]:
    """One divided by the size of its region for each marked pixel, in the order of the pictures; and how many regions there are."""
    each = [_shares(mask) for mask, _ in pairs]
    return np.concatenate([weights for weights, _ in each]), sum(regions for _, regions in each)


def _shares(mask: np.ndarray) -> tuple[np.ndarray, int]:
    from scipy.ndimage import label  # here: a command's help must not wait for scipy

    if not mask.any():
        return np.zeros(0), 0
    named = np.zeros(mask.shape, dtype=np.int32)
    regions = int(label(mask, np.ones((3, 3)), output=named))  # type: ignore[arg-type]
    of = named[mask]
    return 1 / np.bincount(of)[of], regions


def _area(rates: np.ndarray, shares: np.ndarray, limit: float) -> float:
    """1 / limit * the area under the polyline up to ``limit``; rates ascend along the last axis to 1."""
    left, right = np.minimum(rates[:-1], limit), np.minimum(rates[1:], limit)
    step = np.where(rates[1:] > rates[:-1], rates[1:] - rates[:-1], 1.0)
    end = shares[:-1] + (shares[1:] - shares[:-1]) * (right - rates[:-1]) / step  # lower than shares[1:] where the limit cuts
    return float(np.sum(np.where(right > left, (right - left) * (shares[:-1] + end) / 2, 0.0))) / limit


def _binned(pairs: Pairs) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """For each picture, from the strangest bin down: ordinary pixels, marked pixels, region shares (n, bins); and regions (n,)."""
    edges = _grid(_pooled(pairs)[0])
    rows = [_row(mask, found, edges) for mask, found in pairs]
    ordinary, marked, overlap = (np.stack([row[i] for row in rows])[:, ::-1].astype(np.float64) for i in range(3))
    return ordinary, marked, overlap, np.array([row[3] for row in rows], dtype=np.float64)


def _row(mask: np.ndarray, found: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    bins, marks = np.searchsorted(edges, found[~mask], "right"), np.searchsorted(edges, found[mask], "right")
    weights, regions = _shares(mask)
    count = len(edges) + 1
    return np.bincount(bins, minlength=count), np.bincount(marks, minlength=count), np.bincount(marks, weights, minlength=count), regions


def _grid(ordinary: np.ndarray) -> np.ndarray:
    """Thresholds at false positive rates (i / STEPS)^2: most of them where few pixels are marked."""
    rates = (np.arange(STEPS + 1) / STEPS) ** 2
    return np.unique(ordinary[::-1][np.minimum((rates * len(ordinary)).astype(np.int64), len(ordinary) - 1)])


def _draws(pairs: Pairs, groups: ArrayLike | None, repeats: int, seed: int) -> np.ndarray:
    """How often each picture is drawn, (repeats, n)."""
    strange = np.array([mask.any() for mask, _ in pairs], dtype=np.int64)
    names = np.arange(len(pairs)) if groups is None else np.asarray(groups)
    if names.shape != strange.shape:
        raise WrongShape(f"an interval over groups needs one group for each picture; got {names.shape} for {len(pairs)} pictures")
    if repeats < 1 or len(np.unique(names[strange == 1])) < 2:
        raise InvalidSetting(
            f"cannot draw {repeats} times among {len(np.unique(names[strange == 1]))} groups with defects; "
            "give at least 1 repeat and 2 groups, or quote the figure without an interval"
        )
    return np.stack(list(redrawn(strange, names, repeats, seed)))


def _figures(ordinary: np.ndarray, marked: np.ndarray, overlap: np.ndarray, regions: float, limit: float) -> np.ndarray:
    """(pixel AUROC, AUPRO) of counts in bins, the strangest first; within a bin pixels count as equal."""
    rates, hits, shares = (np.concatenate([[0.0], np.cumsum(of)]) for of in (ordinary, marked, overlap))
    rates = rates / rates[-1]
    return np.array([_area(rates, hits / hits[-1], 1.0), _area(rates, shares / regions, limit)])
