"""What benchmarks of learned models share: several recipes asked at once, and anybody's numbers brought to a decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

import diffident as dd
from diffident.calibration import conformal_p
from diffident.recipes import Recipe, recipe
from diffident.scorer import Scorer
from diffident.scores import Scores
from diffident.verdict import Policy, Verdicts


def asked_at_once(model: dd.Model, recipes: Sequence[str | Recipe], source: Any) -> dict[str, Scores]:
    """The scores of every recipe, by its name, to the bit as each would give them alone; equal walks are run once for all of them."""
    wanted = [recipe(one) for one in recipes]
    readings = tuple(replace(one, name=f"{each.name}: {one.label}") for each in wanted for one in each.readings)
    scores = Scorer(model, Recipe("at once", readings))(source)
    return {each.name: _of(scores, model, each) for each in wanted}


def _of(scores: Scores, model: dd.Model, asked: Recipe) -> Scores:
    name = asked.name
    mine = [i for i, column in enumerate(scores.columns) if column.startswith(f"{name}: ")]
    return replace(
        scores,
        columns=tuple(scores.columns[i].removeprefix(f"{name}: ") for i in mine),
        values=scores.values[:, mine],
        tails=tuple(scores.tails[i] for i in mine),
        says=tuple(scores.says[i] for i in mine),
        fingerprint=Scorer(model, asked).fingerprint,
    )


def answers(verdicts: Verdicts) -> dict[str, np.ndarray]:
    """What a detector said of many items: their scores, and which were flagged and abstained from."""
    decided = np.array([verdict.decision for verdict in verdicts])
    return {"scores": np.array([verdict.score for verdict in verdicts]), "flagged": decided == "flag", "abstained": decided == "abstain"}


def ranked(of_reference: np.ndarray, of_items: np.ndarray, level: float) -> dict[str, np.ndarray]:
    """Anybody's score, brought to a decision as ours are: flagged by its conformal p-value."""
    policy = Policy(level)
    flagged = np.array([policy.decide(p) == "flag" for p in conformal_p(of_reference, of_items)])
    return {"scores": of_items, "flagged": flagged, "abstained": np.zeros(len(of_items), dtype=bool)}
