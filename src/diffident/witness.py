"""Eight synthetic inputs and what a model answered where it was made: asked again on other hardware, before it is trusted.

Precision is no part of a model's identity, so that one folder serves every machine; what keeps that honest is this.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from . import hardware, noise
from .errors import DamagedModel, DifferentAnswers
from .levels import angular
from .model import Model

FILE, COUNT = "witness.safetensors", 8

#: Root mean square of the difference, relative to that of the answers. bfloat16 against single precision makes about 0.01.
TOLERANCE = 0.05

#: Ratios of noise to signal at which they are asked, two inputs each.
RATIOS = [0.1, 0.3, 1.0, 3.0]


def items(model: Model) -> Tensor:
    """Eight items of the modality, (8, *shape) in [-1, 1]: noise that is coarse in half of them, as pictures are, and fine in the others."""
    shape = model.modality.shape
    fine = 0.4 * noise.normal((COUNT, *shape), "witness")
    coarse = torch.nn.functional.interpolate(fine[..., ::4, ::4], size=shape[1:], mode="nearest") if len(shape) == 3 else fine
    return torch.cat([coarse[::2], fine[1::2]]).clamp(-1, 1)


@torch.no_grad()
def answers(model: Model) -> Tensor:
    """What the model answers to the eight, noised, (8, *element shape) float32; where it tells kinds apart, eight answers for each."""
    elements = model.encode(items(model))
    drawn, asked = noise.normal(tuple(elements.shape), "witness noise"), []
    for kind in model.kinds or ("",):
        for i, (alpha, sigma) in enumerate(angular(RATIOS)):
            part = slice(2 * i, 2 * i + 2)
            asked.append(model.given(kind)(alpha * elements[part] + sigma * drawn[part], alpha, sigma).float())
    return torch.cat(asked)


def write(place: Path, model: Model) -> dict[str, str]:
    """Keep the answers in a folder; returns on what they were made."""
    from safetensors.torch import save

    (place / FILE).write_bytes(save({"answers": answers(model).contiguous()}))
    return hardware.stamp(model.precision)


def check(place: Path, model: Model, made_on: Mapping[str, str]) -> None:
    """Ask again where anything differs that decides the last bits.

    Raises:
        DifferentAnswers: this machine answers otherwise, beyond TOLERANCE.
        DamagedModel: the stored answers cannot be read, or do not fit the model.
    """
    here = hardware.stamp(model.precision)
    if here == dict(made_on):
        return
    kept, found = _kept(place), answers(model)
    if kept.shape != found.shape:
        raise DamagedModel(f"{place} keeps answers of shape {tuple(kept.shape)} and its model gives {tuple(found.shape)}; make it again")
    off = ((found - kept).square().mean().sqrt() / kept.square().mean().sqrt().clamp(min=1e-12)).item()
    if not off <= TOLERANCE:
        raise DifferentAnswers(
            f"{place} was made on {_told(made_on)} and answers differently here, on {_told(here)}: {COUNT} stored inputs come out {off:.3g} apart "
            f"(relative root mean square, at most {TOLERANCE:g}); load it with precision='fp32', or train it here"
        )


def _kept(place: Path) -> Tensor:
    """The answers that a folder keeps."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load((place / FILE).read_bytes())["answers"]
    except (KeyError, OSError, SafetensorError) as error:  # whole, by its sums: so it was written incompletely
        raise DamagedModel(f"{place} keeps no answers that can be read ({type(error).__name__}: {error}); make it again") from error


def check_rows(place: Path, kept: np.ndarray, found: np.ndarray, references: np.ndarray) -> None:
    """Refuse a calibration whose statistics have moved: each by more than 2 % and a tenth of the references' middle half.

    Args:
        kept, found: (8, k), the rows of the eight where the detector was fitted, and here.
        references: (n, k).

    Raises:
        DifferentAnswers: a statistic has moved further.
    """
    low, high = np.quantile(references, [0.25, 0.75], axis=0)
    allowed = 0.02 * np.abs(kept) + 0.1 * (high - low)
    if not (np.abs(found - kept) <= allowed).all():
        worst = float((np.abs(found - kept) / np.maximum(allowed, 1e-300)).max())
        raise DifferentAnswers(
            f"the calibration of {place} does not hold on this machine: the statistics of {COUNT} stored inputs move by up to {worst:.3g} times what is "
            "allowed (2 % and a tenth of the references' middle half); fit it again here: diffident fit MODEL KNOWN_GOOD"
        )


def _told(stamp: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in stamp.items())
