"""A sheet of paper for pictures and words: blocks laid beside and below each other."""

from __future__ import annotations

from collections.abc import Sequence

import PIL.Image
import PIL.ImageDraw

from .pictures import FAINT, INK, PAPER, Picture, font, wrapped


def words(text: str, width: int, size: int = 15, colour: tuple[int, int, int] = INK) -> Picture:
    """Text in as many lines as it needs, no wider than so many pixels."""
    lines, step = [_cut(line, width, size) for line in wrapped(text, width, size)], round(size * 1.35)
    drawn = PIL.Image.new("RGB", (width, step * len(lines) + 2), PAPER)
    pen = PIL.ImageDraw.Draw(drawn)
    for i, line in enumerate(lines):
        pen.text((0, i * step), line, fill=colour, font=font(size))
    return drawn


def captioned(picture: Picture, caption: str) -> Picture:
    """A picture with words below it, no wider than the picture or a few words."""
    return below([picture, words(caption, max(picture.width, 96), 13, FAINT)], 4)


def beside(blocks: Sequence[Picture], gap: int) -> Picture:
    """Blocks from left to right, their tops in line."""
    drawn = PIL.Image.new("RGB", (sum(block.width for block in blocks) + gap * (len(blocks) - 1), max(block.height for block in blocks)), PAPER)
    x = 0
    for block in blocks:
        drawn.paste(block, (x, 0))
        x += block.width + gap
    return drawn


def below(blocks: Sequence[Picture], gap: int) -> Picture:
    """Blocks from top to bottom, their left sides in line."""
    drawn = PIL.Image.new("RGB", (max(block.width for block in blocks), sum(block.height for block in blocks) + gap * (len(blocks) - 1)), PAPER)
    y = 0
    for block in blocks:
        drawn.paste(block, (0, y))
        y += block.height + gap
    return drawn


def framed(block: Picture, margin: int) -> Picture:
    """A block with paper around it."""
    drawn = PIL.Image.new("RGB", (block.width + 2 * margin, block.height + 2 * margin), PAPER)
    drawn.paste(block, (margin, margin))
    return drawn


def _cut(line: str, width: int, size: int) -> str:
    """A line that fits: a name without spaces may be wider than the sheet."""
    if font(size).getlength(line) <= width:
        return line
    while line and font(size).getlength(line + "…") > width:
        line = line[:-1]
    return line + "…"
