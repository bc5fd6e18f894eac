"""Clean: the item as it is, under a noise level that is only claimed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import Tensor

from .. import levels as grids
from .. import registry
from ..denoiser import Denoiser
from ..levels import Levels
from ..trajectory import Look
from ._walk import Walk


@registry.registered("walks", "clean")
@dataclass(frozen=True)
class Clean(Walk):
    """Show items without noise under a noise level that is only claimed: x_t = alpha x_0.

    The question of MSMA (Mahmood et al. 2021): its ten levels, sigma / alpha from 0.01 to 1 in equal ratios, are the
    defaults. Cost: one evaluation per level.
    """

    grid: Levels = field(default_factory=lambda: grids.angular(grids.geometric(0.01, 1.0, 10)))

    @property
    def levels(self) -> Levels:
        return self.grid

    def looks(self, denoiser: Denoiser, items: Tensor) -> Iterator[Look]:
        for alpha, sigma in self.grid:
            x = alpha * items
            yield Look(alpha, sigma, x, denoiser(x, alpha, sigma))
