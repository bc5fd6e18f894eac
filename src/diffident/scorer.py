"""Model + recipe -> scores. Chunking attaches here and to nothing else.

The denoiser only ever sees chunks of one size, padded where there are fewer items: convolution and matrix kernels
change their last bits with the batch size, and a score may not depend on its batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .data import Item, Items
from .errors import InvalidSetting, ItemError, NotPerElement
from .modalities import Opened
from .model import Model
from .mosaic import Mosaic, total
from .recipes import Reading, Recipe
from .recipes import recipe as recipe_of
from .scores import Scores
from .spaces import Settled
from .trajectory import Trajectory
from .walks import Walk
from .witness import items as items_of

#: One trajectory for each different walk of a recipe.
Films = Mapping[Walk, Trajectory]


@dataclass(frozen=True, eq=False)
class Examined:
    """One item with everything that the model answered about it.

    Attributes:
        opened: the item as the model took it.
        scores: its row.
        films: a trajectory of this one item for each different walk.
        map: where it is strange; None if the recipe has no map.
        lift: see :class:`Lift`.
    """

    opened: Opened
    scores: Scores
    films: Films
    map: np.ndarray | None
    lift: Lift


@dataclass(frozen=True, eq=False)
class Lift:
    """Brings numbers on a coarse grid to the geometry of the items of a chunk.

    Attributes:
        model: at whose size.
        opened: the items, or in words why one could not be read.
    """

    model: Model
    opened: Sequence[Opened | str]

    def __call__(self, grids: np.ndarray, smooth: str = "bilinear") -> np.ndarray:
        """(n, *grid) to (n, height, width) float32; ``smooth`` is ``bilinear``, never higher than the highest place, or ``nearest``."""
        raised = torch.nn.functional.interpolate(torch.from_numpy(grids.astype(np.float32))[:, None], self.model.shape[1:], mode=smooth)[:, 0]
        return self.model.returned(raised, self.items).numpy()

    @cached_property
    def items(self) -> Tensor:
        """(n, C, *size); zeros where one could not be read."""
        return torch.stack([_values(one) if isinstance(one, Opened) else torch.zeros(self.model.modality.shape) for one in self.opened])


@dataclass(frozen=True, eq=False)
class Scorer:
    """Asks a model what a recipe wants to know, a chunk at a time.

    Attributes:
        model: what is asked. One with tiles is asked tile by tile, see :class:`diffident.mosaic.Mosaic`.
        recipe: what is asked of it; a registered name is taken too. In tiles the highest place of its maps counts.

    Raises:
        InvalidSetting: the recipe is for generated samples alone, or for models that live in another space, or has no map that tiles could be judged by.
    """

    model: Model
    recipe: Recipe | str

    def __post_init__(self) -> None:
        self.asked.require_given()
        if self.asked.combines_maps and not self.model.modality.gridded:
            raise InvalidSetting(
                f"the recipe {self.asked.name!r} compares places, and the elements of a {self.model.modality.name} have no neighbours; "
                "take a recipe that combines numbers, such as 'reconstruction'"
            )
        if self.asked.space and not self.model.space.suits(self.asked.space):
            lives = self.model.space.config()["name"]
            raise InvalidSetting(f"the recipe {self.asked.name!r} is for models that live in {self.asked.space!r}, and this one lives in {lives!r}")
        self.mosaic  # noqa: B018 - asked for its refusal

    @cached_property
    def asked(self) -> Recipe:
        """The recipe itself."""
        return recipe_of(self.recipe) if self.model.tiles is None else recipe_of(self.recipe).highest()

    @cached_property
    def mosaic(self) -> Mosaic | None:
        """What asks tile by tile, if the model has tiles."""
        return None if self.model.tiles is None else Mosaic(self.model, self.asked, self.fingerprint, self._asked)

    @cached_property
    def fingerprint(self) -> str:
        """Of the model and the recipe together: scores with different ones are never compared."""
        return hashlib.sha256(f"{self.model.fingerprint} {self.asked.fingerprint}".encode()).hexdigest()

    def __call__(self, source: Any) -> Scores:
        """The scores of all items of a source: a folder, a path, a list, an array or :class:`Items`.

        Raises:
            NoItems: there are none.
        """
        return Scores.merge([scores for _, scores in self.stream(source)])

    def stream(self, source: Any) -> Iterator[tuple[Items, Scores]]:
        """The same, a chunk at a time: items and their scores. In tiles an item at a time."""
        if self.mosaic is not None:
            return ((part, scores) for part, scores, _ in self.mosaic.stream(self.model.modality.items(source)))
        return ((part, self._scores(part, opened, films)) for part, opened, films in self._chunks(source))

    def stream_maps(self, source: Any) -> Iterator[tuple[Items, Scores, np.ndarray]]:
        """A chunk at a time: items, their scores, and where each is strange, from the same answers of the model.

        Maps are (n, height, width) float32 at the model's size, as :meth:`map` gives them; NaN throughout for an item that
        cannot be read or is not finite. In tiles an item at a time, (1, h, w), a number for each place, no more than 1024 a side.

        Raises:
            NotPerElement: the recipe has no reading per element.
            NoItems: there are none.
        """
        mapped = self._mapped
        if self.mosaic is not None:
            return self.mosaic.stream(self.model.modality.items(source))
        return ((part, self._scores(part, opened, films), self._maps(opened, films, mapped)) for part, opened, films in self._chunks(source))

    def stream_lifted(self, source: Any) -> Iterator[tuple[Items, Scores, Lift]]:
        """A chunk at a time: items, their scores, and what brings numbers on the grid of ``scores.maps`` to the items' geometry.

        Raises:
            NoItems: there are none.
        """
        return ((part, self._scores(part, opened, films), Lift(self.model, opened)) for part, opened, films in self._chunks(source))

    def map(self, item: Any) -> np.ndarray:
        """Where the item is strange: (height, width) float32, larger is stranger; the mean over readings with a map.

        Args:
            item: a path, an array (h, w) or (h, w, channels), or an Item.

        Raises:
            NotPerElement: the recipe has no reading per element.
            ItemError: the item cannot be read.
        """
        mapped, one = self._mapped, Items.single(item)[0]
        kind = self._asked_of(one)
        if self.mosaic is not None:
            return self.mosaic.map(one)
        opened = [self.model.modality.open(one)]
        return self._maps(opened, self._films(opened, [kind]), mapped)[0]

    def examine(self, item: Any) -> Examined:
        """One item with everything that the model answered, for people to look at; asked once, and its row is as in any company.

        Of an item in tiles what is shown is the tile with the highest place, and the row is that of the whole.

        Raises:
            ItemError: the item cannot be read.
            UnknownKind: the model tells kinds apart, and it is of none that is known.
        """
        part = Items.single(item)
        kind = self._asked_of(part[0])
        if self.mosaic is not None:
            return self._strangest(self.mosaic, part[0], kind)
        opened = [self.model.modality.open(part[0])]
        films, mapped = self._films(opened, [kind]), self.asked.mapped
        where = self._maps(opened, films, mapped)[0] if mapped else None
        return Examined(opened[0], self._scores(part, opened, films), {walk: film.select([0]) for walk, film in films.items()}, where, Lift(self.model, opened))

    def _strangest(self, mosaic: Mosaic, item: Item, kind: str) -> Examined:
        """The tile with the highest place, as an item of its own, and the row of the whole."""
        whole = mosaic.opened(item)
        corner = mosaic.strangest(whole.values, kind)
        heights, films = mosaic.heights(whole.values, [corner], kind)
        tile = Opened(mosaic.tiles.cut(whole.values, corner), whole.vitals, whole.digest)
        one = {walk: film.select([0]) for walk, film in films.items()}
        return Examined(tile, mosaic.judged(item)[0], one, total(heights[:, 0].numpy()), Lift(self.model, [tile]))

    def witness(self) -> np.ndarray:
        """The rows of the eight synthetic items of :mod:`diffident.witness`, (8, k), for each kind: what shows whether another machine agrees."""
        opened = [Opened(one.numpy(), {}, "") for one in items_of(self.model)]
        with torch.no_grad():
            films = [self._films(opened, [kind] * len(opened)) for kind in self.model.kinds or ("",)]
            return np.concatenate([self.asked.read(one).cpu().numpy()[: len(opened)] for one in films])

    def require_maps(self) -> None:
        """Refuse, before the work, a recipe that has no map.

        Raises:
            NotPerElement: the recipe has no reading per element.
        """
        self._mapped  # noqa: B018 - asked for its refusal

    @property
    def _mapped(self) -> tuple[Reading, ...]:
        """The readings that have a map."""
        mapped = self.asked.mapped
        if not mapped:
            raise NotPerElement(
                f"the recipe {self.asked.name!r} reads one number per item and has no map; use a recipe with a reading per element, such as 'reconstruction'"
            )
        return mapped

    def _chunks(self, source: Any) -> Iterator[tuple[Items, list[Opened | str], Films]]:
        """Items, what was read of each or why it was not, and what the model answered about those that were."""
        items = self.model.modality.items(source)
        for start in range(0, len(items), self.model.chunk):
            part = items[start : start + self.model.chunk]
            opened = [self._open(item) for item in part]
            asked = [self.model.known(item.kind) for item, one in zip(part, opened, strict=True) if isinstance(one, Opened)]
            yield part, opened, self._films(_read(opened), asked)

    def _scores(self, part: Items, opened: Sequence[Opened | str], films: Films) -> Scores:
        with torch.no_grad():
            values = self.asked.read(films).cpu().numpy()
        return Scores(
            names=tuple(item.name for item in part),
            columns=tuple(self.columns),
            values=_spread(opened, values),
            tails=tuple(reading.of.tail for reading in self.columns.values()),
            says=tuple(reading.of.says for reading in self.columns.values()),
            fingerprint=self.fingerprint,
            digests=tuple(one.digest if isinstance(one, Opened) else "" for one in opened),
            vitals=tuple(one.vitals if isinstance(one, Opened) else {} for one in opened),
            problems=tuple("" if isinstance(one, Opened) else one for one in opened),
            maps=self._bands(opened, films) if self.asked.combines_maps else None,
            kinds=tuple(self.model.known(item.kind) for item in part),
        )

    def _asked_of(self, item: Item) -> str:
        """The kind, if the model tells kinds apart, of an item that is looked at by itself: an unknown one is refused."""
        if self.model.kinds:
            self.model.require(item.kind)
        return self.model.known(item.kind)

    def _bands(self, opened: Sequence[Opened | str], films: Films) -> np.ndarray:
        """(n, bands, *grid) float32: the maps that are combined, those of all readings one after the other."""
        size = self.model.shape[1:]
        with torch.no_grad():
            bands = [self.model.space.bands(r.of.map(films[r.walk], r.settings), size) for r in self.asked.mapped]
            return _spread(opened, torch.cat(bands, dim=1).float().cpu().numpy())

    def _maps(self, opened: Sequence[Opened | str], films: Films, mapped: Sequence[Reading]) -> np.ndarray:
        """(n, height, width) float32: the mean over readings with a map."""
        with torch.no_grad():
            maps = [self.model.space.map_back(r.of.map(films[r.walk], r.settings), self.model.shape[1:]) for r in mapped]
            back = self.model.returned(torch.stack(maps).mean(0).float().cpu(), self._items(_read(opened)))
            return _spread(opened, back.numpy())

    def _open(self, item: Item) -> Opened | str:
        """The item as tensors, or in words why not. Of one of no known kind there is nothing to ask: it has no numbers."""
        try:
            opened = self.model.modality.open(item)
        except ItemError as error:
            return str(error)
        return replace(opened, values=np.full_like(opened.values, np.nan)) if self.model.kinds and not self.model.known(item.kind) else opened

    def _films(self, opened: Sequence[Opened], kinds: Sequence[str]) -> Films:
        """One trajectory for each different walk of the recipe, over a full padded chunk; ``kinds`` has one for each item."""
        with torch.no_grad():
            return self._asked(self._items(opened), kinds)

    def _asked(self, chunk: Tensor, kinds: Sequence[str], corners: Sequence[tuple[int, int]] = ()) -> Films:
        """The same over a full chunk of values, which are tiles where corners are given."""
        elements = self.model.encode(chunk)
        return {walk: self._film(walk, elements, kinds, corners) for walk in self.asked.plan}

    def about(self, elements: Tensor, kinds: Sequence[str] = ()) -> Films:
        """What the model answers about elements of its space, (n, *shape) with n no more than a chunk, each of its kind: one trajectory for each walk."""
        whole = torch.zeros(self.model.chunk, *elements.shape[1:])
        whole[: len(elements)] = elements
        with torch.no_grad():
            return {walk: self._film(walk, whole, kinds, ()).select(slice(len(elements))) for walk in self.asked.plan}

    def _items(self, opened: Sequence[Opened]) -> Tensor:
        """A full chunk of items, zeros behind the last."""
        items = torch.zeros(self.model.chunk, *self.model.modality.shape)
        for i, one in enumerate(opened):
            items[i] = _values(one)
        return items

    def _film(self, walk: Any, elements: Tensor, kinds: Sequence[str], corners: Sequence[tuple[int, int]]) -> Trajectory:
        """The denoiser of each kind is asked about the whole chunk, and each item's answers are those of its own kind: no bit moves by company."""
        provenance = {"model": self.model.name, "fingerprint": self.model.fingerprint}
        other = next(filter(None, kinds), next(iter(self.model.kinds), ""))  # whatever is asked about rows that say nothing
        padded = [self.model.given(kind or other) for kind in [*kinds, *[""] * (len(elements) - len(kinds))]]
        asked = list(dict.fromkeys(padded))
        settled = [Settled(one, self.model.space, self.model.shape[1:], corners) for one in asked]
        films = [walk(one, elements, self.asked.probes(walk), provenance) for one in settled]
        return films[0] if len(films) == 1 else Trajectory.woven(films, [asked.index(one) for one in padded])

    @cached_property
    def columns(self) -> dict[str, Reading]:
        """Names of the columns with the reading behind each; a vector's are numbered from 1."""
        if self.mosaic is not None:
            return {reading.label: reading for reading in self.asked.readings}
        films, named = self._films([], []), {}
        with torch.no_grad():
            for reading in self.asked.readings:
                wide = reading.of.numbers(films[reading.walk], reading.settings).shape[1]
                named |= dict.fromkeys(reading.columns(wide), reading)
        return named


def _values(one: Opened) -> Tensor:
    return torch.nan_to_num(torch.from_numpy(one.values))


def _read(opened: Sequence[Opened | str]) -> list[Opened]:
    return [one for one in opened if isinstance(one, Opened)]


def _spread(opened: Sequence[Opened | str], values: np.ndarray) -> np.ndarray:
    """What was found of the items that were read, one row for each item; NaN for one that was not read or is not finite."""
    read = np.array([isinstance(one, Opened) for one in opened], dtype=bool)
    rows = np.full((len(opened), *values.shape[1:]), np.nan, dtype=values.dtype)
    rows[read] = values[: read.sum()]
    rows[[isinstance(one, Opened) and not np.isfinite(one.values).all() for one in opened]] = np.nan
    return rows
