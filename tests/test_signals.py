"""Signs by which a model recognises its own failed samples, against formulas read slowly in worlds that are known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

import diffident as dd
from diffident import levels
from diffident.denoiser import Denoiser, GaussianMixture
from diffident.errors import InvalidSetting, Unconditional, WrongShape
from diffident.evaluate import realism
from diffident.laplace import FEATURES, LaplaceVariance, travelled
from diffident.modalities.image import Image
from diffident.model import Model
from diffident.networks import MLP
from diffident.precondition import Learned
from diffident.probes import Cost, ExactTrace, GuidanceGap, HutchinsonTrace, Nudge
from diffident.recipes import Reading, Recipe, recipe, recipe_from
from diffident.statistics import find
from diffident.testing import gaussian_world, modes_world
from diffident.trajectory import Trajectory
from diffident.walks import Clean, Compare, Encode, Reconstruct, Renoise, RoundTrip, Sample, Sampled, Turned


def sampled(n: int = 3, steps: int = 12) -> Trajectory:
    """The record of some samples of two modes: levels fall from much noise to little."""
    world = modes_world((2, 3), n=2)
    start = torch.randn(n, 2, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return Sample("ddpm", levels.karras(steps, 0.02, 5.0))(world.denoiser, start)


def looks(film: Trajectory, low: float, high: float) -> list[int]:
    """Of a window, from little noise to much, found one by one."""
    ratio = [(s / a if a else math.inf) for a, s in zip(film.alpha.tolist(), film.sigma.tolist(), strict=True)]
    return sorted((i for i in range(len(film)) if low <= ratio[i] <= high), key=lambda i: ratio[i])


def test_a_window_is_read_from_little_noise_to_much_whichever_way_it_was_walked() -> None:
    film = sampled()
    inside = film.within(0.03, 1.0)
    assert film.sigma[0] > film.sigma[-1] and len(inside) >= 3
    torch.testing.assert_close(inside.sigma, film.sigma[looks(film, 0.03, 1.0)])
    assert torch.equal(inside.x, film.x[looks(film, 0.03, 1.0)]) and inside.origin is film.origin


def test_a_window_holds_two_looks_where_it_would_hold_fewer() -> None:
    """Those nearest as ratios go: of .1, .2, 1, 4 a window about .5 holds none, and .2 and 1 are nearer than .1."""
    world = gaussian_world((2,))
    film = Clean(levels.exploding([0.1, 0.2, 1.0, 4.0]))(world.denoiser, world.ordinary[:2])
    assert film.within(0.45, 0.5).sigma.tolist() == [0.2, 1.0]
    assert film.within(0.1, 0.15).sigma.tolist() == [0.1, 0.2]
    assert film.within(5.0, math.inf).sigma.tolist() == [1.0, 4.0]


def test_a_level_of_nothing_but_noise_lies_above_all_others() -> None:
    world = gaussian_world((2,))
    film = Sample(grid=levels.flow(4))(world.denoiser, world.ordinary[:2])
    assert film.alpha[0] == 0
    assert film.within(0.0, math.inf).alpha[-1] == 0
    assert film.within(1e6, math.inf).alpha[-1] == 0 and len(film.within(1e6, math.inf)) == 2


@pytest.mark.parametrize(("low", "high"), [(0.03, 0.15), (0.15, 0.6), (0.6, 3.0)], ids=str)
def test_signs_of_the_way_are_as_a_slow_reading_says(low: float, high: float) -> None:
    film = sampled()
    at = looks(film, low, high)
    assert len(at) >= 2
    eps = (film.x - film.alpha.reshape(-1, 1, 1, 1) * film.denoised) / film.sigma.reshape(-1, 1, 1, 1)
    for n in range(film.items):
        answers = [film.denoised[i, n] for i in at]
        mean = sum(answers) / len(at)
        settings = {"low": low, "high": high}
        expected = {
            "indecision": sum(((one - mean) ** 2).mean().item() for one in answers) / len(at),
            "clip_fraction": sum((one.abs() > 1).double().mean().item() for one in answers) / len(at),
            "path_energy": sum((eps[i, n] ** 2).mean().item() for i in at) / len(at),
            "secant": sum(
                ((film.denoised[i, n] - film.denoised[j, n]).norm() / (film.x[i, n] / film.alpha[i] - film.x[j, n] / film.alpha[j]).norm()).item()
                for i, j in itertools.pairwise(at)
            )
            / (len(at) - 1),
        }
        found = {name: find(name).numbers(film, settings)[n].item() for name in expected}
        assert found == pytest.approx(expected, rel=1e-9)
        curvature = sum((len(at) * (eps[j, n] - eps[i, n])).sum().item() for i, j in itertools.pairwise(at))
        assert find("path_curvature").numbers(film, {**settings, "powers": (1,)})[n].item() == pytest.approx(curvature, rel=1e-6, abs=1e-9)


def test_the_last_jump_is_that_of_the_least_noise() -> None:
    film = sampled()
    expected = (film.denoised[-1] - film.denoised[-2]).square()
    torch.testing.assert_close(find("last_jump").map(film), expected)
    risen = Encode(levels.angular([0.1, 0.3, 1.0]), clip=False)(modes_world((2, 3)).denoiser, film.origin)
    torch.testing.assert_close(find("last_jump").map(risen), (risen.denoised[0] - risen.denoised[1]).square())


def test_in_one_gaussian_the_secant_is_its_gain() -> None:
    """E[x0 | y] = v / (v + s^2) y: at nearly one level the answer follows by just that share."""
    world = GaussianMixture(torch.zeros(1, 4, dtype=torch.float64), torch.tensor([0.25], dtype=torch.float64))
    film = Sample("ddpm", levels.exploding([0.4999, 0.5, 0.5001, 9.0]))(world, torch.randn(3, 4, dtype=torch.float64))
    torch.testing.assert_close(find("secant")(film, {"low": 0.49, "high": 0.51}), torch.full((3,), 0.5, dtype=torch.float64), atol=2e-2, rtol=0)


def test_the_guidance_gap_is_what_the_condition_adds() -> None:
    """Of two modes at -1 and 1 seen from between the answer is 0, that of the first alone v / (v + s^2) of the way from it."""
    modes = GaussianMixture(torch.tensor([[-1.0], [1.0]]), torch.tensor([0.01, 0.01]))
    film = Clean(levels.exploding([0.1, 0.15]))(modes, torch.zeros(1, 1), [GuidanceGap(0)])
    alone = [-1 + 0.01 / (0.01 + s * s) for s in (0.1, 0.15)]
    torch.testing.assert_close(film.columns["guidance gap"][:, 0], torch.tensor(alone).abs(), atol=1e-5, rtol=0)
    assert find("guidance_gap")(film).item() == pytest.approx(-sum(alone) / 2, abs=1e-5)
    with pytest.raises(Unconditional, match="0 to 1"):
        Clean()(modes, torch.zeros(1, 1), [GuidanceGap(7)])


def test_activations_on_a_coarse_grid_are_means_of_its_cells() -> None:
    held = torch.arange(2 * 1 * 3 * 4 * 7, dtype=torch.float64).reshape(1, 2, 3, 4, 7)
    film = Clean(levels.angular([0.2]))(gaussian_world((3, 4, 7)).denoiser, torch.zeros(2, 3, 4, 7, dtype=torch.float64))
    film = Trajectory(film.alpha, film.sigma, film.x, film.denoised, film.origin, {"activations finest": held}, None)
    found = find("activations")(film, {"stream": "finest", "cells": 2})
    assert found.shape == (2, 3 * 4)
    corners = [held[0, :, :, rows, columns].mean((2, 3)) for rows in (slice(0, 2), slice(2, 4)) for columns in (slice(0, 4), slice(3, 7))]
    torch.testing.assert_close(found.reshape(2, 3, 4), torch.stack(corners, dim=2))


def model() -> Model:
    return Model(gaussian_world((1, 8, 8), dtype=torch.float32).denoiser, Image(8, 8))


def test_readings_of_the_way_cost_nothing_and_those_of_the_finished_sample_two_evaluations() -> None:
    assert recipe("introspection-path").cost == Cost() and recipe("introspection").cost == Cost(2)
    film = sampled()
    values = recipe("introspection-path").read({Sampled(): film})
    assert values.shape == (3, len(recipe("introspection-path").readings)) and torch.isfinite(values).all()


@pytest.mark.parametrize("name", ["introspection", "introspection-path"])
def test_what_reads_how_a_sample_came_about_says_nothing_of_items_given(name: str) -> None:
    assert recipe(name).introspects and not recipe("reconstruction").introspects
    with pytest.raises(InvalidSetting, match=r"off the record of how a sample came about, and items that are given have none.*diffident\.Guard"):
        dd.Scorer(model(), name)
    again = recipe_from(recipe(name).config())
    assert again.introspects and again.fingerprint == recipe(name).fingerprint


def test_learning_refuses_such_a_recipe_before_the_work() -> None:
    with pytest.raises(InvalidSetting, match=r"'introspection' reads .*diffident\.Guard"):
        dd.train("no-such-folder", "introspection")


def between(level: float, exact: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    """Posterior spread at one told level of good samples of four modes on a line, and of failures beyond six deviations from all of them."""
    modes = GaussianMixture(torch.tensor([[1.0], [2.0], [4.0], [5.0]], dtype=torch.float64), torch.full((4,), 0.05**2, dtype=torch.float64))
    good = torch.cat([mode + 0.05 * torch.linspace(-3, 3, 61, dtype=torch.float64) for mode in (1, 2, 4, 5)])[:, None]
    failed = torch.cat([torch.linspace(low + 0.3, high - 0.3, 41, dtype=torch.float64) for low, high in ((1, 2), (2, 4), (4, 5))])[:, None]
    settings = {"elements": 1} if exact else {}
    read = find("posterior_spread")
    found = [read(Clean(levels.exploding([level]))(modes, items, read.asked(settings)), settings)[:, 0] for items in (good, failed)]
    return found[0], found[1]


@pytest.mark.parametrize("level", [0.05, 0.07, 0.1, 0.14, 0.2])
def test_failures_between_modes_spread_further_than_every_good_sample(level: float) -> None:
    good, failed = between(level)
    assert failed.min() > good.max()


def test_neither_half_of_the_spread_suffices() -> None:
    """At the middle of two modes nothing moves, and near one of them nothing is unsure."""
    modes = GaussianMixture(torch.tensor([[-1.0], [1.0]], dtype=torch.float64), torch.full((2,), 0.0025, dtype=torch.float64))
    items = torch.tensor([[0.0], [0.5], [1.1]], dtype=torch.float64)  # two failures and a good sample at two deviations
    film = Clean(levels.exploding([0.2]))(modes, items, [ExactTrace(1)])
    moved, trace = (film.denoised - items).square().flatten(), film.columns["exact trace"][0]
    assert moved[0] < 1e-9 < moved[2] and trace[1] == pytest.approx(trace[2].item(), rel=1e-3)
    spread = find("posterior_spread")(film, {"elements": 1})[:, 0]
    assert spread[:2].min() > 10 * spread[2]


@pytest.mark.parametrize("levels_asked", [levels.exploding([0.1, 0.7]), levels.angular([0.1, 0.7])], ids=["exploding", "preserving"])
def test_the_spread_is_the_mean_squared_distance_to_what_may_be_true(levels_asked: levels.Levels) -> None:
    """In one Gaussian all is known: variance v shrinks to v s^2 / (v + s^2), and the mean to v / (v + s^2) of y, in every direction."""
    world = gaussian_world((3,), n=2)
    axes, variances = world.denoiser.axes[0], world.denoiser.variances[0]
    film = Clean(levels_asked)(world.denoiser, world.ordinary[:4], [ExactTrace(3), HutchinsonTrace(8)])
    along = world.ordinary[:4].flatten(1) @ axes
    for i, s in enumerate((0.1, 0.7)):
        left = s**2 / (variances + s**2)
        expected = ((left * along).square() + variances * left).sum(1)
        torch.testing.assert_close(find("posterior_spread")(film, {"elements": 3})[:, i], expected / 3, rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(find("intrinsic_dimension")(film, {"elements": 3})[:, i], expected / s**2, rtol=1e-6, atol=1e-9)


def test_signs_and_elements_agree_on_the_trace() -> None:
    world = modes_world((2, 2), n=4)
    film = Clean(levels.angular([0.4]))(world.denoiser, world.strange[:4], [ExactTrace(4), HutchinsonTrace(2000)])
    torch.testing.assert_close(film.columns["trace"], film.columns["exact trace"], rtol=0.1, atol=0.05)


@pytest.mark.parametrize("ratio", [0.2, 1.0])
def test_in_one_gaussian_the_roughness_is_what_noise_takes(ratio: float) -> None:
    world = GaussianMixture(torch.zeros(1, 4, dtype=torch.float64), torch.tensor([0.09], dtype=torch.float64))
    film = Clean(levels.angular([ratio]))(world, world.draw(3), [Nudge()])
    expected = ratio**2 / (0.09 + ratio**2)
    torch.testing.assert_close(find("score_roughness")(film), torch.full((3, 1), expected, dtype=torch.float64), rtol=1e-6, atol=0)


def test_a_round_trip_comes_home_where_the_flow_is_smooth_and_not_between_modes() -> None:
    """In one Gaussian steps up and down the same levels undo each other ever better; its first answer is exact: the last one of the way down."""
    world = gaussian_world((2,))
    errors = [find("residual").numbers(RoundTrip(1.0, steps, 0.02)(world.denoiser, world.ordinary[:8]), {"last": True}).mean().item() for steps in (4, 64)]
    film = RoundTrip(1.0, 4, 0.02)(world.denoiser, world.ordinary[:8])
    assert len(film) == 7 == RoundTrip(1.0, 4, 0.02).evaluations and film.sigma[3] == film.sigma.max()
    assert errors[1] < 0.1 * errors[0]
    modes = modes_world((2,))
    good, failed = (find("residual").numbers(RoundTrip()(modes.denoiser, items), {"last": True}) for items in (modes.ordinary, modes.strange))
    assert failed.median() > 5 * good.median()


def test_disagreement_is_the_variance_among_repeats() -> None:
    world = modes_world((2, 3))
    film = Renoise(levels.angular([0.3, 1.0]), repeats=3)(world.denoiser, world.strange[:4])
    expected = (film.denoised[:3].var(0) + film.denoised[3:].var(0)) / 2
    torch.testing.assert_close(find("disagreement").map(film), expected)


def test_what_does_not_mind_being_turned_agrees_with_itself_and_what_does_is_seen_where_it_does() -> None:
    """A denoiser that treats all places alike answers turned items with turned answers; one with modes of its own at every place does not."""
    alike = GaussianMixture(torch.zeros(1, 1, 4, 5, dtype=torch.float64), torch.tensor([0.3], dtype=torch.float64))
    items = alike.draw(3, seed=2)
    assert find("disagreement").map(Turned()(alike, items)).abs().max() < 1e-20
    pattern = torch.zeros(1, 1, 4, 5, dtype=torch.float64)
    pattern[0, 0, 1, 0] = 1.0
    of_place = GaussianMixture(pattern, torch.tensor([0.3], dtype=torch.float64))
    found = find("disagreement").map(Turned()(of_place, items))
    assert found[:, 0, 1, 0].min() > 0 and found[:, 0, 3, 2].max() < 1e-20
    gain = 0.04 / (0.3 + 0.04)  # of the pattern, at told .2; of its four views one finds it where it is
    assert found[0, 0, 1, 0].item() == pytest.approx(gain**2 / 4, rel=1e-6)


def test_realism_is_as_a_slow_reading_says() -> None:
    rng = np.random.default_rng(0)
    known, items = rng.normal(size=(15, 2, 3)), 2 * rng.normal(size=(6, 2, 3))
    flat = known.reshape(15, 6)
    reach = [sorted(np.linalg.norm(flat - one, axis=1))[3] for one in flat]
    kept = sorted(range(15), key=lambda i: reach[i])[:8]
    expected = [max(reach[i] / np.linalg.norm(flat[i] - item.ravel()) for i in kept) for item in items]
    np.testing.assert_allclose(realism(known, items, 3), expected)
    assert realism(known, known[kept[:1]], 3)[0] == np.inf
    with pytest.raises(InvalidSetting, match="neighbour 15 among the 14 others"):
        realism(known, items, 15)
    with pytest.raises(WrongShape, match="samples of 2 elements"):
        realism(known, items[:, :, 0], 3)


def learned() -> Learned:
    net = MLP((4,), width=32, blocks=1)
    return Learned(net, torch.zeros(4), torch.ones(4), "fp32").untrained(3)


def test_the_last_layer_leaves_open_what_bayesian_regression_leaves_open() -> None:
    """Where features do not correlate the diagonal is exact: here made of one feature at a time, against the inverse of the full precision."""
    fisher = torch.tensor([3.0, 0.0, 8.0], dtype=torch.float64)
    data = torch.cat([torch.eye(3)[[0] * 3], torch.eye(3)[[2] * 8]]).double()
    full = torch.linalg.inv(torch.eye(3, dtype=torch.float64) * 0.5 + data.T @ data)
    phi = torch.tensor([[1.0, 2.0, -3.0]], dtype=torch.float64)
    torch.testing.assert_close(LaplaceVariance(fisher, 0.5).of(phi), torch.einsum("ni,ij,nj->n", phi, full, phi))


def test_the_fisher_information_is_a_sum_over_items() -> None:
    model, items = learned(), torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    once = LaplaceVariance.fit(model, items, levels.angular([0.3, 1.0]), chunk=4)
    twice = LaplaceVariance.fit(model, torch.cat([items, items]), levels.angular([0.3, 1.0]))
    torch.testing.assert_close(twice.fisher, 2 * once.fisher, rtol=1e-5, atol=0)
    film = Clean(levels.angular([0.3]))(model, items, [FEATURES])
    held = torch.nn.functional.silu(film.columns["activations finest"][0].double())
    torch.testing.assert_close(once(film)[:, 0], (held.square() / (1 + once.fisher)).sum(1), rtol=1e-5, atol=0)
    assert (twice(film) < once(film)).all()


def test_uncertainty_travels_as_monte_carlo_says() -> None:
    """eps(x) = c x + w with w drawn anew at every level: a linear world, in which the recursion is exact."""
    down, start, c, gamma = levels.angular([2.0, 1.0, 0.5, 0.2]), torch.full((1, 1), 0.7, dtype=torch.float64), 0.8, 0.3
    mean, variance = travelled(lambda x, alpha, sigma: (c * x, torch.full_like(x, gamma**2)), down, start, draws=4)
    generator = torch.Generator().manual_seed(1)
    x = start.expand(200_000, 1)
    for (alpha, sigma), (alpha_next, sigma_next) in itertools.pairwise([*down, (1.0, 0.0)]):
        eps = c * x + gamma * torch.randn(x.shape, generator=generator, dtype=torch.float64)
        x = alpha_next * (x - sigma * eps) / alpha + sigma_next * eps
    assert mean.item() == pytest.approx(x.mean().item(), abs=0.01)
    assert variance.item() == pytest.approx(x.var().item(), rel=0.02)


class Never(Denoiser):
    def __call__(self, x_t: torch.Tensor, alpha: object, sigma: object) -> torch.Tensor:
        raise RuntimeError("nobody was to ask")


REFUSED = {
    "a walk": (lambda: Sampled()(Never(), torch.zeros(5, 1)), InvalidSetting, "was given 5 items to walk, and it asks nothing"),
    "its levels": (lambda: Sampled().levels, InvalidSetting, "read them off its record"),
    "a comparison": (lambda: Compare(Sampled()), InvalidSetting, "a walk about items that are given"),
    "a probe": (lambda: Recipe("bad", (Reading(Sampled(), "posterior_variance"),)), InvalidSetting, "asks for trace, which no record"),
    "a network": (lambda: Recipe("bad", (Reading(Sampled(), "activations"),)), InvalidSetting, "its walk asks nothing"),
    "a window upside down": (lambda: find("indecision")(sampled(), {"low": 0.5, "high": 0.1}), InvalidSetting, "low=0.5, high=0.1"),
    "a single look": (lambda: sampled(steps=1).within(0.0, 1.0), WrongShape, "this record has one"),
    "too many elements": (lambda: ExactTrace(65), InvalidSetting, "1 to 64 elements; got 65"),
    "other elements": (lambda: Clean()(modes_world((3,)).denoiser, torch.zeros(1, 3), [ExactTrace(4)]), WrongShape, "of 4 elements, and these have 3"),
    "no nudge": (lambda: Nudge(0.0), InvalidSetting, "rho=0"),
    "no shift": (lambda: Turned(shift=0), InvalidSetting, "shift=0"),
    "a trip that goes nowhere": (lambda: RoundTrip(0.1, 3, 0.2), InvalidSetting, "start=0.1, end=0.2"),
    "no prior": (lambda: LaplaceVariance(torch.ones(2), 0.0), InvalidSetting, "above 0; got 0"),
    "no items": (lambda: LaplaceVariance.fit(learned(), torch.zeros(0, 4), levels.angular([1.0])), InvalidSetting, "got none"),
    "other features": (lambda: LaplaceVariance(torch.ones(2)).of(torch.ones(1, 3)), WrongShape, "from 2 features, and these are 3"),
    "odd draws": (lambda: travelled(lambda x, a, s: (x, x), levels.angular([1.0]), torch.zeros(1, 1), 3), InvalidSetting, "draws=3"),
    "no cells": (lambda: find("activations")(sampled(), {"cells": 0}), InvalidSetting, "cells=0"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_means_nothing_is_refused_in_words(case: str) -> None:
    come_to_it, kind, words = REFUSED[case]
    with pytest.raises(kind, match=words):
        come_to_it()


def test_a_recorded_gap_may_be_read_off_the_way() -> None:
    asked = Recipe("guided", (Reading(Sampled(), "guidance_gap"),))
    assert asked.cost == Cost() and Compare(Reconstruct()).recorded is False
