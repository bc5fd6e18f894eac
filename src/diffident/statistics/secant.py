"""Secant: how much of a step along the way the answer follows."""

from jaxtyping import Float
from torch import Tensor

from ..trajectory import Trajectory
from . import statistic

#: Steps shorter than this share of what is shown are rounding.
STILL = 1e-5


@statistic(tail="upper", says="followed every step of its way instead of settling", world="modes")
def secant(trajectory: Trajectory, *, low: float = 0.03, high: float = 0.15) -> Float[Tensor, " n"]:
    """How steeply the answer changes along the way: what it moves when what it is shown moves by one, from look to look.

    mean over neighbouring looks i, j of ||x0_i - x0_j|| / ||y_i - y_j||, y = x / alpha, for looks at ``low`` <= sigma / alpha <= ``high`` from little noise to
    much, two at least: where the window holds fewer, the nearest join. It is the denoiser's Jacobian along the path, without a derivative.

    A good sample follows no more than its own variation; between modes the answer runs ahead of what it is shown. Two looks at one
    and the same x say nothing and count 0, and so does a step from alpha = 0. Dividing by alpha makes the number the same in every
    parametrisation.

    Walks: Sampled, at no cost; Renoise. Shape: (n,). Unit: none. Sign: larger is stranger.

    >>> import torch
    >>> from diffident.denoiser import GaussianMixture
    >>> from diffident.levels import exploding
    >>> from diffident.walks import Renoise
    >>> modes = GaussianMixture(torch.tensor([[-1.0], [1.0]]), torch.tensor([0.01, 0.01]))
    >>> film = Renoise(exploding([0.1]), repeats=4)(modes, torch.tensor([[1.0], [0.0]]))
    >>> secant(film).round(decimals=1).tolist()
    [0.5, 5.0]

    Source: our own; by Miyasawa 1961 the Jacobian is the posterior covariance, which is large between modes.
    """
    film = trajectory.within(low, high)
    shown = film.x.double() / film.alpha.clamp(min=1e-12).to(film.x.device).reshape(-1, *[1] * (film.x.ndim - 1))
    answered, moved = (step.diff(dim=0).flatten(2).norm(dim=2) for step in (film.denoised.double(), shown))
    went = moved > STILL * shown[:-1].flatten(2).norm(dim=2)
    return (answered / moved.where(went, 1.0)).where(went, 0.0).mean(0)
