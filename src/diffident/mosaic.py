"""Large items, tile by tile: a chunk of tiles is asked about at once, and no more is in memory than that, one item and its map."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .data import Item, Items
from .errors import InvalidSetting, ItemError
from .modalities import Opened
from .model import Model
from .recipes import Recipe
from .scores import Scores
from .tiles import Tiles

#: A map that people see has at most so many places a side; of a finer one each place is the highest of a square.
FINEST = 1024

#: What asks about a full chunk of tiles (n, C, side, side), of so many the kind and where the corners lie: a trajectory for each different walk.
Ask = Callable[[Tensor, Sequence[str], Sequence[tuple[int, int]]], Mapping[Any, Any]]


@dataclass(frozen=True, eq=False)
class Mosaic:
    """Asks about items at their own size, in tiles.

    An item is as strange as the strangest place of all its tiles: its row holds that height, for each reading and for all
    together, and never the map. A tile's bits are its own whatever is asked with it, so an item's are too.

    Args:
        model: with tiles.
        recipe: whose every reading has a map, and which takes the highest place.
        fingerprint: of both.
        ask: see :data:`Ask`.

    Raises:
        InvalidSetting: a recipe that combines otherwise.
    """

    model: Model
    recipe: Recipe
    fingerprint: str
    ask: Ask

    def __post_init__(self) -> None:
        if self.recipe.combine != "highest":
            raise InvalidSetting(
                f"items in tiles are as strange as their highest place, and the recipe {self.recipe.name!r} combines by {self.recipe.combine!r}; "
                "give recipe(...).highest() instead"
            )

    def stream(self, items: Items) -> Iterator[tuple[Items, Scores, np.ndarray]]:
        """Item by item: it, its row, and its map (1, h, w), NaN throughout where it cannot be read, is not finite or of no known kind."""
        for i in range(len(items)):
            yield items[i : i + 1], *self.judged(items[i])

    def judged(self, item: Item) -> tuple[Scores, np.ndarray]:
        """The row of an item, and its map (1, h, w)."""
        try:
            opened = self.opened(item)
        except ItemError as error:
            return self._row(item, None, str(error)), np.full((1, 1, 1), np.nan, np.float32)
        kind = self.model.known(item.kind)
        said = np.isfinite(opened.values).all() and bool(kind or not self.model.kinds)
        maps = self.maps(opened.values, kind) if said else np.full_like(self._blank(opened.values), np.nan)
        return self._row(item, opened, "", maps), reduced(total(maps))[None]

    def map(self, item: Item) -> np.ndarray:
        """Where an item is strange, (h, w).

        Raises:
            ItemError: see :meth:`opened`.
            UnknownKind: the model tells kinds apart, and it is of none that is known.
        """
        return reduced(total(self.maps(self.opened(item).values, self.model.known(item.kind))))

    def opened(self, item: Item) -> Opened:
        """An item at its own size.

        Raises:
            ItemError: it cannot be read, or is smaller than a tile.
        """
        opened = self.model.modality.whole(item)
        self.tiles.require(opened.values.shape[1:], item.name)
        return opened

    def maps(self, values: np.ndarray, kind: str = "") -> np.ndarray:
        """(readings, rows, columns) float32: how high each place of an item (C, h, w) of a kind is, bands added up."""
        whole = self._blank(values)
        corners = self.tiles.lay(values.shape[1:])
        for start in range(0, len(corners), self.model.chunk):
            some = corners[start : start + self.model.chunk]
            cores = self.tiles.inner(self.heights(values, some, kind)[0]).numpy()
            for corner, core in zip(some, cores.swapaxes(0, 1), strict=True):
                top, left = ((at + self.tiles.halo) // self.place for at in corner)
                part = whole[:, top : top + core.shape[1], left : left + core.shape[2]]
                part[:] = core[:, : part.shape[1], : part.shape[2]]  # the last cores reach beyond the borders
        return whole

    @torch.no_grad()
    def heights(self, values: np.ndarray, corners: Sequence[tuple[int, int]], kind: str = "") -> tuple[Tensor, Mapping[Any, Any]]:
        """Of the tiles at those corners (readings, n, grid, grid), bands added up, and what the model answered."""
        chunk = torch.zeros(self.model.chunk, *self.model.shape)
        for i, corner in enumerate(corners):
            chunk[i] = torch.nan_to_num(torch.from_numpy(self.tiles.cut(values, corner)))
        films, size = self.ask(chunk, [kind] * len(corners), corners), self.model.shape[1:]
        bands = [self.model.space.bands(r.of.map(films[r.walk], r.settings), size)[: len(corners)] for r in self.recipe.readings]
        return torch.stack([_added(one.float().cpu()) for one in bands]), films

    def strangest(self, values: np.ndarray, kind: str = "") -> tuple[int, int]:
        """Where the tile lies that holds the highest place."""
        heights = total(self.maps(values, kind))
        row, column = (int(at) * self.place // self.tiles.core * self.tiles.core for at in np.unravel_index(int(heights.argmax()), heights.shape))
        return row - self.tiles.halo, column - self.tiles.halo

    @cached_property
    def place(self) -> int:
        """Pixels along the side of a place."""
        with torch.no_grad():
            elements = self.model.encode(torch.zeros(1, *self.model.shape))
            return self.tiles.side // self.model.space.bands(elements, self.model.shape[1:]).shape[-1]

    @property
    def tiles(self) -> Tiles:
        """How items are cut."""
        if self.model.tiles is None:
            raise InvalidSetting(f"the model {self.model.name!r} judges items whole; train it with a tile")
        return self.model.tiles

    @property
    def columns(self) -> tuple[str, ...]:
        """One for each reading: its highest place."""
        return tuple(reading.label for reading in self.recipe.readings)

    def _blank(self, values: np.ndarray) -> np.ndarray:
        """Room for the maps of an item."""
        return np.empty((len(self.columns), *(-(-length // self.place) for length in values.shape[1:])), np.float32)

    def _row(self, item: Item, opened: Opened | None, problem: str, maps: np.ndarray | None = None) -> Scores:
        highest = np.full((len(self.columns), 1), np.nan) if maps is None else maps.reshape(len(maps), -1).max(axis=1, keepdims=True)
        top = np.nan if maps is None else total(maps).max()
        return Scores(
            names=(item.name,),
            columns=self.columns,
            values=highest.T.astype(np.float64),
            tails=("upper",) * len(self.columns),
            says=tuple(reading.of.says for reading in self.recipe.readings),
            fingerprint=self.fingerprint,
            digests=(opened.digest if opened else "",),
            vitals=(opened.vitals if opened else {},),
            problems=(problem,),
            maps=np.full((1, 1, 1, 1), top, np.float32),
            kinds=(self.model.known(item.kind),),
            sizes=np.array([opened.values.shape[1:] if opened else (0, 0)], np.float64),
        )


def total(maps: np.ndarray) -> np.ndarray:
    """Maps of readings (k, h, w) added up one after the other."""
    whole = maps[0].copy()
    for one in maps[1:]:
        whole += one
    return whole


def reduced(heights: np.ndarray, finest: int = FINEST) -> np.ndarray:
    """A map of at most so many places a side: each the highest of a square, so that none is lost.

    >>> reduced(np.arange(12.0).reshape(3, 4), 2).tolist()
    [[5.0, 7.0], [9.0, 11.0]]
    """
    of = -(-max(heights.shape) // finest)
    if of == 1:
        return heights
    starts = [np.arange(0, length, of) for length in heights.shape]
    return np.maximum.reduceat(np.maximum.reduceat(heights, starts[0], axis=0), starts[1], axis=1)


def _added(bands: Tensor) -> Tensor:
    whole = bands[:, 0].clone()
    for band in range(1, bands.shape[1]):
        whole += bands[:, band]
    return whole
