"""Large items in tiles: where they lie, how they overlap, and what of each is believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from . import noise
from .errors import InvalidSetting, UnreadableItem

#: Sides of a tile: whole numbers of pixels fall on each place, in the tile and in what is cropped of it.
SIDES = (64, 128, 192, 256, 384, 512, 768, 1024)

#: So much is cropped along each edge, of small tiles a quarter. Beyond what blocks up to stride 8 of the bundled network see (37 pixels).
HALO = 48


@dataclass(frozen=True)
class Tiles:
    """Squares of an item's own pixels that overlap by a halo on every side; of each only the core inside the halo is believed.

    The cores cover the item without a gap and without overlap, beginning at its upper left corner. What lies beyond its
    borders is mirrored, never black: so every place is seen with full surroundings, and none is special.

    Attributes:
        side: of a tile, in pixels, one of :data:`SIDES`.

    Raises:
        InvalidSetting: another side.

    >>> Tiles(128).lay((100, 200))
    [(-32, -32), (-32, 32), (-32, 96), (-32, 160), (32, -32), (32, 32), (32, 96), (32, 160)]
    """

    side: int

    def __post_init__(self) -> None:
        if self.side not in SIDES:
            raise InvalidSetting(f"a tile has a side of {', '.join(map(str, SIDES))} pixels; got {self.side!r}")

    @property
    def halo(self) -> int:
        """Pixels cropped along each edge."""
        return min(HALO, self.side // 4)

    @property
    def core(self) -> int:
        """The side of what is believed, in pixels."""
        return self.side - 2 * self.halo

    def config(self) -> dict[str, Any]:
        """As plain data for JSON."""
        return asdict(self)

    def lay(self, size: Sequence[int]) -> list[tuple[int, int]]:
        """Row and column of the upper left corner of each tile of an item of that height and width; the first begin outside of it."""
        rows, columns = (range(-self.halo, length - self.halo, self.core) for length in size)
        return [(row, column) for row in rows for column in columns]

    def cut(self, values: Float[np.ndarray, "c h w"], at: tuple[int, int]) -> Float[np.ndarray, "c side side"]:
        """The tile whose corner lies there, a copy; mirrored beyond the borders."""
        rows, columns = (_mirrored(start, self.side, length) for start, length in zip(at, values.shape[1:], strict=True))
        return values[:, rows[:, None], columns]

    def some(self, values: Float[np.ndarray, "c h w"], most: int, seed: int) -> Float[np.ndarray, "n c side side"]:
        """Tiles to learn from, inside the item, at places drawn at random: ``most``, or as many as would cover it once."""
        room = [length - self.side + 1 for length in values.shape[1:]]
        drawn = noise.uniform((min(most, values[0].size // self.side**2), 2), "tiles", seed).numpy()
        tiles = [self.cut(values, (int(y * room[0]), int(x * room[1]))) for y, x in drawn]
        return np.stack(tiles) if tiles else np.empty((0, len(values), self.side, self.side), np.float32)

    def inner(self, maps: Float[Tensor, "*n grid grid"]) -> Float[Tensor, "*n core core"]:
        """What is believed of maps of tiles, on any grid of the tile."""
        edge = self.halo * maps.shape[-1] // self.side
        return maps[..., edge : maps.shape[-1] - edge, edge : maps.shape[-1] - edge]

    def require(self, size: Sequence[int], name: str) -> None:
        """Refuse an item that is smaller than a tile.

        Raises:
            UnreadableItem: it is.
        """
        if min(size) < self.side:
            raise UnreadableItem(f"{name} has {size[0]} x {size[1]} pixels and is smaller than a tile of {self.side}; train with a smaller tile, or without")


def _mirrored(start: int, count: int, length: int) -> np.ndarray:
    """Which of ``length`` pixels stand at ``count`` places from ``start`` on, the borders being mirrors.

    >>> _mirrored(-2, 8, 4).tolist()
    [2, 1, 0, 1, 2, 3, 2, 1]
    """
    period = max(2 * (length - 1), 1)
    at = np.arange(start, start + count) % period
    return np.minimum(at, period - at) if length > 1 else np.zeros(count, int)
