"""Known-good pictures beside a detector: few, chosen evenly, the nearest found again, and none of it in a decision."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import diffident as dd
from diffident import folder as folders
from diffident.calibration import Calibration
from diffident.errors import DamagedModel, InvalidSetting, WrongShape
from diffident.gallery import Gallery, Kept, chosen


def pictures(n: int, seed: int, spread: float = 0.1) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.5 - spread, 0.5 + spread, (n, 8, 8))


@pytest.fixture(scope="module")
def model() -> dd.Model:
    return dd.train(pictures(40, 0), network="none")


@pytest.fixture(scope="module")
def detector(model: dd.Model) -> dd.Detector:
    return dd.Detector(model).fit(pictures(99, 1))


def test_few_are_kept_evenly_and_none_if_none_are_wanted(model: dd.Model, detector: dd.Detector) -> None:
    assert detector.gallery is not None and len(detector.gallery) == 64
    assert detector.gallery.names[0] == "array[0]" and detector.gallery.names[-1] == "array[98]"
    assert detector.gallery.pictures.shape == (64, 1, 8, 8) and detector.gallery.pictures.dtype == np.uint8
    assert dd.Detector(model).fit(pictures(30, 1), keep=0).gallery is None
    assert len(dd.Detector(model).fit(pictures(30, 1), keep=7).gallery) == 7
    with pytest.raises(InvalidSetting, match="0 or more; got -1"):
        dd.Detector(model).fit(pictures(30, 1), keep=-1)


def test_copies_and_unreadable_items_are_not_kept(model: dd.Model) -> None:
    items = [*pictures(25, 1), pictures(25, 1)[0], np.zeros((8, 8, 5))]
    assert len(dd.Detector(model).fit(items).gallery) == 25


def test_pictures_come_back_to_within_a_grey_level(detector: dd.Detector) -> None:
    values = 2 * pictures(99, 1)[0][None] - 1
    np.testing.assert_allclose(detector.gallery.values(0), values, atol=1 / 255)


def test_the_nearest_is_the_thing_itself_also_when_it_is_darker(detector: dd.Detector) -> None:
    for i in (0, 13, 63):
        assert detector.gallery.nearest(detector.gallery.values(i)) == i
        assert detector.gallery.nearest(detector.gallery.values(i) - 0.3) == i
    assert 0 <= detector.gallery.nearest(np.full((1, 8, 8), np.nan)) < 64


def test_a_folder_keeps_them_and_a_folder_without_them_loads(model: dd.Model, detector: dd.Detector, tmp_path: Path) -> None:
    back = dd.Detector.load(detector.save(tmp_path / "with"))
    assert (back.gallery.pictures == detector.gallery.pictures).all() and back.gallery.names == detector.gallery.names
    assert (back.gallery.ordinary, back.gallery.highest) == (detector.gallery.ordinary, detector.gallery.highest)
    bare = dd.Detector.load(dd.Detector(model).fit(pictures(99, 1), keep=0).save(tmp_path / "without"))
    assert bare.gallery is None and not (tmp_path / "without" / "gallery.safetensors").exists()
    assert json.loads((tmp_path / "with" / "diffident.json").read_text())["format"] == 1
    new = pictures(20, 5, 0.3)
    assert [verdict.row() for verdict in back.judge_all(new)] == [verdict.row() for verdict in bare.judge_all(new)]


def test_only_items_that_are_still_references_stay(detector: dd.Detector) -> None:
    first, other = detector.scorer(pictures(99, 1)[:40]), detector.scorer(pictures(30, 2))
    wider = detector.fit_parts([first, other])
    assert set(wider.gallery.digests) <= set(wider.calibrated.references.digests) and 20 < len(wider.gallery) < 40
    assert detector.fit_parts([other]).gallery is None


def test_a_gallery_that_is_none_is_refused_in_words(detector: dd.Detector, tmp_path: Path) -> None:
    place = detector.save(tmp_path / "m")
    save_file({"pictures": np.zeros((2, 1, 8, 8), np.uint8)}, tmp_path / "other.safetensors", {"gallery": json.dumps({"names": ["a"]})})

    def fill(fresh: Path) -> dict:
        facts = detector._fill(fresh)
        shutil.copy(tmp_path / "other.safetensors", fresh / "gallery.safetensors")
        return facts

    folders.write_folder(place, fill)
    with pytest.raises(DamagedModel, match="does not hold known-good pictures .*fit the detector again"):
        dd.Detector.load(place)


def test_a_gallery_fits_together() -> None:
    with pytest.raises(WrongShape, match="got 1, 2 and 3 pictures"):
        Gallery(("a",), ("b", "c"), np.zeros((3, 1, 2, 2), np.uint8))
    assert Gallery.of([], "f") is None
    assert np.isnan(Gallery.of([Kept("a", "1", np.zeros((1, 2, 2)))], "f").highest)
    assert chosen(3, 64) == {0, 1, 2} and chosen(5, 0) == frozenset()


def test_a_calibration_by_hand_has_no_gallery(detector: dd.Detector) -> None:
    assert dd.Detector(detector.model, calibration=Calibration(detector.calibrated.references)).gallery is None
