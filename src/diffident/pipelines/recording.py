"""Any pipeline of diffusers is recorded while it generates: one trajectory for each call, and not one bit of what it makes is changed.

A recording stands in for ``step`` and ``set_timesteps`` of the one scheduler, listens to what the network says, and takes itself
away at the end, also after an exception. diffusers is not imported.
"""

from __future__ import annotations

import inspect
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import AlreadyRecording, InvalidSetting
from ..trajectory import Look, Trajectory
from .stepping import Stepping, stepping

#: Parts of a pipeline that take off noise; those that it lacks are passed over.
NETWORKS = ("unet", "transformer", "transformer_2", "prior")
#: Parts of a pipeline that generates codes or embeddings; one that has none of them generates pixels.
CODES = ("vae", "vqvae", "movq", "vqgan", "decoder", "prior")

GAP = "guidance gap"
CLIPPED = "clipped"

#: Told the looks of the present call so far, newest last; says whether to give up.
Stop = Callable[[Sequence[Look]], bool]


class Abandoned(Exception):
    """Raised out of a call of the pipeline when ``stop`` said so: no refusal and no failure, so no :class:`~diffident.errors.DiffidentError`."""


@dataclass(frozen=True)
class Recorded:
    """Stands as the ``walk`` of a recorded trajectory: the sampler was somebody else's, and cannot be walked again from here."""

    pipeline: str
    scheduler: str


def record(pipe: Any, keep: tuple[float, float] | None = None, stop: Stop | None = None) -> Recording:
    """Keep what a pipeline of diffusers asks its network and what it is answered, while it generates.

    ``with dd.record(pipe) as film:`` records every call of the pipeline inside. ``film`` is then a sequence of
    :class:`~diffident.trajectory.Trajectory`, one for each call, with an item for each sample of its batch. What the pipeline makes is the same to the
    last bit. Tensors are copies, float32, on the CPU.

    Of each look x = alpha x0 + sigma eps is kept, in the units that the scheduler itself holds it in (``alpha`` is 1 for Euler and its kin, and 0 where
    flow matching starts), and ``denoised``: the x0 that the network's answer means after guidance and *before* clipping or thresholding. That is
    E[x0 | x_t] for guidance 1 and a network that was not distilled (an LCM says where its leap lands). ``origin`` is the sample that the last step
    returned: pixels, or codes where the pipeline has an autoencoder.

    Which looks form the record: one for each level of the scheduler's grid, falling. Solvers of second order (Heun, DPM2) ask twice in a step, and of the two
    looks the one stays from which they go on; so does the later of the two that PNDM takes at one level. DPM-Solver singlestep asks at every level once.

    Columns, (l, n) each:

    * ``guidance gap``: root mean square per element between the answers with and without the condition, in units of x0; where the network was
      asked about each sample twice, in one batch or in two. NaN at looks where it was not; no column where it never was.
    * ``clipped``: share of the elements of ``denoised`` outside [-1, 1]; of pixels only.

    A call ends with the next ``set_timesteps``, where the noise or the shape of the samples turns back, and at the end of the ``with``. Where it ended
    before the scheduler's last step, ``provenance["ended"]`` says so and ``origin`` is still noisy.

    Args:
        pipe: has a ``scheduler``. Networks of other schedulers (an audio track, a second stage) are not seen.
        keep: which looks are kept, as bounds of sigma / alpha, both included; the newest is kept always. None keeps all.
        stop: is asked after each step; where it says True, :class:`Abandoned` is raised out of the pipeline's call.

    Raises:
        InvalidSetting: no pipeline, a scheduler that is not known here, or bounds that hold nothing.
        AlreadyRecording: when it begins, and this scheduler is being recorded.

    >>> import diffident as dd
    >>> dd.record("a picture")
    Traceback (most recent call last):
    diffident.errors.InvalidSetting: a pipeline with a scheduler is recorded; got a str
    """
    scheduler = getattr(pipe, "scheduler", None)
    if not callable(getattr(scheduler, "step", None)):
        raise InvalidSetting(f"a pipeline with a scheduler is recorded; got a {type(pipe).__name__}")
    if keep is not None and not 0 <= keep[0] <= keep[1]:
        raise InvalidSetting(f"looks are kept from a low to a high sigma / alpha; got keep={keep}. Give (low, high), or None for all")
    return Recording(pipe, stepping(scheduler), keep or (0.0, math.inf), stop)


@dataclass(frozen=True, eq=False)
class Frame:
    """A look with its columns, (n,) each."""

    look: Look
    columns: Mapping[str, Tensor]

    @property
    def ratio(self) -> float:
        return self.look.sigma / self.look.alpha if self.look.alpha else math.inf


@dataclass(eq=False)
class Reel:
    """The looks of one call, as they come."""

    keep: tuple[float, float]
    frames: list[Frame] = field(default_factory=list)
    origin: Tensor | None = None
    ended: bool = False

    def takes(self, frame: Frame) -> bool:
        """Whether a look belongs to this call: the noise goes down and the samples keep their shape."""
        return not self.frames or (frame.ratio <= self.frames[-1].ratio and frame.look.x.shape == self.frames[-1].look.x.shape)

    def add(self, frame: Frame, sample: Tensor) -> None:
        if self.frames and (self.frames[-1].ratio == frame.ratio or not self.keep[0] <= self.frames[-1].ratio <= self.keep[1]):
            self.frames.pop()
        self.frames.append(frame)
        self.origin = sample

    def trajectory(self, walk: Recorded, space: str) -> Trajectory:
        looks = [frame.look for frame in self.frames]
        about = {"pipeline": walk.pipeline, "scheduler": walk.scheduler, "space": space} | ({} if self.ended else {"ended": "before its last step"})
        return Trajectory.of(looks, _kept(self.origin if self.origin is not None else looks[-1].denoised), walk, self._columns(), about)

    def _columns(self) -> dict[str, Tensor]:
        names = dict.fromkeys(name for frame in self.frames for name in frame.columns)
        unknown = torch.full(self.frames[0].look.x.shape[:1], math.nan)
        return {name: torch.stack([frame.columns.get(name, unknown) for frame in self.frames]) for name in names}


class Instead:
    """Stands in for a method of one object: called and inspected as the method itself. A copy of the object has its own method back."""

    def __init__(self, owner: object, name: str, around: Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]) -> None:
        self.owner, self.name, self.around = owner, name, around
        self.method = getattr(owner, name)
        self.__signature__ = inspect.signature(self.method)  # pipelines read there whether they may give eta and a generator
        self.__doc__ = self.method.__doc__

    def __call__(self, *args: Any, **named: Any) -> Any:
        return self.around(self.method, args, named)

    def __deepcopy__(self, memo: dict[int, Any]) -> object:
        """Pipelines copy their scheduler to step beside it, or put its attributes aside and back; the copy must move itself, not the original."""
        copied = memo.get(id(self.owner))
        return self if copied is None else MethodType(getattr(type(copied), self.name), copied)


class Recording:
    """What :func:`record` gives: a context, and a sequence of the trajectories recorded in it. The call that goes on is the last of them."""

    def __init__(self, pipe: Any, reading: Stepping, keep: tuple[float, float], stop: Stop | None) -> None:
        self._pipe, self._reading, self._keep, self._stop = pipe, reading, keep, stop
        self._walk = Recorded(type(pipe).__name__, reading.name)
        self._space = "latents" if any(getattr(pipe, name, None) is not None for name in CODES) else "pixels"
        self._done: list[Trajectory] = []
        self._reel = Reel(keep)
        self._said: deque[Tensor] = deque(maxlen=3)  # by the network since the last step; three are one too many for guidance
        self._undo = ExitStack()

    def __enter__(self) -> Recording:
        scheduler = self._reading.scheduler
        if isinstance(vars(scheduler).get("step"), Instead):
            raise AlreadyRecording(
                f"the {self._reading.name} of this {self._walk.pipeline} is being recorded already, and two recordings would each take the other for the "
                "scheduler; leave the first with-block before the second, or give the second pipeline a scheduler of its own"
            )
        with ExitStack() as undo:
            self._replace(undo, "step", self._stepped)
            if callable(getattr(scheduler, "set_timesteps", None)):
                self._replace(undo, "set_timesteps", self._began)
            for name in NETWORKS:
                network = getattr(self._pipe, name, None)
                if isinstance(network, nn.Module):
                    undo.callback(network.register_forward_hook(self._heard).remove)
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *failed: object) -> None:
        self._undo.close()
        self._close()

    def __iter__(self) -> Iterator[Trajectory]:
        yield from self._done
        if self._reel.frames:
            yield self._reel.trajectory(self._walk, self._space)

    def __len__(self) -> int:
        return len(self._done) + bool(self._reel.frames)

    def __getitem__(self, index: int) -> Trajectory:
        return list(self)[index]

    def _replace(self, undo: ExitStack, name: str, around: Callable[..., Any]) -> None:
        scheduler = self._reading.scheduler
        own = vars(scheduler).get(name)
        undo.callback(delattr, scheduler, name) if own is None else undo.callback(setattr, scheduler, name, own)
        setattr(scheduler, name, Instead(scheduler, name, around))

    def _close(self) -> None:
        """The present call is over."""
        if self._reel.frames:
            self._done.append(self._reel.trajectory(self._walk, self._space))
        self._reel = Reel(self._keep)
        self._said.clear()

    def _began(self, method: Callable[..., Any], args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        self._close()
        return method(*args, **named)

    def _heard(self, network: nn.Module, asked: object, output: Any) -> None:
        first = output if isinstance(output, Tensor) else next(iter(output.values() if isinstance(output, Mapping) else output), None)
        if isinstance(first, Tensor):
            self._said.append(first.detach().clone())

    def _stepped(self, method: Callable[..., Any], args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        given = inspect.signature(method).bind(*args, **named).arguments
        if given.get("per_token_timesteps") is not None:
            raise InvalidSetting(
                f"all elements of an item have one level; this pipeline gave its {self._reading.name} one for each token. It cannot be recorded"
            )
        x, output, trying = _kept(given["sample"]), _kept(given["model_output"]), self._reading.trying
        result = method(*args, **named)
        alpha, sigma = self._reading.level(given["timestep"])
        if sigma and not trying:  # without noise nothing was asked
            n = len(x) // 2 if _twofold(self._said, x, output) else len(x)
            with torch.no_grad():
                look = Look(alpha, sigma, x[:n], self._reading.answer(output[:n], x[:n], alpha, sigma))
                self._looked(Frame(look, self._columns(look)), result[0].detach()[:n].clone(), self._reading.ends(given["timestep"]))
        self._said.clear()
        return result

    def _looked(self, frame: Frame, sample: Tensor, last: bool) -> None:
        if not self._reel.takes(frame):
            self._close()
        self._reel.add(frame, sample)
        self._reel.ended = last
        if self._stop is not None and self._stop([one.look for one in self._reel.frames]):
            raise Abandoned(f"this call of the {self._walk.pipeline} was given up after {len(self._reel.frames)} looks, as its recording was told to")

    def _columns(self, look: Look) -> dict[str, Tensor]:
        columns = {}
        halves = _halves(self._said, look.x)
        if halves is not None:
            first, second = (self._reading.answer(_kept(half), look.x, look.alpha, look.sigma) for half in halves)
            columns[GAP] = (first - second).flatten(1).square().mean(1).sqrt()
        if self._space == "pixels":
            columns[CLIPPED] = (look.denoised.abs() > 1).flatten(1).float().mean(1)
        return columns


def _halves(said: Sequence[Tensor], x: Tensor) -> tuple[Tensor, Tensor] | None:
    """What was said of samples with a condition and without, in either order: the halves of one answer, or two answers. None if it was not."""
    n = len(x)
    if any(one.ndim != x.ndim or one.shape[1] < x.shape[1] or one.shape[2:] != x.shape[2:] for one in said):
        return None
    if len(said) == 1 and len(said[0]) == 2 * n:
        return said[0][:n], said[0][n:]
    return (said[0], said[1]) if len(said) == 2 and len(said[0]) == len(said[1]) == n else None


def _twofold(said: Sequence[Tensor], x: Tensor, output: Tensor) -> bool:
    """Whether each sample is stepped twice: some pipelines (DiT) leave the doubled batch of guidance doubled.

    Then the halves are the same and are given the same answer, though the network said one thing of the first and another of the second.
    """
    half, mean = len(x) // 2, output[:, : x.shape[1]]
    if len(x) % 2 or not torch.equal(x[:half], x[half:]) or not torch.equal(mean[:half], mean[half:]):
        return False
    halves = _halves(said, x[:half])
    return halves is not None and len(said) == 1 and not torch.equal(*halves)


def _kept(tensor: Tensor) -> Tensor:
    """A copy that nobody alters: float32 on the CPU."""
    return tensor.detach().to("cpu", torch.float32, copy=True)
