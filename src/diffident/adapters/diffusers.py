"""diffusers: a model of any of its U-Nets and transformers, with any scheduler's parametrisation, in pixels or in latents.

from diffident.adapters import diffusers
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import DiffidentError, InvalidSetting
from ..modalities.image import Image
from ..model import CHUNK, Model
from ..networks import of_diffusers
from ..pipelines.diffusers import NETWORKS, Pretrained, part_of, whole
from ..pipelines.parametrisations import of_scheduler
from ..spaces import Space
from ..spaces.latents import Latents
from ..spaces.pixels import Pixels

#: Parts of a pipeline that turn pictures into codes.
AUTOENCODERS = ("vae", "vqvae")

#: A side, in pixels, of a picture that is encoded once to see how many of them become one code: a multiple of what is usual.
TRIED = 64


def model(
    pipe: Any,
    given: object = None,
    *,
    folder: str | Path | None = None,
    size: int | tuple[int, int] | None = None,
    dtype: str = "float32",
    clock: float | None = None,
    chunk: int = CHUNK,
    name: str = "",
) -> Model:
    """A model of what somebody else has trained with diffusers: fit a detector on known-good pictures, and it judges others.

    Noise is translated: the network is told of sigma / alpha in its own words, and its output (noise, x0, velocity, flow) is turned into
    E[x0 | x_t], see :class:`diffident.pipelines.diffusers.Pretrained`. Pictures come in at the size that it was trained at, with
    values in [-1, 1]. With an autoencoder in the pipeline the diffusion lives in its codes, see :class:`diffident.spaces.latents.Latents`.

    Nothing is fetched and nothing of the pipeline is changed: its mode, its place, its arithmetic and its scheduler stay as they are. Saved,
    the model refers to the pipeline's folder and to the sha256 of what lies there; the weights stay where they are.

    What the network has seen in training is not known here, so that known-good pictures that it was trained on are not refused:
    calibrate on pictures that it cannot have seen.

    Args:
        pipe: a pipeline, or the folder that its ``save_pretrained`` has written.
        given: what it is conditioned on: a class by its number, a text by its embedding, or several by name. None: where it was
            taught what means no class in particular, that.
        folder: of a pipeline in memory, where it lies; None looks at where it says that it was loaded from.
        size: of the pictures in pixels, a side or height and width; None: that of the training.
        dtype: of weights that are read from a folder, ``float32``, ``float16`` or ``bfloat16``; a pipeline in memory keeps its own.
        clock: of flow matching, what the network is told where all is noise; None: as many as the scheduler has training
            steps, where the network is known to be told that; AuraFlow, Flux and others want ``clock=1.0``.
        chunk: pictures asked about at once, a multiple of 16.
        name: for people; None the pipeline's class and folder.

    Raises:
        MissingPackage: a folder, and diffusers is not installed.
        NotAModel: a folder that holds no such pipeline.
        InvalidSetting: a network, scheduler, autoencoder or size that cannot be asked, is being trained or needs a condition; the message says which.
        Unconditional: a condition that the network does not take.
    """
    parts, lies = (
        (_in_folder(Path(pipe), dtype), str(Path(pipe).resolve())) if isinstance(pipe, str | os.PathLike) else (_in_memory(pipe), _place(pipe, folder))
    )
    part, coder = part_of(parts), part_of(parts, AUTOENCODERS)
    network, scheduler = parts.get(part), parts.get("scheduler")
    if network is None or scheduler is None:
        raise InvalidSetting(f"a model takes a pipeline with a scheduler and a {' or '.join(NETWORKS)}; this one has {', '.join(parts) or 'no parts'}")
    denoiser = Pretrained(network, of_scheduler(scheduler, whole(network), clock, type(network).__name__), {}, lies, part)
    denoiser = denoiser if given is None else denoiser.given(given)
    space = _space(parts[coder], lies, coder) if coder else Pixels()
    made = Model(
        denoiser, _modality(network, space, size), space, chunk, name=name or f"{Path(lies).name or type(pipe).__name__}", notes=_notes(network, scheduler)
    )
    _tried(made, network)
    return made


def _in_folder(folder: str | Path, dtype: str) -> dict[str, Any]:
    """The parts that are wanted of a pipeline on disk; others, such as text encoders, are not read."""
    if dtype not in of_diffusers.DTYPES:
        raise InvalidSetting(f"a dtype is one of {', '.join(of_diffusers.DTYPES)}; got {dtype!r}")
    names = of_diffusers.parts_in(folder)
    wanted = [part_of(names), part_of(names, AUTOENCODERS), part_of(names, ["scheduler"])]
    return {part: of_diffusers.loaded(folder, part, of_diffusers.DTYPES[dtype]) for part in wanted if part}


def _in_memory(pipe: Any) -> dict[str, Any]:
    parts = getattr(pipe, "components", None)
    if not isinstance(parts, dict):
        raise InvalidSetting(f"a pipeline of diffusers, or its folder, is wanted; got a {type(pipe).__name__}. A network alone says nothing of its noise")
    return parts


def _place(pipe: Any, folder: str | Path | None) -> str:
    """Where a pipeline in memory lies; empty if that is not known."""
    said = folder or dict(pipe.config).get("_name_or_path") or ""
    if folder is not None:
        of_diffusers.parts_in(folder)
    return str(Path(said).resolve()) if said and (Path(said) / of_diffusers.INDEX).is_file() else ""


def _space(network: nn.Module, folder: str, part: str) -> Space:
    return Latents(folder, part, str(of_diffusers.placed(network)[1]).removeprefix("torch."), network=network)


def _modality(network: nn.Module, space: Space, size: int | tuple[int, int] | None) -> Image:
    """Pictures of the size and channels that the network, or the autoencoder before it, was trained on."""
    said = of_diffusers.settings(network)
    native, channels = said.get("sample_size"), int(said["in_channels"])
    if size is None and not native:
        raise InvalidSetting(f"this {type(network).__name__} does not say at which size it was trained; give size, in pixels")
    height, width = _sides(size) if size is not None else _sides(native)
    if isinstance(space, Latents):
        taken, tall, _ = space.encode(torch.zeros(1, space.channels, TRIED, TRIED)).shape[1:]
        if taken != channels:
            raise InvalidSetting(
                f"the autoencoder makes codes of {taken} channels and the {type(network).__name__} takes {channels}; they are not of one model"
            )
        times = 1 if size is not None else TRIED // tall  # the network counts in codes
        height, width, channels = height * times, width * times, space.channels
    return Image(height, width, channels)


def _sides(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def _notes(network: nn.Module, scheduler: Any) -> dict[str, str]:
    return {"taken from": f"diffusers: {type(network).__name__}, {type(scheduler).__name__}"}


@torch.no_grad()
def _tried(made: Model, network: nn.Module) -> None:
    """Ask once, about nothing, so that what cannot be asked is refused now and in words."""
    try:
        elements = made.encode(torch.zeros(1, *made.modality.shape))
        made.denoiser(elements, 0.7, 0.7)
    except DiffidentError:
        raise
    except (TypeError, ValueError, RuntimeError, AttributeError, IndexError, KeyError) as error:
        raise InvalidSetting(
            f"a {type(network).__name__} cannot be asked about {made.modality} with {', '.join(made.stored.tensors()) or 'no conditions'} "
            f"({type(error).__name__}: {str(error)[:300]}); give what its forward wants with given={{name: tensor}}, or another size"
        ) from error
