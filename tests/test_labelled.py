"""Folders of the MVTec layout: kinds are kept, masks find their pictures, and other folders are refused in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffident.data import Items
from diffident.errors import NotLabelled, UnreadableItem
from diffident.evaluate.labelled import Labelled, mask


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(root / name)
    return root


def test_kinds_and_masks_are_those_of_the_folders(tmp_path: Path) -> None:
    pictures = ("test/good/1.png", "test/crack/2.png", "test/crack/10.jpg", "test/hole/1.tiff", "test/hole/lot/3.png", "test/hole/4.png")
    masks = ("ground_truth/crack/2_mask.png", "ground_truth/crack/10.bmp", "ground_truth/hole/1_mask.png", "ground_truth/hole/lot/3_mask.png")
    found = Labelled.open(touch(tmp_path, *pictures, *masks, "train/good/0.png", "test/stray.png"))
    assert [item.name for item in found.test] == ["crack/2.png", "crack/10.jpg", "good/1.png", "hole/1.tiff", "hole/4.png", "hole/lot/3.png"]
    assert found.kinds == ("crack", "crack", "good", "hole", "hole", "hole") and found.defects == ("crack", "hole")
    assert found.labels.tolist() == [1, 1, 0, 1, 1, 1] and found.strays == ("stray.png",) and len(found.train) == 1
    assert [one and one.name for one in found.masks] == ["crack/2_mask.png", "crack/10.bmp", None, "hole/1_mask.png", None, "hole/lot/3_mask.png"]


def test_masks_and_training_items_may_be_absent(tmp_path: Path) -> None:
    found = Labelled.open(touch(tmp_path, "test/good/1.png", "test/crack/2.png"))
    assert not found.masked and not len(found.train)


@pytest.mark.parametrize(("suffix", "faint"), [("png", True), ("jpg", False)])
def test_a_mask_marks_what_is_not_black_and_in_jpeg_what_is_half_white(tmp_path: Path, suffix: str, faint: bool) -> None:
    values = np.zeros((32, 32), np.uint8)
    values[:, 16:], values[:8, :8] = 255, 20
    Image.fromarray(values).save(tmp_path / f"m.{suffix}", quality=60)
    found = mask(Items.open(tmp_path)[0])
    assert found[:, 16:].all() and not found[16:, :16].any() and found[:8, :8].all() == faint


def test_a_damaged_mask_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "m.png").write_text("words")
    with pytest.raises(UnreadableItem, match="m.png"):
        mask(Items.open(tmp_path)[0])


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("a.png",), "holds a.png and no folder called test"),
        (("test/a.png",), "no good items in test/good"),
        (("test/crack/a.png",), "no good items in test/good"),
        (("test/good/a.png",), "no strange items in test/KIND"),
    ],
)
def test_another_layout_is_refused_with_the_layout(tmp_path: Path, names: tuple[str, ...], words: str) -> None:
    with pytest.raises(NotLabelled, match=words) as refused:
        Labelled.open(touch(tmp_path, *names))
    assert "DIR/ground_truth/KIND/NAME_mask.png" in str(refused.value)


def test_a_folder_that_may_not_be_looked_into_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", denied)
    with pytest.raises(NotLabelled, match="cannot look into .*: Permission denied"):
        Labelled.open(tmp_path)


def test_no_folder_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a.png")
    for place, words in ((tmp_path / "a.png", "it is a file"), (tmp_path / "b", "there is no such folder")):
        with pytest.raises(NotLabelled, match=words):
            Labelled.open(place)
    (tmp_path / "test").mkdir()
    with pytest.raises(NotLabelled, match="is empty"):
        Labelled.open(tmp_path)
