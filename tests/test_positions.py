"""Gaussians at positions answer as exact ones do, an item's bits are its own, and what PaDiM and PCA measure is read off them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import diffident as dd
from diffident.denoiser import GaussianMixture
from diffident.errors import InvalidSetting, TooFewItems, WrongShape
from diffident.positions import Positions


def drawn(n: int, *shape: int, seed: int = 0) -> torch.Tensor:
    """Items whose channels are correlated, differently at each position."""
    made = torch.Generator().manual_seed(seed)
    items = torch.randn(n, *shape, generator=made)
    return items + 0.7 * items.roll(1, dims=1) * torch.linspace(0.2, 2, shape[-1]) + torch.linspace(-1, 1, shape[0]).reshape(-1, *[1] * (len(shape) - 1))


@pytest.mark.parametrize(("alpha", "sigma"), [(1.0, 0.3), (0.8, 0.6), (0.1, 1.0)])
def test_at_one_position_it_is_the_gaussian_of_the_same_mean_and_covariance(alpha: float, sigma: float) -> None:
    items = drawn(300, 6, 1)
    known = items[..., 0].double()
    covariance = torch.cov(known.T, correction=0).float()[None]
    exact = GaussianMixture(known.mean(0).float()[None], covariance)
    asked = drawn(20, 6, 1, seed=1)
    answers = Positions.fitted(items, rank=6, shrinkage=0.0)(asked, alpha, sigma)
    # axes are kept in half precision: a part in a thousand of an answer of about 3
    torch.testing.assert_close(answers[..., 0], exact(asked[..., 0], alpha, sigma), rtol=1e-3, atol=3e-3)


def test_the_residual_is_the_sum_over_axes_that_its_page_gives() -> None:
    items, sigma = drawn(200, 5, 3, 2), 0.4
    denoiser, asked = Positions.fitted(items, rank=5), drawn(7, 5, 3, 2, seed=2)
    residual = (asked - denoiser(asked, 1.0, sigma)).square().sum(1).flatten(1)
    along = torch.einsum("pkd,npd->npk", denoiser.axes[0].float(), (asked - denoiser.means).flatten(2).transpose(1, 2))
    expected = ((sigma**2 / (denoiser.variances[0] + sigma**2)).square() * along.square()).sum(2)
    torch.testing.assert_close(residual, expected, rtol=5e-3, atol=1e-4)


def test_groups_are_independent_of_each_other() -> None:
    items = drawn(100, 8, 4)
    parted, asked = Positions.fitted(items, groups=2), drawn(3, 8, 4, seed=3)
    moved = torch.cat([asked[:, :4], asked[:, 4:] + 5], dim=1)
    torch.testing.assert_close(parted(asked, 1.0, 0.5)[:, :4], parted(moved, 1.0, 0.5)[:, :4], rtol=0, atol=0)
    alone = Positions.fitted(items[:, :4])
    torch.testing.assert_close(parted(asked, 1.0, 0.5)[:, :4], alone(asked[:, :4], 1.0, 0.5), rtol=1e-4, atol=1e-4)


def test_directions_beyond_the_rank_share_their_mean_variance() -> None:
    items = drawn(400, 6, 1)
    few, all_of_them = Positions.fitted(items, rank=2, shrinkage=0.0), Positions.fitted(items, rank=6, shrinkage=0.0)
    torch.testing.assert_close(few.rest[0, 0], all_of_them.variances[0, 0, 2:].mean(), rtol=1e-4, atol=0)
    torch.testing.assert_close(few.variances, all_of_them.variances[..., :2], rtol=1e-4, atol=0)


def test_whole_items_have_a_gaussian_of_few_axes_and_what_these_leave_over_is_strange() -> None:
    rng = np.random.default_rng(0)
    shapes = rng.normal(size=(3, 144))
    good = (0.5 + 0.05 * rng.normal(size=(80, 3)) @ shapes).clip(0, 1).reshape(80, 12, 12)
    model = dd.train(good[:50], network="pca")
    assert isinstance(model.denoiser, Positions) and model.denoiser.axes.shape[:2] == (1, 1)
    found = dd.Detector(model, dd.Recipe("clean", dd.recipes.RECONSTRUCTION.readings, combine="ranks")).fit(good[50:79])
    strange = good[79].copy()
    strange[3:6, 3:6] = 1 - strange[3:6, 3:6].round()
    assert found(strange).p == 1 / 30 and found(good[79]).p > 1 / 30


@pytest.mark.parametrize("shape", [(5, 3, 3), (7, 13), (3, 5, 7)], ids=str)
def test_an_item_is_answered_alike_anywhere_in_a_chunk(shape: tuple[int, ...]) -> None:
    denoiser, chunk = Positions.fitted(drawn(60, *shape), rank=3), drawn(32, *shape, seed=4)
    answers, order = denoiser(chunk, 1.0, 0.3), torch.randperm(32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(denoiser(chunk[order], 1.0, 0.3), answers[order])
    others = torch.cat([chunk[:1], 100 * drawn(31, *shape, seed=5)])
    assert torch.equal(denoiser(others, 1.0, 0.3)[:1], answers[:1])


def test_levels_may_be_one_for_each_item() -> None:
    denoiser, asked = Positions.fitted(drawn(60, 4, 5)), drawn(3, 4, 5, seed=6)
    each = denoiser(asked, torch.tensor([1.0, 0.9, 0.5]), torch.tensor([0.1, 0.4, 0.9]))
    for i, (alpha, sigma) in enumerate([(1.0, 0.1), (0.9, 0.4), (0.5, 0.9)]):
        torch.testing.assert_close(each[i : i + 1], denoiser(asked[i : i + 1], alpha, sigma))


def test_axes_in_half_precision_move_an_answer_by_a_thousandth_at_most() -> None:
    items = drawn(150, 24, 6)
    half, asked = Positions.fitted(items, rank=8), drawn(20, 24, 6, seed=7)
    assert half.axes.dtype == torch.float16
    whole = Positions(half.means, _exact_axes(items, 8), half.variances, half.rest)
    off = (half(asked, 1.0, 0.3) - whole(asked, 1.0, 0.3)).norm() / (whole(asked, 1.0, 0.3) - half.means).norm()
    assert 0 < off < 1e-3


def _exact_axes(items: torch.Tensor, rank: int) -> torch.Tensor:
    off = (items - items.double().mean(0).float()).permute(2, 0, 1)
    covariances = off.transpose(1, 2) @ off / len(items)
    _, vectors = torch.linalg.eigh(0.9 * covariances + 0.1 * covariances.mean(0))
    return vectors.flip(2).transpose(1, 2)[None, :, :rank].contiguous()


@pytest.mark.parametrize("network", ["positions", "pca"])
def test_a_folder_gives_back_every_bit(network: str, tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).uniform(0.3, 0.7, (40, 6, 6))
    model = dd.train(pictures, network=network)
    dd.save(model, tmp_path / "m")
    again = dd.load(tmp_path / "m")
    assert again.fingerprint == model.fingerprint
    assert np.array_equal(dd.Scorer(again, "reconstruction")(pictures[:5]).values, dd.Scorer(model, "reconstruction")(pictures[:5]).values)


def test_the_control_has_as_many_axes_and_knows_nothing_of_places() -> None:
    denoiser = Positions.fitted(drawn(60, 8, 5), rank=3)
    control = denoiser.untrained(1)
    assert control.axes.shape == denoiser.axes.shape and torch.equal(control.untrained(1).axes, denoiser.untrained(1).axes)
    assert (control.means == control.means[:, :1]).all() and not torch.equal(control.means, denoiser.untrained(2).means)


def test_what_does_not_fit_is_refused() -> None:
    items = drawn(20, 6, 3)
    fitted = Positions.fitted(items)
    with pytest.raises(WrongShape, match="got 20 items and 6 channels in 4 groups"):
        Positions.fitted(items, groups=4)
    with pytest.raises(WrongShape, match="two items or more"):
        Positions.fitted(items[:1])
    for wrong in ({"rank": 0}, {"shrinkage": 1.5}):
        with pytest.raises(InvalidSetting, match="keeps 1 axis or more and shrinks by 0 to 1"):
            Positions.fitted(items, **wrong)
    with pytest.raises(WrongShape, match="Gaussians at"):
        Positions(fitted.means[:5], fitted.axes, fitted.variances, fitted.rest)
    with pytest.raises(TooFewItems, match="1 readable item"):
        dd.train(np.full((1, 8, 8), 0.5), network="positions")


def test_items_that_never_differ_leave_no_division_by_nothing() -> None:
    same = Positions.fitted(torch.ones(5, 3, 4))
    assert same(2 * torch.ones(2, 3, 4), 1.0, 0.5).isfinite().all()
    assert replace(dd.train(np.full((2, 8, 8), 0.5) + np.arange(2)[:, None, None] / 10, network="positions"), name="two").denoiser.rest.isfinite().all()
