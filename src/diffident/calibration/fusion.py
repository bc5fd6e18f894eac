"""Score-level fusion: many columns in groups, one Mahalanobis distance a group, and the mean of what each says."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ..errors import InvalidSetting, WrongShape
from .strangeness import BLOCK, Strangeness, _standardised

#: No shrinkage below this, so that copied columns, or more columns than rows, can be inverted.
LEAST = 1e-6

#: Log distances that scatter less than this say nothing: what scatters then is rounding.
STILL = 1e-6

#: Added to distances before their logarithm: nothing is nearer than this.
NEAR = 1e-12

#: Deviations beyond this are counted as this when items are ranked.
FAR = 1e140


@dataclass(frozen=True)
class Fusion(Strangeness):
    """The mean over groups of columns of each group's log Mahalanobis distance, in deviations of what known-good items have.

    Within a group ``d^2 = (x - m)' ((1 - w) S + w mu I)^-1 (x - m)``: S the covariance, mu its mean variance, w the shrinkage of Ledoit and Wolf (2004),
    which keeps hundreds of columns beside a hundred rows stable. Each row is held against the others: ``d^2 / (1 - (1 - w) d^2 / n)``, its
    distance once it is left out of S. Then ``s = mean over groups of (log d^2 - mean) / deviation``.

    Every group speaks with one voice, however many columns it has; hundreds of columns in one :class:`Gaussian` would drown three. A logarithm makes
    distances of any number of columns alike, and a single group that is far out is heard no louder than that: it takes several, or one very far.
    Every column counts in both directions, whatever its tail. Columns are brought to deviations between 1/2 and 2 first, by the power of four nearest to
    theirs, so that units hardly matter: not at all by powers of four, otherwise through the shrinkage alone.

    All is fitted on references and item together, the n + 1 alike, so p-values are exact. It is quick: the covariance is diagonalised once and
    an item moves it by rank one, so that an item costs a few products of (n, k) and a vector (Sherman and Morrison 1950); an item that moves a column's
    power of four is given a decomposition of its own.

    Attributes:
        groups: how many columns each group has, in order; empty is one group of all. A calibration of a recipe sets them: the columns of each reading.

    Raises:
        InvalidSetting: a group without columns.

    Source: Ledoit and Wolf 2004 for the shrinkage; Kittler et al. 1998 for the sum rule of score-level fusion.

    >>> rng = np.random.default_rng(0)
    >>> references, strange = rng.normal(size=(99, 203)), 2 * rng.normal(size=(1, 203))
    >>> Fusion((200, 3)).p_values(references, strange, ("both",) * 203)
    array([0.01])
    """

    groups: tuple[int, ...] = ()
    name: ClassVar[str] = "fusion"

    def __post_init__(self) -> None:
        if any(size < 1 for size in self.groups):
            raise InvalidSetting(f"a group has one column or more; got groups of {', '.join(map(str, self.groups))}")

    def told(self, columns: Sequence[str]) -> Fusion:
        return self if self.groups else replace(self, groups=tuple(len(list(run)) for _, run in itertools.groupby(columns, _label)))

    def checked(self, references: np.ndarray, items: np.ndarray, tails: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        found = super().checked(references, items, tails)
        if self.groups and sum(self.groups) != len(tails):
            raise WrongShape(
                f"groups of {', '.join(map(str, self.groups))} columns make {sum(self.groups)}, and there are {len(tails)}; give sizes that add up"
            )
        return found

    def _parts(self, references: np.ndarray, items: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        cuts = np.cumsum(self.groups)[:-1]
        return list(zip(np.split(references, cuts, axis=1), np.split(items, cuts, axis=1), strict=True))

    def _score(self, references: np.ndarray, items: np.ndarray, tails: tuple[str, ...]) -> np.ndarray:
        parts = [_Group(*part).beside() for part in self._parts(references, items)]
        return sum(parts, np.zeros(len(items))) / len(parts)

    def _refitted(self, references: np.ndarray, items: np.ndarray, tails: tuple[str, ...]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        groups = [_Group(*part) for part in self._parts(references, items)]
        step, rows = max(1, BLOCK // len(references)), len(references) + 1
        for start in range(0, len(items), step):
            total = sum((group.voices(slice(start, start + step)) for group in groups), np.zeros((len(items[start : start + step]), rows)))
            total = total / len(groups) + math.sqrt(rows)  # never negative: ties are told relatively
            yield total[:, -1], total[:, :-1]


class _Group:
    """The columns of one group: references and items in deviations from the references' mean."""

    def __init__(self, references: np.ndarray, items: np.ndarray) -> None:
        self.rows, self.away, still = _standardised(references, items)
        self.n, self.k = references.shape
        size = np.abs(references).max(axis=0)
        size = np.where(size > 0, size, 1.0)
        spread = np.where(still, 1.0, (references / size).std(axis=0))
        self.unit = np.log2(size) + np.log2(np.where(spread > 0, spread, 1.0))  # of the rows and away, as a power of two
        self.moves = np.where(still, 0.0, 1.0)
        self.still = still

    def beside(self) -> np.ndarray:
        """What the group says of each item beside the references alone, (m,)."""
        shape = _Shape(self.rows * np.exp2(self.unit - _even(self.unit, self.moves)))
        held, weight = shape.held(np.zeros(self.k), self.n)
        known = np.log(held * self.n / max(self.n - 1, 1) + NEAR)
        spread = known.std()
        far = np.clip(np.where(self.still, self.away * 1e9, self.away), -FAR, FAR) * np.exp2(self.unit - _even(self.unit, self.moves))
        inverse = 1 / shape.eigenvalues(weight, shape.values.sum() / self.k, 1.0)
        found = np.array([np.sum(inverse * (one @ shape.axes) ** 2) for one in far])
        return (np.log(found + NEAR) - known.mean()) / (spread if spread > STILL else 1.0)

    def voices(self, block: slice) -> np.ndarray:
        """What the group says of the references and of each item of a block, refitted with it, (b, n + 1), the item last."""
        n, away = self.n, self.away[block]
        deviation = np.hypot(math.sqrt(n / (n + 1)) * self.moves, math.sqrt(n) / (n + 1) * away)
        powers = _even(self.unit, deviation)
        patterns, of = np.unique(powers, axis=0, return_inverse=True)
        found = np.empty((len(away), n + 1))
        for i, pattern in enumerate(patterns):
            scale = np.exp2(self.unit - pattern)
            shape = _Shape(self.rows * scale)
            for j in np.flatnonzero(of.reshape(-1) == i):
                found[j] = _voice(shape.held((away[j] * scale) @ shape.axes, n + 1)[0])
        return found


class _Shape:
    """References (n, k) about their mean, seen along the axes of their covariance."""

    def __init__(self, rows: np.ndarray) -> None:
        values, self.axes = np.linalg.eigh(rows.T @ rows / len(rows))
        self.values = np.maximum(values, 0.0)
        self.along = rows @ self.axes
        self.squares = self.along**2
        self.lengths = self.squares.sum(axis=1)

    def held(self, item: np.ndarray, rows: int) -> tuple[np.ndarray, float]:
        """The squared distance of each reference, and of the item if ``rows`` counts it, left out of a fit on all of them; and the shrinkage.

        The item (k,), along the axes, moves the mean by item / rows and the covariance by rank one.
        """
        n, k = self.along.shape
        shift, keep, move = (rows - n) / rows, n / rows, n * (rows - n) / rows**2
        size, seen = np.sum(item**2), self.along @ item
        lengths = np.append(self.lengths - 2 * shift * seen + shift**2 * size, (1 - shift) ** 2 * size)
        mean = (keep * self.values.sum() + move * size) / k
        squares = keep**2 * np.sum(self.values**2) + 2 * keep * move * np.sum(self.values * item**2) + move**2 * size**2
        weight = _ledoit_wolf(np.sum(lengths[:rows] ** 2), squares, mean, k, rows)
        inverse = 1 / self.eigenvalues(weight, mean, keep)
        own, across, within = np.sum(inverse * item**2), self.along @ (inverse * item), self.squares @ inverse
        lean = (1 - weight) * move
        distance = within - (lean * across**2 + 2 * shift * across - shift**2 * own) / (1 + lean * own)
        distance = np.maximum(np.append(distance, (1 - shift) ** 2 * own / (1 + lean * own))[:rows], 0.0)
        return distance / np.maximum(1 - (1 - weight) * distance / max(rows - 1, 1), NEAR), weight

    def eigenvalues(self, weight: float, mean: float, keep: float) -> np.ndarray:
        """Of the shrunken covariance without what the item adds to it, (k,); 1 where nothing varies at all."""
        return (1 - weight) * keep * self.values + weight * mean if mean > 0 else np.ones_like(self.values)


def _label(column: str) -> str:
    """The reading that a column belongs to: a vector's columns are numbered in brackets."""
    return column.rpartition("[")[0] if column.endswith("]") else column


def _even(unit: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """The even power of two nearest to each column's deviation; 0 where it has none."""
    return np.where(deviation > 0, 2 * np.round((unit + np.log2(np.where(deviation > 0, deviation, 1.0))) / 2), unit)


def _ledoit_wolf(fourth: float, squares: float, mean: float, k: int, rows: int) -> float:
    """The weight of mean times identity: how much of the covariance's distance from it is sampling error."""
    apart = squares - k * mean**2
    error = (fourth / rows - squares) / rows
    return float(min(1.0, max(error / apart, LEAST))) if apart > 1e-12 * squares else 1.0


def _voice(distances: np.ndarray) -> np.ndarray:
    """Log distances in their own deviations, (n + 1,)."""
    logs = np.log(distances + NEAR)
    spread = logs.std()
    return (logs - logs.mean()) / spread if spread > STILL else np.zeros_like(logs)
