"""What a recipe is: readings off walks, and how their numbers become one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from .. import registry, statistics
from ..calibration.combiners import combiner
from ..errors import InvalidSetting
from ..probes import Cost, Probe
from ..statistics import Statistic
from ..trajectory import Trajectory
from ..verdict import COLUMNS, KIND
from ..walks import Sample, Walk, walk_from


@dataclass(frozen=True)
class Reading:
    """One statistic read off one walk.

    Attributes:
        walk: how the model is questioned.
        statistic: the name of what is read.
        settings: of the statistic.
        name: of its columns; the statistic's own unless two readings share it.
    """

    walk: Walk
    statistic: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""

    @property
    def label(self) -> str:
        return self.name or self.statistic

    def columns(self, width: int) -> tuple[str, ...]:
        """Names of its so many columns; a vector's are numbered from 1.

        >>> from diffident.walks import Unasked
        >>> Reading(Unasked(), "trivial").columns(2)
        ('trivial[1]', 'trivial[2]')
        """
        return (self.label,) if width == 1 else tuple(f"{self.label}[{i + 1}]" for i in range(width))

    @property
    def of(self) -> Statistic:
        """The statistic itself."""
        return statistics.find(self.statistic)

    @property
    def probes(self) -> tuple[Probe, ...]:
        """What is asked beside x0."""
        return self.of.asked(self.settings)

    def config(self) -> dict[str, Any]:
        return {"walk": self.walk.config(), "statistic": self.statistic, "settings": dict(self.settings), "name": self.name}


@dataclass(frozen=True)
class Recipe:
    """What to ask of a model and how to read it: from items to named columns, and how columns become one strangeness.

    Attributes:
        name: for people.
        readings: what is read; equal walks are run once.
        space: the space in which the model must live, by name; empty where any will do.
        combine: how many numbers become one, ``gaussian``, ``ranks``, ``robust`` (see ``diffident.calibration.strangeness``) or ``fusion``
            (see ``diffident.calibration.fusion``), or how maps do, ``places`` or ``highest`` (see ``diffident.calibration.heights``).
        source: the paper.
        network: what is learned unless something else is asked for: see ``diffident.Training``.
        housing: settings of the space, for models that are trained for this recipe.
        prepare: what is done to items before they enter the space, by name: see ``diffident.steps``.
        vary: how known-good items are changed to learn from more of them: see ``diffident.variations``.

    Raises:
        InvalidSetting: no readings, two with one name, settings that a statistic lacks, or a walk with fewer noise draws than it needs.
    """

    name: str
    readings: tuple[Reading, ...]
    space: str = ""
    combine: str = "gaussian"
    source: str = ""
    network: str = "unet"
    housing: Mapping[str, Any] = field(default_factory=dict)
    prepare: tuple[str, ...] = ()
    vary: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        labels = [reading.label for reading in self.readings]
        twice = sorted({label for label in labels if labels.count(label) > 1})
        if not labels or twice:
            raise InvalidSetting(
                f"the recipe {self.name!r} has {'two readings called ' + ', '.join(twice) + '; name them apart' if twice else 'no readings; give at least one'}"
            )
        blind = [reading.label for reading in self.readings if not reading.of.per_element]
        if combiner(self.combine).reads == "maps" and blind:  # refused here, not after the scoring
            raise InvalidSetting(
                f"the recipe {self.name!r} combines maps, and {blind[0]!r} has none; combine numbers, with 'gaussian', 'ranks', 'robust' or 'fusion'"
            )
        taken = sorted(set(labels) & {*COLUMNS, KIND})
        if taken:
            raise InvalidSetting(f"the recipe {self.name!r} calls a reading {taken[0]!r}, which is a column of every result; name it otherwise")
        for reading in self.readings:
            reading.of.accept(reading.settings)
            if not reading.walk.evaluations and any(probe.watches for probe in reading.probes):
                raise InvalidSetting(f"{reading.statistic!r} reads what a network holds while it is asked, and its walk asks nothing; use the walk Clean")
            unheard = [probe.name for probe in reading.probes if reading.walk.recorded and not probe.recorded]
            if unheard:
                raise InvalidSetting(
                    f"{reading.statistic!r} asks for {', '.join(unheard)}, which no record of how a sample was made holds; read it off another walk"
                )
            if isinstance(reading.walk, Sample):
                raise InvalidSetting(f"the recipe {self.name!r} reads a Sample walk: that makes items and says nothing of those given; use another walk")
            if reading.walk.draws < reading.of.draws:
                raise InvalidSetting(
                    f"{reading.statistic!r} needs {reading.of.draws} noise draws per level and its walk makes {reading.walk.draws}; "
                    f"give the walk repeats={reading.of.draws}"
                )

    @property
    def plan(self) -> dict[Walk, tuple[Reading, ...]]:
        """The readings of each different walk."""
        return {walk: tuple(r for r in self.readings if r.walk == walk) for walk in dict.fromkeys(r.walk for r in self.readings)}

    def probes(self, walk: Walk) -> tuple[Probe, ...]:
        """What is asked beside x0 on a walk, each once.

        Raises:
            InvalidSetting: two different probes would fill one column.
        """
        asked = tuple(dict.fromkeys(probe for reading in self.plan[walk] for probe in reading.probes))
        if len({probe.name for probe in asked}) < len(asked):
            raise InvalidSetting(
                f"the recipe {self.name!r} asks different probes of one name on one walk: {', '.join(map(str, asked))}; read them off two walks"
            )
        return asked

    def read(self, films: Mapping[Walk, Trajectory]) -> Tensor:
        """The numbers of all readings, column by column, (n, k) float64, from one trajectory for each different walk."""
        return torch.cat([reading.of.numbers(films[reading.walk], reading.settings) for reading in self.readings], dim=1)

    @property
    def combines_maps(self) -> bool:
        """Whether maps are combined and not numbers."""
        return combiner(self.combine).reads == "maps"

    def highest(self) -> Recipe:
        """The same, combined by the highest place of its maps: how items in tiles are judged.

        Raises:
            InvalidSetting: a reading has no map.
        """
        return self if self.combine == "highest" else replace(self, combine="highest")

    @property
    def mapped(self) -> tuple[Reading, ...]:
        """The readings that say where an item is strange; a recipe without any has no map."""
        return tuple(reading for reading in self.readings if reading.of.per_element)

    @property
    def cost(self) -> Cost:
        """Per item: network evaluations and Jacobian products."""
        total = Cost()
        for walk in self.plan:
            if walk.recorded:
                continue  # whoever made the record has asked already
            for probe in self.probes(walk):
                total += probe.cost * len(walk.levels)
            total += Cost(walk.evaluations)
        return total

    @property
    def introspects(self) -> bool:
        """Whether it reads how an item came about: then it is for generated samples alone, and nothing can be read of items that are given."""
        return any(reading.walk.recorded for reading in self.readings)

    def require_given(self) -> None:
        """Refuse, before the work, a recipe that says nothing of items that are given.

        Raises:
            InvalidSetting: it introspects.
        """
        made = ", ".join(reading.label for reading in self.readings if reading.walk.recorded)
        if made:
            raise InvalidSetting(
                f"the recipe {self.name!r} reads {made} off the record of how a sample came about, and items that are given have none; "
                "judge samples while they are made with diffident.Guard, or take a recipe such as 'reconstruction'"
            )

    @property
    def watches(self) -> tuple[str, ...]:
        """The streams of the model's network that are read; a recipe with any is refused by a denoiser without a network."""
        return tuple(dict.fromkeys(stream for reading in self.readings for probe in reading.probes for stream in probe.watches))

    def config(self) -> dict[str, Any]:
        """The recipe as plain data for JSON; :func:`recipe_from` reads it back."""
        plain = {"space": self.space, "combine": self.combine, "source": self.source, "network": self.network}
        return {
            "name": self.name,
            "readings": [r.config() for r in self.readings],
            **plain,
            "housing": dict(self.housing),
            "prepare": list(self.prepare),
            "vary": list(self.vary),
        }

    @property
    def fingerprint(self) -> str:
        """sha256 of everything that changes a number; names for people are not part of it."""
        readings = [{**r.config(), "name": "", "version": r.of.version} for r in self.readings]
        return hashlib.sha256(json.dumps([readings, self.space], sort_keys=True).encode()).hexdigest()


def recipe_from(config: Mapping[str, Any]) -> Recipe:
    """The recipe that :meth:`Recipe.config` described."""
    readings = tuple(Reading(walk_from(r["walk"]), r["statistic"], _tuples(r["settings"]), r["name"]) for r in config["readings"])
    later = {
        "network": config.get("network", "unet"),
        "housing": _tuples(config.get("housing", {})),
        "prepare": tuple(config.get("prepare", ())),
        "vary": tuple(config.get("vary", ())),
    }
    return Recipe(config["name"], readings, config["space"], config["combine"], config["source"], **later)


def recipe(name: str | Recipe) -> Recipe:
    """The registered recipe of that name; a recipe is given back as it is.

    >>> recipe("diffpath").cost
    Cost(evaluations=10, products=0)
    """
    return name if isinstance(name, Recipe) else registry.find("recipes", name)  # type: ignore[return-value]


def _tuples(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}


def keep(recipe: Recipe) -> Recipe:
    """Register a recipe under its name and give it back."""
    return registry.register("recipes", recipe.name, recipe)
