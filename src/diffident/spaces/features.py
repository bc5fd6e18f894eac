"""Features: the diffusion lives where a frozen network sees, at several input sizes, on one grid."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from .. import registry
from ..errors import InvalidSetting
from ..networks.frozen import Frozen, frozen
from ..weights import BUNDLED, bundled, sha256
from ._seen import PLACE, Seen, like


@registry.registered("spaces", "features")
@dataclass(frozen=True)
class Features(Seen):
    """What chosen blocks of a frozen network answer to a picture, brought to one grid; several input sizes see coarse and fine.

    A picture (grey is repeated) is resized to each of ``sizes``, keeping its proportions at that area, and shown to the
    network; what becomes of the outputs of ``blocks`` then, :class:`diffident.spaces._seen.Seen` says. Channels are ordered by
    size, then by block.

    Not invertible: what does not move these features is not seen. Networks that were trained on photographs, as the
    bundled MobileNetV2 was on ImageNet, are no longer "without training" on photographs.

    Attributes:
        network: of which kind: ``mobilenet_v2`` (bundled), ``squeezenet`` or ``timm:NAME``; other weights go with ``weights``.
        blocks: whose outputs are taken; empty takes those that are usual: 6, 10 and 13 of MobileNetV2, of others the last of
            each stride of 4, 8 and 16 pixels.
        sizes: of the input, in pixels: the side of a square of the same area.
        grid: places along the side of a square picture.
        style: a in [0, 1], how much of a picture's own style is taken off; None lets known-good pictures decide.
        scales: the deviation of each block at each size; :meth:`learned` measures them.
        digest: sha256 of the weights.
        weights: the numbers of the network; empty takes those that are bundled.

    Raises:
        InvalidSetting: no blocks or sizes, blocks that the network lacks, a grid below 1, or other weights than ``digest`` says.

    >>> Features(sizes=(64,), grid=4).encode(torch.zeros(1, 1, 32, 32)).shape
    torch.Size([1, 192, 4, 4])

    Source: Cohen and Hoshen 2020 (SPADE, 2005.02357); Roth et al. 2022 (PatchCore, 2106.08265) for the local average;
    Huang and Belongie 2017 (1703.06868) for mean and deviation of a channel as style.
    """

    network: str = "mobilenet_v2"
    blocks: tuple[int, ...] = ()
    sizes: tuple[int, ...] = (160, 256, 384)
    grid: int = 32
    style: float | None = None
    scales: tuple[float, ...] = ()
    digest: str = ""
    weights: Mapping[str, Tensor] = field(default_factory=dict, compare=False, repr=False)
    precision: str = field(default="fp32", compare=False)

    def __post_init__(self) -> None:
        self._require()
        object.__setattr__(self, "blocks", self.blocks or _usual(self.net, self.network))
        if not self.blocks or not self.sizes or min(self.sizes) < 32:
            raise InvalidSetting(f"features need blocks and input sizes of 32 pixels or more; got {self.blocks} and {self.sizes}")
        if len(self.scales) not in (0, len(self.blocks) * len(self.sizes)):
            raise InvalidSetting(f"there is one scale for each of {len(self.blocks)} blocks at each of {len(self.sizes)} sizes; got {len(self.scales)}")
        lacking = [block for block in self.blocks if block not in self.net.blocks]
        if lacking:
            raise InvalidSetting(f"{self.network!r} has no block {lacking[0]}; it has {', '.join(map(str, self.net.blocks))}")
        bare = self.bundled and not self.weights
        found = sha256(self.network) if bare else _sum(self.weights)
        if self.digest and found != self.digest:
            which = f"the {'bundled ' if bare else ''}weights of {self.network!r}"
            raise InvalidSetting(f"{which} are others ({found[:12]}…) than this space was made with ({self.digest[:12]}…); train again")
        object.__setattr__(self, "digest", found)

    @cached_property
    def net(self) -> Frozen:
        """The network itself."""
        return frozen(self.network, self.weights or bundled(self.network), self.precision)

    @property
    def bundled(self) -> bool:
        """Whether the package has weights for this kind of network."""
        return self.network in BUNDLED

    @property
    def roomy(self) -> int:
        return max(self.sizes)

    @property
    def groups(self) -> int:
        return len(self.sizes)

    def tiled(self, side: int) -> Features:
        """One input size, the tile's own pixels, and a place for every 8 of them; a tile is no picture and has no style of its own."""
        return replace(self, sizes=(side,), grid=side // PLACE, scales=(), style=0.0)

    def config(self) -> dict[str, Any]:
        names = ("network", "blocks", "sizes", "grid", "style", "scales", "digest")
        return {"name": "features", **{name: getattr(self, name) for name in names}}

    def tensors(self) -> dict[str, Tensor]:
        return dict(self.weights)

    def untrained(self, seed: int = 0) -> Features:
        return replace(self, weights=self.net.untrained(seed).tensors(), digest="", scales=())

    def seen(self, items: Float[Tensor, "n c h w"]) -> list[Float[Tensor, "n k y x"]]:
        shape, pictures = tuple(items.shape[2:]), items.expand(-1, 3, -1, -1)
        sized = (interpolate(pictures, like(shape, side, 16), mode="bilinear", antialias=True, align_corners=False) for side in self.sizes)
        return [of for one in sized for of in self.net.features(one, self.blocks)]


def _usual(net: Frozen, kind: str) -> tuple[int, ...]:
    if kind == "mobilenet_v2":
        return (6, 10, 13)
    last = {stride: block for block, (_, stride) in sorted(net.blocks.items())}
    return tuple(last[stride] for stride in (4, 8, 16) if stride in last)


def _sum(weights: Mapping[str, Tensor]) -> str:
    """sha256 of every name and bit."""
    made = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        made.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        made.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return made.hexdigest()
