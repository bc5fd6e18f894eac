"""Maps to one strangeness: how far the strangest place of an item stands out, each place beside the same place of known-good items."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import ClassVar

import numpy as np

from ..errors import InvalidSetting, TooFewReferences, WrongShape
from .strangeness import TIE, Strangeness


@dataclass(frozen=True, eq=False)
class Places:
    """Where m items stand out.

    Attributes:
        heights: (m, *grid): how strange each place is, larger is stranger.
        p: (m, *grid): p-value of each place that holds for all places together: a known-good item shows anywhere a place
            with ``p <= a`` with probability at most a. The smallest of an item is the item's own p-value.
        ceilings: (m, n): the highest place of each reference, beside this item; NaN behind the last where an item has fewer
            references than another.
    """

    heights: np.ndarray
    p: np.ndarray
    ceilings: np.ndarray

    def beside(self, row: int) -> np.ndarray:
        """The ceilings of one item, (n,), as many as it has references."""
        return self.ceilings[row][np.isfinite(self.ceilings[row])]


class Heights(Strangeness):
    """Combines maps: an item is as strange as its strangest place. Shapes: references (n, bands, *grid), items (m, bands, *grid).

    The maximum over places is what makes one promise for all of them (Westfall and Young 1993): if the item is
    exchangeable with the references, its highest place is no higher than theirs but for its rank.
    """

    reads: ClassVar[str] = "maps"

    def places(self, references: np.ndarray, items: np.ndarray) -> Places:
        """Where each item stands out, each beside all others; the same alone and in any company.

        Raises:
            TooFewReferences: there are none.
            WrongShape: maps of different grids or bands.
        """
        references, items = self.checked(references, items, ())
        grid, n = references.shape[2:], len(references)
        heights, p, ceilings = self._own(references, items), np.empty((len(items), *grid)), np.empty((len(items), n))
        for i, others in enumerate(self._others(references, items)):
            ceilings[i] = others.reshape(n, -1).max(axis=1)
            p[i] = _p(heights[i], ceilings[i])
        return Places(heights, p, ceilings)

    def peaks(self, references: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Where the highest place of each item lies: the middle of the place as a share of each side of the grid, (m, dimensions).

        Raises:
            TooFewReferences, WrongShape: as :meth:`places`.
        """
        references, items = self.checked(references, items, ())
        grid = references.shape[2:]
        found = [np.unravel_index(own.argmax(), grid) for own in self._own(references, items)]
        return (np.array(found, dtype=np.float64).reshape(-1, len(grid)) + 0.5) / grid

    def checked(self, references: np.ndarray, items: np.ndarray, tails: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        references, items = np.asarray(references, dtype=np.float64), np.asarray(items, dtype=np.float64)
        if references.ndim < 3 or references.shape[1:] != items.shape[1:]:
            raise WrongShape(f"maps of references (n, bands, *grid) and items (m, bands, *grid) are needed; got {references.shape} and {items.shape}")
        if not len(references):
            raise TooFewReferences("cannot say how strange an item is with 0 reference items; give at least 19 to flag at p <= 0.05")
        if not (np.isfinite(references).all() and np.isfinite(items).all()):
            raise WrongShape("strangeness needs finite numbers; leave out the maps with NaN or infinity first")
        return references, items

    def _score(self, references: np.ndarray, items: np.ndarray, tails: tuple[str, ...]) -> np.ndarray:
        return self._own(references, items).reshape(len(items), -1).max(axis=1)

    def _refitted(self, references: np.ndarray, items: np.ndarray, tails: tuple[str, ...]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for own, others in zip(self._score(references, items, tails), self._others(references, items), strict=True):
            yield own[None], others.reshape(1, len(references), -1).max(axis=2)

    @abstractmethod
    def _own(self, references: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Heights of items (m, *grid), each beside all references."""

    @abstractmethod
    def _others(self, references: np.ndarray, items: np.ndarray) -> Iterator[np.ndarray]:
        """For each item the heights of all references (n, *grid), each beside the item and all other references."""


@dataclass(frozen=True)
class Highest(Heights):
    """The highest place of the map itself, bands added up: what PatchCore and PaDiM take.

    >>> calm = np.random.default_rng(0).uniform(size=(99, 1, 4, 4))
    >>> Highest().p_values(calm, np.full((1, 1, 4, 4), 2.0), ())
    array([0.01])
    """

    name: ClassVar[str] = "highest"

    def _own(self, references: np.ndarray, items: np.ndarray) -> np.ndarray:
        return _added(items)

    def _others(self, references: np.ndarray, items: np.ndarray) -> Iterator[np.ndarray]:
        return repeat(_added(references), len(items))


@dataclass(frozen=True)
class PlaceByPlace(Heights):
    """Each place in units of how much it varies *there* among known-good items, then the highest: unruly places do not drown the others.

    ``z = sum_b q_b / sqrt((1 - w) v_b + w mean(v_b))`` with q the map to a power (a root draws in the long tail of squares), v the
    variance of band b at the place over *all others*, smoothed over the 3 x 3 places around, and w the share of the overall
    variance. Nothing is subtracted, so this is for maps whose level hardly depends on the place, as residuals of an exact
    denoiser are: where the level itself is high, it stays high. An item is measured beside the references, and a reference
    beside the other references and the item: each of the n + 1 is left out of its own measure in the same way, so p-values
    stay exact, no known-good item has to be set aside, and what strays far does not widen its own measure.

    Attributes:
        share: w in [0, 1]; 1 takes one deviation for all places.
        power: of the maps, above 0; numbers below 0 keep their sign.

    Raises:
        InvalidSetting: a share outside [0, 1], or a power that is not above 0.

    >>> calm = np.random.default_rng(0).normal(size=(99, 2, 5, 5))
    >>> item = np.zeros((1, 2, 5, 5))
    >>> item[..., 3, 1] = 9.0
    >>> int(PlaceByPlace().places(calm, item).heights[0].argmax())
    16
    """

    share: float = 0.5
    power: float = 0.5
    name: ClassVar[str] = "places"
    version: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if not 0.0 <= self.share <= 1.0 or not self.power > 0:
            raise InvalidSetting(f"the share of the overall variance lies in [0, 1] and a power above 0; got {self.share:g} and {self.power:g}")

    def checked(self, references: np.ndarray, items: np.ndarray, tails: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        references, items = super().checked(references, items, tails)
        return np.sign(references) * np.abs(references) ** self.power, np.sign(items) * np.abs(items) ** self.power

    def _own(self, references: np.ndarray, items: np.ndarray) -> np.ndarray:
        return _added(items / self._unit(references.var(axis=0), items.ndim - 2))

    def _others(self, references: np.ndarray, items: np.ndarray) -> Iterator[np.ndarray]:
        n, middle, spread = len(references), references.mean(axis=0), references.var(axis=0)
        for item in items:  # one more row moves the sum of squares by rank one, one less moves it back
            away = item - middle
            squares = spread + away**2 / (n + 1) - (n + 1) / n**2 * (references - (middle + away / (n + 1))) ** 2
            yield _added(references / self._unit(squares, item.ndim - 1))

    def _unit(self, variance: np.ndarray, dimensions: int) -> np.ndarray:
        """One deviation for each band and place, never quite nothing, from variances (..., *grid) of so many dimensions."""
        overall = variance.mean(axis=tuple(range(-dimensions, 0)), keepdims=True)
        return np.sqrt(np.maximum((1 - self.share) * _smoothed(variance, dimensions) + self.share * overall, 1e-24))


def _added(maps: np.ndarray) -> np.ndarray:
    """Bands added up, one after the other: (n, *grid)."""
    total = maps[:, 0].copy()
    for band in range(1, maps.shape[1]):
        total += maps[:, band]
    return total


def _smoothed(maps: np.ndarray, dimensions: int) -> np.ndarray:
    """The mean over each place and its neighbours on the grid, (..., *grid); at the border over those that are there."""
    for axis in range(-dimensions, 0):
        if maps.shape[axis] > 1:
            maps = _three(np.moveaxis(maps, axis, -1), axis)
    return maps


def _three(maps: np.ndarray, axis: int) -> np.ndarray:
    total, count = maps.copy(), np.ones(maps.shape[-1])
    for to, of in ((slice(1, None), slice(None, -1)), (slice(None, -1), slice(1, None))):
        total[..., to] += maps[..., of]
        count[to] += 1
    return np.moveaxis(total / count, -1, axis)


def _p(heights: np.ndarray, ceilings: np.ndarray) -> np.ndarray:
    """Of each place, by how many references rise as high anywhere."""
    as_high = (ceilings >= _nearly(heights).reshape(-1, 1)).sum(axis=1)
    return ((1.0 + as_high) / (len(ceilings) + 1)).reshape(heights.shape)


def _nearly(heights: np.ndarray) -> np.ndarray:
    """What counts as being as high: a tie counts against flagging."""
    return heights - TIE * np.abs(heights)
