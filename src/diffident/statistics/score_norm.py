"""Score norm: how strongly the model pulls at the item, level by level."""

from jaxtyping import Float
from torch import Tensor

from ..trajectory import Trajectory
from . import statistic


@statistic(tail="both", says="is pulled with unusual force")
def score_norm(trajectory: Trajectory) -> Float[Tensor, "n levels"]:
    """How strongly the model pulls at the item: the norm of the score at every level, times sigma.

    ||sigma score(x)|| = ||eps||, the Euclidean norm over elements, one number per level.

    The vector is for a density fitted on known-good items: which way a level moves depends on the item's kind.

    Walks: Clean. Shape: (n, levels). Unit: none. Sign: far from the references either way is stranger.

    >>> import torch
    >>> from diffident.denoiser import GaussianMixture
    >>> from diffident.walks import Clean
    >>> film = Clean()(GaussianMixture(torch.zeros(1, 2), torch.ones(1)), torch.tensor([[0.0, 0.0], [3.0, 4.0]]))
    >>> norms = score_norm(film)
    >>> tuple(norms.shape), norms[:, -1].round(decimals=2).tolist()
    ((2, 10), [0.0, 2.5])

    Source: Mahmood et al. 2021 (MSMA, 2010.13132).
    """
    return trajectory.eps.double().square().flatten(2).sum(2).sqrt().T
