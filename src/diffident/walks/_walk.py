"""What a walk is. A walk yields its looks one by one; the caller's ``for`` is the hook.

Every walk asks the one question E[x0 | x_t] at a list of levels and leaves a :class:`Trajectory`. Walks are frozen and
hashable: equal walks are run once. Noise is drawn on the CPU in float32 from a fixed seed and shared by all items, so
that the record of an item depends on the item alone.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from .. import levels as grids
from .. import noise, registry
from ..denoiser import Denoiser, Watched
from ..errors import InvalidSetting
from ..levels import Levels
from ..probes import Probe
from ..trajectory import Look, Trajectory


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

    @property
    def recorded(self) -> bool:
        """Whether nothing is ever asked on it: its record is handed in by whoever made the items, at levels of their own."""
        return False

    def answer(self, denoiser: Denoiser, look: Look, items: Tensor, so_far: Sequence[Look]) -> Tensor:
        """What the walk makes of an answer before it is recorded and the walk goes on: the same, unless it clips, pulls or fills in.

        Args:
            denoiser: knows what items can be.
            look: the question with the denoiser's own answer.
            items: that are walked.
            so_far: the looks before this one, as they are recorded.
        """
        return look.denoised

    def about(self, items: Tensor, last: Look) -> Tensor:
        """What the record is about: the items themselves, unless the walk makes them."""
        return items

    def __call__(
        self, denoiser: Denoiser, items: Float[Tensor, "n *shape"], probes: Sequence[Probe] = (), provenance: Mapping[str, str] | None = None
    ) -> Trajectory:
        """Question ``denoiser`` about ``items`` and keep the record, with a column for each probe."""
        looks, columns = [], {probe.name: [] for probe in probes}
        watched = tuple(dict.fromkeys(stream for probe in probes for stream in probe.watches))
        asked = Watched(denoiser, watched) if watched else denoiser
        for look in self.looks(asked, items):
            looks.append(look)
            for probe in probes:
                columns[probe.name].append(probe(asked, look))
        found = {name: torch.stack(answers) for name, answers in columns.items()}
        return Trajectory.of(looks, self.about(items, looks[-1]), self, found, provenance)

    def config(self) -> dict[str, Any]:
        """The walk as plain data for JSON; :func:`walk_from` reads it back."""
        settings = {one.name: getattr(self, one.name) for one in fields(self)}  # type: ignore[arg-type]
        return {"name": registry.name_of("walks", type(self)), **{name: _plain(value) for name, value in settings.items()}}


def walk_from(config: Mapping[str, Any]) -> Walk:
    """The walk that :meth:`Walk.config` described.

    Raises:
        UnknownName: no such walk.
        InvalidSetting: settings that this walk does not have.
    """
    kind, settings = registry.find("walks", config["name"]), {key: _made(value) for key, value in config.items() if key != "name"}
    try:
        return kind(**settings)  # type: ignore[operator]
    except TypeError as error:
        raise InvalidSetting(f"the walk {config['name']!r} cannot be made of {settings}: {error}") from error


def _plain(value: Any) -> Any:
    """A setting as plain data: a walk inside a walk and a grid of levels are mappings."""
    return value.config() if isinstance(value, Walk) else asdict(value) if isinstance(value, Levels) else value


def _made(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return walk_from(value) if "name" in value else Levels(**{name: tuple(numbers) for name, numbers in value.items()})


#: The name of the noise that items share.
COMMON = "common"


def common_noise(shape: tuple[int, ...], seed: int, level: int) -> Tensor:
    """The one noise tensor (*shape) of a level: standard normal, float32, the same for every item, chunk and machine.

    Walks take it from :meth:`diffident.denoiser.Denoiser.drawn`, which knows where tiles lie.
    """
    return noise.normal(shape, COMMON, seed, level)


class Falling(Walk):
    """A walk back to the data: its levels fall from ``start`` to ``end`` in equal ratios. Subclasses are frozen dataclasses with these fields.

    Raises:
        InvalidSetting: no steps, or levels that do not fall; when it is made, not when it is walked.
    """

    start: float
    steps: int
    end: float

    def __post_init__(self) -> None:
        self.levels  # noqa: B018 - asked for its refusal

    @property
    def levels(self) -> Levels:
        return falling(self.start, self.steps, self.end)


def falling(start: float, steps: int, end: float) -> Levels:
    """Levels whose sigma / alpha falls from ``start`` to ``end`` in equal ratios; one step is ``start`` alone.

    Raises:
        InvalidSetting: no steps, or levels that do not fall.
    """
    if not (start > 0 and steps >= 1 and end > 0) or (steps > 1 and end >= start):
        raise InvalidSetting(f"a way back to the data needs 0 < end < start and a step or more; got start={start}, end={end}, steps={steps}")
    return grids.angular(grids.geometric(end, start, steps)[::-1] if steps > 1 else [start])


def down(denoiser: Denoiser, x: Tensor, levels: Levels) -> Iterator[Look]:
    """From x at the first of some falling levels to the last, without further noise."""
    onward = itertools.chain(list(levels)[1:], [(1.0, 0.0)])
    for (alpha, sigma), following in zip(levels, onward, strict=True):
        look = Look(alpha, sigma, x, denoiser(x, alpha, sigma))
        yield look
        x = look.moved(*following)


def ancestral(look: Look, alpha: float, sigma: float, eta: float, drawn: Tensor) -> Tensor:
    """DDIM: of the noise at the new level, a part of deviation ``fresh`` is drawn anew and the rest is kept."""
    ratio = look.alpha * sigma / (look.sigma * alpha)  # of the noise-to-signal ratios, below 1 going down
    fresh = eta * sigma * max(1.0 - ratio**2, 0.0) ** 0.5
    kept = max(sigma**2 - fresh**2, 0.0) ** 0.5
    return alpha * look.denoised + kept * look.eps + fresh * drawn.to(look.x)
