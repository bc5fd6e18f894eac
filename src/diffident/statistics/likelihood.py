"""Likelihood: how probable the item is to the model, by the change of variables along its path to noise."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ..probes import HutchinsonTrace
from ..trajectory import Trajectory
from . import statistic


@statistic(tail="both", says="is more or less probable than it should be", probes=(HutchinsonTrace(draws=1),))
def likelihood(trajectory: Trajectory) -> Float[Tensor, " n"]:
    """How improbable the item is: its negative log density under the model, per element.

    -log p(x) / d = ||eps_L||^2 / 2d + log(2 pi) / 2 - (integral of div v over theta) / d, along the probability-flow ODE dx/dtheta = v, with
    theta = atan2(sigma, alpha) and div v = (alpha d - tr dE[x0|x]/dx) / sigma where alpha^2 + sigma^2 = 1; other levels are scaled to that. The trace
    is the probe's estimate, the integral the trapezoid rule from the first level to pure noise, where div v = 0.

    It is the density of items with the noise of the first level. Its error falls with the draws of the probe, and in proportion to the
    steps: beside exact densities of one Gaussian it was below .15 nats per element at 100 steps and .04 at 400; between narrow modes 100 steps say
    half of what is true. Few steps rank and do not measure.

    Two-sided, since smooth items are more probable than ordinary ones to any model of pictures; compare with references, not with theory.

    Walks: Encode, without clipping. Shape: (n,). Unit: nats per element. Sign: far from the references either way is stranger.

    >>> import torch
    >>> from diffident.denoiser import GaussianMixture
    >>> from diffident.levels import cosine
    >>> from diffident.walks import Encode
    >>> world, items = GaussianMixture(torch.zeros(1, 2), torch.tensor([0.25])), torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    >>> likelihood(Encode(cosine(200), clip=False)(world, items, likelihood.probes)).round(decimals=1).tolist()
    [0.2, 2.2]
    >>> [round(exact, 1) for exact in (-world.log_density(items, 1.0, 0.003) / 2).tolist()]
    [0.2, 2.2]

    Source: Song et al. 2021 (2011.13456), with few steps as in Sakai & Hasegawa 2025 (InvAD, 2504.05662).
    """
    d = trajectory.origin[0].numel()
    size = torch.hypot(trajectory.alpha, trajectory.sigma)[:, None]
    alpha, sigma, trace = trajectory.alpha[:, None] / size, trajectory.sigma[:, None] / size, trajectory.columns["trace"].double() * size
    spread = torch.cat([(alpha * d - trace) / sigma, torch.zeros_like(trace[:1])])
    theta = torch.cat([torch.atan2(sigma, alpha).flatten(), torch.full((1,), math.pi / 2, dtype=torch.float64)])
    grown = torch.trapezoid(spread, theta[:, None].to(spread), dim=0)
    return 0.5 * trajectory.eps[-1].double().square().flatten(1).mean(1) + 0.5 * math.log(2 * math.pi) - grown / d
