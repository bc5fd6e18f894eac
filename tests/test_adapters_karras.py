"""D(x, sigma) of EDM and k-diffusion: asked in its own units, told apart by its weights, and never changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import diffident as dd
from diffident.adapters import karras
from diffident.denoiser import GaussianMixture
from diffident.errors import InvalidSetting, NoActivations, Unconditional, WrongShape

SHAPE = (1, 4, 4)
TRUTH = GaussianMixture(torch.stack([torch.full(SHAPE, -0.4), torch.full(SHAPE, 0.5)]), torch.tensor([0.02, 0.2]), torch.tensor([1.0, 3.0]))


def exact(x: torch.Tensor, sigma: torch.Tensor, class_labels: torch.Tensor | None = None) -> torch.Tensor:
    """What an EDM network would answer that has learned the mixture without fault."""
    assert sigma.shape == (len(x),)
    one = TRUTH if class_labels is None else TRUTH.given(int(class_labels[0]))
    return one(x, 1.0, sigma)


class Edm(torch.nn.Module):
    """EDM's preconditioning around a small network, with its attributes."""

    img_resolution, img_channels, label_dim, sigma_min, sigma_max, sigma_data = 8, 1, 3, 0.0, float("inf"), 0.4

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net, self.label = torch.nn.Conv2d(1, 1, 3, padding=1), torch.nn.Linear(3, 1)

    def forward(self, x: torch.Tensor, sigma: torch.Tensor, class_labels: torch.Tensor | None = None) -> torch.Tensor:
        s, d = sigma.reshape(-1, 1, 1, 1), self.sigma_data
        spread = s**2 + d**2
        moved = 0 if class_labels is None else self.label(class_labels)[:, :, None, None]
        return d**2 / spread * x + s * d / spread.sqrt() * self.net(x / spread.sqrt() + moved + s.log() / 4)


def noisy(n: int = 5, shape: tuple[int, ...] = SHAPE) -> torch.Tensor:
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("unit", ["exploding", "preserving", "flow"])
def test_an_exact_edm_denoiser_answers_as_the_mixture_does(unit: str) -> None:
    asked = karras.model(exact, 4, 1, name="mixture").denoiser
    ratios = torch.tensor([0.003, 0.2, 1.0, 7.0, 79.0])
    alpha = {"exploding": torch.ones(5), "preserving": 1 / torch.hypot(torch.ones(5), ratios), "flow": 1 / (1 + ratios)}[unit]
    x = alpha[:, None, None, None] * TRUTH.draw(5) + (ratios * alpha)[:, None, None, None] * noisy()
    found = asked(x, alpha, ratios * alpha)
    assert found.dtype == torch.float32 and torch.allclose(found, TRUTH(x, alpha, ratios * alpha), atol=1e-5)
    assert torch.allclose(asked.given(1)(x, alpha, ratios * alpha), TRUTH.given(1)(x, alpha, ratios * alpha), atol=1e-5)


def test_beyond_its_range_a_gaussian_is_answered_exactly() -> None:
    seen: list[float] = []
    gaussian = GaussianMixture(torch.zeros(1, *SHAPE), torch.tensor([0.09]))

    def ask(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        seen.extend(sigma.tolist())
        return gaussian(x, 1.0, sigma)

    asked = karras.model(ask, 4, 1, name="gaussian", sigma_max=5.0, sigma_min=0.1, sigma_data=0.3).denoiser
    for alpha in (0.5, 0.01, 0.0):
        assert torch.allclose(asked(noisy(), alpha, 3.0), gaussian(noisy(), alpha, 3.0), atol=1e-5)
    assert torch.allclose(asked(noisy(), 1.0, 0.01), gaussian(noisy(), 1.0, 0.01), atol=0.05)
    assert min(seen) == pytest.approx(0.1) and max(seen) == pytest.approx(5.0)


@torch.no_grad()
def test_an_edm_network_says_of_itself_what_is_needed() -> None:
    network = Edm().eval()
    made = karras.model(network, chunk=16)
    assert made.modality.shape == (1, 8, 8) and made.name == "Edm"
    assert (made.denoiser.parametrisation.faintest, made.denoiser.parametrisation.loudest, made.denoiser.parametrisation.data) == (0.002, 80.0, 0.4)
    x, sigma = noisy(3, (1, 8, 8)), torch.tensor([0.1, 1.0, 9.0])
    assert torch.allclose(made.denoiser(x, 1.0, sigma), network(x, sigma), atol=1e-6)
    labels = torch.eye(3)[[2, 2, 2]]
    assert torch.allclose(made.denoiser.given(2)(x, 1.0, sigma), network(x, sigma, labels), atol=1e-6)
    assert torch.allclose(made.denoiser.given(labels[:1])(x, 1.0, sigma), network(x, sigma, labels), atol=1e-6)
    with pytest.raises(Unconditional, match="a class, 0 to 2, or a tensor .* given 3"):
        made.denoiser.given(3)
    _, held = made.denoiser.watched(x, 1.0, sigma, ["net"])
    assert held["net"].shape == (3, 1, 8, 8)
    with pytest.raises(NoActivations, match="no part called deepest; .*: net, label"):
        made.denoiser.watched(x, 1.0, sigma, ["deepest"])


def test_a_detector_of_it_is_fitted_and_its_folder_is_refused(tmp_path: Path) -> None:
    good = np.random.default_rng(0).uniform(0.4, 0.6, (43, 8, 8))
    detector = dd.Detector(karras.model(Edm().eval(), chunk=16), "reconstruction").fit(good[:40])
    assert 0 < detector(good[41]).p <= 1
    with pytest.raises(InvalidSetting, match=r"code cannot be kept in a folder; keep its scores"):
        detector.save(tmp_path / "kept")
    scores = detector.calibrated.references
    scores.save(tmp_path / "scores.safetensors")
    again = dd.Detector(karras.model(Edm().eval(), chunk=16), "reconstruction").fit(dd.Scores.load(tmp_path / "scores.safetensors"))
    assert again(good[41]).p == detector(good[41]).p, "the same weights are the same model"


@torch.no_grad()
def test_other_weights_are_another_model_and_the_control_knows_nothing() -> None:
    network = Edm().eval()
    made, before = karras.model(network), [one.clone() for one in network.parameters()]
    control, x = made.untrained(), noisy(2, (1, 8, 8))
    assert control.fingerprint != made.fingerprint and control.fingerprint == made.untrained().fingerprint != made.untrained(1).fingerprint
    assert not torch.allclose(control.denoiser(x, 1.0, 1.0), made.denoiser(x, 1.0, 1.0))
    assert all(map(torch.equal, network.parameters(), before)) and all(one.requires_grad for one in network.parameters())
    with pytest.raises(InvalidSetting, match="a plain function"):
        karras.model(exact, 4, 1, name="mixture").untrained()


WRONG = {
    "no size": (InvalidSetting, "give size, in pixels", lambda: karras.model(exact, name="mixture")),
    "no name": (InvalidSetting, "give a name of its own", lambda: karras.model(exact, 4, 1)),
    "no range": (InvalidSetting, "0 < sigma_min < sigma_max", lambda: karras.model(exact, 4, 1, name="mixture", sigma_min=3.0, sigma_max=2.0)),
    "training": (InvalidSetting, r"in training mode.*eval\(\)", lambda: karras.model(Edm())),
    "no x0": (WrongShape, r"answers \(1, 1, 4, 4\) with \(1, 1, 4\)", lambda: karras.model(lambda x, sigma: x[..., 0], 4, 1, name="cut")),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_asked_is_refused_in_words(case: str) -> None:
    kind, words, made = WRONG[case]
    with pytest.raises(kind, match=words):
        made()
