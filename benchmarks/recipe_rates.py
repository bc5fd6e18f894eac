"""Do the rates hold for what recipes read? Every recipe, and all statistics together, questioning an exact world: part of ``guarantees``.

Ordinary items of shape (1, 4, 4) are drawn from a mixture of three Gaussians, and the model is that mixture's exact
denoiser. The recipe's own walks and statistics make the numbers, ``Calibration`` with the recipe's own combiner makes
the p-values: the code that users run, with all repeats of a table row in one batch.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from benchmarks.checker import Counts
from diffident import levels as grids
from diffident import registry
from diffident.calibration import Calibration, combiner, smallest_p
from diffident.denoiser import GaussianMixture
from diffident.modalities.image import Image
from diffident.model import Model
from diffident.recipes import Reading, Recipe, recipe
from diffident.scorer import Scorer
from diffident.scores import Scores
from diffident.statistics import find
from diffident.walks import Clean, Encode, Renoise

SIDE, BATCH = 4, 20_000
SIZES, LEVELS = (50, 100, 500), (0.01, 0.05, 0.1)


def world() -> GaussianMixture:
    """Three modes of correlated pixels with values mostly in [-1, 1]."""
    place = torch.arange(SIDE * SIDE, dtype=torch.float32)
    smooth = torch.exp(-(place[:, None] - place[None]).abs() / 3)
    means = torch.stack([torch.full((1, SIDE, SIDE), level) for level in (-0.5, 0.0, 0.4)])
    return GaussianMixture(means, torch.stack([0.02 * smooth, 0.05 * smooth, 0.03 * smooth]), torch.tensor([0.5, 0.3, 0.2]))


def everything() -> Recipe:
    """All registered statistics on each of three walks: far more than twenty columns, many of them nearly copies of each other."""
    known = [one for one in map(find, registry.names("statistics")) if not any(probe.watches for probe in one.probes)]
    renoise = Renoise(repeats=max(one.draws for one in known))
    walks = {"encode": Encode(grids.cosine(6)), "renoise": renoise, "clean": Clean(grids.angular([0.1, 0.3, 1.0]))}
    fitting = [(how, walk, one.name) for how, walk in walks.items() for one in known if walk.draws >= one.draws]
    return Recipe("everything", tuple(Reading(walk, name, name=f"{name} on {how}") for how, walk, name in fitting), combine="gaussian")


def scored(asked: Recipe, denoiser: GaussianMixture, items: torch.Tensor) -> Scores:
    """The recipe's numbers of many items: its walks, its statistics, a batch at a time."""
    scorer = Scorer(Model(denoiser, Image(SIDE, SIDE)), asked)
    with torch.no_grad():
        values = np.concatenate([_numbers(asked, denoiser, part) for part in items.split(BATCH)])
    readings = scorer.columns.values()
    tails, says = tuple(r.of.tail for r in readings), tuple(r.of.says for r in readings)
    n = len(items)
    return Scores(("",) * n, tuple(scorer.columns), values, tails, says, scorer.fingerprint, ("",) * n, ({},) * n)


def _numbers(asked: Recipe, denoiser: GaussianMixture, items: torch.Tensor) -> np.ndarray:
    films = {walk: walk(denoiser, items, asked.probes(walk)) for walk in asked.plan}
    return torch.cat([reading.of.numbers(films[reading.walk], reading.settings) for reading in asked.readings], dim=1).numpy()


def p_values(asked: Recipe, n: int, m: int, repeats: int, seed: int) -> np.ndarray:
    """p-values of m good items in each of many repeats, (repeats, m); each has n references of its own, and nothing is used twice."""
    exact = world()
    scores = scored(asked, exact, exact.draw(repeats * (n + m), seed))
    cuts = [range(r * (n + m), (r + 1) * (n + m)) for r in range(repeats)]
    return np.stack([Calibration(scores.select(cut[:n]), combiner(asked.combine)).judge(scores.select(cut[n:])).p for cut in cuts])


def counts(quick: bool) -> list[Counts]:
    """Flags among good items for every registered recipe and for all statistics together, at every n and level."""
    m, repeats, rows = (10, 200, []) if quick else (50, 400, [])
    for i, asked in enumerate(asked_of()):
        columns = Scorer(Model(world(), Image(SIDE, SIDE)), asked).columns.values()
        name = f"recipe {asked.name}, {len(columns)} statistic{'s' if len(columns) > 1 else ''} by {asked.combine}"
        # both ends of a two-sided rank tie, and so do sums of ranks; ties count against flagging
        ties = asked.combine == "ranks" and [reading.of.tail for reading in columns] not in (["upper"], ["lower"])
        for n in SIZES:
            p = p_values(asked, n, m, repeats, seed=1000 * i + n)
            rows += [Counts(name, n, a, m, repeats, int((p <= a * (1 + 1e-9)).sum()), "above" if ties else "both") for a in LEVELS]
    return rows


def asked_of() -> list[Recipe]:
    """The registered recipes that an exact model of pixels can be asked, and the one of everything."""
    known = map(recipe, registry.names("recipes"))
    return [*(one for one in known if not (one.watches or one.introspects) and one.space in ("", "pixels")), everything()]


def reach(n: int = 99) -> list[dict[str, object]]:
    """The smallest p-value that each recipe gave to an item whose every number lies absurdly far out, on one side or the other."""
    rows: list[dict[str, object]] = []
    for asked in asked_of():
        known = scored(asked, world(), world().draw(n, seed=1))
        far = 1e3 * np.ptp(known.values, axis=0)
        items = replace(known.select(range(2)), values=np.stack([known.values.max(0) + far, known.values.min(0) - far]))
        p = Calibration(known, combiner(asked.combine)).judge(items).p
        rows.append({"recipe": asked.name, "n": n, "smallest p": float(p.min()), "reachable by a count of ranks": smallest_p(n)})
    return rows
