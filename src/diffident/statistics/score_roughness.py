"""Score roughness: how abruptly the pull at the item changes when it gives way."""

from jaxtyping import Float
from torch import Tensor

from ..probes import Nudge, Probe
from ..trajectory import Trajectory
from . import statistic


def _asks(rho: float = 0.1) -> tuple[Probe, ...]:
    return (Nudge(rho),)


@statistic(tail="upper", says="lies where the model's pull changes abruptly", asks=_asks, world="modes")
def score_roughness(trajectory: Trajectory, *, rho: float = 0.1) -> Float[Tensor, "n levels"]:
    """How abruptly the noise that the model sees changes a small step along itself, level by level: a curvature of the log density.

    sigma ||eps(x + r e) - eps(x)|| / r with e = eps / ||eps||, r = ``rho`` sigma. In a Gaussian of variance v it is sigma^2 / (alpha^2 v + sigma^2), 1 where
    the model knows one answer only, and above 1 where two modes meet.

    One evaluation more, and no derivative. It looks along one direction: a boundary that runs along the pull stays unseen. And it sees the boundary alone:
    a failure well inside the reach of one mode is as smooth as a good sample, and one on the way to the boundary smoother. Beside
    ``posterior_spread``, not in its place.

    Walks: Clean, Renoise, that do not clip. Shape: (n, levels). Unit: none. Sign: larger is stranger.

    >>> import torch
    >>> from diffident.denoiser import GaussianMixture
    >>> from diffident.levels import exploding
    >>> from diffident.walks import Clean
    >>> film = Clean(exploding([1.0]))(GaussianMixture(torch.zeros(1, 2), torch.tensor([3.0])), torch.ones(1, 2), score_roughness.probes)
    >>> score_roughness(film).round(decimals=3).tolist()
    [[0.25]]

    Source: after the curvature index of RODS (2507.12201), times sigma so that levels compare.
    """
    (probe,) = _asks(rho)
    return trajectory.columns[probe.name].double().T
