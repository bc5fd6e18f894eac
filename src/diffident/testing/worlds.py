"""Known worlds: a denoiser that answers exactly, ordinary items drawn from it, and items that are strange in it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import levels as grids
from ..denoiser import GaussianMixture
from ..walks import Clean, Encode, Reconstruct, Renoise, Sample, Walk


@dataclass(frozen=True)
class World:
    """A known truth: a denoiser that answers exactly, ordinary items drawn from it, and items that are strange in it."""

    denoiser: GaussianMixture
    ordinary: Tensor
    strange: Tensor


def gaussian_world(shape: tuple[int, ...] = (1, 4, 4), n: int = 64, dtype: torch.dtype = torch.float64) -> World:
    """One Gaussian with correlated elements; strange items come from one three times as wide and shifted."""
    dims = math.prod(shape)
    place = torch.arange(dims, dtype=dtype)
    covariance = 0.09 * torch.exp(-(place[:, None] - place[None]).abs() / 3)
    usual = GaussianMixture(torch.zeros(1, *shape, dtype=dtype), covariance[None])
    odd = GaussianMixture(torch.full((1, *shape), 0.4, dtype=dtype), 9 * covariance[None])
    return World(usual, usual.draw(n, seed=1), odd.draw(n, seed=2))


def modes_world(shape: tuple[int, ...] = (1, 4, 4), n: int = 64, dtype: torch.dtype = torch.float64) -> World:
    """Two narrow modes; strange items lie between them, where interpolating samplers leave their failures."""
    modes = torch.stack([torch.full(shape, -0.6, dtype=dtype), torch.full(shape, 0.6, dtype=dtype)])
    narrow = torch.full((2,), 0.01, dtype=dtype)
    between = GaussianMixture(torch.zeros(1, *shape, dtype=dtype), narrow[:1])
    usual = GaussianMixture(modes, narrow)
    return World(usual, usual.draw(n, seed=1), between.draw(n, seed=2))


#: the known worlds that a statistic may name
WORLDS: dict[str, Callable[..., World]] = {"gaussian": gaussian_world, "modes": modes_world}

#: one walk of each kind, on which every statistic must stand
WALKS: tuple[Walk, ...] = (
    Encode(grids.cosine(6), clip=False),
    Renoise(grids.angular([0.3, 1.0, 2.0]), repeats=2),
    Clean(grids.angular([0.3, 1.0, 2.0])),
    Reconstruct(start=1.0, steps=4, end=0.1),
    Sample(grid=grids.cosine(6)),
)
