"""Model + recipe -> scores. Chunking attaches here and to nothing else.

The denoiser only ever sees chunks of one size, padded where there are fewer items: convolution and matrix kernels
change their last bits with the batch size, and a score may not depend on its batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .data import Item, Items
from .errors import InvalidSetting, ItemError, NotPerElement
from .modalities import Opened
from .model import Model
from .recipes import Reading, Recipe
from .recipes import recipe as recipe_of
from .scores import Scores
from .trajectory import Trajectory


@dataclass(frozen=True, eq=False)
class Scorer:
    """Asks a model what a recipe wants to know, a chunk at a time.

    Attributes:
        model: what is asked.
        recipe: what is asked of it; a registered name is taken too.

    Raises:
        InvalidSetting: the recipe is for models that live in another space.
    """

    model: Model
    recipe: Recipe | str

    def __post_init__(self) -> None:
        lives = self.model.space.config()["name"]
        if self.asked.space and self.asked.space != lives:
            raise InvalidSetting(f"the recipe {self.asked.name!r} is for models that live in {self.asked.space!r}, and this one lives in {lives!r}")

    @cached_property
    def asked(self) -> Recipe:
        """The recipe itself."""
        return recipe_of(self.recipe)

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
        """The same, a chunk at a time: items and their scores."""
        items = Items.open(source)
        for start in range(0, len(items), self.model.chunk):
            part = items[start : start + self.model.chunk]
            yield part, self._score(part)

    def map(self, item: Any) -> np.ndarray:
        """Where the item is strange: (height, width) float32, larger is stranger; the mean over readings with a map.

        Args:
            item: a path, an array (h, w) or (h, w, channels), or an Item.

        Raises:
            NotPerElement: the recipe has no reading per element.
            ItemError: the item cannot be read.
        """
        mapped = [reading for reading in self.asked.readings if reading.of.per_element]
        if not mapped:
            raise NotPerElement(
                f"the recipe {self.asked.name!r} reads one number per item and has no map; use a recipe with a reading per element, such as 'reconstruction'"
            )
        films = self._films([self.model.modality.open(Items.single(item)[0])])
        with torch.no_grad():
            maps = [self.model.space.map_back(r.of.map(films[r.walk], r.settings), self.model.modality.shape[1:])[0] for r in mapped]
        return torch.stack(maps).mean(0).float().numpy()

    def _score(self, part: Items) -> Scores:
        opened = [self._open(item) for item in part]
        good = [one for one in opened if isinstance(one, Opened)]
        rows = self._rows(good)
        blank = np.full(len(self.columns), np.nan)
        following = iter(rows)
        return Scores(
            names=tuple(item.name for item in part),
            columns=tuple(self.columns),
            values=np.stack([next(following) if isinstance(one, Opened) else blank for one in opened]),
            tails=tuple(reading.of.tail for reading in self.columns.values()),
            says=tuple(reading.of.says for reading in self.columns.values()),
            fingerprint=self.fingerprint,
            digests=tuple(one.digest if isinstance(one, Opened) else "" for one in opened),
            vitals=tuple(one.vitals if isinstance(one, Opened) else {} for one in opened),
            problems=tuple("" if isinstance(one, Opened) else one for one in opened),
        )

    def _open(self, item: Item) -> Opened | str:
        """The item as tensors, or in words why not."""
        try:
            return self.model.modality.open(item)
        except ItemError as error:
            return str(error)

    def _rows(self, opened: list[Opened]) -> np.ndarray:
        """(n, k): the recipe's columns; NaN for an item that is not finite."""
        films = self._films(opened)
        with torch.no_grad():
            values = self.asked.read(films).cpu().numpy()[: len(opened)]
        finite = np.array([np.isfinite(one.values).all() for one in opened], dtype=bool)
        return np.where(finite[:, None], values, np.nan)

    def _films(self, opened: list[Opened]) -> dict[Any, Trajectory]:
        """One trajectory for each different walk of the recipe, over a full padded chunk."""
        items = torch.zeros(self.model.chunk, *self.model.modality.shape)
        for i, one in enumerate(opened):
            items[i] = torch.nan_to_num(torch.from_numpy(one.values))
        with torch.no_grad():
            elements = self.model.space.encode(items)
            return {walk: self._film(walk, elements) for walk in self.asked.plan}

    def _film(self, walk: Any, elements: Tensor) -> Trajectory:
        provenance = {"model": self.model.name, "fingerprint": self.model.fingerprint}
        return walk(self.model.denoiser, elements, self.asked.probes(walk), provenance)

    @cached_property
    def columns(self) -> dict[str, Reading]:
        """Names of the columns with the reading behind each; a vector's are numbered from 1."""
        films, named = self._films([]), {}
        with torch.no_grad():
            for reading in self.asked.readings:
                wide = reading.of.numbers(films[reading.walk], reading.settings).shape[1]
                named |= {reading.label if wide == 1 else f"{reading.label}[{i + 1}]": reading for i in range(wide)}
        return named
