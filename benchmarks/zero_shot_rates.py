"""Does ``zero-shot`` keep its promise on real pictures? False alarms at .05 in every world, with 100, 200 and 1,000 references.

    python -m benchmarks.zero_shot_rates

Each world is drawn once at random into references and held-out pictures of the same source, so that they are exchangeable; what is observed
stands beside the range in which 95 % of right answers lie (beta-binomial, exact), all rows judged together by Holm. The base has seen none of them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import diffident as dd
from benchmarks._common import freeze, machine, table
from benchmarks.checker import Counts, alarm_range, judge_counts
from benchmarks.zero_shot_sets import equal, grey, pictures, plain_colours, plain_noise
from diffident.calibration import combiner
from diffident.recipes import recipe
from diffident.scorer import Scorer

NAME, RECIPE, LEVEL = "zero_shot_rates", "zero-shot", 0.05
SIZES, HELD = (100, 200, 1000), 200
ALL = max(SIZES) + HELD

#: So many pictures of each world, in a random order, from one part of one archive.
WORLDS: dict[str, Callable[[], np.ndarray]] = {
    "CIFAR-10": lambda: pictures("cifar10_lossless.zip", lambda name: "train/" in name, ALL),
    "faces": lambda: pictures("faces_64.zip", lambda name: True, ALL),
    "TinyImageNet": lambda: pictures("tinyimagenet_64.zip", lambda name: "train/" in name, ALL),
    "textures": lambda: pictures("textures_128.zip", lambda name: True, ALL),
    "digits": lambda: grey("digits", ALL),
    "fashion": lambda: grey("fashion", ALL),
    "noise": lambda: plain_noise(ALL),
    "constants": lambda: plain_colours(ALL),
}


def main() -> None:
    asked = recipe(RECIPE)
    scorer, rows = Scorer(dd.load("base"), asked), []
    for name, drawn in WORLDS.items():
        scores = scorer(equal(drawn()))
        held = scores.values[-HELD:]
        for n in SIZES:
            known = scores.values[:n]
            p = combiner(asked.combine).told(scores.columns).p_values(known, held, scores.tails)
            rows.append(Counts(name, n, LEVEL, HELD, 1, int((p <= LEVEL * (1 + 1e-9)).sum())))
        print(f"{name}: done", flush=True)
    told: list[dict[str, object]] = []
    for one in judge_counts(rows):
        low, high = alarm_range(one.counts.n, LEVEL, HELD)
        observed = one.counts.flags / HELD
        told.append(
            {"world": one.counts.name, "references": one.counts.n, "false alarms": observed, "95 % range": f"{low:.3f} to {high:.3f}",
             "in it": "yes" if low <= observed <= high else "no", "stands after Holm": "yes" if one.inside else "NO"}
        )  # fmt: skip
    lines = ["# Zero-shot: false alarms", "", f"`{RECIPE}` on the base of the package at p <= {LEVEL:g}, {HELD} held-out good pictures, everything of one", ""]
    lines[2] += " resolution and JPEG history. Rows of one world share their held-out pictures."
    text = "\n".join([*lines, *table(told, list(told[0]), ".3f"), "", machine()]) + "\n"
    freeze(NAME, {"rows": told}, text)


if __name__ == "__main__":
    main()
