"""Samples of a model of our own: chunk by chunk, all noise from each sample's seed."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from .. import noise
from ..data import Items
from ..denoiser import Denoiser, Level
from ..errors import InvalidSetting
from ..model import Model
from ..requests import Request
from ..spaces import InvertibleSpace, Settled
from ..trajectory import Look, Trajectory
from ..walks import Sample
from . import Attempt, Generator, Watch, after

#: Chunks that are held half-way at once, while those left in them are put together anew.
HALF_WAY = 4


class _Pinned(Denoiser):
    """Answers as another where something is to be made, and with what is known elsewhere."""

    def __init__(self, inner: Denoiser, known: Tensor, made: Tensor) -> None:
        self.inner, self.known, self.made = inner, known, made

    def __call__(self, x_t: Tensor, alpha: Level, sigma: Level) -> Tensor:
        return torch.where(self.made, self.inner(x_t, alpha, sigma), self.known)


@dataclass(frozen=True, eq=False)
class OwnGenerator(Generator):
    """Samples of a model of our own, by a sampler.

    All noise of a sample comes from its seed. The denoiser is asked about padded chunks of the model's own size, so a sample is the same to
    the bit alone and in any company, also when others of its chunk were given up half-way and those left were put together anew.

    A request with ``made`` fills an item in: at every level what the model answers is taken where something is to be made, and the
    item elsewhere. One with a ``strength`` begins at the first level of the sampler whose sigma / alpha is no higher.

    Attributes:
        of: the model; it lives in a space from which items come back.
        sampler: how noise is walked to data.

    Raises:
        InvalidSetting: a space from which nothing comes back, or a model of tiles.
    """

    of: Model
    sampler: Sample

    def __post_init__(self) -> None:
        if not isinstance(self.of.space, InvertibleSpace) or self.of.tiles is not None or self.of.steps:
            why = "in tiles" if self.of.tiles is not None else "after steps" if self.of.steps else f"in {self.of.space.config()['name']!r}"
            raise InvalidSetting(f"samples are made by a model whose space gives items back, and {self.of.name!r} sees them {why}; train one in 'pixels'")

    @property
    def model(self) -> Model:
        return self.of

    @property
    def fingerprint(self) -> str:
        said = json.dumps({**self.sampler.config(), "seed": 0}, sort_keys=True)  # seeds are those of the attempts
        return hashlib.sha256(f"{self.of.fingerprint} {said}".encode()).hexdigest()

    def picture(self, output: Any) -> PIL.Image.Image:
        return self.of.modality.picture(output)

    def handed(self, output: Any) -> Any:
        """A picture, or of items that are no pictures the numbers as they are stored."""
        return self.of.modality.picture(output) if self.of.modality.gridded else self.of.modality.stored(output)

    @torch.no_grad()
    def attempts(self, wishes: Sequence[Request], seeds: Sequence[int], watch: Watch | None = None) -> Iterator[Attempt]:
        for wish in wishes:
            self._require(wish)
        for rows in self._alike(wishes):
            ways = [_Way.begun(self, [wishes[i] for i in some], some, [seeds[i] for i in some]) for some in _chunks(rows, self.of.chunk)]
            for some in [[way] for way in ways] if watch is None else _chunks(ways, HALF_WAY):
                yield from self._made(some, watch)

    def _made(self, ways: Sequence[_Way], watch: Watch | None) -> Iterator[Attempt]:
        """Attempts on some ways; those given up first."""
        if watch is not None:
            half = [way.onward(after(watch.share, way.looks)) for way in ways]
            hopeless = [watch.hopeless(way.film) for way in half]
            for way, given_up in zip(half, hopeless, strict=True):
                yield from way.select(np.flatnonzero(given_up)).attempts(abandoned=True)
            left = _Way.joined([way.select(np.flatnonzero(~given_up)) for way, given_up in zip(half, hopeless, strict=True)])
            ways = [left.select(np.array(some)) for some in _chunks(range(len(left.rows)), self.of.chunk)]
        for way in ways:
            yield from way.onward(way.looks).attempts()

    def _require(self, wish: Request) -> None:
        if wish.condition is not None or self.of.kinds:
            self.of.require(wish.kind)
        if wish.made is not None and (self.of.space.config()["name"] != "pixels" or wish.made.shape != self.of.shape[1:]):
            raise InvalidSetting(
                f"what is filled in is told pixel by pixel, made {self.of.shape[1:]} for a model that lives in 'pixels'; got {wish.made.shape}, "
                f"and the model lives in {self.of.space.config()['name']!r}"
            )
        if wish.strength is not None and wish.strength < min(s / a for a, s in self.sampler.grid if a):
            raise InvalidSetting(f"no level of the sampler is as faint as a strength of {wish.strength:g}; give a stronger one, or a sampler of more steps")

    def _alike(self, wishes: Sequence[Request]) -> list[list[int]]:
        """Rows of requests that can be asked about together: of one kind, and beginning at one level."""
        keys = [(one.kind, one.strength or math.inf) for one in wishes]
        return [[i for i, key in enumerate(keys) if key == wanted] for wanted in dict.fromkeys(keys)]


@dataclass(frozen=True, eq=False)
class _Way:
    """Some attempts on their way, no more than a chunk: where they are, and what was seen so far.

    Attributes:
        by: who makes them.
        wishes, rows, seeds: of each; rows are those of the caller.
        known, made: the item that is filled in, (n, *shape), and where something is to be made, (n, 1, *grid).
        x: where they are, (n, *shape), before the next look.
        seen: the looks so far.
        first: the level at which they began.
    """

    by: OwnGenerator
    wishes: Sequence[Request]
    rows: Sequence[int]
    seeds: Sequence[int]
    known: Tensor
    made: Tensor
    x: Tensor
    seen: tuple[Look, ...] = ()
    first: int = 0

    @staticmethod
    def begun(by: OwnGenerator, wishes: Sequence[Request], rows: Sequence[int], seeds: Sequence[int]) -> _Way:
        """At its beginning: noise, or an item under noise."""
        model, levels, strength = by.of, list(by.sampler.levels), wishes[0].strength
        first = next(i for i, (a, s) in enumerate(levels) if strength is None or (a and s / a <= strength))
        alpha, sigma = levels[first]
        shape = tuple(model.space.encode(torch.zeros(1, *model.shape)).shape[1:])
        known = torch.stack([torch.zeros(shape) if one.item is None else _encoded(model, one.item) for one in wishes])
        made = torch.stack([torch.ones(1, *shape[1:], dtype=torch.bool) if one.made is None else torch.from_numpy(one.made)[None] for one in wishes])
        drawn = torch.stack([noise.normal(shape, "request", seed) for seed in seeds])
        x = (alpha**2 + sigma**2) ** 0.5 * drawn if strength is None else alpha * known + sigma * drawn
        return _Way(by, wishes, rows, seeds, known, made, x, (), first)

    @property
    def looks(self) -> int:
        """How many looks the whole way has."""
        return len(self.by.sampler.levels) - self.first

    def onward(self, looks: int) -> _Way:
        """The same after so many looks in all."""
        model, seen, x, n = self.by.of, list(self.seen), self.x, len(self.rows)
        asked: Denoiser = Settled(model.given(self.wishes[0].kind), model.space, model.shape[1:]) if n else model.denoiser
        asked = asked if self.made.all() else _Pinned(asked, self._padded(self.known), self._padded(self.made))
        levels = [*self.by.sampler.levels, (1.0, 0.0)]
        for i in range(self.first + len(seen), self.first + looks if n else 0):
            padded = self._padded(x)
            look = Look(*levels[i], padded, asked(padded, *levels[i]))
            x = self.by.sampler.stepped(asked, look, *levels[i + 1], partial(self._drawn, i))[:n]
            seen.append(replace(look, x=look.x[:n], denoised=look.denoised[:n]))
        return replace(self, seen=tuple(seen), x=x)

    def attempts(self, abandoned: bool = False) -> Iterator[Attempt]:
        """What they have come to."""
        if not self.rows:
            return
        film, model = self.film, self.by.of
        items = None if abandoned else model.space.decode(film.origin, model.shape[1:]).float().cpu().numpy()  # type: ignore[attr-defined]
        for i, row in enumerate(self.rows):
            yield Attempt(row, self.seeds[i], film.select([i]), None if items is None else items[i], abandoned)

    def select(self, which: np.ndarray) -> _Way:
        """Those alone, where they are."""
        index = torch.from_numpy(which)
        wishes, rows, seeds = ([of[i] for i in which] for of in (self.wishes, self.rows, self.seeds))
        seen = tuple(replace(look, x=look.x[index], denoised=look.denoised[index]) for look in self.seen)
        return replace(self, wishes=wishes, rows=rows, seeds=seeds, known=self.known[index], made=self.made[index], x=self.x[index], seen=seen)

    @staticmethod
    def joined(ways: Sequence[_Way]) -> _Way:
        """All of them in one, where each has taken as many looks."""
        wishes, rows, seeds = (list(itertools.chain(*of)) for of in zip(*((way.wishes, way.rows, way.seeds) for way in ways), strict=True))
        known, made, x = (torch.cat(of) for of in zip(*((way.known, way.made, way.x) for way in ways), strict=True))
        looks = zip(*(way.seen for way in ways), strict=True)
        seen = tuple(replace(some[0], x=torch.cat([one.x for one in some]), denoised=torch.cat([one.denoised for one in some])) for some in looks)
        return replace(ways[0], wishes=wishes, rows=rows, seeds=seeds, known=known, made=made, x=x, seen=seen)

    @property
    def film(self) -> Trajectory:
        """The record so far."""
        return Trajectory.of(self.seen, self.seen[-1].denoised, self.by.sampler, provenance={"model": self.by.of.name})

    def _drawn(self, i: int) -> Tensor:
        return self._padded(torch.stack([noise.normal(tuple(self.x.shape[1:]), "request, step", seed, i) for seed in self.seeds]))

    def _padded(self, of: Tensor) -> Tensor:
        whole = torch.zeros(self.by.of.chunk, *of.shape[1:], dtype=of.dtype)
        whole[: len(of)] = of
        return whole


def _encoded(model: Model, item: Any) -> Tensor:
    return model.encode(torch.from_numpy(model.modality.open(Items.single(item)[0]).values)[None])[0]


def _chunks(of: Sequence[Any], size: int) -> list[Any]:
    return [of[start : start + size] for start in range(0, len(of), size)]
