"""Reconstruct: noise put on, and taken off step by step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from .. import registry
from ..denoiser import Denoiser
from ..trajectory import Look
from ._walk import COMMON, Falling, down


@registry.registered("walks", "reconstruct")
@dataclass(frozen=True)
class Reconstruct(Falling):
    """Noise items to ``start`` = sigma / alpha, then walk them back to the data without further noise (AnoDDPM, DDPM-OOD).

    The levels fall from ``start`` to ``end`` in equal ratios; the last answer is the reconstruction. Cost: ``steps``
    evaluations.
    """

    start: float = 1.0
    steps: int = 5
    end: float = 0.05
    seed: int = 0

    def looks(self, denoiser: Denoiser, items: Tensor) -> Iterator[Look]:
        alpha, sigma = next(iter(self.levels))
        return down(denoiser, alpha * items + sigma * denoiser.drawn(items, COMMON, self.seed, 0), self.levels)
