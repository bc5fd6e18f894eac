"""Signs by which a model recognises its own failed samples, against formulas read slowly in worlds that are known."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

import diffident as dd
from diffident import levels
from diffident.denoiser import Denoiser, GaussianMixture
from diffident.errors import InvalidSetting, Unconditional, WrongShape
from diffident.modalities.image import Image
from diffident.model import Model
from diffident.probes import Cost, GuidanceGap
from diffident.recipes import Reading, Recipe, recipe, recipe_from
from diffident.statistics import find
from diffident.testing import gaussian_world, modes_world
from diffident.trajectory import Trajectory
from diffident.walks import Clean, Compare, Encode, Reconstruct, Sample, Sampled


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
