"""What a recipe reads off generated samples: off the way on which each came about, and off what its model says of it once it is finished."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from .errors import InvalidSetting, NoActivations
from .generators import Attempt, Generator
from .recipes import Reading, Recipe, recipe
from .recipes.introspection import INTROSPECTION, INTROSPECTION_OUTSIDE, in_units
from .scorer import Films, Scorer
from .scores import Scores
from .trajectory import Trajectory
from .walks import Sampled, Walk


@dataclass(frozen=True, eq=False)
class Heard:
    """What was read off some finished samples.

    Attributes:
        scores: a row for each.
        films: for each walk, a trajectory of all of them.
        by: who read it.
    """

    scores: Scores
    films: Films
    by: Introspection

    def map(self, row: int, label: str) -> np.ndarray | None:
        """Where one of them is strange by that reading, (h, w), larger is stranger; None for a reading without a map."""
        reading = next(one for one in self.by.recipe.readings if one.label == label)
        if not reading.of.per_element:
            return None
        found, model = reading.of.map(self.films[reading.walk].select([row]), reading.settings).float(), self.by.generator.model
        back = found.mean(1) if model is None else model.space.map_back(found, model.shape[1:])
        return back[0].cpu().numpy() if back.ndim == 3 else None


@dataclass(frozen=True, eq=False)
class Introspection:
    """Reads samples of one generator by one recipe.

    Attributes:
        generator: whose samples.
        recipe: readings on the walk :class:`diffident.walks.Sampled` are read off the way on which a sample was made; all others
            ask the generator's model about the finished sample, as they would about an item that was given.
        gate: what identifies the gate that requests pass first; empty if there is none.

    Raises:
        InvalidSetting: readings that ask a model, and the generator has none.
    """

    generator: Generator
    recipe: Recipe
    gate: str = ""

    def __post_init__(self) -> None:
        if self.asks and self.generator.model is None:
            raise InvalidSetting(
                f"the recipe {self.recipe.name!r} asks about finished samples ({', '.join(one.label for one in self.asks)}), and of this pipeline no model is "
                "known; give Guard(pipe, model=diffident.adapters.diffusers.model(pipe)), or the recipe 'introspection-path', which asks nothing"
            )
        self.scorer  # noqa: B018 - asked for its refusal

    @cached_property
    def watches(self) -> tuple[Reading, ...]:
        """The readings off a sample's own way."""
        return tuple(one for one in self.recipe.readings if isinstance(one.walk, Sampled))

    @cached_property
    def asks(self) -> tuple[Reading, ...]:
        """The readings for which the model is asked once more."""
        return tuple(one for one in self.recipe.readings if not isinstance(one.walk, Sampled))

    @cached_property
    def scorer(self) -> Scorer | None:
        """Asks about finished samples, and about real items in the same words; None if nothing is asked."""
        model = self.generator.model
        return Scorer(model, replace(self.recipe, readings=self.asks, combine="gaussian")) if self.asks and model is not None else None

    @cached_property
    def fingerprint(self) -> str:
        """Of the generator and the recipe together: scores with different ones are never compared."""
        return hashlib.sha256(f"{self.generator.fingerprint} {self.recipe.fingerprint} {self.gate}".strip().encode()).hexdigest()

    def hear(self, attempts: Sequence[Attempt], kinds: Sequence[str] = (), names: Sequence[str] = ()) -> Heard:
        """Read finished attempts, no more than a chunk of the model's, each of its kind where kinds are told apart."""
        films: dict[Walk, Trajectory] = {Sampled(): together([one.film for one in attempts])}
        if self.scorer is not None:
            films |= dict(self.scorer.about(torch.stack([one.film.origin[0] for one in attempts]).float(), kinds))
        return Heard(self._scores(films, names or [str(one.index) for one in attempts]), films, self)

    def half_way(self, film: Trajectory) -> Scores:
        """What the way says so far."""
        return self._scores({Sampled(): film}, [str(i) for i in range(film.items)], self.watches)

    def real(self, source: object) -> Scores:
        """What the readings that ask say of items of the world, in the columns that finished samples have.

        Raises:
            InvalidSetting: nothing is asked.
        """
        if self.scorer is None:
            raise InvalidSetting(f"the recipe {self.recipe.name!r} reads nothing but the way on which a sample came about, and items that are given have none")
        return replace(self.scorer(source), fingerprint=self.fingerprint)

    @torch.no_grad()
    def _scores(self, films: Films, names: Sequence[str], readings: Sequence[Reading] = ()) -> Scores:
        """Path readings first, then those that ask."""
        readings = readings or (*self.watches, *self.asks)
        parts = [one.of.numbers(films[one.walk], one.settings).cpu().numpy() for one in readings]
        columns = [one.columns(part.shape[1]) for one, part in zip(readings, parts, strict=True)]
        each = [one for one, part in zip(readings, parts, strict=True) for _ in range(part.shape[1])]
        return Scores(
            names=tuple(names),
            columns=tuple(itertools.chain(*columns)),
            values=np.concatenate(parts, axis=1),
            tails=tuple(one.of.tail for one in each),
            says=tuple(one.of.says for one in each),
            fingerprint=self.fingerprint,
        )


def together(films: Sequence[Trajectory]) -> Trajectory:
    """One record of the items of several, which have taken the same levels."""
    first = films[0]
    if len(films) == 1:
        return first
    columns = {name: torch.cat([film.columns[name] for film in films], dim=1) for name in first.columns}
    x, denoised = (torch.cat([getattr(film, name) for film in films], dim=1) for name in ("x", "denoised"))
    return replace(first, x=x, denoised=denoised, origin=torch.cat([film.origin for film in films]), columns=columns)


def alike(attempts: Sequence[Attempt]) -> list[list[int]]:
    """Which attempts have taken the same levels at the same size, so that one record holds them; those of other strengths have not."""
    keys = [(tuple(one.film.alpha.tolist()), tuple(one.film.sigma.tolist()), tuple(one.film.origin.shape[1:])) for one in attempts]
    return [[i for i, key in enumerate(keys) if key == wanted] for wanted in dict.fromkeys(keys)]


def asked_of(asked: str | Recipe | None, generator: Generator) -> Recipe:
    """The recipe that was named, or the best that can be asked."""
    if asked is not None or generator.model is None:
        return recipe(asked or "introspection-path")
    model = generator.model
    try:
        model.given(next(iter(model.kinds), "")).watched(model.encode(torch.zeros(1, *model.modality.shape)), 1.0, 1.0, ("finest",))
    except NoActivations:
        return in_units(INTROSPECTION_OUTSIDE, model.modality.deviation_of_items)
    return in_units(INTROSPECTION, model.modality.deviation_of_items)
