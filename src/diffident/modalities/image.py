"""Images: files and arrays of many kinds to float32 values of one size, with what was measured on the way."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import PIL.Image

from ..calibration.depth import Limit
from ..data import Item, Items, digest
from ..errors import InvalidSetting, ItemError, NoItems, TooLarge, WrongShape
from ..registry import registered
from . import Modality, Opened
from ._raster import QUIET, Raster, raster, stored
from ._vitals import GRAIN

#: Rec. 601: how bright red, green and blue look.
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)

SMALLEST, LARGEST = 2, 4096
#: So many images are looked at to learn from.
SAMPLE = 256
#: Below this mean difference between channels an image counts as grey; above it JPEG noise is not enough.
GREY = 0.01


@registered("modalities", "image")
@dataclass(frozen=True)
class Image(Modality):
    """Pictures of one size, grey or colour, with values from -1 (black) to 1 (white).

    Read are PNG, JPEG, TIFF, BMP, WebP, GIF, PPM, AVIF and QOI files, of several pages the first, turned upright as the
    camera noted; and arrays (h, w) or (h, w, channels) with 1 (grey), 2 (grey, alpha), 3 (colour) or 4 (colour, alpha)
    channels. What is transparent shows white. Integers are scaled by the range of their type: 8 bits by 255, 16 bits by
    65535; floats are taken as they are, 0 black and 1 white, never clipped. Grey is kept in 16 bits; of colour with 16
    bits per channel Pillow gives the upper 8. Grey becomes colour by repetition, colour becomes grey by Rec. 601 luma; size
    is changed by an antialiased bilinear filter in floating point.

    Attributes:
        height, width: of the values, in pixels, 2 to 4096.
        channels: 1 (grey) or 3 (colour).
        bits: per value in the items learned from: 8, 16, or 32 for floats. For people; each item is read by its own.

    Raises:
        InvalidSetting: settings outside these ranges.

    >>> opened = Image(2, 2).open(Item("dots", np.array([[0, 255], [255, 0]], dtype=np.uint8)))
    >>> opened.values.tolist()
    [[[-1.0, 1.0], [1.0, -1.0]]]
    >>> opened.vitals["contrast"]
    0.5
    """

    name: ClassVar[str] = "image"
    grain: ClassVar[Mapping[str, float]] = GRAIN

    height: int
    width: int
    channels: int = 1
    bits: int = 8

    def __post_init__(self) -> None:
        for name, side in (("height", self.height), ("width", self.width)):
            if not isinstance(side, int) or not SMALLEST <= side <= LARGEST:
                raise InvalidSetting(f"the {name} of images is a whole number from {SMALLEST} to {LARGEST}; got {side!r}")
        if self.channels not in (1, 3):
            raise InvalidSetting(f"images have 1 (grey) or 3 (colour) channels; got {self.channels!r}")
        if self.bits not in (8, 16, 32):
            raise InvalidSetting(f"images have 8 or 16 bits per value, or 32 for floats; got {self.bits!r}")

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.channels, self.height, self.width

    def open(self, item: Item) -> Opened:
        """Read an image. Its vitals are measured before it is brought to size:

        ``width`` and ``height`` in pixels, ``bits``, ``finite`` (share of pixels that are numbers), ``contrast`` (standard
        deviation over finite pixels, root mean square over channels), ``black`` and ``white`` (share of pixels with all
        channels at the very end of the range), ``colour`` (mean over pixels of largest minus smallest channel), these
        four in units where white is 1; ``dead`` (share of rows and columns in which nothing varies), and ``brightness``, ``detail``,
        ``noise``, ``specks``, ``slope``, ``blocks`` and ``stripes``, which tell how a picture was made. Pixels that are not finite stay so in the values.

        Raises:
            UnreadableItem: no image, damaged, cut short, or of a kind that has no agreed range.
            TooLarge: more pixels than ``PIL.Image.MAX_IMAGE_PIXELS``, known before anything is decoded.
        """
        return self._read(item, (self.height, self.width))

    def whole(self, item: Item) -> Opened:
        """Read an image and leave its size as it is. Raises as :meth:`open` does."""
        return self._read(item, None)

    def _read(self, item: Item, size: tuple[int, int] | None) -> Opened:
        try:
            content = _content(item)
            image = raster(content, item.name)
            return Opened(self._values(image, size), image.vitals(), digest(content))
        except MemoryError as error:
            raise TooLarge(f"{item.name} does not fit in memory; reduce it before it is judged") from error

    def picture(self, values: np.ndarray) -> PIL.Image.Image:
        """Values (C, h, w) as an 8-bit picture; beyond [-1, 1] they are clipped, and black where they are no numbers.

        Raises:
            WrongShape: not 1 or 3 channels.

        >>> Image(8, 8).picture(np.ones((1, 4, 6))).size
        (6, 4)
        """
        if np.ndim(values) != 3 or len(values) not in (1, 3):
            raise WrongShape(f"a picture is made of values (1 or 3, height, width); got {np.shape(values)}")
        shown = np.nan_to_num(np.asarray(values, dtype=np.float64), nan=-1.0, posinf=1.0, neginf=-1.0)
        bytes_ = np.rint((np.clip(shown, -1, 1) + 1) * 127.5).astype(np.uint8)
        return PIL.Image.fromarray(bytes_[0] if len(values) == 1 else np.ascontiguousarray(np.moveaxis(bytes_, 0, -1)))

    def limits(self, vitals: Sequence[Mapping[str, float]]) -> tuple[Limit, ...]:
        """How far a new image may differ from known-good ones in plain measure before no p-value should speak.

        All pixels finite; width and height within a factor 1.25 of those seen; bit depths as seen; contrast no less than
        a tenth of the lowest seen; black and white at most halfway from the most seen to all; colour at most twice the
        most seen, or 0.1 above it.

        Raises:
            NoItems: nothing was measured.
        """
        seen = [one for one in vitals if one]
        if not seen:
            raise NoItems("no known-good image was measured, so there are no limits; give at least one that can be read")
        names = set.intersection(*map(set, seen))  # references of an earlier version were measured in fewer ways
        low = {name: min(one[name] for one in seen) for name in names}
        high = {name: max(one[name] for one in seen) for name in names}
        grey = "in colour, and the known-good are grey" if high["colour"] < GREY else "more colourful than the known-good"
        return (
            Limit("finite", 1.0, 1.0, "not finite"),
            *(Limit(side, low[side] / 1.25, high[side] * 1.25, "wrong size") for side in ("width", "height")),
            Limit("bits", low["bits"], high["bits"], "wrong bit depth"),
            *([Limit("contrast", low["contrast"] / 10, math.inf, "blank")] if 0 < low["contrast"] < math.inf else []),
            *(Limit(end, 0.0, (high[end] + 1) / 2, "saturated") for end in ("black", "white")),
            Limit("colour", 0.0, max(2 * high["colour"], high["colour"] + 0.1), grey),
        )

    @classmethod
    def learn(cls, items: Items, size: int | Sequence[int] | None = None, channels: int | None = None, roomy: int = 64) -> Image:
        """The size, channels and bits that suit these items, judged by up to 256 of them, evenly spaced.

        Args:
            size: height and width, one number for a square. None: the size that all have, but no side over ``roomy`` pixels.
            channels: 1 or 3. None: 1 if all of them are grey.

        Raises:
            NoItems: none of those looked at can be read.
            InvalidSetting: a size or channels that cannot be.

        >>> Image.learn(Items.open(np.zeros((3, 28, 28), dtype=np.uint8)))
        Image(height=28, width=28, channels=1, bits=8)
        """
        asked = None if size is None else _sides(size)
        if asked or channels is not None:
            cls(*(asked or (roomy, roomy)), 1 if channels is None else channels)  # refuses settings before the work
        seen = _measured(items)
        height, width = asked or (_side(seen, "height", roomy), _side(seen, "width", roomy))
        found = 1 if max(one["colour"] for one in seen) < GREY else 3
        return cls(height, width, found if channels is None else channels, int(max(one["bits"] for one in seen)))

    @QUIET
    def _values(self, image: Raster, size: tuple[int, int] | None) -> np.ndarray:
        planes = np.stack([_sized(plane.astype(np.float32) / np.float32(image.top), size) for plane in np.moveaxis(image.pixels, -1, 0)])
        if len(planes) > self.channels:
            planes = np.tensordot(LUMA, planes, 1)[None]
        return np.repeat(2 * planes - 1, self.channels // len(planes), axis=0)


def _sized(plane: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """A plane at that height and width; None leaves it as it is."""
    if size is None or plane.shape == size:
        return plane
    return np.asarray(PIL.Image.fromarray(plane).resize((size[1], size[0]), PIL.Image.Resampling.BILINEAR))


def pixels(item: Item) -> np.ndarray:
    """An image as it was stored, upright and without transparency: (height, width, 1 or 3), in the numbers of its file.

    Raises:
        ItemError: it cannot be read; the message says why.

    >>> pixels(Item("dots", np.array([[0, 255]], dtype=np.uint8)))[..., 0].tolist()
    [[0, 255]]
    """
    return raster(_content(item), item.name).pixels


def _content(item: Item) -> bytes | np.ndarray:
    """What is stored; a Pillow image that is in memory already as an array."""
    content = item.load()
    return stored(content) if isinstance(content, PIL.Image.Image) else content


def _measured(items: Items) -> list[dict[str, float]]:
    """The vitals of evenly spaced items; those that cannot be read are skipped."""
    seen, reasons = [], []
    for i in np.unique(np.linspace(0, len(items) - 1, min(len(items), SAMPLE)).round().astype(int)):
        try:
            seen.append(raster(_content(items[int(i)]), items[int(i)].name).vitals())
        except ItemError as refusal:
            reasons.append(str(refusal))
    if not seen:
        raise NoItems(f"none of {len(reasons)} items looked at can be read; the first reasons: {' | '.join(reasons[:3])}")
    return seen


def _sides(size: int | Sequence[int]) -> tuple[int, int]:
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2:
        raise InvalidSetting(f"a size is one number, or height and width; got {size!r}")
    return sides[0], sides[1]


def _side(seen: Sequence[Mapping[str, float]], name: str, roomy: int) -> int:
    return int(min(max(*(one[name] for one in seen), SMALLEST), roomy))
