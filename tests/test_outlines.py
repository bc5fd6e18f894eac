"""What is marked is outlined, never covered, and said in words beside its promise."""

from __future__ import annotations

import numpy as np
from PIL import Image

from diffident.regions import Region, Where
from diffident.report.colours import Scale
from diffident.report.pictures import caption, located, marking, outlined


def test_an_outline_lies_around_what_is_marked_and_covers_none_of_it() -> None:
    mask = np.zeros((10, 10), dtype=bool)
    mask[4:6, 3:8] = True
    drawn = np.array(outlined(Image.new("RGB", (100, 100), (9, 9, 9)), mask))
    touched = (drawn != 9).any(axis=2)
    assert not touched[40:60, 30:80].any() and touched[38:62, 28:82].sum() == touched.sum() == 24 * 54 - 20 * 50
    at_the_border = np.array(outlined(Image.new("RGB", (100, 100)), np.ones((10, 10), dtype=bool)))
    assert not at_the_border.any()


def test_small_pictures_are_outlined_only_where_they_are_enlarged() -> None:
    mask = np.eye(8, dtype=bool)
    where, small = Where(np.zeros((8, 8)), mask, (Region(0.0, 0.0, 8.0, 8.0, 0.125, 1.0, 0.05),), 0.05), Image.new("RGB", (8, 8), (50, 60, 70))
    scale = Scale(1.0, 2.0, "")
    assert {colour for _, colour in located(small, where, scale).getcolors()} == {(50, 60, 70)}
    assert len(located(small, where, scale, 256).getcolors()) == 3
    assert len(located(small, Where(np.zeros((8, 8))), scale, 256).getcolors()) == 1


def test_captions_and_legends_say_what_is_marked_and_what_that_promises() -> None:
    heights, region = np.zeros((4, 4)), Region(0.0, 0.0, 4.0, 4.0, 1.0, 1.0, 0.05)
    marked = Where(heights, np.ones((4, 4), dtype=bool), (region,), 0.02)
    assert caption(Where(heights)) == "where it is strange" and marking(Where(heights)) == ""
    assert caption(marked) == "where it is strange; 1 place is marked" and caption(Where(heights, heights > 1)).endswith("no place is marked")
    assert "at p <= 0.02: of good items at most 2 % have anything marked" in marking(marked)
