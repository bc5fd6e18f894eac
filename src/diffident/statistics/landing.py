"""Landing: whether the item arrives where noise lives."""

from jaxtyping import Float
from torch import Tensor

from ..trajectory import Trajectory
from . import statistic


@statistic(tail="both", says="does not arrive where noise should be")
def landing(trajectory: Trajectory) -> Float[Tensor, " n"]:
    """Where the path ends: the mean square of its last noise, near 1 for an item that the model finds ordinary.

    ||eps_L||^2 / d with eps_L the noise seen at the last level, the latent of DDIM inversion.

    Two-sided: a smooth item lands inside the shell of radius sqrt(d), a busy one outside. With few first-order steps all
    land somewhat inside, the references too, which is why the number is compared with theirs and not with 1.

    Walks: Encode. Shape: (n,). Unit: none. Sign: far from the references either way is stranger.

    >>> import torch
    >>> from diffident.denoiser import GaussianMixture
    >>> from diffident.walks import Encode
    >>> film = Encode(clip=False)(GaussianMixture(torch.zeros(1, 2), torch.ones(1)), torch.tensor([[1.0, 1.0], [3.0, 3.0]]))
    >>> landing(film).round(decimals=2).tolist()
    [0.78, 7.03]

    Source: Sakai & Hasegawa 2025 (InvAD, 2504.05662); the typicality of a latent, Nalisnick et al. 2019.
    """
    return trajectory.eps[-1].square().flatten(1).double().mean(1)
