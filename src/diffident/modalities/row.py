"""Rows of a table: numbers without neighbourhood, each column in units of its own deviation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import PIL.Image

from ..calibration.depth import FINITE, Limit
from ..data import Item, Items, digest
from ..errors import InvalidSetting, NoItems, UnreadableItem, WrongShape
from ..registry import registered
from . import Modality, Opened

#: Values run from -1 to 1 over so many deviations either way of a column's mean.
DEVIATIONS = 3.0

#: A value beyond this counts as this: squares of what is farther would leave single precision.
FARTHEST = 1e6

#: Of the picture of a row, in pixels: the width of a column's bar, and the height.
BAR, HEIGHT = 8, 32


@registered("modalities", "row")
@dataclass(frozen=True)
class Row(Modality):
    """Rows of a table: as many numbers each as there are columns, in any order that is always the same.

    A value is ``(x - mean) / (3 deviation)``, column by column, with mean and deviation of the rows learned from: -1 and 1 lie
    three deviations from the mean, and ordinary rows between. Beyond that they are not clipped, up to a million. A column that
    never moved is measured in units of its own value, or as it is where that is 0. What is not a number stays none, and such a
    row is abstained from. Rows come as an array (n, columns), or as arrays (columns,) or (1, columns) in a list; of numbers that
    are not complex. A map of a row has one number per column, (columns,): which of them is strange.

    Rows that are equal in every number count once, as copies of a picture do. Where equal rows are observations of their own,
    as in a table of few different values, use :class:`diffident.adapters.sklearn.DiffusionOutlier`, which keeps them.

    Attributes:
        mean, deviation: of each column, in the units of the table; deviation above 0.

    Raises:
        InvalidSetting: not one finite mean and one deviation above 0 for each column, and at least one column.

    >>> Row((10.0, 0.0), (2.0, 1.0)).open(Item("row", np.array([16.0, -1.5]))).values.tolist()
    [[1.0, -0.5]]
    """

    name: ClassVar[str] = "row"
    gridded: ClassVar[bool] = False
    deviation_of_items: ClassVar[float] = 1 / DEVIATIONS

    mean: Sequence[float]
    deviation: Sequence[float]

    def __post_init__(self) -> None:
        for name in ("mean", "deviation"):
            object.__setattr__(self, name, tuple(map(float, getattr(self, name))))
        if not self.mean or len(self.mean) != len(self.deviation):
            raise InvalidSetting(f"rows need a mean and a deviation for each column; got {len(self.mean)} means and {len(self.deviation)} deviations")
        if not (np.isfinite(self.mean).all() and np.isfinite(self.deviation).all() and min(self.deviation) > 0):
            raise InvalidSetting(f"means of columns are finite and deviations above 0; got {self.mean[:4]} and {self.deviation[:4]}, first columns")

    @property
    def shape(self) -> tuple[int, int]:
        return 1, len(self.mean)

    def open(self, item: Item) -> Opened:
        """Read a row. Its one vital is ``finite``, the share of its columns that are numbers.

        Raises:
            UnreadableItem: no array of real numbers, not a single row, or not as many columns as were learned.
        """
        row = _numbers(item)
        if len(row) != len(self.mean):
            raise UnreadableItem(f"{item.name} has {len(row)} columns and the rows learned from have {len(self.mean)}; give the same columns in the same order")
        with np.errstate(over="ignore", invalid="ignore"):
            values = (row - self.mean) / (DEVIATIONS * np.array(self.deviation))
        clipped = np.where(np.isfinite(row), np.clip(values, -FARTHEST, FARTHEST), np.nan)
        return Opened(clipped[None].astype(np.float32), {FINITE: float(np.isfinite(row).mean())}, digest(row))

    def picture(self, values: np.ndarray) -> PIL.Image.Image:
        """Values (1, columns) as a bar for each column, grey at the mean, white three deviations above it, black as far below.

        >>> Row((0.0,) * 5, (1.0,) * 5).picture(np.zeros((1, 5))).size
        (40, 32)
        """
        shown = np.nan_to_num(np.asarray(values, dtype=np.float64).reshape(-1), nan=-1.0, posinf=1.0, neginf=-1.0)
        bars = np.rint((np.clip(shown, -1, 1) + 1) * 127.5).astype(np.uint8)
        return PIL.Image.fromarray(np.broadcast_to(np.repeat(bars, BAR), (HEIGHT, BAR * len(bars))).copy())

    def stored(self, values: np.ndarray) -> np.ndarray:
        """Values (1, columns) as a row of the table, (columns,) float64.

        >>> Row((10.0, 0.0), (2.0, 1.0)).stored(np.array([[1.0, -0.5]])).tolist()
        [16.0, -1.5]
        """
        return np.array(self.mean) + DEVIATIONS * np.array(self.deviation) * np.asarray(values, dtype=np.float64).reshape(-1)

    def limits(self, vitals: Sequence[Mapping[str, float]]) -> tuple[Limit, ...]:
        """Every column is a number; how far the numbers lie out is for the model to say.

        Raises:
            NoItems: nothing was measured.
        """
        if not any(vitals):
            raise NoItems("no known-good row was read, so there are no limits; give at least one that can be read")
        return (Limit(FINITE, 1.0, 1.0, "not finite"),)

    @classmethod
    def items(cls, source: Any) -> Items:
        """The rows of an array (n, columns), or of whatever else :meth:`diffident.data.Items.open` takes.

        Raises:
            NoItems: there are none.
            WrongShape: an array of another shape.

        >>> [item.name for item in Row.items(np.zeros((2, 3)))]
        ['array[0]', 'array[1]']
        """
        if not isinstance(source, np.ndarray):
            return Items.open(source)
        if source.ndim != 2:
            raise WrongShape(f"rows are stacked as (n, columns); got an array of shape {source.shape}; a single row becomes one with array[None]")
        if not len(source):
            raise NoItems(f"no rows in an array of shape {source.shape}; give at least one")
        return Items.open(list(source))

    @classmethod
    def learn(cls, items: Items, size: Any = None, channels: int | None = None, roomy: int = 64) -> Row:
        """Mean and deviation of each column, of the rows that are numbers throughout.

        Args:
            size, channels: rows have none; anything but None is refused.

        Raises:
            NoItems: not one row is a number throughout.
            InvalidSetting: a size or channels were given, or rows of different lengths.

        >>> Row.learn(Row.items(np.array([[1.0, 5.0], [3.0, 5.0]])))
        Row(mean=(2.0, 5.0), deviation=(1.0, 5.0))
        """
        if size is not None or channels is not None:
            raise InvalidSetting(f"rows have columns, neither a size nor channels; got size={size!r} and channels={channels!r}; leave them out")
        rows = _readable(items)
        lengths = sorted({len(row) for row in rows})
        if len(lengths) != 1:
            raise InvalidSetting(f"the rows of a table have as many columns each; got rows of {', '.join(map(str, lengths[:4]))}")
        return cls(*map(tuple, _measured(np.stack(rows))))

    def fitted(self, items: Items) -> Row:
        return self.learn(items)


def _numbers(item: Item) -> np.ndarray:
    """The one row of an item, (columns,) float64."""
    content = item.load()
    if not isinstance(content, np.ndarray):
        raise UnreadableItem(f"{item.name} is no array, and rows are read from arrays; load the table first, and give its numbers (n, columns)")
    if content.dtype.kind not in "biuf":
        raise UnreadableItem(f"{item.name} holds {content.dtype}, and the columns of a row are real numbers; turn categories into numbers first")
    if not content.size or content.shape not in ((content.size,), (1, content.size)):
        raise UnreadableItem(f"{item.name} has the shape {content.shape}; a row is (columns,) or (1, columns)")
    return np.ascontiguousarray(content.reshape(-1), dtype=np.float64)


def _readable(items: Items) -> list[np.ndarray]:
    """The rows that are numbers throughout."""
    rows, reasons = [], []
    for item in items:
        try:
            row = _numbers(item)
        except UnreadableItem as refusal:
            reasons.append(str(refusal))
            continue
        if np.isfinite(row).all():
            rows.append(row)
        else:
            reasons.append(f"{item.name} is not finite")
    if not rows:
        raise NoItems(f"none of {len(reasons)} rows can be learned from; the first reasons: {' | '.join(reasons[:3])}")
    return rows


def _measured(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of each column, in units of its largest number meanwhile: sums of huge numbers would overflow."""
    size = np.abs(rows).max(axis=0)
    size = np.where(size > 0, size, 1.0)
    scaled = rows / size
    still = scaled.max(axis=0) == scaled.min(axis=0)
    mean = np.where(still, scaled[0], scaled.mean(axis=0))
    deviation = np.where(still, 1.0, scaled.std(axis=0))
    return mean * size, np.maximum(deviation * size, np.finfo(float).tiny)
