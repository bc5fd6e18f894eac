"""Bits per dimension: how many bits the model would need for each element of an 8-bit item."""

import math

from jaxtyping import Float
from torch import Tensor

from ..trajectory import Trajectory
from . import statistic
from .likelihood import likelihood

#: Of the 256 values of 8 bits, one is so wide in [-1, 1].
STEP = 2 / 255


@statistic(tail="upper", says="is less probable than it should be", probes=likelihood.probes)
def bits_per_dimension(trajectory: Trajectory) -> Float[Tensor, " n"]:
    """The negative log-likelihood of :mod:`diffident.statistics.likelihood` in bits per element of an item of 8 bits.

    nats / ln 2 + log2(255 / 2): the density is of values in [-1, 1], one of 256 values is 2 / 255 wide there.

    One-sided, as likelihoods are mostly used: it calls smooth items normal. Where both ends may be strange take ``likelihood``.

    Walks: Encode, without clipping. Shape: (n,). Unit: bits per element. Sign: larger is stranger.

    >>> import torch
    >>> from diffident.denoiser import GaussianMixture
    >>> from diffident.levels import cosine
    >>> from diffident.walks import Encode
    >>> film = Encode(cosine(200), clip=False)(GaussianMixture(torch.zeros(1, 2), torch.tensor([0.25])), torch.zeros(1, 2), likelihood.probes)
    >>> round(bits_per_dimension(film).item(), 1)
    7.3

    Source: Song et al. 2021 (2011.13456).
    """
    return likelihood.read(trajectory) / math.log(2) - math.log2(STEP)
