"""Network -> Denoiser: the scaling that leaves the network only what is hard, and its training loss beside it.

Karras et al. 2022 (EDM, 2206.00364), written for pairs (alpha, sigma) and for items whose channels have means m and
deviations d of their own, measured and not assumed. With v = alpha^2 d^2 + sigma^2 the answer is

    E[x0 | x] = m + (alpha d^2 / v) (x - alpha m) + (sigma d / sqrt v) F((x - alpha m) / sqrt v, level)

Without the network this is the exact answer for independent Gaussian elements; the network F adds what a Gaussian does
not know, and its target has unit variance at every level. The level is ln(sigma / alpha) / 4, within bounds. Beyond the
upper one, and so at alpha = 0, all is noise: the network is not heard and the answer is the Gaussian's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from . import hardware, noise, registry
from .denoiser import Level, StoredDenoiser, per_item
from .errors import NoActivations
from .networks import DTYPES, NETWORKS, Keep, Network, folded, ignored, network

#: Beyond these ratios of noise to signal a network is not told apart: nothing is lost, or everything.
FAINTEST, LOUDEST = 1e-3, 1e3
#: A channel that hardly varies counts as varying this much, so that nothing is divided by nothing.
LEAST = 1e-3
#: And no less than this share of the root mean square over channels: a pixel that was always black is no measure of what it may become.
RELATIVE_LEAST = 0.05


@registry.registered("denoisers", "learned")
class Learned(StoredDenoiser):
    """A network that was trained to take noise off, with the measures of what it was trained on.

    Args:
        network: takes (n, *shape) and levels; its answers are those of :class:`diffident.networks.Network`.
        mean, deviation: of the elements, of a shape that multiplies an item: (c, 1, 1) for pictures.
        precision: ``fp32`` or ``bf16``, of the arithmetic; ``auto`` takes the best of this machine.

    The answer is float32 whatever the precision. A gradient is carried where the items ask for one.
    """

    def __init__(self, network: Network, mean: Tensor, deviation: Tensor, precision: str = "auto") -> None:
        self.network, self.mean, self.deviation = network, mean, deviation.clamp(min=LEAST)
        self._precision = hardware.precision(precision)

    @property
    def precision(self) -> str:
        return self._precision

    def __call__(self, x_t: Float[Tensor, "n *shape"], alpha: Level, sigma: Level) -> Float[Tensor, "n *shape"]:
        return self._answered(x_t, alpha, sigma, ignored)

    def watched(
        self, x_t: Float[Tensor, "n *shape"], alpha: Level, sigma: Level, streams: Sequence[str]
    ) -> tuple[Float[Tensor, "n *shape"], Mapping[str, Tensor]]:
        unknown = [name for name in streams if name not in self.network.streams]
        if unknown:
            raise NoActivations(f"the network {self._kind()[0]!r} has no stream called {', '.join(unknown)}; it has: {', '.join(self.network.streams)}")
        held: dict[str, Tensor] = {}

        def keep(name: str, stream: Tensor) -> None:
            if name in streams:
                held[name] = stream.float()

        return self._answered(x_t, alpha, sigma, keep), held

    def _answered(self, x_t: Tensor, alpha: Level, sigma: Level, keep: Keep) -> Tensor:
        centred, known, scale = self._scaled(x_t, alpha, sigma)
        asked = self._asked((x_t - centred) * scale, alpha, sigma, keep)
        return known + self._left(alpha, sigma, scale) * _heard(alpha, sigma, asked.float())

    def loss(self, items: Float[Tensor, "n *shape"], drawn: Float[Tensor, "n *shape"], ratio: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Mean squared error of the network's own answer, per item: 1 for a network that adds nothing to a Gaussian.

        Args:
            items: x0.
            drawn: standard normal noise.
            ratio: sigma / alpha of each item.
        """
        alpha, sigma = 1 / torch.hypot(torch.ones_like(ratio), ratio), ratio / torch.hypot(torch.ones_like(ratio), ratio)
        x = _wide(alpha, items) * items + _wide(sigma, items) * drawn
        centred, known, scale = self._scaled(x, alpha, sigma)
        target = (items - known) / self._left(alpha, sigma, scale)
        answer = self.network(((x - centred) * scale).to(DTYPES[self.precision]), _level(alpha, sigma)).float()
        return (answer - target).square().flatten(1).mean(1)

    def at(self, precision: str) -> Learned:
        return Learned(self.network, self.mean, self.deviation, precision)

    def untrained(self, seed: int = 0) -> Learned:
        """The same network with random weights, the measures kept: what the architecture and a Gaussian know by themselves."""
        kept = network(*self._kind())
        kept.load_state_dict({name: _drawn(name, tensor, seed) for name, tensor in self.network.state_dict().items()})
        return Learned(kept, self.mean, self.deviation, self.precision)

    def config(self) -> dict[str, Any]:
        kind, settings = self._kind()
        return {"kind": kind, "settings": settings}

    def tensors(self) -> dict[str, Tensor]:
        return {"mean": self.mean, "deviation": self.deviation, **{f"network.{name}": _compact(tensor) for name, tensor in self.network.state_dict().items()}}

    @classmethod
    def made_of(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Learned:
        with torch.device("meta"):  # the weights are about to come: none are drawn
            kept = network(config["kind"], config["settings"])
        state = {name.removeprefix("network."): tensor.float() for name, tensor in tensors.items() if name.startswith("network.")}
        kept.load_state_dict(state, assign=True)
        return cls(kept, tensors["mean"], tensors["deviation"])

    def _kind(self) -> tuple[str, dict[str, Any]]:
        kind = next(name for name, made in NETWORKS.items() if type(self.network) is made)
        return kind, self.network.settings()

    @cached_property
    def _ready(self) -> Network:
        return folded(self.network, self.precision)

    def _asked(self, x: Tensor, alpha: Level, sigma: Level, keep: Keep) -> Tensor:
        level = _level(torch.as_tensor(alpha, dtype=torch.float32), torch.as_tensor(sigma, dtype=torch.float32))
        return self._ready(x.to(DTYPES[self.precision]), level, keep)

    def _scaled(self, x_t: Tensor, alpha: Level, sigma: Level) -> tuple[Tensor, Tensor, Tensor]:
        """What is subtracted from x, the answer without the network, and what the rest is multiplied by."""
        a, s = _wide(alpha, x_t), _wide(sigma, x_t)
        scale = torch.rsqrt((a * self.deviation).square() + s.square())
        centred = a * self.mean
        return centred, self.mean + a * (self.deviation * scale).square() * (x_t - centred), scale

    def _left(self, alpha: Level, sigma: Level, scale: Tensor) -> Tensor:
        """The deviation of what the answer without the network leaves open."""
        shaped = torch.as_tensor(sigma, dtype=scale.dtype)
        return (shaped.reshape(-1, *[1] * (scale.ndim - 1)) if shaped.ndim else shaped) * self.deviation * scale


def _compact(tensor: Tensor) -> Tensor:
    """In half the bytes, where nothing is lost by it."""
    half = tensor.bfloat16()
    return half if torch.equal(half.float(), tensor) else tensor


def _wide(level: Level, x: Tensor) -> Tensor:
    """A level that multiplies items (n, *shape)."""
    return per_item(level, x).reshape(-1, *[1] * (x.ndim - 1)) if isinstance(level, Tensor) and level.ndim else torch.as_tensor(level, dtype=x.dtype)


def _level(alpha: Tensor, sigma: Tensor) -> Tensor:
    """What the network is told of the noise, (n,) or (): of the order of 1."""
    return (sigma / alpha.clamp(min=1e-12)).clamp(FAINTEST, LOUDEST).log() / 4


def _heard(alpha: Level, sigma: Level, asked: Tensor) -> Tensor:
    """The network's answer, but nothing where all is noise: there the mean is exact, and no network was ever taught."""
    loud = _wide(sigma, asked) > LOUDEST * _wide(alpha, asked)
    return torch.where(loud, torch.zeros_like(asked), asked)


def _drawn(name: str, like: Tensor, seed: int) -> Tensor:
    """Random weights; gains of one; what is part of the design as it is."""
    if name.endswith("gain"):
        return torch.ones_like(like)
    return noise.normal(tuple(like.shape), f"untrained {name}", seed).to(like) if name.endswith("weight") else like


def measured(items: Float[Tensor, "n *shape"], whole: bool = False) -> tuple[Tensor, Tensor]:
    """Mean and deviation of the elements of some items: per channel, or with ``whole`` per element; shapes that multiply an item.

    >>> mean, deviation = measured(torch.tensor([[[1.0, 3.0]], [[1.0, 3.0]]]))
    >>> mean.tolist(), deviation.tolist()
    ([[2.0]], [[1.0]])
    """
    over = (0,) if whole or items.ndim < 3 else (0, *range(2, items.ndim))
    mean = items.double().mean(over, keepdim=True)
    spread = (items.double() - mean).square().mean(over, keepdim=True).sqrt()
    least = RELATIVE_LEAST * spread.square().mean().sqrt()
    return mean[0].to(items.dtype), spread.clamp(min=least)[0].to(items.dtype)


def ratios(uniform: Tensor, centre: float = -1.2, spread: float = 1.2) -> Tensor:
    """Noise levels to train at, sigma / alpha relative to the deviation of the items: log-normal, from numbers in (0, 1).

    The form and the width are EDM's; the median, .30 of the deviation, is half of EDM's (whose -1.2 is for a deviation of .5).

    >>> round(ratios(torch.tensor([0.5])).item(), 3)
    0.301
    """
    return (centre + spread * math.sqrt(2) * torch.erfinv(2 * uniform - 1)).exp()
