"""Trivial: three numbers that anybody can read off an item without a model."""

import torch
from jaxtyping import Float
from torch import Tensor

from ..trajectory import Trajectory
from . import statistic


@statistic(tail="both", says="is unusually bright, contrasty or sharp")
def trivial(trajectory: Trajectory) -> Float[Tensor, "n 3"]:
    """Mean, deviation and Laplacian energy of the item itself: what any model has to beat.

    The energy is the mean of (sum of the two neighbours along each axis, minus as many times the place itself)^2 over places that have all
    their neighbours; an axis of fewer than three places is left out, and it is 0 where none is left.

    On Unasked no model is asked; on other walks the numbers are those of elements: brightness, contrast and sharpness in the space ``pixels`` alone.

    Walks: any that is about items; Unasked costs nothing. Shape: (n, 3). Unit: element, element, squared element. Sign: far from the references
    either way is stranger.

    >>> from diffident.denoiser import Empirical
    >>> from diffident.walks import Unasked
    >>> stripes = torch.tensor([1.0, -1.0]).repeat(2).expand(1, 1, 4, 4)
    >>> trivial(Unasked()(Empirical(stripes), stripes)).tolist()
    [[0.0, 1.0, 16.0]]

    Source: the nulls of ``diffident.evaluate.nulls``; Subbarao et al. 1993 for the energy of the Laplacian.
    """
    items = trajectory.origin.double()
    flat = items.flatten(1)
    mean = flat.mean(1)
    deviation = (flat - mean[:, None]).square().mean(1).sqrt()
    return torch.stack([mean, deviation, _laplacian_energy(items)], dim=1)


def _laplacian_energy(items: Tensor) -> Tensor:
    """(n,) of items (n, channels, *grid) or (n, elements)."""
    axes = [axis for axis in range(2 if items.ndim > 2 else 1, items.ndim) if items.shape[axis] > 2]
    if not axes:
        return torch.zeros(len(items), dtype=items.dtype, device=items.device)

    def inner(x: Tensor, but: int) -> Tensor:
        for axis in axes:
            x = x if axis == but else x.narrow(axis, 1, items.shape[axis] - 2)
        return x

    bent = [inner(items.diff(n=2, dim=axis), axis) for axis in axes]
    return torch.stack(bent).sum(0).square().flatten(1).mean(1)
