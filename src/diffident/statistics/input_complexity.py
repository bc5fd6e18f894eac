"""Input complexity: how improbable an item is beyond what its own complexity explains."""

import io

import numpy as np
import PIL.Image
import torch
from jaxtyping import Float
from torch import Tensor

from ..trajectory import Trajectory
from . import statistic
from .bits_per_dimension import STEP, bits_per_dimension


@statistic(tail="upper", says="is less probable than its complexity explains", probes=bits_per_dimension.probes)
def input_complexity(trajectory: Trajectory) -> Float[Tensor, " n"]:
    """Bits per dimension under the model minus those that a general compressor needs: a likelihood ratio against PNG.

    S = bits_per_dimension - 8 bytes(PNG) / d, of the item with 8 bits. Elements must be those of pictures in [-1, 1] (the space ``pixels``); items of
    other than 1 or 3 channels are compressed as one grey picture of their rows.

    It takes off what makes smooth items probable to any model; for diffusion models that has been too much (DiffPath reports .451 on average). Of small
    items the PNG's own 67 bytes are most. Its length is a little another one with another zlib: calibrate where you score.

    Walks: Encode, without clipping. Shape: (n,). Unit: bits per element. Sign: larger is stranger.

    >>> from diffident.denoiser import GaussianMixture
    >>> from diffident.walks import Encode
    >>> from diffident.noise import uniform
    >>> busy = 2 * uniform((1, 1, 16, 16), "example") - 1
    >>> film = Encode(clip=False)(GaussianMixture(torch.zeros(1, 1, 16, 16), torch.ones(1)), torch.cat([0 * busy, busy]), input_complexity.probes)
    >>> (bits_per_dimension(film) - input_complexity(film)).diff().item() > 4
    True

    Source: Serra et al. 2020 (1909.11480).
    """
    items = trajectory.origin.detach().cpu()
    lengths = torch.tensor([8.0 * png_bytes(item.numpy()) for item in items], dtype=torch.float64)
    found = bits_per_dimension.read(trajectory)
    return found - (lengths / items[0].numel()).to(found)


def png_bytes(item: np.ndarray) -> int:
    """How long an item (c, h, w) in [-1, 1], or of any shape, is as an 8-bit PNG."""
    values = np.rint((np.clip(np.nan_to_num(item.astype(np.float64)), -1, 1) + 1) / STEP).astype(np.uint8)
    colour = values.ndim == 3 and len(values) == 3
    pixels = np.ascontiguousarray(np.moveaxis(values, 0, -1)) if colour else values.reshape(-1, values.shape[-1])
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.tell()
