"""One model judges worlds that it was not trained on: every recipe beside its random-weight twin, cheap baselines and a network from outside.

    python -m benchmarks.zero_shot                              what is wanting, piece by piece; then tables
    python -m benchmarks.zero_shot --piece BASE PROTOCOL GROUP  one piece; pieces may be made side by side
    python -m benchmarks.zero_shot --so-far                     the tables of what is there, written if all of one protocol is there

A base is ``base``, the model of the package (scripts/train_base.py makes it), or ``random``, the same with random weights. Protocols are ``equal``
(one resolution and JPEG history for all pictures) and ``raw``. A group is a number of recipes of one cost, or ``outside``, a network that has
learned the names of photographs. Near pairs (natural pictures among each other) have a table of their own. References calibrate the combiner that
the recipe names; a pair's figure is the AUROC of known against strange tests. Tests are drawn again jointly for all methods. The default stands
beside each recipe on the same pictures: what costs more sees fewer, which the tables state.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np

import diffident as dd
from benchmarks._common import freeze, keep, kept, machine, so_far, table
from benchmarks._draws import drawn_auroc, ends
from benchmarks._zero_shot import DEFAULT, GROUPS, JOINED, OUTSIDE, Piece, made_of, outside, pixels, recipe_of, scored
from benchmarks.zero_shot_sets import Pair, pairs, strange_to, worlds
from diffident.evaluate import auroc
from diffident.folder import MANIFEST, placed
from diffident.scorer import Scorer

NAME, REPEATS = "zero_shot", 2_000
PROTOCOLS = ("equal", "raw")
BASES = ("base", "random")
#: A figure of cost: items that are timed, a few times over in turn, and against what.
TIMED, TIMES, LITERAL = 128, 3, "diffpath"
COLUMNS = ("base", "recipe", "evaluations", "AUROC", "95 % interval", "over its random twin", "the default over it")


@cache
def model_of(base: str) -> dd.Model:
    """The model that a piece asks."""
    return replace(dd.load("base").untrained(1), name="random") if base == "random" else dd.load(base)


def piece(base: str, protocol: str, group: str) -> list[Piece]:
    """Of every recipe of a group and every pair, the strangeness of known and strange tests."""
    if group == OUTSIDE:
        return [outside(protocol, GROUPS["one"].most)]
    asked = GROUPS[group]
    names = asked.recipes if DEFAULT in asked.recipes or asked.most == GROUPS["one"].most else (*asked.recipes, DEFAULT)
    found = made_of(group, scored(model_of(base), names, protocol, asked.most))
    return [{"base": base, "protocol": protocol, "group": group, "recipe": name, "scores": said, "cost": cost} for name, (said, cost) in found.items()]


def drawn(pair: Pair, made: Piece, times: dict[str, np.ndarray]) -> tuple[float, np.ndarray]:
    """AUROC of a pair, and of each draw of its tests, (repeats,)."""
    names = [pair.known, *strange_to(pair)]
    said = [np.array(made["scores"][pair.known][name]) for name in names]
    labels, scores = np.repeat([0, 1], [len(said[0]), sum(map(len, said[1:]))]), np.concatenate(said)
    often = np.concatenate([times[name][:, : len(one)] for name, one in zip(names, said, strict=True)], axis=1)
    return auroc(labels, scores), drawn_auroc(labels, scores, often)


@cache
def resampled(repeats: int = REPEATS) -> dict[str, np.ndarray]:
    """How often each test of each world is drawn, (repeats, n): the same for all methods. Counts of few pictures are a part of those of many."""
    rng = np.random.default_rng(11)
    return {name: rng.poisson(1, (repeats, len(world.tests))) for name, world in worlds().items()}


def means_of(made: Sequence[Piece], wanted: Sequence[Pair]) -> dict[tuple[str, str, str], tuple[float, np.ndarray]]:
    """Mean AUROC over pairs and that of each draw, by base, group and recipe."""
    found = {}
    for one in made:
        values = [drawn(pair, one, resampled()) for pair in wanted]
        found[one["base"], one["group"], one["recipe"]] = float(np.mean([v for v, _ in values])), np.mean([d for _, d in values], axis=0)
    return found


def summary(made: Sequence[Piece], near: bool) -> list[dict[str, object]]:
    """A row for each method: mean AUROC over pairs, what it gains over its random twin, and what the default gains over it on the same pictures."""
    means, rows = means_of(made, [pair for pair in pairs() if pair.near is near]), []
    for one in made:
        base, group, name = one["base"], one["group"], one["recipe"]
        value, draws = means[base, group, name]
        twin = means.get(("random", group, name)) if base == "base" else None
        beside = (base if base != "none" else "base", group if (base, group, DEFAULT) in means else "one", DEFAULT)
        default = means.get(beside) if name != DEFAULT else None
        rows.append(
            {
                "base": base,
                "recipe": name,
                "group": group,
                "evaluations": f"{one['cost'][0]} + {one['cost'][1]} J",
                "AUROC": value,
                "95 % interval": ends(draws),
                "over its random twin": "" if twin is None else f"{value - twin[0]:+.3f} ({ends(draws - twin[1])})",
                "the default over it": "" if default is None else f"{default[0] - value:+.3f} ({ends(default[1] - draws)})",
            }
        )
    return rows


def by_pair(made: Sequence[Piece], near: bool) -> list[dict[str, object]]:
    """Of every pair the default, its random twin, the network from outside and the best that asks no model; marked where training does not pay."""
    chosen = {(one["base"], one["recipe"]): one for one in made if one["recipe"] in (DEFAULT, OUTSIDE, "trivial3", "pixel_knn", "pixel_pca")}
    rows: list[dict[str, object]] = []
    for pair in (one for one in pairs() if one.near is near):
        said = {which: drawn(pair, one, resampled()) for which, one in chosen.items()}
        row: dict[str, object] = {"known": pair.known, "strange": pair.strange}
        row |= {f"{base} {name}" if name == DEFAULT else name: value for (base, name), (value, _) in said.items()}
        if ("base", DEFAULT) in said and ("random", DEFAULT) in said:
            gain = said["base", DEFAULT][1] - said["random", DEFAULT][1]
            row["over random"] = f"{ends(gain)}{'' if np.quantile(gain, 0.025) > 0 else ' !'}"
        rows.append(row)
    return rows


def speeds() -> list[dict[str, object]]:
    """Items in a second of one thread's own time, and how many times as many as a path of ten evaluations: the median of turns."""
    images = worlds()["TinyImageNet"].tests[:TIMED]
    names = [name for group in ("one", "ten") for name in GROUPS[group].recipes]
    scorers, spent = {name: Scorer(model_of("base"), recipe_of(name)) for name in dict.fromkeys(names)}, dict[str, list[float]]()
    for _ in range(TIMES + 1):  # the first turn warms up
        for name, scorer in scorers.items():
            began = time.process_time()
            scorer(images)
            spent.setdefault(name, []).append(time.process_time() - began)
    rate = {name: TIMED / float(np.median(each[1:])) for name, each in spent.items()}
    return [{"recipe": name, "items a second": one, f"times {LITERAL}": one / rate[LITERAL]} for name, one in rate.items()]


def key(base: str, protocol: str, group: str) -> str:
    """Names everything that a piece depends on: the numbers of its recipes, how they are combined, and the pictures."""
    if group == OUTSIDE:
        return f"{group} {protocol} {GROUPS['one'].most}"
    asked = GROUPS[group]
    prints = [f"{Scorer(model_of(base), recipe_of(name)).fingerprint[:12]} {recipe_of(name).combine}" for name in asked.recipes]
    return f"{base} {protocol} {group} {asked.most} {JOINED}: {', '.join(prints)}"


def every() -> list[tuple[str, str, str]]:
    """The pieces, the cheapest first."""
    pieces = [(base, protocol, group) for group, asked in GROUPS.items() for protocol in asked.protocols for base in BASES]
    return [*pieces[:2], *(("none", protocol, OUTSIDE) for protocol in PROTOCOLS), *pieces[2:]]


def report(found: Sequence[Piece], left: Sequence[tuple[str, str, str]]) -> None:
    """The tables; frozen if nothing is left to do, otherwise written with what is wanting."""
    lines, frozen = ["# Zero-shot: one model judges worlds that it was not trained on", ""], list[dict[str, object]]()
    if left:
        wanting = "; ".join(" ".join(one) for one in left)
        lines += [f"**Unfinished.** {len(left)} of {len(every())} pieces are wanting (base, protocol, group): {wanting}.", ""]
    sizes = "; ".join(f"{', '.join(group.recipes)}: {group.most[0]} and {group.most[1]}" for group in GROUPS.values())
    lines += [f"References and tests of each world at most, by recipe: {sizes}. {OUTSIDE} and what asks no model see as many as the first.", ""]
    for protocol in PROTOCOLS:
        mine = [one for one in found if one["protocol"] == protocol]
        if not mine:
            continue
        mine += [one | {"group": "one"} for one in pixels(protocol, GROUPS["one"].most).values()]
        for near in (True, False):
            rows, pairs_of = summary(mine, near), by_pair(mine, near)
            frozen += [{"protocol": protocol, "near": near} | row for row in rows]
            lines += [f"## {'Near' if near else 'Far'} pairs, {protocol}", "", *table(rows, COLUMNS, ".3f"), ""]
            lines += ["! = training does not pay by more than the paired interval.", "", *table(pairs_of, list(pairs_of[0]), ".3f"), ""]
    timed = speeds()
    lines += ["## Items a second", "", f"One thread's own time, {TIMED} pictures.", "", *table(timed, list(timed[0]), ".3g"), ""]
    text = "\n".join([*lines, machine()]) + "\n"
    if left:
        so_far(NAME, text)
    else:
        freeze(NAME, {"rows": frozen, "speeds": timed}, text)


def main() -> None:
    parser = argparse.ArgumentParser(description="Pairs of worlds, one known and one strange.")
    parser.add_argument("--piece", nargs=3, metavar=("BASE", "PROTOCOL", "GROUP"), help="make this piece only")
    parser.add_argument("--so-far", action="store_true", help="write the tables of the pieces that are there, and make none")
    asked = parser.parse_args()
    if not (placed("base") / MANIFEST).is_file():
        print("skipped: this version comes without a base model; train it with python scripts/train_base.py. Nothing was written")
        return
    wanted = [] if asked.so_far else [tuple(asked.piece)] if asked.piece else every()
    for one in wanted:
        if key(*one) not in kept(NAME):
            keep(NAME, key(*one), [part | {"group": part.get("group", "one")} for part in piece(*one)])
            print(f"{' '.join(one)}: done", flush=True)
    found = kept(NAME)
    left = [one for one in every() if key(*one) not in found]
    if asked.so_far or not left:
        report([part for one in every() if one not in left for part in found[key(*one)]], left)
    elif left:
        print(f"{len(left)} of {len(every())} pieces are wanting before anything is frozen")


if __name__ == "__main__":
    main()
