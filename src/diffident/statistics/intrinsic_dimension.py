"""Intrinsic dimension: along how many directions the model lets the item move."""

from jaxtyping import Float
from torch import Tensor

from ..probes import ExactTrace, HutchinsonTrace, Probe
from ..trajectory import Trajectory
from . import statistic


def _asks(draws: int = 8, elements: int = 0) -> tuple[Probe, ...]:
    return (ExactTrace(elements) if elements else HutchinsonTrace(draws),)


@statistic(tail="both", says="has an unusual number of directions in which it could change", asks=_asks, world="modes")
def intrinsic_dimension(trajectory: Trajectory, *, draws: int = 8, elements: int = 0) -> Float[Tensor, "n levels"]:
    """In how many directions the model lets the item vary: the local intrinsic dimension of its data, level by level.

    d + sigma^2 (tr grad s + ||s||^2) with s the score; by Tweedie's formula alpha tr dE[x0|x]/dx + ||eps||^2. The trace is estimated from ``draws`` of
    random signs, or exact where ``elements`` says how many an item has (64 at most).

    As the level falls it tends to the dimension of the manifold on which the item lies, and above all dimensions for one that lies beside it: what
    interpolates between two modes has a dimension of its own. The level sets the scale at which a direction counts.

    Walks: Clean, told a low level. Shape: (n, levels). Unit: directions. Sign: far from the references either way is stranger.

    >>> import torch
    >>> from diffident.denoiser import GaussianMixture
    >>> from diffident.levels import exploding
    >>> from diffident.walks import Clean
    >>> line = GaussianMixture(torch.zeros(1, 2), torch.tensor([[[1.0, 0.0], [0.0, 0.0]]]))
    >>> film = Clean(exploding([0.01]))(line, torch.zeros(1, 2), intrinsic_dimension.asked({"elements": 2}))
    >>> intrinsic_dimension(film, {"elements": 2}).round(decimals=3).tolist()
    [[1.0]]

    Source: Kamkari et al. 2024 (FLIPD, 2406.03537); as a sign of failed samples, 2605.05026.
    """
    (probe,) = _asks(draws, elements)
    pulled = trajectory.eps.double().square().flatten(2).sum(2)
    return (pulled + trajectory.alpha.to(pulled)[:, None] * trajectory.columns[probe.name].double()).T
