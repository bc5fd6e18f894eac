"""Where an item is strange, with a promise: its map in its own geometry, what of it is marked, and the marked regions as boxes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .calibration import Places
from .calibration.ranks import reaches, steps


@dataclass(frozen=True)
class Region:
    """A connected part of an item that is marked.

    Attributes:
        left, top, right, bottom: the smallest box around it, in pixels of the item as it was stored; right and bottom lie outside.
        share: of the item's area.
        height: of its strangest place.
        p: of its strangest place, holding for all places of the item together.
    """

    left: float
    top: float
    right: float
    bottom: float
    share: float
    height: float
    p: float

    def row(self, path: str) -> dict[str, str | float]:
        """As a row of a file of regions, see :data:`COLUMNS`."""
        numbers = (self.left, self.top, self.right, self.bottom, self.share, self.height, self.p)
        return {"path": path, **dict(zip(COLUMNS[1:], numbers, strict=True))}


#: A marked place rises above the ceiling by at least this share of what the highest of its region does.
HALF = 0.5

#: Of a file of regions.
COLUMNS = ("path", "left", "top", "right", "bottom", "share", "height", "p_value")


@dataclass(frozen=True, eq=False)
class Where:
    """What is known of an item place by place.

    Attributes:
        map: (h, w) at the model's size, in tiles a number for each place of the item, no more than 1024 a side; larger is stranger.
        mask: (h, w) bool: what is marked, the weak surroundings of a strong place left out, and with
            them a weaker defect that they reach. A known-good item has anything marked
            with at most the level's probability; None where the recipe promises nothing about places.
        regions: the connected parts of the mask, strangest first.
        level: at which places are marked; NaN without a mask.
    """

    map: np.ndarray
    mask: np.ndarray | None = None
    regions: tuple[Region, ...] = ()
    level: float = math.nan


def ceiling(places: Places, row: int, level: float) -> float:
    """The height above which places of that item are marked: what all but a share ``level`` of the references stay below.

    A place is above it exactly if its p-value is at most ``level``. Infinite where so few references can mark nothing.

    >>> calm = Places(np.zeros((1, 2, 2)), np.ones((1, 2, 2)), np.arange(99.0)[None])
    >>> ceiling(calm, 0, 0.05)
    94.0
    """
    known = np.sort(places.beside(row))
    k = steps(len(known), level)
    return float(known[len(known) - k]) if k else math.inf


def where(fine: np.ndarray, blocky: np.ndarray, places: Places, row: int, level: float, size: Sequence[float]) -> Where:
    """What is marked of one item at a level.

    Args:
        fine: (h, w), the heights of its places brought to its geometry smoothly: nowhere higher than the highest place.
        blocky: (h, w), the same without smoothing, so that a marked place is never lost between its neighbours.
        places: of the chunk.
        row: of the item in it.
        size: height and width of the item as it was stored, in pixels.
    """
    tall, top = np.maximum(fine, blocky), ceiling(places, row, level)
    mask = (tall > top) & reaches(float(places.p[row].min()), level)  # heights were rounded on their way here, and the promise may not be
    mask = _drawn_in(mask, tall - top) if mask.any() else mask
    return Where(fine, mask, tuple(_regions(mask, tall, places.beside(row), size, float(places.p[row].min()))), level)


def _drawn_in(mask: np.ndarray, excess: np.ndarray) -> np.ndarray:
    """Of each connected part of a mask what exceeds the ceiling by at least half as much as its highest place does.

    A strong defect shows at every place whose surroundings hold it: marked by the ceiling alone, those that were
    planted on screws took six to fifteen times their area.
    """
    from scipy import ndimage  # here: a command's help must not wait for scipy

    labelled = np.asarray(ndimage.label(mask, structure=np.ones((3, 3)))[0], dtype=np.intp)  # type: ignore[index]
    peaks = np.concatenate([[np.inf], np.asarray(ndimage.maximum(excess, labelled, np.arange(1, labelled.max() + 1)))])
    return mask & (excess >= HALF * peaks[labelled])


def in_parts(found: Where, parts: float) -> Where:
    """The same of an item that is larger than the references and was marked at the level divided by its parts: p counts as many times."""
    return replace(found, regions=tuple(replace(region, p=min(1.0, parts * region.p)) for region in found.regions))


def _regions(mask: np.ndarray, heights: np.ndarray, known: np.ndarray, size: Sequence[float], least: float) -> list[Region]:
    """The connected parts, none with a p below the item's own: heights were rounded on their way to a picture."""
    from scipy import ndimage  # here: a command's help must not wait for scipy

    labelled = np.asarray(ndimage.label(mask, structure=np.ones((3, 3)))[0])  # type: ignore[index]
    tall, wide = size[0] / mask.shape[0], size[1] / mask.shape[1]
    found = []
    for label, (rows, columns) in enumerate(ndimage.find_objects(labelled), 1):
        mine = labelled[rows, columns] == label
        height = float(heights[rows, columns][mine].max())
        p = max(least, (1 + int((known >= height).sum())) / (len(known) + 1))
        box = (columns.start * wide, rows.start * tall, columns.stop * wide, rows.stop * tall)
        found.append(Region(*(round(edge, 2) for edge in box), share=float(mine.sum() / mask.size), height=height, p=p))
    return sorted(found, key=lambda region: (region.p, -region.height))
