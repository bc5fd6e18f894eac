"""A model: a denoiser with its space, the settings of its modality, its chunk size and the fingerprints of what it saw."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .calibration.head import Head
from .data import Item
from .denoiser import Denoiser, StoredDenoiser
from .errors import InvalidSetting, UnknownKind
from .kinds import Kinds
from .modalities import Modality
from .noise import normal
from .spaces import Space
from .spaces.pixels import Pixels
from .steps import Step
from .tiles import Tiles

#: items that the denoiser is asked about at once; always this many, so that a score does not depend on its company
CHUNK = 32

#: Pictures of noise by which the scales of a space that has learned nothing are set.
MEASURED = 16

#: A large item is looked at with at most so many pixels a side.
LOOKED_AT = 1024


@dataclass(frozen=True, eq=False)
class Model:
    """What is asked. Returned by ``train`` and ``load``; taken by Scorer, Detector and Guard.

    Attributes:
        denoiser: answers E[x0 | x_t] in the space.
        modality: how items of the world become tensors.
        space: where the diffusion lives.
        chunk: how many items the denoiser is asked about at once, padded if there are fewer.
        seen: sha256 of the content of every item it was trained on.
        name: for people.
        notes: plain facts for the card: when, on what, by which version.
        steps: what is done to opened items before they enter the space, in this order.
        tiles: in which items are judged, at their own size; None where they are brought to the modality's size and judged whole.
        head: what tells the model's own failures from its good samples, once it was taught (``diffident.train_head``); no part of the fingerprint,
            since no answer depends on it.

    Raises:
        InvalidSetting: a chunk that is no multiple of 16, or tiles of another size than the modality's.
    """

    denoiser: Denoiser
    modality: Modality
    space: Space = field(default_factory=Pixels)
    chunk: int = CHUNK
    seen: frozenset[str] = field(default=frozenset(), repr=False)
    name: str = "model"
    notes: Mapping[str, str] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    tiles: Tiles | None = None
    head: Head | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.chunk < 16 or self.chunk % 16:
            raise InvalidSetting(f"a chunk is a multiple of 16 items: kernels round the ragged edge of others by place; got {self.chunk}")
        if self.tiles is not None and (self.steps or self.modality.shape[1:] != (self.tiles.side,) * 2):
            raise InvalidSetting(
                f"tiles of {self.tiles.side} pixels take a modality of their size and no steps; got {self.modality} and {len(self.steps)} steps"
            )

    def config(self) -> dict[str, Any]:
        """What is needed beside the tensors to make it again, as plain data.

        Raises:
            InvalidSetting: the denoiser or the space cannot be kept.
        """
        return self._plain(self.stored.config(), self.space.config())

    def identity(self) -> dict[str, Any]:
        """What identifies the model beside its tensors, as plain data: the same, but for where things lie."""
        return self._plain(self.stored.identity(), self.space.identity())

    def _plain(self, denoiser: dict[str, Any], space: dict[str, Any]) -> dict[str, Any]:
        plain = {"network": self.stored.kind, "denoiser": denoiser, "modality": self.modality.config(), "space": space, "chunk": self.chunk}
        more = {"steps": [step.config() for step in self.steps]} if self.steps else {}
        return plain | more | ({"tiles": self.tiles.config()} if self.tiles else {}) | ({"versions": self.versions} if self.versions else {})

    @property
    def versions(self) -> dict[str, int]:
        """Of its space and its steps, those that are not the first: part of the fingerprint, so that scores of two versions are not compared."""
        found = {"space": self.space.version} | {f"steps.{i}": step.version for i, step in enumerate(self.steps)}
        return {part: version for part, version in found.items() if version != 1}

    def tensors(self) -> dict[str, torch.Tensor]:
        """Every number of its parts, by part and name."""
        parts = {"denoiser": self.stored.tensors(), "space": self.space.tensors()} | {f"steps.{i}": step.tensors() for i, step in enumerate(self.steps)}
        return {f"{part}.{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of items that it tells apart, by name; none if it tells none apart."""
        return self.denoiser.names if isinstance(self.denoiser, Kinds) else ()

    def given(self, kind: str) -> Denoiser:
        """The denoiser for items of that kind; where kinds are not told apart it is the same for all, and the kind is not looked at.

        Raises:
            UnknownKind: kinds are told apart, and this is none of them.
        """
        if not self.kinds:
            return self.denoiser
        self.require(kind)
        return self.denoiser.given(kind)

    def require(self, kind: str) -> None:
        """Refuse the name of a kind that is not known here.

        Raises:
            UnknownKind: it is not.
        """
        if kind not in self.kinds:
            asked = f"of the kind {kind!r}" if kind else "of no kind"
            known = (
                f"knows {', '.join(self.kinds)}; name one of them (--kind NAME; in Python Items.of_kind)"
                if self.kinds
                else "tells no kinds apart; leave it out"
            )
            raise UnknownKind(f"the item is said to be {asked}, and the model {self.name!r} {known}")

    def known(self, kind: str) -> str:
        """The name of a kind if it is known here; empty otherwise."""
        return kind if kind in self.kinds else ""

    def of_kinds(self, names: Sequence[str]) -> Model:
        """This model for items of several kinds that are calibrated apart: it answers about all of them as it did.

        Raises:
            InvalidSetting: names that are none, it tells kinds apart already, or the denoiser cannot be kept.
        """
        if self.kinds:
            raise InvalidSetting(f"the model {self.name!r} tells kinds apart already: {', '.join(self.kinds)}; take them, or train again")
        return replace(self, denoiser=Kinds(names, (self.stored,)))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of an item when it enters the space, (C, *size): as it was opened, unless a step changes that."""
        shape = self.modality.shape
        for step in self.steps:
            shape = step.shape(shape)  # type: ignore[arg-type]
        return shape

    def encode(self, items: Float[Tensor, "n c *size"]) -> Float[Tensor, "n *shape"]:
        """Opened items to elements of the space, the steps taken on the way."""
        for step in self.steps:
            items = step(items)
        return self.space.encode(items)

    def returned(self, maps: Float[Tensor, "n *size"], items: Float[Tensor, "n c *size"]) -> Float[Tensor, "n *size"]:
        """Maps of items as they entered the space, in the geometry of the items as they were opened."""
        seen = [items]
        for step in self.steps[:-1]:
            seen.append(step(seen[-1]))
        for step, before in zip(reversed(self.steps), reversed(seen), strict=True) if self.steps else ():
            maps = step.map_back(maps, before)
        return maps

    def shown(self, item: Item) -> np.ndarray:
        """Values of an item as people look at it, (C, h, w): as the model takes it, or whole and no more than 1024 a side where it takes tiles.

        Raises:
            ItemError: it cannot be read.
        """
        if self.tiles is None:
            return self.modality.open(item).values
        values = torch.from_numpy(self.modality.whole(item).values)
        scale = min(1.0, LOOKED_AT / max(values.shape[1:]))
        size = [max(1, round(side * scale)) for side in values.shape[1:]]
        return torch.nn.functional.interpolate(values[None], size, mode="bilinear", antialias=True)[0].numpy()

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of the settings and every bit of the tensors. What the model is called does not enter."""
        made = hashlib.sha256(json.dumps(self.identity(), sort_keys=True).encode())
        for name, tensor in sorted((name.removeprefix("denoiser."), tensor) for name, tensor in self.tensors().items()):
            made.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            made.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return made.hexdigest()

    def untrained(self, seed: int = 0) -> Model:
        """The control: this model with a denoiser of the same kind and size that has learned nothing, see :meth:`StoredDenoiser.untrained`.

        A space whose network learned from the items has random weights too, and takes its scales from noise; a network that was trained
        elsewhere stays. It has seen no item, so whatever is known to be good may calibrate it.

        Raises:
            InvalidSetting: the denoiser cannot be kept.
        """
        space = self.space
        if space.own:
            space = space.untrained(seed).learned(normal((MEASURED, *self.shape), "untrained items", seed).clamp(-1, 1))
        return replace(self, denoiser=self.stored.untrained(seed), space=space, seen=frozenset(), name=f"{self.name}, untrained", notes={}, head=None)

    @property
    def precision(self) -> str:
        """Of its arithmetic, ``bf16`` if any part of it makes use of that."""
        return "bf16" if "bf16" in (self.stored.precision, self.space.arithmetic) else "fp32"

    @property
    def stored(self) -> StoredDenoiser:
        """The denoiser, as one that can be kept.

        Raises:
            InvalidSetting: it cannot be.
        """
        if not isinstance(self.denoiser, StoredDenoiser):
            raise InvalidSetting(f"a {type(self.denoiser).__name__} cannot be identified or kept; make it a StoredDenoiser, with tensors() and made_of()")
        return self.denoiser
