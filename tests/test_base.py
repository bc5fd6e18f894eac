"""The base model that comes with the package: it is there, small, offline and quick, and serves after a few known-good pictures."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner

import diffident as dd
from diffident.cli import commands
from diffident.folder import placed


def test_it_is_there_by_either_name_small_and_with_its_card() -> None:
    place = placed("base")
    assert place == placed("base-1")
    assert sum(file.stat().st_size for file in place.iterdir()) < 20e6
    card = (place / "README.md").read_text()
    for said in ("Apache-2.0", "scripts/train_base.py", "no faces", "known limits", "loss curve", "held-out loss"):
        assert said in card


def test_it_loads_offline_in_less_than_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def refuse(*_: object) -> None:
        raise AssertionError("it asked the network")

    monkeypatch.setattr(socket, "socket", refuse)
    dd.load("base")  # what is imported once is not counted
    start = time.perf_counter()
    model = dd.load("base")
    assert time.perf_counter() - start < 1.0
    assert model.name == "base-1"
    assert not model.seen


def stripes(n: int, period: int, seed: int) -> np.ndarray:
    """Pictures of soft stripes, each of its own phase and light."""
    rng = np.random.default_rng(seed)
    across = np.arange(32)[None, None] + rng.uniform(0, period, (n, 1, 1))
    wave = 0.5 + 0.3 * np.sin(2 * np.pi * across / period) + 0 * np.arange(32)[None, :, None]
    return np.clip(wave * rng.uniform(0.8, 1.0, (n, 1, 1)) + 0.05 * rng.normal(size=(n, 32, 32)), 0, 1)


def test_a_few_known_good_pictures_make_a_detector_on_the_command_line(tmp_path: Path) -> None:
    for name, many, period in (("good", 60, 8), ("incoming", 12, 8), ("other", 12, 5)):
        (tmp_path / name).mkdir()
        for i, one in enumerate(stripes(many, period, len(name))):
            PIL.Image.fromarray(np.rint(255 * one).astype(np.uint8)).save(tmp_path / name / f"{i:03d}.png")
    runner = CliRunner()
    done = runner.invoke(commands, ["fit", "base", str(tmp_path / "good"), "-o", str(tmp_path / "mine"), "--flag", "0.05"], standalone_mode=False)
    assert done.exception is None
    assert "calibrated on 60 items" in done.output
    counts = {}
    for name in ("incoming", "other"):
        done = runner.invoke(commands, ["score", str(tmp_path / "mine"), str(tmp_path / name), "--json"], standalone_mode=False)
        assert done.exception is None
        counts[name] = json.loads(done.output)["flag"]
    assert counts["other"] == 12
    assert counts["incoming"] <= 4


def test_a_detector_of_it_asks_zero_shot_unless_it_is_told_otherwise() -> None:
    from diffident.detector import Detector
    from diffident.recipes import recipe

    detector = Detector.load("base")
    assert recipe(detector.recipe).name == "zero-shot"
    assert detector.calibration is None
