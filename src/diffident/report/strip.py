"""A film strip: level by level what a model was shown, what it answered, and where the answer differs from the item."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from .. import registry
from ..model import Model
from ..spaces import InvertibleSpace
from ..trajectory import Trajectory
from ..walks import Walk
from .colours import table
from .pictures import FAINT, Picture, difference, shown, sized
from .sheet import below, beside, words

#: More levels than this are thinned out; each picture's longer side is near this; so wide are the words before a row.
MOST, CELL, LABEL = 12, 84, 116

ROWS = ("what the model was shown", "what it answered", "where that differs from the item")

SAYS = "Differences are magenta where there is none, and light yellow from half the way between black and white on."
SAYS_ONLY = "Items do not come back from the space of this model: only differences are shown, lightest where they are largest in this strip."


def strip(model: Model, film: Trajectory) -> Picture:
    """The record of one item as a picture: a column for each level, from the first look to the last.

    What the model was shown is divided by sqrt(alpha^2 + sigma^2), so that much noise stays within what a screen can show.
    Differences have one scale, always: from none to half the way between black and white.
    In a space from which items do not come back there are only differences, lightest where they are largest in this strip.
    """
    levels = np.unique(np.linspace(0, len(film) - 1, min(len(film), MOST)).round().astype(int)).tolist()
    rows = _pictures(model, film, levels) if isinstance(model.space, InvertibleSpace) else _only_differences(model, film, levels)
    width = max(picture.width for _, pictures in rows for picture in pictures)
    heads = [words(f"sigma {float(film.sigma[i]):.3g} alpha {float(film.alpha[i]):.3g}", max(width, 76), 12, FAINT) for i in levels]
    lines = [beside([words(label, LABEL, 13), *(_padded(picture, heads[0].width) for picture in pictures)], 6) for label, pictures in rows]
    said = SAYS if isinstance(model.space, InvertibleSpace) else SAYS_ONLY
    return below([words(title(film, len(levels)), 640, 15), beside([words("", LABEL, 12), *heads], 6), *lines, words(said, 640, 12, FAINT)], 6)


def title(film: Trajectory, count: int) -> str:
    """The walk by name, and how many of its levels are shown."""
    name = registry.name_of("walks", type(film.walk)) if isinstance(film.walk, Walk) else "a pipeline's own"
    told = f"{len(film)} {'level' if len(film) == 1 else 'levels'}" if count == len(film) else f"{count} of {len(film)} levels"
    return f"Walk: {name}, {told}"


def _pictures(model: Model, film: Trajectory, levels: Sequence[int]) -> list[tuple[str, list[Picture]]]:
    size = (film.alpha**2 + film.sigma**2).sqrt()
    seen = [_decoded(model, film.x[i] / float(size[i])) for i in levels]
    answered = [_decoded(model, film.denoised[i]) for i in levels]
    item = _decoded(model, film.origin)
    made = (
        [shown(model.modality, values) for values in seen],
        [shown(model.modality, values) for values in answered],
        [difference(values - item) for values in answered],
    )
    return [(label, [sized(picture, CELL) for picture in pictures]) for label, pictures in zip(ROWS, made, strict=True)]


def _only_differences(model: Model, film: Trajectory, levels: Sequence[int]) -> list[tuple[str, list[Picture]]]:
    with torch.no_grad():
        maps = [model.space.map_back((film.denoised[i] - film.origin).abs(), model.modality.shape[1:])[0].cpu().numpy() for i in levels]
    top = max(max(float(np.nanmax(one)) for one in maps), 1e-12)
    pictures = [PIL.Image.fromarray(table()[np.rint(255 * np.clip(np.nan_to_num(one) / top, 0, 1)).astype(int)]) for one in maps]
    return [(ROWS[2], [sized(picture, CELL) for picture in pictures])]


def _decoded(model: Model, elements: Tensor) -> np.ndarray:
    """The values (C, h, w) of the one item of the record."""
    space = model.space
    if not isinstance(space, InvertibleSpace):
        return elements[0].cpu().numpy()
    with torch.no_grad():
        return space.decode(elements, model.modality.shape[1:])[0].float().cpu().numpy()


def _padded(picture: Picture, width: int) -> Picture:
    return beside([picture, PIL.Image.new("RGB", (max(width - picture.width, 0), 1), (255, 255, 255))], 0)
