"""Recipes for any model: equal to a slow reading of their formulas, at the cost that they state, and fit for models of every space."""

from __future__ import annotations

import io
import itertools
import json
import math
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from torch import Tensor

import diffident as dd
from diffident import levels, noise, recipes, registry
from diffident.calibration import combiner
from diffident.denoiser import Denoiser, GaussianMixture
from diffident.errors import InvalidSetting, WrongShape
from diffident.evaluate.nulls import brightness, contrast, sharpness
from diffident.modalities.image import Image
from diffident.model import Model
from diffident.networks import UNet
from diffident.precondition import Learned
from diffident.probes import TopEigenvalues
from diffident.recipes import Reading, Recipe, activations, diffpath_v2, eigen, recipe, recipe_from, zero_shot
from diffident.spaces.features import Features
from diffident.spaces.haar import Haar
from diffident.spaces.pixels import Pixels
from diffident.statistics import find
from diffident.statistics.score_error import WEIGHTS
from diffident.testing import gaussian_world, modes_world
from diffident.walks import Clean, Encode, Forward, Renoise, Unasked

SHAPE = (2, 5, 6)


def mixture() -> GaussianMixture:
    """Three correlated modes in double precision."""
    place = torch.arange(math.prod(SHAPE), dtype=torch.float64)
    smooth = torch.exp(-(place[:, None] - place[None]).abs() / 3)
    means = torch.stack([torch.full(SHAPE, level, dtype=torch.float64) for level in (-0.6, 0.1, 0.7)])
    return GaussianMixture(means, torch.stack([0.05 * smooth, 0.2 * smooth, 0.1 * smooth]))


def items(n: int = 3) -> Tensor:
    return 1.5 * mixture().draw(n, seed=4)  # some beyond [-1, 1], so that clipping shows


def unet() -> Learned:
    return Learned(UNet(1, widths=(32, 32, 64), blocks=1, patch=1), torch.zeros(1, 1, 1), torch.ones(1, 1, 1), "fp32").untrained(3)


def read(asked: Recipe, model: Denoiser, of: Tensor) -> np.ndarray:
    return asked.read({walk: walk(model, of, asked.probes(walk)) for walk in asked.plan}).detach().numpy()


def bars(steps: int, of: int = 4000) -> list[float]:
    """The cosine schedule of the paper, every so many steps, by its own formula."""
    f = [math.cos((t / of + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(of + 1)]
    kept, product = [], 1.0
    for t in range(of):
        product *= 1 - min(1 - f[t + 1] / f[t], 0.999)
        kept.append(product)
    return kept[:: of // steps][:steps]


def literal_path(x: np.ndarray, steps: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """DDIM inversion as DiffPath writes it: eps re-derived from the clipped x0; eps and x0 of each step."""
    ab, model, eps, answers = [*bars(steps), 0.0], mixture(), [], []
    for i in range(steps):
        x0 = model(torch.from_numpy(x)[None], math.sqrt(ab[i]), math.sqrt(1 - ab[i]))[0].numpy()
        raw = (x - math.sqrt(ab[i]) * x0) / math.sqrt(1 - ab[i])
        clipped = np.clip((x - math.sqrt(1 - ab[i]) * raw) / math.sqrt(ab[i]), -1, 1)
        again = (x / math.sqrt(ab[i]) - clipped) / math.sqrt(1 / ab[i] - 1)
        x = math.sqrt(ab[i + 1]) * clipped + math.sqrt(1 - ab[i + 1]) * again
        eps.append(again)
        answers.append(clipped)
    return eps, answers


def six_sums(maps: list[np.ndarray]) -> list[float]:
    found = []
    for of in (maps, [(after - before) * len(maps) for before, after in itertools.pairwise(maps)]):
        for power in (1, 2, 3):
            found.append(sum(float(value) ** power for one in of for value in one.ravel()))
    return found


def literal_ssim(x: np.ndarray, y: np.ndarray, window: int) -> np.ndarray:
    """Channel by channel, place by place, in a Gaussian window cut at the borders."""
    found, reach = np.empty_like(x), window // 2
    for c, i, j in np.ndindex(x.shape):
        near = [(k, m) for k in range(i - reach, i + reach + 1) for m in range(j - reach, j + reach + 1) if 0 <= k < x.shape[1] and 0 <= m < x.shape[2]]
        taken = np.array([math.exp(-((k - i) ** 2 + (m - j) ** 2) / (2 * 1.5**2)) for k, m in near])
        taken /= taken.sum()
        a, b = (np.array([of[c, k, m] for k, m in near]) for of in (x, y))
        mean_a, mean_b = taken @ a, taken @ b
        var_a, var_b, cov = taken @ (a - mean_a) ** 2, taken @ (b - mean_b) ** 2, taken @ ((a - mean_a) * (b - mean_b))
        c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
        found[c, i, j] = (2 * mean_a * mean_b + c1) * (2 * cov + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return found


def literal_v2(x0: np.ndarray, variant: str, weight: str, squared: bool, window: int, steps: int) -> list[float]:
    if variant == "path":
        seen, answers = literal_path(x0, steps)
        true = [seen[-1]] * steps
    else:
        n, seen, answers = noise.normal(SHAPE, "common", 0, 0).double().numpy(), [], []
        for ab in bars(steps):
            x = math.sqrt(ab) * x0 + math.sqrt(1 - ab) * n
            denoised = mixture()(torch.from_numpy(x)[None], math.sqrt(ab), math.sqrt(1 - ab))[0].numpy()
            seen.append((x - math.sqrt(ab) * denoised) / math.sqrt(1 - ab))
            answers.append(np.clip((x - math.sqrt(1 - ab) * seen[-1]) / math.sqrt(ab), -1, 1))
        true = [n] * steps
    maps = []
    for eps, answer, n in zip(seen, answers, true, strict=True):
        shown = {"one-minus-ssim": lambda a=answer: 1 - literal_ssim(x0, a, window), "exp": lambda a=answer: np.exp(-literal_ssim(x0, a, window))}
        shown |= {"noise-ssim": lambda e=eps, n=n: 1 - literal_ssim(n, e, window), "none": lambda: 1.0}
        maps.append(shown[weight]() * ((eps - n) ** 2 if squared else eps - n))
    return six_sums(maps)


def test_diffpath_is_a_slow_reading_of_its_paper() -> None:
    expected = [six_sums(literal_path(one.numpy(), 10)[0]) for one in items()]
    np.testing.assert_allclose(read(recipe("diffpath"), mixture(), items()), expected, rtol=1e-5)


CASES = [("forward", weight, False) for weight in WEIGHTS] + [("path", "one-minus-ssim", False), ("path", "none", True), ("forward", "exp", True)]


@pytest.mark.parametrize(("variant", "weight", "squared"), CASES)
def test_diffpath_v2_is_a_slow_reading_of_what_is_known_of_it(variant: str, weight: str, squared: bool) -> None:
    asked = diffpath_v2(variant, weight, squared, window=5, steps=4)
    expected = [literal_v2(one.numpy(), variant, weight, squared, 5, 4) for one in items()]
    np.testing.assert_allclose(read(asked, mixture(), items()), expected, rtol=1e-5, atol=1e-8)


def test_every_switch_of_diffpath_v2_changes_its_numbers() -> None:
    switched = [{}, {"variant": "path"}, {"squared": True}, {"window": 3}, {"steps": 5}, *({"weight": one} for one in WEIGHTS[1:])]
    numbers = [read(diffpath_v2(**changes), mixture(), items()).tobytes() for changes in switched]
    assert len(set(numbers)) == len(numbers)
    assert diffpath_v2() == recipe("diffpath-v2") and diffpath_v2(weight="none").space == "" and recipe("diffpath-v2").space == "pixels"


def jacobian(x: Tensor, alpha: float, sigma: float) -> Tensor:
    found = torch.autograd.functional.jacobian(lambda flat: mixture()(flat.reshape(1, *SHAPE), alpha, sigma).flatten(), x.flatten())
    return found  # type: ignore[return-value]


def test_scoped_is_the_squared_score_over_the_trace_of_its_jacobian() -> None:
    asked, betas = recipe("scoped"), np.linspace(1e-4, 0.02, 1000)
    ab = np.cumprod(1 - betas)[[0, 299]]
    assert asked.readings[0].walk.levels.alpha == pytest.approx(np.sqrt(ab), rel=1e-9)
    found = read(asked, mixture(), items())
    signs = noise.signs(SHAPE, "trace", 0, 0).double().flatten()
    for j, one in enumerate(items()):
        for i, (a, s) in enumerate(zip(np.sqrt(ab), np.sqrt(1 - ab), strict=True)):
            x = a * one + s * noise.normal(SHAPE, "common", 0, i).double()
            score = (a * mixture()(x[None], a, s)[0] - x) / s**2
            hessian = (torch.eye(x.numel(), dtype=torch.float64) - a * jacobian(x, a, s)) / s**2  # of -log p
            assert found[j, i] == pytest.approx((score.square().sum() / (signs @ hessian @ signs)).item(), rel=1e-5)


def test_the_fisher_ratio_is_one_on_average_and_finite_where_curvature_turns() -> None:
    world = gaussian_world((6, 6), n=400)
    asked = Recipe("ratio", (Reading(Renoise(levels.angular([0.5])), "fisher_ratio"),))
    assert read(asked, world.denoiser, world.ordinary).mean() == pytest.approx(1, abs=0.1)
    film = Clean(levels.angular([1.0]))(world.denoiser, world.ordinary[:2], asked.readings[0].probes)
    film.columns["trace"].fill_(36 * math.sqrt(2))  # all curvature gone
    assert torch.isfinite(find("fisher_ratio")(film)).all()


def test_eigenvalues_are_a_slow_subspace_iteration() -> None:
    k, iterations, step, (a, s) = 3, 4, 0.7, (0.8, 0.6)
    walk = Clean(levels.Levels((a,), (s,)))
    found = walk(mixture(), items(), [TopEigenvalues(k, iterations, step)]).columns["top 3 eigenvalues"][0]
    for j, one in enumerate(items()):
        x, v = (a * one).flatten(), np.linalg.qr(torch.stack([noise.normal(SHAPE, "eigenvalues", 0, i).double().flatten() for i in range(k)], 1).numpy())[0]
        for _ in range(iterations):
            ahead, behind = (
                torch.stack([mixture()((x + way * step * torch.from_numpy(v[:, i])).reshape(1, *SHAPE), a, s).flatten() for i in range(k)], 1)
                for way in (1, -1)
            )
            moved = ((ahead - behind) / (2 * step)).numpy()
            lengths, v = np.linalg.norm(moved, axis=0), np.linalg.qr(moved)[0]
        np.testing.assert_allclose(found[j].numpy(), np.sort(lengths)[::-1], rtol=1e-5)


def test_eigenvalues_of_one_gaussian_are_exact_and_draws_are_averaged() -> None:
    world, (a, s) = gaussian_world((1, 2, 2)), (0.8, 0.6)
    exact = torch.linalg.eigvalsh(torch.linalg.inv(torch.linalg.inv(world.denoiser.covariances[0]) + a**2 / s**2 * torch.eye(4))).flip(0)
    film = Clean(levels.Levels((a,), (s,)))(world.denoiser, world.ordinary[:2], [TopEigenvalues(2, 60)])
    np.testing.assert_allclose(find("posterior_eigenvalues")(film, {"k": 2, "iterations": 60}), np.full((2, 1), exact[:2].sum()), rtol=1e-6)
    drawn = eigen(draws=2).readings[0]
    film = drawn.walk(mixture(), items(), drawn.probes)
    each = film.columns["top 1 eigenvalues"][..., 0] * (film.sigma**2 / film.alpha)[:, None]
    np.testing.assert_allclose(drawn.of(film, drawn.settings), ((each[0::2] + each[1::2]) / 2).T)


def test_directions_beyond_an_items_own_are_worth_nothing() -> None:
    world = gaussian_world((2,))
    found = Clean(levels.angular([1.0]))(world.denoiser, world.ordinary[:1], [TopEigenvalues(4, 9)]).columns["top 4 eigenvalues"]
    assert (found[0, 0, :2] > 0).all() and (found[0, 0, 2:] == 0).all()


def test_likelihoods_are_in_bits_of_eight_bit_items_and_typicality_is_two_sided() -> None:
    model = GaussianMixture(torch.zeros(1, 1, 4, 4, dtype=torch.float64), torch.tensor([0.09], dtype=torch.float64))
    drawn = model.draw(60)
    nats = -model.log_density(drawn, 1.0, 0.003) / 16
    asked = Reading(Encode(levels.cosine(400), clip=False), "bits_per_dimension")
    found = asked.of.numbers(asked.walk(model, drawn, asked.probes))[:, 0]
    np.testing.assert_allclose(found, nats / math.log(2) + math.log2(127.5), atol=0.06)
    numbers, typical = read(recipe("typicality"), model, drawn), recipe("typicality")
    far = combiner(typical.combine).score(numbers[:40], numbers[40:], ("both",))
    assert np.array_equal(np.argsort(far), np.argsort(np.abs(numbers[40:, 0] - numbers[:40].mean())))


@pytest.mark.parametrize("channels", [1, 3])
def test_input_complexity_is_the_likelihood_without_the_png(channels: int) -> None:
    of = torch.rand(2, channels, 6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2.4 - 1.2
    model = GaussianMixture(torch.zeros(1, channels, 6, 5, dtype=torch.float64), torch.ones(1, dtype=torch.float64))
    bits, found = (read(recipe(name), model, of)[:, 0] for name in ("likelihood", "input-complexity"))
    for one, before, after in zip(of.numpy(), bits, found, strict=True):
        pixels = np.round((np.clip(one, -1, 1) + 1) * 127.5).astype(np.uint8)
        file = io.BytesIO()
        PIL.Image.fromarray(pixels.transpose(1, 2, 0).squeeze()).save(file, "PNG")
        assert after == pytest.approx(before - 8 * len(file.getvalue()) / one.size, abs=1e-9)


def test_activations_are_each_channels_mean_and_deviation() -> None:
    model, of = unet(), torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    asked = activations(("down1", "deepest"), 1.0, clean=True)
    found, at = read(asked, model, of), math.sqrt(0.5)
    _, held = model.watched(at * of, at, at, ("down1", "deepest"))
    expected = [[*(c.mean() for c in one), *(c.std(correction=0) for c in one)] for one in held["down1"]]
    np.testing.assert_allclose(found[:, :64], expected, atol=1e-5)
    assert found.shape == (2, 64 + 128) and asked.name == "activations-told"


def test_controls_are_read_off_the_picture_whatever_the_space() -> None:
    of = np.random.default_rng(0).uniform(0, 1, (5, 8, 6)).astype(np.float32)
    values = of[:, None] * 2 - 1
    expected = np.stack([brightness(values), contrast(values), sharpness(values)], axis=1)
    models = [Model(gaussian_world(shape, dtype=torch.float32).denoiser, Image(8, 6), space) for space, shape in ((Pixels(), (1, 8, 6)), (Haar(), (4, 4, 3)))]
    for model in models:
        np.testing.assert_allclose(dd.Scorer(model, "trivial")(of).values, expected, atol=1e-5)
    one, other = (dd.Scorer(model, "haar-energies")(of).values for model in models)
    np.testing.assert_allclose(one, other, atol=1e-4)
    blocks = values.astype(np.float64).reshape(5, 4, 2, 3, 2)
    a, b, c, d = (blocks[:, :, i, :, j] for i in (0, 1) for j in (0, 1))
    bands = [(a - b + c - d) / 2, (a + b - c - d) / 2, (a - b - c + d) / 2]
    np.testing.assert_allclose(one[:, :3], np.stack([np.log((band**2).mean((1, 2)) + 5e-7) for band in bands], 1), atol=1e-5)
    blind = Model(models[0].denoiser, Image(32, 32), Features(sizes=(32,), grid=4))
    with pytest.raises(InvalidSetting, match="'features' keeps no items"):
        dd.Scorer(blind, "trivial")(np.zeros((1, 32, 32)))


class Counting(Denoiser):
    """Counts questions, and how many of them were for a derivative."""

    def __init__(self, inner: Denoiser) -> None:
        self.inner, self.asked, self.derived = inner, 0, 0

    def __call__(self, x_t: Tensor, alpha: float | Tensor, sigma: float | Tensor) -> Tensor:
        self.asked, self.derived = self.asked + (not x_t.requires_grad), self.derived + x_t.requires_grad
        return self.inner(x_t, alpha, sigma)

    def watched(self, x_t: Tensor, alpha: float | Tensor, sigma: float | Tensor, streams: tuple[str, ...]) -> tuple[Tensor, dict[str, Tensor]]:
        self.asked += 1
        return self.inner.watched(x_t, alpha, sigma, streams)  # type: ignore[return-value]


@pytest.mark.parametrize("name", registry.names("recipes"))
def test_every_recipe_costs_what_it_states(name: str) -> None:
    """Of network evaluations and Jacobian products, each by itself; a vector per item does for what lives in other spaces."""
    asked, counted = recipe(name), Counting(unet() if recipe(name).watches else gaussian_world((4, 4, 4), dtype=torch.float32).denoiser)
    for walk in (one for one in asked.plan if not one.recorded):
        walk(counted, torch.zeros(2, 1, 8, 8) if asked.watches else torch.zeros(2, 4, 4, 4), asked.probes(walk))
    assert (counted.asked, counted.derived) == (asked.cost.evaluations, asked.cost.products)


def test_costs_follow_the_settings() -> None:
    assert eigen(k=2, draws=3, iterations=4).cost.evaluations == 5 * 3 * (1 + 2 * 2 * 4)
    assert zero_shot(told=(0.5, 1.0), trivial=False).cost.evaluations == 3 and zero_shot().cost.evaluations <= 3


@pytest.mark.parametrize("made", [diffpath_v2(window=5), eigen(k=2), zero_shot(told=(0.5, 1.0)), activations(("down0",), 0.1)], ids=lambda r: r.name)
def test_recipes_come_back_from_json(made: Recipe) -> None:
    again = recipe_from(json.loads(json.dumps(made.config())))
    assert again.fingerprint == made.fingerprint and again.watches == made.watches and again.cost == made.cost and again.combine == made.combine


def test_zero_shot_gives_each_stream_and_the_picture_one_voice(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    scorer = dd.Scorer(Model(unet(), Image(8, 8)), zero_shot(("down1", "deepest"), (), (0.5, 1.0)))
    assert len(scorer(rng.uniform(0, 1, (2, 8, 8))).columns) == 2 * (64 + 128) + 3
    detector = dd.Detector(scorer.model, scorer.recipe).fit(rng.uniform(0.3, 0.7, (40, 8, 8)))
    assert detector.calibrated.combiner.to_config() == {"name": "fusion", "settings": {"groups": (64, 128, 64, 128, 3)}, "version": 1}
    new = np.concatenate([rng.uniform(0.3, 0.7, (5, 8, 8)), rng.uniform(0, 1, (2, 8, 8))])
    p = [verdict.p for verdict in detector.judge_all(new)]
    assert max(p[5:]) <= 2 / 41 < np.median(p[:5])
    detector.save(tmp_path / "kept")
    assert [verdict.p for verdict in dd.Detector.load(tmp_path / "kept", "fp32").judge_all(new)] == p


def test_one_noise_for_all_levels() -> None:
    film = Forward(levels.angular([0.1, 1.0]))(gaussian_world((3,)).denoiser, gaussian_world((3,)).ordinary[:2])
    drawn = [(x - a * film.origin) / s for x, a, s in zip(film.x, film.alpha, film.sigma, strict=True)]
    torch.testing.assert_close(drawn[0], drawn[1])


REFUSED = {
    "a variant": (lambda: diffpath_v2("sideways"), InvalidSetting, "got 'sideways'"),
    "an even window": (lambda: diffpath_v2(window=4), InvalidSetting, "window=4"),
    "one step": (lambda: diffpath_v2(steps=1), InvalidSetting, "steps=1"),
    "a truth": (lambda: find("score_error").read(film_of(3), truth="none"), InvalidSetting, "got 'none'"),
    "one level": (lambda: find("score_error").read(film_of(1)), WrongShape, "two levels or more"),
    "no directions": (lambda: TopEigenvalues(0), InvalidSetting, "k=0"),
    "no step": (lambda: TopEigenvalues(step=0.0), InvalidSetting, "step=0"),
    "no octave": (lambda: find("haar_energies").read(film_of(1), levels=0), InvalidSetting, "levels=0"),
    "no streams": (lambda: zero_shot(()), InvalidSetting, "a stream or more"),
    "a level of nothing": (lambda: zero_shot(told=(0.0,)), InvalidSetting, "levels above 0"),
    "no levels": (lambda: zero_shot(noised=()), InvalidSetting, "levels above 0"),
    "a stream twice": (lambda: zero_shot(("deepest", "deepest")), InvalidSetting, "two readings called deepest noised to 0.0821"),
    "a network that is not asked": (lambda: Recipe("bad", (Reading(Unasked(), "activations"),)), InvalidSetting, "its walk asks nothing"),
    "a setting of the probe": (lambda: Recipe("bad", (Reading(Renoise(), "posterior_eigenvalues", {"k": 0}),)).cost, InvalidSetting, "k=0"),
}


def film_of(count: int) -> object:
    world = modes_world(n=2)
    return Clean(levels.angular([0.5] * count))(world.denoiser, world.ordinary)


@pytest.mark.parametrize("case", REFUSED)
def test_what_means_nothing_is_refused_in_words(case: str) -> None:
    come_to_it, kind, words = REFUSED[case]
    with pytest.raises(kind, match=words):
        come_to_it()


def test_the_families_are_one_package() -> None:
    assert {recipe(name).name for name in registry.names("recipes")} >= {"inspection", "diffpath", "zero-shot", "trivial", "mask"}
    assert {one.name for one in vars(recipes).values() if isinstance(one, Recipe)} == set(registry.names("recipes"))
