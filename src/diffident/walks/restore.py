"""Restore: the item taken for a noisy one, and walked back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from .. import registry
from ..denoiser import Denoiser
from ..trajectory import Look
from ._walk import Falling, down


@registry.registered("walks", "restore")
@dataclass(frozen=True)
class Restore(Falling):
    """Take items for noisy ones though no noise was put on them, and walk them back to the data (DeCo-Diff's inference).

    The item is shown under the claimed level ``start`` = sigma / alpha; what the denoiser takes for noise, the item's
    deviation, is put on its answer again in the amount of the next level, and so on in equal ratios down to ``end``. What
    is ordinary should hardly move. No random number enters. Cost: ``steps`` evaluations.

    He et al. 2025 (DeCo-Diff) train a network for this question alone; a denoiser takes it at its word.
    """

    start: float = 0.5
    steps: int = 5
    end: float = 0.05

    def looks(self, denoiser: Denoiser, items: Tensor) -> Iterator[Look]:
        alpha, _ = next(iter(self.levels))
        return down(denoiser, alpha * items, self.levels)
