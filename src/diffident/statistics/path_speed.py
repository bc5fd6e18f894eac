"""Path speed: the first half of the six-number DiffPath vector."""

from jaxtyping import Float
from torch import Tensor

from ..trajectory import Trajectory
from . import power_sums, statistic


@statistic(tail="both", says="moves to noise at an unusual rate")
def path_speed(trajectory: Trajectory, *, powers: tuple[int, ...] = (1, 2, 3)) -> Float[Tensor, "n powers"]:
    """How fast the item moves to noise: signed power sums of the noise seen along its path.

    sum over levels and elements of eps, eps^2, eps^3, signed, so that an item and its negative differ.

    The sums grow with the number of elements: never mix sizes in one calibration. A Gaussian combiner does not mind
    the different scales.

    Walks: Encode. Shape: (n, 3). Unit: none. Sign: far from the references either way is stranger.

    >>> import torch
    >>> from diffident.denoiser import GaussianMixture
    >>> from diffident.walks import Encode
    >>> film = Encode(clip=False)(GaussianMixture(torch.zeros(1, 2), torch.ones(1)), torch.tensor([[1.0, 1.0], [-1.0, -1.0]]))
    >>> first, second = path_speed(film)
    >>> bool(first[0] == -second[0]), bool(first[1] == second[1])
    (True, True)

    Source: Heng et al. 2024 (DiffPath, 2405.11881), numbers one to three.
    """
    return power_sums(trajectory.eps, tuple(powers))
