"""Parts of several kinds in one model: the promise holds for each of them; calibrations that grow; scores judged again."""

from __future__ import annotations

import csv
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import betabinom

import diffident as dd
from diffident import levels
from diffident.calibration import Calibration, Gaussian, Highest, PlaceByPlace, Ranks, Robust, Strangeness
from diffident.calibration.ranks import steps
from diffident.cli import main
from diffident.data import Item, Items
from diffident.denoiser import Empirical
from diffident.errors import DifferentAnswers, InvalidSetting, NotCalibrated, SeenInTraining, TooFewItems, TooFewReferences, Unconditional, UnknownKind
from diffident.kinds import Kinds
from diffident.learning import learn
from diffident.recipes import Reading, Recipe
from diffident.regions import ceiling
from diffident.report import report
from diffident.scores import Scores
from diffident.settings import Training
from diffident.store import CARD
from diffident.verdict import Policy, verdicts_of
from diffident.walks import Clean

SIDE, TONES = 8, {"bolt": (0.3, 0.02), "nut": (0.6, 0.1)}
PLACES = Recipe("by place", (Reading(Clean(levels.angular([0.3])), "residual"),), combine="places")


def parts(n: int, seed: int, kinds: tuple[str, ...] = tuple(TONES)) -> Items:
    """Pictures of n parts of each kind, one of each after the other: bolts are dark and smooth, nuts light and rough."""
    rng = np.random.default_rng(seed)
    made = {kind: TONES[kind][0] + TONES[kind][1] * rng.normal(size=(n, SIDE, SIDE)) for kind in kinds}
    return Items(tuple(Item(f"{kind}/{i}.png", made[kind][i], kind) for i in range(n) for kind in kinds))


def numbers(n: int, seed: int, maps: bool = False) -> Scores:
    """Scores of n items of each of two kinds, one of which runs ten times as high; the digests differ by seed."""
    rng, kinds = np.random.default_rng(seed), ("quiet", "loud") * n
    scale = np.array([{"quiet": 1.0, "loud": 10.0}[kind] for kind in kinds])
    drawn = scale[:, None, None, None] * np.abs(rng.normal(size=(2 * n, 2, 5, 5)))
    names = tuple(f"{seed}-{i}" for i in range(2 * n))
    told = {"columns": ("a", "b"), "tails": ("upper", "both"), "says": ("is odd", "is uneven"), "fingerprint": "f"}
    return Scores(names, values=drawn[:, :, 0, 0], digests=names, kinds=kinds, maps=drawn.astype(np.float32) if maps else None, **told)


def saved(items: Items, place: Path) -> Path:
    """Items as 8-bit pictures, a folder for each kind."""
    for item in items:
        file = place / item.name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.rint(255 * np.clip(item.payload, 0, 1)).astype(np.uint8)).save(file)
    return place


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return left.value.code


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def detector() -> dd.Detector:
    return learn(parts(80, 1), "reconstruction", Training("positions", kinds="folder"), Policy(), "m").detector


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made by the command line from folders of pictures."""
    place = tmp_path_factory.mktemp("kinds")
    assert run("train", saved(parts(60, 1), place / "good"), "--kinds", "folder", "--network", "positions", "-o", place / "m") == 0
    return place / "m"


@pytest.fixture(scope="module")
def incoming(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More of both kinds, one picture of a third, and one in no folder."""
    place = saved(parts(30, 2), tmp_path_factory.mktemp("more") / "incoming")
    for name, item in zip(("washer/0.png", "stray.png"), parts(1, 3), strict=True):
        saved(Items((replace(item, name=name),)), place)
    return place


# the promise, kind by kind


@pytest.mark.parametrize("combine", [Gaussian(), Ranks(), Robust(), Highest(), PlaceByPlace()], ids=lambda one: one.name)
def test_false_alarms_of_each_kind_stay_below_what_was_promised_where_a_pooled_calibration_fails(combine: Strangeness) -> None:
    n, m, level, runs = {"quiet": 99, "loud": 39}, 40, 0.05, 25
    flagged = {(apart, kind): 0 for apart in (True, False) for kind in n}
    for seed in range(runs):
        good, new = numbers(99, 2 * seed, maps=True), numbers(m, 2 * seed + 1, maps=True)
        good = good.select([i for i in range(198) if good.kinds[i] == "quiet" or i < 78])
        for apart in (True, False):
            known, asked = (good, new) if apart else (replace(good, kinds=()), replace(new, kinds=()))
            p = Calibration(known, combine).judge(asked).p
            for kind in n:
                flagged[apart, kind] += int((p[np.array(new.kinds) == kind] <= level + 1e-9).sum())
    for kind, count in n.items():
        k = steps(count, level)
        law = betabinom(m, k, count + 1 - k)  # of one run; runs are independent
        high, low = (runs * law.mean() + side * 3.5 * np.sqrt(runs * law.var()) for side in (1, -1))
        assert low < flagged[True, kind] < high, (kind, flagged)
        assert (kind == "quiet" and flagged[False, kind] < low) or (kind == "loud" and flagged[False, kind] > high), (kind, flagged)


@pytest.mark.parametrize("combine", [Gaussian(), Ranks(), Highest(), PlaceByPlace()], ids=lambda one: one.name)
def test_an_item_is_judged_beside_its_own_kind_to_the_bit(combine: Strangeness) -> None:
    good, new = numbers(40, 0, maps=True), numbers(7, 1, maps=True)
    good = good.select(range(70))  # 35 of each, and one quiet one fewer
    good = good.select([i for i in range(70) if i != 4])
    judged = Calibration(good, combine).judge(new)
    for kind, count in (("quiet", 34), ("loud", 35)):
        of = [one == kind for one in new.kinds]
        alone = Calibration(good.select([one == kind for one in good.kinds]), combine).judge(new.select(of))
        for name in ("p", "strangeness", "evidence"):
            assert np.array_equal(getattr(judged, name)[of], getattr(alone, name)), (kind, name)
        assert {judged.beside[i] for i in np.flatnonzero(of)} == {count} and judged.references == 34


def test_places_of_kinds_with_different_numbers_of_references_hold_their_own_promise() -> None:
    good, new = numbers(40, 0, maps=True), numbers(5, 1, maps=True)
    good = good.select([i for i in range(80) if good.kinds[i] == "loud" or i < 40])
    calibration = Calibration(good, PlaceByPlace())
    places, judged = calibration.places(new), calibration.judge(new)
    assert calibration.kinds == {"loud": 40, "quiet": 20} and places.ceilings.shape == (10, 40)
    assert np.allclose(places.p.reshape(10, -1).min(1), judged.p)
    for i, kind in enumerate(new.kinds):
        assert len(places.beside(i)) == calibration.kinds[kind]
        assert ((places.heights[i] > ceiling(places, i, 0.05)) == (places.p[i] <= 0.05)).all()


def test_an_item_of_no_known_kind_is_not_judged() -> None:
    calibration, new = Calibration(numbers(20, 0)), numbers(2, 1)
    new = replace(new, kinds=("quiet", "square", "", "loud"))
    judged = calibration.judge(new)
    assert np.isnan(judged.p).tolist() == [False, True, True, False] and judged.beside == (20, 0, 0, 20)
    verdicts = list(verdicts_of(new, judged, Policy()))
    assert [v.decision for v in verdicts[1:3]] == ["abstain"] * 2 and verdicts[1].reason == "of no known kind: known are loud, quiet"
    assert np.isnan(verdicts[1].bound) and verdicts[0].references == 20 and "of 20 references of its kind" in verdicts[0].because


def test_levels_must_be_reachable_in_every_kind() -> None:
    assert Policy().resolve_each({"bolt": 200, "nut": 60}) == Policy(flag=0.02)
    with pytest.raises(TooFewReferences, match="cannot flag at p <= 0.01 with 60 reference items of the kind 'nut'; give at least 99"):
        Policy(0.01).resolve_each({"bolt": 200, "nut": 60})
    assert Policy(0.05).promise_each({"": 60}) == Policy(0.05).promise(60)
    said = Policy(0.05).promise_each({"bolt": 200, "nut": 60})
    assert "of each of 2 kinds at most 5 %" in said and "beside 60 to 200 references of their own kind" in said


# one model


def test_each_kind_is_parted_learned_and_calibrated_by_itself(detector: dd.Detector) -> None:
    assert detector.model.kinds == ("bolt", "nut") and detector.calibrated.kinds == {"bolt": 40, "nut": 40}
    assert len(detector.model.seen) == 80 and len(detector.calibrated) == 80
    assert "of each of 2 kinds" in detector.promise() and detector.settled() == Policy(0.05)
    verdicts = detector.judge_all(parts(100, 5))
    for kind in TONES:
        assert sum(v.decision == "flag" for v in verdicts if v.kind == kind) <= betabinom(100, 2, 39).ppf(0.999)
    assert verdicts.kinds == ("bolt", "nut") and verdicts[0].references == 40


def test_a_part_of_the_wrong_kind_is_strange(detector: dd.Detector) -> None:
    nuts = parts(5, 6, ("nut",))
    assert {v.decision for _, v in detector.judge(nuts, kind="bolt")} == {"flag"}
    assert detector(nuts[0].payload, kind="bolt").decision == "flag" and detector(nuts[0].payload).decision == "abstain"


def test_scores_are_the_same_bits_alone_and_in_any_company(detector: dd.Detector) -> None:
    items = parts(40, 7)  # chunks of both kinds, and one that is not full
    together = detector.scorer(items)
    assert together.kinds == ("bolt", "nut") * 40
    for i in (0, 1, 33, 79):
        assert np.array_equal(detector.scorer(items[i : i + 1]).values[0], together.values[i])
    order = np.random.default_rng(0).permutation(80)
    assert np.array_equal(detector.scorer(Items(tuple(items[int(i)] for i in order))).values, together.values[order])
    stranger = Items((items[0], Item("washer/0", items[1].payload, "washer"), items[2]))
    among = detector.scorer(stranger)
    assert np.array_equal(among.values[[0, 2]], together.values[[0, 2]]) and among.kinds == ("bolt", "", "bolt") and np.isnan(among.values[1]).all()


def test_maps_are_those_of_the_items_own_kind(detector: dd.Detector) -> None:
    items = parts(3, 8)
    maps = [v.map for _, v in detector.judge(items, maps=True)]
    assert np.array_equal(maps[3], detector.scorer.map(items[3])) and np.array_equal(maps[3], detector.scorer.examine(items[3]).map)
    with pytest.raises(UnknownKind, match="of no kind, and the model 'm' knows bolt, nut"):
        detector.scorer.examine(items[3].payload)
    with pytest.raises(UnknownKind, match="of the kind 'washer'"):
        detector.judge(items, kind="washer")
    with pytest.raises(InvalidSetting, match="cannot be said of all of them"):
        detector.judge_all(detector.scorer(items), kind="bolt")


def test_recipes_that_combine_maps_keep_kinds_apart(tmp_path: Path) -> None:
    made = learn(parts(60, 1), PLACES, Training("positions", kinds="folder"), Policy(), "m").detector
    made.save(tmp_path / "m")
    items = parts(10, 2)
    spoilt = items[1].payload.copy()
    spoilt[2:4, 5:7] += 1.5
    again, items = dd.Detector.load(tmp_path / "m"), Items((*items.entries, Item("nut/bad.png", spoilt, "nut")))
    found = [[v for _, v in one.judge(items, maps=True)] for one in (made, again)]
    assert found[0] == found[1] and found[0][-1].decision == "flag"
    where = found[1][-1].where
    assert where is not None and where.mask is not None and where.mask[2:4, 5:7].all()
    assert {v.decision for _, v in again.judge(items[1:2], maps=True, kind="bolt")} == {"flag"}  # no other kind is there
    assert len({v.references for v in found[0]}) == 1 and again.judge_all(again.scorer(items))[-1] == found[0][-1]


def test_a_network_learns_all_kinds_and_only_the_calibration_is_theirs(tmp_path: Path) -> None:
    how = Training("mlp", images_seen=256, width=32, kinds="folder", precision="fp32")
    made = learn(parts(45, 1), "reconstruction", how, Policy(), "m").detector
    assert isinstance(made.model.denoiser, Kinds) and len(made.model.denoiser.parts) == 1 and made.model.kinds == ("bolt", "nut")
    made.save(tmp_path / "m")
    again, items = dd.Detector.load(tmp_path / "m", "fp32"), parts(3, 2)
    assert again.model.fingerprint == made.model.fingerprint and list(again.judge_all(items)) == list(made.judge_all(items))
    assert np.array_equal(made.scorer(items).values, dd.Scorer(replace(made.model, denoiser=made.model.denoiser.parts[0]), "reconstruction")(items).values)


def test_a_model_of_kinds_comes_back_from_its_folder(detector: dd.Detector, tmp_path: Path) -> None:
    detector.save(tmp_path / "m")
    again, items = dd.Detector.load(tmp_path / "m"), parts(4, 9)
    assert again.model.kinds == ("bolt", "nut") and again.model.fingerprint == detector.model.fingerprint
    assert list(again.judge_all(items)) == list(detector.judge_all(items)) and "| kinds | bolt, nut |" in (tmp_path / "m" / CARD).read_text()
    assert detector.model.untrained().kinds == detector.model.kinds


def test_any_model_is_calibrated_for_several_kinds_without_learning_again() -> None:
    base = dd.train(parts(20, 1), network="none")
    made = dd.Detector(base.of_kinds(("bolt", "nut"))).fit(parts(30, 2))
    assert made.calibrated.kinds == {"bolt": 30, "nut": 30}
    assert np.array_equal(made.scorer(parts(2, 3)).values, dd.Scorer(base, "reconstruction")(parts(2, 3)).values)
    with pytest.raises(InvalidSetting, match="tells kinds apart already"):
        made.model.of_kinds(("a",))
    with pytest.raises(UnknownKind, match="tells no kinds apart"):
        dd.Detector(base).opened(parts(1, 1), "bolt")


def test_a_model_of_kinds_is_learned_from_all_items_and_calibrated_on_others() -> None:
    model = dd.train(parts(20, 1), network="positions", kinds="folder")
    assert model.kinds == ("bolt", "nut") and len(model.seen) == 40
    assert dd.Detector(model).fit(parts(25, 2)).calibrated.kinds == {"bolt": 25, "nut": 25}


def test_kinds_are_named_once_and_asked_by_name() -> None:
    dark, light = Empirical(-torch.ones(1, 2)), Empirical(torch.ones(1, 2))
    two = Kinds(("dark", "light"), (dark, light))
    assert two.given("light") is light
    with pytest.raises(Unconditional, match="knows no kind 'grey'; it knows dark, light"):
        two.given("grey")
    with pytest.raises(UnknownKind, match="asked without one"):
        two(torch.zeros(1, 2), 1.0, 0.1)
    for names, denoisers in (((), ()), (("a", "a"), (dark, light)), (("a", ""), (dark,)), (("a", "b", "c"), (dark, light))):
        with pytest.raises(InvalidSetting, match="a name each"):
            Kinds(names, denoisers)


# too few, or of no kind


def test_a_kind_with_too_few_items_is_refused_in_words(detector: dd.Detector) -> None:
    how = Training("positions", kinds="folder")
    with pytest.raises(TooFewReferences, match="10 reference items of the kind 'nut'.*of the 20 items 10 are held out to calibrate, so give 38"):
        learn(Items((*parts(60, 1, ("bolt",)), *parts(20, 1, ("nut",)))), "reconstruction", how, Policy(), "m")
    with pytest.raises(TooFewItems, match="1 readable item of the kind 'nut'"):
        learn(Items((*parts(60, 1, ("bolt",)), *parts(1, 1, ("nut",)))), "reconstruction", how, Policy(), "m")
    with pytest.raises(TooFewReferences, match="0 reference items of the kind 'nut'; give at least 19"):
        detector.fit(parts(60, 3, ("bolt",)))
    with pytest.raises(UnknownKind, match=r"1 of 41 items are of no kind that the model knows \(stray\); put them into folders called bolt, nut"):
        detector.fit(Items((*parts(20, 3), Item("stray", np.full((SIDE, SIDE), 0.3)))))
    with pytest.raises(InvalidSetting, match="told apart by 'folder'"):
        Training(kinds="name")


def test_items_in_no_folder_are_left_out_of_training() -> None:
    items = Items((*parts(40, 1), Item("stray", np.full((SIDE, SIDE), 0.3))))
    made = learn(items, "reconstruction", Training("positions", kinds="folder"), Policy(), "m")
    assert [(name, why.split(":")[0]) for name, why in made.left_out] == [("stray", "of no kind")]


def test_the_kind_is_the_first_folder_below_the_source(tmp_path: Path) -> None:
    for name in ("bolt/lot 1/a.png", "bolt/b.png", "c.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert {item.name: item.kind for item in Items.open(tmp_path)} == {"bolt/lot 1/a.png": "bolt", "bolt/b.png": "bolt", "c.png": ""}
    assert {item.kind for item in Items.open([tmp_path])} == {"bolt", ""} and {item.kind for item in Items.open(tmp_path).of_kind("nut")} == {"nut"}


# scores are kept


def test_scores_keep_their_kinds_on_disk_and_those_of_earlier_versions_load(tmp_path: Path) -> None:
    from safetensors.numpy import save

    made = numbers(3, 0, maps=True)
    made.save(tmp_path / "s.safetensors")
    again = Scores.load(tmp_path / "s.safetensors")
    assert again.kinds == made.kinds and Scores.merge([again, made]).kinds == made.kinds * 2 and again.select([1]).kinds == ("loud",)
    kept = {name: getattr(made, name) for name in ("names", "columns", "tails", "says", "fingerprint", "digests", "vitals", "problems")}
    (tmp_path / "old.safetensors").write_bytes(save({"values": made.values}, {"scores": json.dumps({"format": 1, **kept})}))
    assert Scores.load(tmp_path / "old.safetensors").kinds == ("",) * 6


@pytest.mark.parametrize("combine", [Gaussian(), Ranks(), Robust()], ids=lambda one: one.name)
def test_a_thousand_rows_are_judged_again_in_well_under_a_second(combine: Strangeness) -> None:
    calibration, new = Calibration(numbers(100, 0), combine), numbers(500, 1)
    list(verdicts_of(new, calibration.judge(new), Policy()))  # imports what it needs
    began = time.process_time()
    assert len(list(verdicts_of(new, calibration.judge(new), Policy(0.05)))) == 1000
    assert time.process_time() - began < 0.8  # 0.01 (gaussian) to 0.2 (robust) on one core


def test_maps_are_judged_again_in_milliseconds() -> None:
    drawn = np.random.default_rng(0).uniform(size=(150, 3, 24, 24)).astype(np.float32)
    rows = {"columns": ("a",), "tails": ("upper",), "says": ("is odd",), "fingerprint": "f"}
    good, new = (Scores(tuple(map(str, range(len(maps)))), values=maps[:, :1, 0, 0], maps=maps, **rows) for maps in (drawn[:100], drawn[100:]))
    calibration, began = Calibration(good, PlaceByPlace()), time.process_time()
    together, spent = calibration.judge(new), time.process_time() - began
    assert spent / len(new) < 0.015  # 0.004 on one core
    assert np.array_equal(calibration.judge(new.select([7])).strangeness, together.strangeness[[7]])


def test_kept_scores_are_judged_again_without_the_model_to_the_bit(detector: dd.Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    items = parts(10, 4)
    first, scores = list(detector.judge_all(items)), detector.scorer(items)
    monkeypatch.setattr(Kinds, "given", lambda *_: pytest.fail("the model was asked"))
    assert list(detector.judge_all(scores)) == first
    assert sum(v.decision == "flag" for v in detector.judge_all(scores, policy=Policy(0.5))) > sum(v.decision == "flag" for v in first)


# a calibration grows


@pytest.mark.parametrize("recipe", ["reconstruction", "msma", PLACES], ids=["ranks", "gaussian", "places"])
def test_joined_references_are_those_of_a_fit_on_all_at_once_to_the_bit(recipe: str | Recipe) -> None:
    rng = np.random.default_rng(0)
    good, new = rng.uniform(0.4, 0.6, (170, SIDE, SIDE)), rng.uniform(0.35, 0.65, (20, SIDE, SIDE))
    bare = dd.Detector(dd.train(good[:40], network="positions"), recipe)
    joined, at_once = bare.fit(good[40:90]).join(good[80:]), bare.fit(good[40:])
    assert len(joined.calibrated) == 130 and joined.settled() == Policy(0.01)
    had, has = joined.calibrated.references, at_once.calibrated.references
    assert np.array_equal(had.values, has.values) and (has.maps is None or np.array_equal(had.maps, has.maps)) and had.digests == has.digests
    assert [replace(v, name="") for v in joined.judge_all(new)] == [replace(v, name="") for v in at_once.judge_all(new)]
    assert joined.depth == at_once.depth


def test_joining_asks_about_the_new_alone_and_refuses_what_trained_the_model() -> None:
    good = np.random.default_rng(0).uniform(0.4, 0.6, (120, SIDE, SIDE))
    bare = dd.Detector(dd.train(good[:40], network="positions"))
    fitted = bare.fit(good[40:80])
    scores = bare.scorer(good[80:])
    assert np.array_equal(fitted.join(scores).calibrated.references.values, fitted.join(good[80:]).calibrated.references.values)
    assert fitted.join(good[80:]).gallery is not None and len(fitted.calibrated) == 40
    with pytest.raises(SeenInTraining, match="1 of 41 items trained the model"):
        fitted.join(good[:1])
    with pytest.raises(NotCalibrated):
        bare.join(good[80:])


def test_one_kind_grows_and_the_other_stays(detector: dd.Detector) -> None:
    grown = detector.join(parts(70, 11, ("nut",)))
    assert grown.calibrated.kinds == {"bolt": 40, "nut": 110} and grown.settled(Policy(0.05)).flag == 0.05
    bolts = parts(10, 12, ("bolt",))
    assert [v.p for v in grown.judge_all(bolts)] == [v.p for v in detector.judge_all(bolts)]


# on the command line


def test_a_folder_of_folders_in_decisions_by_kind_out(folder: Path, incoming: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("score", folder, incoming, "-o", tmp_path / "s.csv", "--report", tmp_path / "r.html", "--maps", tmp_path / "maps") == 0
    found = rows(tmp_path / "s.csv")
    assert list(found[0])[-1] == "kind" and list(found[0])[:6] == ["path", "score", "p_value", "decision", "reason", "because"]
    odd = {row["path"]: row for row in found if row["path"] in ("stray.png", "washer/0.png")}
    assert {(row["decision"], row["reason"], row["kind"]) for row in odd.values()} == {("abstain", "of no known kind: known are bolt, nut", "")}
    assert all(row["kind"] == row["path"].split("/")[0] for row in found if row["path"] not in odd)
    told = capsys.readouterr().out
    assert "of each of 2 kinds at most 5 %" in told and "abstained: 2 of no known kind" in told
    assert "of 2 kinds: bolt, nut" in (tmp_path / "r.html").read_text() and (tmp_path / "maps" / "nut" / "0.png").exists()
    assert run("score", folder, incoming / "nut", "--kind", "nut", "-o", tmp_path / "n.csv") == 0
    assert [row["p_value"] for row in rows(tmp_path / "n.csv")] == [row["p_value"] for row in found if row["kind"] == "nut"]


def test_an_unknown_kind_is_refused_in_words(folder: Path, incoming: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("score", folder, incoming, "--kind", "washer") == 1
    assert "'washer', and the model 'm' knows bolt, nut" in capsys.readouterr().err
    assert run("explain", folder, incoming / "bolt" / "3.png") == 1 and "name one of them (--kind" in capsys.readouterr().err
    assert run("explain", folder, incoming / "bolt" / "3.png", "--kind", "bolt") == 0 and "references of its kind" in capsys.readouterr().out


def test_scores_are_kept_and_judged_again_on_the_command_line(folder: Path, incoming: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = tmp_path / "kept.safetensors"
    assert run("score", folder, incoming, "--flag", "0.2", "-o", tmp_path / "a.csv", "--keep-scores", kept) == 0
    assert run("score", folder, kept, "--flag", "0.2", "-o", tmp_path / "b.csv") == 0 and rows(tmp_path / "a.csv") == rows(tmp_path / "b.csv")
    assert run("score", folder, kept, "--flag", "0.5", "-o", tmp_path / "b.csv") == 0 and rows(tmp_path / "a.csv") != rows(tmp_path / "b.csv")
    assert run("score", folder, incoming, "--fdr", "0.2", "-o", tmp_path / "a.csv", "--keep-scores", kept) == 0
    assert run("score", folder, kept, "--fdr", "0.2", "-o", tmp_path / "b.csv") == 0 and rows(tmp_path / "a.csv") == rows(tmp_path / "b.csv")
    assert "of 2 kinds, at most 20 % are good" in capsys.readouterr().out
    before = (tmp_path / "b.csv").read_text()
    foreign = tmp_path / "foreign.safetensors"
    replace(Scores.load(kept), fingerprint="other").save(foreign)
    for wrong, words in (
        ((folder, foreign, "-o", tmp_path / "b.csv"), "cannot be compared with"),
        ((folder, kept, "--maps", tmp_path / "maps"), "holds scores and not the items they are of, so --maps cannot be served"),
        ((folder, kept, "--report", tmp_path / "r.html", "--kind", "nut"), "so --report and --kind cannot be served"),
        ((folder, incoming, "--keep-scores", tmp_path / "s.npz"), "ends in .safetensors; got"),
        ((folder, incoming, "--keep-scores", tmp_path / "no" / "s.safetensors"), "there is no such folder"),
        ((folder, kept, "--flag", "0.001"), "cannot flag at p <= 0.001"),
    ):
        assert run("score", *wrong) == 1 and words in capsys.readouterr().err
    assert (tmp_path / "b.csv").read_text() == before


def test_known_good_items_join_on_the_command_line(folder: Path, incoming: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("fit", folder, incoming / "nut", "--kind", "nut", "--join", "-o", tmp_path / "more", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["references"] == 90 and said["kinds"] == {"bolt": 30, "nut": 60} and said["flag"] == 0.05
    assert run("fit", tmp_path / "more", saved(parts(25, 21), tmp_path / "lot"), "--join") == 0
    grown = dd.Detector.load(tmp_path / "more")
    assert grown.calibrated.kinds == {"bolt": 55, "nut": 85} and grown.settled().flag == 0.02 and grown.gallery is not None
    assert run("fit", folder, incoming, "--join", "--recipe", "msma") == 2 and "--join keeps the recipe" in capsys.readouterr().err
    assert run("fit", folder, incoming, "-o", tmp_path / "x") == 1 and "are of no kind that the model knows" in capsys.readouterr().err


def test_a_model_without_kinds_is_fitted_for_several(incoming: Path, tmp_path: Path) -> None:
    assert run("train", saved(parts(40, 31), tmp_path / "good"), "--network", "positions", "-o", tmp_path / "m") == 0
    assert run("fit", tmp_path / "m", saved(parts(25, 32), tmp_path / "more"), "--kinds", "folder", "-o", tmp_path / "k") == 0
    assert dd.Detector.load(tmp_path / "k").calibrated.kinds == {"bolt": 25, "nut": 25}
    assert run("score", tmp_path / "m", incoming, "-o", tmp_path / "s.csv") == 0 and "kind" not in rows(tmp_path / "s.csv")[0]


def test_a_labelled_folder_is_of_one_kind(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for place, seed in (("train/good", 41), ("test/good", 42)):
        saved(Items(tuple(Item(item.name.split("/")[1], item.payload) for item in parts(25, seed, ("nut",)))), tmp_path / "set" / place)
    spoilt = [Item(f"{i}.png", 1 - item.payload) for i, item in enumerate(parts(5, 43, ("nut",)))]
    saved(Items(tuple(spoilt)), tmp_path / "set" / "test" / "inverted")
    assert run("test", folder, tmp_path / "set") == 1 and "knows bolt, nut; name one of them" in capsys.readouterr().err
    assert run("test", folder, tmp_path / "set", "--kind", "nut", "--repeats", "20", "--json") == 0
    assert json.loads(capsys.readouterr().out)["decisions"]["inverted"]["flag"] == 5


@pytest.mark.parametrize("steps", [("photometry",), ("auto", "photometry")])
def test_brightness_is_evened_out_where_that_is_asked_for(steps: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, flags = saved(parts(50, 51, ("nut",)), tmp_path / "good"), [part for step in steps for part in ("--prepare", step)]
    assert run("train", good, "--network", "positions", "--recipe", "msma", *flags, "-o", tmp_path / "with") == 0
    assert run("train", good, "--network", "positions", "--recipe", "msma", "-o", tmp_path / "without") == 0
    dim = Items(tuple(replace(item, payload=0.8 * item.payload) for item in parts(20, 52, ("nut",))))
    flagged = {}
    for name in ("with", "without"):
        assert run("score", tmp_path / name, saved(dim, tmp_path / "dim"), "-o", tmp_path / "s.csv") == 0
        flagged[name] = sum(row["decision"] == "flag" for row in rows(tmp_path / "s.csv"))
    assert flagged["with"] <= 4 < 15 <= flagged["without"], flagged
    again = dd.Detector.load(tmp_path / "with")
    assert [step.config()["name"] for step in again.model.steps] == ["photometry"] and dd.Detector.load(tmp_path / "without").model.steps == ()
    capsys.readouterr()
    assert run("train", good, "--prepare", "polish", "-o", tmp_path / "x") == 1
    assert "no step called 'polish'; there are: auto, equalise, photometry, registration" in capsys.readouterr().err


def test_a_page_is_written_about_parts_of_several_kinds(detector: dd.Detector, tmp_path: Path) -> None:
    found = report(detector, parts(10, 61), tmp_path / "r.html")
    assert found.kinds == ("bolt", "nut") and "of each of 2 kinds" in found.promise
    found.to_csv(tmp_path / "r.csv")
    assert {row["kind"] for row in rows(tmp_path / "r.csv")} == {"bolt", "nut"}


def test_a_calibration_of_another_version_of_its_combiner_is_refused(detector: dd.Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    detector.save(tmp_path / "m")
    assert len(dd.Detector.load(tmp_path / "m").calibrated) == len(detector.calibrated)
    monkeypatch.setattr(type(detector.calibrated.combiner), "version", 99)
    with pytest.raises(DifferentAnswers, match="another version of .*; fit it again"):
        dd.Detector.load(tmp_path / "m")
    assert dd.Detector.uncalibrated(tmp_path / "m").model.fingerprint == detector.model.fingerprint
