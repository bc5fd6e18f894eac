"""The record that a walk leaves: what the denoiser was shown and what it answered, level by level.

From here onward no line of code knows whether the item was photographed or generated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from .errors import InvalidSetting, WrongShape


@dataclass(frozen=True, eq=False)
class Look:
    """One question and its answer: ``denoised`` = E[x0 | x_t = x] at (alpha, sigma); tensors are (n, *shape)."""

    alpha: float
    sigma: float
    x: Tensor
    denoised: Tensor

    @property
    def eps(self) -> Tensor:
        """The noise that the answer implies, (n, *shape)."""
        return (self.x - self.alpha * self.denoised) / self.sigma

    def moved(self, alpha: float, sigma: float) -> Tensor:
        """Where the probability-flow ODE takes x in one first-order step (the deterministic DDIM update)."""
        return alpha * self.denoised + sigma * self.eps


@dataclass(frozen=True, eq=False)
class Trajectory:
    """``n`` items seen at ``l`` levels, in the order in which they were visited.

    Attributes:
        alpha: what was left of the item at each level, (l,) float64.
        sigma: standard deviation of the noise at each level, (l,) float64, above 0.
        x: what the denoiser was shown, (l, n, *shape).
        denoised: what it answered, E[x0 | x_t], (l, n, *shape).
        origin: what the record is about, (n, *shape): the item itself, or the sample that was generated.
        columns: answers of probes by name, each (l, n, ...).
        walk: the walk that left this record.
        provenance: plain facts for people: the model's name, its fingerprint.

    >>> import torch
    >>> look = torch.zeros(3, 2, 1, 4, 4)
    >>> film = Trajectory(torch.ones(3), torch.tensor([0.1, 0.2, 0.3]), look, look, look[0], {}, None)
    >>> len(film), film.items, film.eps.shape == look.shape
    (3, 2, True)
    """

    alpha: Float[Tensor, " levels"]
    sigma: Float[Tensor, " levels"]
    x: Float[Tensor, "levels items *shape"]
    denoised: Float[Tensor, "levels items *shape"]
    origin: Float[Tensor, "items *shape"]
    columns: Mapping[str, Tensor]
    walk: object
    provenance: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        looks, items = self.x.shape[0], self.origin.shape[0]
        fits = self.x.shape == self.denoised.shape == (looks, *self.origin.shape) and self.alpha.shape == self.sigma.shape == (looks,)
        if not fits or any(column.shape[:2] != (looks, items) for column in self.columns.values()):
            shapes = {name: tuple(getattr(self, name).shape) for name in ("alpha", "sigma", "x", "denoised", "origin")}
            columns = {name: tuple(column.shape) for name, column in self.columns.items()}
            raise WrongShape(f"a trajectory of {looks} levels and {items} items does not fit together: {shapes | columns}")

    def __len__(self) -> int:
        """How many levels were visited."""
        return self.x.shape[0]

    @property
    def items(self) -> int:
        """How many items the record holds."""
        return self.origin.shape[0]

    @property
    def eps(self) -> Float[Tensor, "levels items *shape"]:
        """The noise that the answer implies: (x - alpha denoised) / sigma. Minus sigma times the score."""
        return (self.x - self._at(self.alpha) * self.denoised) / self._at(self.sigma)

    @property
    def velocity(self) -> Float[Tensor, "levels items *shape"]:
        """The v-prediction: alpha eps - sigma denoised (Salimans & Ho 2022)."""
        return self._at(self.alpha) * self.eps - self._at(self.sigma) * self.denoised

    def select(self, items: Sequence[int] | Tensor | slice) -> Trajectory:
        """The record of some of the items, in the order given."""
        columns = {name: column[:, items] for name, column in self.columns.items()}
        return replace(self, x=self.x[:, items], denoised=self.denoised[:, items], origin=self.origin[items], columns=columns)

    def until(self, looks: int) -> Trajectory:
        """The record of the first so many looks."""
        columns = {name: column[:looks] for name, column in self.columns.items()}
        return replace(self, alpha=self.alpha[:looks], sigma=self.sigma[:looks], x=self.x[:looks], denoised=self.denoised[:looks], columns=columns)

    @staticmethod
    def of(
        looks: Sequence[Look],
        origin: Tensor,
        walk: object,
        columns: Mapping[str, Tensor] | None = None,
        provenance: Mapping[str, str] | None = None,
    ) -> Trajectory:
        """The record of some looks in the order in which they were taken, about ``origin`` (n, *shape).

        Raises:
            WrongShape: looks, origin and columns do not fit together.

        >>> import torch
        >>> look = Look(0.8, 0.6, torch.zeros(2, 1, 4, 4), torch.ones(2, 1, 4, 4))
        >>> len(Trajectory.of([look, look], look.denoised, None))
        2
        """
        return Trajectory(
            alpha=torch.tensor([look.alpha for look in looks], dtype=torch.float64),
            sigma=torch.tensor([look.sigma for look in looks], dtype=torch.float64),
            x=torch.stack([look.x for look in looks]),
            denoised=torch.stack([look.denoised for look in looks]),
            origin=origin,
            columns=dict(columns or {}),
            walk=walk,
            provenance=dict(provenance or {}),
        )

    @staticmethod
    def woven(films: Sequence[Trajectory], of: Sequence[int]) -> Trajectory:
        """One record of items that several denoisers were asked about on the same walk: item i as the film ``of[i]`` holds it."""
        rows = [[i for i, one in enumerate(of) if one == k] for k in range(len(films))]

        def pick(tensors: Sequence[Tensor]) -> Tensor:
            whole = tensors[0].clone()
            for tensor, mine in zip(tensors, rows, strict=True):
                whole[:, mine] = tensor[:, mine]
            return whole

        columns = {name: pick([film.columns[name] for film in films]) for name in films[0].columns}
        return replace(films[0], x=pick([film.x for film in films]), denoised=pick([film.denoised for film in films]), columns=columns)

    def within(self, low: float, high: float) -> Trajectory:
        """The looks at noise levels sigma / alpha from ``low`` to ``high``, from little noise to much, whichever way they were visited.

        At least two: where the window holds fewer, those nearest to it, as ratios go, join.

        Raises:
            InvalidSetting: not 0 <= low < high.
            WrongShape: the record has a single look.
        """
        if not 0 <= low < high:
            raise InvalidSetting(f"a window of noise levels needs 0 <= low < high; got low={low:g}, high={high:g}")
        if len(self) < 2:
            raise WrongShape("a window of a path holds two looks or more, and this record has one; take a walk with more levels")
        level = (self.sigma / self.alpha).double().log()
        away = torch.maximum(math.log(low) - level if low else torch.full_like(level, -math.inf), level - math.log(high)).clamp(min=0)
        away = torch.where(torch.isnan(away), 0.0, away)  # a level without end in a window without end
        inside = torch.argsort(away, stable=True)[: max(2, int((away == 0).sum()))]
        looks = inside[torch.argsort(level[inside], stable=True)]
        columns = {name: column[looks] for name, column in self.columns.items()}
        return replace(self, alpha=self.alpha[looks], sigma=self.sigma[looks], x=self.x[looks], denoised=self.denoised[looks], columns=columns)

    def _at(self, of_level: Tensor) -> Tensor:
        return of_level.to(self.x.dtype).reshape(-1, *[1] * (self.x.ndim - 1))
