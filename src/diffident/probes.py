"""What is asked beside x0 at a look, and needs the model itself: derivatives, activations, divergences.

A probe states what it costs and fills a named column of the trajectory, from which a statistic reads it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from . import noise, registry
from .denoiser import Denoiser
from .errors import InvalidSetting, NoGradient, WrongShape
from .trajectory import Look


@dataclass(frozen=True)
class Cost:
    """What a question costs per item: network evaluations and Jacobian products."""

    evaluations: int = 0
    products: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.evaluations + other.evaluations, self.products + other.products)

    def __mul__(self, times: int) -> Cost:
        return Cost(self.evaluations * times, self.products * times)

    def __str__(self) -> str:
        return f"{self.evaluations} evaluations, {self.products} Jacobian products"


class Probe(ABC):
    """Asked at each look, beside x0. Subclasses are frozen dataclasses; equal probes are asked once."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Of the column that is filled."""

    @property
    @abstractmethod
    def cost(self) -> Cost:
        """Per look and item."""

    @property
    def watches(self) -> tuple[str, ...]:
        """The streams of the model's network that it reads; a walk keeps them when it asks its own question."""
        return ()

    @property
    def recorded(self) -> bool:
        """Whether the record of how a sample was made can hold its column without a question of its own."""
        return False

    @abstractmethod
    def __call__(self, denoiser: Denoiser, look: Look) -> Tensor:
        """The answer, (n, ...); that of one item may not depend on the others."""


@registry.registered("probes", "trace")
@dataclass(frozen=True)
class HutchinsonTrace(Probe):
    """The trace of the denoiser's Jacobian, tr dE[x0|x_t]/dx_t, estimated with random signs (Hutchinson 1990).

    Mean over ``draws`` of v' J v with v of independent +1 and -1, the same for all items. By Miyasawa's formula
    sigma^2 / alpha times the trace is the total posterior variance of x0, the model's own uncertainty. The estimate is
    unbiased; for symmetric J its variance is 2 (||J||_F^2 - sum J_ii^2) / draws. Column ``trace``, (n,), no unit.
    Cost: one Jacobian product per draw.

    Raises:
        InvalidSetting: no draws.
        NoGradient: when asked of a denoiser whose answers carry no gradient.
    """

    draws: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise InvalidSetting(f"a trace is estimated from one draw or more; got draws={self.draws}")

    @property
    def name(self) -> str:
        return "trace"

    @property
    def cost(self) -> Cost:
        return Cost(products=self.draws)

    def __call__(self, denoiser: Denoiser, look: Look) -> Tensor:
        return torch.stack([self._draw(denoiser, look, i) for i in range(self.draws)]).mean(0)

    def _draw(self, denoiser: Denoiser, look: Look, i: int) -> Tensor:
        return _along(denoiser, look, noise.signs(tuple(look.x.shape[1:]), "trace", self.seed, i).to(look.x))


def _along(denoiser: Denoiser, look: Look, v: Tensor) -> Tensor:
    """v' J v of each item, (n,), with v (*shape) the same for all: one Jacobian product."""
    with torch.enable_grad():
        x = look.x.detach().requires_grad_(True)
        answer = denoiser(x, look.alpha, look.sigma)
        if not answer.requires_grad:
            raise NoGradient(f"the answer of {type(denoiser).__name__} carries no gradient, so its trace is unknown; ask outside inference_mode")
        (product,) = torch.autograd.grad((answer * v).sum(), x)  # v' J
    return (product * v).flatten(1).sum(1)


#: An exact trace is for items of so many elements at most: each costs a product.
FEW = 64


@registry.registered("probes", "exact-trace")
@dataclass(frozen=True)
class ExactTrace(Probe):
    """The trace of the denoiser's Jacobian, tr dE[x0|x_t]/dx_t, element by element: for items of few elements.

    sum over elements of the diagonal of J, a Jacobian product each. Column ``exact trace``, (n,), no unit. Cost: ``elements`` Jacobian products.

    Raises:
        InvalidSetting: fewer than 1 or more than 64 elements.
        WrongShape: when asked about items that have another number of them.
        NoGradient: when asked of a denoiser whose answers carry no gradient.
    """

    elements: int = 16

    def __post_init__(self) -> None:
        if not 1 <= self.elements <= FEW:
            raise InvalidSetting(f"an exact trace is for items of 1 to {FEW} elements; got {self.elements}. Estimate it: HutchinsonTrace(draws=...)")

    @property
    def name(self) -> str:
        return "exact trace"

    @property
    def cost(self) -> Cost:
        return Cost(products=self.elements)

    def __call__(self, denoiser: Denoiser, look: Look) -> Tensor:
        shape = look.x.shape[1:]
        if shape.numel() != self.elements:
            raise WrongShape(f"an exact trace was asked of items of {self.elements} elements, and these have {shape.numel()}, {tuple(shape)}")
        basis = torch.eye(self.elements).reshape(self.elements, *shape).to(look.x)
        return torch.stack([_along(denoiser, look, one) for one in basis]).sum(0)


@registry.registered("probes", "top-eigenvalues")
@dataclass(frozen=True)
class TopEigenvalues(Probe):
    """The largest eigenvalues of the denoiser's Jacobian dE[x0|x_t]/dx_t, by subspace iteration without a derivative.

    From ``k`` random directions V, the same for all items: J V by central differences, (E(x + step v) - E(x - step v)) / (2 step); its
    lengths are the eigenvalues; V becomes the orthonormal basis of J V; ``iterations`` times over. By Miyasawa's formula sigma^2 / alpha
    times them are the largest variances of x0 given x_t. They converge as powers of the ratio of one eigenvalue to the next.

    Column ``top K eigenvalues``, (n, k), largest first, no unit. Cost: 2 k evaluations an iteration, and it always goes through all of them.

    Raises:
        InvalidSetting: no directions, no iterations, or no step.

    Source: Shoushtari et al. 2025 (EigenScore, 2510.07206), whose step is 1.
    """

    k: int = 3
    iterations: int = 5
    step: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.k < 1 or self.iterations < 1 or not self.step > 0:
            raise InvalidSetting(
                f"eigenvalues are found along one direction or more, in one iteration or more, by steps above 0; got k={self.k}, "
                f"iterations={self.iterations}, step={self.step:g}"
            )

    @property
    def name(self) -> str:
        return f"top {self.k} eigenvalues"

    @property
    def cost(self) -> Cost:
        return Cost(2 * self.k * self.iterations)

    def __call__(self, denoiser: Denoiser, look: Look) -> Tensor:
        drawn = [noise.normal(tuple(look.x.shape[1:]), "eigenvalues", self.seed, i).to(look.x).expand_as(look.x) for i in range(self.k)]
        along, lengths = _orthonormal(drawn), []
        for _ in range(self.iterations):
            moved = [self._product(denoiser, look, v) for v in along]
            lengths, along = [_norm(v) for v in moved], _orthonormal(moved)
        return torch.stack(lengths, dim=1).flatten(2)[:, :, 0].sort(dim=1, descending=True).values

    def _product(self, denoiser: Denoiser, look: Look, v: Tensor) -> Tensor:
        ahead, behind = (denoiser(look.x + way * self.step * v, look.alpha, look.sigma) for way in (1.0, -1.0))
        return (ahead - behind) / (2 * self.step)


def _norm(of: Tensor) -> Tensor:
    """The length of each item (n, *shape), in a shape that divides it."""
    return of.flatten(1).square().sum(1).sqrt().reshape(-1, *[1] * (of.ndim - 1))


def _orthonormal(vectors: Sequence[Tensor]) -> list[Tensor]:
    """A basis of what some vectors of each item span, (n, *shape) each: Gram and Schmidt, twice over; 0 where one adds nothing."""
    basis: list[Tensor] = []
    for vector in vectors:
        unit = vector / _norm(vector).clamp(min=1e-30)
        for _ in range(2):
            for known in basis:
                unit = unit - (unit * known).flatten(1).sum(1).reshape(-1, *[1] * (unit.ndim - 1)) * known
        size = _norm(unit)
        basis.append(torch.where(size > 1e-6, unit / size.clamp(min=1e-30), torch.zeros_like(unit)))
    return basis


@registry.registered("probes", "nudge")
@dataclass(frozen=True)
class Nudge(Probe):
    """How much the noise that is seen changes when the item takes a small step along it, without a derivative.

    sigma ||eps(x + r e) - eps(x)|| / r with e = eps / ||eps|| and r = ``rho`` sigma: the length of (I - alpha J) e. eps(x) is that of the walk's own answer:
    take a walk that does not clip. Column ``nudge``, (n,), no unit. Cost: one evaluation.

    Raises:
        InvalidSetting: no step.

    Source: after the curvature index of RODS (2507.12201).
    """

    rho: float = 0.1

    def __post_init__(self) -> None:
        if not self.rho > 0:
            raise InvalidSetting(f"a nudge is a step above 0, in units of sigma; got rho={self.rho:g}")

    @property
    def name(self) -> str:
        return "nudge"

    @property
    def cost(self) -> Cost:
        return Cost(1)

    def __call__(self, denoiser: Denoiser, look: Look) -> Tensor:
        seen = look.eps
        step = self.rho * look.sigma * seen / _norm(seen).clamp(min=1e-30)
        change = step - look.alpha * (denoiser(look.x + step, look.alpha, look.sigma) - look.denoised)
        return change.flatten(1).norm(dim=1) / (self.rho * look.sigma)


@registry.registered("probes", "activations")
@dataclass(frozen=True)
class Activations(Probe):
    """What the model's own network holds while it answers: a vector for each position of one of its grids.

    ``stream`` is the name of a place in the network; every network has a ``deepest`` and a ``finest``, and the U-Net one
    for each grid on the way down and up. With ``pool`` above 1 squares (or runs) of so many positions are averaged. What a
    clean item looks like from inside is asked on a walk that shows it clean (Clean, Compare).

    Column ``activations STREAM``, (n, channels, *grid), float32, no unit; a network without a grid gives (n, channels).
    Cost: none, the answer of the walk's own question passes by.

    Raises:
        InvalidSetting: pool below 1.
        NoActivations: when asked of a denoiser without a network, or of a network without that stream.
    """

    stream: str = "deepest"
    pool: int = 1

    def __post_init__(self) -> None:
        if self.pool < 1:
            raise InvalidSetting(f"activations are averaged over one position or more along each axis; got pool={self.pool}")

    @property
    def name(self) -> str:
        return f"activations {self.stream}"

    @property
    def cost(self) -> Cost:
        return Cost()

    @property
    def watches(self) -> tuple[str, ...]:
        return (self.stream,)

    def __call__(self, denoiser: Denoiser, look: Look) -> Tensor:
        _, held = denoiser.watched(look.x, look.alpha, look.sigma, self.watches)
        return _pooled(held[self.stream], self.pool)


def _pooled(stream: Tensor, pool: int) -> Tensor:
    """(n, k, *grid) averaged over cells of ``pool`` positions along each axis; the last cell of an axis may be a part."""
    for axis in range(2, stream.ndim if pool > 1 else 0):
        stream = torch.stack([cell.mean(axis) for cell in stream.split(pool, axis)], axis)
    return stream


@registry.registered("probes", "guidance-gap")
@dataclass(frozen=True)
class GuidanceGap(Probe):
    """How far the answer under a condition lies from the answer without one, as a root mean square over elements.

    sqrt(mean (E[x0 | x_t, condition] - E[x0 | x_t])^2). The answer without a condition is the walk's own, as it was recorded: take a walk that does not
    clip. A guided pipeline asks both anyhow: its recording fills the column at no cost.

    Column ``guidance gap``, (n,), in units of an element. Cost: one evaluation.

    Raises:
        Unconditional: when asked of a denoiser that takes no condition, or not this one.

    Source: Ho & Salimans 2022 (classifier-free guidance, 2207.12598).
    """

    condition: int | str = 0

    @property
    def name(self) -> str:
        return "guidance gap"

    @property
    def cost(self) -> Cost:
        return Cost(1)

    @property
    def recorded(self) -> bool:
        return True

    def __call__(self, denoiser: Denoiser, look: Look) -> Tensor:
        gap = denoiser.given(self.condition)(look.x, look.alpha, look.sigma) - look.denoised
        return gap.flatten(1).square().mean(1).sqrt()


def probe(name: str, **settings: Any) -> Probe:
    """The registered probe of that name with those settings.

    >>> probe("trace", draws=2).cost
    Cost(evaluations=0, products=2)
    """
    return registry.find("probes", name)(**settings)  # type: ignore[operator]
