"""Which generator a source is: a model of our own, its folder, a pipeline of diffusers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import store
from ..errors import InvalidSetting
from ..levels import cosine
from ..model import Model
from ..walks import Sample
from . import Generator
from .own import OwnGenerator
from .pipeline import PipelineGenerator

#: How samples of our own models are made unless something else is asked for.
SAMPLER = Sample("ddim", cosine(50))


def generator_of(source: Any, sampler: Sample | None, model: Model | None, arguments: Mapping[str, Any] | None) -> Generator:
    """The generator of a source.

    Args:
        source: a generator, a model of our own or its folder, or a pipeline of diffusers.
        sampler: of a model of our own; None: DDIM in 50 steps.
        model: of a pipeline, what is asked about its finished samples.
        arguments: of a pipeline, given to every call.

    Raises:
        InvalidSetting: settings that do not go with the source, or a source that makes no samples.
        NotAModel, DamagedModel, NewerFormat: a folder that holds no model; see ``diffident.load``.
    """
    if isinstance(source, Generator):
        return source
    if isinstance(source, str | Path):
        source = store.load(source)
    if isinstance(source, Model):
        if model is not None or arguments is not None:
            raise InvalidSetting("a model of our own is asked about its samples itself and takes no arguments of a pipeline; leave out model= and arguments=")
        return OwnGenerator(source, sampler or SAMPLER)
    if sampler is not None:
        raise InvalidSetting("a pipeline has a scheduler of its own; set that, and leave out sampler=")
    return PipelineGenerator(source, model, dict(arguments or {}))
