"""Turned: the item as it is, mirrored and shifted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from .. import levels as grids
from .. import registry
from ..denoiser import Denoiser
from ..errors import InvalidSetting
from ..levels import Levels
from ..trajectory import Look
from ._walk import Walk

#: As it is, mirrored along the last axis, shifted along the last axis, shifted along the first axis of its grid.
VIEWS = 4


@registry.registered("walks", "turned")
@dataclass(frozen=True)
class Turned(Walk):
    """Show items without noise under one level that is only claimed: as they are, mirrored, and shifted by ``shift`` places along the last and the first axis.

    What is recorded as answered is the answer turned back, so that all are about the item as it is. What is shifted out comes in on the other side. An
    item without a grid, a row, is shown as it is each time. ``told`` = sigma / alpha. Where known-good items are not alike when mirrored the answers
    differ for all of them. Cost: four evaluations.
    """

    told: float = 0.2
    shift: int = 1

    def __post_init__(self) -> None:
        if not self.told > 0 or self.shift < 1:
            raise InvalidSetting(f"items are shown under a level above 0, shifted by one place or more; got told={self.told:g}, shift={self.shift}")

    @property
    def levels(self) -> Levels:
        return grids.angular([self.told] * VIEWS)

    @property
    def draws(self) -> int:
        return VIEWS

    def answer(self, denoiser: Denoiser, look: Look, items: Tensor, so_far: Sequence[Look]) -> Tensor:
        return self._turn(look.denoised, len(so_far), -self.shift)

    def looks(self, denoiser: Denoiser, items: Tensor) -> Iterator[Look]:
        for view, (alpha, sigma) in enumerate(self.levels):
            x = self._turn(alpha * items, view, self.shift)
            yield Look(alpha, sigma, x, self._turn(denoiser(x, alpha, sigma), view, -self.shift))

    def _turn(self, items: Tensor, view: int, shift: int) -> Tensor:
        if not view or items.ndim < 3:
            return items
        if view == 1:
            return items.flip(-1)
        return items.roll(shift, -1 if view == 2 else 2)
