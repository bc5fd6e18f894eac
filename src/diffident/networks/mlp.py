"""A multi-layer perceptron of residual blocks: for tables, features and anything without neighbourhood."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import SILU, Block, Embedding, Keep, Network, Shift, Weights, ignored


class MLP(Network):
    """Residual blocks over all elements of an item together.

    Args:
        shape: of an item; its elements are read as one row.
        width: channels of the stream.
        blocks: residual blocks, two layers each.

    >>> import torch
    >>> MLP((2, 3), width=32)(torch.zeros(4, 2, 3), torch.zeros(4)).shape
    torch.Size([4, 2, 3])
    """

    def __init__(self, shape: Sequence[int], width: int = 256, blocks: int = 3) -> None:
        super().__init__()
        self.shape, self.width, size = tuple(shape), width, math.prod(shape)
        self.embedding = Embedding(width)
        self.stem, self.shift = Weights(width, size), Shift(width, width)
        self.blocks = nn.ModuleList(Block(width, width) for _ in range(blocks))
        self.out, self.gain = Weights(size, width, (), 1 / SILU), nn.Parameter(torch.zeros(()))

    def settings(self) -> dict[str, Any]:
        return {"shape": list(self.shape), "width": self.width, "blocks": len(self.blocks)}

    @property
    def streams(self) -> tuple[str, ...]:
        return "deepest", "finest"

    def forward(self, x: Tensor, level: Tensor, keep: Keep = ignored) -> Tensor:
        embedded = self.embedding(level)
        stream = self.stem(x.flatten(1), self.shift(embedded).to(x.dtype))
        blocks, half = list(self.blocks), -(-len(self.blocks) // 2)
        for block in blocks[:half]:
            stream = block(stream, embedded)
        keep("deepest", stream)
        for block in blocks[half:]:
            stream = block(stream, embedded)
        keep("finest", stream)
        return (self.out(F.silu(stream)) * self.gain.to(x.dtype)).reshape(x.shape)
