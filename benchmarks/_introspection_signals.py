"""What is read of a generated sample, one line each: of its film, of the model asked once more, of real items, and the controls.

A signal is made for a case, where it may look at real items that no model learned from, and then reads samples and their film a chunk at
a time: one number for each sample, larger is stranger. No signal sees a verdict but the oracle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmarks import _introspection_heads as heads
from benchmarks.known_truth import FAILURE, Case
from diffident.laplace import FEATURES, LaplaceVariance
from diffident.levels import Levels, angular
from diffident.model import Model
from diffident.probes import FEW, Activations
from diffident.statistics import find
from diffident.trajectory import Trajectory
from diffident.walks import Clean, Renoise, Walk

#: Real items that a signal may know, and cells of the finest stream that are averaged, along each side.
BANK, POOL = 2000, 5
#: Neighbours that set the radius of a real item (Kynkaanniemi et al. 2019).
NEIGHBOURS = 3

Read = Callable[[Tensor, Trajectory], np.ndarray]


@dataclass(frozen=True)
class Signal:
    """One column of the table.

    Attributes:
        cost: evaluations of the network for each sample, beyond those that made it; a Jacobian product counts as one.
        make: the reading for a case.
    """

    cost: int
    make: Callable[[Case], Read]


def variance(looks: Callable[[Case, Trajectory], Tensor]) -> Callable[[Case], Read]:
    """Variance of the answers over some looks, averaged over elements (Aithal et al. 2024)."""
    return lambda case: lambda _, film: film.denoised[looks(case, film)].double().var(0, correction=0).flatten(1).mean(1).numpy()


def last(count: int) -> Callable[[Case, Trajectory], Tensor]:
    """The last looks of a film, at least two."""
    return lambda _, film: torch.arange(len(film))[-max(2, count) :]


def share(of: float) -> Callable[[Case, Trajectory], Tensor]:
    """The last looks by their share."""
    return lambda case, film: last(round(of * len(film)))(case, film)


def window(low: float, high: float) -> Callable[[Case, Trajectory], Tensor]:
    """The looks between two noise levels in deviations of the data; where there are fewer than two, the two nearest to its middle."""

    def looks(case: Case, film: Trajectory) -> Tensor:
        ratio = film.sigma / film.alpha / case.unit
        inside = torch.nonzero((ratio >= low) & (ratio <= high)).flatten()
        return inside if len(inside) > 1 else (ratio.log() - np.log(low * high) / 2).abs().argsort()[:2]

    return looks


def way(name: str, low: float = 0.0, high: float = np.inf) -> Callable[[Case], Read]:
    """A statistic of the film between two noise levels in deviations of the data; a two-sided one by its distance from the median of other samples."""
    of = find(name)

    def make(case: Case) -> Read:
        settings = {"low": low * case.unit, "high": high * case.unit} if high < np.inf else {}
        settings |= {"powers": (2,)} if name == "path_curvature" else {}
        if of.tail == "upper":
            return lambda _, film: of.numbers(film, settings).flatten().numpy()
        usual = of.numbers(heads.own(case), settings).median()
        return lambda _, film: (of.numbers(film, settings).flatten() - usual).abs().numpy()

    return make


def shown(told: float, name: str, walk: Callable[[Levels], Walk] = Clean) -> Callable[[Case], Read]:
    """A statistic of the finished sample shown again, and said to be noisy by so many deviations of the data."""

    def make(case: Case) -> Read:
        of, asks = find(name), walk(angular([told * case.unit]))
        elements = case.model.shape[0] * int(np.prod(case.model.shape[1:]))
        settings = {"elements": elements} if name == "posterior_spread" and elements <= FEW else {}

        return lambda samples, _: of.numbers(asks(case.model.denoiser, samples, of.asked(settings)), settings).flatten().numpy()

    return make


def laplace(level: float) -> Callable[[Case], Read]:
    """Variance of the last layer's output, its weights a Gaussian learned from items that trained the model, noised by so many deviations."""

    def make(case: Case) -> Read:
        levels = angular([level * case.unit])
        known, asks = LaplaceVariance.fit(case.model.denoiser, case.world.learns()[:BANK], levels), Renoise(levels)
        return lambda samples, _: known(asks(case.model.denoiser, samples, [FEATURES])).flatten().numpy()

    return make


def activations(told: float, model: Callable[[Case], Model] = lambda case: case.model) -> Callable[[Case], Read]:
    """Mahalanobis distance of the finest stream's activations from those of real items, covariance shrunk (Ledoit and Wolf 2004)."""

    def make(case: Case) -> Read:
        from sklearn.covariance import LedoitWolf

        asked, walk, probe = model(case).denoiser, Clean(angular([told * case.unit])), Activations("finest", POOL)

        def held(items: Tensor) -> np.ndarray:
            parts = [walk(asked, part, [probe]).columns[probe.name][0].flatten(1) for part in items.split(500)]
            return torch.cat(parts).double().numpy()

        with torch.no_grad():
            known = LedoitWolf().fit(held(case.world.real(BANK, 0)))
        return lambda samples, _: known.mahalanobis(held(samples))

    return make


def realism(case: Case) -> Read:
    """Minus the realism of Kynkaanniemi et al. 2019 in plain elements: distance to real items in units of their own neighbourhood.

    Real items whose radius is larger than the median are left out, as there. A ceiling where the verdict is itself a distance.
    """
    bank = case.world.real(BANK, 0).flatten(1).double()
    radius = torch.cdist(bank, bank).kthvalue(NEIGHBOURS + 1).values
    bank, radius = bank[radius <= radius.median()], radius[radius <= radius.median()]
    return lambda samples, _: -(radius / torch.cdist(samples.flatten(1).double(), bank).clamp(min=1e-12)).amax(1).numpy()


def at_random(_: Case) -> Read:
    """Knows nothing."""
    rng = np.random.default_rng(0)
    return lambda samples, _: rng.random(len(samples))


def oracle(case: Case) -> Read:
    """Knows everything."""
    return lambda samples, _: (case.verdict(samples) == FAILURE).astype(float)


#: Windows of noise level, in deviations of the data.
DETAILS, FORMS, WHOLE = (0.03, 0.15), (0.15, 0.6), (0.6, 3.0)

#: What a head reads, as the table calls it, and its evaluations.
READS = {"head": (heads.SHIPPED, 2), "head in deviations": (heads.SCALED, 2), "head in deviations, with spread": (heads.SPREAD, 5)}
#: How it was taught.
TAUGHT = {"not taught": heads.untaught, "own labels": heads.by_itself, "200 labels": heads.with_labels, "200 labels, half chosen": heads.with_chosen}
#: Those that are used unchanged in other cases.
MOVED = {f"{name}, moved": of for name, of in TAUGHT.items() if name != "not taught"}
HEADS = {f"{told}: {how}": Signal(cost, heads.reading(of, what)) for told, (what, cost) in READS.items() for how, of in TAUGHT.items()}
HEADS |= {f"{told}: {how}": Signal(cost, heads.reading(of, what, heads.home)) for told, (what, cost) in READS.items() for how, of in MOVED.items()}

#: Every column of the table. One more is one more line.
SIGNALS: Mapping[str, Signal] = {
    "x0 variance, last 10 looks": Signal(0, variance(last(10))),
    "x0 variance, last 30 % of the steps": Signal(0, variance(share(0.3))),
    "indecision .03 to .15": Signal(0, way("indecision", *DETAILS)),
    "indecision .15 to .6": Signal(0, way("indecision", *FORMS)),
    "indecision .6 to 3": Signal(0, way("indecision", *WHOLE)),
    "secant .03 to .15": Signal(0, way("secant", *DETAILS)),
    "path energy": Signal(0, way("path_energy")),
    "path energy .03 to .15": Signal(0, way("path_energy", *DETAILS)),
    "path curvature": Signal(0, way("path_curvature")),
    "path curvature .03 to .15": Signal(0, way("path_curvature", *DETAILS)),
    "last jump": Signal(0, way("last_jump")),
    "residual, told .1": Signal(1, shown(0.1, "residual")),
    "residual, told .2": Signal(1, shown(0.2, "residual")),
    "residual, noised .1": Signal(1, shown(0.1, "residual", Renoise)),
    "residual, noised .2": Signal(1, shown(0.2, "residual", Renoise)),
    "posterior spread, told .1": Signal(3, shown(0.1, "posterior_spread")),
    "score roughness, told .1": Signal(2, shown(0.1, "score_roughness")),
    "Laplace, noised .1": Signal(1, laplace(0.1)),
    "activations, told .2": Signal(1, activations(0.2)),
    "activations, random weights": Signal(1, activations(0.2, lambda case: case.model.untrained(0))),
    **HEADS,
    "realism": Signal(0, realism),
    "random": Signal(0, at_random),
    "oracle": Signal(0, oracle),
}
