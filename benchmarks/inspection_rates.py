"""How many pictures a second each recipe and baseline of inspection judges, and how long it learns, in the same precision.

    python -m benchmarks.inspection_rates

Detectors of screws (200 learn, 80 calibrate) judge the same pictures with everything a verdict takes: reading from memory, bringing to size,
features, denoiser, calibration. They take turns, round by round, so that a busy machine slows them alike; a ratio is the median
over rounds. Exact models only: a U-Net's rate is its network's (``network``). Times depend on the machine: each kind of processor
has figures of its own. Writes benchmarks/results/inspection_rates_KIND.json and .md.
"""

from __future__ import annotations

import time

import numpy as np
import torch

import diffident as dd
from benchmarks._common import freeze, kind, machine, table
from benchmarks.inspection_sets import screw_scaled

RECIPES = ("inspection", "mahalanobis", "memory", "texture", "pca", "knn")
PRECISIONS = ("fp32", "bf16")
PICTURES, ROUNDS, LEVEL = 64, 5, 0.05
COLUMNS = ("recipe", "precision", "learning, s", "calibrating, s", "pictures a second", "times the default's")


def detectors(precision: str) -> dict[str, tuple[dd.Detector, float, float]]:
    """By recipe: a detector, seconds of learning, seconds of calibrating."""
    of, made = screw_scaled(), {}
    learns, calibrates, _ = ([of.good[i] for i in part] for part in of.parts(0))
    for recipe in RECIPES:
        began = time.perf_counter()
        model = dd.train(learns, recipe, channels=1, precision=precision)
        learned = time.perf_counter()
        detector = dd.Detector(model, recipe, dd.Policy(LEVEL)).fit(calibrates, keep=0)
        made[recipe] = detector, learned - began, time.perf_counter() - learned
    return made


def rates(made: dict[str, tuple[dd.Detector, float, float]]) -> dict[str, list[float]]:
    """Pictures a second of each recipe, round by round."""
    asked = screw_scaled().test[:PICTURES]
    found: dict[str, list[float]] = {recipe: [] for recipe in made}
    for turn in range(ROUNDS + 1):
        for recipe, (detector, _, _) in made.items():
            began = time.perf_counter()
            detector.judge_all(asked)
            found[recipe] += [PICTURES / (time.perf_counter() - began)] if turn else []  # the first round warms up
    return found


def rows() -> list[dict[str, object]]:
    """A row for each recipe and precision."""
    table_rows: list[dict[str, object]] = []
    for precision in PRECISIONS:
        made = detectors(precision)
        found = rates(made)
        ratios = {recipe: float(np.median(np.divide(mine, found[RECIPES[0]]))) for recipe, mine in found.items()}
        table_rows += [
            dict(zip(COLUMNS, (recipe, precision, made[recipe][1], made[recipe][2], float(np.median(found[recipe])), ratios[recipe]), strict=True))
            for recipe in RECIPES
        ]
    return table_rows


def main() -> None:
    found = rows()
    lines = ["# Inspection: pictures a second", "", *table(found, COLUMNS, ".3g"), ""]
    lines += [
        f"Medians over {ROUNDS} rounds of {PICTURES} screws each, in turn. {machine(f'torch {torch.__version__}', f'{torch.get_num_threads()} threads')}."
    ]
    freeze(f"inspection_rates_{kind().lower()}", {"rows": found, "machine": machine()}, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
