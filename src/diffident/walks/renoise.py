"""Renoise: one question at each of several levels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import Tensor

from .. import levels as grids
from .. import registry
from ..denoiser import Denoiser
from ..errors import InvalidSetting
from ..levels import Levels
from ..trajectory import Look
from ._walk import COMMON, Walk


@registry.registered("walks", "renoise")
@dataclass(frozen=True)
class Renoise(Walk):
    """Noise items to chosen levels and ask once at each: x_t = alpha x_0 + sigma n, with n common to all items.

    ``repeats`` looks are taken at each level with different noise, all repeats of a level in a row. Cost: one
    evaluation per look.
    """

    grid: Levels = field(default_factory=lambda: grids.angular([0.1, 0.3, 1.0]))
    seed: int = 0
    repeats: int = 1

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise InvalidSetting(f"a level is looked at once or more; repeats={self.repeats}")

    @property
    def levels(self) -> Levels:
        return Levels(*zip(*(level for level in self.grid for _ in range(self.repeats)), strict=True))

    @property
    def draws(self) -> int:
        return self.repeats

    def looks(self, denoiser: Denoiser, items: Tensor) -> Iterator[Look]:
        for i, (alpha, sigma) in enumerate(self.levels):
            x = alpha * items + sigma * denoiser.drawn(items, COMMON, self.seed, i)
            yield Look(alpha, sigma, x, denoiser(x, alpha, sigma))
