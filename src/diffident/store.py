"""Models on disk: a folder with settings, tensors and a card. Loading checks every file by sum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from . import registry, witness
from .calibration.head import Head
from .errors import DamagedModel, DifferentAnswers
from .folder import placed, read_folder, write_folder
from .modalities import Modality
from .model import Model
from .spaces import space_from
from .steps import step_from
from .tiles import Tiles

WEIGHTS, CARD, HEAD = "weights.safetensors", "README.md", "head.safetensors"


def save(model: Model, folder: str | Path) -> Path:
    """Write a model's folder, whole or not at all.

    Raises:
        OutputError: the place is taken by something else, cannot be written, or the disk is full.
    """
    return write_folder(folder, lambda place: fill(place, model))


def fill(place: Path, model: Model) -> dict[str, Any]:
    """Write a model's files into an empty folder; returns what the manifest says of them."""
    from safetensors.torch import save as to_bytes

    seen = torch.tensor([list(bytes.fromhex(digest)) for digest in sorted(model.seen)], dtype=torch.uint8).reshape(-1, 32)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.tensors().items()}
    (place / WEIGHTS).write_bytes(to_bytes({**tensors, "seen": seen}))
    (place / CARD).write_text(card(model), "utf-8", "backslashreplace")
    made_on = witness.write(place, model)
    head = {} if model.head is None else {"head": _write_head(place, model.head)}
    return {
        "diffident": version("diffident"),
        "made_on": made_on,
        "model": {**model.config(), "name": model.name, "notes": dict(model.notes), "fingerprint": model.fingerprint},
        **head,
    }


def _write_head(place: Path, head: Head) -> dict[str, Any]:
    from safetensors.numpy import save as to_bytes

    (place / HEAD).write_bytes(to_bytes(head.arrays()))
    return head.to_config()


def _head(place: Path, facts: Mapping[str, Any]) -> Head | None:
    from safetensors.numpy import load as from_bytes

    return Head.from_config(facts["head"], from_bytes((place / HEAD).read_bytes())) if "head" in facts else None


def load(folder: str | Path, precision: str = "auto") -> Model:
    """Read a model's folder, or a model that comes with Diffident by its name.

    Every file is checked before it is used; on other hardware its answers are checked too.

    Args:
        precision: of the arithmetic: ``auto`` takes the best of this machine and for features single precision, ``fp32`` and ``bf16`` are as they say.

    Raises:
        DifferentAnswers: this machine, in this precision, does not answer as the one that made it did.
        NotAModel: it is not a folder that Diffident has written.
        DamagedModel: a file is missing, cut short or altered.
        NewerFormat: a later version wrote it.
    """
    place = placed(folder)
    return restore(place, read_folder(place), precision)


def restore(place: Path, facts: Mapping[str, Any], precision: str = "auto") -> Model:
    """The model of a folder whose manifest has been read and checked.

    Raises:
        DamagedModel: the folder is whole but does not describe a model, or describes another one.
        DifferentAnswers: its space or a step is of another version now.
    """
    try:
        model = _described(place, facts["model"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:  # whole, by its sums: so it was written incompletely
        raise DamagedModel(f"{place} describes its model incompletely ({type(error).__name__}: {error}); make it again") from error
    if (said := facts["model"].get("versions", {})) != model.versions:
        changed = ", ".join(sorted(part for part in {*said, *model.versions} if said.get(part, 1) != model.versions.get(part, 1)))
        raise DifferentAnswers(f"{place} was made with another version of its {changed}, which gives other numbers now; train it again")
    if model.fingerprint != facts["model"]["fingerprint"]:
        raise DamagedModel(f"{place} does not hold the model that its manifest names, but {model.fingerprint[:12]}; make it again")
    here = replace(model, denoiser=model.stored.at(precision), space=model.space.at(precision), head=_head(place, facts))
    if "made_on" in facts:
        witness.check(place, here, facts["made_on"])
    return here


def _described(place: Path, said: Mapping[str, Any]) -> Model:
    from safetensors.torch import load as from_bytes

    tensors = from_bytes((place / WEIGHTS).read_bytes())

    def of(part: str) -> dict[str, torch.Tensor]:
        return {name.removeprefix(f"{part}."): tensor for name, tensor in tensors.items() if name.startswith(f"{part}.")}

    return Model(
        denoiser=registry.find("denoisers", said["network"]).made_of(said["denoiser"], of("denoiser")),  # type: ignore[attr-defined]
        modality=modality_from(said["modality"]),
        space=space_from(said["space"], of("space")),
        chunk=said["chunk"],
        seen=frozenset(bytes(row.tolist()).hex() for row in tensors["seen"]),
        name=said["name"],
        notes=said["notes"],
        steps=tuple(step_from(config, of(f"steps.{i}")) for i, config in enumerate(said.get("steps", ()))),
        tiles=Tiles(**said["tiles"]) if "tiles" in said else None,
    )


def modality_from(config: Mapping[str, Any]) -> Modality:
    """The modality that ``Modality.config`` described."""
    return registry.find("modalities", config["name"]).from_config(config)  # type: ignore[attr-defined]


def card(model: Model) -> str:
    """The model card: what it is, what it saw, how to use it."""
    facts = [
        ("network", model.config()["network"]),
        ("items", str(model.modality.config())),
        ("trained on", f"{len(model.seen)} different items"),
        *([("kinds", ", ".join(model.kinds))] if model.kinds else []),
        ("fingerprint", model.fingerprint),
        *model.notes.items(),
    ]
    lines = "\n".join(f"| {name} | {value} |" for name, value in facts)
    return f"# {model.name}\n\nA model of Diffident.\n\n| | |\n|---|---|\n{lines}\n\nJudge items with it: `diffident score {model.name} ITEMS -o scores.csv`.\n"
