"""Disagreement: how differently the model answers when the same item is shown in several ways."""

import itertools

import torch
from jaxtyping import Float
from torch import Tensor

from ..trajectory import Trajectory
from . import statistic


@statistic(tail="upper", says="is answered differently each time it is shown", per_element=True, draws=2, world="modes")
def disagreement(trajectory: Trajectory) -> Float[Tensor, "n *shape"]:
    """How differently the model answers when it is shown one item several times: the variance of the answers at a level, per element.

    mean over levels of 1 / (r - 1) sum over its r looks of (x0_j - mean x0)^2; looks in a row at one level are repeats. With other noise each time
    (Renoise) it is how unsure the model is; mirrored and shifted (Turned) it is how little it keeps what turning should not change. Its number is the mean
    over elements.

    Seeds differ for good samples of a rich world too: compare with references, not with 0.

    Walks: Renoise with two repeats or more, Turned. Shape: (n, *shape). Unit: squared element. Sign: larger is stranger.

    >>> from diffident.denoiser import GaussianMixture
    >>> from diffident.levels import exploding
    >>> from diffident.walks import Renoise
    >>> modes = GaussianMixture(torch.tensor([[-1.0], [1.0]]), torch.tensor([0.01, 0.01]))
    >>> film = Renoise(exploding([0.2]), repeats=8)(modes, torch.tensor([[1.0], [0.0]]))
    >>> disagreement.numbers(film).argmax().item()
    1

    Source: De Vita & Belagiannis 2025 (2412.00205), with noise that all items share; GEPC for mirrored and shifted.
    """
    levels = list(zip(trajectory.alpha.tolist(), trajectory.sigma.tolist(), strict=True))
    runs = [len(list(run)) for _, run in itertools.groupby(levels)]
    return torch.stack([_variance(part) for part in trajectory.denoised.split(runs)]).mean(0)


def _variance(of: Tensor) -> Tensor:
    return (of - of.mean(0)).square().sum(0) / max(len(of) - 1, 1)
