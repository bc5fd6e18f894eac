"""What is asked of a generator: a condition, and an item to start from or to fill in."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import noise
from .errors import InvalidSetting


@dataclass(frozen=True, eq=False)
class Request:
    """One wish.

    Attributes:
        condition: what the sample is to be of: a kind by its name for a model that tells kinds apart, whatever a pipeline
            takes as its first argument (a text); None for no wish in particular.
        item: of the world, to start from or to fill in: a path, an array, a picture.
        made: of an item that is filled in, (h, w) at the model's size, true where something is to be made and false where the item stays; None
            fills in nothing.
        strength: of an item that is started from, the noise-to-signal ratio sigma / alpha under which it is laid before the way back begins.
        name: for people and for tables.

    Raises:
        InvalidSetting: a strength or a mask without an item, both of them, or neither with one.
    """

    condition: object = None
    item: Any = field(default=None, repr=False)
    made: np.ndarray | None = field(default=None, repr=False)
    strength: float | None = None
    name: str = ""

    def __post_init__(self) -> None:
        said = [what for what, value in (("made", self.made), ("strength", self.strength)) if value is not None]
        if len(said) != (self.item is not None):
            raise InvalidSetting(
                "an item is filled in where made is true, or started from at a strength: give a request with an item one of the two, and one without neither; "
                f"got {'an item' if self.item is not None else 'no item'} with {' and '.join(said) or 'neither'}"
            )
        if self.made is not None:
            object.__setattr__(self, "made", _mask(self.made))
        if self.strength is not None and not self.strength > 0:
            raise InvalidSetting(f"the strength is sigma / alpha, above 0; got {self.strength:g}")

    @property
    def kind(self) -> str:
        """The condition as the name of a kind; empty where there is none."""
        return "" if self.condition is None else str(self.condition)

    @property
    def label(self) -> str:
        """What a table says of it."""
        return self.name or self.kind


def _mask(made: Any) -> np.ndarray:
    """Where something is to be made, (h, w) bool: masks of numbers and pictures are true in their upper half, as white is."""
    found = np.asarray(made)
    if found.ndim != 2:
        raise InvalidSetting(f"made says where an item is filled in, (height, width); got {found.shape}")
    return found if found.dtype == bool else found > found.max() / 2


def requests(wishes: Any = None, n: int | None = None, seed: int = 0, purpose: str = "serve") -> list[Request]:
    """Requests of wishes: of each one in turn, or ``n`` drawn from them with equal chances, as requests to come are drawn.

    Args:
        wishes: None for no wish in particular, one condition or request, or several in a list, an array or anything that is gone through once.
        purpose: those of a trial are drawn apart from those that are served.

    Raises:
        InvalidSetting: none at all, or a count below 1.

    >>> [one.label for one in requests(["a cat", "a dog"])]
    ['a cat', 'a dog']
    >>> len(requests(n=3))
    3
    """
    several = isinstance(wishes, Iterable) and not isinstance(wishes, str | bytes | Mapping)
    listed: Sequence[Any] = list(wishes) if several else [wishes]
    if not listed or (n is not None and n < 1):
        raise InvalidSetting(f"nothing is asked for: {len(listed)} wishes, {n} times; give at least one")
    made = [one if isinstance(one, Request) else Request(one) for one in listed]
    if n is None:
        return made
    return [made[int(at * len(made))] for at in noise.uniform((n,), f"requests, {purpose}", seed).double()]


def seeds_of(seed: int, request: int, tries: int, purpose: str = "serve") -> list[int]:
    """The seeds of the attempts at a request, each of its own: those of one request, or of another purpose, tell nothing about each other.

    >>> len({one for i in range(9) for one in seeds_of(0, i, 3)})
    27
    """
    state = np.random.SeedSequence([seed % 2**64, request, zlib.crc32(purpose.encode())]).generate_state(2 * tries, np.uint32)
    return [int(high) << 31 | int(low) >> 1 for high, low in zip(state[::2], state[1::2], strict=True)]
