"""The model that comes with the package: small, whole, with its papers, and ready to judge what it was never trained on."""

from __future__ import annotations

import csv
import json
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import diffident as dd
from diffident.cli import main
from diffident.detector import Detector
from diffident.errors import NotCalibrated
from diffident.folder import placed
from diffident.recipes import recipe
from scripts import base_pictures

PLACE = placed("base")
#: What a wheel may weigh for it, in bytes.
MOST = 20_000_000


def picture(rng: np.random.Generator, odd: bool) -> np.ndarray:
    """Soft colours with a bright disc somewhere; or, where it is odd, fine stripes of the same colours."""
    rows, columns = np.mgrid[:40, :48]
    ground = rng.uniform(60, 120, 3) + 20 * np.sin((rows + columns)[..., None] / 20 + rng.uniform(0, 6))
    y, x = rng.uniform(12, 28, 2)
    shape = (np.sin(columns * 1.5 + rng.uniform(0, 6)) > 0) if odd else (rows - y) ** 2 + (columns - x) ** 2 < rng.uniform(6, 10) ** 2
    return (ground + 90 * shape[..., None] + rng.normal(0, 3, ground.shape)).clip(0, 255).astype(np.uint8)


def folder(place: Path, count: int, seed: int, odd: bool = False) -> Path:
    place.mkdir()
    rng = np.random.default_rng(seed)
    for i in range(count):
        PIL.Image.fromarray(picture(rng, odd)).save(place / f"{i:03d}.png")
    return place


def for_status(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 0


def test_it_loads_without_a_net(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: object, **settings: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "socket", offline)
    model = dd.load("base")
    assert model.name == "base-1" and model.modality.shape == (3, 32, 32) and not model.seen
    assert dd.load("base-1").fingerprint == model.fingerprint


def test_it_is_small_and_has_a_card_and_a_notice() -> None:
    assert sum(file.stat().st_size for file in PLACE.iterdir()) < MOST
    card, notice = (PLACE / "README.md").read_text(), (PLACE / "NOTICE").read_text()
    for said in ("scripts/base_pictures.py", "python scripts/train_base.py", "Apache-2.0", "## Known limits", "## Loss", dd.load("base").fingerprint):
        assert said in card
    assert "Apache License" in notice


def test_it_travels_with_the_wheel() -> None:
    """All that lies in the package does; nothing that git ignores would."""
    done = subprocess.run(["git", "check-ignore", *map(str, PLACE.iterdir())], cwd=Path(__file__).parent, capture_output=True, text=True)
    assert done.returncode in (1, 128) and not done.stdout  # none is ignored, or this is no checkout
    assert PLACE.is_relative_to(Path(dd.__file__).parent)


def test_it_has_learned_from_what_the_script_draws() -> None:
    """Of its pictures it knows more than nothing does: it takes off noise better than random weights, and better than the mean of all."""
    from diffident.noise import normal

    model, items = dd.load("base", "fp32"), base_pictures.pictures(50_000, 16)
    import torch

    x = torch.from_numpy(items)
    shown = (x + 0.5 * normal(tuple(x.shape), "noise of a test")) / 1.25**0.5
    off = {
        name: (one.denoiser(shown, 1 / 1.25**0.5, 0.5 / 1.25**0.5) - x).square().mean().item() for name, one in (("it", model), ("random", model.untrained(1)))
    }
    assert off["it"] < 0.5 * off["random"]


def test_it_asks_what_zero_shot_asks_and_wants_known_good_pictures() -> None:
    detector = Detector.load("base")
    assert recipe(detector.recipe).fingerprint == recipe("zero-shot").fingerprint
    with pytest.raises(NotCalibrated, match="fit"):
        detector(np.zeros((32, 32, 3), dtype=np.uint8))


def test_two_commands_judge_pictures_without_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """All strange ones are flagged; of twenty good ones a few may be, for 2 % on average is what 60 references promise."""
    monkeypatch.chdir(tmp_path)
    folder(tmp_path / "photos", 60, 0)
    incoming = folder(tmp_path / "incoming", 20, 1)
    for file in folder(tmp_path / "strange", 5, 2, odd=True).iterdir():
        file.rename(incoming / f"strange_{file.name}")
    for_status(["fit", "base", "photos", "-o", "mine", "--json"])
    assert json.loads(capsys.readouterr().out)["references"] == 60
    for_status(["score", "mine", "incoming", "-o", "scores.csv"])
    rows = list(csv.DictReader((tmp_path / "scores.csv").read_text().splitlines()))
    flagged = {row["path"] for row in rows if row["decision"] == "flag"}
    assert {f"strange_{i:03d}.png" for i in range(5)} <= {Path(path).name for path in flagged}
    assert len(flagged) <= 5 + 4


def test_the_name_is_not_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(dd.errors.OutputError, match="comes with Diffident"):
        Detector.load("base").save("base")


def test_it_is_there_in_about_a_second() -> None:
    """Reading, checking and building it, in a process of its own; what it takes to import torch is torch's affair. Loose: machines are busy."""
    code = (
        "import torch, time, diffident as dd, diffident.store, diffident.spaces.pixels, diffident.modalities.image\n"
        "began = time.process_time(); dd.load('base'); print(time.process_time() - began)"
    )
    spent = float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert spent < 2
