"""Walks against known truth: in an exact world we know where every path must go."""

from __future__ import annotations

import math

import pytest
import torch

from diffident import levels
from diffident.denoiser import Empirical, GaussianMixture
from diffident.errors import InvalidSetting
from diffident.probes import HutchinsonTrace
from diffident.testing import gaussian_world, modes_world
from diffident.walks import Clean, Encode, Reconstruct, Renoise, Sample, common_noise


def test_encoding_takes_a_gaussian_to_standard_noise() -> None:
    """The probability-flow ODE maps N(0, C) to N(0, I): each item to C^(-1/2) x, known in closed form."""
    world = gaussian_world((2, 3), n=16)
    film = Encode(levels.cosine(1000), clip=False)(world.denoiser, world.ordinary)
    axes, variances = world.denoiser.axes[0], world.denoiser.variances[0]
    expected = (world.ordinary.flatten(1) @ axes / variances.sqrt()) @ axes.T
    torch.testing.assert_close(film.eps[-1].flatten(1), expected, atol=2e-2, rtol=2e-2)


def test_clipping_rederives_the_noise_as_diffpath_does() -> None:
    """A slow literal reading of the published algorithm, item by item."""
    bank = torch.randn(20, 1, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2
    denoiser, grid = Empirical(bank), levels.cosine(10)
    items = bank[:3] + 0.3
    film = Encode(grid)(denoiser, items)
    bars = [a * a for a in grid.alpha] + [0.0]
    for n, item in enumerate(items):
        x = item[None]
        for i in range(10):
            out = (x - math.sqrt(bars[i]) * denoiser(x, math.sqrt(bars[i]), math.sqrt(1 - bars[i]))) / math.sqrt(1 - bars[i])
            x0 = ((x - math.sqrt(1 - bars[i]) * out) / math.sqrt(bars[i])).clamp(-1, 1)
            eps = (x / math.sqrt(bars[i]) - x0) / math.sqrt(1 / bars[i] - 1)
            torch.testing.assert_close(film.eps[i, n], eps[0], atol=1e-9, rtol=1e-9)
            x = math.sqrt(bars[i + 1]) * x0 + math.sqrt(1 - bars[i + 1]) * eps


@pytest.mark.parametrize(
    "sampler",
    [
        Sample("ddim", levels.cosine(200)),
        Sample("ddim", levels.cosine(400), eta=0.5),
        Sample("ddpm", levels.cosine(400)),
        Sample("heun", levels.karras(24, 0.01, 20.0)),
    ],
    ids=["ddim", "half ancestral", "ddpm", "heun"],
)
def test_samples_follow_the_law_of_the_world(sampler: Sample) -> None:
    world = gaussian_world((2, 2), n=2)
    noise = torch.randn(20_000, 2, 2, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    found = torch.cov(sampler(world.denoiser, noise).origin.flatten(1).T)
    torch.testing.assert_close(found, world.denoiser.covariances[0], atol=0.006, rtol=0.0)


def test_heun_is_of_second_order() -> None:
    """Halving the steps quarters the error of heun and halves that of DDIM, against the exact flow of one Gaussian."""
    world = GaussianMixture(torch.zeros(1, 2, dtype=torch.float64), torch.tensor([0.25], dtype=torch.float64))
    noise = torch.ones(1, 2, dtype=torch.float64)

    def error(solver: str, steps: int) -> float:
        """Over the interval from sigma 5 to 0.05, without the last step to the data: there x moves with sqrt(0.25 + sigma^2)."""
        film = Sample(solver, levels.exploding(levels.geometric(0.05, 5.0, steps)))(world, noise)
        start, end = film.x[0, 0, 0], film.x[-1, 0, 0]
        return abs(end - start * math.sqrt((0.25 + 0.05**2) / (0.25 + 25.0))).item()

    assert 3.4 < error("heun", 33) / error("heun", 65) < 4.6
    assert 1.7 < error("ddim", 33) / error("ddim", 65) < 2.3


def test_sampling_then_encoding_comes_back() -> None:
    world = modes_world((2,), n=2)
    noise = torch.randn(8, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    samples = Sample("ddim", levels.cosine(2000))(world.denoiser, noise).origin
    latents = Encode(levels.cosine(2000), clip=False)(world.denoiser, samples).eps[-1]
    torch.testing.assert_close(latents, noise, atol=0.1, rtol=0.05)


def test_renoising_shares_its_noise_among_items_and_repeats_draw_it_anew() -> None:
    world = gaussian_world()
    film = Renoise(levels.angular([0.5]), repeats=2)(world.denoiser, world.ordinary[:3])
    noise = (film.x - film.alpha[0] * film.origin) / film.sigma[0]
    torch.testing.assert_close(noise[:, 0], noise[:, 2])
    assert (noise[0, 0] - noise[1, 0]).abs().max() > 0.1


def test_common_noise_is_the_same_everywhere() -> None:
    """Written down once: a change of this stream would silently change every score ever calibrated."""
    torch.testing.assert_close(common_noise((4,), seed=3, level=2), torch.tensor(FROZEN_NOISE), atol=1e-6, rtol=0)


FROZEN_NOISE = [-0.71147716, -0.67141569, 0.15783253, -0.96939927]


def test_the_noise_of_a_sample_is_its_own() -> None:
    """Not that of its company, and not the noise from which somebody started with the same seed."""
    world = gaussian_world((5,), n=2)
    start = torch.randn(2000, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ancestral = Sample("ddpm", levels.cosine(40))
    together, fewer = ancestral(world.denoiser, start).origin, ancestral(world.denoiser, start[:4]).origin
    torch.testing.assert_close(together[:4], fewer)
    other = ancestral(world.denoiser, torch.randn(2000, 5, generator=torch.Generator().manual_seed(99), dtype=torch.float64)).origin
    assert (together.var() / other.var()).item() == pytest.approx(1, abs=0.05)


def test_a_clean_item_is_shown_without_noise() -> None:
    world = gaussian_world()
    film = Clean()(world.denoiser, world.ordinary[:2])
    torch.testing.assert_close(film.x, film.alpha.reshape(-1, 1, 1, 1, 1) * world.ordinary[:2])


def test_the_score_is_the_gradient_of_the_log_density() -> None:
    world = modes_world((3,), n=5)
    x = world.strange.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(world.denoiser.log_density(x, 0.8, 0.6).sum(), x)
    answer = world.denoiser(x.detach(), 0.8, 0.6)
    torch.testing.assert_close((0.8 * answer - x.detach()) / 0.36, gradient)


def test_the_log_density_integrates_to_one() -> None:
    world = GaussianMixture(
        torch.tensor([[-0.5], [0.7]], dtype=torch.float64), torch.tensor([0.04, 0.09], dtype=torch.float64), torch.tensor([1.0, 3.0], dtype=torch.float64)
    )
    line = torch.linspace(-6, 6, 20_001, dtype=torch.float64)[:, None]
    total = torch.trapezoid(world.log_density(line, 0.8, 0.6).exp(), line[:, 0])
    assert total.item() == pytest.approx(1, abs=1e-9)


def test_the_hutchinson_trace_is_unbiased_and_its_error_falls_with_draws() -> None:
    world = gaussian_world((1, 3, 3), n=2)
    film = Clean(levels.angular([0.5]))(world.denoiser, world.ordinary, [HutchinsonTrace(draws=2000)])
    a, s = film.alpha[0].item(), film.sigma[0].item()
    exact = (a * world.denoiser.variances[0] / (a**2 * world.denoiser.variances[0] + s**2)).sum()
    assert film.columns["trace"][0, 0].item() == pytest.approx(exact.item(), rel=0.02)
    few = Clean(levels.angular([0.5]))(world.denoiser, world.ordinary, [HutchinsonTrace(draws=2)])
    assert abs(few.columns["trace"][0, 0].item() - exact) > abs(film.columns["trace"][0, 0].item() - exact)


def test_a_reconstruction_ends_at_the_data() -> None:
    world = modes_world((4,), n=6)
    film = Reconstruct(start=0.3, steps=6, end=0.02)(world.denoiser, world.ordinary)
    assert (film.denoised[-1] - world.ordinary).abs().max() < 0.5


@pytest.mark.parametrize(
    "make",
    [
        lambda: Sample("euler"),
        lambda: Sample("heun", eta=0.5),
        lambda: Sample(eta=1.5),
        lambda: Renoise(repeats=0),
        lambda: Reconstruct(start=0.1, end=0.5),
        lambda: Sample(grid=levels.cosine(5).reversed()),
        lambda: levels.cosine(0),
        lambda: levels.Levels((1.0,), (0.0,)),
        lambda: levels.Levels((), ()),
        lambda: levels.geometric(1.0, 0.1, 3),
        lambda: HutchinsonTrace(draws=0),
    ],
)
def test_settings_that_mean_nothing_are_refused(make: object) -> None:
    with pytest.raises(InvalidSetting, match="got|levels|once|from|eta"):
        make()
