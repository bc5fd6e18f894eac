"""Images as they are stored: many formats, modes and types to plain pixels, or a refusal in words."""

from __future__ import annotations

import functools
import io
import math
import struct
from dataclasses import dataclass

import numpy as np
import PIL.Image
from PIL import ImageFile

from ..errors import InvalidSetting, ItemError, TooLarge, UnreadableItem
from ._vitals import dead, texture

#: Formats that show their kind in the first bytes, run no other program (EPS does), and of which Pillow refuses a file
#: that was cut short: it opens cut JPEG 2000 and PCX files without a word, and takes noise for TGA.
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF", "PPM", "AVIF", "QOI")

#: What a picture's mode is read as, where it is not read as it is.
READ_AS = {"1": "L", "P": "RGB", "PA": "RGBA", "La": "LA", "RGBa": "RGBA", "RGBX": "RGB", "CMYK": "RGB", "YCbCr": "RGB"}

#: Which turn brings a picture upright, by the orientation that the camera noted.
TURNS = {
    2: PIL.Image.Transpose.FLIP_LEFT_RIGHT,
    3: PIL.Image.Transpose.ROTATE_180,
    4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
    5: PIL.Image.Transpose.TRANSPOSE,
    6: PIL.Image.Transpose.ROTATE_270,
    7: PIL.Image.Transpose.TRANSVERSE,
    8: PIL.Image.Transpose.ROTATE_90,
}
ORIENTATION = 0x0112

#: Numbers beyond single precision become infinite, and ``finite`` says so.
QUIET = np.errstate(over="ignore", invalid="ignore")


@dataclass(frozen=True, eq=False)
class Raster:
    """An image as it was stored, without transparency: pixels (h, w, 1 or 3), the number that is white, and its bits."""

    pixels: np.ndarray
    top: float
    bits: int

    @QUIET
    def vitals(self) -> dict[str, float]:
        height, width, _ = self.pixels.shape
        planes = np.moveaxis(self.pixels, -1, 0)
        least, most = functools.reduce(np.minimum, planes), functools.reduce(np.maximum, planes)  # NaN and infinity show in one of them
        finite = np.isfinite(least) & np.isfinite(most)
        spread = np.subtract(most, least, dtype=np.float32, where=finite, out=np.zeros(finite.shape, np.float32))
        return {
            "width": float(width),
            "height": float(height),
            "bits": float(self.bits),
            "finite": float(finite.mean()),
            "contrast": self._contrast(finite),
            "black": float((finite & (most <= 0)).mean()),
            "white": float((finite & (least >= self.top)).mean()),
            "colour": float(spread.sum(dtype=np.float64) / max(finite.sum(), 1) / self.top),
            "dead": dead(self.pixels),
            **texture(self._grey(finite)),
        }

    def _grey(self, finite: np.ndarray) -> np.ndarray:
        """The mean of the channels, (h, w) float32, white is 1; 0 where it is no number."""
        grey = np.zeros(finite.shape, np.float32)
        for plane in np.moveaxis(self.pixels, -1, 0):
            grey += plane.astype(np.float32) / np.float32(self.top * self.pixels.shape[2])
        return np.where(finite, grey, np.float32(0))

    def _contrast(self, finite: np.ndarray) -> float:
        """Plane by plane in single precision: a large picture is in memory often enough."""
        if not finite.any():
            return 0.0
        squares = []
        for plane in np.moveaxis(self.pixels, -1, 0):
            kept = (plane if finite.all() else plane[finite]).astype(np.float32)
            kept = kept / np.float32(self.top)
            kept -= np.float32(kept.mean(dtype=np.float64))
            squares.append(np.square(kept, out=kept).mean(dtype=np.float64))
        return math.sqrt(np.mean(squares))


@QUIET
def raster(content: bytes | np.ndarray, name: str) -> Raster:
    """The pixels of a file or an array.

    Raises:
        UnreadableItem, TooLarge: see :meth:`Image.open`.
    """
    try:
        array = content if isinstance(content, np.ndarray) else stored(_decoded(content, name))
        return _opaque(*_scaled(_channelled(array)))
    except UnreadableItem as refusal:
        raise UnreadableItem(f"cannot read {name}: {refusal}") from refusal


def _channelled(array: np.ndarray) -> np.ndarray:
    """(h, w) or (h, w, channels) to (h, w, channels)."""
    shaped = array[..., None] if array.ndim == 2 else array
    if shaped.ndim != 3 or not 1 <= shaped.shape[2] <= 4 or not shaped.size:
        raise UnreadableItem(f"an array of shape {array.shape} is no image; give (height, width) or (height, width, channels) with 1 to 4 channels")
    return shaped


def _scaled(array: np.ndarray) -> tuple[np.ndarray, float, int]:
    """The numbers, which of them is white, and their bits."""
    if array.dtype == np.bool_:
        return array.astype(np.uint8), 1.0, 8
    if array.dtype.kind == "u" and array.dtype.itemsize <= 2:  # of either byte order
        bits = 8 * array.dtype.itemsize
        return array.astype(f"u{bits // 8}", copy=False), float(2**bits - 1), bits
    if array.dtype.kind == "f":
        return array.astype(np.float32), 1.0, 32
    raise UnreadableItem(f"numbers of type {array.dtype} have no agreed white; give uint8 (0 to 255), uint16 (0 to 65535) or floats from 0 to 1")


def _opaque(pixels: np.ndarray, top: float, bits: int) -> Raster:
    """Lay grey with alpha, or colour with alpha, on white."""
    if pixels.shape[2] in (1, 3):
        return Raster(pixels, top, bits)
    colour, alpha = pixels[..., :-1], pixels[..., -1:]
    if (alpha == pixels.dtype.type(top)).all():
        return Raster(colour, top, bits)
    share = alpha.astype(np.float32) / np.float32(top)
    return Raster(colour.astype(np.float32) / np.float32(top) * share + (1 - share), 1.0, bits)


def stored(picture: PIL.Image.Image) -> np.ndarray:
    """A Pillow image, upright, as an array (h, w) or (h, w, channels) of uint8, uint16 or float32.

    Raises:
        UnreadableItem: a mode without an agreed meaning in grey or colour.

    >>> stored(PIL.Image.new("1", (3, 2))).shape
    (2, 3)
    """
    picture = _upright(picture)
    if picture.mode.startswith("I"):
        return _sixteen(picture)
    if picture.mode != "F" and picture.has_transparency_data:
        picture = picture.convert("LA" if picture.mode in ("1", "L", "LA", "La") else "RGBA")
    picture = picture.convert(READ_AS.get(picture.mode, picture.mode))
    if picture.mode not in ("L", "LA", "RGB", "RGBA", "F"):
        raise UnreadableItem(f"a picture of mode {picture.mode} is neither grey nor RGB; convert it first, for example to PNG")
    return np.asarray(picture)


def _sixteen(picture: PIL.Image.Image) -> np.ndarray:
    """Whole numbers of 16 bits, also where Pillow holds them in 32."""
    numbers = np.asarray(picture)
    low, high = numbers.min(), numbers.max()
    if low < 0 or high > 65535:
        raise UnreadableItem(f"whole numbers from {low} to {high} have no agreed white; save the image in 16 bits (0 to 65535) or as floats from 0 to 1")
    numbers = numbers.astype(np.uint16)
    clear = picture.info.get("transparency")
    return np.stack([numbers, np.where(numbers == clear, 0, 65535).astype(np.uint16)], axis=2) if isinstance(clear, int) else numbers


def _upright(picture: PIL.Image.Image) -> PIL.Image.Image:
    picture.load()  # some formats are turned while they are loaded, and then note no orientation any more
    try:
        turn = TURNS.get(picture.getexif().get(ORIENTATION, 1))
    except Exception:  # damaged notes of the camera, in any of many ways, say nothing of the picture itself
        turn = None
    return picture if turn is None else picture.transpose(turn)


def _decoded(content: bytes, name: str) -> PIL.Image.Image:
    """A whole picture, or a refusal."""
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise InvalidSetting("PIL.ImageFile.LOAD_TRUNCATED_IMAGES is True, so a file cut short would be judged as if whole; set it to False")
    try:
        picture = _identified(content)
        if picture is not None:
            _check_size(picture.size, name)
            picture.load()
    except ItemError:
        raise
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning) as error:
        raise TooLarge(f"{name} has too many pixels: {error}") from error
    except MemoryError:  # not the fault of the bytes
        raise
    except Exception as error:  # decoders fail in many ways on damaged bytes; all of them mean the same
        raise UnreadableItem(f"its {len(content)} bytes are damaged or cut short ({error}); get the file again from its source") from error
    if picture is None:
        raise UnreadableItem(f"its {len(content)} bytes, beginning with {content[:8]!r}, are no image; formats read: {', '.join(FORMATS)}")
    if picture.format in ("JPEG", "MPO") and _hollow(content):
        raise UnreadableItem(f"its {len(content)} bytes end in zeros where picture data should be; get the file again from its source")
    return picture


def _identified(content: bytes) -> PIL.Image.Image | None:
    """The picture whose header this is, nothing decoded yet; None if it is none.

    Pillow's own ``open`` does this and then warns of large pictures, through filters that one thread cannot set without
    setting them for all; so the formats are asked directly, and the size is judged here.
    """
    PIL.Image.init()
    for kind in FORMATS:
        opens, accepts = PIL.Image.OPEN.get(kind, (None, None))
        known = accepts(content[:16]) if accepts is not None else False
        if opens is None or not known or isinstance(known, str):  # a text says what is missing to read this kind
            continue
        try:
            return opens(io.BytesIO(content), "")
        except (SyntaxError, IndexError, TypeError, struct.error):  # how a format says that it was mistaken
            continue
    return None


def _check_size(size: tuple[int, int], name: str) -> None:
    limit = PIL.Image.MAX_IMAGE_PIXELS
    if limit is not None and size[0] * size[1] > limit:
        asked = f"{size[0]} x {size[1]} = {size[0] * size[1]:,}"
        raise TooLarge(f"{name} has {asked} pixels and at most {limit:,} are opened; reduce it, or raise PIL.Image.MAX_IMAGE_PIXELS if you trust it")
    if min(size) < 1:
        raise UnreadableItem(f"an image of {size[0]} x {size[1]} pixels has none; get the file again from its source")


def _hollow(content: bytes) -> bool:
    """Whether a JPEG was allocated in full and only begun: zeros up to its end, and no end marker after the last scan."""
    return content.endswith(bytes(16)) and content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda")
