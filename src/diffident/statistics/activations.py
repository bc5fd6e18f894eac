"""Activations: what the model's own network holds, channel by channel, when it is shown the item."""

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import InvalidSetting
from ..probes import Activations, Probe
from ..trajectory import Trajectory
from . import statistic


def _asks(stream: str = "deepest") -> tuple[Probe, ...]:
    return (Activations(stream),)


@statistic(tail="both", says="looks unlike the known-good from inside", asks=_asks, world="sighted")
def activations(trajectory: Trajectory, *, stream: str = "deepest", cells: int = 1) -> Float[Tensor, "n channels"]:
    """The mean over positions of each channel of one stream of the model's network, then the deviation of each, look after look.

    With ``cells`` above 1 positions are pooled on a coarse grid of so many cells along each axis, and what is given is the mean of each channel in each cell:
    a failure in one corner is not averaged away.

    Of a stream without positions, as a network of rows has them, the channels themselves. A full covariance of all columns with shrinkage
    (the combiners ``gaussian`` and ``fusion``) is what they are for: no channel means anything alone.

    Training pays here, inside the network, more than in its answers; still put the untrained control beside it. It needs a denoiser with a network.

    Walks: Clean told a high level, Renoise at a low one. Shape: (n, 2 channels of each look), or (n, looks channels cells). Unit: none.
    Sign: far from the references either way is stranger.

    >>> from diffident.levels import angular
    >>> from diffident.networks import UNet
    >>> from diffident.precondition import Learned
    >>> from diffident.walks import Clean
    >>> model = Learned(UNet(1, widths=(32, 64)), torch.zeros(1, 1, 1), torch.ones(1, 1, 1), "fp32").untrained()
    >>> activations(Clean(angular([1.0]))(model, torch.zeros(2, 1, 8, 8), activations.probes)).shape
    torch.Size([2, 128])

    Raises: InvalidSetting for less than one cell.

    Source: CFS (2605.11014), for its pooling of hooked blocks at one level.
    """
    if cells < 1:
        raise InvalidSetting(f"activations are pooled on one cell or more along each axis; got cells={cells}")
    (probe,) = _asks(stream)
    held = trajectory.columns[probe.name].transpose(0, 1).double()  # (n, looks, channels, *grid)
    if held.ndim == 3:
        return held.flatten(1)
    if cells > 1:
        return _pooled(held, cells).flatten(1)
    positions = held.flatten(3)
    mean = positions.mean(3)
    deviation = (positions - mean[..., None]).square().mean(3).sqrt()
    return torch.cat([mean, deviation], dim=2).flatten(1)


def _pooled(held: Tensor, cells: int) -> Tensor:
    """(n, looks, channels, *grid) averaged in ``cells`` parts along each axis of the grid; parts share a position where there are fewer."""
    for axis in range(3, held.ndim):
        side = held.shape[axis]
        parts = [(i * side // cells, -(-(i + 1) * side // cells)) for i in range(cells)]
        held = torch.stack([held.narrow(axis, first, last - first).mean(axis) for first, last in parts], axis)
    return held
