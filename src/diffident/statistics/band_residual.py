"""Band residual: how far what comes back lies from what was there, in one part of the channels."""

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import WrongShape
from ..trajectory import Trajectory
from . import statistic
from .residual import residual


@statistic(tail="upper", says="comes back changed in one of its scales", per_element=True)
def band_residual(trajectory: Trajectory, *, band: int = 0, bands: int = 1, last: bool = False) -> Float[Tensor, "n *shape"]:
    """The reconstruction error in one wavelet band: in the coarse picture, or in details of one direction.

    The residual, (denoised - origin)^2, in the ``band``-th (from 0) of ``bands`` equal runs of channels, and 0 elsewhere. In the space
    ``haar`` of one level the four runs of a picture are LL, LH, HL and HH.

    Bands differ in deviation by far; read one by one they can each be held against their own references, where in the plain
    residual the coarse picture drowns the details. Its number is the mean over all elements: all bands add up to the residual.

    Walks: Renoise, Reconstruct, Compare (with ``last``). Shape: (n, *shape). Unit: squared element. Sign: larger is stranger.

    >>> import torch
    >>> from diffident.denoiser import Empirical
    >>> from diffident.walks import Renoise
    >>> film = Renoise()(Empirical(torch.zeros(1, 4, 1, 1)), torch.tensor([1.0, 0.0, 0.0, 3.0]).reshape(1, 4, 1, 1))
    >>> [band_residual.numbers(film, {"band": band, "bands": 4}).item() for band in range(4)]
    [0.25, 0.0, 0.0, 2.25]

    Source: the wavelet errors of Chen 2025 (2505.05137), whose formulas are not public; the bands of Phung et al. 2023 (WaveDiff, 2211.16152).
    """
    channels = trajectory.origin.shape[1]
    if channels % bands or not 0 <= band < bands:
        raise WrongShape(f"{channels} channels have no band {band} of {bands}, counted from 0; give bands that divide the channels, 4 in haar of one level")
    wide = channels // bands
    errors = residual.map(trajectory, {"last": last})
    found = torch.zeros_like(errors)
    found[:, band * wide : (band + 1) * wide] = errors[:, band * wide : (band + 1) * wide]
    return found
