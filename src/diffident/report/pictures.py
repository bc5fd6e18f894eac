"""Pictures for people: an item, a map laid over it, the nearest known-good one, and the legend of the colours."""

from __future__ import annotations

import base64
import io

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
from PIL.PngImagePlugin import PngInfo

from ..modalities import Modality
from ..regions import Where
from .colours import Scale, paint, table

Picture = PIL.Image.Image

#: Ink and paper of pictures with words in them.
INK, FAINT, PAPER = (28, 30, 34), (96, 100, 108), (255, 255, 255)


#: A picture up to this is small: shown pixel by pixel, and not outlined unless it is enlarged.
SMALL = 96


def shown(modality: Modality, values: np.ndarray) -> Picture:
    """Values as people look at them, in colour so that other colours can be laid over them."""
    return modality.picture(values).convert("RGB")


def overlaid(picture: Picture, heights: np.ndarray, scale: Scale) -> Picture:
    """A picture with a map (h, w) over it: uncoloured where the item is ordinary."""
    colours = PIL.Image.fromarray(paint(heights, scale)).resize(picture.size, PIL.Image.Resampling.NEAREST)
    return PIL.Image.alpha_composite(picture.convert("RGBA"), colours).convert("RGB")


def located(picture: Picture, where: Where, scale: Scale, side: int = 0) -> Picture:
    """A picture with its map over it and what is marked outlined, enlarged or reduced to ``side`` if one is given.

    The outline is a dark and a light line that show on any picture, outside of what they are around; a small picture, of which they
    would cover too much, has none.
    """
    over = overlaid(picture, where.map, scale)
    over = sized(over, side) if side else over
    return over if where.mask is None or max(over.size) <= SMALL else outlined(over, where.mask)


def caption(where: Where) -> str:
    """What is to be said below such a picture."""
    if where.mask is None:
        return "where it is strange"
    count = len(where.regions)
    return "where it is strange; " + (f"{count} {'place is' if count == 1 else 'places are'} marked" if count else "no place is marked")


def marking(where: Where) -> str:
    """What an outline promises; nothing where there is none to be had."""
    if where.mask is None:
        return ""
    return f" Outlined is what is marked at p <= {where.level:g}: of good items at most {100 * where.level:.3g} % have anything marked, on average."


def outlined(picture: Picture, mask: np.ndarray) -> Picture:
    """A picture with lines around the marked parts (h, w) of it."""
    marked = np.asarray(PIL.Image.fromarray(mask).resize(picture.size, PIL.Image.Resampling.NEAREST))
    inner, outer = _grown(marked), _grown(_grown(marked))
    drawn = np.array(picture.convert("RGB"))
    drawn[outer & ~inner], drawn[inner & ~marked] = PAPER, INK
    return PIL.Image.fromarray(drawn)


def _grown(marked: np.ndarray) -> np.ndarray:
    """A pixel more on every side."""
    wide = np.pad(marked, 1)
    tall = wide[:-2] | wide[1:-1] | wide[2:]
    return tall[:, :-2] | tall[:, 1:-1] | tall[:, 2:]


def sized(picture: Picture, side: int) -> Picture:
    """A picture whose longer side is near ``side``: enlarged by a whole number, so that each pixel stays square and sharp, or reduced."""
    longest = max(picture.size)
    factor = max(side // longest, 1) if longest <= side else side / longest
    size = (max(round(picture.width * factor), 1), max(round(picture.height * factor), 1))
    return picture.resize(size, PIL.Image.Resampling.NEAREST if factor >= 1 else PIL.Image.Resampling.LANCZOS)


def legend(scale: Scale, width: int = 256, height: int = 12) -> Picture:
    """The colours from ``low`` to ``high``, left to right, as they look over middle grey."""
    ramp = np.linspace(scale.low, scale.high, width)[None].repeat(height, 0)
    return overlaid(PIL.Image.new("RGB", (width, height), (128, 128, 128)), ramp, scale)


def difference(values: np.ndarray) -> Picture:
    """The size of a difference (C, h, w) of values in [-1, 1]: from nothing (magenta) to half the way from black to white (light yellow)."""
    size = np.abs(np.nan_to_num(values)).mean(axis=0)
    return PIL.Image.fromarray(table()[np.clip(np.rint(255 * size), 0, 255).astype(int)])


def data_uri(picture: Picture) -> str:
    """A picture as text that a page can hold."""
    return "data:image/png;base64," + base64.b64encode(png(picture)).decode("ascii")


def png(picture: Picture, says: str = "") -> bytes:
    """A picture as the bytes of a PNG file, the same for the same picture; what it ``says`` stands near its beginning."""
    kept, info = io.BytesIO(), PngInfo()
    if says:
        info.add_text("Description", says)
    picture.save(kept, "PNG", optimize=True, pnginfo=info)
    return kept.getvalue()


def font(size: int) -> PIL.ImageFont.ImageFont | PIL.ImageFont.FreeTypeFont:
    """The one that Pillow brings along."""
    return PIL.ImageFont.load_default(size)


def wrapped(text: str, width: int, size: int) -> list[str]:
    """Text in lines no wider than so many pixels; a word that is wider stands alone."""
    lines, face = [""], font(size)
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if not lines[-1] or face.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
