"""The mean of known-good parts, onto which others are turned and moved: correlation decides, and a few Gauss-Newton steps refine.

The picture seen through a frame is I(p) ~ a T(R(phi) p + t) + b, T the mean; to first order this is linear in a, b, a phi and a t,
and since only T is differentiated, the least-squares solution is one matrix that is made once (inverse composition).

Source: Baker and Matthews, Lucas-Kanade 20 years on, IJCV 2004; gain and bias as in its part 3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool2d

from ._pose import Frame, Part, composed, taken

#: A part is compared at no more than so many pixels along the frame: first coarsely, then finely.
COARSE, FINE = 40, 160
#: Refinements at the coarse and at the fine level.
STEPS = (8, 5)
#: A refinement turns and shifts by no more than this: radians, and shares of the frame's longer side.
FARTHEST = (0.12, 0.06)
#: Times that the mean is taken anew.
ROUNDS = 3
#: From this roundness on the long axis says nothing: a part is tried all around.
ROUND, AROUND = 0.7, 24


@dataclass(frozen=True, eq=False)
class Template:
    """What the mean part looks like through a frame.

    Attributes:
        picture: (height, width), the mean over items of their tone less the background's.
        weight: (height, width), how much each position counts in a comparison.
        frame: of the picture; its scale is 1 / a whole number, so that the sides of items are pooled alike.
        starts: how many angles are tried.
        tone: (c,), how channels make one number: by how much the part differs from its background in each, in sum 1.
    """

    picture: Tensor
    weight: Tensor
    frame: Frame
    starts: int
    tone: Tensor

    @cached_property
    def levels(self) -> tuple[tuple[_Level, int], ...]:
        """Coarse and fine, each with the number of refinements."""
        coarser = 1
        while max(self.frame.height, self.frame.width) / coarser > COARSE and coarser < 4:
            coarser *= 2
        fine = (_Level(self.picture, self.weight, self.frame), STEPS[1])
        return ((_Level.pooled(self.picture, self.weight, self.frame, coarser), STEPS[0]), fine)

    def fit(self, part: Part, lie: float) -> tuple[Tensor, float]:
        """The pose (3,) float64 at which the part looks most like the mean, and the correlation there.

        Args:
            lie: the angle at which long axes lie in the frame, in radians.
        """
        around = torch.arange(self.starts, dtype=torch.float64) * (2 * math.pi / self.starts)
        poses = part.pose.repeat(self.starts, 1)
        poses[:, 2] += around - lie
        tone, alike = _toned(part, self.tone), torch.zeros(1)
        for level, steps in self.levels:
            poses, alike = level.refined(tone, poses, steps)
            best = int(alike.argmax())
            poses, alike = poses[best : best + 1], alike[best : best + 1]
        return poses[0], float(alike[0])


class _Level:
    """A template at one resolution with what is needed to compare and to refine; sums in double precision."""

    def __init__(self, picture: Tensor, weight: Tensor, frame: Frame) -> None:
        self.frame, self.pool = frame, round(1 / frame.scale)
        weight = weight.double().flatten() / weight.double().sum()
        down, right = torch.gradient(picture.double(), spacing=1 / frame.scale)
        x, y = frame.places().double().unbind(-1)
        columns = [picture.double(), torch.ones_like(right), right, down, down * x - right * y]
        shown = torch.stack([column.flatten() for column in columns], dim=1)
        self.solve = torch.linalg.pinv(weight.sqrt()[:, None] * shown, rtol=1e-8) * weight.sqrt()
        centred = shown[:, 0] - (weight * shown[:, 0]).sum()
        self.weight, self.compare = weight, weight * centred / (weight * centred.square()).sum().sqrt().clamp(min=1e-12)

    @classmethod
    def pooled(cls, picture: Tensor, weight: Tensor, frame: Frame, by: int) -> _Level:
        small = [avg_pool2d(plane[None, None], by)[0, 0] for plane in (picture, weight)]
        return cls(small[0], small[1], Frame(frame.height // by, frame.width // by, frame.scale / by))

    def refined(self, tone: Tensor, poses: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """The best poses (s, 3) on the way from each start, and their correlations (s,)."""
        small = avg_pool2d(tone[None], self.pool)[0]
        farthest = torch.tensor([FARTHEST[1] * max(self.frame.height, self.frame.width) / self.frame.scale] * 2 + [FARTHEST[0]]).double()
        best, highest = poses, torch.full((len(poses),), -math.inf, dtype=torch.float64)
        for step in range(steps + 1):
            seen = taken(small, poses, self.frame, self.pool)[:, 0].flatten(1).double()
            alike = self._alike(seen)
            better = alike > highest
            best, highest = torch.where(better[:, None], poses, best), torch.where(better, alike, highest)
            if step < steps:
                poses = composed(poses, self._move(seen, farthest))
        return best, highest

    def _alike(self, seen: Tensor) -> Tensor:
        """Weighted correlations of pictures (s, pixels) with the mean."""
        centred = seen - (seen * self.weight).sum(1, keepdim=True)
        return (centred * self.compare).sum(1) / (centred.square() * self.weight).sum(1).sqrt().clamp(min=1e-12)

    def _move(self, seen: Tensor, farthest: Tensor) -> Tensor:
        """The move (s, 3) of the frame that makes the pictures more like the mean; none where light and dark are exchanged."""
        found = (self.solve[None] * seen[:, None]).sum(2)
        move = torch.where(found[:, :1] > 1e-6, found[:, 2:] / found[:, :1].clamp(min=1e-6), 0.0).clamp(-farthest, farthest)
        cos, sin = move[:, 2].cos(), move[:, 2].sin()
        x, y = move[:, 0], move[:, 1]
        return torch.stack([-(cos * x + sin * y), -(cos * y - sin * x), -move[:, 2]], dim=1)


def learned(parts: Sequence[Part], lie: float) -> tuple[Template, tuple[float, float]]:
    """The mean of parts in a few rounds, each turned and moved onto the mean of the round before; and the height and width of its box.

    It begins with one part, that of median area: a mean of parts whose ends are mixed up would stay so. In the end the box around
    the mean part is centred and its long axis laid along the frame.

    Returns:
        The template, and how far the mean part extends across and along, in pixels of the item.
    """
    turned = float(torch.tensor([part.roundness for part in parts]).median()) > ROUND
    reach = torch.tensor([part.reach for part in parts]).median(0).values.tolist()
    along, across = [max(reach)] * 2 if turned else reach
    frame, starts = _frame(along, across, lie), AROUND if turned else 2
    tone = torch.stack([_difference(part) for part in parts]).mean(0)
    tone = tone / tone.abs().sum().clamp(min=1e-6)
    first = sorted(parts, key=lambda part: float(part.mask.sum()) * part.pool**2)[len(parts) // 2]
    poses = (first.pose - torch.tensor([0.0, 0.0, lie]).double())[None]
    template, mask = _mean([first], poses, frame, starts, tone)
    for _ in range(ROUNDS):
        poses = torch.stack([template.fit(part, lie)[0] for part in parts])
        template, mask = _mean(parts, poses, frame, starts, tone)
    move, _ = _box(mask, frame, lie, starts)
    template, mask = _mean(parts, composed(poses, move), frame, starts, tone)
    return template, _box(mask, frame, lie, starts)[1]


def _difference(part: Part) -> Tensor:
    """(c,): by how much the part differs from its background, in the mean."""
    return (avg_pool2d(part.away[None], part.pool)[0] * part.mask).sum((1, 2)) / part.mask.sum()


def _toned(part: Part, tone: Tensor) -> Tensor:
    return (part.away * tone[:, None, None]).sum(0, keepdim=True)


def _frame(along: float, across: float, lie: float) -> Frame:
    """Room for a part that reaches so far from its middle, and for a quarter more; sides are multiples of 4."""
    sides = [2.5 * along, 2.5 * across] if lie else [2.5 * across, 2.5 * along]
    pool = -(-max(sides) // FINE)
    height, width = (4 * math.ceil(max(side / pool, 8) / 4) for side in sides)
    return Frame(height, width, 1 / pool)


def _mean(parts: Sequence[Part], poses: Tensor, frame: Frame, starts: int, tone: Tensor) -> tuple[Template, Tensor]:
    """The mean of what is seen of parts at their poses, and the share of them that is at each position."""
    pool = round(1 / frame.scale)
    seen, masks = torch.zeros(frame.height, frame.width).double(), torch.zeros(frame.height, frame.width).double()
    for part, pose in zip(parts, poses, strict=True):
        small = avg_pool2d(_toned(part, tone)[None], pool)[0]
        seen += taken(small, pose[None], frame, pool)[0, 0]
        masks += taken(part.mask[None].to(small), pose[None], frame, part.pool)[0, 0]
    mask = (masks / len(parts)).float()
    room = 2 * (max(frame.height, frame.width) // 40) + 1
    weight = max_pool2d(mask[None, None], room, 1, room // 2)[0, 0]
    return Template((seen / len(parts)).float(), weight, frame, starts, tone), mask


def _box(mask: Tensor, frame: Frame, lie: float, starts: int) -> tuple[Tensor, tuple[float, float]]:
    """The move (3,) that centres the box around a mean mask and lays its axis along, and the box's height and width in pixels of the item."""
    at = frame.places()[mask >= 0.5].double()
    off = at - at.mean(0)
    xx, xy, yy = (float((off[:, i] * off[:, j]).mean()) for i, j in ((0, 0), (0, 1), (1, 1)))
    tilt = 0.0 if starts > 2 else math.remainder(0.5 * math.atan2(2 * xy, xx - yy) - lie, math.pi)
    cos, sin = math.cos(tilt), math.sin(tilt)
    along = torch.stack([cos * at[:, 0] + sin * at[:, 1], cos * at[:, 1] - sin * at[:, 0]])
    low, high = along.amin(1), along.amax(1)
    x, y = ((low + high) / 2).tolist()
    width, height = (high - low + 1 / frame.scale).tolist()
    return torch.tensor([cos * x - sin * y, sin * x + cos * y, tilt]).double(), (height, width)
