"""Noise levels as pairs (alpha, sigma) with x_t = alpha x_0 + sigma eps. Nobody else knows what a schedule is.

Both families of the literature are pairs of this kind: variance preserving (alpha^2 + sigma^2 = 1, DDPM) and variance
exploding (alpha = 1, EDM, MSMA); flow matching is (1 - t, t) and starts at alpha = 0, which is why the pair is kept
and not sigma alone. Levels run from little noise to much; :meth:`Levels.reversed` turns them round.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from .errors import InvalidSetting


@dataclass(frozen=True)
class Levels:
    """A finite grid of noise levels; hashable, so that equal walks are known to be equal.

    Attributes:
        alpha: what is left of the item at each level, in [0, 1].
        sigma: standard deviation of the noise at each level, above 0.

    >>> Levels((1.0, 1.0), (0.1, 0.2)).reversed().sigma
    (0.2, 0.1)
    """

    alpha: tuple[float, ...]
    sigma: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.alpha) != len(self.sigma) or not self.alpha:
            raise InvalidSetting(f"levels need as many alphas as sigmas and at least one; got {len(self.alpha)} and {len(self.sigma)}")
        for a, s in self:
            if not (0.0 <= a <= 1.0 and 0.0 < s < math.inf):
                raise InvalidSetting(f"a level needs 0 <= alpha <= 1 and sigma above 0 and finite; got alpha={a}, sigma={s}")

    def __len__(self) -> int:
        return len(self.alpha)

    def __iter__(self) -> Iterator[tuple[float, float]]:
        return iter(zip(self.alpha, self.sigma, strict=True))

    def reversed(self) -> Levels:
        """The same levels in the other direction."""
        return Levels(self.alpha[::-1], self.sigma[::-1])


def preserving(alpha_bar: list[float]) -> Levels:
    """Variance-preserving levels from the cumulative products of DDPM: alpha = sqrt(ab), sigma = sqrt(1 - ab)."""
    return Levels(tuple(math.sqrt(ab) for ab in alpha_bar), tuple(math.sqrt(1.0 - ab) for ab in alpha_bar))


def exploding(sigmas: list[float]) -> Levels:
    """Variance-exploding levels: alpha = 1 throughout."""
    return Levels((1.0,) * len(sigmas), tuple(sigmas))


def angular(noise_to_signal: list[float]) -> Levels:
    """Variance-preserving levels with sigma / alpha as given: the same looks as ``exploding``, in other units.

    >>> levels = angular([1.0])
    >>> round(levels.alpha[0] ** 2 + levels.sigma[0] ** 2, 12)
    1.0
    """
    return Levels(*zip(*((1 / math.hypot(1, r), r / math.hypot(1, r)) for r in noise_to_signal), strict=True))


def geometric(low: float, high: float, steps: int) -> list[float]:
    """``steps`` numbers from ``low`` to ``high`` in equal ratios (the sigmas of MSMA; pass them to ``angular`` or ``exploding``).

    >>> geometric(0.01, 1.0, 3)
    [0.01, 0.1, 1.0]
    """
    if steps < 1 or not 0 < low <= high:
        raise InvalidSetting(f"a geometric grid needs 0 < low <= high and a step or more; got low={low}, high={high}, steps={steps}")
    return [round(low * (high / low) ** (i / max(steps - 1, 1)), 15) for i in range(steps)]


def cosine(steps: int, of: int = 4000) -> Levels:
    """Every ``of/steps``-th level of the cosine schedule, from index 0 (Nichol & Dhariwal 2021; DiffPath uses 10 of 4000).

    ``ab_t`` is the product of ``1 - beta`` with ``beta_t = min(1 - f(t+1)/f(t), 0.999)`` and
    ``f(t) = cos^2((t/of + 0.008) / 1.008 * pi/2)``.

    >>> [round(s, 3) for s in cosine(4).sigma]
    [0.003, 0.391, 0.712, 0.925]
    """
    return preserving(_every(_cosine_bars(of), steps))


def linear(steps: int, of: int = 1000, low: float = 1e-4, high: float = 0.02) -> Levels:
    """Every ``of/steps``-th level of DDPM's linear schedule, from index 0 (Ho et al. 2020).

    >>> [round(s, 3) for s in linear(2).sigma]
    [0.01, 0.96]
    """
    betas = [low + (high - low) * t / max(of - 1, 1) for t in range(of)]
    return preserving(_every(_cumulative(betas), steps))


def scaled_linear(steps: int, of: int = 1000, low: float = 0.0015, high: float = 0.0195) -> Levels:
    """Every ``of/steps``-th level of the schedule whose sqrt(beta) is linear, from index 0 (Rombach et al. 2022).

    >>> [round(s, 3) for s in scaled_linear(2).sigma]
    [0.039, 0.941]
    """
    roots = [low**0.5 + (high**0.5 - low**0.5) * t / max(of - 1, 1) for t in range(of)]
    return preserving(_every(_cumulative([root**2 for root in roots]), steps))


def part(of: Levels, first: int, last: int) -> Levels:
    """The levels of a grid from the ``first`` to the ``last``, both counted from 1 and taken along.

    >>> part(exploding([0.1, 0.2, 0.3]), 2, 3).sigma
    (0.2, 0.3)
    """
    if not 1 <= first <= last <= len(of):
        raise InvalidSetting(f"a part of {len(of)} levels goes from 1 or later to {len(of)} or before; got {first} to {last}")
    return Levels(of.alpha[first - 1 : last], of.sigma[first - 1 : last])


def karras(steps: int, low: float = 0.002, high: float = 80.0, rho: float = 7.0) -> Levels:
    """The grid of EDM, variance exploding, little noise first (Karras et al. 2022, eq. 5).

    >>> karras(2).sigma
    (0.002, 80.0)
    """
    ramp = [i / max(steps - 1, 1) for i in range(steps)]
    roots = low ** (1 / rho), high ** (1 / rho)
    return exploding([round((roots[0] + u * (roots[1] - roots[0])) ** rho, 12) for u in ramp])


def flow(steps: int) -> Levels:
    """Flow matching: alpha = 1 - t, sigma = t with t = 1/steps, ..., 1; the last level is pure noise.

    >>> flow(2)
    Levels(alpha=(0.5, 0.0), sigma=(0.5, 1.0))
    """
    times = [(i + 1) / steps for i in range(steps)]
    return Levels(tuple(1.0 - t for t in times), tuple(times))


def _cosine_bars(of: int) -> list[float]:
    def f(t: int) -> float:
        return math.cos((t / of + 0.008) / 1.008 * math.pi / 2) ** 2

    return _cumulative([min(1 - f(t + 1) / f(t), 0.999) for t in range(of)])


def _cumulative(betas: list[float]) -> list[float]:
    bars, product = [], 1.0
    for beta in betas:
        product *= 1.0 - beta
        bars.append(product)
    return bars


def _every(bars: list[float], steps: int) -> list[float]:
    if not 1 <= steps <= len(bars):
        raise InvalidSetting(f"cannot take {steps} levels of a schedule of {len(bars)}; ask for 1 to {len(bars)}")
    stride = len(bars) // steps
    return bars[: stride * steps : stride]
