"""Where the diffusion lives: pixels, Haar coefficients, features of a frozen network, latents of an autoencoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from jaxtyping import Float
from torch import Tensor

from .. import registry
from ..denoiser import Denoiser, Level
from ..errors import InvalidSetting


class Space(ABC):
    """Carries items to where the diffusion lives, and maps of strangeness back to where people look.

    Subclasses are frozen dataclasses without hidden state; what happens to one item may not depend on the others.
    """

    @abstractmethod
    def encode(self, items: Float[Tensor, "n c *size"]) -> Float[Tensor, "n *shape"]:
        """Items of a modality, in [-1, 1], to elements of the space."""

    @abstractmethod
    def map_back(self, maps: Float[Tensor, "n *shape"], size: tuple[int, ...]) -> Float[Tensor, "n *size"]:
        """A number per element of the space to a number per position of an item of that size; larger stays stranger."""

    def kept(self, elements: Float[Tensor, "n *shape"], size: tuple[int, ...]) -> Float[Tensor, "n *shape"]:
        """Elements brought to what items of that size, within [-1, 1], can become: the same where a space knows no bounds."""
        return elements

    def config(self) -> dict[str, Any]:
        """The space as plain data for JSON; :func:`space_from` reads it back."""
        return {"name": registry.name_of("spaces", type(self)), **asdict(self)}  # type: ignore[call-overload]


class InvertibleSpace(Space):
    """A space from which items come back."""

    @abstractmethod
    def decode(self, elements: Float[Tensor, "n *shape"], size: tuple[int, ...]) -> Float[Tensor, "n c *size"]:
        """The inverse of :meth:`Space.encode`, of items of that size."""

    def kept(self, elements: Float[Tensor, "n *shape"], size: tuple[int, ...]) -> Float[Tensor, "n *shape"]:
        return self.encode(self.decode(elements, size).clamp(-1, 1))


class Settled(Denoiser):
    """A denoiser that knows its space, and so what its answers can be; asked, it answers as it did before.

    Args:
        inner: answers in the space.
        space: where it lives.
        size: of the items that are encoded.

    >>> import torch
    >>> from ..denoiser import Empirical
    >>> from .haar import Haar
    >>> white = Haar().encode(torch.ones(1, 1, 2, 2))
    >>> Settled(Empirical(white), Haar(), (2, 2)).kept(1.5 * white).flatten().round(decimals=4).tolist()
    [2.0, 0.0, 0.0, 0.0]
    """

    def __init__(self, inner: Denoiser, space: Space, size: tuple[int, ...]) -> None:
        self.inner, self.space, self.size = inner, space, size

    def __call__(self, x_t: Float[Tensor, "n *shape"], alpha: Level, sigma: Level) -> Float[Tensor, "n *shape"]:
        return self.inner(x_t, alpha, sigma)

    def watched(
        self, x_t: Float[Tensor, "n *shape"], alpha: Level, sigma: Level, streams: Sequence[str]
    ) -> tuple[Float[Tensor, "n *shape"], Mapping[str, Tensor]]:
        return self.inner.watched(x_t, alpha, sigma, streams)

    def kept(self, answer: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        return self.space.kept(answer, self.size)

    def given(self, condition: object) -> Denoiser:
        return Settled(self.inner.given(condition), self.space, self.size)


def space_from(config: Mapping[str, Any]) -> Space:
    """The space that :meth:`Space.config` described.

    Raises:
        UnknownName: no such space.
        InvalidSetting: settings that this space does not have.

    >>> space_from({"name": "pixels"})
    Pixels()
    """
    settings = {key: value for key, value in config.items() if key != "name"}
    try:
        return registry.find("spaces", config["name"])(**settings)  # type: ignore[operator]
    except TypeError as error:
        raise InvalidSetting(f"the space {config['name']!r} cannot be made of {settings}: {error}") from error
