"""Descend: noise put on and taken off along any grid, drawn toward the item on the way."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from .. import levels as grids
from .. import registry
from ..denoiser import Denoiser
from ..errors import InvalidSetting
from ..levels import Levels
from ..trajectory import Look
from ._walk import COMMON, Walk, ancestral


@registry.registered("walks", "descend")
@dataclass(frozen=True)
class Descend(Walk):
    """Noise items to the last level of a grid and walk them back down all of it, drawn toward the item (DDAD).

    At each level the item y under the noise seen is y_t = alpha y + sigma eps, and the noise is corrected by how far x_t
    lies from it: eps <- eps - sigma pull (y_t - x_t). Since y_t - x_t = alpha (y - E[x0|x_t]), the answer that this
    implies is E[x0|x_t] + pull sigma^2 (y - E[x0|x_t]), which is what the record keeps: much of the item where there is
    much noise, none at the end. A pull beyond 1 / sigma^2 overshoots the item.

    ``eta`` from 0 to 1 is the part of the noise that is drawn anew at each step, common to all items. With no pull and
    eta = 0 on the levels of a Reconstruct this is that walk. The levels are given from little noise to much, as
    everywhere. The default grid is DDAD's, ten levels up to 250 of 1000 of DDPM's linear schedule. Cost: one evaluation
    per level.
    """

    grid: Levels = field(default_factory=lambda: grids.part(grids.linear(40), 2, 11))
    pull: float = 1.0
    eta: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        ratios = [sigma / alpha if alpha else math.inf for alpha, sigma in self.grid]
        if sorted(ratios) != ratios:
            raise InvalidSetting("the levels of a way back are given from little noise to much; these are not: turn them with .reversed()")
        if self.pull < 0 or not 0 <= self.eta <= 1:
            raise InvalidSetting(f"a way back is pulled with 0 or more and draws with eta from 0 to 1; got pull={self.pull}, eta={self.eta}")

    @property
    def levels(self) -> Levels:
        return self.grid.reversed()

    def answer(self, denoiser: Denoiser, look: Look, items: Tensor, so_far: Sequence[Look]) -> Tensor:
        return look.denoised + self.pull * look.sigma**2 * (items - look.denoised)

    def looks(self, denoiser: Denoiser, items: Tensor) -> Iterator[Look]:
        (alpha, sigma), *rest = list(self.levels)
        x = alpha * items + sigma * denoiser.drawn(items, COMMON, self.seed, 0)
        for i, onward in enumerate([*rest, (1.0, 0.0)]):
            asked = Look(alpha, sigma, x, denoiser(x, alpha, sigma))
            look = replace(asked, denoised=self.answer(denoiser, asked, items, ()))
            yield look
            x, (alpha, sigma) = ancestral(look, *onward, self.eta, denoiser.drawn(items, "descend", self.seed, i)), onward
