"""Sample: from noise to new items."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from torch import Tensor

from .. import levels as grids
from .. import noise, registry
from ..denoiser import Denoiser
from ..errors import InvalidSetting
from ..levels import Levels
from ..trajectory import Look
from ._walk import Walk, ancestral

SOLVERS = ("ddim", "ddpm", "heun")


@registry.registered("walks", "sample")
@dataclass(frozen=True)
class Sample(Walk):
    """Generate: walk standard normal noise (n, *shape) down to the data. The record is about the samples that result.

    Solvers: ``ddim`` with any ``eta`` from 0 (deterministic) to 1 (Song et al. 2021); ``ddpm``, which is eta = 1
    (Ho et al. 2020); ``heun``, deterministic and of second order, which asks twice at every step but the last; its
    second question is not part of the record (Karras et al. 2022, algorithm 1). The levels are given from little noise
    to much, as everywhere, and walked downward; the noise given is scaled to the first. The random part of a step is
    drawn for each item by its place in the batch, whatever comes after it. A sample says nothing of an item that is
    given: recipes that judge items refuse this walk. Cost: one evaluation per level, 2 per level less 1 for heun.
    """

    solver: str = "ddim"
    grid: Levels = field(default_factory=lambda: grids.cosine(50))
    eta: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        ratios = [sigma / alpha if alpha else math.inf for alpha, sigma in self.grid]
        if sorted(ratios) != ratios:
            raise InvalidSetting("the levels of a sampler are given from little noise to much; these are not: turn them with .reversed()")
        if self.solver not in SOLVERS or not 0 <= self.eta <= 1:
            raise InvalidSetting(f"a sampler is one of {', '.join(SOLVERS)} with eta from 0 to 1; got {self.solver!r} with eta={self.eta}")
        if self.eta and self.solver != "ddim":
            raise InvalidSetting(f"eta belongs to ddim; {self.solver!r} was given eta={self.eta}. Leave it at 0")

    @property
    def levels(self) -> Levels:
        return self.grid.reversed()

    @property
    def evaluations(self) -> int:
        return 2 * len(self.grid) - 1 if self.solver == "heun" else len(self.grid)

    def about(self, items: Tensor, last: Look) -> Tensor:
        return last.denoised

    def looks(self, denoiser: Denoiser, items: Tensor) -> Iterator[Look]:
        (alpha, sigma), *rest = self.levels
        x = items * (alpha**2 + sigma**2) ** 0.5
        for i, onward in enumerate([*rest, (1.0, 0.0)]):
            look = Look(alpha, sigma, x, denoiser(x, alpha, sigma))
            yield look
            x, (alpha, sigma) = self.stepped(denoiser, look, *onward, partial(noise.normal, tuple(x.shape), "sample", self.seed, i)), onward

    def stepped(self, denoiser: Denoiser, look: Look, alpha: float, sigma: float, drawn: Callable[[], Tensor]) -> Tensor:
        """Where a look leads at the next level, x there; at sigma = 0 the sample.

        Args:
            drawn: gives the fresh noise of this step, (n, *shape); asked where the solver takes any.
        """
        if not sigma:
            return look.denoised
        if self.solver == "heun":
            return _heun(denoiser, look, alpha, sigma)
        eta = 1.0 if self.solver == "ddpm" else self.eta
        return ancestral(look, alpha, sigma, eta, drawn()) if eta else look.moved(alpha, sigma)


def _heun(denoiser: Denoiser, look: Look, alpha: float, sigma: float) -> Tensor:
    """Second order: the trapezoid rule in y = x / alpha over s = sigma / alpha, where dy/ds = eps.

    At alpha = 0 the coordinates do not exist and the step is of first order.
    """
    guess = look.moved(alpha, sigma)
    there = Look(alpha, sigma, guess, denoiser(guess, alpha, sigma))
    if not look.alpha:
        return guess  # asked all the same: every step costs what the walk states
    width = sigma / alpha - look.sigma / look.alpha
    return alpha * (look.x / look.alpha + 0.5 * width * (look.eps + there.eps))
