"""What ``zero_shot`` asks: recipes in groups of one cost, what is joined of their numbers, and networks and numbers from outside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

import diffident as dd
from benchmarks._learned import asked_at_once
from benchmarks.zero_shot_sets import equal, pairs, strange_to, worlds
from diffident.calibration import combiner
from diffident.calibration.strangeness import Strangeness
from diffident.evaluate.nulls import BASELINES
from diffident.networks.frozen import MobileNetV2
from diffident.recipes import Recipe, diffpath_v2, recipe, zero_shot
from diffident.scores import Scores
from diffident.weights import bundled

Piece = dict[str, Any]
#: References and tests of a world, by its name.
Shown = Mapping[str, tuple[np.ndarray, np.ndarray]]
#: How many references and tests of each world are looked at.
Most = tuple[int, int]
DEFAULT, OUTSIDE = "zero-shot", "MobileNetV2 kNN"
#: Recipes that are asked here only.
OWN = {
    "diffpath-v2, unweighted": replace(diffpath_v2(weight="none"), name="diffpath-v2, unweighted"),
    # its level and streams were chosen earlier, on outliers, with another base: optimistic
    "zero-shot, told 1": replace(zero_shot(("down1", "deepest"), (), (1.0,)), name="zero-shot, told 1"),
}
#: Neighbours, and the side to which pictures are brought for the network from outside.
NEIGHBOURS, OUTSIDE_SIDE = 5, 96


@dataclass(frozen=True)
class Group:
    """Recipes that are asked together, each walk once, of so many references and tests of each world."""

    recipes: tuple[str, ...]
    most: Most
    protocols: tuple[str, ...] = ("equal", "raw")


#: By their cost: what costs more sees fewer pictures.
GROUPS = {
    "one": Group((DEFAULT, "zero-shot, told 1", "activations-told", "activations", "reconstruction", "haar-energies", "trivial"), (200, 100)),
    "ten": Group(("msma", "diffpath", "diffpath-1d", "diffpath-v2", "diffpath-v2, unweighted", "scoped", "trivial"), (100, 50)),
    "sixty": Group(("likelihood", "typicality", "input-complexity", "eigen"), (60, 30), ("equal",)),
    "hundreds": Group(("multi-start", "mask"), (40, 20), ("equal",)),
}
#: What is made of the numbers of two recipes of a group: name to the two and the way in which they become one.
JOINED = {"msma + trivial": ("msma", "trivial", "fusion")}
#: The default without the three plain numbers.
ALONE = "zero-shot, network alone"


def recipe_of(name: str) -> Recipe:
    return OWN[name] if name in OWN else recipe(name)


def shown(protocol: str, most: Most) -> Shown:
    """References and tests of every world."""
    brought = equal if protocol == "equal" else np.asarray
    return {name: (brought(w.references[: most[0]]), brought(w.tests[: most[1]])) for name, w in worlds().items()}


def scored(model: dd.Model, names: tuple[str, ...], protocol: str, most: Most) -> dict[str, dict[str, tuple[Scores, Scores]]]:
    """Scores of the references and tests of every world, of each recipe: equal walks are run once for all of them."""
    asked = tuple(recipe_of(name) for name in names)
    found: dict[str, dict[str, tuple[Scores, Scores]]] = {name: {} for name in names}
    for world, both in shown(protocol, most).items():
        references, tests = (asked_at_once(model, asked, part) for part in both)
        for name in names:
            found[name][world] = (references[name], tests[name])
    return found


def judged(scores: Mapping[str, tuple[Scores, Scores]], combine: str) -> dict[str, dict[str, list[float]]]:
    """Of every known world, the strangeness of its tests and of those that are strange to it."""
    return {known: _beside(known, scores, combiner(combine)) for known in dict.fromkeys(pair.known for pair in pairs())}


def _beside(known: str, scores: Mapping[str, tuple[Scores, Scores]], how: Strangeness) -> dict[str, list[float]]:
    """By the references alone, without refitting: for ranking."""
    references = scores[known][0]
    told = how.told(references.columns)
    return {other: told.score(references.values, scores[other][1].values, references.tails).tolist() for other in met(known)}


def met(known: str) -> list[str]:
    """The worlds whose tests are looked at where that one is known."""
    return list(dict.fromkeys([known, *(name for pair in pairs() if pair.known == known for name in strange_to(pair))]))


def made_of(group: str, scores: Mapping[str, Mapping[str, tuple[Scores, Scores]]]) -> dict[str, tuple[dict[str, dict[str, list[float]]], list[int]]]:
    """Of each recipe of a group, of what is joined of two and of the default's network alone: strangeness, and evaluations and products."""
    found = {}
    for name in GROUPS[group].recipes:
        asked = recipe_of(name)
        if not (group == "ten" and name == "trivial"):  # it is there to be joined
            found[name] = judged(scores[name], asked.combine), [asked.cost.evaluations, asked.cost.products]
    for name, (one, other, combine) in JOINED.items():
        if one in scores and other in scores:
            joined = {world: tuple(_beside_each_other(*parts) for parts in zip(scores[one][world], scores[other][world], strict=True)) for world in scores[one]}
            found[name] = judged(joined, combine), found[one][1]  # type: ignore[arg-type]
    if DEFAULT in scores:
        found[ALONE] = judged({world: tuple(_alone(part) for part in both) for world, both in scores[DEFAULT].items()}, "fusion"), found[DEFAULT][1]  # type: ignore[misc]
    return found


def _beside_each_other(one: Scores, other: Scores) -> Scores:
    return replace(
        one,
        columns=one.columns + other.columns,
        values=np.concatenate([one.values, other.values], axis=1),
        tails=one.tails + other.tails,
        says=one.says + other.says,
    )


def _alone(scores: Scores) -> Scores:
    """Without the plain numbers."""
    kept = [i for i, column in enumerate(scores.columns) if not column.startswith("trivial")]
    return replace(
        scores,
        columns=tuple(scores.columns[i] for i in kept),
        values=scores.values[:, kept],
        tails=tuple(scores.tails[i] for i in kept),
        says=tuple(scores.says[i] for i in kept),
    )


def pixels(protocol: str, most: Most) -> dict[str, Piece]:
    """Baselines that ask no model, of the same form."""
    made, found = shown(protocol, most), dict[str, Piece]()
    for name, baseline in BASELINES.items():
        said = {known: {other: baseline(made[known][0], made[other][1]).tolist() for other in met(known)} for known in dict.fromkeys(p.known for p in pairs())}
        found[name] = {"base": "none", "protocol": protocol, "recipe": name, "scores": said, "cost": [0, 0]}
    return found


def outside(protocol: str, most: Most) -> Piece:
    """Mean distance to the nearest references in the embedding of a network that has learned the names of a million photographs."""
    network = MobileNetV2(bundled("mobilenet_v2"))
    made = {name: tuple(_embedded(network, part) for part in both) for name, both in shown(protocol, most).items()}
    said = {known: {other: _nearest(made[known][0], made[other][1]).tolist() for other in met(known)} for known in dict.fromkeys(p.known for p in pairs())}
    return {"base": "none", "protocol": protocol, "recipe": OUTSIDE, "scores": said, "cost": [0, 0]}


def _embedded(network: MobileNetV2, images: np.ndarray) -> np.ndarray:
    values = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    larger = torch.nn.functional.interpolate(values, size=(OUTSIDE_SIDE,) * 2, mode="bilinear", align_corners=False)
    return torch.nn.functional.normalize(network.embedding(larger), dim=1).numpy()


def _nearest(references: np.ndarray, items: np.ndarray) -> np.ndarray:
    return np.sort(1 - items @ references.T, axis=1)[:, :NEIGHBOURS].mean(axis=1)
