"""The strangest items of a run that has no end in sight: only their maps are held, and only they are read again to be shown."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..data import Item
from ..detector import Detector
from ..errors import ItemError
from ..regions import Where
from ..verdict import Verdict


@dataclass(frozen=True, eq=False)
class Shown:
    """An item as a page shows it.

    Attributes:
        verdict: on it.
        values: (C, *size); None if it could not be read again.
        where: it is strange, if the recipe says so.
        nearest: the known-good item most like it, by name and values, if any were kept.
    """

    verdict: Verdict
    values: np.ndarray | None
    where: Where | None = None
    nearest: tuple[str, np.ndarray] | None = None


class Album:
    """Told of every verdict as it comes, keeps the strangest and a few that were declined.

    Args:
        detector: that judges.
        most: how many of the strangest are kept.
        declined: how many of those that could be read and were not judged.
    """

    def __init__(self, detector: Detector, most: int, declined: int = 6) -> None:
        self._detector, self._most, self._few = detector, most, declined
        self._strangest: list[tuple[tuple[float, float, int], Item, Where | None]] = []
        self._declined: list[tuple[int, Item]] = []
        self._count = 0

    def add(self, item: Item, verdict: Verdict) -> None:
        """Keep the item if it is among the strangest so far. Ties are won by whoever came first, as in ``Verdicts.strangest``."""
        index, self._count = self._count, self._count + 1
        if not verdict.judged:
            if verdict.decision == "abstain" and len(self._declined) < self._few:
                self._declined.append((index, item))
            return
        bisect.insort(self._strangest, ((verdict.p, -verdict.score, index), item, verdict.where), key=lambda entry: entry[0])
        del self._strangest[self._most :]

    def strangest(self, verdicts: Sequence[Verdict]) -> tuple[Shown, ...]:
        """The strangest with their final verdicts, which are given in the order in which the items came."""
        return tuple(shown(self._detector, item, verdicts[index], where) for (_, _, index), item, where in self._strangest)

    def declined(self, verdicts: Sequence[Verdict]) -> tuple[Shown, ...]:
        """The first that were declined though they could be read."""
        return tuple(Shown(verdicts[index], _values(self._detector, item)) for index, item in self._declined)


def shown(detector: Detector, item: Item, verdict: Verdict, where: Where | None) -> Shown:
    """An item with its map and the known-good item most like it, read again."""
    values, kept = _values(detector, item), detector.gallery
    if values is None or kept is None:
        return Shown(verdict, values, where)
    nearest = kept.nearest(values if detector.model.tiles is None else detector.model.modality.open(item).values)
    return Shown(verdict, values, where, (kept.names[nearest], kept.values(nearest)))


def _values(detector: Detector, item: Item) -> np.ndarray | None:
    try:
        return detector.model.shown(item)
    except ItemError:  # gone since it was judged: its verdict stands, its picture is missing
        return None
