"""Score error: how wrongly the model sees the noise, weighted by where it changes the picture's structure."""

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import InvalidSetting, WrongShape
from ..trajectory import Trajectory
from . import power_sums, statistic

TRUTHS = ("added", "terminal")
WEIGHTS = ("one-minus-ssim", "noise-ssim", "exp", "none")

#: Deviation of the window in positions, and the two constants of SSIM for items in [-1, 1].
SPREAD, FIRST, SECOND = 1.5, (0.01 * 2) ** 2, (0.03 * 2) ** 2


@statistic(tail="both", says="has its noise seen wrongly in an unusual way")
def score_error(
    trajectory: Trajectory,
    *,
    truth: str = "added",
    weight: str = "one-minus-ssim",
    squared: bool = False,
    window: int = 7,
    powers: tuple[int, ...] = (1, 2, 3),
) -> Float[Tensor, "n powers"]:
    """How wrongly the noise is seen along the way, and how that changes: signed power sums of a weighted error map and of its differences.

    e_i = eps_i - n with eps_i the noise seen at level i and n the truth: the noise that was ``added``, (x_i - alpha_i x0) / sigma_i, or the
    ``terminal`` one, eps_L, in which a path to noise ends. m_i = W_i e_i (``squared``: W_i e_i^2), d_i = (m_{i+1} - m_i) L with L
    the number of levels; sums over levels and elements of m, m^2, m^3, d, d^2, d^3.

    W_i = 1 - SSIM(x0, x0hat_i) (``one-minus-ssim``), 1 - SSIM(n, eps_i) (``noise-ssim``), exp(-SSIM(x0, x0hat_i)) (``exp``) or 1 (``none``), with x0hat_i
    the answer within [-1, 1]. SSIM at a place is that of a Gaussian window of deviation 1.5 and ``window`` places a side, channel by channel; at
    borders what of the window lies inside counts.

    A score error is large where an item is busy, whatever the model: put an untrained control beside it. The sums grow with the
    number of elements: never mix sizes.

    Walks: Forward (``added``), Encode (``terminal``), with two levels or more. Shape: (n, 2 powers). Unit: none. Sign: far from the references
    either way is stranger.

    Raises: InvalidSetting for an unknown truth or weight or an even window; WrongShape for one level.

    >>> from diffident.denoiser import GaussianMixture
    >>> from diffident.walks import Forward
    >>> film = Forward()(GaussianMixture(torch.zeros(1, 1, 8, 8), torch.ones(1)), torch.stack([torch.zeros(1, 8, 8), torch.full((1, 8, 8), 3.0)]))
    >>> sums = score_error(film, {"weight": "none"})
    >>> tuple(sums.shape), bool(sums[1, 1] > sums[0, 1])
    ((2, 6), True)

    Source: after the abstract and accounts of DiffPathV2 (2507.22692), whose formulas are not public: every choice is a setting; SSIM of Wang et al. 2004.
    """
    if truth not in TRUTHS or weight not in WEIGHTS or window < 1 or window % 2 == 0:
        raise InvalidSetting(
            f"a score error has a truth of {', '.join(TRUTHS)}, a weight of {', '.join(WEIGHTS)} and an odd window; got {truth!r}, {weight!r} and {window}"
        )
    if len(trajectory) < 2:
        raise WrongShape("a score error and its change need two levels or more; this walk has one")
    seen = trajectory.eps
    noise = (seen + _column(trajectory.alpha / trajectory.sigma, seen) * (trajectory.denoised - trajectory.origin)) if truth == "added" else seen[-1:]
    error = (seen - noise).double()
    errors = _weights(trajectory, noise.expand_as(seen), weight, window) * (error.square() if squared else error)
    return torch.cat([power_sums(errors, tuple(powers)), power_sums(errors.diff(dim=0) * len(trajectory), tuple(powers))], dim=1)


def _column(of_level: Tensor, like: Tensor) -> Tensor:
    return of_level.to(like).reshape(-1, *[1] * (like.ndim - 1))


def _weights(trajectory: Trajectory, noise: Tensor, weight: str, window: int) -> Tensor:
    """(l, n, *shape), float64."""
    if weight == "none":
        return torch.ones((), dtype=torch.float64)
    if weight == "noise-ssim":
        return 1 - ssim(noise.double(), trajectory.eps.double(), window)
    found = ssim(trajectory.origin.double().expand_as(trajectory.denoised), trajectory.denoised.double().clamp(-1, 1), window)
    return 1 - found if weight == "one-minus-ssim" else torch.exp(-found)


def ssim(one: Tensor, other: Tensor, window: int) -> Tensor:
    """The structural similarity of (l, n, channels, *grid), or (l, n, elements), place by place; 1 where both are the same."""
    first = 3 if one.ndim > 3 else 2  # the axes of the grid

    def local(x: Tensor) -> Tensor:
        for axis in range(first, x.ndim):
            x = (x.movedim(axis, -1) @ _window(x.shape[axis], window, x).T).movedim(-1, axis)
        return x

    mean, mean_other = local(one), local(other)
    spread, spread_other, common = local(one * one) - mean**2, local(other * other) - mean_other**2, local(one * other) - mean * mean_other
    above = (2 * mean * mean_other + FIRST) * (2 * common + SECOND)
    return above / ((mean**2 + mean_other**2 + FIRST) * (spread + spread_other + SECOND))


def _window(side: int, width: int, like: Tensor) -> Tensor:
    """(side, side): what each place takes of each other."""
    place = torch.arange(side, dtype=like.dtype, device=like.device)
    apart = place[:, None] - place[None]
    taken = torch.exp(-0.5 * (apart / SPREAD) ** 2) * (apart.abs() <= width // 2)
    return taken / taken.sum(1, keepdim=True)
