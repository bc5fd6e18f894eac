"""One model judges worlds that it was not trained on: every recipe beside its random-weight twin, cheap baselines and a network from outside.

    python -m benchmarks.zero_shot                                 what is wanting, piece by piece; then tables
    python -m benchmarks.zero_shot --piece BASE PROTOCOL RECIPE    one piece; pieces may be made side by side
    python -m benchmarks.zero_shot --so-far                        the tables of what is there

A base is ``base``, the model of the package (scripts/train_base.py makes it), ``random``, the same with random weights,
or the folder of another. Protocols are ``equal``
(one resolution and JPEG history for all pictures) and ``raw``. Near pairs (natural pictures among each other) have a table of their own.
References calibrate the combiner that the recipe names; a pair's figure is the AUROC of known against strange tests. Items are drawn again
jointly for all methods. Recipes above 50 evaluations see a part of the pictures, which the table states.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

import diffident as dd
from benchmarks._common import freeze, keep, kept, machine, source, table
from benchmarks._draws import drawn_auroc, ends
from benchmarks._learned import asked_at_once
from benchmarks.zero_shot_sets import Pair, equal, pairs, strange_to, worlds
from diffident.calibration import Calibration, combiner
from diffident.evaluate import auroc
from diffident.evaluate.nulls import BASELINES
from diffident.folder import MANIFEST, placed
from diffident.recipes import recipe
from diffident.scorer import Scorer
from diffident.scores import Scores

NAME, REPEATS, DEFAULT = "zero_shot", 2_000, "zero-shot"
RECIPES = (DEFAULT, "activations-told", "activations", "msma", "diffpath", "diffpath-1d", "diffpath-v2", "scoped", "reconstruction", "likelihood",
           "typicality", "input-complexity", "eigen", "multi-start", "mask", "haar-energies", "trivial")  # fmt: skip
PROTOCOLS = ("equal", "raw")
BASES = ("base", "random")
#: Evaluations, each Jacobian product counted as two, above which so many references and tests of each world are looked at.
DEAR, FEWER = 50, (200, 100)

Piece = dict[str, Any]
#: How many references and tests of each world are looked at; None is all.
Most = tuple[int | None, int | None]


def model_of(base: str) -> dd.Model:
    """The model that a piece asks."""
    return replace(dd.load("base").untrained(1), name="random") if base == "random" else dd.load(base)


def looked_at(evaluations: float) -> tuple[int | None, int | None]:
    """How many references and tests of each world are looked at; None is all."""
    return FEWER if evaluations > DEAR else (None, None)


def scored(model: dd.Model, names: tuple[str, ...], protocol: str, most: Most) -> dict[str, dict[str, tuple[Scores, Scores]]]:
    """Scores of the references and tests of every world, of each recipe: equal walks are run once for all of them."""
    found: dict[str, dict[str, tuple[Scores, Scores]]] = {name: {} for name in names}
    for world, (references, tests) in shown(protocol, most).items():
        both = [asked_at_once(model, names, part) for part in (references, tests)]
        for name in names:
            found[name][world] = (both[0][name], both[1][name])
    return found


def shown(protocol: str, most: Most) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """References and tests of every world."""
    brought = equal if protocol == "equal" else np.asarray
    return {name: (brought(w.references[: most[0]]), brought(w.tests[: most[1]])) for name, w in worlds().items()}


def judged(scores: Mapping[str, tuple[Scores, Scores]], name: str) -> dict[str, dict[str, list[float]]]:
    """Of every known world, the strangeness of its tests and of those that are strange to it."""
    return {known: _beside(known, scores, combiner(recipe(name).combine)) for known in dict.fromkeys(pair.known for pair in pairs())}


def _beside(known: str, scores: Mapping[str, tuple[Scores, Scores]], how: Strangeness) -> dict[str, list[float]]:
    """By the references alone, without refitting: for ranking."""
    references = scores[known][0]
    told = how.told(references.columns)
    return {other: told.score(references.values, scores[other][1].values, references.tails).tolist() for other in met(known)}


def met(known: str) -> list[str]:
    """The worlds whose tests are looked at where that one is known."""
    return list(dict.fromkeys([known, *(name for pair in pairs() if pair.known == known for name in strange_to(pair))]))


def pixels(protocol: str, most: Most) -> dict[str, Piece]:
    """Baselines that ask no model, of the same form."""
    made, found = shown(protocol, most), dict[str, Piece]()
    for name, baseline in BASELINES.items():
        said = {known: {other: baseline(made[known][0], made[other][1]).tolist() for other in met(known)} for known in dict.fromkeys(p.known for p in pairs())}
        found[name] = {"base": "none", "protocol": protocol, "recipe": name, "scores": said, "cost": [0, 0]}
    return found


def drawn(pair: Pair, made: Piece, times: dict[str, np.ndarray]) -> tuple[float, np.ndarray]:
    """AUROC of a pair, and of each draw of its tests, (repeats,)."""
    names = [pair.known, *strange_to(pair)]
    said = [np.array(made["scores"][pair.known][name]) for name in names]
    labels, scores = np.repeat([0, 1], [len(said[0]), sum(map(len, said[1:]))]), np.concatenate(said)
    often = np.concatenate([times[name][:, : len(one)] for name, one in zip(names, said, strict=True)], axis=1)
    return auroc(labels, scores), drawn_auroc(labels, scores, often)


def resampled() -> dict[str, np.ndarray]:
    """How often each test of each world is drawn, (repeats, n): the same for all methods."""
    rng = np.random.default_rng(11)
    return {name: rng.multinomial(len(world.tests), np.full(len(world.tests), 1 / len(world.tests)), REPEATS) for name, world in worlds().items()}


def summary(made: Sequence[Piece], near: bool) -> list[dict[str, object]]:
    """A row for each method: mean AUROC over pairs, what it gains over its random twin, and what the default gains over it."""
    times, wanted = resampled(), [pair for pair in pairs() if pair.near is near]
    means: dict[tuple[str, str], tuple[float, np.ndarray]] = {}
    for one in made:
        values = [drawn(pair, one, times) for pair in wanted]
        means[one["base"], one["recipe"]] = float(np.mean([v for v, _ in values])), np.mean([d for _, d in values], axis=0)
    rows = []
    for one in made:
        base, name = one["base"], one["recipe"]
        value, draws = means[base, name]
        twin, default = means.get(("random", name)) if base != "random" else None, means.get((base if base != "none" else "base", DEFAULT))
        rows.append(
            {
                "base": base,
                "recipe": name,
                "evaluations": f"{one['cost'][0]} + {one['cost'][1]} J",
                "AUROC": value,
                "95 % interval": ends(draws),
                "over its random twin": "" if twin is None else f"{value - twin[0]:+.3f} ({ends(draws - twin[1])})",
                "the default over it": "" if default is None or name == DEFAULT else f"{default[0] - value:+.3f} ({ends(default[1] - draws)})",
            }
        )
    return rows


def key(base: str, protocol: str, name: str) -> str:
    return f"{base} {protocol} {name}: {source()}"


def every() -> list[tuple[str, str, str]]:
    return [(base, protocol, name) for protocol in PROTOCOLS for name in RECIPES for base in BASES]


def report(found: Sequence[Piece], left: int) -> None:
    """The tables; frozen if nothing is left to do."""
    lines = ["# Zero-shot: one model judges worlds that it was not trained on", ""]
    columns = ("base", "recipe", "evaluations", "AUROC", "95 % interval", "over its random twin", "the default over it")
    frozen: list[dict[str, object]] = []
    for protocol in PROTOCOLS:
        mine = [one for one in found if one["protocol"] == protocol]
        if not mine:
            continue
        for near in (True, False):
            rows = summary([*mine, *pixels(protocol).values()], near)
            frozen += [{"protocol": protocol, "near": near} | row for row in rows]
            lines += [f"## {'Near' if near else 'Far'} pairs, {protocol}", "", *table(rows, columns, ".3f"), ""]
    text = "\n".join([*lines, machine()]) + "\n"
    if left:
        print(text)
    else:
        freeze(NAME, {"rows": frozen}, text)


def main() -> None:
    parser = argparse.ArgumentParser(description="Pairs of worlds, one known and one strange.")
    parser.add_argument("--piece", nargs=3, metavar=("BASE", "PROTOCOL", "RECIPE"), help="make this piece only")
    parser.add_argument("--so-far", action="store_true", help="show the tables of the pieces that are there, and make none")
    asked = parser.parse_args()
    if not (placed("base") / MANIFEST).is_file():
        print("skipped: this version comes without a base model; train it with python scripts/train_base.py. Nothing was written")
        return
    wanted = [] if asked.so_far else [tuple(asked.piece)] if asked.piece else every()
    for one in wanted:
        if key(*one) not in kept(NAME):
            keep(NAME, key(*one), piece(*one))
            print(f"{' '.join(one)}: done", flush=True)
    found = kept(NAME)
    left = [one for one in every() if key(*one) not in found]
    if asked.so_far or not left:
        report([found[key(*one)] for one in every() if one not in left], len(left))
    if left:
        print(f"{len(left)} of {len(every())} pieces are wanting before anything is frozen")


if __name__ == "__main__":
    main()
