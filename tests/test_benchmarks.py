"""What long benchmarks rest on: pieces survive an interruption, recipes asked at once say what each says alone, no tile is on two sides."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import diffident as dd
from benchmarks import _common, bases, inspection_sets, large_images, zero_shot_choice, zero_shot_sets
from benchmarks._draws import drawn_auroc
from benchmarks._learned import asked_at_once, ranked
from diffident.evaluate import auroc
from diffident.scorer import Scorer
from scripts import base_pictures


def test_a_piece_is_kept_until_the_benchmark_is_frozen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_common, "RESULTS", tmp_path / "results")
    assert _common.kept("long") == {}
    _common.keep("long", "first", {"figure": 0.5})
    _common.keep("long", "second", [1, 2])
    assert _common.kept("long") == {"first": {"figure": 0.5}, "second": [1, 2]}
    assert _common.kept("other") == {}
    _common.freeze("long", {"done": True}, "page\n")
    assert _common.kept("long") == {}
    assert json.loads((tmp_path / "results" / "long.json").read_text()) == {"done": True}
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == ["long.json", "long.md"]


def test_recipes_asked_at_once_say_to_the_bit_what_each_says_alone(rng: np.random.Generator) -> None:
    pictures = rng.integers(0, 256, (60, 8, 8), dtype=np.uint8)
    model = dd.train(pictures[:20], network="none")
    for name, scores in asked_at_once(model, ("reconstruction", "diffpath", "diffpath-1d", "msma"), pictures[20:]).items():
        alone = Scorer(model, name)(pictures[20:])
        assert np.array_equal(scores.values, alone.values)
        assert (scores.columns, scores.tails, scores.says, scores.fingerprint) == (alone.columns, alone.tails, alone.says, alone.fingerprint)


def test_anybodys_score_is_flagged_by_its_conformal_p_value() -> None:
    said = ranked(np.arange(99.0), np.array([50.0, 1000.0]), 0.01)
    assert said["flagged"].tolist() == [False, True]
    assert not said["abstained"].any()


def test_no_tile_is_on_two_sides_of_a_split(benchmark_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIFFIDENT_DATA", str(benchmark_data))
    tiles = inspection_sets.magnetic_tile()
    for seed in (0, 1):
        parts = [set(tiles.good_units[part].tolist()) for part in tiles.parts(seed)]
        parts.append(set(tiles.test_units.tolist()))
        assert sum(map(len, parts)) == len(set().union(*parts))
        assert 0.5 < len(tiles.parts(seed)[0]) / len(tiles.good) < 0.7
    assert sum(mask is None for mask in tiles.masks) == 5
    assert tiles.apart == "uneven"


def test_generated_textures_have_one_law_whatever_their_size() -> None:
    """Deviation and grain are stated, and no picture is scaled by its own."""
    expected = np.hypot(large_images.COLOUR, large_images.GRAIN)
    for size in ((512, 512), (512, 1024)):
        assert np.mean([large_images.texture(size, seed).std() for seed in range(6)]) == pytest.approx(expected, rel=0.1)


def test_a_defect_is_a_square_raised_by_so_many_local_deviations() -> None:
    plain = np.full((64, 64), 100.0)
    raised, (row, column) = large_images.defective(plain, 2, 0)
    changed = np.argwhere(raised != 100)
    assert len(changed) == large_images.DEFECT**2
    assert changed.min(0).tolist() == [row, column]
    assert raised.max() == round(100 + 2 * large_images.local_deviation())


def test_a_seam_would_be_seen() -> None:
    flat = np.ones((40, 40)) + np.random.default_rng(0).normal(scale=0.01, size=(40, 40))
    beside, elsewhere, across, others = large_images.seam(flat, 8)
    assert beside / elsewhere == pytest.approx(1, abs=0.01)
    assert across / others == pytest.approx(1, abs=0.2)
    beside, elsewhere, across, others = large_images.seam(flat + 0.1 * (np.arange(40) // 8 % 2), 8)
    assert across / others > 5


def test_large_pictures_may_be_flagged_no_more_often_than_their_parts_allow() -> None:
    assert large_images.limits(99, 100, "good, same size") == tuple(round(100 * rate) for rate in large_images.alarm_range(99, 0.05, 100))
    low, high = large_images.limits(99, 100, "good, large")
    assert low == 0
    assert 10 < high < 20
    assert large_images.exact(0, 100)[0] == 0
    assert large_images.exact(100, 100) == (pytest.approx(0.0250 ** (1 / 100), abs=1e-6), 1.0)


def test_of_each_unit_one_is_drawn() -> None:
    units, rows = np.array([5, 5, 7, 7, 7, 9, 9]), np.array([0, 1, 2, 3, 4, 5])
    drawn = [inspection_sets.once(units, rows, seed) for seed in range(20)]
    assert all(units[one].tolist() == [5, 7, 9] and set(one) <= set(rows) for one in drawn)
    assert len({tuple(one) for one in drawn}) > 1 and np.array_equal(drawn[3], inspection_sets.once(units, rows, 3))


def test_an_item_that_is_drawn_twice_counts_twice() -> None:
    rng = np.random.default_rng(0)
    labels, scores, times = np.repeat([0, 1], [8, 6]), rng.integers(0, 5, 14).astype(float), rng.integers(1, 4, (5, 14))
    expected = [auroc(np.repeat(labels, often), np.repeat(scores, often)) for often in times]
    assert drawn_auroc(labels, scores, times) == pytest.approx(expected)


def test_a_picture_of_the_base_follows_from_its_number() -> None:
    first, again = base_pictures.pictures(3, 2), base_pictures.pictures(4, 1)
    assert first.shape == (2, 3, 32, 32) and first.dtype == np.float32 and np.abs(first).max() <= 1
    assert np.array_equal(first[1], again[0]) and not np.array_equal(first[0], first[1])


def test_no_person_of_a_test_is_in_a_base(benchmark_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIFFIDENT_DATA", str(benchmark_data))
    allowed, tested = bases.untested(), zero_shot_sets.persons()[: zero_shot_sets.TEST_PERSONS]
    assert not any(allowed(name) for name in tested)
    assert not allowed(tested[0].replace("000001", "000002")), "another picture of that person neither"
    assert sum(map(allowed, zero_shot_sets.persons())) == len(zero_shot_sets.persons()) - len(tested)


@pytest.mark.parametrize("kind", ["blends", "shuffled patches", "filtered noise", "quarter turns"])
def test_outliers_that_are_to_keep_the_plain_numbers_keep_them(kind: str, rng: np.random.Generator) -> None:
    """Otherwise a choice among ways to look would be a choice of who sees contrast."""
    images = rng.integers(90, 166, (6, 32, 32, 3), dtype=np.uint8)
    made = zero_shot_choice.OUTLIERS[kind](images, rng)
    assert made.shape == images.shape and made.dtype == np.uint8
    assert not any(np.array_equal(one, other) for one, other in zip(made, images, strict=True))
    assert np.abs(made.mean((1, 2, 3)) - images.mean()).max() < 2
    assert np.abs(made.std((1, 2, 3)) / images.std((1, 2, 3)) - 1).max() < 0.1
