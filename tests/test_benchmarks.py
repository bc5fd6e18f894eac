"""What long benchmarks rest on: pieces survive an interruption, recipes asked at once say what each says alone, no tile is on two sides."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import diffident as dd
from benchmarks import _common, inspection_sets
from benchmarks._learned import asked_at_once, ranked
from diffident.scorer import Scorer


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
