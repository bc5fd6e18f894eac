"""A model: a denoiser with its space, the settings of its modality, its chunk size and the fingerprints of what it saw."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from . import registry
from .denoiser import Denoiser, StoredDenoiser
from .errors import InvalidSetting, UnknownKind
from .kinds import Kinds
from .modalities import Modality
from .spaces import Space
from .spaces.pixels import Pixels
from .steps import Step

#: items that the denoiser is asked about at once; always this many, so that a score does not depend on its company
CHUNK = 32


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
    """

    denoiser: Denoiser
    modality: Modality
    space: Space = field(default_factory=Pixels)
    chunk: int = CHUNK
    seen: frozenset[str] = field(default=frozenset(), repr=False)
    name: str = "model"
    notes: Mapping[str, str] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()

    def __post_init__(self) -> None:
        if self.chunk < 16 or self.chunk % 16:
            raise InvalidSetting(f"a chunk is a multiple of 16 items: kernels round the ragged edge of others by place; got {self.chunk}")

    def config(self) -> dict[str, Any]:
        """What identifies the model beside its tensors, as plain data."""
        kind = registry.name_of("denoisers", type(self.stored))
        plain = {"network": kind, "denoiser": self.stored.config(), "modality": self.modality.config(), "space": self.space.config(), "chunk": self.chunk}
        return plain | ({"steps": [step.config() for step in self.steps]} if self.steps else {})

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
            known = f"knows {', '.join(self.kinds)}; name one of them (--kind, or Items.of_kind)" if self.kinds else "tells no kinds apart; leave it out"
            raise UnknownKind(f"the item is said to be {asked}, and the model {self.name!r} {known}")

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

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of the settings and every bit of the tensors. What the model is called does not enter."""
        made = hashlib.sha256(json.dumps(self.config(), sort_keys=True).encode())
        for name, tensor in sorted((name.removeprefix("denoiser."), tensor) for name, tensor in self.tensors().items()):
            made.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            made.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return made.hexdigest()

    def untrained(self, seed: int = 0) -> Model:
        """The control: this model with a denoiser of the same kind and size that has learned nothing, see :meth:`StoredDenoiser.untrained`.

        It has seen no item, so whatever is known to be good may calibrate it.

        Raises:
            InvalidSetting: the denoiser cannot be kept.
        """
        return replace(self, denoiser=self.stored.untrained(seed), seen=frozenset(), name=f"{self.name}, untrained", notes={})

    @property
    def stored(self) -> StoredDenoiser:
        """The denoiser, as one that can be kept.

        Raises:
            InvalidSetting: it cannot be.
        """
        if not isinstance(self.denoiser, StoredDenoiser):
            raise InvalidSetting(f"a {type(self.denoiser).__name__} cannot be identified or kept; make it a StoredDenoiser, with tensors() and made_of()")
        return self.denoiser
