"""The exact denoiser of a texture: one Gaussian for all positions, so that no place is special."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from . import registry
from .denoiser import Level, StoredDenoiser
from .noise import normal
from .positions import RANK, Positions


@registry.registered("denoisers", "texture")
class Texture(StoredDenoiser):
    """At every position the channels have the same Gaussian, independent of other positions: E[x0 | x_t] in closed form.

    The answer of :class:`diffident.positions.Positions` with one mean and one covariance for all positions. A tile of a
    large picture may lie anywhere, so what is usual *here* means nothing, and what is usual anywhere is all there is.

    Trust it for surfaces that look alike all over: cloth, cast metal, paper. Of an object it only knows what it is made of.

    Args:
        place: the Gaussian, of one position.

    >>> plain = Texture.fitted(torch.randn(20, 2, 8, 8, generator=torch.Generator().manual_seed(0)))
    >>> plain(100 * torch.ones(1, 2, 3, 5), 1.0, 1e-3).round().unique().tolist()
    [100.0]
    """

    def __init__(self, place: Positions) -> None:
        self.place = place

    @classmethod
    def fitted(cls, items: Float[Tensor, "n c *grid"], groups: int = 1, rank: int = RANK) -> Texture:
        """The Gaussian of all positions of known-good items together.

        Args:
            items: two positions or more.
            groups, rank: see :meth:`Positions.fitted`.

        Raises:
            WrongShape, InvalidSetting: see :meth:`Positions.fitted`.
        """
        return cls(Positions.fitted(_rows(items), groups, rank, shrinkage=0.0))

    def __call__(self, x_t: Float[Tensor, "n c *grid"], alpha: Level, sigma: Level) -> Float[Tensor, "n c *grid"]:
        rows, count = _rows(x_t), x_t[0, 0].numel()
        padded = torch.nn.functional.pad(rows, (0, 0, 0, 0, 0, -len(rows) % 16))  # matrix kernels round a ragged edge by the row's place in the batch
        levels = [_each(level, count, len(padded)) for level in (alpha, sigma)]
        answer = self.place(padded, *levels)[: len(rows), :, 0]
        return answer.reshape(len(x_t), count, -1).transpose(1, 2).reshape(x_t.shape)

    def kept(self, answer: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        return answer

    def tensors(self) -> dict[str, Tensor]:
        return self.place.tensors()

    @classmethod
    def made_of(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Texture:
        return cls(Positions.made_of(config, tensors))

    def untrained(self, seed: int = 0) -> Texture:
        """As many axes in directions drawn at random, and a mean drawn for each channel, of the overall spread."""
        place = self.place.untrained(seed)
        overall = (self.place.means.var(correction=0) + self.place.variances.mean()).sqrt()
        means = self.place.means.mean() + overall * normal(tuple(place.means.shape), "untrained texture", seed)
        return Texture(Positions(means, place.axes, place.variances, place.rest))


def _rows(items: Tensor) -> Tensor:
    """Every position an item of its own, (n positions, c, 1)."""
    return items.flatten(2).transpose(1, 2).flatten(0, 1)[..., None]


def _each(level: Level, count: int, total: int) -> Level:
    """A level for every position, where there is one for every item; those that are filled up have a level of 1."""
    if not isinstance(level, Tensor) or not level.ndim:
        return level
    repeated = level.repeat_interleave(count)
    return torch.nn.functional.pad(repeated, (0, total - len(repeated)), value=1.0)
