"""Path curvature: the second half of the six-number DiffPath vector."""

import math

from jaxtyping import Float
from torch import Tensor

from ..errors import WrongShape
from ..trajectory import Trajectory
from . import power_sums, statistic


@statistic(tail="both", says="moves unevenly to noise")
def path_curvature(trajectory: Trajectory, *, powers: tuple[int, ...] = (1, 2, 3), low: float = 0.0, high: float = math.inf) -> Float[Tensor, "n powers"]:
    """How unevenly the item moves to noise: signed power sums of the change of the noise seen from level to level.

    sum over levels and elements of d, d^2, d^3 with d_i = (eps_{i+1} - eps_i) L, L the number of levels.

    DiffPath-1D is sqrt(sum d^2): the same ranking as ``powers=(2,)``. It cannot tell an item from its negative.

    With a window, ``low`` to ``high`` in sigma / alpha, only the looks inside it count, two at least, from little noise to much;
    without one all, in the order of the walk.

    Two-sided: far from all that the model knows the way may be straighter than usual, as in the example.

    Walks: Encode, Sampled, with two levels or more. Shape: (n, 3). Unit: none. Sign: far from the references either way is stranger.

    >>> import torch
    >>> from diffident.denoiser import Empirical
    >>> from diffident.walks import Encode
    >>> film = Encode()(Empirical(torch.tensor([[0.2, 0.1], [0.1, 0.3]])), torch.tensor([[0.2, 0.1], [1.0, -1.0]]))
    >>> path_curvature(film)[:, 1].argmin().item()
    1

    Source: Heng et al. 2024 (DiffPath, 2405.11881), numbers four to six.
    """
    if len(trajectory) < 2:
        raise WrongShape("the curvature of a path needs two levels or more; this walk has one")
    trajectory = trajectory if (low, high) == (0.0, math.inf) else trajectory.within(low, high)
    return power_sums(trajectory.eps.diff(dim=0) * len(trajectory), tuple(powers))
