"""A U-Net of one or two dimensions, shaped for the processor: wide channels on a coarse grid, channels last, one pass per layer."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InvalidSetting
from .layers import SILU, Attention, Block, Embedding, Keep, Network, Shift, Weights, ignored


class UNet(Network):
    """Space-to-depth, residual blocks on three grids, attention on the coarsest, sums instead of concatenations.

    Items of any size are taken: they are continued at the right and lower edge to a multiple of the coarsest grid, and
    cut back. Series (n, c, length) are pictures of height one.

    Args:
        channels: of an item.
        dims: 1 for (n, c, length), 2 for (n, c, height, width).
        widths: channels of the stream on each grid, the finest first, multiples of 32.
        blocks: residual blocks on each grid, on the way down and again on the way up.
        patch: side of the square (or length) that becomes one position of the finest grid.
        head: channels of an attention head; 0 leaves attention out.

    Streams: ``down0``, ``down1``, ... before each halving, the finest grid first; ``deepest``, the coarsest grid; ..., ``up1``, and ``finest``, the
    last on the finest grid. Positions that lie wholly beyond the item are left out.

    Raises:
        InvalidSetting: other dimensions, widths that are no multiples of 32, or heads of less than no channel.

    >>> UNet(3, widths=(32, 32))(torch.zeros(2, 3, 13, 9), torch.zeros(2)).shape
    torch.Size([2, 3, 13, 9])
    """

    def __init__(self, channels: int, dims: int = 2, widths: Sequence[int] = (64, 96, 128), blocks: int = 2, patch: int = 2, head: int = 32) -> None:
        super().__init__()
        if dims not in (1, 2) or not widths or any(width % 32 or width < 32 for width in widths) or blocks < 1 or patch < 1:
            raise InvalidSetting(f"a U-Net has 1 or 2 dimensions and widths that are multiples of 32; got dims={dims}, widths={tuple(widths)}")
        if head < 0:
            raise InvalidSetting(f"an attention head has channels, or 0 to leave attention out; got head={head}")
        self.channels, self.dims, self.widths, self.patch, self.head, self.depth = channels, dims, tuple(widths), patch, head, blocks
        kernel, point, embedded = (3, 3) if dims == 2 else (1, 3), (1, 1), 2 * widths[0]
        inside = channels * patch**dims
        self.embedding = Embedding(embedded)
        self.stem, self.shift = Weights(widths[0], inside, kernel), Shift(widths[0], embedded)
        self.down = nn.ModuleList(nn.ModuleList(Block(width, embedded, kernel) for _ in range(blocks)) for width in widths[:-1])
        self.widen = nn.ModuleList(Weights(wide, narrow, point) for narrow, wide in itertools.pairwise(widths))
        self.bottom = nn.ModuleList(Block(widths[-1], embedded, kernel) for _ in range(2 * blocks))
        self.attention = Attention(widths[-1], head) if head else nn.Identity()
        self.narrow = nn.ModuleList(Weights(narrow, wide, point) for narrow, wide in itertools.pairwise(widths))
        self.up = nn.ModuleList(nn.ModuleList(Block(width, embedded, kernel) for _ in range(blocks)) for width in widths[:-1])
        self.out, self.gain = Weights(inside, widths[0], kernel, 1 / SILU), nn.Parameter(torch.zeros(()))

    def settings(self) -> dict[str, Any]:
        own = {"channels": self.channels, "dims": self.dims, "widths": list(self.widths), "blocks": self.depth}
        return {**own, "patch": self.patch, "head": self.head}

    @property
    def streams(self) -> tuple[str, ...]:
        grids = range(len(self.widths) - 1)
        return *(f"down{i}" for i in grids), "deepest", *(f"up{i}" for i in reversed(grids) if i), "finest"

    def forward(self, x: Tensor, level: Tensor, keep: Keep = ignored) -> Tensor:
        embedded, shown = self.embedding(level), self._cropped(keep, x.shape[2:])
        grid = self._to_grid(x if self.dims == 2 else x[:, :, None])
        stream, kept = self.stem(grid, self.shift(embedded).to(x.dtype)), []
        for i, (blocks, widen) in enumerate(zip(self.down, self.widen, strict=True)):
            stream = _through(blocks, stream, embedded)
            shown(f"down{i}", stream)
            kept.append(stream)
            stream = widen(F.avg_pool2d(stream, self._window(2)))
        stream = self._deepest(stream, embedded)
        shown("deepest", stream)
        for i, (blocks, narrow) in enumerate(zip(reversed(self.up), reversed(self.narrow), strict=True), 2 - len(self.widths)):
            stream = kept.pop() + F.interpolate(narrow(stream), scale_factor=[float(side) for side in self._window(2)], mode="nearest")
            stream = _through(blocks, stream, embedded)
            if i:
                shown(f"up{-i}", stream)
        shown("finest", stream)
        answer = self._from_grid(self.out(F.silu(stream)) * self.gain.to(x.dtype), x.shape[-1 if self.dims == 1 else -2 :])
        return answer if self.dims == 2 else answer[:, :, 0]

    def _deepest(self, stream: Tensor, embedded: Tensor) -> Tensor:
        for i, block in enumerate(self.bottom):
            stream = block(stream, embedded)
            if i == self.depth - 1:
                stream = self.attention(stream)
        return stream

    def _cropped(self, keep: Keep, size: Sequence[int]) -> Keep:
        """Told a stream, tells ``keep`` the positions of it that cover an item of that size; of a series without its height of one."""
        whole = [-(-side // (self.patch * 2 ** (len(self.widths) - 1))) for side in size]  # positions of the coarsest grid

        def shown(name: str, stream: Tensor) -> None:
            stream = stream if self.dims == 2 else stream[:, :, 0]
            for axis, (side, coarsest) in enumerate(zip(size, whole, strict=True), 2):
                cell = self.patch * 2 ** (len(self.widths) - 1) * coarsest // stream.shape[axis]  # elements under a position
                stream = stream.narrow(axis, 0, -(-side // cell))
            keep(name, stream)

        return shown

    def _window(self, side: int) -> tuple[int, int]:
        return (side, side) if self.dims == 2 else (1, side)

    def _to_grid(self, x: Tensor) -> Tensor:
        """(n, c, h, w) to (n, c * patch^dims, h', w'), channels last, continued by its edge where it does not fit."""
        tall, wide = self._window(self.patch)
        coarse = 2 ** (len(self.widths) - 1)
        rows, columns = (-x.shape[2] % (tall * coarse) if self.dims == 2 else 0), -x.shape[3] % (wide * coarse)
        x = F.pad(x, (0, columns, 0, rows), mode="replicate") if rows or columns else x
        n, c, h, w = x.shape
        patches = x.reshape(n, c, h // tall, tall, w // wide, wide).permute(0, 2, 4, 3, 5, 1)
        return patches.reshape(n, h // tall, w // wide, tall * wide * c).permute(0, 3, 1, 2)

    def _from_grid(self, grid: Tensor, size: Sequence[int]) -> Tensor:
        tall, wide = self._window(self.patch)
        n, _, h, w = grid.shape
        patches = grid.permute(0, 2, 3, 1).reshape(n, h, w, tall, wide, self.channels).permute(0, 5, 1, 3, 2, 4)
        whole = patches.reshape(n, self.channels, h * tall, w * wide)
        return whole[..., : size[-1]] if self.dims == 1 else whole[..., : size[0], : size[1]]


def _through(blocks: nn.Module, stream: Tensor, embedded: Tensor) -> Tensor:
    for block in blocks.children():
        stream = block(stream, embedded)
    return stream
