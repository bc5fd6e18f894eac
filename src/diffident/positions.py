"""The exact denoiser of a Gaussian at each position: what PaDiM measures is its score, what PCA leaves over its residual."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from . import registry
from .denoiser import Level, StoredDenoiser, per_item
from .errors import InvalidSetting, WrongShape
from .noise import normal

#: Axes of a Gaussian that are kept at each position, the rest being of one variance.
RANK = 64

#: How far a position's covariance is drawn to the mean covariance of all positions.
SHRINKAGE = 0.1


@registry.registered("denoisers", "positions")
class Positions(StoredDenoiser):
    """At each position of a grid the channels are Gaussian, independent of other positions: E[x0 | x_t] in closed form.

    With mean m and covariance C at a position, C = U diag(v - r) U' + r I (k axes U of variances v, the rest r), the
    answer is ``m + alpha C (alpha^2 C + sigma^2 I)^-1 (x_t - alpha m)``. The residual of a clean item told sigma is
    ``sum_j [sigma^2 / (v_j + sigma^2)]^2 (u_j' (x - m))^2``: sigma^4 times the squared norm of the score. Mahalanobis' distance,
    which PaDiM takes, weights by 1 / v_j instead; both are read off the same answers.

    Channels may come in ``groups`` that are independent of each other, such as the same features at several input sizes.

    Args:
        means: (channels, *grid).
        axes: (groups, positions, k, channels / groups), orthonormal rows; float16 or float32.
        variances: (groups, positions, k), positive, of the axes.
        rest: (groups, positions), of all other directions.

    Raises:
        WrongShape: the parts do not fit together.

    Source: Defard et al. 2021 (PaDiM, 2011.08785) for a Gaussian per position; Tipping and Bishop 1999 for axes and a rest.

    >>> items = torch.randn(200, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    >>> Positions.fitted(items)(100 * torch.ones(1, 2, 3, 3), 1.0, 1e-3).round().unique().tolist()
    [100.0]
    """

    def __init__(self, means: Float[Tensor, "c *grid"], axes: Float[Tensor, "g p k d"], variances: Float[Tensor, "g p k"], rest: Float[Tensor, "g p"]) -> None:
        (groups, positions, kept, deep), grid = axes.shape, means.shape[1:]
        if means.shape[0] != groups * deep or positions != math.prod(grid) or variances.shape != axes.shape[:3] or rest.shape != axes.shape[:2]:
            raise WrongShape(
                f"Gaussians at {tuple(grid)} positions of {means.shape[0]} channels need axes (groups, {math.prod(grid)}, k, channels / groups), their "
                f"variances and the rest's; got {tuple(axes.shape)}, {tuple(variances.shape)} and {tuple(rest.shape)}"
            )
        self.means, self.axes, self.variances, self.rest = means, axes, variances, rest
        self._means = means.reshape(groups, deep, positions).permute(0, 2, 1).unsqueeze(2).float().contiguous()  # (g, p, 1, d)
        # matrix kernels round a ragged edge by the row's place in the batch
        wide = torch.nn.functional.pad(axes.float(), (0, -deep % 16, 0, -kept % 16)).flatten(0, 1)
        self._axes, self._turned = wide, wide.transpose(1, 2)  # (g p, k', d') and its transpose

    @classmethod
    def fitted(cls, items: Float[Tensor, "n c *grid"], groups: int = 1, rank: int = RANK, shrinkage: float = SHRINKAGE) -> Positions:
        """The Gaussians of known-good items: mean and covariance at each position, the largest axes kept.

        Args:
            items: two or more.
            groups: in how many independent parts the channels come.
            rank: axes kept at each position; all other directions get their mean variance.
            shrinkage: from 0, each position by itself, to 1, one covariance for all of them.

        Raises:
            WrongShape: fewer than two items, or channels that cannot be parted so.
            InvalidSetting: a rank below 1, or shrinkage outside [0, 1].
        """
        n, channels = items.shape[:2]
        if n < 2 or channels % groups:
            raise WrongShape(f"Gaussians need two items or more and channels in equal groups; got {n} items and {channels} channels in {groups} groups")
        if rank < 1 or not 0 <= shrinkage <= 1:
            raise InvalidSetting(f"a Gaussian keeps 1 axis or more and shrinks by 0 to 1; got rank={rank}, shrinkage={shrinkage:g}")
        means = items.double().mean(0).float()
        off = (items - means).reshape(n, channels, -1)
        parts = [_principal(part, rank, shrinkage) for part in off.chunk(groups, dim=1)]
        axes, variances, rest = (torch.stack(of) for of in zip(*parts, strict=True))
        return cls(means, axes.half(), variances, rest)

    def flat(self) -> Positions:
        """The same axes and next to nothing beside them: told little noise, it answers with the principal components of an item."""
        return Positions(self.means, self.axes, self.variances, self.rest * 0 + 1e-12)

    def __call__(self, x_t: Float[Tensor, "n c *grid"], alpha: Level, sigma: Level) -> Float[Tensor, "n c *grid"]:
        groups, positions, kept, deep = self.axes.shape
        a, s = (per_item(level, x_t)[None, None] for level in (alpha, sigma))  # (1, 1, n, 1)
        seen = x_t.reshape(len(x_t), groups, deep, positions).permute(1, 3, 0, 2)  # (g, p, n, d)
        off = seen - a * self._means
        along = (torch.nn.functional.pad(off, (0, -deep % 16)).flatten(0, 1) @ self._turned).unflatten(0, (groups, positions))[..., :kept]
        rest = _kept(self.rest[..., None, None], a, s)
        more = (_kept(self.variances[:, :, None], a, s) - rest) * along
        back = (torch.nn.functional.pad(more, (0, -kept % 16)).flatten(0, 1) @ self._axes).unflatten(0, (groups, positions))[..., :deep]
        return (self._means + rest * off + back).permute(2, 0, 3, 1).reshape(x_t.shape)

    def kept(self, answer: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        return answer

    def tensors(self) -> dict[str, Tensor]:
        return {"means": self.means, "axes": self.axes, "variances": self.variances, "rest": self.rest}

    @classmethod
    def made_of(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Positions:
        return cls(tensors["means"], tensors["axes"], tensors["variances"], tensors["rest"])

    def untrained(self, seed: int = 0) -> Positions:
        """As many axes in directions drawn at random and a mean drawn for each channel, the same at all positions, of the overall spread."""
        groups, positions, kept, deep = self.axes.shape
        drawn = torch.linalg.qr(normal((groups, deep, kept), "untrained", seed))[0].transpose(1, 2)[:, None]
        channel = self.means.mean() + self.means.std(correction=0) * normal((len(self.means),), "untrained means", seed)
        means = channel.reshape(-1, *[1] * (self.means.ndim - 1)).expand_as(self.means)
        same = (self.variances.mean((1, 2), keepdim=True).expand_as(self.variances), self.rest.mean(1, keepdim=True).expand_as(self.rest))
        return Positions(means.clone(), drawn.expand(groups, positions, kept, deep).to(self.axes), same[0].clone(), same[1].clone())


def _kept(variance: Tensor, a: Tensor, s: Tensor) -> Tensor:
    """What of an offset along a direction of that variance is believed."""
    return a * variance / (a.square() * variance + s.square())


def _principal(off: Tensor, rank: int, shrinkage: float) -> tuple[Tensor, Tensor, Tensor]:
    """Axes (p, k, d), their variances (p, k) and the rest's (p,) of offsets from the mean, (n, d, p)."""
    n, deep, _ = off.shape
    if deep > 4 * n and not shrinkage:  # whole pictures: the items span all there is
        return _spanned(off, min(rank, n - 1))
    at = off.permute(2, 0, 1)
    covariances = at.transpose(1, 2) @ at / n
    shrunk = (1 - shrinkage) * covariances + shrinkage * covariances.mean(0)
    values, vectors = torch.linalg.eigh(shrunk)
    return _parted(values.clamp(min=0).flip(1), vectors.flip(2).transpose(1, 2), min(rank, deep))


def _spanned(off: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    at, deep = off.permute(2, 0, 1), off.shape[1]
    _, lengths, rows = torch.linalg.svd(at, full_matrices=False)
    values = torch.nn.functional.pad(lengths.square() / len(off), (0, deep - lengths.shape[1]))
    return _parted(values, rows, rank)


def _parted(values: Tensor, rows: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """The first ``rank`` of all axes in falling order of variance, and the mean variance of the others, which is never quite nothing."""
    least = 1e-5 * values.mean(1, keepdim=True).clamp(min=1e-12)
    rest = values[:, rank:].mean(1) if values.shape[1] > rank else values[:, -1]
    return rows[:, :rank].contiguous(), values[:, :rank].clamp(min=least), rest.clamp(min=least[:, 0])
