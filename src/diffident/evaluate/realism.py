"""Realism: a control that asks no model how close a sample lies to known-good ones, by their own measure of close."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InvalidSetting, WrongShape
from .nulls import _flat

#: Distances are taken in blocks of so many numbers.
BLOCK = 2**22


def realism(known: ArrayLike, items: ArrayLike, k: int = 3) -> np.ndarray:
    """How well items lie within the reach of known-good ones: at 1 just inside, above further in. **Smaller is stranger.**

    R(g) = max over r of d(r, NN_k(r)) / d(g, r), with r the half of the known-good items whose k-th neighbour is nearest (far ones have a reach that means
    nothing) and d the Euclidean distance of pixels, or of features if these are given. A sample that is equal to a known-good item has R infinite.

    A control, not a statistic: in a world of few distinct items the label is nearly this distance. It needs the bank, and rewards copies.

    Args:
        known: known-good items or their features, (n, d...).
        items: (m, d...) of the same shape.
        k: which neighbour sets the reach of a known-good item, 1 = the nearest other one.

    Returns:
        (m,) above 0, no unit.

    Raises:
        WrongShape: items of another shape than the known-good ones.
        InvalidSetting: k below 1, or not below the number of known-good items.

    Example:
        >>> realism([[0.0], [1.0], [2.0], [9.0]], [[1.5], [5.0]], k=1).tolist()
        [2.0, 0.25]

    Source: Kynkaanniemi et al. 2019 (improved precision and recall, 1904.06991).
    """
    bank, asked = _flat(known), _flat(items)
    if bank.shape[1:] != asked.shape[1:]:
        raise WrongShape(f"samples of {asked.shape[1]} elements cannot be held against known-good items of {bank.shape[1]}; give both in one form")
    if not 1 <= k < len(bank):
        raise InvalidSetting(f"cannot ask for neighbour {k} among the {len(bank) - 1} others of {len(bank)} known-good items; give k from 1 to {len(bank) - 1}")
    reach = np.concatenate([np.partition(part, k, axis=1)[:, k] for part in _distances(bank, bank)])
    kept = np.argsort(reach, kind="stable")[: -(-len(bank) // 2)]
    with np.errstate(divide="ignore"):
        return np.concatenate([np.where(part > 0, reach[kept] / part, np.inf).max(axis=1) for part in _distances(asked, bank[kept])])


def _distances(one: np.ndarray, other: np.ndarray) -> list[np.ndarray]:
    """Between all rows, in blocks of rows of the first; without the cancellation of squared norms."""
    from scipy.spatial.distance import cdist

    step = max(1, BLOCK // len(other))
    return [cdist(one[start : start + step], other) for start in range(0, len(one), step)] or [np.zeros((0, len(other)))]
