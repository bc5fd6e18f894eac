"""Haar energies: how much of an item lies in each band of its wavelet transform, without a model."""

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import InvalidSetting
from ..spaces.haar import Haar
from ..trajectory import Trajectory
from . import statistic

#: Energies are told apart above this: a tenth of what rounding to 8 bits leaves.
LEAST = 5e-7


@statistic(tail="both", says="has unusual detail at one of its scales")
def haar_energies(trajectory: Trajectory, *, levels: int = 3) -> Float[Tensor, "n bands"]:
    """Log energy of the item's detail in each direction at each scale, and of the coarse picture that is left: its power spectrum in octaves.

    ln(mean c^2 + 5e-7) over the coefficients c of each band of the orthonormal Haar transform, all channels together: 3 bands (of series 1) of each of
    ``levels`` octaves, the finest first, then the last coarse picture.

    A model has to beat it. On Unasked none is asked; on other walks elements must be those of items (the space ``pixels``).

    Walks: any that is about items; Unasked costs nothing. Shape: (n, 3 levels + 1) of pictures. Unit: nats. Sign: far from the references either
    way is stranger.

    Raises: InvalidSetting for no levels.

    >>> from diffident.denoiser import Empirical
    >>> from diffident.walks import Unasked
    >>> stripes = torch.tensor([1.0, -1.0]).repeat(2).expand(1, 1, 4, 4)
    >>> haar_energies(Unasked()(Empirical(stripes), stripes), {"levels": 1}).exp().round(decimals=3).tolist()
    [[4.0, 0.0, 0.0, 0.0]]

    Source: Haar 1910; Mallat 1989 for energies by scale and direction.
    """
    if levels < 1:
        raise InvalidSetting(f"wavelet energies are of one level or more; got levels={levels}")
    low = trajectory.origin.double()
    low = low if low.ndim > 2 else low[:, None]
    bands = []
    for _ in range(levels):
        low, *details = Haar().encode(low).chunk(2 ** (low.ndim - 2), dim=1)
        bands += details
    return torch.stack([(band.square().flatten(1).mean(1) + LEAST).log() for band in [*bands, low]], dim=1)
