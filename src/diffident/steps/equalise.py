"""Equal effective resolution and equal JPEG history: what only tells one camera or archive from another is taken from all."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import PIL.Image
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from .. import registry
from ..errors import InvalidSetting, TooFewItems
from . import Step

#: Sides to which pictures may be reduced, in pixels.
SIDES = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
#: Of what varies in a picture, every frequency counted alike, so much lies below its effective resolution.
BELOW = 0.95
#: So many of the known-good pictures must be at least as fine as what all are reduced to.
FINE = 0.95


@registry.registered("steps", "equalise")
@dataclass(frozen=True)
class Equalise(Step):
    """Reduces every picture to one resolution, gives it one JPEG step, and brings it back to its size.

    An archive of enlarged pictures, or one that was once stored as JPEG, is told from any other by that alone, and a detector
    that has learned from such pictures finds all else strange (Heng et al. 2024, table 7: .999 against .502). Reduced to
    what all of them show, and compressed once more, they are compared by what they show. Detail finer than that is lost: where all pictures
    come from one camera, leave this step out. Maps come back as they are; larger is stranger.

    Attributes:
        side: of the longer side, in pixels; pictures that are no larger keep their size.
        quality: of the JPEG step, 1 to 100, as Pillow counts, colour at half resolution; 0 leaves it out.

    Raises:
        InvalidSetting: a side below 2, or a quality outside its range.

    >>> step = Equalise.learn(torch.rand(8, 1, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1)
    >>> step.side
    48
    >>> step(torch.zeros(2, 3, 64, 64)).shape
    torch.Size([2, 3, 64, 64])

    Source: Heng et al. 2024 (DiffPath, 2405.11881) for the rule to equalise resolution before all else.
    """

    side: int
    quality: int = 75

    def __post_init__(self) -> None:
        if self.side < 2 or not 0 <= self.quality <= 100:
            raise InvalidSetting(f"pictures are reduced to 2 pixels or more, with JPEG quality 1 to 100, or 0 for none; got {self.side} and {self.quality}")

    @classmethod
    def learn(cls, items: Float[Tensor, "n c h w"]) -> Equalise:
        """The largest of the usual sides that all but one in twenty known-good pictures have detail for.

        Raises:
            TooFewItems: none in which anything varies.
        """
        found = resolution(items).numpy() if len(items) else np.zeros(0)
        if not (found > 0).any():
            raise TooFewItems("the resolution of pictures is learned from 1 known-good item or more in which anything varies; got none")
        common = float(np.quantile(found[found > 0], 1 - FINE, method="lower"))
        return cls(max((side for side in SIDES if side <= common), default=SIDES[0]))

    def __call__(self, items: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        if not len(items):
            return items
        scale, size = min(1.0, self.side / max(items.shape[2:])), items.shape[2:]
        small = interpolate(items, [max(1, round(length * scale)) for length in size], mode="bilinear", antialias=True)
        stored = torch.stack([_stored(one, self.quality) for one in small]) if self.quality else small
        return interpolate(stored, size, mode="bilinear", antialias=True)

    def config(self) -> dict[str, Any]:
        return {"name": "equalise", "side": self.side, "quality": self.quality}

    @classmethod
    def made_of(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Equalise:
        return cls(config["side"], config["quality"])


def resolution(items: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
    """The effective resolution of each picture: the side in pixels that would show what it shows, at most its own longer side.

    The Fourier power of its grey values, times the squared frequency, so that of natural pictures every frequency weighs about alike;
    then the frequency below which 95 % of that lies, along the axis where it reaches further. A picture enlarged twofold has half its
    side, or a little more; one in which nothing varies has 0.

    >>> fine = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    >>> enlarged = torch.nn.functional.interpolate(fine, scale_factor=4, mode="bicubic")
    >>> resolution(enlarged).item() < 0.5 * resolution(torch.rand(1, 1, 128, 128)).item()
    True
    """
    grey = items.double().mean(1)
    height, width = grey.shape[1:]
    window = torch.hann_window(height, periodic=False, dtype=torch.float64)[:, None] * torch.hann_window(width, periodic=False, dtype=torch.float64)
    power = torch.fft.fft2((grey - grey.mean((1, 2), keepdim=True)) * window).abs().square()
    down, across = torch.fft.fftfreq(height, dtype=torch.float64).abs()[:, None], torch.fft.fftfreq(width, dtype=torch.float64).abs()
    furthest, order = torch.maximum(down, across).flatten().sort(stable=True)
    weighed = (power * (down.square() + across.square())).flatten(1)[:, order].cumsum(1)
    total = weighed[:, -1:]
    found = furthest[(weighed < BELOW * total).sum(1).clamp(max=len(furthest) - 1)]
    return torch.where(total[:, 0] > 1e-12, 2 * found * max(height, width), 0.0)


def _stored(item: Tensor, quality: int) -> Tensor:
    """A picture (c, h, w) as JPEG gives it back."""
    bytes_ = ((item.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    planes = [bytes_] if len(bytes_) in (1, 3) else [plane[None] for plane in bytes_]
    return torch.cat([_jpeg(plane, quality) for plane in planes]).to(item) / 127.5 - 1


def _jpeg(plane: Tensor, quality: int) -> Tensor:
    held, array = io.BytesIO(), plane.permute(1, 2, 0).contiguous().numpy()
    PIL.Image.fromarray(array[..., 0] if len(plane) == 1 else array).save(held, "JPEG", quality=quality, subsampling=2)
    read = np.array(PIL.Image.open(held))
    return torch.from_numpy(read[None] if read.ndim == 2 else read.transpose(2, 0, 1).copy())
