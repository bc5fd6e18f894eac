"""Which known-good items may calibrate: each content once, none that trained the model, each of a kind that it knows."""

from __future__ import annotations

from collections.abc import Sequence

from .errors import NoItems, SeenInTraining, UnknownKind
from .model import Model
from .scores import Scores


def references(scores: Scores, model: Model) -> Scores:
    """The rows that can be references: readable, and of identical items the first.

    Raises:
        NoItems: there are none.
        UnknownKind: the model tells kinds apart, and some are of none that it knows.
        SeenInTraining: some trained the model; their p-values would promise nothing.
    """
    known = scores.select(_once(scores))
    if not len(known):
        raise NoItems(f"none of the {len(scores)} items can be read; the first: {scores.problems[0]}")
    kinds, rows = model.kinds, range(len(known))
    if strangers := [known.names[i] for i in rows if kinds and not known.kinds[i]]:
        raise UnknownKind(
            f"{len(strangers)} of {len(known)} items are of no kind that the model knows ({_first(strangers)}); put them into folders "
            f"called {', '.join(kinds)}, or name the kind of all of them (--kind NAME; in Python Items.of_kind)"
        )
    if trained := [known.names[i] for i in rows if known.digests[i] in model.seen]:
        raise SeenInTraining(f"{len(trained)} of {len(known)} items trained the model ({_first(trained)}); calibrate on items that it has not seen")
    return known


def _once(scores: Scores) -> list[int]:
    """Rows of readable items, each content once."""
    first: dict[str, int] = {}
    readable = [i for i, problem in enumerate(scores.problems) if not problem]
    return [i for i in readable if not scores.digests[i] or first.setdefault(scores.digests[i], i) == i]


def _first(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
