"""What the last layer of a network leaves open: its weights as a Gaussian instead of a point, and how that travels to a sample.

The last layer is linear in what the network holds before it, its features. With a prior of precision p on each weight and unit
noise on each output, the posterior of the weights is Gaussian with precision p + sum over data of squared features: the Fisher
information is a sum, not a mean (with a mean every sample seems unsure). Only the diagonal is kept. Where the last layer has a
window (a U-Net's, 3 by 3) the variance is told for one place of it: the same up to a factor and the borders.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .denoiser import Denoiser
from .errors import InvalidSetting, WrongShape
from .levels import Levels
from .noise import normal
from .probes import Activations
from .trajectory import Trajectory
from .walks import Renoise

#: Where the features are: what every network of ``diffident.networks`` passes through SiLU and its last, linear layer.
FEATURES = Activations("finest")


@dataclass(frozen=True, eq=False)
class LaplaceVariance:
    """The variance of a network's output because its last layer was learned from finitely many items.

    Attributes:
        fisher: sum over known-good items, their looks and positions of each squared feature, (channels,) float64.
        prior: precision of each weight before anything was seen, above 0.

    Raises:
        InvalidSetting: a prior not above 0.

    >>> open_ended = LaplaceVariance(torch.tensor([99.0, 0.0]), prior=1.0)
    >>> open_ended.of(torch.tensor([[10.0, 0.0], [0.0, 1.0]])).tolist()
    [1.0, 1.0]
    """

    fisher: Float[Tensor, " channels"]
    prior: float = 1.0

    def __post_init__(self) -> None:
        if not self.prior > 0:
            raise InvalidSetting(f"the prior of a last layer has a precision above 0; got {self.prior:g}")

    @classmethod
    def fit(cls, denoiser: Denoiser, items: Float[Tensor, "n *shape"], levels: Levels, prior: float = 1.0, chunk: int = 64) -> LaplaceVariance:
        """Learn from items on which the network was trained, noised to some levels with one noise for all. One evaluation for each level and item.

        Raises:
            NoActivations: a denoiser without a network.
            InvalidSetting: a prior not above 0, or no items.
        """
        if not len(items):
            raise InvalidSetting("the Fisher information of a last layer is a sum over items; got none")
        walk = Renoise(levels)
        with torch.no_grad():
            sums = [features(walk(denoiser, part, [FEATURES])).square().transpose(0, 2).flatten(1).sum(1) for part in items.split(chunk)]
        return cls(torch.stack(sums).sum(0), prior)

    def tensors(self) -> dict[str, Tensor]:
        """What has to be kept, beside the prior."""
        return {"fisher": self.fisher}

    def of(self, held: Float[Tensor, "... channels"]) -> Float[Tensor, "..."]:
        """sum over k of phi_k^2 / (prior + fisher_k), for features along the last axis.

        Raises:
            WrongShape: another number of features than were learned from.
        """
        if held.shape[-1:] != self.fisher.shape:
            raise WrongShape(f"the last layer was learned from {len(self.fisher)} features, and these are {held.shape[-1]}; ask the same network")
        return (held.double().square() / (self.prior + self.fisher.to(held.device))).sum(-1)

    def __call__(self, trajectory: Trajectory) -> Float[Tensor, "n levels"]:
        """The mean over positions of each output's variance, level by level: larger is stranger. Unit: squared output, whose target has variance 1.

        Walks: any, with the probe ``FEATURES`` (which costs nothing). An item far from all that was learned from has features where few had any.

        Source: BayesDiff (2310.11142) for the use of it; Ritter et al. 2018 for the method.
        """
        held = features(trajectory)
        return self.of(held.movedim(2, -1).flatten(2, -2) if held.ndim > 3 else held[:, :, None]).mean(2).T


def features(trajectory: Trajectory) -> Float[Tensor, "levels n channels *grid"]:
    """What is multiplied by the last layer, from the column of the probe ``FEATURES``."""
    return F.silu(trajectory.columns[FEATURES.name].double())


def travelled(
    noise_seen: Callable[[Tensor, float, float], tuple[Tensor, Tensor]], levels: Levels, start: Float[Tensor, "n *shape"], draws: int = 10, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Mean and variance of a sample when the noise that a network sees is uncertain, carried down the levels of deterministic DDIM, element by element.

    From (alpha, sigma) to the next (alpha', sigma'), with a = alpha' / alpha and b = sigma' - a sigma, x' = a x + b eps and

        E[x'] = a E[x] + b E[eps]        V[x'] = a^2 V[x] + 2 a b Cov(x, eps) + b^2 (V[E[eps|x]] + gamma^2)

    Both moments of eps beside x are estimated from ``draws`` of x out of N(E[x], V[x]), in pairs about the mean and scaled to have just
    that variance, so that of a network that is linear element by element they are exact; gamma^2 is the network's
    variance at E[x], and E[eps] its answer there. The score of a sample is the sum of V over its elements. Cost: 1 + ``draws`` evaluations a level (1 at
    the first, where x is certain).

    Args:
        noise_seen: (x, alpha, sigma) to eps and its variance gamma^2, each (n, *shape).
        levels: from much noise to little; the last step goes to the data.
        start: x at the first level.
        draws: of x for the covariance, an even number.

    Raises:
        InvalidSetting: an odd number of draws or none, or a level at which alpha is 0.

    Source: BayesDiff (Kou et al. 2024, 2310.11142), with the variance of eps over x, which is left out there, and draws in pairs.
    """
    if draws < 2 or draws % 2 or not all(levels.alpha):
        raise InvalidSetting(f"a covariance takes pairs of draws, and levels whose alpha is above 0; got draws={draws}, alphas {levels.alpha[0]:g} and on")
    mean, variance = start, torch.zeros_like(start)
    onward = [*list(levels)[1:], (1.0, 0.0)]
    for i, ((alpha, sigma), (alpha_next, sigma_next)) in enumerate(zip(levels, onward, strict=True)):
        seen, open_ended = noise_seen(mean, alpha, sigma)
        a = alpha_next / alpha
        b = sigma_next - a * sigma
        common, moved = _beside(noise_seen, mean, variance, (alpha, sigma), draws, (seed, i)) if i else (variance, variance)
        mean = a * mean + b * seen
        variance = (a**2 * variance + 2 * a * b * common + b**2 * (moved + open_ended)).clamp(min=0)
    return mean, variance


def _beside(
    noise_seen: Callable[[Tensor, float, float], tuple[Tensor, Tensor]],
    mean: Tensor,
    variance: Tensor,
    level: tuple[float, float],
    draws: int,
    of: tuple[int, int],
) -> tuple[Tensor, Tensor]:
    """Cov(x, eps) and the variance of eps, element by element, for x out of N(mean, variance)."""
    drawn = normal((draws // 2, *mean.shape[1:]), "laplace", *of).to(mean)
    away = [variance.sqrt() * one for one in drawn / drawn.square().mean(0).sqrt()]
    halves = [(noise_seen(mean + one, *level)[0] - noise_seen(mean - one, *level)[0]) / 2 for one in away]
    common = torch.stack([one * half for one, half in zip(away, halves, strict=True)]).mean(0)
    return common, torch.stack([half.square() for half in halves]).mean(0)
