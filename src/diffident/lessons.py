"""What a model is made of, learned part by part: its steps, its space, its denoiser."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from . import noise, optimise, registry
from .denoiser import StoredDenoiser
from .errors import InvalidSetting, TooFewItems
from .hardware import precision as settled_precision
from .kinds import Kinds
from .model import CHUNK
from .networks.frozen import TIMM, kind_of
from .networks.of_timm import Timm
from .optimise import Record
from .precondition import Learned
from .recipes import Recipe
from .settings import EXACT, OWN, PLACELESS, Training
from .spaces import Space, space_from
from .steps import Step, chosen
from .variations import AUTO, harmless, varied
from .weights import BUNDLED, read

#: Of the items to learn from so many, one in twenty and at most so many, are only watched: the held-out loss is theirs.
WATCHED, MOST_WATCHED = 20, 256


def steps_of(known_good: Tensor, how: Training) -> tuple[Step, ...]:
    """The steps that were asked for, one after the other; ``auto`` takes those that help, decided on these known-good items alone."""
    steps: list[Step] = []
    for name in how.prepare or ():
        found = chosen(known_good, how.seed) if name == AUTO else (registry.find("steps", name).learn(known_good),)  # type: ignore[attr-defined]
        for step in found:
            known_good = step(known_good)
        steps += found
    return tuple(steps)


def lives_in(asked: Recipe, how: Training) -> Space:
    """The space that the recipe or else the settings ask for, before it has learned anything; that of tiles where there are any.

    Raises:
        InvalidSetting: features for a space that has none.
        NotAModel, DamagedModel: a file of weights that cannot be used.
    """
    found = _whole(asked, how)
    return found if how.tile is None else found.tiled(how.tile)


def _whole(asked: Recipe, how: Training) -> Space:
    """The space for items that are not cut into tiles."""
    config = {"name": how.space, **(asked.housing if asked.space == how.space else {})}
    if how.features in (None, OWN):
        return space_from(config)
    if how.space != "features":
        raise InvalidSetting(
            f"features {how.features!r} (--features) are for models that live in 'features', and this one lives in {how.space!r}; leave one of them out"
        )
    kind, weights = _network(how.features)
    return space_from({**config, "network": kind, **({} if kind in BUNDLED else {"blocks": ()})}, weights)


def _network(features: str) -> tuple[str, dict[str, Tensor] | None]:
    """Kind and weights of the network that features are asked of; None where the weights come with the package."""
    if features in BUNDLED:
        return features, None
    if features.startswith(TIMM):
        return features, Timm(features.removeprefix(TIMM)).tensors()
    weights = read(features)
    return kind_of(weights), weights


def exactly(known_good: Tensor, lives: Space, how: Training, kinds: Sequence[str] = ()) -> StoredDenoiser:
    """The exact denoiser of the items, or of each kind of them by itself.

    Raises:
        TooFewItems: one is no measure of how far items stray.
    """
    if not kinds:
        return _of_one_kind(known_good, lives, how)
    names = sorted(set(kinds))
    return Kinds(names, [_of_one_kind(known_good[[i for i, one in enumerate(kinds) if one == name]], lives, how) for name in names])


def _of_one_kind(known_good: Tensor, lives: Space, how: Training) -> StoredDenoiser:
    """The exact denoiser of the items, and of what they become where nothing tells that from themselves."""
    if len(known_good) < 2 and how.network in ("positions", "pca"):
        raise TooFewItems("cannot learn what is usual, and how far good items stray from it, from 1 readable item; give two or more, better a hundred")
    learn, names, once = EXACT[how.network or ""], how.vary or (), _Once(partial(_elements, lives=lives, how=how))
    if AUTO in names:
        names = harmless(known_good, lambda known: partial(_strange, learn(once(known), lives, how.seed), once), how.seed)
    return learn(once.last(known_good, names), lives, how.seed)


class _Once:
    """What items become in their space, each asked for once: those by which variations are chosen are learned from afterwards.

    Args:
        of: makes elements of items, each by itself.
    """

    def __init__(self, of: Callable[[Tensor], Tensor]) -> None:
        self._of, self._held = of, dict[bytes, Tensor]()

    def __call__(self, items: Tensor) -> Tensor:
        """The elements of some items, which are held from now on."""
        keys = _keys(items)
        found = self._found(keys, items)
        self._held |= zip(keys, found, strict=True)
        return found

    def last(self, items: Tensor, names: Sequence[str]) -> Tensor:
        """The elements of all items, then of all of them changed in each way, a chunk at a time into one place; none is held any more."""
        parts = (varied(part, name) if name else part for name in ("", *names) for part in items.split(CHUNK))
        whole, at = None, 0
        for part in parts:
            keys = _keys(part)
            found = self._found(keys, part)
            for key in keys:
                self._held.pop(key, None)
            whole = found.new_empty(len(items) * (1 + len(names)), *found.shape[1:]) if whole is None else whole
            whole[at : at + len(part)] = found
            at += len(part)
        self._held.clear()
        return torch.empty(0) if whole is None else whole

    def _found(self, keys: Sequence[bytes], items: Tensor) -> Tensor:
        fresh = [i for i, key in enumerate(keys) if key not in self._held]
        made = dict(zip(fresh, self._of(items[fresh]), strict=True)) if fresh else {}
        return torch.stack([made[i] if i in made else self._held[key] for i, key in enumerate(keys)])


def _keys(items: Tensor) -> list[bytes]:
    """What tells items apart: their numbers."""
    return [hashlib.sha256(item.contiguous().numpy().tobytes()).digest() for item in items]


def _elements(items: Tensor, lives: Space, how: Training) -> Tensor:
    """Items in their space; of tiles what is believed where every position is alike: near the edge of a tile surroundings are missing."""
    elements = lives.encode(items)
    return how.tiles.inner(elements) if how.tiles and how.network in PLACELESS else elements


def _strange(denoiser: StoredDenoiser, of: Callable[[Tensor], Tensor], items: Tensor) -> Tensor:
    """How far the strangest place of each item lies from what is usual there, (n,)."""
    parts = (of(part) for part in items.split(CHUNK))
    return torch.cat([(part - denoiser(part, 1.0, 0.3)).square().mean(1).flatten(1).amax(1) for part in parts])


@dataclass
class Descent:
    """Trains networks, and remembers what there is to say about it.

    Attributes:
        how: all settings.
        about: identifies the items, so that a checkpoint of others is refused.
        place: of checkpoints; None keeps none.
        notes: for the model's card.
    """

    how: Training
    about: str
    place: Path | None
    notes: dict[str, str] = field(default_factory=dict)

    def of(self, values: Tensor, kind: str, lives: Space, called: str = "") -> Generator[Record, None, tuple[Learned, float | None, np.ndarray]]:
        """Record by record the denoiser of elements of that space; returns it, its held-out loss, and which items it learned from."""
        watched = _watched(len(values), self.how.seed)
        learns = np.setdiff1d(np.arange(len(values)), watched)
        items = hashlib.sha256(f"{lives.config()} {self.about}".encode()).hexdigest()
        settings, place = self.how.shaped(values.shape[1:], kind), self.place and self.place / called  # of two descents each has its own
        record = yield from _last(optimise.descend(values[learns], values[watched], kind, settings, self.how.schedule, place, items))
        loss = record.held_out if len(watched) else None  # of a handful none is watched
        self.notes |= {"images seen": str(record.images_seen), "loss": f"{record.loss:.4f}", "trained in": settled_precision(self.how.precision)}
        self.notes |= {} if loss is None else {"held-out loss": f"{loss:.4f}, of {len(watched)} items"}
        return record.finished, loss, learns


def _last(records: Generator[Record, None, None]) -> Generator[Record, None, Record]:
    """The same records; returns the last of them."""
    with closing(records):  # whoever stops listening stops the descent at once, which writes where it stands
        latest = next(records)
        yield latest
        for latest in records:
            yield latest
    return latest


def _watched(count: int, seed: int) -> np.ndarray:
    """Which items are only watched, ascending; none of a handful."""
    return np.sort(noise.order(count, "watched", seed)[: min(count // WATCHED, MOST_WATCHED)].numpy())
