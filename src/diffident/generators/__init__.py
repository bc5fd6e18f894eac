"""What makes samples, each by its request and seed alone: the same in any company. A film is left of each."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import PIL.Image

from ..model import Model
from ..requests import Request
from ..trajectory import Trajectory


@dataclass(frozen=True, eq=False)
class Attempt:
    """One sample, or one that was given up half-way.

    Attributes:
        index: of the request, among those given.
        seed: what it was made from.
        film: its way, a trajectory of one item; up to where it was given up.
        output: what is handed on if it is released; None if it was given up.
        abandoned: whether it was given up.
    """

    index: int
    seed: int
    film: Trajectory
    output: Any
    abandoned: bool = False


@dataclass(frozen=True, eq=False)
class Watch:
    """Gives hopeless samples up before they are finished.

    Attributes:
        share: of the way after which they are looked at, in (0, 1).
        hopeless: takes the film so far and says of each item whether it is given up, (n,) bool.
    """

    share: float
    hopeless: Callable[[Trajectory], np.ndarray]


def after(share: float, looks: int) -> int:
    """After how many looks that share of a way of so many is over.

    >>> after(0.5, 9)
    5
    """
    return min(max(math.ceil(share * looks), 1), looks)


class Generator(ABC):
    """Makes samples of requests. What comes of a request depends on it and its seed alone."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """sha256 of all that decides what is made, beside request and seed."""

    @property
    @abstractmethod
    def model(self) -> Model | None:
        """What can be asked about a finished sample; None if nothing can."""

    @abstractmethod
    def picture(self, output: Any) -> PIL.Image.Image:
        """What was made, as people look at it."""

    def handed(self, output: Any) -> Any:
        """What was made, as whoever asked for it gets it."""
        return output

    @abstractmethod
    def attempts(self, wishes: Sequence[Request], seeds: Sequence[int], watch: Watch | None = None) -> Iterator[Attempt]:
        """One attempt at each wish, in any order.

        Raises:
            InvalidSetting: a request that cannot be served; before anything is made.
        """
