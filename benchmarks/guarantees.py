"""Are the promised error rates kept? Exact worlds, fresh data in every repeat: ``python -m benchmarks.guarantees [--quick]``.

Exit status 1 if an honest procedure leaves its limits, or if the deliberately wrong one is not caught.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import asdict

import numpy as np
from scipy.stats import false_discovery_control, norm

from benchmarks import recipe_rates
from benchmarks._common import freeze, machine, table
from benchmarks.checker import Counts, Judgement, judge_counts
from benchmarks.recipe_rates import LEVELS, SIZES
from diffident.calibration import (
    Calibration,
    Gaussian,
    Ranks,
    Robust,
    Strangeness,
    conformal_p,
    evidence_p,
    false_alarm_bound,
    false_discoveries,
    fewest_discoveries,
)
from diffident.errors import TooFewReferences
from diffident.scores import Scores
from diffident.verdict import Policy, verdicts_of

World = Callable[[np.random.Generator, int, int], np.ndarray]


def correlated(rng: np.random.Generator, n: int, k: int) -> np.ndarray:
    """Normal columns that share half of their variance."""
    return np.sqrt(0.5) * (rng.normal(size=(n, k)) + rng.normal(size=(n, 1)))


def heavy(rng: np.random.Generator, n: int, k: int) -> np.ndarray:
    """Cubes of correlated normals: tails in which a mean and a covariance say little."""
    return correlated(rng, n, k) ** 3


WORLDS: dict[str, World] = {"correlated": correlated, "heavy": heavy}


def tails(k: int) -> tuple[str, ...]:
    return ("both",) * k


def halves(strange: Strangeness, references: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Split conformal: fit on the first half, rank among the second."""
    half, k = len(references) // 2, references.shape[1]
    return conformal_p(strange.score(references[:half], references[half:], tails(k)), strange.score(references[:half], items, tails(k)))


def counts(quick: bool) -> list[Counts]:
    """Flags among good items for every combiner, number of statistics, world, n and level."""
    repeats, most, rows = (200, 20, []) if quick else (400, 100, [])
    asked: list[tuple[str, Strangeness | None, int]] = [
        ("single", None, 1),
        ("gaussian", Gaussian(), 1),
        ("gaussian", Gaussian(), 6),
        ("gaussian", Gaussian(), 20),
    ]
    asked += [("ranks", Ranks(), k) for k in (6, 20)] + [("robust", Robust(), k) for k in (6, 20)]
    for i, (name, strange, k) in enumerate(asked):
        m = most // 4 if name == "robust" else most  # it is slower
        for w, (where, world) in enumerate(WORLDS.items()):
            for n in SIZES:
                p = judged(np.random.default_rng([i, w, n]), world, strange, n, k, m, repeats)
                side = "above" if name == "ranks" else "both"  # sums of a few ranks tie, and ties count against flagging
                rows += [
                    Counts(f"{name}, {k} statistic{'s' if k > 1 else ''}, {where}", n, a, m, repeats, int((p <= a * (1 + 1e-9)).sum()), side) for a in LEVELS
                ]
    return rows


def judged(rng: np.random.Generator, world: World, strange: Strangeness | None, n: int, k: int, m: int, repeats: int) -> np.ndarray:
    """p-values of good items, (repeats, m); strange None ranks the one statistic itself."""
    found = np.empty((repeats, m))
    for r in range(repeats):
        references, items = world(rng, n, k), world(rng, m, k)
        found[r] = conformal_p(references[:, 0], items[:, 0]) if strange is None else strange.p_values(references, items, tails(k))
    return found


def wrong(quick: bool) -> list[Counts]:
    """Flag above the 95th percentile of the training scores: the fit has seen the scores that it is measured by."""
    repeats, m, rows = (200, 20, []) if quick else (400, 100, [])
    for n in SIZES:
        rng, flags = np.random.default_rng([99, n]), 0
        for _ in range(repeats):
            references, items = correlated(rng, n, 20), correlated(rng, m, 20)
            known = Gaussian().score(references, references, tails(20))
            flags += int(np.sum(Gaussian().score(references, items, tails(20)) > np.quantile(known, 0.95)))
        rows.append(Counts("WRONG: percentile of training scores, 20 statistics", n, 0.05, m, repeats, flags))
    return rows


def power(quick: bool) -> list[dict[str, object]]:
    """Strange items flagged at .05 with 64 references and 20 statistics, moved so far in random directions that halves see two thirds."""
    rows = []
    for where, shift in (("independent", 4.73), ("correlated", 4.02), ("heavy", 4.7)):
        rng, hits = (
            np.random.default_rng(7),
            {"full conformal": 0.0, "halves": 0.0, "Bonferroni": 0.0, "ranks, full conformal": 0.0, "robust, full conformal": 0.0},
        )
        repeats, m = (30 if quick else 600), 20
        for _ in range(repeats):
            draw = correlated if where == "correlated" else lambda rng, n, k: rng.normal(size=(n, k))
            good, direction = draw(rng, 64, 20), rng.normal(size=(m, 20))
            items = draw(rng, m, 20) + shift * direction / np.linalg.norm(direction, axis=1, keepdims=True)
            good, items = (good**3, items**3) if where == "heavy" else (good, items)
            hits["full conformal"] += np.mean(Gaussian().p_values(good, items, tails(20)) <= 0.05)
            hits["halves"] += np.mean(halves(Gaussian(), good, items) <= 0.05)
            hits["Bonferroni"] += np.mean(20 * evidence_p(good, items, tails(20)).min(axis=1) <= 0.05)
            hits["robust, full conformal"] += np.mean(Robust().p_values(good, items, tails(20)) <= 0.05)
            hits["ranks, full conformal"] += np.mean(Ranks().p_values(good, items, tails(20)) <= 0.05)
        rows.append({"world": where, "shift": shift, "repeats": repeats, "items": repeats * m} | {name: hit / repeats for name, hit in hits.items()})
    return rows


def discoveries(quick: bool) -> list[dict[str, object]]:
    """Benjamini-Hochberg at .1: 1,000 references, batches of 1,000 of which 100 are strange."""
    rows = []
    for name, k, repeats in (
        ("true p-values (oracle)", 1, 60 if quick else 400),
        ("one statistic", 1, 60 if quick else 400),
        ("gaussian, 20 statistics", 20, 10 if quick else 300),
    ):
        rng, shares, found = np.random.default_rng(11), [], []
        for _ in range(repeats):
            references, items = (rng.normal(size=(1000, k)), rng.normal(size=(1000, k)))
            items[:100] += 3.5 if k == 1 else 1.25  # one statistic by 3.5 deviations; or each of twenty by 1.25
            if name.startswith("true"):
                called = false_discovery_control(norm.sf(items[:, 0])) <= 0.1
            else:
                p = conformal_p(references[:, 0], items[:, 0]) if k == 1 else Gaussian().p_values(references, items, tails(k))
                called = false_discoveries(p, 0.1, 1000)
            shares.append(called[100:].sum() / max(1, called.sum()))
            found.append(called[:100].mean())
        error = float(np.std(shares) / np.sqrt(repeats))
        rows.append(
            {
                "p-values": name,
                "repeats": repeats,
                "power": float(np.mean(found)),
                "false discovery rate": float(np.mean(shares)),
                "standard error": error,
                "bound": 0.09,
            }
        )
    return rows


def coverage(quick: bool) -> list[dict[str, object]]:
    """How many calibrations stay below the false-alarm rate that every verdict states with 90 % confidence, and what the unlucky ones realise."""
    rows = []
    for n, level in ((64, 0.05), (99, 0.01), (500, 0.05)):
        repeats, rng = (2000 if quick else 20000), np.random.default_rng([3, n])
        k = int(level * (n + 1) + 1e-9)
        realised = 1 - np.partition(rng.uniform(size=(repeats, n)), n - k, axis=1)[:, n - k]
        rows.append(covered("one statistic (exact law)", n, level, realised))
    for k in (6, 20):
        p = judged(np.random.default_rng([5, k]), correlated, Gaussian(), 64, k, 2000, 20 if quick else 400)
        rows.append(covered(f"gaussian, {k} statistics (approximate)", 64, 0.05, (p <= 0.05).mean(axis=1)))
    return rows


def covered(score: str, n: int, level: float, realised: np.ndarray) -> dict[str, object]:
    """One row: the rates that many calibrations realised, beside the rate that a verdict states and beside the law."""
    judge = Calibration(_plain_scores(np.arange(float(n)), "reference"))
    (verdict,) = verdicts_of(item := _plain_scores(np.array([n / 2]), "item"), judge.judge(item), Policy(level))
    share = float(np.mean(realised <= verdict.bound))
    return {"score": score, "n": n, "level": level, "bound": verdict.bound, "repeats": len(realised), "covered": share} | {
        "standard error": float(np.sqrt(0.9 * 0.1 / len(realised))),
        "97.5 % quantile": float(np.quantile(realised, 0.975)),
        "by the law": false_alarm_bound(n, level, 0.975),
    }


def _plain_scores(values: np.ndarray, name: str) -> Scores:
    n = len(values)
    return Scores(tuple(f"{name} {i}" for i in range(n)), ("number",), values[:, None], ("upper",), ("",), "none", ("",) * n, ({},) * n)


def refusal() -> str:
    """What a batch that its references cannot serve is told."""
    try:
        false_discoveries(np.full(1000, 1 / 9), 0.1, 8)
    except TooFewReferences as refused:
        return str(refused)
    return ""


def run(quick: bool) -> dict[str, object]:
    start = time.perf_counter()
    honest, caught = judge_counts(counts(quick) + recipe_rates.counts(quick)), judge_counts(wrong(quick))
    result: dict[str, object] = {"quick": quick, "honest": [_plain(row) for row in honest], "wrong": [_plain(row) for row in caught]}
    result |= {"power": power(quick), "discoveries": discoveries(quick), "coverage": coverage(quick), "reach": recipe_rates.reach(), "refusal": refusal()}
    result["fewest discoveries (batch 1000, level .1, n = 1000)"] = fewest_discoveries(1000, 0.1, 1000)
    result["problems"] = problems(honest, caught, result)
    return result | {"seconds": round(time.perf_counter() - start, 1), "machine": machine()}


def problems(honest: list[Judgement], caught: list[Judgement], result: dict[str, object]) -> list[str]:
    """Everything for which this benchmark fails, in words."""
    found = [
        f"{row.counts.name}, n = {row.counts.n}, level {row.counts.level}: {row.counts.flags} flags, limits {row.low} to {row.high}"
        for row in honest
        if not row.inside
    ]
    found += [f"the wrong procedure passes with n = {row.counts.n}" for row in caught if row.inside]
    for row in result["discoveries"]:  # type: ignore[attr-defined]
        if row["false discovery rate"] > row["bound"] + 3 * row["standard error"]:
            found.append(f"false discoveries of {row['p-values']}: {row['false discovery rate']:.3f}, promised at most {row['bound']:.3f}")
    for row in result["coverage"]:  # type: ignore[attr-defined]
        if row["covered"] < 0.9 - 4 * row["standard error"]:
            found.append(f"with {row['score']}, n = {row['n']}, {row['covered']:.3f} of calibrations stay below the rate that a verdict states for 90 %")
    if not result["quick"]:  # few repeats say too little about power
        found += [f"power in the {row['world']} world: {row['full conformal']:.3f}" for row in result["power"][:2] if row["full conformal"] < 0.78]  # type: ignore[index]
        found += [f"power at fdr .1: {row['power']:.3f}" for row in result["discoveries"] if row["p-values"] == "one statistic" and row["power"] < 0.85]  # type: ignore[attr-defined]
    return found if result["refusal"] else [*found, "a batch that cannot be served was not refused"]


def _plain(row: Judgement) -> dict[str, object]:
    return asdict(row.counts) | {"expected": row.expected, "low": row.low, "high": row.high, "p": row.p, "inside": row.inside, "cannot flag": row.cannot_flag}


def page(result: dict[str, object]) -> str:
    """The frozen results, as a page for people."""
    rows: list[dict[str, object]] = [*result["honest"], *result["wrong"]]  # type: ignore[misc]
    for row in rows:
        total = row["m"] * row["repeats"]  # type: ignore[operator]
        row["rate"], row["95 % limits"] = row["flags"] / total, f"{row['low'] / total:.4f} to {row['high'] / total:.4f}"  # type: ignore[operator]
        row["verdict"] = "cannot flag" if row["cannot flag"] else "inside" if row["inside"] else "OUTSIDE"
    short = [row for row in rows if not row["cannot flag"]]
    lines = [
        "# Are the promised error rates kept?",
        "",
        f"`python -m benchmarks.guarantees{' --quick' if result['quick'] else ''}`, {result['seconds']} s ({result['machine']}).",
        f"{len(short)} rows of good items in exact worlds: statistics drawn, and statistics that recipes read off walks through an exact mixture;",
        "fresh data in every repeat; limits of sums of beta-binomials, Holm over the table.",
        f"Problems: {'; '.join(result['problems']) or 'none'}.",  # type: ignore[arg-type]
        "",
        *table(rows, ("name", "n", "level", "rate", "95 % limits", "p", "verdict")),
    ]
    lines += ["", "## Power: 64 references, 20 statistics, level .05 (Bonferroni over 20 columns needs 399 references)", ""]
    lines += table(result["power"], ("world", "shift", "full conformal", "halves", "Bonferroni", "ranks, full conformal", "robust, full conformal", "items"))  # type: ignore[arg-type]
    lines += ["", "## False discoveries: level .1, 1,000 references, batches of 1,000, 10 % strange (so the promise is .09)", ""]
    lines += table(result["discoveries"], ("p-values", "power", "false discovery rate", "standard error", "bound", "repeats"))  # type: ignore[arg-type]
    lines += ["", f"A batch that its references cannot serve: *{result['refusal']}*", ""]
    lines += ["## Calibrations that stay below the rate they state with 90 % confidence", ""]
    lines += ["The bound is the one that a verdict of the library carries. With 64 references at .05, one calibration in forty realises", ".108 or more.", ""]
    lines += table(result["coverage"], ("score", "n", "level", "bound", "covered", "standard error", "97.5 % quantile", "by the law", "repeats"))  # type: ignore[arg-type]
    lines += [
        "",
        "## The smallest p-value that a recipe reaches",
        "",
        "Where it is larger than a count of ranks allows, a policy takes a level for reachable",
        "at which nothing is flagged.",
        "",
    ]
    lines += table(result["reach"], tuple(result["reach"][0]))  # type: ignore[arg-type,index]
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    quick = "--quick" in arguments
    result = run(quick)
    text = page(result)
    if quick:
        print(text)
    else:
        freeze("guarantees", result, text)
    return 1 if result["problems"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
