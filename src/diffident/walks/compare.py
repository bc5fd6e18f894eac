"""Compare: the item and what a walk made of it, both shown clean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from .. import levels as grids
from .. import registry
from ..denoiser import Denoiser
from ..errors import InvalidSetting
from ..levels import Levels
from ..trajectory import Look
from ._walk import Walk
from .reconstruct import Reconstruct
from .sample import Sample


@registry.registered("walks", "compare")
@dataclass(frozen=True)
class Compare(Walk):
    """Take a walk, then show the item and the walk's last answer, both without noise under one low level that is claimed.

    The last two looks are of the item and of its reconstruction, in this order: what the model's network makes of the
    one and of the other can be set side by side, and the very last answer is the reconstruction, cleaned once more.

    ``claimed`` = sigma / alpha; the default is a log signal-to-noise ratio of 5. Cost: that of the walk and two evaluations.
    """

    walk: Walk = field(default_factory=Reconstruct)
    claimed: float = 0.08

    def __post_init__(self) -> None:
        if isinstance(self.walk, Sample) or self.walk.recorded or not self.claimed > 0:
            raise InvalidSetting(f"a comparison needs a walk about items that are given and claimed above 0; got {self.walk} and claimed={self.claimed}")

    @property
    def levels(self) -> Levels:
        low = grids.angular([self.claimed] * 2)
        return Levels(self.walk.levels.alpha + low.alpha, self.walk.levels.sigma + low.sigma)

    @property
    def evaluations(self) -> int:
        return self.walk.evaluations + 2

    def answer(self, denoiser: Denoiser, look: Look, items: Tensor, so_far: Sequence[Look]) -> Tensor:
        return self.walk.answer(denoiser, look, items, so_far) if len(so_far) < len(self.walk.levels) else look.denoised

    def looks(self, denoiser: Denoiser, items: Tensor) -> Iterator[Look]:
        made = items
        for look in self.walk.looks(denoiser, items):
            yield look
            made = look.denoised
        for shown, (alpha, sigma) in zip((items, made), grids.angular([self.claimed] * 2), strict=True):
            x = alpha * shown
            yield Look(alpha, sigma, x, denoiser(x, alpha, sigma))
