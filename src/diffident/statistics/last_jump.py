"""Last jump: what changed at the very end."""

import math

from jaxtyping import Float
from torch import Tensor

from ..trajectory import Trajectory
from . import statistic


@statistic(tail="upper", says="changed up to the very end", per_element=True, world="modes")
def last_jump(trajectory: Trajectory) -> Float[Tensor, "n *shape"]:
    """How much the answer changed at the end of the way: its squared change between the two looks of least noise, per element.

    (x0_1 - x0_2)^2 with looks counted from the least noise. Its number is the mean over elements, the square of a root mean square.

    Compare samples of one sampler only: with fewer steps every last step is longer.

    Walks: Sampled, at no cost; Renoise with repeats. Shape: (n, *shape). Unit: squared element. Sign: larger is stranger.

    >>> import torch
    >>> from diffident.denoiser import GaussianMixture
    >>> from diffident.levels import exploding
    >>> from diffident.walks import Renoise
    >>> modes = GaussianMixture(torch.tensor([[-1.0], [1.0]]), torch.tensor([0.01, 0.01]))
    >>> film = Renoise(exploding([0.1, 0.2, 5.0]))(modes, torch.tensor([[1.0], [0.0]]))
    >>> last_jump.numbers(film).argmax().item()
    1

    Source: our own, after the variance of late answers of Aithal et al. 2024 (2406.09358).
    """
    seen = trajectory.within(0.0, math.inf).denoised
    return (seen[0] - seen[1]).square()
