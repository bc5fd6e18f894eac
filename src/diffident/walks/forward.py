"""Forward: items on the straight way to one and the same noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import Tensor

from .. import levels as grids
from .. import registry
from ..denoiser import Denoiser
from ..levels import Levels
from ..trajectory import Look
from ._walk import COMMON, Walk


@registry.registered("walks", "forward")
@dataclass(frozen=True)
class Forward(Walk):
    """Noise items to each level with one and the same noise and ask once: x_t = alpha x_0 + sigma n, with n common to all levels and items.

    Renoise draws anew at every level; here what changes from level to level is the answer's alone, so that its change along
    the way means something. Cost: one evaluation per level.
    """

    grid: Levels = field(default_factory=lambda: grids.cosine(10))
    seed: int = 0

    @property
    def levels(self) -> Levels:
        return self.grid

    def looks(self, denoiser: Denoiser, items: Tensor) -> Iterator[Look]:
        drawn = denoiser.drawn(items, COMMON, self.seed, 0)
        for alpha, sigma in self.grid:
            x = alpha * items + sigma * drawn
            yield Look(alpha, sigma, x, denoiser(x, alpha, sigma))
