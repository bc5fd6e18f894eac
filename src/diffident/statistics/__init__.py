"""Numbers read off a trajectory: pure functions, one idea per file, named as the file. Dropping a file here registers it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .. import registry
from ..errors import InvalidSetting, NotPerElement, WrongShape
from ..probes import Probe
from ..trajectory import Trajectory

TAILS = ("upper", "lower", "both")

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Statistic:
    """A function of a trajectory, with what it needs and what its extremes mean.

    Attributes:
        name: also the name of its file.
        read: the function itself, ``(trajectory, settings by keyword)`` -> (n,) or (n, k), or (n, *shape) if per element.
        tail: where strangeness lies: ``upper`` (larger is stranger), ``lower`` or ``both``.
        says: plain words that complete "stranger than 199 of 200 references: it ...".
        probes: asked beside x0 at each look; the function reads their columns.
        asks: where the settings decide what is asked: the probes of some of the settings, by keyword; ``probes`` are then those of the defaults.
        draws: the fewest noise draws per level with which it means something.
        per_element: whether it gives a map; its number is then the mean over elements.
        world: the known world of ``diffident.testing`` in which its extremes are strange.
        doc: the function's own docstring.
        version: raised when the same settings give other numbers, so that old calibrations are not compared with new scores.
    """

    name: str
    read: Callable[..., Tensor]
    tail: str
    says: str
    probes: tuple[Probe, ...] = ()
    draws: int = 1
    per_element: bool = False
    world: str = "gaussian"
    doc: str = field(default="", repr=False)
    version: int = 1
    asks: Callable[..., tuple[Probe, ...]] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "__doc__", self.doc)  # the function's own words, for help()

    def __call__(self, trajectory: Trajectory, settings: Settings | None = None) -> Tensor:
        """What the function gives: (n,), (n, k) or (n, *shape).

        Raises:
            InvalidSetting: settings that the statistic does not have.
        """
        self.accept(settings or {})
        return self.read(trajectory, **(settings or {}))

    def accept(self, settings: Settings) -> None:
        """Refuse settings that the statistic does not have.

        Raises:
            InvalidSetting: the message lists those that it has.
        """
        known = [name for name, parameter in inspect.signature(self.read).parameters.items() if parameter.kind is parameter.KEYWORD_ONLY]
        unknown = [name for name in settings if name not in known]
        if unknown:
            raise InvalidSetting(f"the statistic {self.name!r} has no setting {', '.join(unknown)}; it has: {', '.join(known) or 'none'}")

    def asked(self, settings: Settings | None = None) -> tuple[Probe, ...]:
        """What is asked beside x0 with those settings."""
        if self.asks is None:
            return self.probes
        return self.asks(**{name: value for name, value in (settings or {}).items() if name in inspect.signature(self.asks).parameters})

    def numbers(self, trajectory: Trajectory, settings: Settings | None = None) -> Tensor:
        """One row per item: (n, k) float64, k = 1 unless the statistic is a vector.

        Raises:
            WrongShape: the function did not give one row per item.
        """
        found = self(trajectory, settings)
        if found.ndim == 0 or len(found) != trajectory.items or not (self.per_element or found.ndim <= 2):
            raise WrongShape(
                f"the statistic {self.name!r} must give one row per item, ({trajectory.items},) or ({trajectory.items}, k); it gave {tuple(found.shape)}"
            )
        flat = found.double().flatten(1) if found.ndim > 1 else found.double()[:, None]
        return flat.mean(1, keepdim=True) if self.per_element else flat

    def map(self, trajectory: Trajectory, settings: Settings | None = None) -> Tensor:
        """A number per element: (n, *shape).

        Raises:
            NotPerElement: the statistic gives one number per item only.
        """
        if not self.per_element:
            raise NotPerElement(f"{self.name!r} gives one number per item and no map; for a map read a statistic per element, such as 'residual'")
        return self(trajectory, settings)


def statistic(
    *,
    tail: str,
    says: str,
    probes: tuple[Probe, ...] = (),
    draws: int = 1,
    per_element: bool = False,
    world: str = "gaussian",
    version: int = 1,
    asks: Callable[..., tuple[Probe, ...]] | None = None,
) -> Callable[[Callable[..., Tensor]], Statistic]:
    """Make a function of a trajectory a registered :class:`Statistic`, named as the function.

    Raises:
        InvalidSetting: a tail that is not one of ``upper``, ``lower``, ``both``.
    """
    asked = asks() if asks else probes
    if tail not in TAILS:
        raise InvalidSetting(f"tail is one of {', '.join(TAILS)}; got {tail!r}")

    def make(function: Callable[..., Tensor]) -> Statistic:
        made = Statistic(function.__name__, function, tail, says, asked, draws, per_element, world, function.__doc__ or "", version, asks)
        return registry.register("statistics", made.name, made)

    return make


def find(name: str) -> Statistic:
    """The registered statistic of that name.

    >>> find("residual").tail
    'upper'
    """
    return registry.find("statistics", name)  # type: ignore[return-value]


def power_sums(of: Tensor, powers: tuple[int, ...]) -> Tensor:
    """Sums of signed powers over levels and elements of (l, n, *shape), in float64: (n, len(powers)).

    >>> power_sums(torch.tensor([[[1.0, -2.0]]]), (1, 2, 3)).tolist()
    [[-1.0, 5.0, -7.0]]
    """
    per_item = of.double().transpose(0, 1).flatten(1)
    return torch.stack([per_item.pow(power).sum(1) for power in powers], dim=1)
