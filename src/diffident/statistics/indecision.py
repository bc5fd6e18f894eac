"""Indecision: how much the answer still changes along the way."""

from jaxtyping import Float
from torch import Tensor

from ..trajectory import Trajectory
from . import statistic


@statistic(tail="upper", says="was not settled while it was made", per_element=True, world="modes")
def indecision(trajectory: Trajectory, *, low: float = 0.03, high: float = 0.15) -> Float[Tensor, "n *shape"]:
    """How much the model changed its mind: the variance of its answers over the looks of a window of noise levels, per element.

    mean over looks of (x0_i - mean x0)^2, for looks at ``low`` <= sigma / alpha <= ``high``, two at least: where the window holds fewer, the nearest join.
    Its number is the mean over elements.

    A window belongs to noise levels, not to shares of the steps: samplers spend their steps differently. Few steps leave few looks, and a
    deterministic sampler may stay still between two modes: then it is blind.

    Walks: Sampled, at no cost; Renoise with repeats. Shape: (n, *shape). Unit: squared element. Sign: larger is stranger.

    >>> from diffident.denoiser import GaussianMixture
    >>> from diffident.levels import exploding
    >>> from diffident.walks import Renoise
    >>> import torch
    >>> modes = GaussianMixture(torch.tensor([[-1.0], [1.0]]), torch.tensor([0.01, 0.01]))
    >>> film = Renoise(exploding([0.1]), repeats=4)(modes, torch.tensor([[1.0], [0.0]]))
    >>> indecision.numbers(film).argmax().item()
    1

    Source: Aithal et al. 2024 (2406.09358), who take the last steps of the sampler in place of a window of levels.
    """
    seen = trajectory.within(low, high).denoised
    return (seen - seen.mean(0)).square().mean(0)
