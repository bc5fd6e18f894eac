"""Are our ranking metrics scikit-learn's? Thousands of random cases of every kind of score, and the time both take.

    python -m benchmarks.metrics

Writes benchmarks/results/metrics.json and metrics.md. The null is the same comparison with one score of each case moved
to the other end of the ranking: a comparison that cannot see that would prove nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import sklearn
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from benchmarks._common import freeze, machine
from diffident.evaluate import auroc, average_precision, fpr_at, interval

CASES, SEED = 2000, 0

KINDS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "random": lambda rng, n: rng.normal(size=n),
    "tied": lambda rng, n: rng.integers(0, 4, n) / 3,
    "huge": lambda rng, n: rng.normal(size=n) * 1e300,
    "tiny": lambda rng, n: rng.normal(size=n) * 1e-300,
    "mixed": lambda rng, n: rng.choice([-1.0, 1.0], n) * 10.0 ** rng.integers(-300, 300, n),
    "constant": lambda rng, n: np.full(n, rng.normal()),
}


def fpr_by_curve(labels: np.ndarray, scores: np.ndarray) -> float:
    """FPR95 from scikit-learn's curve, every threshold kept, no interpolation."""
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
    return float(fpr[tpr >= 0.95].min())


METRICS = {"AUROC": (auroc, roc_auc_score), "AP": (average_precision, average_precision_score), "FPR95": (fpr_at, fpr_by_curve)}


def main() -> None:
    rng = np.random.default_rng(SEED)
    rows = [difference(rng, kind) for kind in KINDS]
    frozen = {
        "question": "largest absolute difference between our metrics and scikit-learn's",
        "command": "python -m benchmarks.metrics",
        "cases_per_kind": CASES,
        "sizes": "2 to 300 items, share of strange items uniform",
        "seed": SEED,
        "scikit-learn": sklearn.__version__,
        "machine": machine(f"numpy {np.__version__}"),
        "differences": rows,
        "seconds": timings(rng),
    }
    freeze("metrics", frozen, as_table(frozen))


def case(rng: np.random.Generator, kind: str) -> tuple[np.ndarray, np.ndarray]:
    n = int(rng.integers(2, 301))
    strange = int(rng.integers(1, n))
    return rng.permutation(np.arange(n) < strange).astype(int), KINDS[kind](rng, n)


def difference(rng: np.random.Generator, kind: str) -> dict[str, object]:
    """Per metric: the largest difference, and (the null) in how many cases one moved score makes one above 1e-12."""
    ours, moved = {name: 0.0 for name in METRICS}, {name: 0 for name in METRICS}
    for _ in range(CASES):
        labels, scores = case(rng, kind)
        wrong = scores.copy()
        wrong[np.argmax(labels)] = scores.min() - abs(scores.min()) - 1e-300  # below all others, whatever their size
        for name, (metric, oracle) in METRICS.items():
            truth = oracle(labels, scores)
            ours[name] = max(ours[name], abs(metric(labels, scores) - truth))
            moved[name] += abs(metric(labels, wrong) - truth) > 1e-12
    return {"kind": kind, **ours, "null": {name: count / CASES for name, count in moved.items()}}


def timings(rng: np.random.Generator) -> list[dict[str, object]]:
    """Median seconds of a call, ours and scikit-learn's, and of an interval of 2000 repeats."""
    rows: list[dict[str, object]] = []
    for n in (1_000, 10_000, 100_000):
        labels = np.arange(n) % 2
        scores = rng.normal(size=n) + labels
        for name, (metric, oracle) in METRICS.items():
            row: dict[str, object] = {"metric": name, "items": n}
            row |= {"ours": clock(partial(metric, labels, scores)), "scikit-learn": clock(partial(oracle, labels, scores))}
            if n <= 10_000:
                row["interval"] = clock(partial(interval, metric, labels, scores), times=3)
            rows.append(row)
    return rows


def clock(call: Callable[[], object], times: int = 9) -> float:
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))


def as_table(frozen: dict) -> str:
    names = list(METRICS)
    lines = [
        "# Ranking metrics against scikit-learn",
        "",
        f"`{frozen['command']}`: {frozen['cases_per_kind']} cases a kind, {frozen['sizes']}, seed {frozen['seed']}; scikit-learn {frozen['scikit-learn']}.",
        "Largest absolute difference; in brackets the null: the share of cases in which moving one score makes a difference above 1e-12.",
        "",
        f"| scores | {' | '.join(names)} |",
        "|---|---|---|---|",
        *(f"| {row['kind']} | " + " | ".join(f"{row[name]:.1e} ({row['null'][name]:.2f})" for name in names) + " |" for row in frozen["differences"]),
        "",
        f"Median time of a call and of an interval of 2000 repeats ({frozen['machine']}).",
        "",
        "| metric | items | ours, ms | scikit-learn, ms | interval, s |",
        "|---|---|---|---|---|",
        *(
            f"| {row['metric']} | {row['items']} | {row['ours'] * 1e3:.2f} | {row['scikit-learn'] * 1e3:.2f} | {interval_text(row)} |"
            for row in frozen["seconds"]
        ),
    ]
    return "\n".join(lines) + "\n"


def interval_text(row: dict) -> str:
    return f"{row['interval']:.2f}" if "interval" in row else "not run"


if __name__ == "__main__":
    main()
