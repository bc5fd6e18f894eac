"""Weights of frozen networks: those that come with the package, each in a folder with its card and notice, and files of one's own."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..errors import DamagedModel, NotAModel, UnknownName
from ..networks.frozen import kind_of

HERE = Path(__file__).parent
#: Names of the weights that come with the package.
BUNDLED = ("mobilenet_v2",)
#: What a file of weights can be, by its ending.
ENDINGS = (".npz", ".safetensors")


def bundled(name: str) -> dict[str, Tensor]:
    """The weights of that name that come with the package, as they are stored; ``weights/<name>/README.md`` says what they are.

    Raises:
        UnknownName: none of that name come with it.
        DamagedModel: the file is missing from this installation, or cannot be read.

    >>> bundled("mobilenet_v2")["w0"].shape
    torch.Size([32, 3, 3, 3])
    """
    return read(_bundled(name))


def sha256(name: str) -> str:
    """The sum of the file with the weights of that name, in hexadecimal digits.

    Raises:
        UnknownName, DamagedModel: as :func:`bundled`.
    """
    return hashlib.sha256(_bundled(name).read_bytes()).hexdigest()


def read(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a local .npz or .safetensors file, which are the weights of a network in ``FROZEN``, as they are stored.

    Raises:
        NotAModel: there is no such file, it is of another form, or of a network that is not known.
        DamagedModel: it cannot be read, or holds what is not a finite real number.
    """
    file = Path(path)
    if file.suffix not in ENDINGS:
        raise NotAModel(f"{file} is no file of weights: those end in {' or '.join(ENDINGS)}; convert it to one of them")
    if not file.is_file():
        raise NotAModel(f"no file of weights at {file}: {'that is a folder' if file.is_dir() else 'nothing is there'}; check the path")
    tensors = _read(file)
    if odd := [name for name, tensor in tensors.items() if not (tensor.is_floating_point() and tensor.isfinite().all())]:
        raise DamagedModel(f"{file} holds what are no finite real numbers, in {', '.join(odd[:3])}; fetch it again")
    try:
        kind_of(tensors)
    except NotAModel as error:
        raise NotAModel(f"{file} cannot be used: {error}") from error
    return tensors


def _read(file: Path) -> dict[str, Tensor]:
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as arrays:
            return {name: torch.from_numpy(array) for name, array in arrays.items()}
    except (SafetensorError, zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, TypeError, AttributeError) as error:
        raise DamagedModel(f"{file} cannot be read ({type(error).__name__}: {error}); fetch it again, or restore it from a copy") from error


def _bundled(name: str) -> Path:
    if name not in BUNDLED:
        raise UnknownName(f"no weights called {name!r} come with Diffident; there are: {', '.join(BUNDLED)}. For a file of your own use read(path)")
    if not (file := HERE / name / "weights.safetensors").is_file():
        raise DamagedModel(f"{file} is missing from this installation; install Diffident again")
    return file
