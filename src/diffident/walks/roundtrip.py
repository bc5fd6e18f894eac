"""Round trip: up to some noise and back, without a random number."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from .. import registry
from ..denoiser import Denoiser
from ..levels import Levels
from ..trajectory import Look
from ._walk import Falling, down, falling


@registry.registered("walks", "roundtrip")
@dataclass(frozen=True)
class RoundTrip(Falling):
    """Encode items from the level ``end`` up to ``start`` = sigma / alpha along the probability-flow ODE, and walk them back down the same levels.

    Where the flow is smooth, steps back undo steps up and the last answer is the item; where it is not, the trip does not come home: read ``residual`` with
    ``last``. The item enters as if ``end`` were its own noise. Levels lie in equal ratios, ``steps`` of them. Cost: 2 ``steps`` - 1 evaluations.
    """

    start: float = 1.0
    steps: int = 5
    end: float = 0.05

    @property
    def levels(self) -> Levels:
        back = falling(self.start, self.steps, self.end)
        return Levels(back.alpha[:0:-1] + back.alpha, back.sigma[:0:-1] + back.sigma)

    def looks(self, denoiser: Denoiser, items: Tensor) -> Iterator[Look]:
        way, back = list(self.levels), falling(self.start, self.steps, self.end)
        x = way[0][0] * items
        for (alpha, sigma), onward in itertools.pairwise(way[: self.steps]):
            look = Look(alpha, sigma, x, denoiser(x, alpha, sigma))
            yield look
            x = look.moved(*onward)
        yield from down(denoiser, x, back)
