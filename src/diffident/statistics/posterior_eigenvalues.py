"""Posterior eigenvalues: along how few directions the model is unsure, and how much."""

import itertools

import torch
from jaxtyping import Float
from torch import Tensor

from ..probes import Probe, TopEigenvalues
from ..trajectory import Trajectory
from . import statistic


def _asks(k: int = 3, iterations: int = 5, step: float = 1.0) -> tuple[Probe, ...]:
    return (TopEigenvalues(k, iterations, step),)


@statistic(tail="upper", says="leaves the model unsure along a few directions", asks=_asks, world="modes")
def posterior_eigenvalues(trajectory: Trajectory, *, k: int = 3, iterations: int = 5, step: float = 1.0) -> Float[Tensor, "n levels"]:
    """The sum of the k largest eigenvalues of the posterior covariance of x0 given the noisy item, level by level, averaged over draws of noise.

    Cov[x0 | x_t] = sigma^2 / alpha dE[x0|x_t]/dx_t (Miyasawa 1961); eigenvalues of the Jacobian by the probe, whose settings k, iterations and step
    are. Looks in a row at one level are draws. Cost: 2 k iterations evaluations a look: known beforehand, since iterations are not stopped early.

    Trust it as ``posterior_variance``: between modes. It costs tens of evaluations for each of the walk's own. At alpha = 0 nothing is to
    be scaled: leave that level out.

    Walks: Renoise, with repeats for draws. Shape: (n, levels). Unit: squared element. Sign: larger is stranger.

    >>> from diffident.denoiser import GaussianMixture
    >>> from diffident.levels import exploding
    >>> from diffident.walks import Clean
    >>> one = GaussianMixture(torch.zeros(1, 2), torch.tensor([[[3.0, 0.0], [0.0, 1.0]]]))
    >>> film = Clean(exploding([1.0]))(one, torch.zeros(1, 2), posterior_eigenvalues.asked({"k": 1, "iterations": 20}))
    >>> posterior_eigenvalues(film, {"k": 1, "iterations": 20}).round(decimals=4).tolist()
    [[0.75]]

    Source: Shoushtari et al. 2025 (EigenScore, 2510.07206); with a fixed number of iterations, and no draw thrown away.
    """
    (probe,) = _asks(k, iterations, step)
    scale = (trajectory.sigma.square() / trajectory.alpha)[:, None]
    found = trajectory.columns[probe.name].double().sum(2) * scale.to(trajectory.columns[probe.name].device)
    levels = list(zip(trajectory.alpha.tolist(), trajectory.sigma.tolist(), strict=True))
    runs = [len(list(run)) for _, run in itertools.groupby(levels)]
    return torch.stack([part.mean(0) for part in found.split(runs)], dim=1)
