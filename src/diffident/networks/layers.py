"""The parts of magnitude-preserving networks: weights whose rows have unit norm, an embedding of the level, a residual block.

Karras et al. 2024 (EDM2, 2312.02696) keep the magnitude of activations by construction instead of by normalisation
layers. Here the constants that this takes (of the activation, of the residual sum) multiply the weights and cost nothing;
a block adds its level as a bias, which a convolution takes for free, and its residual branch as ``onto``, likewise.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: silu(z) of standard normal z has this root mean square.
SILU = 0.5962
#: What a block adds to its stream has this deviation, the stream itself 1 at first.
BRANCH = 0.5


#: Is told the streams of a network by name as they pass, each (n, channels, *grid).
Keep = Callable[[str, Tensor], None]


def ignored(name: str, stream: Tensor) -> None:
    """Nobody looks at the streams."""


class Network(nn.Module, ABC):
    """Takes items (n, *shape) and their levels (n,) or (), any real number each; gives (n, *shape)."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What it is made of, as plain data."""

    @property
    @abstractmethod
    def streams(self) -> tuple[str, ...]:
        """What can be looked at inside, in the order in which it passes. Every network has a ``deepest`` and a ``finest`` stream."""

    @abstractmethod
    def forward(self, x: Tensor, level: Tensor, keep: Keep = ignored) -> Tensor:
        """(n, *shape) and (n,), or () for all alike, to (n, *shape)."""


class Weights(nn.Module):
    """A linear map or convolution whose every output has unit variance when its inputs have.

    Args:
        fan_out, fan_in: channels.
        kernel: height and width of the window; none for a matrix on the last axis.
        scale: multiplies the output; folded into the weights.
    """

    def __init__(self, fan_out: int, fan_in: int, kernel: tuple[int, ...] = (), scale: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(fan_out, fan_in, *kernel))
        self.kernel, self.scale, self.ready, self.packed = kernel, scale, None, {}

    def matrix(self) -> Tensor:
        """The weights that multiply, float32: rows of unit norm, times the scale."""
        norm = self.weight.flatten(1).norm(dim=1).clamp(min=1e-8).reshape(-1, *[1] * (self.weight.ndim - 1))
        return self.weight * (self.scale / norm)

    def renormalise(self) -> None:
        fan = self.weight[0].numel()
        self.weight.mul_(math.sqrt(fan) / self.weight.flatten(1).norm(dim=1).clamp(min=1e-8).reshape(-1, *[1] * (self.weight.ndim - 1)))

    def fold(self, dtype: torch.dtype) -> None:
        """From now on the weights are these, in that precision."""
        ready = self.matrix().detach().to(dtype)
        self.ready = ready.contiguous(memory_format=torch.channels_last) if self.kernel else ready

    def forward(self, x: Tensor, bias: Tensor | None = None, silu: bool = False, onto: Tensor | None = None) -> Tensor:
        """The map of x, plus a bias (c,) or (n, c), through silu, added to ``onto``; as few passes over memory as can be."""
        weight = self.matrix().to(x.dtype) if self.ready is None else self.ready
        if not self.kernel:
            return _finished(F.linear(x, weight), bias, silu, onto)
        if self.ready is not None and _fusible(x, bias):
            return self._fused(x, bias, silu, onto)
        shared = bias if bias is not None and bias.ndim == 1 else None
        mapped = F.conv2d(x, weight, shared, padding=[side // 2 for side in self.kernel])
        return _finished(mapped, None if bias is None or bias.ndim == 1 else bias[..., None, None], silu, onto)

    def _fused(self, x: Tensor, bias: Tensor | None, silu: bool, onto: Tensor | None) -> Tensor:
        """Convolution, bias, activation and sum in one pass of oneDNN, with weights laid out for it."""
        geometry = [side // 2 for side in self.kernel], [1, 1], [1, 1], 1
        weight = self.packed.get(x.shape)
        if weight is None:
            padding, stride, dilation, groups = geometry
            weight = torch.ops.mkldnn._reorder_convolution_weight(self.ready, padding, stride, dilation, groups, list(x.shape))
            self.packed = {x.shape: weight}  # the latest only; another thread may put its own in its place
        if onto is not None and not silu:
            return torch.ops.mkldnn._convolution_pointwise.binary(x, onto, weight, bias, *geometry, "add", 1.0, None, [], None)
        mapped = torch.ops.mkldnn._convolution_pointwise(x, weight, bias, *geometry, "swish" if silu else "none", [], "")
        return mapped if onto is None else onto + mapped


def _fusible(x: Tensor, bias: Tensor | None) -> bool:
    """Whether oneDNN may do it in one pass: nobody wants a gradient, and all items share their bias."""
    plain = not (torch.is_grad_enabled() and x.requires_grad) and x.device.type == "cpu" and (bias is None or bias.ndim == 1)
    return plain and torch.backends.mkldnn.is_available() and x.is_contiguous(memory_format=torch.channels_last)


def _finished(mapped: Tensor, bias: Tensor | None, silu: bool, onto: Tensor | None) -> Tensor:
    mapped = mapped if bias is None else mapped + bias
    mapped = F.silu(mapped) if silu else mapped
    return mapped if onto is None else onto + mapped


class Embedding(nn.Module):
    """A level, any real number of the order of 1, as ``width`` features: random Fourier features, mixed once."""

    def __init__(self, width: int, features: int = 64) -> None:
        super().__init__()
        self.frequency: Tensor
        self.phase: Tensor
        # part of the design, not of the weights; drawn here even where weights are to come, for without a device torch imports its compiler for that
        here = {"generator": torch.Generator().manual_seed(0), "device": "cpu"}
        self.register_buffer("frequency", 2 * math.pi * torch.randn(features, **here))
        self.register_buffer("phase", 2 * math.pi * torch.rand(features, **here))
        self.mix = Weights(width, features)

    def forward(self, level: Tensor) -> Tensor:
        """(n,) or () to (n, width) or (width,), float32."""
        waves = math.sqrt(2) * torch.cos(level.float()[..., None] * self.frequency + self.phase)
        weight = self.mix.matrix() if self.mix.ready is None else self.mix.ready.float()
        return F.silu(F.linear(waves, weight)) / SILU


class Shift(nn.Module):
    """The bias that a level gives to ``width`` channels; nothing at first."""

    def __init__(self, width: int, embedded: int) -> None:
        super().__init__()
        self.mix, self.gain = Weights(width, embedded), nn.Parameter(torch.zeros(()))

    def forward(self, embedded: Tensor) -> Tensor:
        weight = self.mix.matrix() if self.mix.ready is None else self.mix.ready.float()
        return self.gain * F.linear(embedded, weight)


class Block(nn.Module):
    """Residual: x + W1 silu(W0 silu(x) + shift(level)), with constants that keep the branch at BRANCH."""

    def __init__(self, width: int, embedded: int, kernel: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.first = Weights(width, width, kernel, 1 / SILU)
        self.shift = Shift(width, embedded)
        self.second = Weights(width, width, kernel, BRANCH / SILU)

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        hidden = self.first(F.silu(x), self.shift(embedded).to(x.dtype), silu=True)
        return self.second(hidden, onto=x)


class Attention(nn.Module):
    """Every position looks at all others: cosine similarities (queries, keys and values of unit norm), ``head`` channels wide."""

    def __init__(self, width: int, head: int = 32) -> None:
        super().__init__()
        self.heads = max(width // head, 1)
        self.ask, self.tell = Weights(3 * width, width, (1, 1)), Weights(width, width, (1, 1), BRANCH)

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        parts = self.ask(x).permute(0, 2, 3, 1).reshape(n, h * w, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        query, key, value = (parts.float() * torch.rsqrt(parts.float().square().mean(-1, keepdim=True) + 1e-4)).to(x.dtype)
        seen = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(n, h, w, c).permute(0, 3, 1, 2)
        return self.tell(seen.contiguous(memory_format=torch.channels_last), onto=x)
