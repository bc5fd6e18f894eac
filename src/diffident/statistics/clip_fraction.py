"""Clip fraction: how much of the answer lies beyond what an item can be."""

from jaxtyping import Float
from torch import Tensor

from ..trajectory import Trajectory
from . import statistic


@statistic(tail="upper", says="was thought to reach beyond black and white", per_element=True)
def clip_fraction(trajectory: Trajectory, *, low: float = 0.03, high: float = 0.15) -> Float[Tensor, "n *shape"]:
    """How often the answer lies outside [-1, 1], where no item of pixels can lie: the share of looks in a window of noise levels, per element.

    mean over looks of 1 if |x0| > 1, for looks at ``low`` <= sigma / alpha <= ``high``, two at least: where the window holds fewer, the nearest join.
    Its number is the share of elements and looks.

    Trust it for pixels on a record that was not clipped (Encode with ``clip=False``). In latents and coefficients 1 is no bound of anything, though
    references may differ by it all the same. It comes in steps of one element, so that ties are common.

    Walks: Sampled, at no cost; any. Shape: (n, *shape). Unit: a share, 0 to 1. Sign: larger is stranger.

    >>> import torch
    >>> from diffident.denoiser import GaussianMixture
    >>> from diffident.levels import exploding
    >>> from diffident.walks import Clean
    >>> film = Clean(exploding([0.1, 0.12]))(GaussianMixture(torch.zeros(1, 2), torch.ones(1)), torch.tensor([[0.5, 0.5], [0.5, -2.0]]))
    >>> clip_fraction.numbers(film).flatten().tolist()
    [0.0, 0.5]

    Source: our own, after the thresholding of Saharia et al. 2022 (Imagen, 2205.11487), which hides it.
    """
    seen = trajectory.within(low, high).denoised
    return (seen.abs() > 1).to(seen.dtype).mean(0)
