"""Posterior variance: how unsure the model is of what was there."""

from jaxtyping import Float
from torch import Tensor

from ..probes import HutchinsonTrace
from ..trajectory import Trajectory
from . import statistic


@statistic(tail="upper", says="leaves the model unsure of what it is", probes=(HutchinsonTrace(draws=8),), world="modes")
def posterior_variance(trajectory: Trajectory) -> Float[Tensor, "n levels"]:
    """How unsure the model is of what was there: the total variance of x0 given the noisy item, level by level.

    tr Cov[x0 | x_t] = sigma^2 / alpha tr dE[x0|x_t]/dx_t (Miyasawa 1961), with the trace estimated by the probe from eight draws: all items
    share them, and one draw alone may be blind to the direction in which the answer changes.

    Trust it between modes, where the answer changes quickly. In one Gaussian it is the same for every item and says
    nothing. At alpha = 0 there is no trace to scale: leave that level out of the walk.

    Walks: Clean, Renoise, Sample. Shape: (n, levels). Unit: squared element. Sign: larger is stranger.

    >>> import torch
    >>> from diffident.denoiser import GaussianMixture
    >>> from diffident.levels import exploding
    >>> from diffident.probes import HutchinsonTrace
    >>> from diffident.walks import Clean
    >>> modes = GaussianMixture(torch.tensor([[-1.0], [1.0]]), torch.tensor([0.01, 0.01]))
    >>> film = Clean(exploding([0.5]))(modes, torch.tensor([[1.0], [0.0]]), [HutchinsonTrace()])
    >>> posterior_variance(film).argmax().item()
    1

    Source: Miyasawa 1961; Hutchinson 1990; as a signal of failure, Shoushtari et al. 2025 (EigenScore, 2510.07206).
    """
    scale = trajectory.sigma.square() / trajectory.alpha
    return (trajectory.columns["trace"].double() * scale[:, None]).T
