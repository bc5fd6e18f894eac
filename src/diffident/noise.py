"""Randomness that is the same on every machine and depends on its name alone: a seed, a purpose, a level.

Streams of different names are independent: none repeats what ``torch.manual_seed`` gives for the same number. Drawn on
the CPU in float32 by a counter-based generator (Philox; Salmon et al. 2011), whatever the device or vector width.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def normal(shape: tuple[int, ...], purpose: str, *numbers: int) -> Tensor:
    """Standard normal noise (*shape), float32. A longer first axis continues a shorter one: (5, d) begins with (4, d).

    >>> bool((normal((5, 3), "example", 7)[:4] == normal((4, 3), "example", 7)).all())
    True
    """
    return torch.from_numpy(_stream(purpose, numbers).standard_normal(shape, dtype=np.float32))


#: Noise of a place is drawn in squares of so many places a side, whose corners lie at its multiples.
SQUARE = 32


def field(shape: tuple[int, ...], origin: Sequence[int], purpose: str, *numbers: int) -> Tensor:
    """Standard normal noise (channels, *grid), float32, that depends on where it lies: pieces that overlap agree.

    Each square of 32 places a side (a cube, a stretch) has a stream of its own, named by where it lies.

    Args:
        origin: where the first place lies, along each axis of the grid; may lie below 0.

    >>> bool((field((1, 40, 40), (30, -7), "example")[:, 5:, 9:] == field((1, 35, 31), (35, 2), "example")).all())
    True
    """
    first = [at // SQUARE for at in origin]
    count = [-(-(at + side) // SQUARE) - start for at, side, start in zip(origin, shape[1:], first, strict=True)]
    whole = torch.empty(shape[0], *(SQUARE * many for many in count))
    for place in itertools.product(*map(range, count)):
        square = normal((shape[0], *(SQUARE,) * len(place)), f"{purpose}, by place", *numbers, *map(sum, zip(first, place, strict=True)))
        whole[(slice(None), *(slice(SQUARE * i, SQUARE * (i + 1)) for i in place))] = square
    inside = (slice(at - SQUARE * start, at - SQUARE * start + side) for at, start, side in zip(origin, first, shape[1:], strict=True))
    return whole[(slice(None), *inside)]


def signs(shape: tuple[int, ...], purpose: str, *numbers: int) -> Tensor:
    """Independent +1 and -1 (*shape), float32.

    >>> sorted(set(signs((8, 8), "example", 7).flatten().tolist()))
    [-1.0, 1.0]
    """
    return torch.from_numpy(_stream(purpose, numbers).integers(0, 2, shape).astype(np.float32) * 2 - 1)


def uniform(shape: tuple[int, ...], purpose: str, *numbers: int) -> Tensor:
    """Independent numbers in [0, 1) (*shape), float32.

    >>> bool((uniform((8,), "example", 7) < 1).all())
    True
    """
    return torch.from_numpy(_stream(purpose, numbers).random(shape, dtype=np.float32))


def order(count: int, purpose: str, *numbers: int) -> Tensor:
    """The numbers below ``count`` in random order, (count,) int64.

    >>> sorted(order(4, "example", 7).tolist())
    [0, 1, 2, 3]
    """
    return torch.from_numpy(_stream(purpose, numbers).permutation(count))


def _stream(purpose: str, numbers: tuple[int, ...]) -> np.random.Generator:
    words = [zlib.crc32(purpose.encode()), *(number % 2**64 for number in numbers)]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(words)))
