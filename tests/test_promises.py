"""What the project promises people, from items to decisions: rates are kept, scores are an item's own, nothing is forgotten."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import reduce
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import betabinom

import diffident as dd
from diffident import recipes, registry
from diffident.data import Items
from diffident.denoiser import GaussianMixture
from diffident.errors import InvalidSetting, NotPerElement, TooFewReferences, UnknownName
from diffident.modalities.image import Image
from diffident.model import Model
from diffident.networks import MLP, UNet
from diffident.precondition import Learned, measured
from diffident.recipes import Reading, Recipe
from diffident.settings import EXACT
from diffident.spaces import Space
from diffident.spaces.features import Features
from diffident.spaces.haar import Haar
from diffident.walks import Clean, Encode, Renoise, Sample


def pictures(n: int, seed: int, level: float = 0.5, spread: float = 0.1) -> np.ndarray:
    """Small smooth pictures (n, 8, 8), float in [0, 1]."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(level, spread, (n, 4, 4))
    return np.kron(coarse, np.ones((2, 2))).clip(0, 1) + rng.normal(0, 0.01, (n, 8, 8)).clip(-0.02, 0.02)


@pytest.fixture(scope="module")
def model() -> Model:
    return dd.train(pictures(60, 0), network="none")


@pytest.fixture(scope="module")
def detector(model: Model) -> dd.Detector:
    return dd.Detector(model, "reconstruction").fit(pictures(99, 1))


@pytest.fixture(scope="module")
def able(model: Model) -> Callable[[str], Model]:
    """A model that a recipe can be asked of: the exact one, or a small network or what the recipe wants in its own space if it needs these."""

    def found(name: str) -> Model:
        asked = recipes.recipe(name)
        if not (asked.watches or asked.space):
            return model
        spaces: dict[str, Space] = {"haar": Haar(), "features": Features(blocks=asked.housing.get("blocks", ()), sizes=(32,), grid=4)}
        space, known = spaces.get(asked.space, model.space), torch.from_numpy(pictures(60, 0)).float()[:, None] * 2 - 1
        elements = space.encode(known)
        if asked.network in EXACT:
            return replace(model, denoiser=EXACT[asked.network](elements, space, 0), space=space)
        grids = any(stream.startswith(("down", "up")) for stream in asked.watches)
        net = UNet(elements.shape[1], widths=(32, 32, 32), blocks=1, patch=1) if grids else MLP(elements.shape[1:], width=32, blocks=1)
        learned = Learned(net, *measured(elements), "fp32").untrained(1)
        return replace(model, denoiser=learned, space=space)

    return found


EVERY = sorted(name for name in registry.names("recipes") if not recipes.recipe(name).introspects)  # the others say nothing of items given


@pytest.mark.parametrize("name", EVERY)
def test_false_alarms_stay_below_what_was_promised(able: Callable[[str], Model], name: str) -> None:
    """Sixty calibrations (twenty, of what takes its time) of 39 on fresh good items, through the whole of scoring and judging: the count of false alarms
    lies inside the central 99.9 % of its law, a sum of beta-binomials."""
    n, m, level = 39, 20, 0.1
    asked = recipes.recipe(name)
    repeats = 20 if asked.space == "features" or asked.cost.evaluations + 2 * asked.cost.products > 20 else 60
    detector = dd.Detector(able(name), name, dd.Policy(level))
    scores = detector.scorer(pictures((n + m) * repeats, 2))
    flags = 0
    for i in range(repeats):
        start = i * (n + m)
        fitted = detector.fit(scores.select(range(start, start + n)))
        flags += sum(v.decision == "flag" for v in fitted.judge_all(scores.select(range(start + n, start + n + m))))
    least, most = false_alarms_by_law(n, m, repeats, int(level * (n + 1)))
    assert least <= flags <= most


def false_alarms_by_law(n: int, m: int, repeats: int, k: int) -> tuple[int, int]:
    """Between which counts 99.9 % lie, exactly: the law of a sum is the convolution of its parts."""
    one = betabinom(m, k, n + 1 - k).pmf(np.arange(m + 1))
    below = np.cumsum(reduce(np.convolve, [one] * repeats))
    return int(np.searchsorted(below, 0.0005)), int(np.searchsorted(below, 0.9995))


@pytest.mark.parametrize("name", EVERY)
def test_scores_are_bit_identical_alone_permuted_and_in_any_company(able: Callable[[str], Model], name: str) -> None:
    scorer, items = dd.Scorer(able(name), recipes.recipe(name)), pictures(75, 3)
    together = scorer(items).values
    order = np.random.default_rng(0).permutation(75)
    np.testing.assert_array_equal(scorer(items[order]).values, together[order])
    for i in (0, 31, 40, 74):
        np.testing.assert_array_equal(scorer(items[i : i + 1]).values, together[i : i + 1])


@pytest.mark.parametrize("shape", [(3, 3), (5, 5), (7, 7, 3), (13, 13)], ids=str)
@pytest.mark.parametrize("count", [7, 61])
def test_scores_are_an_items_own_whatever_its_size(shape: tuple[int, ...], count: int) -> None:
    """Sizes at which matrix kernels round ragged edges by the row's place, banks of every size, bad neighbours."""
    rng = np.random.default_rng(0)
    exact, items = dd.train(rng.uniform(0.2, 0.8, (count, *shape)), network="none"), rng.uniform(0.1, 0.9, (40, *shape))
    for name in ("reconstruction", "diffpath", "msma"):
        scorer = dd.Scorer(exact, name)
        together, order = scorer(items).values, rng.permutation(40)
        np.testing.assert_array_equal(scorer(items[order]).values, together[order])
        beside = scorer([np.full(shape, np.nan), np.array(["rubbish"]), *items[5:9]])
        np.testing.assert_array_equal(beside.values[2:], together[5:9])
    mixture = Model(GaussianMixture(torch.zeros(1, *exact.modality.shape), _covariance(items)), exact.modality)
    scorer = dd.Scorer(mixture, "diffpath")
    np.testing.assert_array_equal(scorer(items[order]).values, scorer(items).values[order])


@pytest.mark.parametrize("precision", ["fp32", "auto"])
@pytest.mark.parametrize("kind", ["unet", "mlp"])
@pytest.mark.parametrize("shape", [(3, 3), (7, 7, 3), (13, 9)], ids=str)
def test_scores_of_a_learned_network_are_an_items_own_too(shape: tuple[int, ...], kind: str, precision: str) -> None:
    rng = np.random.default_rng(0)
    images, items = rng.uniform(0.2, 0.8, (40, *shape)), rng.uniform(0.1, 0.9, (40, *shape))
    learned = dd.train(images, network=kind, width=32, images_seen=32, batch=16, precision=precision)
    learned = replace(learned, denoiser=learned.stored.untrained(1))  # speaks louder than what has learned for two steps
    for name in ("reconstruction", "diffpath", "deviation"):
        scorer = dd.Scorer(learned, name)
        together, order = scorer(items).values, rng.permutation(40)
        np.testing.assert_array_equal(scorer(items[order]).values, together[order])
        beside = scorer([np.full(shape, np.nan), np.array(["rubbish"]), *items[5:9]])
        np.testing.assert_array_equal(beside.values[2:], together[5:9])


def _covariance(items: np.ndarray) -> torch.Tensor:
    flat = torch.from_numpy(items).flatten(1).float()
    return (torch.cov(flat.T) + 0.01 * torch.eye(flat.shape[1]))[None]


def test_copies_of_an_item_are_one_reference(model: Model) -> None:
    """Twenty-five items, each given twice, are twenty-five references and promise no more than these."""
    twice = np.concatenate([pictures(25, 23), pictures(25, 23)])
    assert len(dd.Detector(model).fit(twice).calibrated) == 25
    with pytest.raises(TooFewReferences, match="25 reference items; give at least 49"):
        dd.Detector(model, policy=dd.Policy(0.02)).fit(twice)


def test_a_walk_that_makes_items_is_no_reading_of_items() -> None:
    with pytest.raises(InvalidSetting, match="use another walk"):
        Recipe("made", (Reading(Sample(), "path_energy"),))


@pytest.mark.parametrize("changes", [{"combine": "nonsense"}, {"readings": (Reading(Clean(), "landing", name="score"),)}], ids=str)
def test_a_recipe_that_could_not_be_judged_is_refused_when_it_is_written(changes: dict) -> None:
    with pytest.raises((InvalidSetting, UnknownName), match="no combiner|column of every result"):
        replace(recipes.recipe("msma"), **changes)


def test_verdicts_are_identical_alone_and_in_company(detector: dd.Detector) -> None:
    items = np.concatenate([pictures(40, 4), pictures(10, 5, level=0.9)])
    together = [verdict for _, verdict in detector.judge(items)]
    alone = detector(items[45])
    assert (alone.p, alone.score, alone.decision, alone.evidence) == (together[45].p, together[45].score, together[45].decision, together[45].evidence)


def test_strange_items_are_flagged(detector: dd.Detector) -> None:
    strange = detector.judge_all(pictures(50, 5, level=0.95))
    assert sum(v.decision == "flag" for v in strange) >= 45
    assert strange[0].because.startswith("stranger than 99 of 99 references: it ")


def test_equal_walks_are_run_once(model: Model) -> None:
    """Two readings of one walk cost what one costs."""
    shared = Recipe("shared", (Reading(Encode(), "path_speed"), Reading(Encode(), "landing"), Reading(Clean(), "score_norm")))
    assert len(shared.plan) == 2 and shared.cost.evaluations == 20


def test_a_recipe_with_probes_and_vectors_names_its_columns(model: Model) -> None:
    mixed = Recipe("mixed", (Reading(Renoise(), "posterior_variance"), Reading(Renoise(), "residual"), Reading(Clean(), "path_energy", name="clean energy")))
    scores = dd.Scorer(model, mixed)(pictures(3, 6))
    assert scores.columns == ("posterior_variance[1]", "posterior_variance[2]", "posterior_variance[3]", "residual", "clean energy")
    assert mixed.cost.products == 24


def test_the_map_points_at_the_mark(model: Model) -> None:
    marked = pictures(1, 7)[0]
    marked[1:3, 5:7] = 1.0
    found = dd.Scorer(model, recipes.recipe("reconstruction")).map(Items.single(marked)[0])
    row, column = np.unravel_index(found.argmax(), found.shape)
    assert found.shape == (8, 8) and 1 <= row < 3 and 5 <= column < 7


def test_maps_come_with_the_scores_as_each_would_alone(model: Model) -> None:
    items = [*pictures(40, 7), np.full((8, 8), np.nan), np.zeros((8, 8, 5))]  # not finite; five channels are no picture
    scorer = dd.Scorer(model, "reconstruction")
    parts = list(scorer.stream_maps(items))
    assert [len(part) for part, _, _ in parts] == [32, 10]
    scores, maps = dd.Scores.merge([scores for _, scores, _ in parts]), np.concatenate([maps for _, _, maps in parts])
    assert maps.shape == (42, 8, 8) and maps.dtype == np.float32
    np.testing.assert_array_equal(scores.values, scorer(items).values)
    np.testing.assert_array_equal(np.isnan(maps), ~np.isfinite(scores.values)[:, :, None].repeat(8, 1).repeat(8, 2))
    assert all((maps[i] == scorer.map(items[i])).all() for i in (0, 33))
    with pytest.raises(NotPerElement, match="has no map"):
        dd.Scorer(model, "msma").stream_maps(items)


def test_a_saved_detector_gives_the_same_verdicts(detector: dd.Detector, tmp_path: Path) -> None:
    detector.save(tmp_path / "m")
    items = pictures(5, 8)
    again = dd.Detector.load(tmp_path / "m")
    assert [v.row() for v in again.judge_all(items)] == [v.row() for v in detector.judge_all(items)]
    assert dd.load(tmp_path / "m").fingerprint == detector.model.fingerprint


def test_a_detector_is_shown_in_one_line(model: Model, detector: dd.Detector) -> None:
    assert repr(detector) == "Detector('model', 'reconstruction', 99 references, Policy(flag=0.01, abstain=None))"
    assert repr(dd.Detector(model)) == "Detector('model', 'reconstruction', not calibrated)"


def test_scores_kept_on_disk_are_judged_again_at_another_level(detector: dd.Detector, tmp_path: Path) -> None:
    scores = detector.scorer(pictures(20, 9, level=0.6))
    scores.save(tmp_path / "scores.safetensors")
    kept = dd.Scores.load(tmp_path / "scores.safetensors")
    strict, lax = detector.judge_all(kept, policy=dd.Policy(0.01)), detector.judge_all(kept, policy=dd.Policy(0.5))
    assert sum(v.decision == "flag" for v in strict) < sum(v.decision == "flag" for v in lax)
    assert [v.p for v in strict] == [v.p for v in lax]


def test_scores_of_two_machines_make_one_table(detector: dd.Detector) -> None:
    items = pictures(50, 10)
    parts = [detector.scorer(items[:21]), detector.scorer(items[21:])]
    np.testing.assert_array_equal(dd.Scores.merge(parts).values, detector.scorer(items).values)


def test_items_that_were_seen_are_not_judged(model: Model, detector: dd.Detector) -> None:
    seen = detector.judge_all([pictures(60, 0)[3], pictures(99, 1)[5], pictures(1, 11)[0]])
    assert [v.decision for v in seen][:2] == ["abstain", "abstain"]
    assert seen[0].reason.startswith("trained on") and seen[1].reason.startswith("is a reference") and not seen[2].reason


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (np.full((8, 8), 0.5), "blank"),
        (np.ones((8, 8)), "blank|saturated"),
        (np.full((16, 8), 0.5), "wrong size"),
        (np.where(np.eye(8) > 0, np.nan, 0.5), "not finite"),
        (np.where(np.eye(8) > 0, np.inf, 0.5), "not finite"),
        ((pictures(1, 12)[0] * 255).astype(np.uint8), "wrong bit depth"),
        (np.stack([pictures(1, 13)[0], pictures(1, 14)[0], pictures(1, 15)[0] * 0], -1), "in colour"),
        (np.full((1, 1), 0.5), "wrong size"),
    ],
    ids=["blank", "saturated", "size", "nan", "infinite", "depth", "colour", "one pixel"],
)
def test_out_of_its_depth_the_detector_abstains(detector: dd.Detector, item: np.ndarray, reason: str) -> None:
    verdict = detector(item)
    assert verdict.decision == "abstain"
    assert re.match(reason, verdict.reason), verdict.reason


def test_a_mixture_is_a_model_too(tmp_path: Path) -> None:
    """The other exact denoiser runs the same job, is stored, and comes back to the bit."""
    mixture = GaussianMixture(torch.zeros(1, 1, 8, 8), 0.2 * torch.eye(64)[None])
    made = Model(mixture, Image(8, 8, 1, 32), name="noise")
    dd.save(made, tmp_path / "m")
    assert dd.load(tmp_path / "m").fingerprint == made.fingerprint
    detector = dd.Detector(made, "diffpath").fit(pictures(40, 16, spread=0.2))
    assert detector(pictures(1, 17, level=0.9, spread=0.02)[0]).p < 0.1


def test_a_recipe_for_another_space_is_refused(model: Model) -> None:
    with pytest.raises(InvalidSetting, match="lives in 'pixels'"):
        dd.Scorer(model, Recipe("elsewhere", (Reading(Clean(), "landing"),), space="haar"))


def test_parts_without_a_name_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    class Mine(GaussianMixture):
        """A denoiser that nobody registered."""

    mine = Model(Mine(torch.zeros(1, 1, 8, 8), torch.ones(1)), Image(8, 8, 1, 32))
    with pytest.raises(UnknownName, match="registry.register"):
        dd.save(mine, tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_training_twice_gives_the_same_bits(tmp_path: Path) -> None:
    for name in ("a", "b"):
        dd.train(pictures(80, 18), "msma", tmp_path / name, network="none")
    a, b = (dd.Detector.load(tmp_path / name) for name in ("a", "b"))
    assert a.model.fingerprint == b.model.fingerprint
    np.testing.assert_array_equal(a.calibrated.references.values, b.calibrated.references.values)


def test_at_least_99_calibrate_where_that_is_at_most_half(tmp_path: Path) -> None:
    dd.train(pictures(198, 19), network="none", out=tmp_path / "m")
    assert len(dd.Detector.load(tmp_path / "m").calibrated) == 99
    dd.train(pictures(80, 20), network="none", out=tmp_path / "n")
    assert len(dd.Detector.load(tmp_path / "n").calibrated) == 40


def test_judging_may_run_in_threads(detector: dd.Detector) -> None:
    items = pictures(30, 21)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: detector(items[i]).p, range(30)))
    assert found == [v.p for v in detector.judge_all(items)]


@pytest.mark.parametrize("name", EVERY)
def test_an_item_beyond_all_references_reaches_the_smallest_p(able: Callable[[str], Model], name: str) -> None:
    """What the policy counts on when it says how many references a level needs, on either side that is strange."""
    detector = dd.Detector(able(name), name).fit(pictures(99, 22))
    known = detector.calibrated.references
    far = 1e3 * np.ptp(known.values, axis=0)
    ends = [known.values.max(0) + far] + ([known.values.min(0) - far] if set(known.tails) == {"both"} else [])
    maps = None if known.maps is None else np.stack([known.maps[0] + 1e3 * known.maps.max()] * len(ends))
    judged = detector.calibrated.judge(replace(known.select(range(len(ends))), values=np.stack(ends), maps=maps))
    np.testing.assert_allclose(judged.p, 0.01)
