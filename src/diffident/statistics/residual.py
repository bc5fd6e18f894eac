"""Residual: how far the denoiser's answer lies from the item."""

from jaxtyping import Float
from torch import Tensor

from ..trajectory import Trajectory
from . import statistic


@statistic(tail="upper", says="comes back changed when noise is put on it and taken off", per_element=True)
def residual(trajectory: Trajectory, *, last: bool = False) -> Float[Tensor, "n *shape"]:
    """How far what comes back lies from what was there: the reconstruction error.

    mean over levels of (denoised - origin)^2, per element; with ``last`` only the last look, the reconstruction. Its
    number is the mean over elements.

    Trust it where the model has learned structure that a strange item breaks. It is small for simple items whatever
    the model (complexity bias): a constant image reconstructs well.

    Walks: Renoise, Reconstruct (with ``last``). Shape: (n, *shape). Unit: squared element. Sign: larger is stranger.

    >>> import torch
    >>> from diffident.denoiser import Empirical
    >>> from diffident.walks import Renoise
    >>> bank = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    >>> film = Renoise()(Empirical(bank), torch.tensor([[0.0, 0.0], [9.0, 9.0]]))
    >>> residual.numbers(film).argmax().item()
    1

    Source: Graham et al. 2023 (DDPM-OOD, 2211.07740); Wyatt et al. 2022 (AnoDDPM).
    """
    errors = (trajectory.denoised - trajectory.origin).square()
    return errors[-1] if last else errors.mean(0)
