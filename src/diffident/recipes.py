"""Published methods, written down as data. Papers' names live here and in reference lines only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from . import levels as grids
from . import registry, statistics
from .calibration.combiners import combiner
from .errors import InvalidSetting
from .probes import Cost, Probe
from .statistics import Statistic
from .trajectory import Trajectory
from .verdict import COLUMNS, KIND
from .walks import Clean, Compare, Descend, Encode, Inpaint, Reconstruct, Renoise, Restore, Sample, Walk, walk_from


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

    @property
    def of(self) -> Statistic:
        """The statistic itself."""
        return statistics.find(self.statistic)

    def config(self) -> dict[str, Any]:
        return {"walk": self.walk.config(), "statistic": self.statistic, "settings": dict(self.settings), "name": self.name}


@dataclass(frozen=True)
class Recipe:
    """What to ask of a model and how to read it: from items to named columns, and how columns become one strangeness.

    Attributes:
        name: for people.
        readings: what is read; equal walks are run once.
        space: the space in which the model must live, by name; empty where any will do.
        combine: how many numbers become one, ``gaussian``, ``ranks`` or ``robust`` (see ``diffident.calibration.strangeness``), or
            how maps do, ``places`` or ``highest`` (see ``diffident.calibration.heights``).
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
            raise InvalidSetting(f"the recipe {self.name!r} combines maps, and {blind[0]!r} has none; combine numbers, with 'gaussian', 'ranks' or 'robust'")
        taken = sorted(set(labels) & {*COLUMNS, KIND})
        if taken:
            raise InvalidSetting(f"the recipe {self.name!r} calls a reading {taken[0]!r}, which is a column of every result; name it otherwise")
        for reading in self.readings:
            reading.of.accept(reading.settings)
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
        asked = tuple(dict.fromkeys(probe for reading in self.plan[walk] for probe in reading.of.probes))
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
            for probe in self.probes(walk):
                total += probe.cost * len(walk.levels)
            total += Cost(walk.evaluations)
        return total

    @property
    def watches(self) -> tuple[str, ...]:
        """The streams of the model's network that are read; a recipe with any is refused by a denoiser without a network."""
        return tuple(dict.fromkeys(stream for reading in self.readings for probe in reading.of.probes for stream in probe.watches))

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


def _keep(recipe: Recipe) -> Recipe:
    return registry.register("recipes", recipe.name, recipe)


#: Noise the item at several levels, ask what was there, and see how far the answer lies from the item.
RECONSTRUCTION = _keep(
    Recipe(
        "reconstruction",
        (Reading(Renoise(grids.angular([0.1, 0.3, 1.0])), "residual"),),
        combine="ranks",
        source="Graham et al. 2023, 2211.07740, without its sampling chain",
    )
)

#: Ask at each place of what a frozen network sees how far the item lies from what is usual there; calibrated place by place.
INSPECTION = _keep(
    Recipe(
        "inspection",
        (Reading(Clean(grids.exploding([0.1**0.5])), "residual"),),
        space="features",
        combine="places",
        network="positions",
        vary=("auto",),
        source="a Gaussian per position as in Defard et al. 2021 (PaDiM, 2011.08785), read as the residual of its exact denoiser",
    )
)

#: The distance of each place to the nearest patch of known-good items.
MEMORY = _keep(
    Recipe(
        "memory",
        (Reading(Clean(grids.exploding([0.01])), "residual"),),
        space="features",
        combine="highest",
        network="patches",
        housing={"blocks": (6, 13), "sizes": (256,), "grid": 32, "style": 0.0},
        source="Roth et al. 2022 (PatchCore, 2106.08265)",
    )
)

#: The same as inspection with one Gaussian for all places: for surfaces that look alike all over, and large pictures in tiles of their own pixels.
TEXTURE = _keep(
    Recipe(
        "texture",
        (Reading(Clean(grids.exploding([0.3**0.5])), "residual"),),
        space="features",
        combine="highest",
        network="texture",
        housing={"blocks": (3, 6), "sizes": (256,), "grid": 32, "style": 0.0},
        source="one Gaussian for all places of an early block, after Defard et al. 2021 (PaDiM, 2011.08785)",
    )
)

#: Mahalanobis' distance of each place to what is usual there.
MAHALANOBIS = _keep(
    Recipe(
        "mahalanobis",
        (Reading(Clean(grids.exploding([0.1, 1e4])), "mahalanobis"),),
        space="features",
        combine="highest",
        network="positions",
        housing={"blocks": (6, 13), "sizes": (256,), "grid": 32, "style": 0.0},
        source="Defard et al. 2021 (PaDiM, 2011.08785)",
    )
)

#: The distance to the nearest known-good item, pixel by pixel.
KNN = _keep(
    Recipe("knn", (Reading(Clean(grids.exploding([0.001])), "residual"),), combine="ranks", network="none", source="nearest neighbours, Cover and Hart 1967")
)

#: What the principal components of known-good items leave unexplained.
PCA = _keep(Recipe("pca", (Reading(Clean(grids.exploding([0.001])), "residual"),), combine="ranks", network="pca", source="Jackson and Mudholkar 1979"))

#: Noise the item half way, walk it back to the data, and compare.
PARTIAL = _keep(
    Recipe(
        "partial",
        (Reading(Reconstruct(start=0.5, steps=5), "residual", {"last": True}),),
        combine="ranks",
        source="Wyatt et al. 2022 (AnoDDPM), with Gaussian noise",
    )
)

#: The six numbers of a path to noise.
DIFFPATH = _keep(Recipe("diffpath", (Reading(Encode(), "path_speed"), Reading(Encode(), "path_curvature")), source="Heng et al. 2024, 2405.11881"))

#: The one number of the same paper.
DIFFPATH_1D = _keep(Recipe("diffpath-1d", (Reading(Encode(), "path_curvature", {"powers": (2,)}),), combine="ranks", source="Heng et al. 2024, 2405.11881"))

#: The norms of the score of the clean item at ten claimed levels.
MSMA = _keep(Recipe("msma", (Reading(Clean(), "score_norm"),), source="Mahmood et al. 2021, 2010.13132"))


def _compared(walk: Walk, *statistics: str) -> tuple[Reading, ...]:
    """Statistics of the last answer of a walk, compared from inside with the item."""
    return tuple(Reading(Compare(walk), name, {"last": True} if name == "residual" else {}) for name in statistics)


#: Noise the item a quarter of the way, walk it back drawn toward itself, and compare in pixels.
CONDITIONED_PIXELS = _keep(
    Recipe(
        "conditioned-pixels",
        (Reading(Descend(), "residual", {"last": True}),),
        combine="ranks",
        source="Mousakhan et al. 2023 (DDAD, 2305.15956), its map of pixels; pull 1 for all, where the paper chose 0 to 11 by category",
    )
)

#: The same, compared from inside too: needs a network.
CONDITIONED = _keep(
    Recipe(
        "conditioned",
        _compared(Descend(), "residual", "semantic"),
        combine="ranks",
        source="Mousakhan et al. 2023 (DDAD, 2305.15956), with the activations of the denoiser's own network, not of a pretrained one",
    )
)

#: Five steps to noise: where the item lands, and how probable that makes it.
INVERSION = _keep(
    Recipe(
        "inversion",
        tuple(Reading(Encode(grids.cosine(5), clip=False), name) for name in ("landing", "likelihood")),
        source="Sakai & Hasegawa 2025 (InvAD, 2504.05662); Song et al. 2021, 2011.13456",
    )
)

#: Take the item for a noisy one, restore it, and see what had to go, in pixels and from inside: needs a network.
DEVIATION = _keep(
    Recipe(
        "deviation",
        _compared(Restore(), "deviation"),
        combine="ranks",
        source="He et al. 2025 (DeCo-Diff, CVPR), its inference, with a denoiser that was not trained for it",
    )
)

#: Hide every other square, fill it in from the rest, change sides.
MASK = _keep(
    Recipe(
        "mask",
        (Reading(Inpaint(), "residual", {"last": True}),),
        combine="ranks",
        source="Liu et al. 2023 (LMD, 2302.10326), once, with squared error",
    )
)

#: From five starting points of one schedule back to the data.
MULTI_START = _keep(
    Recipe(
        "multi-start",
        tuple(
            Reading(Descend(grids.part(grids.scaled_linear(20), 1, start), pull=0.0, eta=0.0), "residual", {"last": True}, f"residual from {start} of 20")
            for start in (4, 8, 12, 16, 20)
        ),
        source="Graham et al. 2023 (DDPM-OOD, 2211.07740), with DDIM steps on a fifth of its levels and squared error alone",
    )
)


def wavelet_semantic(starts: tuple[float, ...] = (0.16, 0.33, 0.51), bands: int = 4, semantic: bool = True, space: str = "haar") -> Recipe:
    """Reconstructions from several starts: the error in each wavelet band, and the discrepancy seen from inside.

    Each ingredient can be left out for an ablation; attention is the network's own setting (``head=0``).

    Args:
        starts: sigma / alpha at which reconstructions begin, five steps each; one for a single scale.
        bands: into which the channels are cut: 4 in haar of one level, 1 for the plain residual, as in pixels.
        semantic: whether activations are compared; without, no network is needed.
        space: in which the model must live; ``pixels`` leaves wavelets out.

    >>> wavelet_semantic().cost, wavelet_semantic(starts=(0.33,), bands=1, semantic=False, space="pixels").cost
    (Cost(evaluations=21, products=0), Cost(evaluations=5, products=0))
    """
    readings = []
    for start in starts:
        walk = Compare(Reconstruct(start)) if semantic else Reconstruct(start)
        readings += [Reading(walk, "band_residual", {"band": b, "bands": bands, "last": True}, f"band {b + 1} from {start}") for b in range(bands)]
        readings += [Reading(walk, "semantic", {}, f"semantic from {start}")] if semantic else []
    source = "Chen 2025, 2505.05137, whose formulas are not public: a design after its abstract"
    return Recipe("wavelet-semantic", tuple(readings), space, "gaussian", source)


#: The whole of it. Starts are a tenth, a fifth and three tenths of the cosine schedule.
WAVELET_SEMANTIC = _keep(wavelet_semantic())
