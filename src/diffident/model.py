"""A model: a denoiser with its space, the settings of its modality, its chunk size and the fingerprints of what it saw."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from .denoiser import Denoiser, Empirical, GaussianMixture
from .errors import InvalidSetting
from .modalities import Modality
from .spaces import Space
from .spaces.pixels import Pixels

#: items that the denoiser is asked about at once; always this many, so that a score does not depend on its company
CHUNK = 32


@dataclass(frozen=True)
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
    """

    denoiser: Denoiser
    modality: Modality
    space: Space = field(default_factory=Pixels)
    chunk: int = CHUNK
    seen: frozenset[str] = frozenset()
    name: str = "model"
    notes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.chunk < 2:
            raise InvalidSetting(f"a chunk holds two items or more, since kernels treat a single one differently; got {self.chunk}")

    def config(self) -> dict[str, Any]:
        """What identifies the model beside its tensors, as plain data."""
        space = type(self.space).__name__.lower()
        return {"network": network_of(self.denoiser), "modality": self.modality.config(), "space": space, "chunk": self.chunk}

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of the settings and every bit of the tensors. What the model is called does not enter."""
        made = hashlib.sha256(json.dumps(self.config(), sort_keys=True).encode())
        for name, tensor in sorted(tensors_of(self.denoiser).items()):
            made.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            made.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return made.hexdigest()


def network_of(denoiser: Denoiser) -> str:
    """The kind of denoiser, by the name under which it is stored.

    Raises:
        InvalidSetting: a kind that cannot be stored.
    """
    for name, kind in _KINDS.items():
        if type(denoiser) is kind:
            return name
    raise InvalidSetting(f"a {type(denoiser).__name__} cannot be identified or stored; a model is made of one of: {', '.join(_KINDS)}")


def tensors_of(denoiser: Denoiser) -> dict[str, Tensor]:
    """The tensors from which :func:`denoiser_from` makes the same denoiser again."""
    if isinstance(denoiser, Empirical):
        return {"items": denoiser.items}
    if isinstance(denoiser, GaussianMixture):
        return {"means": denoiser.means.reshape(-1, *denoiser.shape), "covariances": denoiser.covariances, "weights": denoiser.weights}
    raise InvalidSetting(f"a {network_of(denoiser)} has no tensors to store")


def denoiser_from(network: str, tensors: Mapping[str, Tensor]) -> Denoiser:
    """The denoiser of that kind made of stored tensors.

    Raises:
        InvalidSetting: a kind that this version does not know.
    """
    if network not in _KINDS:
        raise InvalidSetting(f"no network called {network!r}; there are: {', '.join(_KINDS)}")
    return _KINDS[network](**tensors)


_KINDS: dict[str, type] = {"empirical": Empirical, "mixture": GaussianMixture}
