"""How a model is questioned. A walk yields its looks one by one; the caller's ``for`` is the hook.

Every walk asks the one question E[x0 | x_t] at a list of levels and leaves a :class:`Trajectory`. Walks are frozen and
hashable: equal walks are run once. Noise is drawn on the CPU in float32 from a fixed seed and shared by all items, so
that the record of an item depends on the item alone.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from . import levels as grids
from . import noise, registry
from .denoiser import Denoiser
from .errors import InvalidSetting
from .levels import Levels
from .probes import Probe
from .trajectory import Look, Trajectory


class Walk(ABC):
    """How a model is questioned. Subclasses are frozen dataclasses that yield looks and state their cost."""

    @abstractmethod
    def looks(self, denoiser: Denoiser, items: Tensor) -> Iterator[Look]:
        """The looks at ``items`` (n, *shape), in the order in which they are taken."""

    @property
    @abstractmethod
    def levels(self) -> Levels:
        """The levels of the looks, in order."""

    @property
    def evaluations(self) -> int:
        """Network evaluations per item."""
        return len(self.levels)

    @property
    def draws(self) -> int:
        """How many independent noise draws each level is looked at with."""
        return 1

    def answer(self, denoiser: Denoiser, denoised: Tensor) -> Tensor:
        """What the walk makes of an answer before it goes on: the same, unless it clips."""
        return denoised

    def about(self, items: Tensor, last: Look) -> Tensor:
        """What the record is about: the items themselves, unless the walk makes them."""
        return items

    def __call__(
        self, denoiser: Denoiser, items: Float[Tensor, "n *shape"], probes: Sequence[Probe] = (), provenance: Mapping[str, str] | None = None
    ) -> Trajectory:
        """Question ``denoiser`` about ``items`` and keep the record, with a column for each probe."""
        looks, columns = [], {probe.name: [] for probe in probes}
        for look in self.looks(denoiser, items):
            looks.append(look)
            for probe in probes:
                columns[probe.name].append(probe(denoiser, look))
        return Trajectory(
            alpha=torch.tensor([look.alpha for look in looks], dtype=torch.float64),
            sigma=torch.tensor([look.sigma for look in looks], dtype=torch.float64),
            x=torch.stack([look.x for look in looks]),
            denoised=torch.stack([look.denoised for look in looks]),
            origin=self.about(items, looks[-1]),
            columns={name: torch.stack(answers) for name, answers in columns.items()},
            walk=self,
            provenance=dict(provenance or {}),
        )

    def config(self) -> dict[str, Any]:
        """The walk as plain data for JSON; :func:`walk_from` reads it back."""
        return {"name": registry.name_of("walks", type(self)), **asdict(self)}  # type: ignore[call-overload]


def walk_from(config: Mapping[str, Any]) -> Walk:
    """The walk that :meth:`Walk.config` described.

    Raises:
        UnknownName: no such walk.
        InvalidSetting: settings that this walk does not have.
    """
    kind, settings = registry.find("walks", config["name"]), {key: value for key, value in config.items() if key != "name"}
    if isinstance(settings.get("grid"), Mapping):
        settings["grid"] = Levels(**{name: tuple(values) for name, values in settings["grid"].items()})
    try:
        return kind(**settings)  # type: ignore[operator]
    except TypeError as error:
        raise InvalidSetting(f"the walk {config['name']!r} cannot be made of {settings}: {error}") from error


def common_noise(shape: tuple[int, ...], seed: int, level: int) -> Tensor:
    """The one noise tensor (*shape) of a level: standard normal, float32, the same for every item, chunk and machine."""
    return noise.normal(shape, "common", seed, level)


@registry.registered("walks", "encode")
@dataclass(frozen=True)
class Encode(Walk):
    """Drive items along the probability-flow ODE to noise, from little noise to much (DDIM inversion).

    At each level: ask for E[x0 | x_t], clip it to what items can be ([-1, 1] in pixels) if asked, derive eps from the (clipped) answer again, and
    move to the next level with x = alpha' x0 + sigma' eps. The item enters unscaled at the first level, as in DiffPath
    (Heng et al. 2024, 2405.11881), whose ten levels and clipping are the defaults. Cost: one evaluation per level.
    """

    grid: Levels = field(default_factory=lambda: grids.cosine(10))
    clip: bool = True

    @property
    def levels(self) -> Levels:
        return self.grid

    def answer(self, denoiser: Denoiser, denoised: Tensor) -> Tensor:
        return denoiser.kept(denoised) if self.clip else denoised

    def looks(self, denoiser: Denoiser, items: Tensor) -> Iterator[Look]:
        x, following = items, itertools.chain(list(self.grid)[1:], [(0.0, 1.0)])
        for (alpha, sigma), onward in zip(self.grid, following, strict=True):
            denoised = denoiser(x, alpha, sigma)
            look = Look(alpha, sigma, x, self.answer(denoiser, denoised))
            yield look
            x = look.moved(*onward)


@registry.registered("walks", "renoise")
@dataclass(frozen=True)
class Renoise(Walk):
    """Noise items to chosen levels and ask once at each: x_t = alpha x_0 + sigma n, with n common to all items.

    ``repeats`` looks are taken at each level with different noise, all repeats of a level in a row. Cost: one
    evaluation per look.
    """

    grid: Levels = field(default_factory=lambda: grids.angular([0.1, 0.3, 1.0]))
    seed: int = 0
    repeats: int = 1

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise InvalidSetting(f"a level is looked at once or more; repeats={self.repeats}")

    @property
    def levels(self) -> Levels:
        return Levels(*zip(*(level for level in self.grid for _ in range(self.repeats)), strict=True))

    @property
    def draws(self) -> int:
        return self.repeats

    def looks(self, denoiser: Denoiser, items: Tensor) -> Iterator[Look]:
        for i, (alpha, sigma) in enumerate(self.levels):
            x = alpha * items + sigma * common_noise(tuple(items.shape[1:]), self.seed, i).to(items)
            yield Look(alpha, sigma, x, denoiser(x, alpha, sigma))


@registry.registered("walks", "clean")
@dataclass(frozen=True)
class Clean(Walk):
    """Show items without noise under a noise level that is only claimed: x_t = alpha x_0.

    The question of MSMA (Mahmood et al. 2021): its ten levels, sigma / alpha from 0.01 to 1 in equal ratios, are the
    defaults. Cost: one evaluation per level.
    """

    grid: Levels = field(default_factory=lambda: grids.angular(grids.geometric(0.01, 1.0, 10)))

    @property
    def levels(self) -> Levels:
        return self.grid

    def looks(self, denoiser: Denoiser, items: Tensor) -> Iterator[Look]:
        for alpha, sigma in self.grid:
            yield Look(alpha, sigma, alpha * items, denoiser(alpha * items, alpha, sigma))


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
        if not (self.start > 0 and self.steps >= 1 and self.end > 0) or (self.steps > 1 and self.end >= self.start):
            raise InvalidSetting(f"a reconstruction needs 0 < end < start and a step or more; got start={self.start}, end={self.end}, steps={self.steps}")

    @property
    def levels(self) -> Levels:
        return grids.angular(grids.geometric(min(self.end, self.start), self.start, self.steps)[::-1] if self.steps > 1 else [self.start])

    def looks(self, denoiser: Denoiser, items: Tensor) -> Iterator[Look]:
        (alpha, sigma), *rest = self.levels
        x = alpha * items + sigma * common_noise(tuple(items.shape[1:]), self.seed, 0).to(items)
        for onward in [*rest, (1.0, 0.0)]:
            look = Look(alpha, sigma, x, denoiser(x, alpha, sigma))
            yield look
            x, (alpha, sigma) = look.moved(*onward), onward


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
            x, (alpha, sigma) = self._step(denoiser, look, *onward, i), onward

    def _step(self, denoiser: Denoiser, look: Look, alpha: float, sigma: float, i: int) -> Tensor:
        if not sigma:
            return look.denoised
        if self.solver == "heun":
            return _heun(denoiser, look, alpha, sigma)
        return _ancestral(look, alpha, sigma, 1.0 if self.solver == "ddpm" else self.eta, noise.normal(tuple(look.x.shape), "sample", self.seed, i))


def _ancestral(look: Look, alpha: float, sigma: float, eta: float, drawn: Tensor) -> Tensor:
    """DDIM: of the noise at the new level, a part of deviation ``fresh`` is drawn anew and the rest is kept."""
    ratio = look.alpha * sigma / (look.sigma * alpha)  # of the noise-to-signal ratios, below 1 going down
    fresh = eta * sigma * max(1.0 - ratio**2, 0.0) ** 0.5
    kept = max(sigma**2 - fresh**2, 0.0) ** 0.5
    return alpha * look.denoised + kept * look.eps + fresh * drawn.to(look.x)


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
