"""Encode: the way from an item to noise."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from .. import levels as grids
from .. import registry
from ..denoiser import Denoiser
from ..levels import Levels
from ..trajectory import Look
from ._walk import Walk


@registry.registered("walks", "encode")
@dataclass(frozen=True)
class Encode(Walk):
    """Drive items along the probability-flow ODE to noise, from little noise to much (DDIM inversion).

    At each level: ask for E[x0 | x_t], clip it to what items can be ([-1, 1] in pixels) if asked, derive eps from the (clipped) answer again, and
    move to the next level with x = alpha' x0 + sigma' eps. The item enters unscaled at the first level, as in DiffPath
    (Heng et al. 2024, 2405.11881), whose ten levels and clipping are the defaults. Cost: one evaluation per level.
    """

    grid: Levels = field(default_factory=lambda: grids.cosine(10))
    clip: bool = True

    @property
    def levels(self) -> Levels:
        return self.grid

    def answer(self, denoiser: Denoiser, look: Look, items: Tensor, so_far: Sequence[Look]) -> Tensor:
        return denoiser.kept(look.denoised) if self.clip else look.denoised

    def looks(self, denoiser: Denoiser, items: Tensor) -> Iterator[Look]:
        x, following = items, itertools.chain(list(self.grid)[1:], [(0.0, 1.0)])
        for (alpha, sigma), onward in zip(self.grid, following, strict=True):
            asked = Look(alpha, sigma, x, denoiser(x, alpha, sigma))
            look = replace(asked, denoised=self.answer(denoiser, asked, items, ()))
            yield look
            x = look.moved(*onward)
