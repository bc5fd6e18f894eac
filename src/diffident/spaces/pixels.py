"""Pixels: the diffusion lives where the items do."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from .. import registry
from . import InvertibleSpace


@registry.registered("spaces", "pixels")
@dataclass(frozen=True)
class Pixels(InvertibleSpace):
    """The identity. A map is averaged over channels.

    >>> import torch
    >>> Pixels().map_back(torch.tensor([[[1.0], [3.0]]]), (1,)).tolist()
    [[2.0]]
    """

    def encode(self, items: Float[Tensor, "n c *size"]) -> Float[Tensor, "n c *size"]:
        return items

    def decode(self, elements: Float[Tensor, "n c *size"], size: tuple[int, ...]) -> Float[Tensor, "n c *size"]:
        return elements

    def map_back(self, maps: Float[Tensor, "n c *size"], size: tuple[int, ...]) -> Float[Tensor, "n *size"]:
        return maps.mean(dim=1)
