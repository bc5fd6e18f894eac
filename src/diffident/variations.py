"""More known-good items out of those that are there: mirrored and turned, where nothing tells these from the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jaxtyping import Float
from torch import Tensor

from .errors import InvalidSetting
from .noise import order

#: Which axes of (n, c, h, w) are turned round.
VARIATIONS = {"mirror": (3,), "upside-down": (2,), "half-turn": (2, 3)}

#: Stands for those that help, or do no harm, decided on known-good items.
AUTO = "auto"

#: A variation is harmless if a changed item is stranger than an unchanged one in less than this share of pairs; .5 is no difference at all.
TOLD_APART = 0.8

#: Of items that decide; half of them are learned from, half are asked about.
DECIDING = 128

#: Learns from known-good items how strange others are: what it gives takes items (n, ...) and says (n,), larger is stranger.
Strange = Callable[[Tensor], Callable[[Tensor], Tensor]]


def varied(items: Float[Tensor, "n c h w"], name: str) -> Float[Tensor, "n c h w"]:
    """The items, changed.

    Raises:
        InvalidSetting: no such variation.

    >>> import torch
    >>> varied(torch.arange(4.0).reshape(1, 1, 2, 2), "half-turn").flatten().tolist()
    [3.0, 2.0, 1.0, 0.0]
    """
    if name not in VARIATIONS:
        raise InvalidSetting(f"no variation called {name!r}; there are: {', '.join((AUTO, *VARIATIONS))}")
    return items.flip(VARIATIONS[name])


def told_apart(items: Float[Tensor, "n c h w"], strange: Strange, names: Sequence[str] = tuple(VARIATIONS), seed: int = 0) -> dict[str, float]:
    """For each variation the share of pairs in which a changed known-good item is stranger than an unchanged one.

    Of at most 128 items, drawn by ``seed``, one half is learned from, and the other is asked about as it is and changed.
    """
    drawn = items[order(len(items), "variations", seed)[:DECIDING]]
    learned, asked = drawn[: len(drawn) // 2], drawn[len(drawn) // 2 :]
    ask = strange(learned)
    plain = ask(asked)
    return {name: _share(ask(varied(asked, name)), plain) for name in names}


def harmless(items: Float[Tensor, "n c h w"], strange: Strange, seed: int = 0) -> tuple[str, ...]:
    """The variations that known-good items do not tell from themselves: decided on these items alone; none of fewer than eight.

    A texture may be mirrored, a screw may not: its thread would run the other way.

    >>> import torch
    >>> stripes = torch.linspace(-1, 1, 8).expand(20, 1, 8, 8) + 0.1 * torch.randn(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> harmless(stripes, lambda known: lambda asked: (asked - known.mean(0)).square().flatten(1).mean(1))
    ('upside-down',)
    """
    if len(items) < 8:
        return ()
    return tuple(name for name, share in told_apart(items, strange, seed=seed).items() if share < TOLD_APART)


def _share(changed: Tensor, plain: Tensor) -> float:
    """Of pairs in which the changed one is stranger; ties count half."""
    above = changed[:, None] - plain[None]
    return ((above > 0).float() + 0.5 * (above == 0).float()).mean().item()
