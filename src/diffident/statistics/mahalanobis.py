"""Mahalanobis: how far an item lies from the mean of known-good ones, in units of how far these scatter in that direction."""

import torch
from jaxtyping import Float
from torch import Tensor

from ..trajectory import Trajectory
from . import statistic


@statistic(tail="both", says="lies unusually far from the middle of the known-good", per_element=True)
def mahalanobis(trajectory: Trajectory) -> Float[Tensor, "n *shape"]:
    """Mahalanobis' squared distance from the mean, element by element: a baseline without diffusion, read off a denoiser's answers.

    Of the clean item x told s, a Gaussian denoiser answers D with x - D = s^2 (C + s^2 I)^-1 (x - m); told much noise it answers
    the mean m. So (x - D_first) (x - D_last) / s^2, summed over elements, is (x - m)' (C + s^2 I)^-1 (x - m). s = sigma / alpha is
    that of the first look, and the last look must be at a level that drowns the item. Its number is the mean over elements.

    Trust it where known-good items are one cloud; with denoisers that are not Gaussian it is only an analogy. Two-sided: an
    item may also lie suspiciously near the mean.

    Walks: Clean with a low and a very high level. Shape: (n, *shape). Unit: none. Sign: larger is stranger, in maps.

    >>> from diffident.denoiser import GaussianMixture
    >>> from diffident.levels import exploding
    >>> from diffident.walks import Clean
    >>> wide = GaussianMixture(torch.zeros(1, 2), torch.tensor([4.0]))
    >>> film = Clean(exploding([0.1, 1e4]))(wide, torch.tensor([[2.0, 0.0], [0.0, 6.0]]))
    >>> [round(far, 1) for far in mahalanobis(film).sum(1).tolist()]
    [1.0, 9.0]

    Source: Mahalanobis 1936; per position Defard et al. 2021 (PaDiM, 2011.08785).
    """
    first, last = trajectory.denoised[0], trajectory.denoised[-1]
    scatter = (trajectory.sigma[0] / trajectory.alpha[0].clamp(min=1e-6)).square().to(first)
    return (trajectory.origin - first) * (trajectory.origin - last) / torch.clamp(scatter, min=1e-12)
