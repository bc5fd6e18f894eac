"""Haar: the diffusion lives among wavelet coefficients, a coarse picture and the details that it lacks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from .. import registry
from ..errors import InvalidSetting, WrongShape
from . import InvertibleSpace

#: What becomes of a low and a high element when they are brought back: the first and the second sample of their pair.
Mix = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

HALF = math.sqrt(0.5)


@registry.registered("spaces", "haar")
@dataclass(frozen=True)
class Haar(InvertibleSpace):
    """The orthonormal Haar wavelet transform of each channel: fewer positions, more channels, nothing lost.

    Along an axis the pair (a, b) becomes low (a + b) / sqrt(2) and high (a - b) / sqrt(2). In two dimensions each block
    (a b; c d) gives LL = (a + b + c + d) / 2, LH = (a - b + c - d) / 2, HL = (a + b - c - d) / 2 and HH = (a - b - c + d) / 2;
    a further level does the same to LL. Where a size is odd, the lone last sample enters low as it is, and its high
    partner is an empty place that holds zero.

    All bands lie on the coarsest grid, so that one tensor holds them: items (n, c, h, w) become (n, c 4^levels,
    ceil(h / 2^levels), ceil(w / 2^levels)), and (n, c, length) becomes (n, c 2^levels, ceil(length / 2^levels)). Channels
    are in this order: LL of the last level, then LH, HL, HH of the last level, then those of the level before it, and so
    on. Within a band: by channel of the item, and in the bands of finer levels, of which a cell of the coarsest grid
    holds a square, by row and column in the cell.

    The transform is a rotation: lengths stay, white noise stays white, and a noise level means what it means in pixels.
    Elements do not lie in [-1, 1]: those of LL reach 2^levels. A walk that clips brings them to what pictures can become.

    Trust it where neighbours are alike, as in pictures: a network on half the width and height is about four times
    faster. Sizes that are no multiple of 2^levels work, but empty places are asked about like any other.

    Attributes:
        levels: how often the coarse picture is halved, 1 or more.

    Raises:
        InvalidSetting: fewer than one level.

    >>> Haar().encode(torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])).flatten().round(decimals=4).tolist()
    [0.5, 0.5, 0.5, 0.5]
    >>> Haar(2).encode(torch.zeros(1, 3, 9, 8)).shape
    torch.Size([1, 48, 3, 2])

    Source: Haar, Zur Theorie der orthogonalen Funktionensysteme, 1910; for diffusion Phung, Dao and Tran, CVPR 2023
    (WaveDiff, 2211.16152), there without the orthonormal weights.
    """

    levels: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.levels, int) or self.levels < 1:
            raise InvalidSetting(f"a Haar transform has one level or more, a whole number; got levels={self.levels!r}; for none take the space 'pixels'")

    def encode(self, items: Float[Tensor, "n c *size"]) -> Float[Tensor, "n bands *grid"]:
        low, finer = items, []
        for _ in range(self.levels):
            low, *details = _parted(low)
            finer.append(details)
        blocks = [low]
        for left, details in enumerate(reversed(finer)):
            blocks += [_to_depth(band, low.shape[2:], 2**left) for band in details]
        return torch.cat(blocks, dim=1)

    def decode(self, elements: Float[Tensor, "n bands *grid"], size: tuple[int, ...]) -> Float[Tensor, "n c *size"]:
        """The inverse of :meth:`encode`; what stands in empty places is left out.

        Raises:
            WrongShape: elements of no item of that size.
        """
        return self._joined(elements, size, _values)

    def map_back(self, maps: Float[Tensor, "n bands *grid"], size: tuple[int, ...]) -> Float[Tensor, "n *size"]:
        """Each element's number is spread over the positions that its wavelet touches, in proportion to the wavelet's square
        there: evenly, except where a size is odd. Bands add up, channels are averaged.

        Sums are kept: a map of squared errors has the sum over positions that the same errors have in pixels.

        Raises:
            WrongShape: maps of no item of that size.
        """
        return self._joined(maps, size, _shares).mean(dim=1)

    def _joined(self, elements: Tensor, size: tuple[int, ...], mix: Mix) -> Tensor:
        """The bands brought together again, from the coarsest level to the finest."""
        sizes, many = self._sizes(elements, size), 2 ** len(size)
        channels = elements.shape[1] // many**self.levels
        low, rest = elements.split([channels, elements.shape[1] - channels], dim=1)
        for left in range(self.levels):
            wide = channels * many**left
            *details, rest = rest.split([wide] * (many - 1) + [rest.shape[1] - wide * (many - 1)], dim=1)
            finer, coarser = sizes[self.levels - left - 1], sizes[self.levels - left]
            low = _united([low, *(_from_depth(band, coarser, 2**left) for band in details)], finer, mix)
        return low

    def _sizes(self, elements: Tensor, size: tuple[int, ...]) -> list[tuple[int, ...]]:
        """The size of the coarse picture after each level, from that of the item on."""
        sizes = [tuple(-(-side // 2**level) for side in size) for level in range(self.levels + 1)]
        many = 2 ** (len(size) * self.levels)
        if tuple(elements.shape[2:]) != sizes[-1] or elements.shape[1] % many:
            raise WrongShape(
                f"items of size {size} have elements (n, a multiple of {many}, {', '.join(map(str, sizes[-1]))}) after {self.levels} "
                f"Haar level{'s' if self.levels > 1 else ''}; got {tuple(elements.shape)}; give the size of the items that were encoded"
            )
        return sizes


def _parted(x: Tensor) -> list[Tensor]:
    """One level: the bands of (n, c, *size), low first; of two axes the latter changes faster: LL, LH, HL, HH."""
    bands = [x]
    for axis in range(2, x.ndim):
        bands = [half for band in bands for half in _halves(band, axis)]
    return bands


def _halves(x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    pairs, lone = divmod(x.shape[axis], 2)
    woven, last = x.split([2 * pairs, lone], dim=axis)
    first, second = woven.unflatten(axis, (pairs, 2)).unbind(axis + 1)
    return torch.cat([HALF * (first + second), last], axis), torch.cat([HALF * (first - second), torch.zeros_like(last)], axis)


def _united(bands: list[Tensor], size: Sequence[int], mix: Mix) -> Tensor:
    """The inverse of :func:`_parted`, of items of that size."""
    for axis in reversed(range(2, 2 + len(size))):
        bands = [_woven(low, high, axis, size[axis - 2], mix) for low, high in zip(bands[::2], bands[1::2], strict=True)]
    return bands[0]


def _woven(low: Tensor, high: Tensor, axis: int, side: int, mix: Mix) -> Tensor:
    pairs, lone = divmod(side, 2)
    low, last = low.split([pairs, lone], dim=axis)
    both = mix(low, high.narrow(axis, 0, pairs))
    return torch.cat([torch.stack(both, axis + 1).flatten(axis, axis + 1), last], axis)


def _values(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    return HALF * (low + high), HALF * (low - high)


def _shares(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    half = (low + high) / 2
    return half, half


def _to_depth(band: Tensor, grid: Sequence[int], factor: int) -> Tensor:
    """A band on a coarser grid: (n, c, *size) to (n, c factor^axes, *grid), with zeros where a cell reaches beyond the band."""
    lacking = [side * factor - have for side, have in zip(grid, band.shape[2:], strict=True)]
    padded = torch.nn.functional.pad(band, [end for lack in reversed(lacking) for end in (0, lack)])
    axes = range(len(grid))
    cells = padded.reshape(*band.shape[:2], *(part for side in grid for part in (side, factor)))
    return cells.permute(0, 1, *(3 + 2 * axis for axis in axes), *(2 + 2 * axis for axis in axes)).reshape(len(band), -1, *grid)


def _from_depth(cells: Tensor, size: Sequence[int], factor: int) -> Tensor:
    """The inverse of :func:`_to_depth`, of a band of that size."""
    axes, grid = len(size), cells.shape[2:]
    channels = cells.shape[1] // factor**axes
    apart = cells.reshape(len(cells), channels, *[factor] * axes, *grid)
    order = [place for axis in range(axes) for place in (2 + axes + axis, 2 + axis)]
    padded = apart.permute(0, 1, *order).reshape(len(cells), channels, *(side * factor for side in grid))
    return padded[(..., *(slice(side) for side in size))]
