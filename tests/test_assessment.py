"""Promises of the assessment: figures are those of the metrics, what is left out is said, bad folders are refused."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import diffident as dd
from diffident.assessment import COLUMNS, Assessment, assess
from diffident.cli import main
from diffident.errors import NotCalibrated
from diffident.evaluate import NULLS, aupro, auroc
from diffident.evaluate.labelled import Labelled, mask

SIZE = 16


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return left.value.code


def keep(values: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.clip(0, 255).astype(np.uint8)).save(path)


def picture(rng: np.random.Generator, level: float = 120) -> np.ndarray:
    return np.kron(rng.normal(level, 20, (4, 4)), np.ones((4, 4))) + rng.normal(0, 4, (SIZE, SIZE))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small smooth pictures with bright and dark squares as defects."""
    root, rng = tmp_path_factory.mktemp("labelled"), np.random.default_rng(0)
    for part, count in (("train", 60), ("test", 20)):
        for i in range(count):
            keep(picture(rng), root / part / "good" / f"{i}.png")
    for kind, value in (("bright", 255), ("dark", 0)):
        for i in range(8):
            spot = np.zeros((SIZE, SIZE))
            top, left = rng.integers(0, SIZE - 4, 2)
            spot[top : top + 4, left : left + 4] = 255
            keep(np.where(spot > 0, value, picture(rng)), root / "test" / kind / f"{i}.png")
            keep(spot, root / "ground_truth" / kind / f"{i}_mask.png")
    return root


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out, rng = tmp_path_factory.mktemp("models") / "m", np.random.default_rng(1)
    dd.train(np.stack([picture(rng).clip(0, 255).astype(np.uint8) for _ in range(80)]), network="none", out=out)
    return out


@pytest.fixture(scope="module")
def found(made: Path, model: Path) -> Assessment:
    return assess(dd.Detector.load(model), Labelled.open(made), repeats=20)


def copied(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "copy"))


def test_the_figures_are_those_of_the_metrics(made: Path, model: Path, found: Assessment) -> None:
    detector, labelled = dd.Detector.load(model), Labelled.open(made)
    row = next(row for row in found.of() if row.method == "reconstruction")
    verdicts = detector.judge_all(labelled.test)
    assert (row.good, row.strange) == (20, 16)
    assert row.figures["AUROC"].value == pytest.approx(auroc(labelled.labels, [v.score for v in verdicts]))
    maps = [detector.scorer.map(item) for item in labelled.test]
    masks = [np.zeros((SIZE, SIZE)) if one is None else mask(one) for one in labelled.masks]
    assert row.figures["AUPRO"].value == pytest.approx(aupro(masks, maps))
    assert {kind: sum(counts.values()) for kind, counts in found.decisions.items()} == {"good": 20, "bright": 8, "dark": 8}
    assert sum(counts["flag"] for counts in found.decisions.values()) == sum(v.decision == "flag" for v in verdicts)


def test_a_control_baselines_and_nulls_stand_beside_every_figure(found: Assessment) -> None:
    methods = ["reconstruction", "reconstruction, untrained", "trivial3", "pixel_knn", "pixel_pca", *NULLS]
    assert [(row.method, row.kind) for row in found.rows] == [(method, kind) for method in methods for kind in ("*", "bright", "dark")]
    constant = next(row for row in found.of("dark") if row.method == "constant").figures
    assert constant["AUROC"].value == constant["AUROC"].low == 0.5 and constant["FPR95"].value == 1.0
    assert all(set(row.figures) == {"AUROC", "AP", "FPR95", "pixel AUROC", "AUPRO"} for row in found.rows if row.method.startswith("reconstruction"))
    assert found.notes == ()


def test_maps_are_brought_to_the_size_of_the_masks(made: Path, tmp_path: Path) -> None:
    train = [np.asarray(Image.open(path)) for path in sorted((made / "train" / "good").iterdir())]
    detector = dd.Detector(dd.train(np.stack(train[:30]), size=8, network="none")).fit(np.stack(train[30:]))
    row = assess(detector, Labelled.open(made), repeats=5, control=False).rows[0]
    assert row.figures["pixel AUROC"].value > 0.85


def test_what_is_absent_is_said(made: Path, model: Path, tmp_path: Path) -> None:
    place = copied(made, tmp_path)
    for part in ("train", "ground_truth"):
        shutil.rmtree(place / part)
    said = assess(dd.Detector.load(model), Labelled.open(place), repeats=5)
    methods = {row.method: row.figures for row in said.of()}
    assert "pixel_knn" not in methods and "AUPRO" not in methods["reconstruction"] and methods["reconstruction, untrained"] == {}
    for words in ("holds no mask of a test item", "nothing to learn from: trivial3, pixel_knn, pixel_pca are left out", "nothing to calibrate the untrained"):
        assert any(words in note for note in said.notes), words


def test_bad_items_and_masks_are_counted_and_the_rest_go_on(made: Path, model: Path, tmp_path: Path) -> None:
    place = copied(made, tmp_path)
    (place / "test" / "dark" / "7.png").write_text("words")
    (place / "test" / "note.txt").write_text("words")
    (place / "train" / "good" / "note.txt").write_text("words")
    keep(np.full((5, 5), 255.0), place / "ground_truth" / "bright" / "0_mask.png")
    keep(np.zeros((SIZE, SIZE)), place / "ground_truth" / "bright" / "1_mask.png")
    (place / "ground_truth" / "bright" / "2_mask.png").write_text("words")
    (place / "ground_truth" / "bright" / "3_mask.png").unlink()
    said = assess(dd.Detector.load(model), Labelled.open(place), repeats=5, control=False)
    assert said.decisions["dark"]["unreadable"] == 1 and (said.rows[0].good, said.rows[0].strange) == (20, 15)
    told = " | ".join(said.notes)
    for words in (
        "1 item cannot be read or is not finite: left out of all figures (dark/7.png)",
        "1 item lies in test itself and is of no kind: left out (note.txt)",
        "1 item has no mask: left out of the pixel figures (bright/3.png)",
        "3 items have masks that cannot be used: left out of the pixel figures (bright/0_mask.png is 5x5 and its picture 16x16, ",
        "bright/1_mask.png marks nothing, ",
    ):
        assert words in told, words


def test_items_that_the_detector_was_made_from_are_left_out(made: Path) -> None:
    labelled = Labelled.open(made)
    detector = dd.Detector(dd.train(labelled.train[:30], network="none")).fit([*labelled.train[30:], *labelled.test[8:10]])
    said = assess(detector, labelled, repeats=5, control=False)
    assert (said.rows[0].good, said.rows[0].strange) == (20, 14)
    assert said.notes == ("2 items were seen in training or are references: left out of all figures (dark/0.png, dark/1.png)",)


def test_good_items_unlike_the_references_are_called_so(made: Path, model: Path, tmp_path: Path) -> None:
    place, rng = copied(made, tmp_path), np.random.default_rng(5)
    for path in (place / "test" / "good").iterdir():
        keep(picture(rng, level=70), path)
    said = assess(dd.Detector.load(model), Labelled.open(place), repeats=5, control=False)
    assert "test/good is not as they were, so the promise does not hold here" in said.notes[0]


def test_a_kind_of_one_item_has_figures_without_intervals(made: Path, model: Path, tmp_path: Path) -> None:
    place = copied(made, tmp_path)
    for i in range(1, 8):
        (place / "test" / "dark" / f"{i}.png").unlink()
    row = next(row for row in assess(dd.Detector.load(model), Labelled.open(place), repeats=5, control=False).of("dark"))
    assert row.strange == 1 and all(np.isfinite(one.value) and np.isnan(one.low) for one in row.figures.values()) and len(row.figures) == 5


def test_the_command_prints_a_table_and_writes_what_it_prints(made: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("test", model, made, "--repeats", 5, "-o", tmp_path / "m.csv") == 0
    told = capsys.readouterr().out
    for words in (
        "20 good items, 16 strange of 2 kinds",
        "At most 5 % of good items",
        "reconstruction, untrained  ",
        "reconstruction, by kind",
        "figures written to",
    ):
        assert words in told, words
    with (tmp_path / "m.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS and len(rows) == 33
    assert run("test", model, made, "--repeats", 5, "--no-control", "-o", tmp_path / "m.json", "--json") == 0
    said, kept = json.loads(capsys.readouterr().out), json.loads((tmp_path / "m.json").read_text())
    assert {name: said[name] for name in kept} == kept and kept["format"] == 1 and kept["decisions"]["good"]["accept"] <= 20
    assert len(kept["rows"]) == 30 and float(rows[0]["AUROC"]) == kept["rows"][0]["AUROC"]


def test_a_recipe_without_maps_is_tested_without_pixels(made: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("fit", model, made / "train" / "good", "-o", tmp_path / "m", "--recipe", "diffpath-1d") == 0
    assert run("test", tmp_path / "m", made, "--repeats", 5) == 0
    told = capsys.readouterr().out
    assert "note: the recipe 'diffpath-1d' has no maps, so there are no pixel figures" in told and "AUPRO" not in told


REFUSED = {
    "no labelled folder": (("{model}", "{model}"), "no folder called test; what is tested on is laid out as DIR/test/good"),
    "no folder at all": (("{model}", "{tmp}/nowhere"), "there is no such folder"),
    "no model": (("{made}", "{made}"), "is not a model"),
    "figures of unknown form": (("{model}", "{made}", "-o", "{tmp}/m.xlsx"), "written as .json, .csv or .jsonl"),
    "figures that cannot be written": (("{model}", "{made}", "-o", "{tmp}/nowhere/m.json"), "cannot write"),
    "a model that is not calibrated": (("{plain}", "{made}"), "call fit(known_good) first"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_say_what_to_do_and_leave_with_1(case: str, made: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dd.save(dd.load(model), tmp_path / "plain")
    arguments, words = REFUSED[case]
    assert run("test", *(one.format(model=model, made=made, tmp=tmp_path, plain=tmp_path / "plain") for one in arguments)) == 1
    out, err = capsys.readouterr()
    assert err.startswith("diffident: ") and words in err and not out


def test_an_uncalibrated_detector_is_refused_before_the_work(made: Path, model: Path) -> None:
    with pytest.raises(NotCalibrated):
        assess(dd.Detector(dd.load(model)), Labelled.open(made))
