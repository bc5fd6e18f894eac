"""The contracts, public: check your own statistic, walk, probe, denoiser, step, space or modality before you rely on it.

``checks(thing)`` yields the promises that fit what the thing declares; calling one raises :class:`ContractBroken` with
the numbers if it is broken. There is no list of exemptions: a statistic that says nothing in a Gaussian world names the
known world in which it does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from ..denoiser import Denoiser, StoredDenoiser
from ..errors import InvalidSetting
from ..modalities import Modality
from ..probes import Probe
from ..spaces import Space
from ..statistics import Statistic
from ..steps import Step
from ..walks import Walk
from .of_items import MODALITY, SPACE
from .of_statistics import STATISTIC
from .of_steps import STEP
from .of_walks import DENOISER, PROBE, RECORDED, WALK
from .promise import Check, name
from .worlds import WORLDS, World, gaussian_world, modes_world, sighted_world

__all__ = ["WORLDS", "Check", "World", "checks", "gaussian_world", "modes_world", "sighted_world"]

_PROMISES: dict[type, tuple[Callable[[Any], None], ...]] = {
    Statistic: STATISTIC,
    Walk: WALK,
    Probe: PROBE,
    Space: SPACE,
    Modality: MODALITY,
}


def checks(thing: object, shape: tuple[int, ...] = (1, 4, 4)) -> Iterator[Check]:
    """The promises that fit what ``thing`` declares.

    Args:
        thing: a Statistic, Walk, Probe, Denoiser, Step, Space or Modality.
        shape: of the items that a denoiser answers for, or (channels, height, width) of those that a step takes; the others do not need it.

    Raises:
        InvalidSetting: something of none of these kinds.

    >>> from diffident import statistics
    >>> for check in checks(statistics.find("landing")):
    ...     check()
    """
    if isinstance(thing, StoredDenoiser):
        thing = thing.at("fp32")  # what is promised to four digits is promised of single precision
    if isinstance(thing, Denoiser):
        promises = [(promise, partial(promise, thing, shape)) for promise in DENOISER]
    elif isinstance(thing, Step):
        promises = [(promise, partial(promise, thing, (shape[0], shape[1], shape[2]))) for promise in STEP]
    else:
        promises = [(promise, partial(promise, thing)) for promise in _promises(thing)]
    for promise, run in promises:
        yield Check(f"{name(thing)}: {promise.__name__.strip('_').replace('_', ' ')}", run)


def _promises(thing: object) -> tuple[Callable[[Any], None], ...]:
    if isinstance(thing, Walk) and thing.recorded:
        return RECORDED
    for kind, promises in _PROMISES.items():
        if isinstance(thing, kind):
            return promises
    kinds = ", ".join(kind.__name__ for kind in (Denoiser, Step, *_PROMISES))
    raise InvalidSetting(f"there is no contract for a {type(thing).__name__}; checks() takes one of: {kinds}")
