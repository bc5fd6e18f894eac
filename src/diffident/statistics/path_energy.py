"""Path energy: how much noise the denoiser sees in the item along the way."""

import math

from jaxtyping import Float
from torch import Tensor

from ..trajectory import Trajectory
from . import statistic


@statistic(tail="both", says="needs an unusual push on its way to noise")
def path_energy(trajectory: Trajectory, *, low: float = 0.0, high: float = math.inf) -> Float[Tensor, " n"]:
    """Mean squared noise seen along the path, the kinetic energy of its way to noise.

    mean over levels and elements of eps^2, with eps = (x - alpha denoised) / sigma.

    With a window, ``low`` to ``high`` in sigma / alpha, only the looks inside it count, two at least, from little noise to much.

    Two-sided: theory says that the energy of a strange item differs, not which way (DiffPath, theorem 1).

    Walks: Encode, Clean, Sample, Sampled. Shape: (n,). Unit: none. Sign: far from the references either way is stranger.

    >>> import torch
    >>> from diffident.denoiser import GaussianMixture
    >>> from diffident.walks import Encode
    >>> film = Encode(clip=False)(GaussianMixture(torch.zeros(1, 2), torch.ones(1)), torch.tensor([[1.0, 1.0], [4.0, 4.0]]))
    >>> path_energy(film).argmax().item()
    1

    Source: Heng et al. 2024 (DiffPath, 2405.11881), the second of its six numbers, as a mean.
    """
    trajectory = trajectory if (low, high) == (0.0, math.inf) else trajectory.within(low, high)
    return trajectory.eps.square().transpose(0, 1).flatten(1).double().mean(1)
