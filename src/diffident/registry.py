"""Names to things: one dictionary for statistics, denoisers, walks, probes, steps, spaces, modalities and recipes, open to other packages.

A thing is found in one of three places, in this order: it was registered by hand, a module of this package is named
after it (``statistics/landing.py`` holds ``landing``), or another package announces it in the entry-point group
``diffident.<kind>``. Listing names imports none of them.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import pkgutil
from collections.abc import Callable
from importlib import metadata
from typing import TypeVar

from .errors import InvalidSetting, UnknownName

T = TypeVar("T")

#: where each kind lives: packages whose files are named as the things in them, or single modules
ROOMS = {
    "statistics": ("diffident.statistics",),
    "denoisers": tuple(f"diffident.{room}" for room in ("denoiser", "positions", "patches", "texture", "precondition", "kinds", "pipelines.diffusers")),
    "walks": ("diffident.walks",),
    "probes": ("diffident.probes",),
    "spaces": ("diffident.spaces",),
    "steps": ("diffident.steps",),
    "modalities": ("diffident.modalities",),
    "recipes": tuple(f"diffident.recipes.{room}" for room in ("inspection", "reconstruction", "paths", "inside", "controls", "introspection")),
}

_things: dict[tuple[str, str], object] = {}


def register(kind: str, name: str, thing: T) -> T:
    """Give ``thing`` a name of that kind and return it. A name means one thing only.

    Raises:
        InvalidSetting: the name is taken by something else of that kind.
    """
    taken = _things.get((kind, name), thing)
    if taken is not thing and _origin(taken) != _origin(thing):
        raise InvalidSetting(f"two {kind} are called {name!r}: {_origin(taken)} and {_origin(thing)}; rename one of them")
    _things[kind, name] = thing
    return thing


def registered(kind: str, name: str) -> Callable[[T], T]:
    """Decorator form of :func:`register`."""
    return lambda thing: register(kind, name, thing)


def names(kind: str) -> list[str]:
    """All names of a kind, sorted. Modules named as the thing in them are listed without being imported."""
    found = {point.name for point in _announced(kind)}.union(*map(_files, ROOMS[kind]))  # first: a single module registers what it holds
    return sorted(found | {name for room, name in _things if room == kind})


def find(kind: str, name: str) -> object:
    """The thing of that kind and name, imported now if need be.

    Raises:
        UnknownName: there is none; the message suggests the nearest name and lists them all.
    """
    if (kind, name) not in _things:
        _import(kind, name)
    if (kind, name) not in _things:
        raise UnknownName(_unknown(kind, name))
    return _things[kind, name]


def name_of(kind: str, thing: object) -> str:
    """The name under which a thing of that kind is registered.

    Raises:
        UnknownName: it is not registered, so that it could not be found again when a folder is read.
    """
    for (room, name), known in _things.items():
        if room == kind and known is thing:
            return name
    raise UnknownName(f"{_origin(thing)} is not registered among the {kind} and could not be found again; name it with registry.register({kind!r}, ...)")


def _import(kind: str, name: str) -> None:
    for room in ROOMS[kind]:
        if name in _files(room):
            importlib.import_module(f"{room}.{name}")
    for point in _announced(kind):
        if point.name == name:
            register(kind, name, point.load())


def _files(room: str) -> set[str]:
    found = importlib.util.find_spec(room)
    if found is None or found.submodule_search_locations is None:  # a single module: importing it registers what it holds
        importlib.import_module(room)
        return set()
    return {module.name for module in pkgutil.iter_modules(found.submodule_search_locations) if not module.name.startswith("_")}


def _announced(kind: str) -> metadata.EntryPoints:
    return metadata.entry_points(group=f"diffident.{kind}")


def _origin(thing: object) -> str:
    where = thing if isinstance(thing, type) else type(thing)
    return f"{getattr(thing, '__module__', where.__module__)}.{getattr(thing, '__qualname__', where.__qualname__)}"


def _unknown(kind: str, name: str) -> str:
    known = names(kind)
    near = difflib.get_close_matches(name, known, n=1)
    guess = f"did you mean {near[0]!r}? " if near else ""
    return f"no {kind} called {name!r}; {guess}there are: {', '.join(known) or 'none'}"
