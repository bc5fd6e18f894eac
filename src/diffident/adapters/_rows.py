"""What the adapters of tables share: how rows are learned, and how strange known-good rows look beside one another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..calibration import Calibration
from ..learning import train
from ..recipes import Recipe
from ..scorer import Scorer
from ..scores import Scores

#: Known-good rows are looked at in at most so many blocks, each beside all the others.
BLOCKS = 200


def learned(rows: np.ndarray, recipe: str | Recipe, network: str, images_seen: int, width: int, precision: str, seed: int) -> Scorer:
    """What asks a model that was trained on these rows, (n, columns).

    Raises:
        InvalidSetting, UnknownName: see :func:`diffident.train`.
    """
    model = train(rows, recipe, network=network, modality="row", images_seen=images_seen, width=width, precision=precision, seed=seed)
    return Scorer(model, recipe)


def beside_the_others(calibration: Calibration) -> np.ndarray:
    """The strangeness of each known-good row as if it were new, (n,): beside the others and not beside itself.

    Where many statistics are combined, rows look more ordinary beside references that they belong to, and a threshold among
    them would be too low. Up to 200 rows are left out one by one, more of them in 200 blocks.
    """
    known, tails, combine = calibration.references.values, calibration.references.tails, calibration.combiner
    if len(known) < 2:
        return combine.score(known, known, tails)
    found = np.empty(len(known))
    for block in np.array_split(np.arange(len(known)), min(len(known), BLOCKS)):
        found[block] = combine.score(np.delete(known, block, axis=0), known[block], tails)
    return found


def strangeness(calibration: Calibration, scores: Scores) -> np.ndarray:
    """How strange each row is, raw, (n,), without the p-values that would take longer."""
    known = calibration.references
    scores.require(known.fingerprint, "these references")
    return calibration.combiner.score(known.values, scores.values, known.tails)


def held_out_in_turn(rows: np.ndarray, folds: int, seed: int, learn: Callable[[np.ndarray], Scorer]) -> tuple[Scores, Scorer]:
    """The scores of every row by a model that did not learn from it, and what asks the model that learned from all of them.

    The scores bear the fingerprint of that last model, since they are made to be compared with its own: all models are taken
    to answer alike about rows that they have not seen, as cross-validation takes it.
    """
    asked, order = learn(rows), np.random.default_rng(seed).permutation(len(rows))
    parts = [learn(np.delete(rows, fold, axis=0))(rows[fold]) for fold in np.array_split(order, min(folds, len(rows)))]
    return Scores.merge([replace(part, fingerprint=asked.fingerprint) for part in parts]).select(np.argsort(order)), asked
