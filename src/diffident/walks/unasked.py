"""Unasked: the items themselves; no model is asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from .. import registry
from ..denoiser import Denoiser
from ..levels import Levels
from ..trajectory import Look
from ._walk import Walk


@registry.registered("walks", "unasked")
@dataclass(frozen=True)
class Unasked(Walk):
    """Look at items as people see them, whatever the space, and ask nothing: for controls, which any model has to beat.

    The record has one look, at alpha = sigma = 1 in name only, with the item as its own answer; a space from which items do not come back is
    refused (InvalidSetting). Cost: none.
    """

    @property
    def levels(self) -> Levels:
        return Levels((1.0,), (1.0,))

    @property
    def evaluations(self) -> int:
        return 0

    def answer(self, denoiser: Denoiser, look: Look, items: Tensor, so_far: Sequence[Look]) -> Tensor:
        return look.x

    def about(self, items: Tensor, last: Look) -> Tensor:
        return last.x

    def looks(self, denoiser: Denoiser, items: Tensor) -> Iterator[Look]:
        seen = denoiser.decoded(items)
        yield Look(1.0, 1.0, seen, seen)
