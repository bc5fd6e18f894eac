"""The ways in which many numbers, or a map, become one strangeness, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from ..errors import InvalidSetting, UnknownName
from .fusion import Fusion
from .heights import Highest, PlaceByPlace
from .strangeness import Gaussian, Ranks, Robust, Strangeness

COMBINERS: dict[str, type[Strangeness]] = {kind.name: kind for kind in (Gaussian, Ranks, Robust, Fusion, Highest, PlaceByPlace)}


def combiner(name: str, settings: Mapping[str, object] | None = None) -> Strangeness:
    """The combiner of that name and settings, as :meth:`Strangeness.to_config` writes them.

    Raises:
        UnknownName: there is no such combiner.
        InvalidSetting: it has no such setting, or the value is out of range.

    >>> combiner("gaussian", {"shrinkage": 0.5})
    Gaussian(shrinkage=0.5)
    """
    if name not in COMBINERS:
        raise UnknownName(f"no combiner called {name!r}; there are: {', '.join(sorted(COMBINERS))}")
    known = [field.name for field in fields(COMBINERS[name])]  # type: ignore[arg-type]
    for setting in settings or {}:
        if setting not in known:
            raise InvalidSetting(f"the combiner {name!r} has no setting {setting!r}; it has: {', '.join(known) or 'none'}")
    return COMBINERS[name](**{key: tuple(value) if isinstance(value, list) else value for key, value in (settings or {}).items()})
