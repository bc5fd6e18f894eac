"""Training: elements in, a learned denoiser out, record by record; killed at any instant it goes on where it last wrote.

What happens at a step depends on the seed and the step's number alone: which items, which noise, which levels. So a run
that was interrupted ends with the very weights of one that was not, on one machine and in one precision.
"""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from . import checkpoint, noise
from .errors import Diverged, InvalidSetting, TrainingError
from .hardware import precision
from .networks import DTYPES, network, renormalise
from .precondition import Learned, measured, ratios

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Of the learned weights, relative width of the average over the run (Karras et al. 2024, power-function EMA).
EMA_WIDTH = 0.05


@dataclass(frozen=True)
class Schedule:
    """How to descend.

    Attributes:
        images_seen: items shown in all, each counted as often as it is shown.
        batch: items a step.
        rate: of learning, at its highest; relative change of the weights a step.
        clip: gradients longer than this are shortened to it.
        every: seconds between checkpoints, where there is a place for them.
        seed: of weights, order, noise and levels.
        precision: ``auto``, ``fp32`` or ``bf16``.
    """

    images_seen: int = 50_000
    batch: int = 64
    rate: float = 0.04
    clip: float = 1.0
    every: float = 30.0
    seed: int = 0
    precision: str = "auto"

    def __post_init__(self) -> None:
        if self.images_seen < 1 or self.batch < 1 or self.every < 0 or not self.rate > 0 or not self.clip > 0:
            raise InvalidSetting(
                f"training takes one image or more, in batches of one or more, with a rate and a clip above 0; got images_seen={self.images_seen}, "
                f"batch={self.batch}, rate={self.rate:g}, clip={self.clip:g}, every={self.every:g}"
            )
        precision(self.precision)

    @property
    def steps(self) -> int:
        return -(-self.images_seen // self.batch)


@dataclass(frozen=True)
class Record:
    """How training stands after a step.

    Attributes:
        step, steps: done, and in all.
        images_seen: shown so far.
        loss: mean over the last steps; 1 for a network that adds nothing to a Gaussian, smaller is better.
        held_out: loss of the averaged weights on items that are never learned from, with noise of their own; NaN between measurements.
        seconds: since this process began to train, measurements of the held-out loss left out.
        images_per_second: of this process, in those seconds.
        denoiser: the learned one, with the averaged weights; on the last record only.
    """

    step: int
    steps: int
    images_seen: int
    loss: float
    held_out: float
    seconds: float
    images_per_second: float
    denoiser: Learned | None = None

    @property
    def finished(self) -> Learned:
        """The learned denoiser.

        Raises:
            TrainingError: this is not the last record.
        """
        if self.denoiser is None:
            raise TrainingError(f"after {self.step} of {self.steps} steps nothing is finished yet; take the denoiser of the last record")
        return self.denoiser

    @property
    def seconds_left(self) -> float:
        """At the present pace."""
        return (self.steps - self.step) * self.images_seen / max(self.step, 1) / max(self.images_per_second, 1e-9)


class Descent:
    """The state of a run: weights, their average, the optimiser's moments. What a checkpoint holds."""

    def __init__(self, elements: Tensor, kind: str, settings: dict, how: Schedule) -> None:
        torch.manual_seed(how.seed)  # of the initial weights
        self.how = how
        self.learner = Learned(network(kind, settings), *measured(elements, whole=kind == "mlp"), how.precision)
        self.average = Learned(network(kind, settings), self.learner.mean, self.learner.deviation, how.precision)
        self.average.network.load_state_dict(self.learner.network.state_dict())
        self.parameters = list(self.learner.network.parameters())
        self.optimiser = torch.optim.Adam(self.parameters, lr=how.rate, betas=(0.9, 0.99), fused=True)
        self.step, self.losses = 0, []

    def advance(self, elements: Tensor) -> None:
        """One step of descent, shared by the processes there are."""
        rank, world = _place()
        chosen = batch_of(self.how, self.step, len(elements))[rank::world]
        loss = self._loss(elements[chosen], self.step, rank, world)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        _share(self.parameters, world)
        nn.utils.clip_grad_norm_(self.parameters, self.how.clip)
        for group in self.optimiser.param_groups:
            group["lr"] = rate_at(self.step, self.how)
        self.optimiser.step()
        renormalise(self.learner.network)
        self.step += 1
        self._follow()
        self.losses = [*self.losses[-99:], _mean(loss.detach(), world)]
        if not math.isfinite(self.losses[-1]):
            raise Diverged(f"after {self.step} steps the loss is {self.losses[-1]}; give a lower rate than {self.how.rate:g}, or precision='fp32'")

    def _loss(self, items: Tensor, step: int, rank: int, world: int) -> Tensor:
        drawn = noise.normal((self.how.batch, *items.shape[1:]), "training noise", self.how.seed, step)[rank::world][: len(items)]
        levels = ratios(stratified(self.how.batch, self.how.seed, step))[rank::world][: len(items)]
        return self.learner.loss(items, drawn, levels * _typical(self.learner)).mean()

    @torch.no_grad()
    def _follow(self) -> None:
        """The average follows the weights: a power function of the time passed, so that any length of run is averaged alike."""
        keep = (1 - 1 / self.step) ** (1 + power(EMA_WIDTH))
        for average, latest in zip(self.average.network.parameters(), self.parameters, strict=True):
            average.lerp_(latest, 1 - keep)

    @torch.no_grad()
    def held_out(self, elements: Tensor) -> float:
        """Loss of the averaged weights, with the same noise and the same levels at every call."""
        if not len(elements):
            return math.nan
        levels = ratios((torch.arange(len(elements)) * 0.6180339887498949 + 0.5) % 1.0) * _typical(self.learner)
        parts = zip(elements.split(64), noise.normal(tuple(elements.shape), "held-out noise").split(64), levels.split(64), strict=True)
        return torch.cat([self.average.loss(*part) for part in parts]).mean().item()

    def tensors(self) -> dict[str, Tensor]:
        """Everything that the rest of the run depends on."""
        moments = self.optimiser.state_dict()["state"]
        return {
            **{f"weights.{name}": tensor for name, tensor in self.learner.network.state_dict().items()},
            **{f"average.{name}": tensor for name, tensor in self.average.network.state_dict().items()},
            **{f"moments.{i}.{name}": tensor for i, of in moments.items() for name, tensor in of.items()},
            "losses": torch.tensor(self.losses, dtype=torch.float64),
            "step": torch.tensor(self.step),
        }

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on where :meth:`tensors` was taken."""

        def under(head: str) -> dict[str, Tensor]:
            return {name.removeprefix(head): tensor for name, tensor in tensors.items() if name.startswith(head)}

        self.learner.network.load_state_dict(under("weights."))
        self.average.network.load_state_dict(under("average."))
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in under("moments.").items():
            number, _, of = name.partition(".")
            moments.setdefault(int(number), {})[of] = tensor
        state = self.optimiser.state_dict()
        self.optimiser.load_state_dict({**state, "state": moments})
        self.step, self.losses = int(tensors["step"]), tensors["losses"].tolist()

    def finished(self) -> Learned:
        """The denoiser with the averaged weights, normalised and rounded to the precision in which they are kept."""
        ready = copy.deepcopy(self.average.network)  # the run itself stays as it is, should it be written once more
        renormalise(ready)
        kept = DTYPES[self.learner.precision]
        for parameter in ready.parameters():
            parameter.data = parameter.data.to(kept).float().requires_grad_(False)
        return Learned(ready, self.learner.mean, self.learner.deviation, self.how.precision)


def descend(
    elements: Float[Tensor, "n *shape"],
    watched: Float[Tensor, "m *shape"],
    kind: str,
    settings: dict,
    how: Schedule,
    place: Path | None = None,
    identity: str = "",
) -> Generator[Record, None, None]:
    """Train, one record a step. The last record carries the denoiser.

    Args:
        elements: to learn from.
        watched: never learned from; the held-out loss is theirs.
        kind, settings: of the network.
        how: the schedule.
        place: a folder for checkpoints; a run found there goes on.
        identity: of everything else that the run depends on, the items above all; another run's checkpoint is refused.

    Raises:
        InvalidSetting: as :func:`diffident.networks.network` and :class:`Schedule` do.
        ForeignCheckpoint: the place holds another run.
        OutputError: the place cannot be written.
    """
    state = Descent(elements, kind, settings, how)
    if how.batch % _place()[1]:
        raise InvalidSetting(f"a batch of {how.batch} cannot be shared by {_place()[1]} processes; give a multiple")
    course = replace(how, every=0.0, precision=precision(how.precision))  # what does not alter the weights is no part of a run's name
    kept = None if place is None else checkpoint.Place(place, checkpoint.identity(kind, settings, course, identity))
    if kept is not None and (found := kept.read()) is not None:
        state.restore(found)
    meet()  # nobody writes before all have read
    try:
        yield from _steps(state, elements, watched, kept)
    except GeneratorExit:  # whoever listens has gone, between two steps: nothing is lost
        _write(kept, state)
        raise


def _steps(state: Descent, elements: Tensor, watched: Tensor, kept: checkpoint.Place | None) -> Iterator[Record]:
    how, began = state.how, time.perf_counter()
    first, marks = state.step, _marks(how.steps)
    last = began
    while state.step < how.steps:
        state.advance(elements)
        before = time.perf_counter()
        held = state.held_out(watched) if state.step in marks else math.nan
        now = time.perf_counter()
        began += now - before  # looking is not learning
        if now - last >= how.every or state.step == how.steps:
            _write(kept, state)
            last = now
        yield _record(state, held, first, now - began)
    if first == how.steps:  # it was interrupted after the last step: one record all the same
        yield _record(state, state.held_out(watched), first, time.perf_counter() - began)


def _write(kept: checkpoint.Place | None, state: Descent) -> None:
    """Of several processes the first writes for all."""
    if kept is not None and leads():
        kept.write(state.tensors())


def _record(state: Descent, held: float, first: int, seconds: float) -> Record:
    how, done = state.how, state.step
    seen, here = min(done * how.batch, how.images_seen), (done - first) * how.batch
    denoiser = state.finished() if done == how.steps else None
    return Record(done, how.steps, seen, float(np.mean(state.losses)), held, seconds, here / max(seconds, 1e-9), denoiser)


def _marks(steps: int) -> frozenset[int]:
    """After which steps the held-out loss is measured: twenty times, and more densely at first."""
    return frozenset({max(1, round(steps * part)) for part in (0.01, 0.02, 0.035, *np.linspace(0.05, 1, 20))})


def rate_at(step: int, how: Schedule) -> float:
    """The learning rate: a short rise, then a half cosine to nothing."""
    rise = min(1.0, (step + 1) / max(1, min(100, how.steps // 10)))
    return how.rate * rise * 0.5 * (1 + math.cos(math.pi * step / how.steps))


def batch_of(how: Schedule, step: int, count: int) -> Tensor:
    """Which items a step sees: one shuffled pass after another, each item once a pass."""
    places = np.arange(step * how.batch, (step + 1) * how.batch)
    passes = {number: noise.order(count, "pass", how.seed, number) for number in np.unique(places // count).tolist()}
    return torch.tensor([int(passes[place // count][place % count]) for place in places.tolist()])


def stratified(count: int, seed: int, step: int) -> Tensor:
    """``count`` numbers in (0, 1), one in each of as many equal parts, in random order: less luck in the levels of a batch."""
    jitter = noise.uniform((count,), "level", seed, step)
    return ((noise.order(count, "level order", seed, step) + jitter) / count).clamp(1e-4, 1 - 1e-4)


def power(width: float) -> float:
    """The exponent of a power-function average whose relative standard deviation is ``width`` (EDM2, eq. 126).

    >>> round(power(0.10), 2)
    6.94
    """
    real = [root.real for root in np.roots([1, 7, 16 - width**-2, 12 - width**-2]) if abs(root.imag) < 1e-9]
    return float(max(real))


def _typical(learner: Learned) -> float:
    """The deviation to which noise levels are relative: root mean square over channels."""
    return learner.deviation.square().mean().sqrt().item()


def _place() -> tuple[int, int]:
    """Which process of how many this is."""
    together = torch.distributed.is_available() and torch.distributed.is_initialized()
    return (torch.distributed.get_rank(), torch.distributed.get_world_size()) if together else (0, 1)


def leads() -> bool:
    """Whether this process is the only one, or the first of several: the one that writes and speaks."""
    return _place()[0] == 0


def meet() -> None:
    """Wait until every process is here: what the first has written is there for all."""
    if _place()[1] > 1:
        torch.distributed.barrier()


def join() -> None:
    """Join the processes that ``torchrun`` started, if it did."""
    if "TORCHELASTIC_RUN_ID" in os.environ and not torch.distributed.is_initialized():
        torch.distributed.init_process_group("gloo")


def _share(parameters: Sequence[Tensor], world: int) -> None:
    """Average the gradients of all processes."""
    if world > 1:
        flat = torch.cat([parameter.grad.flatten() for parameter in parameters if parameter.grad is not None])
        torch.distributed.all_reduce(flat)
        for parameter, part in zip(parameters, flat.div_(world).split([p.numel() for p in parameters]), strict=True):
            parameter.grad = part.reshape(parameter.shape)


def _mean(loss: Tensor, world: int) -> float:
    if world > 1:
        torch.distributed.all_reduce(loss)
    return loss.item() / world
