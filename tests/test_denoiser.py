"""The exact denoisers against brute force, their limits, and their conditions."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import diffident as dd
from diffident.denoiser import Denoiser, Empirical, GaussianMixture
from diffident.errors import DifferentAnswers, InvalidSetting, Unconditional, WrongShape
from diffident.spaces.pixels import Pixels
from diffident.steps.photometry import Photometry


def brute_force(bank: torch.Tensor, x: torch.Tensor, alpha: float, sigma: float) -> torch.Tensor:
    away = (x.flatten(1)[:, None] - alpha * bank.flatten(1)[None]).square().sum(-1)
    return (torch.softmax(-away / (2 * sigma**2), 1) @ bank.flatten(1)).reshape(x.shape)


@pytest.mark.parametrize("block", [1, 7, 100, 10_000])
@pytest.mark.parametrize(("alpha", "sigma"), [(1.0, 0.01), (0.7, 0.7), (0.1, 0.99), (0.0, 1.0), (1.0, 80.0)])
def test_the_empirical_denoiser_is_the_weighted_mean_whatever_its_blocks(block: int, alpha: float, sigma: float) -> None:
    bank = torch.randn(101, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 3
    x = alpha * bank[:5] + sigma * torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(Empirical(bank, block=block)(x, alpha, sigma), brute_force(bank, x, alpha, sigma), atol=1e-9, rtol=1e-9)


def test_without_noise_the_empirical_denoiser_is_the_nearest_neighbour() -> None:
    bank = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    x = torch.randn(9, 6, generator=torch.Generator().manual_seed(1))
    nearest = bank[torch.cdist(x, bank).argmin(1)]
    torch.testing.assert_close(Empirical(bank)(x, 1.0, 1e-3), nearest, atol=1e-5, rtol=1e-5)


def test_the_empirical_denoiser_needs_no_memory_for_the_whole_set_at_once() -> None:
    """Sixty thousand images: the comparison with all of them at once would take hundreds of times a block's memory."""
    bank = torch.zeros(60_000, 28, 28)
    bank[:, 0, 0] = torch.arange(60_000) / 60_000
    seen = []
    denoiser = Empirical(bank, block=4096)
    kept = torch.exp
    try:
        torch.exp = lambda of: seen.append(of.numel()) or kept(of)
        answer = denoiser(bank[[5, 59_999]], 1.0, 1e-3)
    finally:
        torch.exp = kept
    assert max(seen) <= 2 * 4096
    torch.testing.assert_close(answer, bank[[5, 59_999]], atol=5e-3, rtol=0)


def test_a_mixture_equals_the_empirical_denoiser_when_its_components_shrink() -> None:
    bank = torch.randn(12, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    points = GaussianMixture(bank, torch.full((12,), 1e-14, dtype=torch.float64))
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(points(x, 0.6, 0.8), Empirical(bank)(x, 0.6, 0.8), atol=1e-9, rtol=1e-9)


def test_full_covariances_equal_the_textbook_formula() -> None:
    root = torch.randn(2, 5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    covariances, means = root @ root.mT / 5, torch.randn(2, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x, weights = torch.randn(7, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64), torch.tensor([0.3, 0.7], dtype=torch.float64)
    noisy = [0.49 * c + 0.51 * torch.eye(5, dtype=torch.float64) for c in covariances]
    laws = [torch.distributions.MultivariateNormal(0.7 * m, c) for m, c in zip(means, noisy, strict=True)]
    share = torch.softmax(torch.stack([w.log() + law.log_prob(x) for w, law in zip(weights, laws, strict=True)]), 0)
    answers = [m + 0.7 * (x - 0.7 * m) @ torch.linalg.solve(c, k) for m, c, k in zip(means, noisy, covariances, strict=True)]
    expected = sum(s[:, None] * a for s, a in zip(share, answers, strict=True))
    torch.testing.assert_close(GaussianMixture(means, covariances, weights)(x, 0.7, 0.51**0.5), expected)


def test_draws_have_the_moments_of_the_mixture() -> None:
    mixture = GaussianMixture(
        torch.tensor([[-1.0, 0.0], [2.0, 1.0]]), torch.tensor([[[0.1, 0.05], [0.05, 0.2]], [[0.3, 0.0], [0.0, 0.1]]]), torch.tensor([1.0, 3.0])
    )
    drawn = mixture.draw(40_000)
    torch.testing.assert_close(drawn.mean(0), torch.tensor([1.25, 0.75]), atol=0.03, rtol=0)


def test_conditions_choose_a_component_or_a_label() -> None:
    mixture = GaussianMixture(torch.tensor([[-1.0], [1.0]]), torch.tensor([0.01, 0.04]))
    assert mixture.given(1)(torch.tensor([[-1.0]]), 0.0, 1.0).item() == pytest.approx(1.0)
    labelled = Empirical(torch.tensor([[-1.0], [1.0], [3.0]]), labels=["low", "high", "high"])
    assert labelled.given("high")(torch.tensor([[0.0]]), 0.0, 1.0).item() == pytest.approx(2.0)
    assert Empirical.made_of(labelled.config(), labelled.tensors()).given("high")(torch.tensor([[0.0]]), 0.0, 1.0).item() == pytest.approx(2.0)
    for refused, condition in ((mixture, 2), (mixture, "low"), (labelled, "middle"), (_Plain(), "anything")):
        with pytest.raises(Unconditional, match="condition|labelled"):
            refused.given(condition)


class _Plain(Denoiser):
    def __call__(self, x_t: torch.Tensor, alpha: object, sigma: object) -> torch.Tensor:
        return x_t


def test_parts_that_do_not_fit_are_refused() -> None:
    one = torch.tensor([[1.0]])
    with pytest.raises(WrongShape, match="needs weights"):
        GaussianMixture(one, torch.ones(2))
    with pytest.raises(InvalidSetting, match="positive"):
        GaussianMixture(one, torch.ones(1), torch.tensor([-1.0]))
    with pytest.raises(InvalidSetting, match="semi-definite"):
        GaussianMixture(torch.zeros(1, 2), torch.tensor([[[1.0, 2.0], [2.0, 1.0]]]))
    with pytest.raises(WrongShape, match="at least one item"):
        Empirical(torch.zeros(0, 3))
    with pytest.raises(WrongShape, match="one per item"):
        Empirical(one)(torch.zeros(3, 1), torch.ones(2), 1.0)


@pytest.mark.parametrize("full", [False, True])
def test_the_control_has_the_mean_and_deviation_of_what_it_stands_for(full: bool) -> None:
    means = torch.randn(40, 1, 6, 6, generator=torch.Generator().manual_seed(0)) * 0.3 + 0.2
    spread = torch.eye(36).expand(40, 36, 36) * 0.2 if full else torch.full((40,), 0.2)
    for kept in (Empirical(means, [*"ab"] * 20), GaussianMixture(means, spread, torch.rand(40) + 0.5)):
        control = kept.untrained(3)
        drawn = [one.draw(4000) if isinstance(one, GaussianMixture) else one.items for one in (kept, control)]
        assert drawn[0].mean().item() == pytest.approx(drawn[1].mean().item(), abs=0.02)
        assert drawn[0].std().item() == pytest.approx(drawn[1].std().item(), rel=0.03)
        assert json.dumps(control.config()) == json.dumps(kept.config())


def test_the_control_of_a_model_has_seen_nothing() -> None:
    model = dd.train(np.random.default_rng(0).uniform(size=(20, 6, 6)), network="none")
    control = model.untrained()
    assert model.seen and not control.seen and control.fingerprint not in (model.fingerprint, model.untrained(1).fingerprint)
    assert (control.modality, control.space, control.chunk) == (model.modality, model.space, model.chunk)


def test_another_version_of_a_space_or_a_step_is_another_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders of the first versions keep their fingerprints; where numbers have changed since, the folder is refused in words."""
    model = dd.train(np.random.default_rng(0).uniform(size=(12, 8, 8)), network="none", prepare=("photometry",))
    dd.save(model, tmp_path / "m")
    assert "versions" not in model.config() and dd.load(tmp_path / "m").fingerprint == model.fingerprint
    for part, kind in (("space", Pixels), ("steps.0", Photometry)):
        monkeypatch.setattr(kind, "version", 2)
        assert replace(model).fingerprint != model.fingerprint and replace(model).versions == {part: 2}
        with pytest.raises(DifferentAnswers, match=f"made with another version of its {part}, .* train it again"):
            dd.load(tmp_path / "m")
        dd.save(replace(model), tmp_path / "later")
        assert dd.load(tmp_path / "later").versions == {part: 2}
        monkeypatch.undo()
