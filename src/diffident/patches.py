"""The exact denoiser of a patch memory: one finite set of vectors, asked at each position. Nearest-neighbour search is its limit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from . import noise, registry
from .denoiser import Empirical, Level, StoredDenoiser
from .errors import InvalidSetting, WrongShape

#: Of all patches of the known-good items this share is kept, and no more than so many.
SHARE, MOST = 0.1, 10_000

#: Distances are compared in so many random directions while patches are chosen.
DIRECTIONS = 64


@registry.registered("denoisers", "patches")
class Patches(StoredDenoiser):
    """Each position's vector, wherever it lies, is one of a finite set: the answer is their mean, weighted by how well each explains it.

    As sigma falls the answer becomes the nearest vector of the set, and the residual the squared distance to it: what
    PatchCore measures. Positions do not matter: a part may lie anywhere, and a thing in the wrong place goes unseen.

    Args:
        bank: (m, channels), the set.

    Raises:
        WrongShape: no vectors.

    Source: Roth et al. 2022 (PatchCore, 2106.08265).

    >>> Patches(torch.tensor([[0.0, 0.0], [1.0, 1.0]]))(torch.tensor([[[0.1, 0.9], [0.0, 1.0]]]), 1.0, 0.1).tolist()
    [[[0.0, 1.0], [0.0, 1.0]]]
    """

    def __init__(self, bank: Float[Tensor, "m d"]) -> None:
        if bank.ndim != 2 or not len(bank):
            raise WrongShape(f"a patch memory is (m, channels) with a vector or more; got {tuple(bank.shape)}")
        self.bank = bank
        self._set = Empirical(bank.float())

    @classmethod
    def fitted(cls, items: Float[Tensor, "n d *grid"], share: float = SHARE, most: int = MOST, seed: int = 0) -> Patches:
        """The memory of known-good items: a coreset of all their positions.

        Args:
            share: of the patches that are kept, at most ``most`` of them.

        Raises:
            InvalidSetting: a share outside (0, 1], or fewer than one vector.
        """
        if not 0 < share <= 1 or most < 1:
            raise InvalidSetting(f"a memory keeps a share from 0 to 1 and a vector or more; got share={share:g}, most={most}")
        patches = items.flatten(2).transpose(1, 2).flatten(0, 1)
        return cls(patches[coreset(patches, min(most, max(1, round(share * len(patches)))), seed)].clone())

    def __call__(self, x_t: Float[Tensor, "n d *grid"], alpha: Level, sigma: Level) -> Float[Tensor, "n d *grid"]:
        levels = [torch.as_tensor(level, dtype=x_t.dtype, device=x_t.device).expand(len(x_t)) for level in (alpha, sigma)]
        answers = [self._one(x, a.item(), s.item()) for x, a, s in zip(x_t.flatten(2), *levels, strict=True)]
        return torch.stack(answers).reshape(x_t.shape)

    def _one(self, x: Tensor, alpha: float, sigma: float) -> Tensor:
        """One item (d, positions), padded to whole rows of 16: an item's bits are its own."""
        rows = torch.nn.functional.pad(x.T, (0, 0, 0, -x.shape[1] % 16))
        return self._set(rows, alpha, sigma)[: x.shape[1]].T

    def kept(self, answer: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        return answer

    def tensors(self) -> dict[str, Tensor]:
        return {"bank": self.bank}

    @classmethod
    def made_of(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Patches:
        return cls(tensors["bank"])

    def untrained(self, seed: int = 0) -> Patches:
        """As many vectors of white noise, of each channel's mean and deviation."""
        drawn = noise.normal(tuple(self.bank.shape), "untrained", seed).to(self.bank)
        return Patches(self.bank.mean(0) + self.bank.std(0, correction=0) * drawn)


def coreset(patches: Float[Tensor, "n d"], count: int, seed: int = 0) -> Tensor:
    """Indices (count,) of vectors that cover all others: each next one is the farthest from those chosen (k-centre greedy).

    Distances are taken in 64 random directions. Source: Sener and Savarese 2018; Roth et al. 2022.

    >>> sorted(coreset(torch.tensor([[0.0], [0.1], [5.0], [5.1], [9.0]]), 3).tolist()) in ([0, 2, 4], [0, 3, 4], [1, 2, 4], [1, 3, 4])
    True
    """
    deep = patches.shape[1]
    seen = patches if deep <= DIRECTIONS else patches @ noise.normal((deep, DIRECTIONS), "coreset", seed).to(patches) / math.sqrt(DIRECTIONS)
    norms, chosen = seen.square().sum(1), [int(noise.order(len(seen), "coreset", seed)[0])]
    apart = torch.full_like(norms, math.inf)
    for _ in range(count - 1):
        last = seen[chosen[-1]]
        apart = torch.minimum(apart, norms + last.square().sum() - 2 * (seen @ last))
        chosen.append(int(apart.argmax()))
    return torch.tensor(chosen)
