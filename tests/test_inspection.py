"""Parts are inspected: planted defects are found and boxed, and good pictures have anything marked no more often than promised."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.stats import betabinom

import diffident as dd
from diffident import registry
from diffident.cli import main
from diffident.evaluate import auroc
from diffident.recipes import recipe
from diffident.regions import Region
from diffident.report import explain
from diffident.testing.of_steps import arrows

SMALL = {"inspection": {"sizes": (64,), "grid": 8}, "memory": {"sizes": (64,), "grid": 8, "blocks": (6, 13), "style": 0.0}}
HEIGHT, WIDTH = 64, 48


def small(name: str) -> dd.Recipe:
    return replace(recipe(name), housing=SMALL[name])


def textures(n: int, seed: int, defect: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Brushed surfaces (n, 64, 48) of 8 bit, each with a bright blot if asked; where the blots lie, (n, 2): top and left of 10 x 10."""
    rng = np.random.default_rng(seed)
    grey = 128 + 160 * gaussian_filter(rng.normal(size=(n, HEIGHT, WIDTH)), (0, 1, 4))
    places = np.stack([rng.integers(4, HEIGHT - 14, n), rng.integers(4, WIDTH - 14, n)], axis=1)
    for one, (top, left) in zip(grey, places, strict=True):
        if defect:
            one[top : top + 10, left : left + 10] = gaussian_filter(rng.normal(170, 60, (10, 10)), 0.7)
    return np.clip(grey, 0, 255).astype(np.uint8), places


@pytest.fixture(scope="module", params=["inspection", "memory"])
def detector(request: pytest.FixtureRequest) -> dd.Detector:
    model = dd.train(textures(60, 0)[0], small(request.param))
    return dd.Detector(model, request.param, dd.Policy(0.05)).fit(textures(59, 1)[0])


def test_planted_defects_are_ranked_and_flagged(detector: dd.Detector) -> None:
    good, bad = (list(detector.judge_all(items)) for items in (textures(64, 2)[0], textures(32, 3, defect=True)[0]))
    assert auroc([0] * 64 + [1] * 32, [v.score for v in [*good, *bad]]) > 0.9
    assert sum(v.decision == "flag" for v in bad) > 24
    least, most = betabinom(64, 3, 57).ppf([0.0005, 0.9995])
    assert least <= sum(v.decision == "flag" for v in good) <= most


def test_good_pictures_have_anything_marked_as_often_as_they_are_flagged(detector: dd.Detector) -> None:
    verdicts = [verdict for _, verdict in detector.judge(textures(64, 4)[0], dd.Policy(0.1), maps=True)]
    for verdict in verdicts:
        assert verdict.where.mask.any() == bool(verdict.where.regions) == (verdict.decision == "flag")
        assert verdict.where.level == 0.1 and verdict.map.shape == (HEIGHT, WIDTH)
    assert sum(bool(v.where.regions) for v in verdicts) <= betabinom(64, 6, 54).ppf(0.9995)


def test_the_first_box_is_around_the_defect_in_pixels_of_the_stored_picture(tmp_path: Path) -> None:
    """Pictures are stored twice as large as the model takes them."""
    model = dd.train(textures(60, 0)[0], small("inspection"))
    detector = dd.Detector(model, "inspection", dd.Policy(0.05)).fit(textures(59, 1)[0])
    items, places = textures(24, 5, defect=True)
    for i, one in enumerate(items):
        Image.fromarray(one).resize((2 * WIDTH, 2 * HEIGHT), Image.Resampling.NEAREST).save(tmp_path / f"{i:02}.png")
    boxes = [verdict.where.regions for _, verdict in detector.judge(tmp_path, maps=True)]
    hits = [holds(regions[0], 2 * (top + 5), 2 * (left + 5)) for regions, (top, left) in zip(boxes, places, strict=True) if regions]
    assert len(hits) > 16 and np.mean(hits) > 0.85


def holds(region: Region, y: float, x: float) -> bool:
    assert 0 <= region.left < region.right <= 2 * WIDTH and 0 <= region.top < region.bottom <= 2 * HEIGHT
    return region.left <= x <= region.right and region.top <= y <= region.bottom


def test_the_sentence_says_where(detector: dd.Detector) -> None:
    items, places = textures(24, 6, defect=True)
    near = []
    for verdict, (top, left) in zip(detector.judge_all(items), places, strict=True):
        if verdict.decision == "flag":
            across, down = map(int, re.fullmatch(r"stranger than \d+ of 59 references: it stands out most (\d+) % .* and (\d+) % .*", verdict.because).groups())
            near.append(max(abs(across / 100 * WIDTH - left - 5), abs(down / 100 * HEIGHT - top - 5)) < 12)
    assert len(near) > 16 and np.mean(near) > 0.8


def test_a_folder_gives_the_same_verdicts_and_is_calibrated_anew(detector: dd.Detector, tmp_path: Path) -> None:
    asked = np.concatenate([textures(3, 7)[0], textures(3, 7, defect=True)[0]])
    detector.save(tmp_path / "d")
    again = dd.Detector.load(tmp_path / "d")
    first, second = ([str(v) for v in one.judge_all(asked)] for one in (detector, again))
    assert first == second
    anew = again.fit(textures(25, 8)[0])
    assert len(anew.calibrated) == 25 and np.array_equal([v.score for v in anew.judge_all(asked)], [v.score for v in anew.judge_all(asked[::-1].copy())][::-1])


def test_an_explanation_shows_what_is_marked(detector: dd.Detector) -> None:
    items = textures(12, 9, defect=True)[0]
    marked = next(one for one in items if detector(one).decision == "flag")
    found = explain(detector, marked)
    assert found.verdict is not None and found.verdict.where.mask.any() and "it stands out most" in found.verdict.because
    assert {(255, 255, 255), (28, 30, 34)} <= {colour for _, colour in found.picture.getcolors(1 << 20)}


def test_parts_that_lie_any_way_are_marked_where_they_lie() -> None:
    """Turned onto each other before places are compared; boxes are in the picture as it came, and no words name a place of the turned one."""
    good = ((arrows(124, (1, 64, 64), seed=3)[:, 0].numpy() + 1) * 127.5).round().astype(np.uint8)
    model = dd.train(good[:60], small("inspection"), prepare=("registration",))
    detector = dd.Detector(model, "inspection", dd.Policy(0.05)).fit(good[60:100])
    hits, said = [], set()
    for one in good[100:].copy():
        y, x = (round(float(axis.mean())) for axis in np.nonzero(np.abs(one - float(np.median(one))) > 60))
        one[y - 4 : y + 5, x - 4 : x + 5] = 255 - one[y - 4 : y + 5, x - 4 : x + 5]
        verdict = next(detector.judge([one], maps=True))[1]
        hits += [verdict.where.regions[0].left <= x <= verdict.where.regions[0].right] if verdict.where.regions else []
        said |= {verdict.because.partition(": it ")[2]} if verdict.decision == "flag" else set()
    assert len(hits) > 12 and np.mean(hits) > 0.8 and said == {"has a place that stands out"}


def test_the_command_line_inspects_a_folder_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With fewer places and one input size; at its own the README is walked through."""
    monkeypatch.setitem(registry._things, ("recipes", "inspection"), small("inspection"))
    for name, (items, _) in {"good": textures(100, 4), "new": textures(6, 2), "bad": textures(6, 3, defect=True)}.items():
        (tmp_path / name).mkdir()
        for i, one in enumerate(items):
            Image.fromarray(one).save(tmp_path / name / f"{i:02}.png")
    for one in (tmp_path / "bad").glob("*.png"):
        one.rename(tmp_path / "new" / f"bad{one.name}")

    def run(*arguments: object) -> int:
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        return left.value.code

    assert run("train", tmp_path / "good", "-o", tmp_path / "m") == 0
    told = ("score", tmp_path / "m", tmp_path / "new", "-o", tmp_path / "s.csv", "--maps", tmp_path / "maps", "--report", tmp_path / "page.html")
    told += ("--regions", tmp_path / "r.csv")
    assert run(*told, "--strangest", 6) == 0
    with (tmp_path / "s.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    flagged = [row["path"] for row in rows if row["decision"] == "flag"]
    assert len([path for path in flagged if path.startswith("bad")]) >= 4 and len([path for path in flagged if not path.startswith("bad")]) <= 2
    with (tmp_path / "r.csv").open(newline="") as file:
        boxes = list(csv.DictReader(file))
    assert {row["path"] for row in boxes} == set(flagged) and all(float(row["left"]) < float(row["right"]) <= WIDTH for row in boxes)
    assert run("score", tmp_path / "m", tmp_path / "new", "--regions", tmp_path / "none" / "r.csv") == 1
    assert len(list((tmp_path / "maps").glob("*.png"))) == len(rows) == 12
    page = (tmp_path / "page.html").read_text()
    assert "where it is strange; 1 place is marked" in page and "It stands out most" not in page and "it stands out most" in page
