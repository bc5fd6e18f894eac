"""Items of the world and arrays: how a kind of item is opened, measured, limited and shown to people."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import PIL.Image

from ..calibration.depth import Limit
from ..data import Item, Items
from ..errors import InvalidSetting


@dataclass(frozen=True, eq=False)
class Opened:
    """An item as a model takes it.

    Attributes:
        values: (C, *size) float32; ordinary items lie in [-1, 1]. What is not a number in the item is none here.
        vitals: plain measures of the item as it was stored, before it was brought to size.
        digest: sha256 of the stored content.
    """

    values: np.ndarray
    vitals: dict[str, float]
    digest: str


class Modality(ABC):
    """A kind of item. Subclasses are final frozen dataclasses of plain settings, registered under their ``name``."""

    name: ClassVar[str]

    #: Of the vitals by which an item may be declined at a stated level, the smallest difference that means anything.
    grain: ClassVar[Mapping[str, float]] = {}

    #: How far values of ordinary items lie from their mean, where that is settled by how they are read; 1 where it is not.
    deviation_of_items: ClassVar[float] = 1.0

    #: Whether elements that lie side by side belong together, as convolutions take for granted.
    gridded: ClassVar[bool] = True

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Of the values of every opened item: (C, *size)."""

    @abstractmethod
    def open(self, item: Item) -> Opened:
        """Read an item.

        Raises:
            ItemError: it cannot be read; the message says why.
        """

    def whole(self, item: Item) -> Opened:
        """Read an item at its own size: what is cut into tiles.

        Raises:
            InvalidSetting: items of this kind are not.
            ItemError: see :meth:`open`.
        """
        raise InvalidSetting(f"a {self.name} is not judged in tiles; leave out the tile")

    @abstractmethod
    def picture(self, values: np.ndarray) -> PIL.Image.Image:
        """Values (C, *size) as people look at them."""

    def stored(self, values: np.ndarray) -> Any:
        """An item of these values as :meth:`open` takes it: its picture, unless people look at something else than is stored."""
        return np.asarray(self.picture(values))

    @abstractmethod
    def limits(self, vitals: Sequence[Mapping[str, float]]) -> tuple[Limit, ...]:
        """How far an item's vitals may lie from those of known-good items; every known-good item is within."""

    @classmethod
    def items(cls, source: Any) -> Items:
        """The items of a source: files, lists, and arrays as this kind of item is stacked in them. What each verb opens its source with.

        Raises:
            NoItems, WrongShape, InvalidSetting: see :meth:`diffident.data.Items.open`.
        """
        return Items.open(source)

    @classmethod
    @abstractmethod
    def learn(cls, items: Items, size: Any = None, channels: int | None = None, roomy: int = 64) -> Modality:
        """The settings that suit these items, where they are not given; no more than ``roomy`` elements along an axis.

        Raises:
            NoItems: none of them can be read.
            InvalidSetting: a size or channels that cannot be.
        """

    def fitted(self, items: Items) -> Modality:
        """These settings with all that is a measure of numbers, such as a mean, taken from these items alone.

        They are the ones learned from: no reference may have a say in how items are read, or it would be unlike the items to
        come. Most kinds measure nothing of the sort, and stay as they are.
        """
        return self

    def config(self) -> dict[str, Any]:
        """The settings as plain data for JSON; :meth:`from_config` reads them back."""
        return {"name": self.name, **asdict(self)}  # type: ignore[call-overload]

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Modality:
        """The modality that :meth:`config` described.

        Raises:
            InvalidSetting: settings that this modality does not have.
        """
        settings = {key: value for key, value in config.items() if key != "name"}
        try:
            return cls(**settings)
        except TypeError as error:
            raise InvalidSetting(f"the modality {cls.name!r} cannot be made of {settings}: {error}") from error
