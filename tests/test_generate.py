"""``diffident generate``: a trial, its labels, what is released and what is withheld, and the page about it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner

import diffident as dd
from diffident.cli import commands
from diffident.errors import NotCalibrated, NotLabelled, OutputError


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("generate") / "model"
    dd.save(dd.train(np.random.default_rng(0).uniform(0.2, 0.8, (40, 8, 8)), network="none"), place)
    return place


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as opened:
        return list(csv.DictReader(opened))


@pytest.fixture(scope="module")
def trial(model: Path, run: Callable[..., Any]) -> Path:
    place = model.parent / "trial"
    run("generate", model, "-o", place, "-n", 200, "--unreviewed", "--steps", 6, "--seed", 3)
    return place


def labelled(trial: Path, place: Path, share: int = 8) -> Path:
    """A copy of the trial in which every eighth sample is called bad: those that are brightest."""
    import shutil

    shutil.copytree(trial, place)
    rows = rows_of(place / "labels.csv")
    light = [np.asarray(PIL.Image.open(place / "samples" / f"{row['sample']}.png"), dtype=float).mean() for row in rows]
    top = np.quantile(light, 1 - 1 / share)
    lines = ["sample,request,label", *(f"{row['sample']},,{'bad' if one > top else 'good'}" for row, one in zip(rows, light, strict=True))]
    (place / "labels.csv").write_text("\n".join(lines))
    return place


def test_an_unreviewed_trial_is_pictures_and_a_file_to_fill_in(trial: Path) -> None:
    assert len(list((trial / "samples").glob("*.png"))) == 200
    rows = rows_of(trial / "labels.csv")
    assert len(rows) == 200
    assert rows[0] == {"sample": "0001-1", "request": "", "label": ""}


def test_without_labels_withholding_is_bounded_and_everything_is_accounted_for(model: Path, trial: Path, tmp_path: Path, run: Callable[..., Any]) -> None:
    out, page = tmp_path / "out", tmp_path / "page.html"
    done = run("generate", model, "--trial", trial, "-o", out, "-n", 40, "--steps", 6, "--withhold", 0.2, "--seed", 5, "--report", page, "--json")
    facts = json.loads(done.output)
    rows = rows_of(out / "generated.csv")
    assert facts["requests"] == 40 == len(rows)
    assert facts["released"] + facts["withheld"] == 40
    assert facts["released"] > 20
    assert "how often a released item fails is not bounded" in facts["promise"]
    released = [row for row in rows if row["decision"] == "release"]
    assert sorted(path.name for path in out.glob("*.png")) == sorted(row["path"] for row in released)
    assert all(row["because"].startswith("withheld after 1 try") and not row["path"] for row in rows if row["decision"] == "withhold")
    text = page.read_text()
    assert f"{facts['released']} of 40 released" in text
    assert "How it came about, level by level" in text
    assert "Withheld is not faulty" in text
    assert "http" not in text.replace("http://www.w3.org", "")


def test_the_same_seed_makes_the_same_pictures(model: Path, trial: Path, tmp_path: Path, run: Callable[..., Any]) -> None:
    for name in ("a", "b"):
        run("generate", model, "--trial", trial, "-o", tmp_path / name, "-n", 5, "--steps", 6, "--seed", 5)
    assert (tmp_path / "a" / "generated.csv").read_text() == (tmp_path / "b" / "generated.csv").read_text()


def test_a_risk_needs_labels_and_is_bounded_with_them(model: Path, trial: Path, tmp_path: Path, run: Callable[..., Any]) -> None:
    with pytest.raises(NotLabelled, match="cannot be bounded without labels"):
        run("generate", model, "--trial", trial, "-o", tmp_path / "no", "-n", 5, "--steps", 6, "--risk", 0.1)
    assert not (tmp_path / "no").exists()
    known, guard = labelled(trial, tmp_path / "known"), tmp_path / "guard"
    done = run("generate", model, "--trial", known, "-o", tmp_path / "out", "-n", 20, "--steps", 6, "--risk", 0.3, "--seed", 1, "--keep", guard)
    assert "at most 30 % fails, with 90 % confidence" in done.output
    assert list((tmp_path / "out").glob("*.png"))
    again = run("generate", guard, "-o", tmp_path / "again", "-n", 20, "--seed", 1)
    assert (tmp_path / "again" / "generated.csv").read_text() == (tmp_path / "out" / "generated.csv").read_text()
    assert again.output.splitlines()[1] == done.output.splitlines()[1]


def test_a_model_of_which_nothing_is_known_is_refused_with_what_to_do(model: Path, trial: Path, tmp_path: Path, run: Callable[..., Any]) -> None:
    with pytest.raises(NotCalibrated, match="-o trial --unreviewed"):
        run("generate", model, "-o", tmp_path / "out")
    with pytest.raises(OutputError, match="may hold labels"):
        run("generate", model, "-o", trial, "-n", 3, "--unreviewed")


def test_flags_that_contradict_each_other_are_refused(model: Path, trial: Path, tmp_path: Path) -> None:
    import click

    done = CliRunner().invoke(commands, ["generate", str(model), "-o", str(tmp_path / "x"), "--unreviewed", "--trial", str(trial)], standalone_mode=False)
    assert isinstance(done.exception, click.UsageError)
    assert "withholds nothing" in str(done.exception)
