"""Posterior spread: how far from the item the model thinks that the truth may lie."""

from jaxtyping import Float
from torch import Tensor

from ..probes import ExactTrace, HutchinsonTrace, Probe
from ..trajectory import Trajectory
from . import statistic


def _asks(draws: int = 8, elements: int = 0) -> tuple[Probe, ...]:
    return (ExactTrace(elements) if elements else HutchinsonTrace(draws),)


@statistic(tail="upper", says="could as well have been something else", asks=_asks, world="modes")
def posterior_spread(trajectory: Trajectory, *, draws: int = 8, elements: int = 0) -> Float[Tensor, "n levels"]:
    """How far from what is shown the model thinks that the truth lies: the expected squared distance, per element, level by level.

    E||x0 - y||^2 / d = (||E[x0|y] - y||^2 + tr Cov[x0|y]) / d, y = x / alpha; tr Cov = sigma^2 / alpha tr dE[x0|x]/dx (Miyasawa 1961), with the trace
    estimated from ``draws`` of random signs, or exact where ``elements`` says how many an item has (64 at most).

    Neither half suffices for a failure between two modes: exactly at the middle the answer stays where it is and the trace is large; nearer to one
    mode the trace vanishes and the answer moves. Their sum sees both. Few draws make it noisy in many dimensions. It is ``intrinsic_dimension`` times
    (sigma / alpha)^2 / d.

    Walks: Clean, told .05 to .2. Shape: (n, levels). Unit: squared element. Sign: larger is stranger.

    >>> import torch
    >>> from diffident.denoiser import GaussianMixture
    >>> from diffident.levels import exploding
    >>> from diffident.walks import Clean
    >>> modes = GaussianMixture(torch.tensor([[-1.0], [1.0]]), torch.tensor([0.01, 0.01]))
    >>> film = Clean(exploding([0.1]))(modes, torch.tensor([[1.0], [0.5], [0.0]]), posterior_spread.asked({"elements": 1}))
    >>> posterior_spread(film, {"elements": 1}).flatten().round(decimals=3).tolist()
    [0.005, 0.068, 0.255]

    Source: our own; Miyasawa 1961, Hutchinson 1990. Up to a factor, FLIPD of Kamkari et al. 2024 (2406.03537).
    """
    (probe,) = _asks(draws, elements)
    ratio = (trajectory.sigma / trajectory.alpha).to(trajectory.x.device)[:, None]
    pulled = trajectory.eps.double().square().flatten(2).sum(2)
    unsure = trajectory.alpha.to(ratio)[:, None] * trajectory.columns[probe.name].double()
    return (ratio.square() * (pulled + unsure) / trajectory.origin[0].numel()).T
