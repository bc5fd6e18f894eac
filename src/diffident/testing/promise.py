"""What a check is: one promise of one thing, kept or broken in numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ..errors import ContractBroken


@dataclass(frozen=True)
class Check:
    """One promise of one thing. Calling it raises :class:`ContractBroken` if the promise is broken."""

    name: str
    run: Callable[[], None]

    def __call__(self) -> None:
        self.run()


def demand(kept: bool, broken: str) -> None:
    """Raise :class:`ContractBroken` with these words unless the promise is kept."""
    if not kept:
        raise ContractBroken(broken)


def close(found: Tensor, expected: Tensor, tolerance: float, what: str) -> None:
    """Demand equality to an absolute tolerance, relative to the largest expected value above 1."""
    demand(found.shape == expected.shape, f"{what}: shape {tuple(found.shape)}, expected {tuple(expected.shape)}")
    off = (found.double() - expected.double()).abs().max().item() if found.numel() else 0.0
    scale = max(1.0, expected.double().abs().max().item()) if expected.numel() else 1.0
    demand(off <= tolerance * scale, f"{what}: differs by {off:.3g}, at most {tolerance * scale:.3g} is allowed")


def name(thing: object) -> str:
    """What a thing is called in a message: its own name, or that of its class."""
    return str(getattr(thing, "name", type(thing).__name__))
