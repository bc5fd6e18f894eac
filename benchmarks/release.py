"""What may be released, and whether a stream has changed: how much the thresholds let out, and whether their promises hold. Worlds of known truth."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.stats import beta, norm

from diffident.calibration import Drift, needed_trials, release_threshold, withhold_threshold
from diffident.calibration.risk import SPACING, STARTS, upper_limit, worthwhile

from ._common import freeze, keep, kept, machine, source, table

NAME = "release"
RISK, CONFIDENCE, SHARE = 0.05, 0.9, 0.15
#: AUROC and size of the trial
WORLDS = ((0.92, 200), (0.92, 500), (0.92, 2000), (0.84, 500), (0.84, 2000), (0.76, 500), (0.76, 2000))
TRIALS, CALIBRATIONS, FRESH, BLOCK, WITHOUT_LABELS = 300, 200, 50_000, 10, 10
Draw = Callable[[np.random.Generator, int, int], tuple[np.ndarray, np.ndarray]]


def binormal(rng: np.random.Generator, n: int, shift: float) -> tuple[np.ndarray, np.ndarray]:
    bad = rng.random(n) < SHARE
    return rng.normal(size=n) + shift * bad, bad


def mixed(rng: np.random.Generator, n: int, tries: int) -> tuple[np.ndarray, np.ndarray]:
    """Requests differ in difficulty, which their attempts share: from hardly ever failing to failing mostly."""
    bad = rng.random((n, tries)) < norm.cdf(rng.normal(size=(n, 1)) - 1.5)
    return rng.normal(size=bad.shape) + 2.0 * bad, bad


def mixed_scores(rng: np.random.Generator, n: int, tries: int) -> tuple[np.ndarray, np.ndarray]:
    """The same; and a difficult request looks stranger, whether its attempt fails or not."""
    difficulty = rng.normal(size=(n, 1))
    bad = rng.random((n, tries)) < norm.cdf(difficulty - 1.5)
    return rng.normal(size=bad.shape) + 1.5 * bad + 0.7 * difficulty, bad


def treacherous(rng: np.random.Generator, n: int, tries: int) -> tuple[np.ndarray, np.ndarray]:
    """A score not worth having: the least strange fail most, so that the failure rate falls before it rises."""
    scores = rng.random((n, tries))
    return scores, rng.random(scores.shape) < np.where(scores < 0.06, 0.08, np.where(scores < 0.4, 0.02, 0.09))


DRAWS: dict[str, Draw] = {"mixed": mixed, "mixed, scores too": mixed_scores, "treacherous": treacherous}


def single_chain(scores: np.ndarray, bad: np.ndarray) -> float:
    """The plain form: from strict to loose, every 1 / risk requests, at the whole level, up to the first that fails."""
    order, best = np.argsort(scores), -math.inf
    failures = np.append(0, bad[order].cumsum())
    fewest = needed_trials(RISK, CONFIDENCE)
    for m in range(fewest, len(scores), round(1 / RISK)):
        if upper_limit(int(failures[m]), m, 1 - CONFIDENCE) > RISK:
            break
        best = float(scores[order[m]])
    return best


def one_start(scores: np.ndarray, bad: np.ndarray) -> float:
    """One chain over the numbers worth testing, from the smallest."""
    order, best = np.argsort(scores), -math.inf
    failures, sorted_scores = np.append(0, bad[order].cumsum()), np.append(scores[order], math.inf)
    for m in worthwhile(len(scores), RISK, 1 - CONFIDENCE):
        if upper_limit(int(failures[m]), int(m), 1 - CONFIDENCE) > RISK:
            break
        best = float(sorted_scores[m])
    return best


def ours(scores: np.ndarray, bad: np.ndarray) -> float:
    return release_threshold(scores, bad, RISK, CONFIDENCE).threshold


METHODS = {"ours": ours, "one chain, even steps": single_chain, "one chain, steps worth testing": one_start}


def acceptance(auroc: float, n: int) -> list[dict[str, Any]]:
    """Mean acceptance over that of the best threshold that is allowed, which knows the truth."""
    shift = math.sqrt(2) * float(norm.ppf(auroc))

    def accepted(at: float) -> float:
        return float((1 - SHARE) * norm.cdf(at) + SHARE * norm.cdf(at - shift))

    edge: Any = brentq(lambda at: SHARE * norm.cdf(at - shift) - RISK * accepted(at), -6, 8)
    best = accepted(edge)
    rows = []
    for method, threshold in METHODS.items():
        rng = np.random.default_rng((n, round(100 * auroc)))
        found = np.array([accepted(threshold(*binormal(rng, n, shift))) for _ in range(TRIALS)])
        share = float((found / best).mean())
        margin = 1.96 * float((found / best).std()) / math.sqrt(TRIALS)
        withholds = float((found == 0).mean())
        exceeded = int((found > best).sum())
        rows.append({"AUROC": f"{auroc:g}", "labelled": n, "method": method, "best possible": best, "of it released": share, "±": margin})
        rows[-1] |= {"never releases": withholds, "risk exceeded": limits(exceeded, TRIALS)}
    return rows


def violations(world: str, tries: int) -> dict[str, Any]:
    """How many calibrations exceed what was promised, each judged on fresh requests."""
    rng, exceeded, released, withheld, never = np.random.default_rng((tries, len(world))), 0, [], [], 0
    draw = DRAWS[world]
    for _ in range(CALIBRATIONS // BLOCK):
        scores, bad = draw(rng, FRESH, tries)  # the same fresh requests judge a few calibrations, which are independent of each other
        smallest = np.sort(scores.min(axis=1))
        for _ in range(BLOCK):
            certified = release_threshold(*draw(rng, 500, tries), RISK, CONFIDENCE)
            below = scores < certified.threshold
            any_below = below.any(axis=1)
            failures = bad[np.arange(FRESH), below.argmax(axis=1)][any_below]
            exceeded += bool(len(failures) and failures.mean() > RISK)
            released.append(any_below.mean())
            never += certified.always_withholds
        for _ in range(BLOCK * WITHOUT_LABELS):
            good = withhold_threshold(draw(rng, 199, tries)[0], 0.05).threshold
            withheld.append(1 - np.searchsorted(smallest, good) / FRESH)
    return {"world": world, "tries": tries, "risk exceeded": limits(exceeded, CALIBRATIONS), "at most": 1 - CONFIDENCE} | {
        "lower": lower(exceeded, CALIBRATIONS),
        "released": float(np.mean(released)),
        "never releases": never / CALIBRATIONS,
        "withheld, mean": float(np.mean(withheld)),
        "±": 1.96 * float(np.std(withheld)) / math.sqrt(len(withheld)),
        "withheld, 90 %": float(np.quantile(withheld, 0.9)),
        "bound said": withhold_threshold(np.arange(199.0), 0.05).bound,
    }


def delays(quiet: int, shift: float, repeats: int) -> dict[str, Any]:
    """Steps from a change to the alarm, and how many streams had raised one before."""
    found, early = [], 0
    for seed in range(repeats):
        rng = np.random.default_rng((seed, quiet))
        drift = Drift(rng.normal(size=100), seed=seed)
        if any([drift.update(x).alarm for x in rng.normal(size=quiet)]):
            early += 1
            continue
        found.append(next((i + 1.0 for i, x in enumerate(rng.normal(shift, size=3000)) if drift.update(x).alarm), math.inf))
    low, middle, high = np.quantile(found, [0.1, 0.5, 0.9], method="inverted_cdf")
    return {"quiet steps": quiet, "shift": f"{shift:g}", "repeats": repeats, "alarm before": early} | {
        "10 %": float(low),
        "median delay": float(middle),
        "90 %": float(high),
    }


def false_alarms(steps: int, repeats: int) -> dict[str, Any]:
    """How many streams that never change raise an alarm at .05."""
    alarms = 0
    for seed in range(repeats):
        rng = np.random.default_rng((seed, steps, 1))
        drift = Drift(rng.normal(size=100), seed=seed)
        alarms += any(drift.update(x).alarm for x in rng.normal(size=steps))
    return {"steps": steps, "repeats": repeats, "false alarms": limits(alarms, repeats), "at most": 0.05, "lower": lower(alarms, repeats)}


def lower(k: int, n: int) -> float:
    """The exact lower 95 % limit (one-sided) of a rate."""
    return float(beta.ppf(0.05, k, n - k + 1)) if k else 0.0


def limits(k: int, n: int) -> str:
    """A rate with its exact 95 % limits."""
    low = float(beta.ppf(0.025, k, n - k + 1)) if k else 0.0
    high = float(beta.ppf(0.975, k + 1, n - k)) if k < n else 1.0
    return f"{k / n:.3f} ({low:.3f} to {high:.3f})"


def piece(key: str, make: Callable[[], Any]) -> Any:
    """A finished piece, made now unless this code has made it already."""
    key = f"{key}, {source()}"
    if key not in (done := kept(NAME)):
        keep(NAME, key, made := make())
        return made
    return done[key]


def main() -> None:
    accepted = [row for auroc, n in WORLDS for row in piece(f"acceptance {auroc} {n}", lambda a=auroc, n=n: acceptance(a, n))]
    broken = [piece(f"violations {world} {tries}", lambda w=world, t=tries: violations(w, t)) for world in DRAWS for tries in (1, 2, 4)]
    changes = ((500, 0.7, 100), (2000, 0.7, 100), (2000, 0.35, 50), (2000, 1.4, 50))
    late = [piece(f"delays {quiet} {shift}", lambda q=quiet, s=shift, r=repeats: delays(q, s, r)) for quiet, shift, repeats in changes]
    quiet = [piece("false alarms", lambda: false_alarms(5000, 500))]
    frozen = {"acceptance": accepted, "violations": broken, "delays": late, "false alarms": quiet, "machine": machine()}
    freeze(NAME, frozen, page(frozen))


def page(frozen: Mapping[str, Any]) -> str:
    """The figures for people."""
    first = list(frozen["acceptance"][0])
    lines = [
        "# What may be released, and whether a stream has changed",
        "",
        f"`python -m benchmarks.{NAME}`; numbers drawn from known laws, no network and no data. {frozen['machine']}.",
        "",
        f"## How much is released: at most {RISK:.0%} may fail, confidence {CONFIDENCE:.0%}, {SHARE:.0%} of samples fail, binormal scores, one try",
        "",
        f"Best possible: the share that the largest allowed threshold accepts when the truth is known. Mean of {TRIALS} trials. Ours: starts at",
        f"{' and '.join(f'{place:g} of the trial with {share:g} of the error' for place, share in STARTS)}, rungs {SPACING:g} apart or more. One chain",
        "steps from strict to loose and stops at the first failure. Starts and spacing were chosen in worlds of this kind, with other numbers drawn.",
        "",
        *table(frozen["acceptance"], first),
        "",
        f"## Whether the promise holds: {CALIBRATIONS} calibrations of 500 requests, judged on {FRESH:,} fresh ones ({BLOCK} calibrations share them)",
        "",
        "Exact 95 % limits; `lower` is the exact one-sided lower 95 % limit and may not lie above `at most`. A rate that was exceeded is counted against",
        "the finite fresh sample, whose own scatter can count a rate just below the risk as above. In `treacherous` the failure rate falls before it rises,",
        "where passing on a level is not proved. Withheld: threshold without labels from 199 requests at .05,",
        f"{CALIBRATIONS * WITHOUT_LABELS:,} times; its mean may not exceed .05, and nine calibrations in ten stay below the bound that is said.",
        "",
        *table(frozen["violations"], list(frozen["violations"][0])),
        "",
        "## How soon a change is noticed: 100 known-good numbers, then quiet ones, then numbers shifted by so many deviations; level .05",
        "",
        *table(frozen["delays"], list(frozen["delays"][0])),
        "",
        "## How often a stream that never changes raises an alarm, level .05",
        "",
        *table(frozen["false alarms"], list(frozen["false alarms"][0])),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
