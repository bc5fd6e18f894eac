"""Guidance gap: how much the condition still has to pull."""

from jaxtyping import Float
from torch import Tensor

from ..probes import GuidanceGap, Probe
from ..trajectory import Trajectory
from . import statistic


def _asks(condition: int | str = 0) -> tuple[Probe, ...]:
    return (GuidanceGap(condition),)


@statistic(tail="upper", says="was still pulled towards what was asked for", asks=_asks, world="guided")
def guidance_gap(trajectory: Trajectory, *, low: float = 0.03, high: float = 0.15, condition: int | str = 0) -> Float[Tensor, " n"]:
    """How far the answers with and without the condition lie apart: root mean square over elements, mean over a window of noise levels.

    mean over looks of sqrt(mean (E[x0 | x, condition] - E[x0 | x])^2), for looks at ``low`` <= sigma / alpha <= ``high``, two at least: where the window
    holds fewer, the nearest join.

    A sample that is what was asked for needs no more pull once little noise is left. The recording of a guided pipeline holds the column already;
    elsewhere ``condition`` is what the probe asks for, at one evaluation a look, and the model has to take it.

    Walks: Sampled, of a guided pipeline, at no cost; Clean, Renoise. Shape: (n,). Unit: an element. Sign: larger is stranger.

    >>> import torch
    >>> from diffident.denoiser import GaussianMixture
    >>> from diffident.levels import exploding
    >>> from diffident.walks import Clean
    >>> modes = GaussianMixture(torch.tensor([[-1.0], [1.0]]), torch.tensor([0.01, 0.01]))
    >>> film = Clean(exploding([0.1, 0.15]))(modes, torch.tensor([[-1.0], [0.0]]), guidance_gap.probes)
    >>> guidance_gap(film).argmax().item()
    1

    Source: our own, after Ho & Salimans 2022 (classifier-free guidance, 2207.12598).
    """
    (probe,) = _asks(condition)
    return trajectory.within(low, high).columns[probe.name].double().mean(0)
