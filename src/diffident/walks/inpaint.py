"""Inpaint: parts hidden in turn, and filled in from the rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .. import registry
from ..denoiser import Denoiser
from ..errors import InvalidSetting
from ..levels import Levels
from ..trajectory import Look
from ._walk import COMMON, Walk, falling


@registry.registered("walks", "inpaint")
@dataclass(frozen=True)
class Inpaint(Walk):
    """Hide every other square of a checkerboard, walk what is hidden back from noise with the rest known, then change sides (LMD).

    The board has ``cells`` squares along each axis of the grid (every element one, where there are fewer) over all
    channels. Hidden elements are noised to ``start`` = sigma / alpha and walked down to ``end`` in equal ratios without
    further noise; at every level the known ones are put back, under noise of that level's own (with one noise for all
    levels the filling in errs twice as much). Then the other squares are hidden, with the same noises.

    What is recorded as answered is the item as far as it is filled in: the denoiser's answer where elements are hidden,
    what was there before elsewhere. So the very last answer is stitched of both boards, and the question that filled in
    an element saw nothing of it but what ``start`` leaves.

    Trust it with a high start, and where the hidden follows from its surroundings. Simple replacement, without the
    repeated steps of RePaint. Cost: two evaluations per step.

    Source: Liu et al. 2023 (LMD, 2302.10326); Lugmayr et al. 2022 (RePaint, 2201.09865).
    """

    start: float = 5.0
    steps: int = 10
    end: float = 0.05
    cells: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        falling(self.start, self.steps, self.end)  # refused here, not when it is walked
        if self.cells < 2:
            raise InvalidSetting(f"a checkerboard has two cells or more along an axis; got cells={self.cells}")

    @property
    def levels(self) -> Levels:
        once = falling(self.start, self.steps, self.end)
        return Levels(once.alpha * 2, once.sigma * 2)

    def hidden(self, shape: tuple[int, ...]) -> Tensor:
        """Where the first board hides an item (*shape): true or false, of a shape that multiplies items. The second hides the rest."""
        board = torch.zeros(shape[1:] or shape, dtype=torch.long)
        for axis, side in enumerate(board.shape):
            place = torch.arange(side) * min(self.cells, side) // side
            board = board + place.reshape(-1, *[1] * (board.ndim - axis - 1))
        return board % 2 == 0

    def answer(self, denoiser: Denoiser, look: Look, items: Tensor, so_far: Sequence[Look]) -> Tensor:
        return torch.where(self._hides(len(so_far), items), look.denoised, so_far[-1].denoised if so_far else items)

    def looks(self, denoiser: Denoiser, items: Tensor) -> Iterator[Look]:
        so_far: list[Look] = []
        for i, (alpha, sigma) in enumerate(self.levels):
            x = alpha * items + sigma * denoiser.drawn(items, COMMON, self.seed, i % self.steps)
            if i % self.steps:
                x = torch.where(self._hides(i, items), so_far[-1].moved(alpha, sigma), x)
            asked = Look(alpha, sigma, x, denoiser(x, alpha, sigma))
            so_far.append(replace(asked, denoised=self.answer(denoiser, asked, items, so_far)))
            yield so_far[-1]

    def _hides(self, i: int, items: Tensor) -> Tensor:
        """What is hidden from the i-th question."""
        first = self.hidden(tuple(items.shape[1:])).to(items.device)
        return first if i < self.steps else ~first
