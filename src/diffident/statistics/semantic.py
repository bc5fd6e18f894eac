"""Semantic discrepancy: how differently the model's own network sees the item and what it made of it."""

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import WrongShape
from ..probes import Activations
from ..trajectory import Trajectory
from . import statistic

#: The streams of the network that are compared.
STREAMS = ("deepest", "finest")


@statistic(
    tail="upper",
    says="looks different from inside once it is rebuilt",
    probes=tuple(Activations(stream) for stream in STREAMS),
    per_element=True,
    world="sighted",
)
def semantic(trajectory: Trajectory) -> Float[Tensor, "n *shape"]:
    """How differently the model's network sees the item and its reconstruction, position by position.

    mean over streams of 1 - cos(phi(item), phi(reconstruction)), with phi the activations at a position of the deepest and
    of the finest grid, of the last look but one and of the last. Every element under a position of a grid gets its number,
    whatever the channel; a network without a grid gives one number for all.

    It sees what pixels hide: a defect as bright as its surroundings. Trust it where the network has learned what the
    items are made of; with random weights it is a blurred residual. It needs a denoiser with a network.

    Walks: Compare. Shape: (n, *shape). Unit: none, 0 to 2. Sign: larger is stranger.

    >>> import torch
    >>> from diffident.networks import UNet
    >>> from diffident.precondition import Learned
    >>> from diffident.walks import Compare
    >>> model = Learned(UNet(1, widths=(32, 32)), torch.zeros(1, 1, 1), torch.ones(1, 1, 1), "fp32").untrained()
    >>> film = Compare()(model, torch.zeros(2, 1, 8, 8), semantic.probes)
    >>> semantic.map(film).shape, bool((semantic.map(film) > 0).all())
    (torch.Size([2, 1, 8, 8]), True)

    Source: the semantic discrepancy of Chen 2025 (2505.05137), whose formulas are not public; the cosine of Mousakhan et al. 2023 (DDAD,
    2305.15956) on the model's own activations at little noise.
    """
    if len(trajectory) < 2:
        raise WrongShape("a discrepancy needs a look at the item and one at its reconstruction, and this walk has one look; take the walk Compare")
    maps = [_spread(_angle(*trajectory.columns[probe.name][-2:]), trajectory.origin) for probe in semantic.probes]
    return torch.stack(maps).mean(0)


def _angle(one: Tensor, other: Tensor) -> Tensor:
    """1 - cosine over channels of (n, channels, *grid), and exactly 0 where both are the same."""
    one, other = (of / of.norm(dim=1, keepdim=True).clamp(min=1e-12) for of in (one, other))
    return 0.5 * (one - other).square().sum(1)


def _spread(grid: Tensor, origin: Tensor) -> Tensor:
    """(n, *grid) to the elements (n, channels, *size) under its positions."""
    for axis in range(1, grid.ndim):
        grid = grid.index_select(axis, _under(origin.shape[axis + 1], grid.shape[axis]).to(grid.device))
    return grid.to(origin.dtype).reshape(len(grid), 1, *grid.shape[1:], *[1] * (origin.ndim - 1 - grid.ndim)).expand(origin.shape)


def _under(side: int, positions: int) -> Tensor:
    """Which of ``positions`` lies over each of ``side`` elements, (side,).

    Positions are a power of two elements wide, the last may reach beyond; where no such width fits they share the side evenly.
    """
    width = 2 ** max(-(-side // positions) - 1, 0).bit_length()
    return torch.arange(side) // width if -(-side // width) == positions else torch.arange(side) * positions // side
