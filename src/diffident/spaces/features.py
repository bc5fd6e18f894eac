"""Features: the diffusion lives where a frozen network sees, at several input sizes, on one grid."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, interpolate

from .. import registry
from ..errors import InvalidSetting
from ..networks.frozen import Frozen, frozen
from ..weights import bundled, sha256
from . import Space

#: The deviation of a block's outputs is taken from so many pictures at most.
SAMPLE = 64


@registry.registered("spaces", "features")
@dataclass(frozen=True)
class Features(Space):
    """What chosen blocks of a frozen network answer to a picture, brought to one grid; several input sizes see coarse and fine.

    A picture (grey is repeated) is resized to each of ``sizes``, keeping its proportions at that area, and shown to the
    network; the outputs of ``blocks`` are brought to the grid, averaged over 3 x 3 places and divided by the deviation
    that each block has on known-good items. Channels are ordered by size, then by block. Elements have mean square near 1.

    Not invertible: what does not move these features is not seen. Networks that were trained on photographs, as the
    bundled MobileNetV2 was on ImageNet, are no longer "without training" on photographs.

    Attributes:
        network: of which kind: ``mobilenet_v2`` (bundled), ``squeezenet`` or ``timm:NAME``; other weights go with ``weights``.
        blocks: whose outputs are taken.
        sizes: of the input, in pixels: the side of a square of the same area.
        grid: places along the side of a square picture.
        scales: the deviation of each block at each size; :meth:`learned` measures them.
        digest: sha256 of the weights.
        weights: the numbers of the network; empty takes those that are bundled.

    Raises:
        InvalidSetting: no blocks or sizes, blocks that the network lacks, a grid below 1, or other weights than ``digest`` says.

    >>> Features(sizes=(64,), grid=4).encode(torch.zeros(1, 1, 32, 32)).shape
    torch.Size([1, 192, 4, 4])

    Source: Cohen and Hoshen 2020 (SPADE, 2005.02357); Roth et al. 2022 (PatchCore, 2106.08265) for the local average.
    """

    network: str = "mobilenet_v2"
    blocks: tuple[int, ...] = (6, 10, 13)
    sizes: tuple[int, ...] = (160, 256, 384)
    grid: int = 24
    scales: tuple[float, ...] = ()
    digest: str = ""
    weights: Mapping[str, Tensor] = field(default_factory=dict, compare=False, repr=False)
    precision: str = field(default="fp32", compare=False)

    def __post_init__(self) -> None:
        if not self.blocks or not self.sizes or min(self.sizes) < 32 or self.grid < 1:
            raise InvalidSetting(f"features need blocks, input sizes of 32 pixels or more and a grid; got {self.blocks}, {self.sizes}, {self.grid}")
        if len(self.scales) not in (0, len(self.blocks) * len(self.sizes)):
            raise InvalidSetting(f"there is one scale for each of {len(self.blocks)} blocks at each of {len(self.sizes)} sizes; got {len(self.scales)}")
        lacking = [block for block in self.blocks if block not in self.net.blocks]
        if lacking:
            raise InvalidSetting(f"{self.network!r} has no block {lacking[0]}; it has {', '.join(map(str, self.net.blocks))}")
        bare = self.bundled and not self.weights
        found = sha256(self.network) if bare else self.digest or _sum(self.weights)
        if bare and self.digest and found != self.digest:
            raise InvalidSetting(
                f"the bundled weights of {self.network!r} are others ({found[:12]}…) than this space was made with ({self.digest[:12]}…); train again"
            )
        object.__setattr__(self, "digest", found)

    @cached_property
    def net(self) -> Frozen:
        """The network itself."""
        return frozen(self.network, self.weights or bundled(self.network), self.precision)

    @property
    def bundled(self) -> bool:
        """Whether the package has weights for this kind of network."""
        return self.network == "mobilenet_v2"

    @property
    def roomy(self) -> int:
        return max(self.sizes)

    @property
    def groups(self) -> int:
        return len(self.sizes)

    def tiled(self, side: int) -> Features:
        """One input size, the tile's own pixels, and a place for every 8 of them."""
        return replace(self, sizes=(side,), grid=side // 8, scales=())

    @torch.no_grad()
    def encode(self, items: Float[Tensor, "n c h w"]) -> Float[Tensor, "n channels gh gw"]:
        scales = self.scales or (1.0,) * (len(self.blocks) * len(self.sizes))
        return torch.cat([of / scale for of, scale in zip(self._seen(items), scales, strict=True)], dim=1)

    def map_back(self, maps: Float[Tensor, "n channels gh gw"], size: tuple[int, ...]) -> Float[Tensor, "n h w"]:
        """The mean over channels, brought to the picture's size bilinearly: no place becomes higher than the highest was."""
        return interpolate(maps.mean(1, keepdim=True), size, mode="bilinear", align_corners=False)[:, 0]

    def bands(self, maps: Float[Tensor, "n channels gh gw"], size: tuple[int, ...]) -> Float[Tensor, "n sizes gh gw"]:
        """One band for each input size: the mean over its channels."""
        return torch.stack([part.mean(1) for part in maps.chunk(self.groups, dim=1)], dim=1)

    def kept(self, elements: Float[Tensor, "n *shape"], size: tuple[int, ...]) -> Float[Tensor, "n *shape"]:
        return elements

    @torch.no_grad()
    def learned(self, items: Float[Tensor, "n c h w"]) -> Features:
        """The space with the deviation of each block at each size, about the mean of each channel, over known-good pictures."""
        some = items[torch.linspace(0, len(items) - 1, min(len(items), SAMPLE)).round().long()]
        plain = replace(self, scales=())
        wide = [self.net.blocks[block][0] for block in self.blocks] * len(self.sizes)
        parts = plain.encode(some).split(wide, dim=1)
        return replace(self, scales=tuple(max((of - of.mean((0, 2, 3), keepdim=True)).square().mean().sqrt().item(), 1e-6) for of in parts))

    def config(self) -> dict[str, Any]:
        names = ("network", "blocks", "sizes", "grid", "scales", "digest")
        return {"name": "features", **{name: getattr(self, name) for name in names}}

    def tensors(self) -> dict[str, Tensor]:
        return dict(self.weights)

    def at(self, precision: str) -> Features:
        return replace(self, precision=precision)

    def untrained(self, seed: int = 0) -> Features:
        return replace(self, weights=self.net.untrained(seed).tensors(), digest="", scales=())

    def _seen(self, items: Tensor) -> list[Tensor]:
        """The outputs of each block at each size on the grid, before they are scaled."""
        shape, found = tuple(items.shape[2:]), []
        pictures = items.expand(-1, 3, -1, -1)
        for side in self.sizes:
            sized = interpolate(pictures, _like(shape, side, 16), mode="bilinear", antialias=True, align_corners=False)
            found += [_gridded(of.float(), _like(shape, self.grid, 1)) for of in self.net.features(sized, self.blocks)]
        return found


def _sum(weights: Mapping[str, Tensor]) -> str:
    """sha256 of every name and bit."""
    made = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        made.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        made.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return made.hexdigest()


def _like(shape: tuple[int, ...], side: int, step: int) -> tuple[int, int]:
    """Height and width in whole steps, of about the area of a square of that side, in the proportions of a picture."""
    height, width = shape
    tall = math.sqrt(height / width)
    return max(step, round(side * tall / step) * step), max(step, round(side / tall / step) * step)


def _gridded(outputs: Tensor, grid: tuple[int, int]) -> Tensor:
    """Averaged over 3 x 3 places of the grid."""
    finer = outputs.shape[2] >= grid[0] and outputs.shape[3] >= grid[1]
    brought = adaptive_avg_pool2d(outputs, grid) if finer else interpolate(outputs, grid, mode="bilinear", align_corners=False)
    return avg_pool2d(brought, 3, 1, 1, count_include_pad=False)
