"""What spaces share in which a network's inner maps are the elements: one grid, one scale a map, a style taken off, bands by input size."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, interpolate

from ..errors import InvalidSetting
from . import Space

#: What is learned is taken from so many pictures at most.
SAMPLE = 64

#: Style is taken off where shifts of whole pictures make up at least this share of what varies between known-good ones.
PICTURE_WIDE = 0.1

#: In tiles a place has so many pixels a side.
PLACE = 8


class Seen(Space):
    """Inner maps of a network on one grid.

    Each map is brought to the grid, averaged over 3 x 3 places and divided by its deviation on known-good items. Then each
    picture's own style is taken off in part: with m and s the mean and deviation of a channel over the picture,
    ``f <- (f - a m) / (s + .1)^a``, which evens out light and surface from picture to picture.

    Subclasses are frozen dataclasses with fields ``grid`` (places along the side of a square picture), ``style`` (a, from 0 to
    1; None lets known-good pictures decide, see :func:`picture_wide`) and ``scales`` (one for each map); :meth:`learned`
    settles what is open.
    """

    grid: int
    precision: str
    style: float | None
    scales: tuple[float, ...]

    @abstractmethod
    def seen(self, items: Float[Tensor, "n c h w"]) -> list[Float[Tensor, "n k y x"]]:
        """The maps, of any size, float32; those of one input size after those of another."""

    @torch.no_grad()
    def encode(self, items: Float[Tensor, "n c h w"]) -> Float[Tensor, "n channels gh gw"]:
        shape = like(tuple(items.shape[2:]), self.grid, 1)
        maps = [_gridded(one, shape) for one in self.seen(items)]
        scales = self.scales or (1.0,) * len(maps)
        return torch.cat([_plain(one / scale, self.style or 0.0) for one, scale in zip(maps, scales, strict=True)], dim=1)

    @torch.no_grad()
    def learned(self, items: Float[Tensor, "n c h w"]) -> Seen:
        """The space with the deviation of each map, about the mean of each channel, over known-good pictures, and a style."""
        some = items[torch.linspace(0, len(items) - 1, min(len(items), SAMPLE)).round().long()]
        shape = like(tuple(items.shape[2:]), self.grid, 1)
        maps = [_gridded(one, shape) for one in self.seen(some)]
        scales = tuple(max((one - one.mean((0, 2, 3), keepdim=True)).square().mean().sqrt().item(), 1e-6) for one in maps)
        share = picture_wide(torch.cat([one / scale for one, scale in zip(maps, scales, strict=True)], dim=1))
        settled = float(share >= PICTURE_WIDE) if self.style is None else self.style
        return replace(self, scales=scales, style=settled)  # type: ignore[type-var]

    def map_back(self, maps: Float[Tensor, "n channels gh gw"], size: tuple[int, ...]) -> Float[Tensor, "n h w"]:
        """The mean over channels, brought to the picture's size bilinearly: no place becomes higher than the highest was."""
        return interpolate(maps.mean(1, keepdim=True), size, mode="bilinear", align_corners=False)[:, 0]

    def bands(self, maps: Float[Tensor, "n channels gh gw"], size: tuple[int, ...]) -> Float[Tensor, "n sizes gh gw"]:
        """One band for each input size: the mean over its channels."""
        return torch.stack([part.mean(1) for part in maps.chunk(self.groups, dim=1)], dim=1)

    def at(self, precision: str) -> Seen:
        """The same space with that arithmetic; ``auto`` is single precision on every machine.

        In bfloat16 features move by a twentieth, and with them the p-values of a calibration that was made in the other: a
        folder would not mean the same everywhere. Who wants the speed, and calibrates in it, asks for it by name.
        """
        return replace(self, precision="fp32" if precision == "auto" else precision)  # type: ignore[type-var, call-arg]

    @property
    def arithmetic(self) -> str:
        return self.precision

    def suits(self, wanted: str) -> bool:
        return wanted == "features" or super().suits(wanted)

    def kept(self, elements: Float[Tensor, "n *shape"], size: tuple[int, ...]) -> Float[Tensor, "n *shape"]:
        return elements

    def _require(self) -> None:
        if self.grid < 1 or not 0 <= (self.style or 0.0) <= 1:
            raise InvalidSetting(
                f"a grid has a place or more a side, and of a picture's style a share from 0 to 1 is taken off; got {self.grid} and {self.style}"
            )


def like(shape: tuple[int, ...], side: int, step: int) -> tuple[int, int]:
    """Height and width in whole steps, of about the area of a square of that side, in the proportions of a picture."""
    height, width = shape
    tall = math.sqrt(height / width)
    return max(step, round(side * tall / step) * step), max(step, round(side / tall / step) * step)


def picture_wide(maps: Float[Tensor, "n k y x"]) -> float:
    """Of what varies between pictures at a place, the share that whole pictures share: 1 where they differ in light alone, near 0 where places differ.

    With d the deviation of a channel at a place from its mean over pictures, ``sum_c mean_n (mean_p d)^2 / sum_c mean_np d^2``.

    >>> light = torch.linspace(-1, 1, 5)[:, None, None, None].expand(5, 1, 4, 4)
    >>> round(picture_wide(light), 3)
    1.0
    """
    off = maps - maps.mean(0)
    return (off.mean((2, 3)).square().sum() / off.square().mean((2, 3)).sum().clamp(min=1e-12)).item()


def _plain(outputs: Tensor, style: float) -> Tensor:
    """Each picture's own mean and deviation of each channel taken off in part."""
    if not style:
        return outputs
    mean, deviation = outputs.mean((2, 3), keepdim=True), outputs.std((2, 3), keepdim=True, correction=0)
    return (outputs - style * mean) / (deviation + 0.1) ** style


def _gridded(outputs: Tensor, grid: tuple[int, int]) -> Tensor:
    """Averaged over 3 x 3 places of the grid."""
    finer = outputs.shape[2] >= grid[0] and outputs.shape[3] >= grid[1]
    brought = adaptive_avg_pool2d(outputs, grid) if finer else interpolate(outputs, grid, mode="bilinear", align_corners=False)
    return avg_pool2d(brought, 3, 1, 1, count_include_pad=False)
