"""Generators: a sample depends on its request and seed alone, hopeless ones are given up, items are filled in and started from."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
import torch

import diffident as dd
from diffident import levels
from diffident.errors import InvalidSetting, UnknownKind
from diffident.generators import Attempt, Watch
from diffident.generators.own import OwnGenerator
from diffident.requests import Request, requests, seeds_of
from diffident.walks import Sample

GOOD = np.random.default_rng(0).uniform(0.3, 0.7, (60, 8, 8))


@pytest.fixture(scope="module")
def model() -> dd.Model:
    return dd.train(GOOD, network="none")


def by_index(attempts: list[Attempt]) -> dict[int, Attempt]:
    return {one.index: one for one in attempts}


def seeds(n: int) -> list[int]:
    return [seeds_of(0, i, 1)[0] for i in range(n)]


@pytest.mark.parametrize("solver", ["ddim", "ddpm", "heun"])
def test_a_sample_is_the_same_alone_and_in_any_company(model: dd.Model, solver: str) -> None:
    by = OwnGenerator(model, Sample(solver, levels.cosine(6)))
    many = by_index(list(by.attempts(requests(n=40), seeds(40))))
    alone = next(iter(by.attempts(requests(n=1), seeds(40)[37:38])))
    assert sorted(many) == list(range(40))
    assert (alone.output == many[37].output).all()
    assert torch.equal(alone.film.x, many[37].film.x)


def test_samples_are_the_same_to_the_bit_when_others_were_given_up_half_way(model: dd.Model) -> None:
    by, third = OwnGenerator(model, Sample("ddpm", levels.cosine(8))), np.arange(70) % 3 == 0
    whole = by_index(list(by.attempts(requests(n=70), seeds(70))))
    left = iter(np.split(third, [32, 64]))
    some = by_index(list(by.attempts(requests(n=70), seeds(70), Watch(0.5, lambda film: next(left)))))
    assert [some[i].abandoned for i in range(70)] == third.tolist()
    assert all((some[i].output == whole[i].output).all() for i in np.flatnonzero(~third))
    assert all(some[i].output is None and len(some[i].film) == 4 for i in np.flatnonzero(third))


def test_evaluations_are_saved_by_giving_up(model: dd.Model) -> None:
    class Counted(type(model.denoiser)):  # type: ignore[misc]
        asked = 0

        def __call__(self, x_t, alpha, sigma):  # type: ignore[no-untyped-def]
            Counted.asked += 1
            return super().__call__(x_t, alpha, sigma)

    from dataclasses import replace

    counted = Counted(model.denoiser.items)  # type: ignore[attr-defined]
    by = OwnGenerator(replace(model, denoiser=counted), Sample("ddim", levels.cosine(8)))
    list(by.attempts(requests(n=64), seeds(64), Watch(0.25, lambda film: np.arange(film.items) % 2 == 0)))
    assert Counted.asked == 2 * 2 + 6  # two chunks take two looks; those left make one chunk, which takes the other six


def test_a_film_is_the_record_of_its_sample(model: dd.Model) -> None:
    one = next(iter(OwnGenerator(model, Sample("ddim", levels.cosine(6))).attempts(requests(n=1), [5])))
    assert len(one.film) == 6
    assert torch.equal(one.film.origin, one.film.denoised[-1])
    assert (np.diff((one.film.sigma / one.film.alpha).numpy()) < 0).all()
    assert np.allclose(one.output, one.film.origin[0].numpy())


def test_what_is_known_stays_and_the_rest_is_filled_in(model: dd.Model) -> None:
    item = GOOD[3]
    made = np.zeros((8, 8), dtype=bool)
    made[:3] = True
    by = OwnGenerator(model, Sample("ddim", levels.cosine(12)))
    filled = [one.output[0] for one in by.attempts([Request(item=item, made=made), Request()], [1, 1])]
    known = 2 * item - 1
    assert np.abs(filled[0][3:] - known[3:]).max() < 1e-5
    assert np.abs(filled[0] - known).max() < 0.02  # the only item of the model that agrees with what is known
    assert np.abs(filled[1] - known).max() > 0.1


def test_a_sample_started_from_an_item_keeps_more_of_it_the_fainter_the_noise(model: dd.Model) -> None:
    by = OwnGenerator(model, Sample("ddim", levels.cosine(20)))
    other = np.random.default_rng(9).uniform(0.3, 0.7, (8, 8))
    made = by_index(list(by.attempts([Request(item=other, strength=s) for s in (0.1, 20.0)], [1, 1])))
    apart = [float(np.abs(made[i].output[0] - (2 * other - 1)).mean()) for i in range(2)]
    near = min(np.abs(2 * GOOD - 2 * other).mean(axis=(1, 2)))
    assert apart[0] < 1.05 * near < apart[1] + 1e-6
    assert len(made[0].film) < len(made[1].film)


def test_seeds_of_attempts_differ_and_requests_are_drawn_alike() -> None:
    assert len({one for i in range(50) for one in seeds_of(3, i, 4)}) == 200
    drawn = [one.label for one in requests(["a", "b"], 400, seed=1)]
    assert 160 < drawn.count("a") < 240
    assert drawn == [one.label for one in requests(["a", "b"], 400, seed=1)]


def test_what_is_made_is_a_picture(model: dd.Model) -> None:
    by = OwnGenerator(model, Sample("ddim", levels.cosine(4)))
    one = next(iter(by.attempts(requests(n=1), [5])))
    assert isinstance(by.handed(one.output), PIL.Image.Image)
    assert by.picture(one.output).size == (8, 8)


def test_two_samplers_are_two_generators_and_two_seeds_of_a_sampler_are_one(model: dd.Model) -> None:
    four, five, seeded = (
        OwnGenerator(model, one).fingerprint for one in (Sample(grid=levels.cosine(4)), Sample(grid=levels.cosine(5)), Sample(grid=levels.cosine(4), seed=7))
    )
    assert four == seeded != five


def test_what_cannot_be_served_is_refused_before_anything_is_made(model: dd.Model) -> None:
    by = OwnGenerator(model, Sample("ddim", levels.cosine(4)))
    with pytest.raises(UnknownKind, match="tells no kinds apart"):
        list(by.attempts([Request("a cat")], [1]))
    with pytest.raises(InvalidSetting, match=r"made \(8, 8\)"):
        list(by.attempts([Request(item=GOOD[0], made=np.ones((4, 4), bool))], [1]))
    with pytest.raises(InvalidSetting, match="as faint as a strength of 1e-09"):
        list(by.attempts([Request(item=GOOD[0], strength=1e-9)], [1]))
    with pytest.raises(InvalidSetting, match="one of the two"):
        Request(item=GOOD[0])
    with pytest.raises(InvalidSetting, match="strength is sigma / alpha"):
        Request(item=GOOD[0], strength=-1.0)
    with pytest.raises(InvalidSetting, match="nothing is asked for"):
        requests([])


def test_models_that_see_items_otherwise_make_none() -> None:
    from diffident.spaces.features import Features

    model = dd.train(np.random.default_rng(0).uniform(0.3, 0.7, (40, 32, 32)), "inspection")
    assert isinstance(model.space, Features)
    with pytest.raises(InvalidSetting, match="gives items back"):
        OwnGenerator(model, Sample())
