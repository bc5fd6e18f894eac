"""Where a training run stands, on disk: one file, replaced in one move, so that it is whole at every instant."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .errors import ForeignCheckpoint, OutputError

FILE = "checkpoint.safetensors"


@dataclass(frozen=True)
class Place:
    """A folder that holds the latest checkpoint of one run.

    Attributes:
        folder: made when it is first written.
        run: what identifies the run; the checkpoint of another is refused.
    """

    folder: Path
    run: str

    def read(self) -> dict[str, Tensor] | None:
        """The latest checkpoint; None if there is none.

        Raises:
            ForeignCheckpoint: it is another run's, or no checkpoint.
        """
        from safetensors import SafetensorError, safe_open

        file = self.folder / FILE
        if not file.exists():
            return None
        try:
            with safe_open(str(file), framework="pt") as kept:
                said = (kept.metadata() or {}).get("run", "")
                tensors = {name: kept.get_tensor(name) for name in kept.keys()}  # noqa: SIM118 - a file, not a dictionary
        except (OSError, SafetensorError) as error:
            raise ForeignCheckpoint(f"{file} cannot be read ({error}); remove {self.folder} to train from the start") from error
        if said != self.run:
            raise ForeignCheckpoint(
                f"{self.folder} holds an interrupted training of other items or settings ({said[:12]}, and this one is {self.run[:12]}); "
                "give the same items and settings to go on with it, or remove that folder to train from the start"
            )
        return tensors

    def write(self, tensors: Mapping[str, Tensor]) -> None:
        """Replace the checkpoint: the earlier one stays until this one is whole on disk.

        Raises:
            OutputError: the folder cannot be written, or the disk is full.
        """
        from safetensors.torch import save

        made = self.folder / f"{FILE}.{os.getpid()}.new"  # nobody else writes to it, whoever trains there too
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with made.open("wb") as file:
                file.write(save({name: tensor.contiguous() for name, tensor in tensors.items()}, {"run": self.run}))
                file.flush()
                os.fsync(file.fileno())
            os.replace(made, self.folder / FILE)
        except OSError as error:
            with suppress(OSError):  # where the folder itself could not be made there is nothing to remove
                made.unlink()
            raise OutputError(f"cannot write {made}: {error.strerror or error}; make room or choose another place. The checkpoint before stays") from error

    def clear(self) -> None:
        """The run is over: remove what was written here, and the folder unless somebody else keeps something in it."""
        with suppress(OSError):
            for own in (self.folder / FILE, *self.folder.glob(f"{FILE}.*.new")):
                own.unlink(missing_ok=True)
            self.folder.rmdir()


def identity(kind: str, settings: Mapping[str, Any], how: Any, items: str) -> str:
    """sha256 of all that decides the course of a run."""
    facts = [kind, dict(settings), asdict(how), items, torch.__version__.partition("+")[0]]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
