"""Where the diffusion lives: pixels, Haar coefficients, features of a frozen network, latents of an autoencoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from .. import noise, registry
from ..denoiser import Denoiser, Level
from ..errors import InvalidSetting


class Space(ABC):
    """Carries items to where the diffusion lives, and maps of strangeness back to where people look.

    Subclasses are frozen dataclasses without hidden state; what happens to one item may not depend on the others.
    """

    #: raised when the same settings give other elements, so that old calibrations are not compared with new scores
    version: ClassVar[int] = 1

    #: whether its network learned from the items themselves
    own: ClassVar[bool] = False

    @abstractmethod
    def encode(self, items: Float[Tensor, "n c *size"]) -> Float[Tensor, "n *shape"]:
        """Items of a modality, in [-1, 1], to elements of the space."""

    @abstractmethod
    def map_back(self, maps: Float[Tensor, "n *shape"], size: tuple[int, ...]) -> Float[Tensor, "n *size"]:
        """A number per element of the space to a number per position of an item of that size; larger stays stranger."""

    def bands(self, maps: Float[Tensor, "n *shape"], size: tuple[int, ...]) -> Float[Tensor, "n bands *grid"]:
        """The same numbers by kind, on a grid of at most 64 places a side: what is calibrated apart, place by place. Larger stays stranger.

        One band, the map itself, unless a space has several kinds of elements.
        """
        return coarse(self.map_back(maps, size)[:, None])

    def kept(self, elements: Float[Tensor, "n *shape"], size: tuple[int, ...]) -> Float[Tensor, "n *shape"]:
        """Elements brought to what items of that size, within [-1, 1], can become: the same where a space knows no bounds."""
        return elements

    def learned(self, items: Float[Tensor, "n c *size"]) -> Space:
        """The space with what it has to learn from known-good items, such as scales; itself if there is nothing."""
        return self

    def suits(self, wanted: str) -> bool:
        """Whether a recipe for models that live in the space of that name may ask one that lives here."""
        return wanted == self.config()["name"]

    @property
    def roomy(self) -> int:
        """Pictures of more pixels a side than this are brought to it, unless a size is asked for."""
        return 64

    def tiled(self, side: int) -> Space:
        """The space for tiles of that side, seen pixel by pixel."""
        return self

    @property
    def groups(self) -> int:
        """In how many equal and independent parts its channels come."""
        return 1

    def config(self) -> dict[str, Any]:
        """The space as plain data for JSON; :func:`space_from` reads it back."""
        return {"name": registry.name_of("spaces", type(self)), **asdict(self)}  # type: ignore[call-overload]

    def identity(self) -> dict[str, Any]:
        """The same, but for where things lie: what tells it from others, beside its tensors."""
        return self.config()

    def tensors(self) -> dict[str, Tensor]:
        """The numbers that it needs beside its settings and that no bundled file holds; they lie in a model's folder."""
        return {}

    def at(self, precision: str) -> Space:
        """The same space with that arithmetic: ``auto``, ``fp32`` or ``bf16``; itself where there is no network to speak of."""
        return self

    @property
    def arithmetic(self) -> str:
        """``fp32``, or ``bf16`` where a network makes use of it."""
        return "fp32"

    def untrained(self, seed: int = 0) -> Space:
        """The control: the same space with networks that have learned nothing; itself where there is none."""
        return self


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
        places: where items are tiles, row and column of the corner of each in the whole, in pixels; there may be more items than places.

    >>> import torch
    >>> from ..denoiser import Empirical
    >>> from .haar import Haar
    >>> white = Haar().encode(torch.ones(1, 1, 2, 2))
    >>> Settled(Empirical(white), Haar(), (2, 2)).kept(1.5 * white).flatten().round(decimals=4).tolist()
    [2.0, 0.0, 0.0, 0.0]
    """

    def __init__(self, inner: Denoiser, space: Space, size: tuple[int, ...], places: Sequence[tuple[int, ...]] = ()) -> None:
        self.inner, self.space, self.size, self.places = inner, space, size, places

    def __call__(self, x_t: Float[Tensor, "n *shape"], alpha: Level, sigma: Level) -> Float[Tensor, "n *shape"]:
        return self.inner(x_t, alpha, sigma)

    def watched(
        self, x_t: Float[Tensor, "n *shape"], alpha: Level, sigma: Level, streams: Sequence[str]
    ) -> tuple[Float[Tensor, "n *shape"], Mapping[str, Tensor]]:
        return self.inner.watched(x_t, alpha, sigma, streams)

    def kept(self, answer: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        return self.space.kept(answer, self.size)

    def drawn(self, items: Float[Tensor, "n *shape"], purpose: str, *numbers: int) -> Float[Tensor, "..."]:
        if not self.places:
            return self.inner.drawn(items, purpose, *numbers)
        shape, whole = tuple(items.shape[1:]), torch.zeros_like(items)
        for i, place in enumerate(self.places):
            origin = [at * side // of for at, side, of in zip(place, shape[1:], self.size, strict=True)]
            whole[i] = noise.field(shape, origin, purpose, *numbers)
        return whole

    def decoded(self, elements: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *item"]:
        if not isinstance(self.space, InvertibleSpace):
            name = self.space.config()["name"]
            raise InvalidSetting(
                f"the space {name!r} keeps no items, and what is asked about is read off the items themselves; use a model that lives in 'pixels'"
            )
        return self.space.decode(elements, self.size)

    def given(self, condition: object) -> Denoiser:
        return Settled(self.inner.given(condition), self.space, self.size, self.places)


#: A grid on which places are calibrated has at most so many a side: a finer one would ask more of the references than it tells.
FINEST = 64


def coarse(maps: Float[Tensor, "n b *grid"]) -> Float[Tensor, "n b *coarse"]:
    """Maps on a grid of at most 64 places a side, each place the mean of what it holds."""
    grid = tuple(min(side, FINEST) for side in maps.shape[2:])
    if grid == tuple(maps.shape[2:]):
        return maps
    pool = torch.nn.functional.adaptive_avg_pool1d if len(grid) == 1 else torch.nn.functional.adaptive_avg_pool2d
    return pool(maps, grid)  # type: ignore[arg-type]


def space_from(config: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None) -> Space:
    """The space that :meth:`Space.config` described, with its :meth:`Space.tensors`.

    Raises:
        UnknownName: no such space.
        InvalidSetting: settings that this space does not have.

    >>> space_from({"name": "pixels"})
    Pixels()
    """
    settings = {key: tuple(value) if isinstance(value, list) else value for key, value in config.items() if key != "name"}
    kept = {"weights": dict(tensors)} if tensors else {}
    try:
        return registry.find("spaces", config["name"])(**settings, **kept)  # type: ignore[operator]
    except TypeError as error:
        raise InvalidSetting(f"the space {config['name']!r} cannot be made of {settings}: {error}") from error
