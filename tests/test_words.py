"""What the command line says is true of it: refusals name its flags, and what happened beside the work is told on standard error."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffident.cli import main


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return left.value.code


def saved(place: Path, n: int, seed: int) -> Path:
    place.mkdir(parents=True)
    for i, one in enumerate(np.random.default_rng(seed).integers(0, 256, (n, 8, 8), dtype=np.uint8)):
        Image.fromarray(one).save(place / f"{i}.png")
    return place


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return saved(tmp_path / "good", 40, 0)


#: flags of ``train``, and what the refusal has to name
REFUSED = {
    "level": (("--flag", 1.5), "--flag"),
    "grey zone": (("--flag", 0.1, "--abstain", 0.05), "--abstain"),
    "out of reach": (("--flag", 0.001), "--flag"),
    "tile and size": (("--tile", 64, "--size", 32), "--size"),
    "tile and places": (("--tile", 64, "--network", "positions"), "--network"),
    "own features elsewhere": (("--features", "own", "--recipe", "wavelet-semantic"), "--features"),
    "features elsewhere": (("--features", "mobilenet_v2", "--recipe", "wavelet-semantic"), "--features"),
    "varied for a network": (("--vary", "mirror", "--network", "unet"), "--vary"),
    "activations of nothing": (("--space", "activations", "--network", "none"), "--features own"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_names_the_flag_and_not_the_keyword(case: str, good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags, named = REFUSED[case]
    assert run("train", good, "-o", tmp_path / "m", *flags) == 1
    said = capsys.readouterr().err
    assert named in said and not re.search(r"\b(Policy|Training|Items)\(|\b(network|features|vary|prepare|size|tile|flag|abstain|kind)=", said), said


def test_too_few_items_are_told_in_levels_not_in_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", saved(tmp_path / "one", 1, 0), "-o", tmp_path / "m", "--network", "none") == 1
    assert "give at least 38 to flag at p <= 0.05" in capsys.readouterr().err


def test_a_finished_model_that_is_replaced_is_named(good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", good, "--network", "none", "-o", tmp_path / "m") == 0
    assert "replaced" not in capsys.readouterr().err
    assert run("train", good, "--network", "none", "-o", tmp_path / "m", "--flag", 0.001) == 1
    assert "replaced" not in capsys.readouterr().err
    assert run("train", good, "--network", "none", "-o", tmp_path / "m", "--json") == 0
    told = capsys.readouterr()
    assert re.search(r"^replaced: the model in .*m, made on \d{4}-\d\d-\d\d and calibrated on 20 items$", told.err, re.MULTILINE)
    assert told.out.startswith("{")


def test_folders_that_could_be_kinds_are_pointed_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "lots"
    for seed, kind in enumerate(("bolt", "nut")):
        saved(place / kind, 40, seed)
    train = ("train", place, "--network", "none", "-o", tmp_path / "m")
    assert run(*train) == 0
    hint = "holds 2 folders (bolt, nut); if they are kinds of things, --kinds folder calibrates each by itself"
    assert capsys.readouterr().err.count(hint) == 1
    assert run(*train, "--kinds", "folder") == 0
    assert "hint" not in capsys.readouterr().err
    Image.new("L", (8, 8), 7).save(place / "loose.png")
    assert run(*train) == 0
    assert "hint" not in capsys.readouterr().err


def test_whose_p_it_is_is_said(good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", good, "--network", "none", "-o", tmp_path / "m") == 0
    item = saved(tmp_path / "new", 1, 9) / "0.png"
    assert run("score", tmp_path / "m", item) == 0 and run("explain", tmp_path / "m", item) == 0
    told = capsys.readouterr().out
    assert "the strangest (p is of all statistics together, beside it each by itself):" in told
    assert "each statistic by itself (p above is of all of them together):" in told
