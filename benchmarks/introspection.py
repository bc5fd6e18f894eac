"""Does a diffusion model know when it fails? Every signal within one checkpoint and one sampler, where failures are known.

    python -m benchmarks.introspection                  what is wanting, case by case; then tables
    python -m benchmarks.introspection --only "shapes, *, ddim 25"   cases of such names; they may be made side by side
    python -m benchmarks.introspection --so-far         the tables of what is there

Models are trained where they are wanting and kept in build/introspection. A figure is kept when it is made: an interrupted run goes on,
and a new signal is read of all cases without the others being read again.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks._common import freeze, keep, kept, machine, source, table
from benchmarks._introspection_signals import SIGNALS
from benchmarks.known_truth import BETWEEN, FAILURE, GOOD, MODES, Case, Modes, World, cases, generate
from benchmarks.pictures import WORLDS
from benchmarks.shapes import Shapes
from diffident.evaluate import aurc, auroc, average_precision, excess_aurc, interval, removed_at, risk_at

NAME = "introspection"
#: Samples of a setting: of modes, and of pictures.
OF_MODES, OF_PICTURES = 20_000, 1_000
#: Fewer failures or good samples than this rank nothing: the case is named and left out of means.
FEWEST = 10
REPEATS = 100

FIGURES = {
    "AUROC": auroc,
    "AP": average_precision,
    "AURC": aurc,
    "E-AURC": excess_aurc,
    "risk at 80 %": partial(risk_at, coverage=0.8),
    "risk at 90 %": partial(risk_at, coverage=0.9),
    "risk at 95 %": partial(risk_at, coverage=0.95),
    "removed at 99 %": removed_at,
}
#: Those that are told with intervals.
SURE = ("AUROC", "E-AURC", "removed at 99 %")

Row = dict[str, Any]


def worlds() -> tuple[World, ...]:
    return (*MODES.values(), Shapes(), *WORLDS.values())


def count(case: Case) -> int:
    return OF_MODES if isinstance(case.world, Modes) else OF_PICTURES


def key(case: Case, signal: str) -> str:
    return f"{case.name}: {signal}, of {count(case)} ({source()})"


def read(case: Case, names: Sequence[str]) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, float]]:
    """Verdicts on new samples, what each signal says of them, and the seconds that signals and samples took."""
    seconds = dict.fromkeys(("samples", *names), 0.0)
    readers = {name: SIGNALS[name].make(case) for name in names}
    verdicts: list[np.ndarray] = []
    said: dict[str, list[np.ndarray]] = {name: [] for name in names}
    start = time.perf_counter()
    for samples, film in generate(case.model, case.sampler, count(case), case.seed, 2000 if isinstance(case.world, Modes) else 250):
        seconds["samples"] += time.perf_counter() - start
        verdicts.append(case.verdict(samples))
        for name, reader in readers.items():
            start = time.perf_counter()
            with torch.inference_mode():
                said[name].append(reader(samples, film))
            seconds[name] += time.perf_counter() - start
        start = time.perf_counter()
    return np.concatenate(verdicts), {name: np.concatenate(parts) for name, parts in said.items()}, seconds


def row(case: Case, name: str, verdicts: np.ndarray, said: np.ndarray, seconds: dict[str, float]) -> Row:
    """All figures of one signal in one case."""
    clear = verdicts != BETWEEN
    found: Row = {"world": case.world.name, "length": case.length, "sampler": f"{case.solver} {case.steps}", "signal": name, "cost": SIGNALS[name].cost}
    found |= {"samples": len(verdicts), "failures": float((verdicts == FAILURE).mean()), "between": float((verdicts == BETWEEN).mean())}
    found |= {"seconds": seconds[name], "seconds of samples": seconds["samples"]}
    failed = (verdicts == FAILURE).astype(int)
    if min(failed.sum(), (verdicts == GOOD).sum()) < FEWEST:
        return found | {"few": int(failed.sum())}
    found |= {figure: of(failed[clear], said[clear]) for figure, of in FIGURES.items()}
    found |= {f"{figure}, 95 %": str(interval(FIGURES[figure], failed[clear], said[clear], repeats=REPEATS)) for figure in SURE}
    return found | {"removed, between good": removed_at(failed, said)}


def make(case: Case) -> None:
    """Read what is wanting of a case, and keep it."""
    there = kept(NAME)
    names = [name for name in SIGNALS if key(case, name) not in there]
    if not names:
        return
    start = time.perf_counter()
    verdicts, said, seconds = read(case, names)
    for name in names:
        keep(NAME, key(case, name), row(case, name, verdicts, said[name], seconds))
    share = {word: f"{(verdicts == which).mean():.2%}" for word, which in (("failures", FAILURE), ("between", BETWEEN))}
    print(f"{case.name}: {share['failures']} failures, {share['between']} between, {len(names)} signals, {time.perf_counter() - start:.0f} s", flush=True)


def every(only: str = "*") -> Iterator[Case]:
    return (case for case in cases(worlds()) if fnmatch(case.name, only))


#: Settings that are shown together.
GROUPS = {
    "known truth": tuple(MODES),
    "shapes": ("shapes",),
    "digits": ("digits",),
    "fashion": ("fashion",),
}


def summary(rows: Sequence[Row], group: str) -> list[Row]:
    """Each signal over the settings of a group: means, and the worst."""
    mine, lines = [one for one in rows if one["world"] in GROUPS[group] and "few" not in one], []
    for name in SIGNALS:
        own = [one for one in mine if one["signal"] == name]
        if own:
            line = {"signal": name, "extra evaluations": SIGNALS[name].cost, "settings": len(own)}
            line |= {figure: float(np.mean([one[figure] for one in own])) for figure in (*FIGURES, "removed, between good")}
            line |= {"worst AUROC": min(one["AUROC"] for one in own), "worst removed": min(one["removed at 99 %"] for one in own)}
            lines.append(line)
    return lines


COLUMNS = (
    *("signal", "extra evaluations", "settings", "AUROC", "worst AUROC", "AP", "AURC", "E-AURC"),
    *("risk at 80 %", "risk at 90 %", "risk at 95 %", "removed at 99 %", "worst removed", "removed, between good"),
)
SINGLE = ("world", "length", "sampler", "failures", "between", "signal", *(f"{figure}, 95 %" for figure in SURE), "removed, between good")

PROTOCOL = (
    f"Every figure is within one checkpoint and one sampler; {OF_MODES} samples of modes, {OF_PICTURES} of pictures. Failures of modes lie beyond 6 "
    "deviations of every mode, good samples within 3 of one, and those between are left out but for the last column, where they count as good. Failures "
    "of shapes are what a rule-based validator refuses; of digits and fashion those on which two classifiers disagree or are both below one half. "
    "Levels are told in deviations of the data. Signals that know real items know 2,000 that no model learned from. Realism is a ceiling where the "
    f"verdict is a distance: modes. Settings with fewer than {FEWEST} failures or good samples are listed and enter no mean. Intervals: {REPEATS} draws "
    "of samples within one checkpoint."
)


def report(rows: Sequence[Row], left: Sequence[str]) -> None:
    """Freeze the tables, or show those of what is there."""
    lines = ["# Introspection: which signals see a failed sample", "", f"Protocol: {PROTOCOL}", ""]
    for group in GROUPS:
        if found := summary(rows, group):
            lines += [f"## {group}", "", *table(found, COLUMNS, ".3f"), ""]
    few = dict.fromkeys(f"{one['world']}, {one['length']}, {one['sampler']}: {one['few']} failures" for one in rows if "few" in one)
    lines += [f"Too few to rank: {'; '.join(few)}.", ""] if few else []
    accuracy = {name: world.accuracy() for name, world in WORLDS.items() if any(one["world"] == name for one in rows)}
    for name, of in accuracy.items():
        told = ", ".join(f"{what} {rate:.4f}" for what, rate in of.items())
        lines += [f"Classifiers of {name}, on pictures that they did not learn from: {told}.", ""]
    lines += ["## Every setting", "", *table([one for one in rows if "few" not in one], SINGLE, ".4f"), ""]
    if left:
        print("\n".join(lines))
        print(f"{len(left)} cases are wanting before anything is frozen: {'; '.join(left)}")
        return
    lines += [f"Made on {machine()}, other work beside it."]
    freeze(NAME, {"question": "which signals see a failed sample", "protocol": PROTOCOL, "classifiers": accuracy, "rows": list(rows)}, "\n".join(lines) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="*", help="cases of such names; * is any text")
    parser.add_argument("--so-far", action="store_true", help="the tables of what is there")
    asked = parser.parse_args()
    for case in () if asked.so_far else every(asked.only):
        make(case)
    found = kept(NAME)
    left = [case.name for case in every() if any(key(case, name) not in found for name in SIGNALS)]
    if asked.so_far or not left:
        report([found[key(case, name)] for case in every() for name in SIGNALS if key(case, name) in found], left)


if __name__ == "__main__":
    main()
