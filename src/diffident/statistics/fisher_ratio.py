"""Fisher ratio: the pull at an item beside the curvature there, which are equal on average."""

from jaxtyping import Float
from torch import Tensor

from ..probes import HutchinsonTrace
from ..trajectory import Trajectory
from . import statistic

#: A curvature nearer to zero than this (per element, in units of the noise) counts as this.
LEAST = 1e-6


@statistic(tail="both", says="is pulled more or less than the curvature there allows", probes=(HutchinsonTrace(draws=1),))
def fisher_ratio(trajectory: Trajectory) -> Float[Tensor, "n levels"]:
    """The squared score over the trace of its Jacobian, level by level: about 1 for what the model finds typical.

    T = ||s||^2 / tr(ds/dx) with s = -grad log p_t(x) = eps / sigma, hence ||eps||^2 / (d - alpha tr dE[x0|x]/dx); d elements, the trace estimated by
    the probe. Over x drawn from p_t numerator and denominator have one mean (Fisher's identity).

    Where the density is not log-concave, between modes, the denominator may be near zero or negative, and the estimate from one draw scatters.
    It is held away from zero by a millionth a element. At little noise both are small differences: single precision tells little below sigma / alpha of .003.

    Walks: Renoise, Clean. Shape: (n, levels). Unit: none. Sign: far from the references either way is stranger.

    >>> import torch
    >>> from diffident.denoiser import GaussianMixture
    >>> from diffident.levels import exploding
    >>> from diffident.walks import Clean
    >>> wide = GaussianMixture(torch.zeros(1, 4), torch.tensor([3.0]))
    >>> film = Clean(exploding([1.0]))(wide, torch.tensor([[2.0, 2.0, -2.0, 2.0], [0.0, 0.0, 0.0, 8.0]]), fisher_ratio.probes)
    >>> fisher_ratio(film).flatten().round(decimals=3).tolist()
    [1.0, 4.0]

    Source: SCOPED (2510.01456), after an account of it; Hutchinson 1990.
    """
    pull = trajectory.eps.double().square().flatten(2).sum(2)
    elements = trajectory.origin[0].numel()
    curved = elements - trajectory.alpha.to(pull)[:, None] * trajectory.columns["trace"].double()
    least = LEAST * elements
    return (pull / curved.where(curved.abs() >= least, curved.sign().add(0.5).sign() * least)).T
