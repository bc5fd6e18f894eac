"""Out of depth: the level that was stated is kept, it adds to the flag level, and what cannot be judged is declined with its reason."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image as Pillow

import diffident as dd
from benchmarks.checker import alarm_range
from diffident.calibration import Calibration, Depth, standing
from diffident.cli import commands
from diffident.data import Item
from diffident.errors import InvalidSetting, TooFewReferences
from diffident.modalities.image import Image
from diffident.scores import Scores
from diffident.verdict import Policy, batch_verdicts_of, verdicts_of

SIDE = 48


def photograph(rng: np.random.Generator, sharp: float = 0.9) -> np.ndarray:
    """A bright disc on a slope, smoothed a little, with the noise of a sensor: uint8."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    disc = 1 / (1 + np.exp((np.hypot(y - 0.5, x - 0.5) - rng.uniform(0.2, 0.3)) * 40 * sharp))
    values = 0.3 + 0.1 * x * rng.uniform(0.5, 1.5) + 0.3 * disc + 0.03 * rng.normal(size=y.shape)
    return np.clip(np.rint(255 * values), 0, 255).astype(np.uint8)


def vitals(picture: np.ndarray) -> dict[str, float]:
    return Image(SIDE, SIDE).open(Item("a picture", picture)).vitals


@pytest.fixture(scope="module")
def known() -> list[dict[str, float]]:
    rng = np.random.default_rng(0)
    return [vitals(photograph(rng)) for _ in range(120)]


def compressed(picture: np.ndarray) -> np.ndarray:
    held = io.BytesIO()
    Pillow.fromarray(picture).save(held, "JPEG", quality=30)
    return np.asarray(Pillow.open(held))


def enlarged(picture: np.ndarray, factor: int = 2) -> np.ndarray:
    return np.asarray(Pillow.fromarray(picture).resize((SIDE // factor, SIDE // factor)).resize((SIDE, SIDE), Pillow.Resampling.BICUBIC))


def with_columns(picture: np.ndarray, value: int) -> np.ndarray:
    picture = picture.copy()
    picture[:, [5, 30]] = value
    return picture


def salted(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.where(rng.random(picture.shape) < 0.02, rng.choice([0, 255], picture.shape), picture).astype(np.uint8)


def sound(rng: np.random.Generator) -> np.ndarray:
    """Like a spectrogram: lines over an exponential floor that falls."""
    rows = np.arange(SIDE)[:, None]
    floor = rng.exponential(1.0, (SIDE, SIDE)) * np.exp(-3 * rows / SIDE)
    return np.clip(60 * np.log1p(floor + 4 * (rows % 9 == 0)), 0, 255).astype(np.uint8)


def text(rng: np.random.Generator) -> np.ndarray:
    page = np.full((SIDE, SIDE), 235, dtype=np.uint8)
    page[4::6, 3:-3] = np.where(rng.random((len(page[4::6]), SIDE - 6)) < 0.5, 20, 235)
    return page


BROKEN = {
    "dead columns": lambda x, rng: with_columns(x, 0),
    "hot columns": lambda x, rng: with_columns(x, 255),
    "salt and pepper": salted,
    "over-exposed": lambda x, rng: np.minimum(x * 2.2, 255).astype(np.uint8),
    "inverted": lambda x, rng: 255 - x,
    "enlarged": lambda x, rng: enlarged(x),
    "JPEG": lambda x, rng: compressed(x),
    "sound": lambda x, rng: sound(rng),
    "text": lambda x, rng: text(rng),
    "blank of the usual grey": lambda x, rng: np.full_like(x, int(x.mean())),
}


@pytest.mark.parametrize("way", BROKEN)
def test_what_cannot_be_judged_is_declined_with_a_reason(way: str, known: list[dict[str, float]]) -> None:
    rng = np.random.default_rng(3)
    items = [vitals(BROKEN[way](photograph(rng), rng)) for _ in range(10)]
    found = standing(known, items, Image.grain).beyond(0.01)
    assert all(found), (way, found, items[0])
    assert found[0].startswith("out of depth: ")
    assert "known-good items have" in found[0]
    assert "(p = 0.0083)" in found[0]


def test_the_simple_limits_alone_let_most_of_these_pass(known: list[dict[str, float]]) -> None:
    rng, depth = np.random.default_rng(3), Depth(Image(SIDE, SIDE).limits(known))
    passed = [way for way, broken in BROKEN.items() if not depth.check(vitals(broken(photograph(rng), rng)))]
    assert {"dead columns", "salt and pepper", "inverted", "enlarged", "JPEG", "sound"} <= set(passed)


def test_the_reason_names_the_measure_that_speaks_loudest(known: list[dict[str, float]]) -> None:
    item = dict(known[0]) | {"detail": 0.11}
    (why,) = standing(known[1:], [item], Image.grain).beyond(0.01)
    low, high = min(one["detail"] for one in known[1:]), max(one["detail"] for one in known[1:])
    assert why == f"out of depth: detail 0.11, known-good items have {low:.3g} to {high:.3g} (p = 0.0083)"


def test_good_pictures_are_declined_as_often_as_was_stated(known: list[dict[str, float]]) -> None:
    rng, level, items = np.random.default_rng(5), 0.05, 250
    good = [vitals(photograph(rng)) for _ in range(items)]
    rate = np.mean([bool(why) for why in standing(known, good, Image.grain).beyond(level)])
    low, high = alarm_range(len(known), level, items)
    assert low <= rate <= high


def test_p_values_are_exact_where_measures_are_heavy_tailed_and_most_are_zero() -> None:
    rng, runs = np.random.default_rng(6), 1000
    grain, below = {"a": 0.1, "b": 0.1, "c": 0.1}, 0
    for _ in range(runs):
        a, b, c = rng.standard_cauchy(20), rng.exponential(size=20) * (rng.random(20) < 0.1), rng.normal(size=20)
        rows = [dict(zip("abc", row, strict=True)) for row in zip(a, b, c, strict=True)]
        below += int(standing(rows[1:], rows[:1], grain).p[0] <= 0.1)
    assert abs(below / runs - 0.1) < 4 * np.sqrt(0.1 * 0.9 / runs)


def test_flagged_and_declined_together_stay_below_what_was_promised() -> None:
    rng, counted, wanted = np.random.default_rng(7), np.zeros(2), Policy(0.05, depth=0.05)
    for _ in range(40):
        items = table(rng, 40)
        calibration = Calibration(table(rng, 39))
        judged = calibration.judge(items).declining(calibration.beyond(items, wanted.depth, {"detail": 0.1, "noise": 0.1}))
        made = [v.decision for v in verdicts_of(items, judged, wanted)]
        counted += [made.count("abstain"), made.count("flag")]
    declined, flagged = counted / (40 * 40)
    assert 0.02 < declined < 0.08
    assert 0.02 < flagged < 0.08
    assert declined + flagged < 0.12


def table(rng: np.random.Generator, n: int, says: str = "it is odd") -> Scores:
    """Numbers and vitals that know nothing of each other."""
    measured = tuple({"detail": float(rng.normal()), "noise": float(rng.normal())} for _ in range(n))
    values = rng.normal(size=(n, 2))
    return Scores(tuple(f"i{i}" for i in range(n)), ("a", "b"), values, ("upper",) * 2, (says,) * 2, "f", vitals=measured)


def test_an_item_out_of_depth_is_abstained_from_whatever_its_p(rng: np.random.Generator) -> None:
    calibration, items = Calibration(table(rng, 99)), table(rng, 1)
    strange = Scores(("x",), ("a", "b"), np.full((1, 2), 50.0), items.tails, items.says, "f", vitals=({"detail": 90.0, "noise": 0.0},))
    judged = calibration.judge(strange)
    (plain,) = verdicts_of(strange, judged, Policy(0.01))
    (verdict,) = verdicts_of(strange, judged.declining(calibration.beyond(strange, 0.01, {"detail": 0.1, "noise": 0.1})), Policy(0.01, depth=0.01))
    assert (plain.decision, verdict.decision, verdict.p) == ("flag", "abstain", 0.01)
    assert verdict.reason == verdict.because
    assert verdict.reason.startswith("out of depth: detail 90, known-good items have ")
    assert not verdict.judged


def test_an_item_is_judged_the_same_alone_and_in_company(known: list[dict[str, float]]) -> None:
    together = standing(known[20:], known[:20], Image.grain)
    alone = [standing(known[20:], [one], Image.grain) for one in known[:20]]
    assert together.p.tolist() == [one.p[0] for one in alone]
    assert together.says == tuple(one.says[0] for one in alone)


def test_what_an_earlier_version_did_not_measure_is_left_out_on_both_sides(known: list[dict[str, float]]) -> None:
    earlier = [
        {name: value for name, value in one.items() if name in ("width", "height", "bits", "finite", "contrast", "black", "white", "colour")} for one in known
    ]
    assert standing(earlier, [dict(known[0]) | {"detail": 0.0}], Image.grain).p == standing(earlier, earlier[:1], Image.grain).p
    assert standing(known[1:], [{}], Image.grain).p.tolist() == [1.0]
    assert Depth(Image(SIDE, SIDE).limits([*known, *earlier])).check(earlier[0]) == ""


def test_each_kind_is_measured_beside_its_own(rng: np.random.Generator) -> None:
    grain, n = {"detail": 0.01}, 99
    rows = {"columns": ("a",), "tails": ("upper",), "says": ("it is odd",), "fingerprint": "f"}
    detail = tuple({"detail": float(x)} for x in np.concatenate([rng.normal(0.2, 0.01, n), rng.normal(0.8, 0.01, n)]))
    known = Scores(tuple(map(str, range(2 * n))), values=rng.normal(size=(2 * n, 1)), vitals=detail, kinds=("nut",) * n + ("bolt",) * n, **rows)
    new = Scores(("x", "y", "z"), values=np.zeros((3, 1)), vitals=({"detail": 0.2},) * 2 + ({"detail": 0.5},), kinds=("nut", "bolt", "bolt"), **rows)
    nut, bolt, between = Calibration(known).beyond(new, 0.01, grain)
    assert (nut, bool(bolt), bool(between)) == ("", True, True)


def test_the_levels_add_up_in_the_promise() -> None:
    with_depth, without = Policy(0.05, depth=0.01).promise(99), Policy(0.05).promise(99)
    assert with_depth.startswith("At most 5 % of good items are flagged and 1 % are declined as out of depth: together 6 % on average")
    assert "depth" not in without
    assert "are flagged and 1 % are declined as out of depth: together 2 % on average" in Policy(depth=0.01).promise_each({"bolt": 100, "nut": 99})
    assert Policy(0.05).changed(depth=0.01) == Policy(0.05, depth=0.01)
    assert Policy(0.05, depth=0.01).changed(depth=0.0) == Policy(0.05)
    assert repr(Policy(0.05, depth=0.01)) == "Policy(flag=0.05, abstain=None, depth=0.01)"


def test_levels_that_cannot_be_are_refused() -> None:
    with pytest.raises(TooFewReferences, match=r"cannot decline as out of depth at p <= 0.01 with 60 reference items; give at least 99.*--depth"):
        Policy(0.05, depth=0.01).resolve(60)
    for level in (-0.1, 1.0, 2.0):
        with pytest.raises(InvalidSetting, match="the depth level"):
            Policy(depth=level)
    rows = np.random.default_rng(0).normal(size=(80, 3))
    table = dd.Detector(dd.train(rows[:20], network="none", modality="row"), "reconstruction", Policy(depth=0.02)).fit(rows[20:])
    with pytest.raises(InvalidSetting, match="leave out the depth level"):
        table(rows[0])


def test_in_a_batch_what_is_declined_is_no_part_of_it(rng: np.random.Generator) -> None:
    calibration, items = Calibration(table(rng, 99)), table(rng, 5)
    judged = calibration.judge(items).declining(("out of depth: x", "", "", "", ""))
    found = batch_verdicts_of(items, judged, 0.5, declined=0.01)
    assert found[0].decision == "abstain"
    assert "batch of 4" in found.promise
    assert found.promise.endswith("Of good items at most 1 % are declined as out of depth on average.")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector with 99 references, and pictures to judge: five good, five enlarged, five with a dead column."""
    place, rng = tmp_path_factory.mktemp("depth"), np.random.default_rng(11)
    good = np.stack([photograph(rng) for _ in range(220)])
    model = dd.train(good[:100], network="none", size=8)
    dd.Detector(model, "reconstruction").fit(good[100:200]).save(place / "model")
    (place / "incoming").mkdir()
    shown = [*good[200:205], *map(enlarged, good[205:210]), *(with_columns(one, 0) for one in good[210:215])]
    for i, one in enumerate(shown):
        Pillow.fromarray(one).save(place / "incoming" / f"{i:02d}.png")
    return place


def scored(folder: Path, *more: str) -> dict:
    done = CliRunner().invoke(commands, ["score", str(folder / "model"), str(folder / "incoming"), "--json", *more])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_the_command_line_declines_where_it_is_asked_to(folder: Path, tmp_path: Path) -> None:
    never, asked = scored(folder), scored(folder, "--depth", "0.01", "-o", str(tmp_path / "rows.jsonl"))
    assert never["abstain"] == 0
    assert "depth" not in never["promise"]
    assert asked["abstain"] >= 10
    assert "together 2 %" in asked["promise"]
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert all(row["decision"] == "abstain" and row["reason"].startswith("out of depth: ") for row in rows[5:])
    assert sum(row["decision"] == "abstain" for row in rows[:5]) <= 1


def test_a_level_is_kept_in_the_folder_and_can_be_turned_off(folder: Path, tmp_path: Path) -> None:
    had = dd.Detector.load(folder / "model")
    assert had.policy == Policy()
    assert "depth" not in json.loads((folder / "model" / "diffident.json").read_text())["detector"]["policy"]  # earlier versions read it
    kept = dd.Detector(had.model, had.recipe, Policy(depth=0.02), had.calibration, had.depth).save(tmp_path / "kept")
    assert dd.Detector.load(kept).policy.depth == 0.02
    assert "together 3 %" in dd.Detector.load(kept).promise()
    folder_of = ["score", str(kept), str(folder / "incoming"), "--depth", "0"]
    assert "out of depth" not in CliRunner().invoke(commands, folder_of).stdout
