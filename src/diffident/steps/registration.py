"""Registration: parts that lie any way are turned and moved onto the mean of known-good ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d

from .. import registry
from ..errors import InvalidSetting, TooFewItems, WrongShape
from . import Step
from ._pose import Frame, found, returned, taken
from ._template import Template, learned

#: Parts that make a mean, at least; and items that are looked at, at most.
FEWEST, LOOKED_AT = 8, 128


@registry.registered("steps", "registration")
@dataclass(frozen=True, eq=False)
class Registration(Step):
    """Turns and moves the part in every picture onto the mean of known-good parts, so that the same place shows the same thing.

    The part is what differs clearly from the background, the median of the border. Its centroid and second moments say where
    it lies and along which axis; of the two ways to lie along it (24 ways for a part that has no long axis) the one is taken that
    correlates best with the mean, and turn and shift are then refined on it to fractions of a pixel. Nothing is
    mirrored and nothing is scaled with the part: one that is too long stays too long. In a prepared picture the long axis lies along the
    longer side, the centre of the mean part is in the middle, and what was outside the picture has the background's own level.

    A picture in which no part stands apart, in which it covers more than .6 of the area or runs along more than .35 of the border,
    stays as it lies. So does a picture of which a defect has taken the whole part: it remains strange.

    Trust it for one rigid part to a picture on a plain background. It blurs a little (bicubic, kept within the range of the
    item's own values), and a defect as large as the part moves the part. On textures it means nothing; ``diffident.steps.chosen`` measures
    on known-good items whether it helps. Maps come back by the inverse of the same turn and shift, with their lowest
    value where a prepared picture did not look.

    Attributes:
        template: the mean part and how it is found again.
        frame: of prepared pictures, in pixels; ``scale`` pixels to a pixel of an item.
        lie: the angle at which long axes lie in the frame: 0 or, in frames higher than wide, pi / 2.
        size: height and width of the items that were learned from, and of all others.

    >>> from ..testing.of_steps import arrows
    >>> step = Registration.learn(arrows(16, (1, 48, 48), seed=1), size="part")
    >>> step.shape((1, 48, 48))
    (1, 16, 32)
    >>> step(arrows(2, (1, 48, 48), seed=2)).shape
    torch.Size([2, 1, 16, 32])

    Source: moments: Hu 1962; refinement: Baker and Matthews, IJCV 2004; the mean in rounds: Gower, Generalized Procrustes analysis, 1975.
    """

    moves: ClassVar[bool] = True

    template: Template
    frame: Frame
    lie: float
    size: tuple[int, int]

    @classmethod
    def learn(
        cls,
        items: Float[Tensor, "n c h w"],
        size: Literal["item", "part"] | tuple[int, int] = "item",
        margin: float = 0.05,
    ) -> Registration:
        """The mean part of known-good items; 128 of them, evenly spread, are looked at where there are more.

        Args:
            items: (n, c, h, w) in [-1, 1].
            size: of prepared pictures: ``item``, as the items, the part at its own scale or smaller if it would not fit;
                ``part``, as the part with its margin, at its own scale, sides rounded up to multiples of 16;
                or a height and a width that the part with its margin fills.
            margin: left free around the mean part, as a share of its length, .5 at most.

        Raises:
            TooFewItems: a part stands apart in fewer than 8 items, or in fewer than half of them.
            InvalidSetting: a size below 8 pixels, or a margin that is none.
        """
        _check(size, margin)
        few = items[:: -(-len(items) // LOOKED_AT)] if len(items) else items
        parts = [part for part in map(found, few) if part is not None]
        if len(parts) < max(FEWEST, len(few) / 2):
            raise TooFewItems(
                f"registration learns from {FEWEST} items or more, at least half of which show a part apart from its background; of {len(few)} "
                f"looked at {len(parts)} do; give more items, or leave them as they lie"
            )
        height, width = tuple(items.shape[2:]) if isinstance(size, str) else size
        lie = math.pi / 2 if height > width and size != "part" else 0.0
        template, box = learned(parts, lie)
        return cls(template, _framed(size, box, margin, (items.shape[2], items.shape[3])), lie, (items.shape[2], items.shape[3]))

    def shape(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        return (shape[0], self.frame.height, self.frame.width)

    def __call__(self, items: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c height width"]:
        """The items, each with its part in the place of the mean part.

        Raises:
            WrongShape: items of another size than those learned from, or with other channels.
        """
        self._accept(items)
        return torch.stack([self._one(item) for item in items]) if len(items) else items.new_zeros(0, *self.shape((items.shape[1], 0, 0)))

    def poses(self, items: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 3"]:
        """Where the middle of the frame lies in each item, x and y in pixels, and how it is turned there, in radians from x to y.

        NaN for an item in which no part stands apart.
        """
        self._accept(items)
        return torch.stack([self._pose(item) for item in items]) if len(items) else torch.zeros(0, 3, dtype=torch.float64)

    def map_back(self, maps: Float[Tensor, "n height width"], items: Float[Tensor, "n c h w"]) -> Float[Tensor, "n h w"]:
        """Maps turned and moved to where the part lies in the items; each map's lowest value where it has nothing to say."""
        poses = self.poses(items)
        return torch.stack([self._back(one, pose) for one, pose in zip(maps, poses, strict=True)]) if len(maps) else maps.new_zeros(0, *self.size)

    def config(self) -> dict[str, Any]:
        frame, seen = self.frame, self.template.frame
        return {
            "name": "registration",
            "frame": [frame.height, frame.width, frame.scale],
            "template": [seen.height, seen.width, seen.scale],
            "starts": self.template.starts,
            "lie": self.lie,
            "size": list(self.size),
        }

    def tensors(self) -> dict[str, Tensor]:
        return {"picture": self.template.picture, "weight": self.template.weight, "tone": self.template.tone}

    @classmethod
    def made_of(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Registration:
        template = Template(tensors["picture"], tensors["weight"], Frame(*config["template"]), config["starts"], tensors["tone"])
        return cls(template, Frame(*config["frame"]), config["lie"], (config["size"][0], config["size"][1]))

    def _one(self, item: Tensor) -> Tensor:
        part = found(item)
        if part is None:
            return self._as_it_lies(item)
        return self._seen(item, part.background, self.template.fit(part, self.lie)[0])

    def _seen(self, item: Tensor, background: Tensor, pose: Tensor) -> Tensor:
        pool = max(1, int(1 / self.frame.scale))
        away = avg_pool2d((item - background)[None], pool)[0]
        prepared = taken(away, pose[None], self.frame, pool, "bicubic")[0] + background
        return torch.minimum(torch.maximum(prepared, item.amin((1, 2), keepdim=True)), item.amax((1, 2), keepdim=True))

    def _as_it_lies(self, item: Tensor) -> Tensor:
        if self._same:
            return item
        return self._seen(item, item.flatten(1).median(1).values[:, None, None], self._middle)

    def _pose(self, item: Tensor) -> Tensor:
        part = found(item)
        return torch.full((3,), math.nan, dtype=torch.float64) if part is None else self.template.fit(part, self.lie)[0]

    def _back(self, one: Tensor, pose: Tensor) -> Tensor:
        if self._same and pose.isnan().any():
            return one
        lowest = one.min()
        return lowest + returned(one - lowest, self._middle if pose.isnan().any() else pose, self.frame, self.size)

    @property
    def _same(self) -> bool:
        return (self.frame.height, self.frame.width) == self.size

    @cached_property
    def _middle(self) -> Tensor:
        return torch.tensor([(self.size[1] - 1) / 2, (self.size[0] - 1) / 2, 0.0], dtype=torch.float64)

    def _accept(self, items: Tensor) -> None:
        learned_from = (len(self.template.tone), *self.size)
        if tuple(items.shape[1:]) != learned_from:
            raise WrongShape(f"this registration was learned from items of shape {learned_from}; got {tuple(items.shape[1:])}; learn it from such items")


def _check(size: str | tuple[int, int], margin: float) -> None:
    if size not in ("item", "part") and (isinstance(size, str) or len(size) != 2 or min(size) < 8):
        raise InvalidSetting(f"the size of registered pictures is 'item', 'part', or a height and a width of 8 pixels or more; got {size!r}")
    if not 0 <= margin <= 0.5:
        raise InvalidSetting(f"the margin around a registered part is between 0 and .5 of its length; got {margin}")


def _framed(size: str | tuple[int, int], box: tuple[float, float], margin: float, item: tuple[int, int]) -> Frame:
    """The frame of prepared pictures, for a mean part of that height and width."""
    high, wide = (side + 2 * margin * max(box) for side in box)
    if size == "part":
        return Frame(16 * math.ceil(high / 16), 16 * math.ceil(wide / 16), 1.0)
    height, width = item if isinstance(size, str) else size
    scale = min(height / high, width / wide)
    return Frame(height, width, min(1.0, scale) if size == "item" else scale)
