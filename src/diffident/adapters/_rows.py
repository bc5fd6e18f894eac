"""What the adapters of tables share: how rows are learned, and how strange known-good rows look beside one another."""

from __future__ import annotations

from collections.abc import Sequence

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


def merged(parts: Sequence[Scores], order: np.ndarray) -> Scores:
    """Scores of several models that learned from other parts of one table, in one table and in that order."""
    first = parts[0].fingerprint
    rows = Scores.merge([part if part.fingerprint == first else _as(part, first) for part in parts])
    return rows.select(np.argsort(order))


def _as(part: Scores, fingerprint: str) -> Scores:
    from dataclasses import replace

    return replace(part, fingerprint=fingerprint)
