"""Does a diffusion model know when it fails? Every signal within one checkpoint and one sampler, where failures are known.

    python -m benchmarks.introspection                  what is wanting, case by case; then tables
    python -m benchmarks.introspection --only "shapes, *, ddim 25"   cases of such names; they may be made side by side
    python -m benchmarks.introspection --so-far         the tables of what is there

Models are trained where they are wanting and kept in build/introspection. A figure is kept when it is made: an interrupted run goes on,
and a new signal is read of all cases without the others being read again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata

from benchmarks import _introspection_heads as heads
from benchmarks._common import RESULTS, freeze, keep, kept, machine, source, table
from benchmarks._introspection_signals import SIGNALS
from benchmarks.known_truth import BETWEEN, FAILURE, GOOD, MODES, Case, Modes, World, cases, generate
from benchmarks.pictures import WORLDS
from benchmarks.shapes import Shapes
from diffident.evaluate import aurc, auroc, average_precision, excess_aurc, removed_at, risk_at

NAME = "introspection"
#: Samples of a setting: of modes, of modes in many steps, and of pictures.
OF_MODES, IN_MANY_STEPS, OF_PICTURES = 10_000, 2_000, 1_000
MANY = 1000
#: Fewer failures or good samples than this rank nothing: the case is named and left out of means.
FEWEST = 10

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
Row = dict[str, Any]


def worlds() -> tuple[World, ...]:
    return (*MODES.values(), Shapes(), *WORLDS.values())


def count(case: Case) -> int:
    if not isinstance(case.world, Modes):
        return OF_PICTURES
    return OF_MODES if case.steps < MANY else IN_MANY_STEPS


#: Sums over the library's code, once.
code = cache(source)


def key(case: Case, signal: str) -> str:
    return f"{case.name}: {signal}, of {count(case)} ({code()})"


def deviation_of_auroc(failed: np.ndarray, said: np.ndarray) -> float:
    """The standard error of an AUROC, from how often each sample is on the right side of those of the other kind (DeLong et al. 1988)."""
    bad, good = said[failed == 1], said[failed == 0]
    within = [rankdata(part) for part in (bad, good)]
    ranks = rankdata(np.append(bad, good))
    right = (ranks[: len(bad)] - within[0]) / len(good), 1 - (ranks[len(bad) :] - within[1]) / len(bad)
    return float(np.sqrt(sum(part.var(ddof=1) / len(part) for part in right)))


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
            with torch.no_grad():
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
    found |= {"error of AUROC": deviation_of_auroc(failed[clear], said[clear])}
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

#: Trajectory variance as Aithal et al. 2024 have it; the better of the two in each setting is what has to be beaten.
PEER = ("x0 variance, last 10 looks", "x0 variance, last 30 % of the steps")
#: Where a head that moves comes from.
HOME = ("complete", "ddim 50")


def ranked(rows: Sequence[Row], worlds: Sequence[str]) -> dict[tuple[str, ...], dict[str, Row]]:
    """By setting and signal, where there is enough to rank."""
    found: dict[tuple[str, ...], dict[str, Row]] = {}
    for one in rows:
        if one["world"] in worlds and "few" not in one:
            found.setdefault((one["world"], one["length"], one["sampler"]), {})[one["signal"]] = one
    return found


def peer(setting: dict[str, Row]) -> float:
    """The AUROC to be beaten there."""
    return max(setting[name]["AUROC"] for name in PEER)


def line(name: str, own: Sequence[dict[str, Row]]) -> Row:
    """One signal over settings: means, the worst, and in how many it beats trajectory variance."""
    mine = [setting[name] for setting in own]
    found = {"signal": name, "evaluations": SIGNALS[name].cost, "settings": len(own)}
    found |= {figure: float(np.mean([one[figure] for one in mine])) for figure in (*FIGURES, "removed, between good")}
    found |= {"worst AUROC": min(one["AUROC"] for one in mine), "worst removed": min(one["removed at 99 %"] for one in mine)}
    return found | {"beats variance in": sum(setting[name]["AUROC"] > peer(setting) for setting in own)}


COLUMNS = (
    *("signal", "evaluations", "settings", "AUROC", "worst AUROC", "AP", "AURC", "E-AURC"),
    *("removed at 99 %", "worst removed", "removed, between good", "beats variance in"),
)

PROTOCOL = (
    f"Every figure is within one checkpoint and one sampler, of one training and one seed: {OF_MODES:,} samples of modes, {IN_MANY_STEPS:,} in {MANY} steps, "
    f"{OF_PICTURES:,} of pictures. Failures of modes lie beyond 6 "
    "deviations of every mode, good samples within 3 of one, and those between are left out but for the column *removed, between good*, where they count as "
    "good. Failures of shapes are what a rule-based validator refuses; of digits and fashion those on which two classifiers disagree or are both below one "
    "half. Levels are told in deviations of the data, but for a plain *head*, which reads the recipe `introspection` as it is: levels in units of elements. "
    "Two-sided statistics of the way are read as the distance from the median of 512 other samples. Signals that know real items know 2,000 that no model "
    f"learned from; a head knows 512 samples of its own as well; labels are true verdicts on other samples, *half chosen* 100 as they come and the 100 that "
    f"the head finds strangest among {heads.AMONG - 100}; where there is no failure among them the head stays as its own labels taught it. "
    "Evaluations are those beyond the sampler's, a Jacobian product counted as one, as two elements need. "
    "*Beats variance in*: settings with an AUROC above the better of the two rows *x0 variance*. Realism is a ceiling where the "
    f"verdict is a distance: modes. Settings with fewer than {FEWEST} failures or good samples are listed and enter no mean. +- is one standard error "
    "over samples."
)

#: Of the single settings: signals that were settled on before, as this page calls them and in short.
SHORT = {
    "posterior spread, told .1": "spread",
    "activations, told .2": "activations",
    "activations, random weights": "random weights",
    "secant .03 to .15": "secant",
    "head: own labels": "head, own",
    "head in deviations: own labels": "in deviations, own",
    "head in deviations, with spread: own labels": "with spread, own",
    "head in deviations, with spread: 200 labels, half chosen": "with spread, 200 chosen",
}
#: Of those, what is ours to be compared.
OURS = tuple(name for name, short in SHORT.items() if short != "random weights")


def single(settings: dict[tuple[str, ...], dict[str, Row]]) -> list[str]:
    """A line a setting; what does not beat trajectory variance is marked."""
    lines = []
    for (world, length, sampler), of in settings.items():
        one: Row = {"setting": f"{world}, {length}, {sampler}", "failures": f"{of['oracle']['failures']:.2%}"}
        one["variance"] = f"{peer(of):.3f} +- {max((of[name] for name in PEER), key=lambda row: row['AUROC'])['error of AUROC']:.3f}"
        for name, short in SHORT.items():
            mark = " *" if name in OURS and of[name]["AUROC"] <= peer(of) else ""
            one[short] = f"{of[name]['AUROC']:.3f} +- {of[name]['error of AUROC']:.3f}{mark}"
        lines.append(one)
    return table(lines, ("setting", "failures", "variance", *SHORT.values()))


def moved(settings: dict[tuple[str, ...], dict[str, Row]]) -> list[str]:
    """Heads taught at home and used unchanged, over all other settings of the same worlds, beside those that were taught there."""
    away = [of for (_, length, sampler), of in settings.items() if (length, sampler) != HOME]
    pairs = [name for name in SIGNALS if name.endswith(", moved")]
    lines = [line(one, away) for name in pairs for one in (name, name.removesuffix(", moved"))] + [line(name, away) for name in PEER] if away else []
    return table(lines, COLUMNS, ".3f") if lines else []


def unfinished(left: Sequence[Case]) -> list[str]:
    """What is wanting, in words."""
    if not left:
        return []
    worlds = dict.fromkeys(case.world.name for case in left)
    each = [f"{name} ({sum(case.world.name == name for case in left)} settings)" for name in worlds]
    return [
        f"**Unfinished.** Wanting: {', '.join(each)}; faces; a larger sample (200,000 of modes, and as many in {MANY} steps as in 10); three trainings and "
        "seeds of each, so that the figures say nothing yet of how much another training would change them. Rows of what is there lie in "
        "`introspection.so-far.json`.",
        "",
    ]


def tables(rows: Sequence[Row]) -> list[str]:
    """Everything that is told of each group of settings."""
    lines: list[str] = []
    for group, names in GROUPS.items():
        if not (settings := {where: of for where, of in ranked(rows, names).items() if set(SIGNALS) <= set(of)}):
            continue
        lines += [f"## {group}", "", *table([line(name, list(settings.values())) for name in SIGNALS if "moved" not in name], COLUMNS, ".3f"), ""]
        lines += [f"### {group}: heads taught on {' and '.join(HOME)}, used unchanged elsewhere in the same world", "", *moved(settings), ""]
        beaten = [", ".join(where) for where, of in settings.items() if max(of[name]["AUROC"] for name in OURS) <= peer(of)]
        lines += [f"### {group}: AUROC, setting by setting", "", "* does not beat the better trajectory variance.", "", *single(settings), ""]
        lines += [f"Settings in which none of these beats it: {'; '.join(beaten) or 'none'}.", ""]
    few = dict.fromkeys(f"{one['world']}, {one['length']}, {one['sampler']}: {one['few']} failures" for one in rows if "few" in one)
    return lines + ([f"Too few to rank: {'; '.join(few)}.", ""] if few else [])


def report(rows: Sequence[Row], left: Sequence[Case]) -> None:
    """Freeze the tables, or write those of what is there."""
    lines = [
        "# Introspection: which signals see a failed sample",
        "",
        *unfinished(left),
        f"Protocol: {PROTOCOL}",
        "",
        *tables(rows),
    ]
    accuracy = {name: world.accuracy() for name, world in WORLDS.items() if any(one["world"] == name for one in rows)}
    for name, of in accuracy.items():
        told = ", ".join(f"{what} {rate:.4f}" for what, rate in of.items())
        lines += [f"Classifiers of {name}, on pictures that they did not learn from: {told}.", ""]
    lines += [f"Made on {machine()}, other work beside it."]
    frozen = {"question": "which signals see a failed sample", "protocol": PROTOCOL, "classifiers": accuracy, "rows": list(rows)}
    (freeze if not left else show)(NAME, frozen, "\n".join(lines) + "\n")


def show(name: str, frozen: Row, text: str) -> None:
    """Write what is there without an end of it: pieces stay, and there are no figures for other pages."""
    (RESULTS / f"{name}.md").write_text(text)
    (RESULTS / f"{name}.so-far.json").write_text(json.dumps(rounded(frozen["rows"])) + "\n")
    print(text)


def rounded(rows: Sequence[Row]) -> list[Row]:
    """Five digits are more than enough."""
    return [{name: float(f"{of:.5g}") if isinstance(of, float) else of for name, of in one.items()} for one in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="*", help="cases of such names; * is any text")
    parser.add_argument("--so-far", action="store_true", help="the tables of what is there")
    asked = parser.parse_args()
    for case in () if asked.so_far else every(asked.only):
        make(case)
    found = kept(NAME)
    left = [case for case in every() if any(key(case, name) not in found for name in SIGNALS)]
    if asked.so_far or not left:
        report(
            [found[key(case, name)] for case in every() for name in SIGNALS if key(case, name) in found],
            left,
        )


if __name__ == "__main__":
    main()
