"""What this processor is good at: the precision that is fastest here, measured by what it has and never assumed."""

from __future__ import annotations

import platform
from functools import cache

import torch

from .errors import InvalidSetting

PRECISIONS = ("auto", "fp32", "bf16")


def precision(asked: str = "auto") -> str:
    """``bf16`` or ``fp32``: as asked, or the best of this machine.

    bfloat16 takes instructions of its own (AMX, AVX512-BF16, or a CUDA device): where they are missing it is emulated and
    up to two hundred times slower than single precision.

    Raises:
        InvalidSetting: another word.

    >>> precision("fp32")
    'fp32'
    """
    if asked not in PRECISIONS:
        raise InvalidSetting(f"a precision is one of {', '.join(PRECISIONS)}; got {asked!r}")
    return asked if asked != "auto" else "bf16" if kind() in {"AMX", "AVX512-BF16"} else "fp32"


@cache
def kind() -> str:
    """The processor's kind, by what decides the speed of a matrix product: AMX, AVX512-BF16, AVX512, AVX2, or what else it is."""
    if torch.cpu._is_amx_tile_supported():
        return "AMX"
    if torch.cpu._is_avx512_bf16_supported():
        return "AVX512-BF16"
    said = torch.backends.cpu.get_cpu_capability()
    return said if said != "DEFAULT" else platform.machine()


def stamp(of_precision: str) -> dict[str, str]:
    """What decides the last bits of an answer: kind of processor, precision, version of torch."""
    return {"processor": kind(), "precision": of_precision, "torch": torch.__version__.partition("+")[0]}
