"""Samples of a pipeline of diffusers: one call for each, recorded, all noise from the seed of the attempt."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import nn

from ..errors import ForeignScores, InvalidSetting
from ..model import Model
from ..networks import of_diffusers
from ..pipelines.recording import NETWORKS, Abandoned, record
from ..requests import Request
from ..trajectory import Look, Trajectory
from . import Attempt, Generator, Watch, after

#: What a pipeline calls the picture that it starts from, where it is to make something, and how much.
PICTURE, MASK, STRENGTH = "image", "mask_image", "strength"


@dataclass(frozen=True, eq=False)
class PipelineGenerator(Generator):
    """A pipeline as it is: it is called for one sample at a time, with a generator of that seed, and nothing of it is changed.

    Another seed is another sample, and one seed is the sample that the pipeline makes of ``torch.Generator("cpu").manual_seed(seed)``.

    The condition of a request is the pipeline's first argument (a text), or several by name where it is a mapping. A request with an item
    is handed on as ``image``, with ``mask_image`` (white where something is to be made) or ``strength``, so that its strength lies in (0, 1] there.

    Attributes:
        pipe: has a scheduler and is called with ``generator=``.
        asked: what can be asked about a finished sample, if anything can.
        arguments: given to every call: steps, guidance, size.

    Raises:
        InvalidSetting: no pipeline.
        ForeignScores: while it makes samples, when the pipeline was given another scheduler meanwhile.
    """

    pipe: Any
    asked: Model | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        record(self.pipe)  # asked for its refusal
        self._moves  # noqa: B018 - as it is now: some schedulers change their settings while they are used

    @property
    def model(self) -> Model | None:
        return self.asked

    @property
    def fingerprint(self) -> str:
        return self._identified

    @property
    def folder(self) -> str:
        """Where the pipeline was read from; empty if that is no folder of this machine."""
        said = dict(getattr(self.pipe, "config", None) or {}).get("_name_or_path") or ""
        return str(Path(said).resolve()) if said and (Path(said) / of_diffusers.INDEX).is_file() else ""

    @cached_property
    def _moves(self) -> tuple[Any, dict[str, Any]]:
        """The scheduler that the pipeline had when the generator was made, and its settings; what diffusers notes of a file is none."""
        scheduler = self.pipe.scheduler
        return scheduler, {name: value for name, value in dict(scheduler.config).items() if not name.startswith("_")}

    @cached_property
    def _identified(self) -> str:
        """Of the weights of all parts, the scheduler's settings, the arguments and what is asked; weights are read when it is first asked for."""
        parts = getattr(self.pipe, "components", None) or {name: getattr(self.pipe, name, None) for name in NETWORKS}
        scheduler, settings = self._moves
        said = {
            "pipeline": type(self.pipe).__name__,
            "networks": {name: of_diffusers.digest(one) for name, one in parts.items() if isinstance(one, nn.Module)},
            "scheduler": [type(scheduler).__name__, settings],
            "arguments": dict(self.arguments),
            "asked": None if self.asked is None else self.asked.fingerprint,
        }
        return hashlib.sha256(json.dumps(said, sort_keys=True, default=repr).encode()).hexdigest()

    def picture(self, output: Any) -> PIL.Image.Image:
        if isinstance(output, PIL.Image.Image):
            return output
        values = output.detach().float().cpu().numpy() if isinstance(output, torch.Tensor) else np.asarray(output)
        shaped = np.moveaxis(values, 0, -1) if values.ndim == 3 and values.shape[0] in (1, 3) and values.shape[-1] not in (1, 3) else values
        return _drawn(shaped[..., 0] if shaped.ndim == 3 and shaped.shape[-1] == 1 else shaped)

    def attempts(self, wishes: Sequence[Request], seeds: Sequence[int], watch: Watch | None = None) -> Iterator[Attempt]:
        for i, (wish, seed) in enumerate(zip(wishes, seeds, strict=True)):
            self._require()
            yield self._attempt(i, wish, seed, watch)

    def _attempt(self, index: int, wish: Request, seed: int, watch: Watch | None) -> Attempt:
        conditions, named = _told(wish)
        stop = None if watch is None else _Stop(watch, self._looks(wish, named))
        film = record(self.pipe, stop=stop)
        try:
            with film:
                made = self.pipe(*conditions, generator=torch.Generator("cpu").manual_seed(seed), **{**self.arguments, **named})
        except Abandoned:
            return Attempt(index, seed, _only(film), None, True)
        return Attempt(index, seed, _only(film), _first(made))

    def _require(self) -> None:
        """Refuse to go on with another scheduler than the one that was looked at."""
        had, has = self._moves[0], self.pipe.scheduler
        if has is not had:
            raise ForeignScores(
                f"this guard watches a {type(self.pipe).__name__} with its {type(had).__name__}, and the pipeline has a {type(has).__name__} since, which "
                "makes other samples; put the scheduler back, or make a guard of the pipeline as it is now, with a trial of its own"
            )

    def _looks(self, wish: Request, named: Mapping[str, Any]) -> int:
        """How many looks a call takes: a picture that is started from is not taken all the way."""
        given = {**self.arguments, **named}
        own = next((given[name] for name in ("timesteps", "sigmas") if given.get(name) is not None), None)
        steps = int(given.get("num_inference_steps") or self._steps) if own is None else len(own)
        return steps if wish.strength is None else max(min(int(steps * wish.strength), steps), 1)

    @property
    def _steps(self) -> int:
        """How many steps a call takes where nobody says: what the pipeline's own signature says."""
        import inspect

        said = inspect.signature(self.pipe.__call__).parameters.get("num_inference_steps")
        return int(said.default) if said is not None and isinstance(said.default, int) else 50


class _Stop:
    """Looks at a call once, when the share of its way is over."""

    def __init__(self, watch: Watch, steps: int) -> None:
        self.watch, self.at = watch, after(watch.share, steps)

    def __call__(self, looks: Sequence[Look]) -> bool:
        return len(looks) == self.at and bool(self.watch.hopeless(Trajectory.of(looks, looks[-1].denoised, None))[0])


def _told(wish: Request) -> tuple[list[Any], dict[str, Any]]:
    """What a call is given: in order, and by name."""
    first = [] if wish.condition is None or isinstance(wish.condition, Mapping) else [wish.condition]
    named = dict(wish.condition) if isinstance(wish.condition, Mapping) else {}
    if wish.item is not None:
        named[PICTURE] = _picture(wish.item)
    if wish.made is not None:
        named[MASK] = PIL.Image.fromarray((255 * wish.made).astype(np.uint8))
    if wish.strength is not None:
        if wish.strength > 1:
            raise InvalidSetting(f"the strength of a pipeline lies above 0 and up to 1; got {wish.strength:g}")
        named[STRENGTH] = wish.strength
    return first, named


def _picture(item: Any) -> Any:
    """An item as a pipeline takes it: a path and an array become a picture."""
    if isinstance(item, PIL.Image.Image | torch.Tensor):
        return item
    if isinstance(item, str | Path):
        with PIL.Image.open(item) as opened:
            return opened.convert("RGB")
    return _drawn(np.asarray(item))


def _drawn(values: np.ndarray) -> PIL.Image.Image:
    """A picture of values (h, w) or (h, w, channels) in 8 bits, or from 0 to 1."""
    return PIL.Image.fromarray(values if values.dtype == np.uint8 else np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8))


def _first(made: Any) -> Any:
    """The one sample of a call."""
    images = made.get("images") if isinstance(made, Mapping) else made[0] if isinstance(made, tuple) else None
    if images is None or not len(images):
        raise InvalidSetting(f"a pipeline gives images, one for a call; this one gave a {type(made).__name__} without any")
    return images[0]


def _only(film: Any) -> Trajectory:
    """The record of a call."""
    films = list(film)
    if not films or films[-1].items != 1:
        raise InvalidSetting(
            f"a guard calls a pipeline for one sample at a time, and this call left {len(films)} records of {films[-1].items if films else 0} samples; leave "
            "out num_images_per_prompt and the like"
        )
    return films[-1]
