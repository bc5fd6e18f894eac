"""The scaling about the network: without it the answer is the Gaussian's, with it a gradient flows and every bit is kept."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor

from diffident import noise
from diffident.denoiser import GaussianMixture
from diffident.errors import DiffidentError
from diffident.networks import network
from diffident.precondition import LEAST, LOUDEST, Learned, measured, ratios
from diffident.probes import HutchinsonTrace
from diffident.testing import checks
from diffident.trajectory import Look
from diffident.walks import Clean

UNET = {"channels": 2, "widths": [32, 32], "blocks": 1, "patch": 1}
SHAPE = (2, 6, 5)
MEANS, DEVIATIONS = torch.tensor([0.3, -0.2]), torch.tensor([0.5, 0.1])
LEVELS = [(1.0, 0.01), (0.9, 0.3), (0.5, 0.5), (0.1, 0.99), (1.0, 20.0), (0.0, 1.0)]


def fresh(precision: str = "fp32") -> Learned:
    """Nothing learned: the network adds nothing."""
    torch.manual_seed(0)
    return Learned(network("unet", UNET), MEANS[:, None, None], DEVIATIONS[:, None, None], precision)


def speaking(seed: int = 0) -> Learned:
    """A network that adds something, of random weights."""
    return fresh().untrained(seed)


def channels(count: int = 6) -> Tensor:
    """Items of independent Gaussian elements, each channel with its mean and deviation."""
    return MEANS[:, None, None] + DEVIATIONS[:, None, None] * noise.normal((count, *SHAPE), "test items")


@pytest.mark.parametrize("alpha, sigma", LEVELS)
def test_without_a_network_the_answer_is_the_exact_one_for_independent_elements(alpha: float, sigma: float) -> None:
    each = torch.ones(SHAPE) * DEVIATIONS[:, None, None].square()
    exact = GaussianMixture((torch.ones(SHAPE) * MEANS[:, None, None])[None], torch.diag(each.flatten())[None])
    x = alpha * channels() + sigma * noise.normal((6, *SHAPE), "test noise")
    assert torch.allclose(fresh()(x, alpha, sigma), exact(x, alpha, sigma), atol=1e-4)


def test_the_loss_of_a_fresh_network_on_a_gaussian_is_one() -> None:
    items = channels(400)
    loss = fresh().loss(items, noise.normal(tuple(items.shape), "loss"), ratios(torch.linspace(0.01, 0.99, 400)))
    assert loss.mean().item() == pytest.approx(1, abs=0.03) and (loss > 0).all()


def test_the_target_has_unit_variance_at_every_level() -> None:
    items = channels(200)
    for ratio in (0.01, 0.1, 1.0, 10.0):
        assert fresh().loss(items, noise.normal(tuple(items.shape), "loss"), torch.full((200,), ratio)).mean().item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("alpha, sigma", LEVELS)
def test_answers_are_finite_and_single_precision_at_every_level(alpha: float, sigma: float) -> None:
    answer = speaking()(channels(), alpha, sigma)
    assert torch.isfinite(answer).all() and answer.dtype == torch.float32


def test_where_all_is_noise_the_mean_is_answered_and_the_network_is_not_heard() -> None:
    x, loud = noise.normal((3, *SHAPE), "test noise"), 2 * LOUDEST
    assert torch.allclose(speaking()(x, 0.0, 1.0), MEANS[:, None, None].expand(3, *SHAPE))
    assert torch.equal(speaking()(x, 1.0, loud), fresh()(x, 1.0, loud))
    mixed = speaking()(x, torch.tensor([0.0, 0.7, 0.0]), torch.tensor([1.0, 0.7, 1.0]))
    assert torch.allclose(mixed[::2], MEANS[:, None, None].expand(2, *SHAPE)) and not torch.allclose(mixed[1], fresh()(x, 0.7, 0.7)[1])


def test_a_gradient_flows_to_the_items_through_the_network() -> None:
    x = channels(3)
    answers = [one(x, 0.8, 0.6) for one in (fresh(), speaking())]
    traces = [HutchinsonTrace(draws=64)(one, Look(0.8, 0.6, x, answer)) for one, answer in zip((fresh(), speaking()), answers, strict=True)]
    exact = 30 * (0.8 * DEVIATIONS.square() / ((0.8 * DEVIATIONS).square() + 0.36)).sum().item()
    assert traces[0].tolist() == pytest.approx([exact] * 3, rel=1e-4)  # diagonal: signs estimate it without error
    assert torch.isfinite(traces[1]).all() and (traces[1] - traces[0]).abs().min() > 1e-3


def test_the_gradient_is_the_slope_of_the_answer() -> None:
    model, x, way = speaking(), channels(2), noise.normal((2, *SHAPE), "way")
    asked = x.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(model(asked, 0.8, 0.6).sum(), asked)
    slope = (model(x + 1e-2 * way, 0.8, 0.6).double().sum() - model(x - 1e-2 * way, 0.8, 0.6).double().sum()) / 2e-2
    assert (gradient * way).sum().item() == pytest.approx(slope.item(), rel=0.02, abs=0.02)


def test_whoever_asks_for_no_gradient_pays_for_none() -> None:
    assert not speaking()(channels(2), 0.8, 0.6).requires_grad
    assert not Clean()(speaking(), channels(2)).denoised.requires_grad


def test_controls_of_other_seeds_are_others() -> None:
    x = channels(2)
    first, again, other = (fresh().untrained(seed)(x, 0.8, 0.6) for seed in (0, 0, 1))
    assert torch.equal(first, again) and (first - other).abs().max() > 0.01


def test_a_control_keeps_the_measures_and_nothing_that_was_learned() -> None:
    control, other = fresh().untrained(0), speaking(5).untrained(0)
    assert torch.equal(control.mean, MEANS[:, None, None]) and torch.equal(control(channels(), 0.8, 0.6), other(channels(), 0.8, 0.6))


@pytest.mark.parametrize("halved", [False, True], ids=["in full", "kept in half the bytes"])
def test_made_again_of_plain_data_and_tensors_it_answers_bit_for_bit(halved: bool) -> None:
    model = speaking()
    if halved:
        for parameter in model.network.parameters():
            parameter.data = parameter.data.bfloat16().float()
    tensors = {name: tensor.clone() for name, tensor in model.tensors().items()}
    again = Learned.made_of(json.loads(json.dumps(model.config())), tensors).at("fp32")
    assert (tensors["network.stem.weight"].dtype == torch.bfloat16) is halved
    assert torch.equal(again(channels(), 0.8, 0.6), model(channels(), 0.8, 0.6))
    assert all(torch.equal(tensor, again.tensors()[name]) for name, tensor in tensors.items())


def test_precision_is_no_part_of_what_is_kept() -> None:
    single, half = fresh("fp32"), fresh("fp32").at("bf16")
    assert half.precision == "bf16" and single.config() == half.config()
    assert all(torch.equal(tensor, half.tensors()[name]) for name, tensor in single.tensors().items())


def test_elements_are_measured_per_channel_or_each_by_itself() -> None:
    items = channels(500)
    mean, deviation = measured(items)
    assert mean.shape == deviation.shape == (2, 1, 1)
    assert mean.flatten().tolist() == pytest.approx(MEANS.tolist(), abs=0.02)
    assert deviation.flatten().tolist() == pytest.approx(DEVIATIONS.tolist(), rel=0.02)
    assert torch.allclose(measured(items, whole=True)[0], items.mean(0), atol=1e-6) and measured(items, whole=True)[1].shape == SHAPE
    assert measured(items[:, 0, 0])[0].shape == (5,)  # rows have no channels


def test_elements_that_never_vary_divide_nothing_by_nothing() -> None:
    still = torch.full((5, *SHAPE), 0.25)
    model = Learned(network("unet", UNET), *measured(still), "fp32")
    assert model.deviation.min().item() == pytest.approx(LEAST)
    assert torch.allclose(model.untrained()(still + 0.1, 1.0, 0.1), still, atol=0.01)


def test_noise_levels_are_log_normal_about_what_the_source_gives() -> None:
    logs = ratios((torch.arange(10_000) + 0.5) / 10_000).log()
    assert logs.mean().item() == pytest.approx(-1.2, abs=0.01) and logs.std().item() == pytest.approx(1.2, abs=0.01)


@pytest.mark.parametrize("check", [pytest.param(check, id=check.name) for check in checks(speaking(3).at("auto"), SHAPE)])
def test_a_learned_denoiser_keeps_the_promises_of_denoisers(check: object) -> None:
    check()


def test_another_precision_is_refused_in_words() -> None:
    with pytest.raises(DiffidentError, match="auto, fp32, bf16; got 'fp64'"):
        fresh("fp64")
