"""Photometry: every picture is brought to the brightness, and if wanted the contrast, that known-good pictures have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from .. import registry
from ..errors import InvalidSetting, TooFewItems, WrongShape
from . import Step

#: A picture is made at most so many times brighter or darker, and its contrast changed by at most half of that.
LIMIT = 4.0
#: Between which shares of the pixels the contrast is measured.
TAILS = (0.05, 0.95)


@registry.registered("steps", "photometry")
@dataclass(frozen=True)
class Photometry(Step):
    """Multiplies every picture so that its median is that of known-good pictures: exposure no longer tells them apart.

    With x in 0..1 the prepared picture is y = g x, g = level / median(x), where the level is the median over known-good pictures
    of their medians. A factor on light is a factor on stored values too where these follow a power law, as common
    pictures nearly do. With ``extent`` the contrast follows: y = level + (g x - level) extent / extent(g x), where the extent is the
    distance from the 5 % to the 95 % quantile of the pixels. What becomes brighter than white stays so: nothing is cut off, and
    values may leave [-1, 1]. Factors are limited to 1/4 .. 4, those of contrast to 1/2 .. 2, so that a black picture stays dark.

    Trust it where light varies between good pictures and says nothing; the median must show the same thing in all of them, such as
    the background. Where too dark or too pale *is* a defect, this step hides it: hence it is never chosen, only asked for. Larger
    is stranger is kept: maps come back as they are.

    Attributes:
        level: median of 0..1 values; one number for all channels together (hues stay), or one for each channel (white balance).
        extent: of 0..1 values, likewise; empty leaves the contrast as it is.

    Raises:
        InvalidSetting: a level or an extent that is not above 0, or not as many of both.

    >>> step = Photometry.learn(torch.full((4, 1, 8, 8), 0.4))
    >>> round(step(torch.full((1, 1, 8, 8), 0.0)).mean().item(), 4)  # 0 is .5 of white, .4 is .7 of white
    0.4

    Source: scaling to a common level, as von Kries proposed in 1902 for the adaptation of the eye; here by a median.
    """

    level: tuple[float, ...]
    extent: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.level or min((*self.level, *self.extent)) <= 0 or len(self.extent) not in (0, len(self.level)):
            raise InvalidSetting(
                f"photometry wants levels above 0, and as many extents above 0 or none; got level={self.level}, extent={self.extent}; "
                "learn them from known-good pictures"
            )

    @classmethod
    def learn(
        cls,
        items: Float[Tensor, "n c h w"],
        channels: Literal["together", "each"] = "together",
        contrast: Literal["kept", "matched"] = "kept",
    ) -> Photometry:
        """The level, and where contrast is ``matched`` the extent, that are the median over known-good items.

        Args:
            items: (n, c, h, w) in [-1, 1].
            channels: whether one factor serves all channels, or each has its own.
            contrast: whether it is ``kept`` or ``matched``.

        Raises:
            TooFewItems: none at all.
            InvalidSetting: the items are black or, where contrast is matched, blank.
        """
        if not len(items):
            raise TooFewItems("photometry learns from 1 known-good item or more; got none")
        planes = [_planes((one + 1) / 2, items.shape[1] if channels == "each" else 1) for one in items]
        level = torch.stack([_quantile(one, 0.5) for one in planes]).median(0).values
        extents = torch.stack([_extent(one * (level / _quantile(one, 0.5).clamp(min=1e-6))[:, None]) for one in planes]).median(0).values
        return cls(tuple(level.tolist()), tuple(extents.tolist()) if contrast == "matched" else ())

    def __call__(self, items: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """The items at the level of the known-good ones.

        Raises:
            WrongShape: not as many channels as there are levels.
        """
        if len(self.level) not in (1, items.shape[1]):
            raise WrongShape(f"this photometry has a level for each of {len(self.level)} channels; got items of shape {tuple(items.shape)}")
        return torch.stack([self._one(item) for item in items]) if len(items) else items

    def _one(self, item: Tensor) -> Tensor:
        light, level = (item + 1) / 2, torch.tensor(self.level).to(item)
        planes = _planes(light, len(level))
        factor = (level / _quantile(planes, 0.5).clamp(min=1e-6)).clamp(1 / LIMIT, LIMIT)
        light = light * factor[:, None, None]
        if self.extent:
            wanted = torch.tensor(self.extent).to(item) / _extent(planes * factor[:, None]).clamp(min=1e-6)
            light = level[:, None, None] + (light - level[:, None, None]) * wanted.clamp(2 / LIMIT, LIMIT / 2)[:, None, None]
        return 2 * light - 1

    def config(self) -> dict[str, Any]:
        return {"name": "photometry", "level": list(self.level), "extent": list(self.extent)}

    @classmethod
    def made_of(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Photometry:
        return cls(tuple(config["level"]), tuple(config["extent"]))


def _planes(light: Tensor, many: int) -> Tensor:
    """(c, h, w) -> (many, pixels): every channel, or the mean of all."""
    return (light if many == len(light) else light.mean(0, keepdim=True)).flatten(1)


def _quantile(planes: Tensor, share: float) -> Tensor:
    """Of each plane, the value of that rank; exact, so that the same pixels in another order give the same bits."""
    return planes.kthvalue(1 + round(share * (planes.shape[1] - 1)), dim=1).values


def _extent(planes: Tensor) -> Tensor:
    return _quantile(planes, TAILS[1]) - _quantile(planes, TAILS[0])
