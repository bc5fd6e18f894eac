"""Known worlds: a denoiser that answers exactly, ordinary items drawn from it, and items that are strange in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from .. import levels as grids
from ..denoiser import Denoiser, GaussianMixture, Level
from ..networks import network
from ..precondition import Learned
from ..walks import Clean, Compare, Descend, Encode, Forward, Inpaint, Reconstruct, Renoise, Restore, RoundTrip, Sample, Walk

Answers = TypeVar("Answers", bound=Denoiser, covariant=True)


@dataclass(frozen=True)
class World(Generic[Answers]):
    """A known truth: a denoiser that answers exactly, ordinary items drawn from it, and items that are strange in it."""

    denoiser: Answers
    ordinary: Tensor
    strange: Tensor


def gaussian_world(shape: tuple[int, ...] = (1, 4, 4), n: int = 64, dtype: torch.dtype = torch.float64) -> World[GaussianMixture]:
    """One Gaussian with correlated elements; strange items come from one three times as wide and shifted."""
    dims = math.prod(shape)
    place = torch.arange(dims, dtype=dtype)
    covariance = 0.09 * torch.exp(-(place[:, None] - place[None]).abs() / 3)
    usual = GaussianMixture(torch.zeros(1, *shape, dtype=dtype), covariance[None])
    odd = GaussianMixture(torch.full((1, *shape), 0.4, dtype=dtype), 9 * covariance[None])
    return World(usual, usual.draw(n, seed=1), odd.draw(n, seed=2))


def modes_world(shape: tuple[int, ...] = (1, 4, 4), n: int = 64, dtype: torch.dtype = torch.float64) -> World[GaussianMixture]:
    """Two narrow modes; strange items lie between them, where interpolating samplers leave their failures."""
    modes = torch.stack([torch.full(shape, -0.6, dtype=dtype), torch.full(shape, 0.6, dtype=dtype)])
    narrow = torch.full((2,), 0.01, dtype=dtype)
    between = GaussianMixture(torch.zeros(1, *shape, dtype=dtype), narrow[:1])
    usual = GaussianMixture(modes, narrow)
    return World(usual, usual.draw(n, seed=1), between.draw(n, seed=2))


class Sighted(Denoiser):
    """Answers exactly as another, and looks at what it is asked with a small network of random weights."""

    def __init__(self, exact: Denoiser, shape: tuple[int, ...]) -> None:
        self.exact, picture = exact, len(shape) == 3
        unet, mlp = {"channels": shape[0], "widths": (32, 32), "blocks": 1, "patch": 1}, {"shape": shape, "width": 32, "blocks": 2}
        eyes = network("unet", unet) if picture else network("mlp", mlp)
        self.eyes = Learned(eyes, torch.zeros([1] * len(shape)), torch.full([1] * len(shape), 0.6), "fp32").untrained(7)

    def __call__(self, x_t: Float[Tensor, "n *shape"], alpha: Level, sigma: Level) -> Float[Tensor, "n *shape"]:
        return self.exact(x_t, alpha, sigma)

    def watched(
        self, x_t: Float[Tensor, "n *shape"], alpha: Level, sigma: Level, streams: Sequence[str]
    ) -> tuple[Float[Tensor, "n *shape"], Mapping[str, Tensor]]:
        return self.exact(x_t, alpha, sigma), self.eyes.watched(x_t.detach().float(), alpha, sigma, streams)[1]


def sighted_world(shape: tuple[int, ...] = (1, 4, 4), n: int = 64, dtype: torch.dtype = torch.float64) -> World[Sighted]:
    """The two modes, and a denoiser that also has a network: for what is read of activations."""
    known = modes_world(shape, n, dtype)
    return World(Sighted(known.denoiser, shape), known.ordinary, known.strange)


def guided_world(shape: tuple[int, ...] = (1, 4, 4), n: int = 64, dtype: torch.dtype = torch.float64) -> World[GaussianMixture]:
    """The two modes, and items that were asked for under condition 0, the first of them; strange items lie between, half-way to the other."""
    known = modes_world(shape, n, dtype)
    return World(known.denoiser, known.denoiser.given(0).draw(n, seed=1), known.strange)


#: the known worlds that a statistic may name
WORLDS: dict[str, Callable[..., World[Denoiser]]] = {"gaussian": gaussian_world, "modes": modes_world, "sighted": sighted_world, "guided": guided_world}

#: one walk of each kind, on which every statistic must stand
WALKS: tuple[Walk, ...] = (
    Encode(grids.cosine(6), clip=False),
    Renoise(grids.angular([0.3, 1.0, 2.0]), repeats=2),
    Clean(grids.angular([0.3, 1.0, 2.0])),
    Reconstruct(start=1.0, steps=4, end=0.1),
    Restore(start=1.0, steps=3, end=0.1),
    RoundTrip(start=1.0, steps=3, end=0.1),
    Descend(pull=0.5),
    Forward(grids.cosine(6)),
    Inpaint(start=2.0, steps=3, end=0.1),
    Compare(Reconstruct(start=1.0, steps=2, end=0.1)),
    Sample(grid=grids.cosine(6)),
)
