"""Worlds in which it is known of every sample whether it is a failure: Gaussian modes, models trained on them, samplers.

Not a table of its own: ``benchmarks.introspection`` reads it. ``python -m benchmarks.known_truth`` trains what is wanting, into
``build/introspection``, and prints how often each model and sampler fails.
"""

from __future__ import annotations

import hashlib
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks._common import ROOT
from diffident import levels, noise, optimise, store
from diffident.levels import Levels
from diffident.modalities import Modality
from diffident.modalities.row import DEVIATIONS, Row
from diffident.model import Model
from diffident.optimise import Schedule
from diffident.trajectory import Trajectory
from diffident.walks import Sample

#: What a sample is: as good as a real item, a failure, or between the two and left out.
GOOD, FAILURE, BETWEEN = 0, 1, 2

#: Good within so many deviations of a mode, a failure beyond so many of every mode.
WITHIN, BEYOND = 3.0, 6.0

#: Where trained models are kept, so that nothing is trained twice.
CACHE = ROOT / "build" / "introspection"

#: Noise to signal, in deviations of the data, from which and to which samplers walk.
LOUD, FAINT = 10.0, 0.01


class World(ABC):
    """Real items without end, a model of them, and a verdict on every sample."""

    name: str

    #: The samplers, by solver and steps.
    samplers: Sequence[tuple[str, int]]

    @property
    @abstractmethod
    def lengths(self) -> Mapping[str, int]:
        """By name how many items a training sees, the complete one first."""

    @property
    @abstractmethod
    def modality(self) -> Modality:
        """Items as the model takes them."""

    @property
    @abstractmethod
    def network(self) -> tuple[str, dict[str, Any]]:
        """Kind and settings of the network."""

    @property
    @abstractmethod
    def schedule(self) -> Schedule:
        """How a training descends, but for its length and seed."""

    @abstractmethod
    def learns(self) -> Tensor:
        """The items that models learn from, (n, *shape)."""

    @abstractmethod
    def real(self, n: int, seed: int) -> Tensor:
        """Real items that no model learned from, (n, *shape); of another seed others, as far as there are any."""

    @abstractmethod
    def verdict(self, samples: Tensor) -> np.ndarray:
        """Of each sample, (n, *shape): GOOD, FAILURE or BETWEEN, (n,) int."""

    @property
    def about(self) -> str:
        """What identifies the items learned from, beside the name."""
        return ""

    def model(self, length: str, seed: int = 0) -> Model:
        """The model after a training of that length; trained at the first call, which goes on where an earlier one was interrupted."""
        schedule, (kind, settings) = replace(self.schedule, images_seen=self.lengths[length], seed=seed), self.network
        key = hashlib.sha256(json.dumps([self.name, self.about, repr(schedule), kind, settings]).encode()).hexdigest()[:8]
        place = CACHE / f"{self.name.replace(' ', '-')}-{length}-{seed}-{key}"
        if not place.exists():
            items = self.learns()
            *_, last = optimise.descend(items, items[:0], kind, settings, schedule, place.with_suffix(".training"), key)
            store.save(Model(last.finished, self.modality, name=f"{self.name}, {length}"), place)
        return store.load(place, "fp32")


@dataclass(frozen=True)
class Modes(World):
    """Gaussian modes of equal weight and one deviation.

    Attributes:
        name: for people.
        centres: of the modes, (k, d) as nested tuples.
        deviation: of each mode along each axis.
        shown: how many rows a complete training sees, and one that ends too early.
    """

    name: str
    centres: tuple[tuple[float, ...], ...]
    deviation: float
    shown: tuple[int, int] = (1_000_000, 100_000)

    samplers = tuple((solver, steps) for steps in (10, 50, 1000) for solver in ("ddim", "ddpm"))
    #: How many rows are learned from.
    rows = 100_000

    @property
    def lengths(self) -> Mapping[str, int]:
        return dict(zip(("complete", "under-trained"), self.shown, strict=True))

    @property
    def modality(self) -> Row:
        """The exact mean and deviation of each column, so that all models of a world share one space."""
        centres = np.array(self.centres)
        return Row(tuple(centres.mean(0)), tuple(np.sqrt(centres.var(0) + self.deviation**2)))

    @property
    def network(self) -> tuple[str, dict[str, Any]]:
        return "mlp", {"shape": [1, len(self.centres[0])], "width": 128, "blocks": 2}

    @property
    def schedule(self) -> Schedule:
        return Schedule(batch=512, precision="fp32")

    @property
    def about(self) -> str:
        return f"{self.centres} {self.deviation} {self.rows}"

    def learns(self) -> Tensor:
        return self._drawn(self.rows, 0)

    def real(self, n: int, seed: int) -> Tensor:
        return self._drawn(n, 1 + seed)

    def _drawn(self, n: int, seed: int) -> Tensor:
        """Exact samples, as the model takes them."""
        rng, centres = np.random.default_rng([seed, 25]), np.array(self.centres)
        rows = centres[rng.integers(0, len(centres), n)] + self.deviation * rng.standard_normal((n, centres.shape[1]))
        return torch.from_numpy(((rows - self.modality.mean) / (DEVIATIONS * np.array(self.modality.deviation)))[:, None].astype(np.float32))

    def rows_of(self, samples: Tensor) -> np.ndarray:
        """Samples (n, 1, d) in the units of the modes, (n, d) float64."""
        return np.array(self.modality.mean) + DEVIATIONS * np.array(self.modality.deviation) * samples[:, 0].double().numpy()

    def distance(self, samples: Tensor) -> np.ndarray:
        """From each sample to the nearest mode, in deviations of a mode, (n,)."""
        rows, centres = self.rows_of(samples), np.array(self.centres)
        parts = [np.linalg.norm(part[:, None] - centres[None], axis=2).min(1) for part in np.array_split(rows, max(1, len(rows) // 20_000))]
        return np.concatenate(parts) / self.deviation

    def verdict(self, samples: Tensor) -> np.ndarray:
        far = self.distance(samples)
        return np.where(far <= WITHIN, GOOD, np.where(far > BEYOND, FAILURE, BETWEEN))


def _grid(side: int, degrees: float = 0.0) -> tuple[tuple[float, float], ...]:
    """The corners of a square grid around 0, two apart, turned."""
    turn, half = np.deg2rad(degrees), side - 1
    rotated = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return tuple(tuple(rotated @ (2.0 * i - half, 2.0 * j - half)) for i in range(side) for j in range(side))


#: Those of Aithal et al. 2024, a ring, and a grid whose axes are not the columns'.
MODES: Mapping[str, Modes] = {
    world.name: world
    for world in (
        Modes("25 Gaussians", _grid(5), 0.05, (4_000_000, 600_000)),
        Modes("8 on a ring", tuple((float(np.cos(a)), float(np.sin(a))) for a in np.arange(8) * np.pi / 4), 0.02, (1_500_000, 300_000)),
        Modes("rotated grid", _grid(4, 30.0), 0.05, (2_000_000, 400_000)),
        Modes("modes 1-2-3", ((1.0,), (2.0,), (3.0,)), 0.05),
        Modes("modes 1-2-4-5", ((1.0,), (2.0,), (4.0,), (5.0,)), 0.05),
    )
}


@dataclass(frozen=True)
class Case:
    """One model and one sampler in one world: every figure is within one of these.

    Attributes:
        world, length, seed: which model.
        solver, steps: which sampler.
    """

    world: World
    length: str
    seed: int
    solver: str
    steps: int

    @property
    def name(self) -> str:
        return f"{self.world.name}, {self.length}, {self.solver} {self.steps}" + (f", seed {self.seed}" if self.seed else "")

    @cached_property
    def model(self) -> Model:
        return self.world.model(self.length, self.seed)

    @property
    def unit(self) -> float:
        """The deviation of the data where the model lives: noise levels are told in it."""
        return unit(self.model)

    @property
    def sampler(self) -> Sample:
        """The walk from noise to samples."""
        return sampler(self.solver, self.steps, self.unit)

    def verdict(self, samples: Tensor) -> np.ndarray:
        """Of each sample: GOOD, FAILURE or BETWEEN."""
        return self.world.verdict(samples)


def unit(model: Model) -> float:
    """The deviation of the data where the model lives: root mean square over elements."""
    return float(model.denoiser.deviation.square().mean().sqrt())  # type: ignore[attr-defined]


def sampler(solver: str, steps: int, of: float) -> Sample:
    """A sampler whose levels are spaced as EDM's, told in deviations of the data."""
    return Sample(solver, grid(levels.karras(steps, FAINT * of, LOUD * of)))


def grid(exploding: Levels) -> Levels:
    """The same looks, variance preserving: what starts as standard normal noise."""
    return levels.angular(list(exploding.sigma))


def cases(worlds: Sequence[World], seeds: Sequence[int] = (0,)) -> Iterator[Case]:
    """Every world, length and sampler."""
    for world in worlds:
        for length in world.lengths:
            for seed in seeds:
                for solver, steps in world.samplers:
                    yield Case(world, length, seed, solver, steps)


def generate(model: Model, walk: Sample, n: int, seed: int, chunk: int = 2000) -> Iterator[tuple[Tensor, Trajectory]]:
    """New samples, a chunk at a time: the samples where the model lives, (<= chunk, *shape), and the film of how they came about.

    Chunk after chunk has noise of its own, so that the samples of a seed do not depend on how many are asked for, but on the chunk.
    """
    for number, first in enumerate(range(0, n, chunk)):
        count, own = min(chunk, n - first), replace(walk, seed=1000 * seed + number)
        start = noise.normal((count, *model.shape), "generated", seed, number)
        with torch.no_grad():
            film = own(model.denoiser, start)
        yield film.origin, film


def rates(case: Case, n: int, seed: int = 0) -> dict[str, float]:
    """Shares of good, failed and in-between among so many samples."""
    found = np.concatenate([case.verdict(samples) for samples, _ in generate(case.model, case.sampler, n, seed)])
    return {word: float((found == which).mean()) for word, which in (("good", GOOD), ("failure", FAILURE), ("between", BETWEEN))}


def main() -> None:
    torch.set_num_threads(1)
    for case in cases(tuple(MODES.values())):
        if case.steps > 50:
            continue
        start = time.perf_counter()
        told = ", ".join(f"{word} {share:.2%}" for word, share in rates(case, 10_000).items())
        print(f"{case.name}: {told} ({time.perf_counter() - start:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
