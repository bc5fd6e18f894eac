"""Sampled: the way on which the item itself came about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from .. import registry
from ..denoiser import Denoiser
from ..errors import InvalidSetting
from ..levels import Levels
from ..trajectory import Look
from ._walk import Walk


@registry.registered("walks", "sampled")
@dataclass(frozen=True)
class Sampled(Walk):
    """The way on which a sample was made: nothing is asked anew, the record is handed in by whoever generated it.

    A :class:`Sample` walk leaves such a record, and so does a recorded pipeline, at the levels of its own sampler, from much noise to little. Readings
    on it cost nothing and say nothing of items that are given: a recipe with any is for ``diffident.Guard`` alone. Cost: none.

    Raises:
        InvalidSetting: it is walked, or asked for its levels, which only a record knows.
    """

    @property
    def recorded(self) -> bool:
        return True

    @property
    def levels(self) -> Levels:
        raise InvalidSetting("the levels of the walk Sampled are those at which a sample was made; read them off its record (alpha, sigma)")

    @property
    def evaluations(self) -> int:
        return 0

    def looks(self, denoiser: Denoiser, items: Tensor) -> Iterator[Look]:
        raise InvalidSetting(
            f"the walk Sampled was given {len(items)} items to walk, and it asks nothing: its record comes from whoever made the samples; "
            "make some with the walk Sample, or use diffident.Guard"
        )
