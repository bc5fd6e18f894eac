"""Reconstruct: noise put on, and taken off step by step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from .. import registry
from ..denoiser import Denoiser
from ..levels import Levels
from ..trajectory import Look
from ._walk import COMMON, Walk, down, falling


@registry.registered("walks", "reconstruct")
@dataclass(frozen=True)
class Reconstruct(Walk):
    """Noise items to ``start`` = sigma / alpha, then walk them back to the data without further noise (AnoDDPM, DDPM-OOD).

    The levels fall from ``start`` to ``end`` in equal ratios; the last answer is the reconstruction. Cost: ``steps``
    evaluations.
    """

    start: float = 1.0
    steps: int = 5
    end: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        falling(self.start, self.steps, self.end)  # refused here, not when it is walked

    @property
    def levels(self) -> Levels:
        return falling(self.start, self.steps, self.end)

    def looks(self, denoiser: Denoiser, items: Tensor) -> Iterator[Look]:
        alpha, sigma = next(iter(self.levels))
        return down(denoiser, alpha * items + sigma * denoiser.drawn(items, COMMON, self.seed, 0), self.levels)
