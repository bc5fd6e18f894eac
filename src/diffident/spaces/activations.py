"""Activations: what a model's own diffusion network holds while it looks at a clean picture; no outside network is needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from .. import registry
from ..errors import InvalidSetting
from ..levels import angular
from ..precondition import Learned
from ._seen import PLACE, Seen

#: Streams of the U-Net's way down, fine to coarse, whichever of these it has.
STREAMS = ("down0", "down1", "deepest")


@registry.registered("spaces", "activations")
@dataclass(frozen=True)
class Activations(Seen):
    """The streams of a learned denoiser that is shown a clean picture and told that it is noisy (sigma / alpha = ``claimed``).

    Under a high, false level a network describes what it sees instead of copying it. What becomes of the streams then, see
    :class:`diffident.spaces._seen.Seen`. The network was trained on the very items, or on others of the kind.

    Trust it where no network that was trained elsewhere may be used. On textures and on parts that lie any way training pays; on
    aligned parts random weights do nearly as well, so put :meth:`untrained` beside it.

    Attributes:
        network: the settings of the learned denoiser.
        streams: which of its streams are taken; empty takes the way down.
        claimed: noise to signal that it is told.
        grid, style, scales: see ``Seen``.
        weights: the numbers of the denoiser.

    Raises:
        InvalidSetting: without a network, or a level that is not above 0.

    Source: the activations of CFS (2605.11014); Baranchuk et al. 2022 (2112.03126) for features of diffusion networks.
    """

    own: ClassVar[bool] = True

    network: Mapping[str, Any] = field(default_factory=dict)
    streams: tuple[str, ...] = ()
    claimed: float = 1.0
    grid: int = 32
    style: float | None = None
    scales: tuple[float, ...] = ()
    weights: Mapping[str, Tensor] = field(default_factory=dict, compare=False, repr=False)
    precision: str = field(default="fp32", compare=False)

    def __post_init__(self) -> None:
        self._require()
        if not self.claimed > 0:
            raise InvalidSetting(f"the level that is claimed lies above 0; got {self.claimed:g}")

    @staticmethod
    def of(denoiser: Learned, grid: int = 32, style: float | None = None) -> Activations:
        """The space of what that denoiser holds."""
        return Activations(denoiser.config(), grid=grid, style=style, weights=denoiser.tensors())

    @cached_property
    def denoiser(self) -> Learned:
        """The network itself.

        Raises:
            InvalidSetting: there is none.
        """
        if not self.weights:
            raise InvalidSetting(
                "activations are those of a learned denoiser, and none is given; train with features 'own' (--features own), or take Activations.of(denoiser)"
            )
        return Learned.made_of(self.network, self.weights).at(self.precision)  # type: ignore[return-value]

    @property
    def roomy(self) -> int:
        return 256

    def seen(self, items: Float[Tensor, "n c h w"]) -> list[Float[Tensor, "n k y x"]]:
        ((alpha, sigma),) = angular([self.claimed])
        wanted = self.streams or tuple(name for name in STREAMS if name in self.denoiser.network.streams)
        held = [self._held(part, alpha, sigma, wanted) for part in _padded(items)]
        return [torch.cat([part[name] for part in held])[: len(items)] for name in wanted]

    def _held(self, part: Tensor, alpha: float, sigma: float, wanted: tuple[str, ...]) -> Mapping[str, Tensor]:
        return self.denoiser.watched(alpha * part, alpha, sigma, wanted)[1]

    def config(self) -> dict[str, Any]:
        names = ("network", "streams", "claimed", "grid", "style", "scales")
        return {"name": "activations", **{name: getattr(self, name) for name in names}}

    def tensors(self) -> dict[str, Tensor]:
        return dict(self.weights)

    def tiled(self, side: int) -> Activations:
        """A place for every 8 pixels; a tile is no picture and has no style of its own."""
        return replace(self, grid=side // PLACE, scales=(), style=0.0)

    def untrained(self, seed: int = 0) -> Activations:
        return replace(self, weights=self.denoiser.untrained(seed).tensors(), scales=())


def _padded(items: Tensor, together: int = 16) -> tuple[Tensor, ...]:
    """Always as many at once, zeros behind the last: what is held of an item is its own to the last bit."""
    return torch.nn.functional.pad(items, (0, 0, 0, 0, 0, 0, 0, -len(items) % together)).split(together)
