"""Where the diffusion lives: pixels, Haar coefficients, features of a frozen network, latents of an autoencoder."""

from __future__ import annotations

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor

from .. import registry


class Space(ABC):
    """Carries items to where the diffusion lives, and maps of strangeness back to where people look.

    Subclasses are frozen dataclasses without hidden state; what happens to one item may not depend on the others.
    """

    @abstractmethod
    def encode(self, items: Float[Tensor, "n c *size"]) -> Float[Tensor, "n *shape"]:
        """Items of a modality, in [-1, 1], to elements of the space."""

    @abstractmethod
    def map_back(self, maps: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *size"]:
        """A number per element of the space to a number per position of the item; larger stays stranger."""


class InvertibleSpace(Space):
    """A space from which items come back."""

    @abstractmethod
    def decode(self, elements: Float[Tensor, "n *shape"]) -> Float[Tensor, "n c *size"]:
        """The inverse of :meth:`Space.encode`."""


def space(name: str) -> Space:
    """The registered space of that name.

    >>> space("pixels")
    Pixels()
    """
    return registry.find("spaces", name)()  # type: ignore[operator]
