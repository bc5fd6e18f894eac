"""Where a part lies in a picture: found by what differs from the background, taken out by a turn and a shift, and put back.

A pose is (x, y, angle): where the centre of a frame lies in the item, in pixels from the middle of its first pixel, and by how
much the frame is turned there, in radians from the x axis towards the y axis (which points down). A position p of the frame, in
pixels of the item from the frame's centre, is the position (x, y) + R(angle) p of the item.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample

#: Pictures are looked through at no more than so many pixels along their longer side.
LOOKED = 128
#: A part differs from the background by at least so many times what the background differs from itself.
APART = 5.0
#: ... and is where the difference is above this share of the largest.
INSIDE = 0.35
#: The share of the picture that a part covers, at least and at most; and of the border at most.
COVERS, AT_BORDER = (0.003, 0.6), 0.35


@dataclass(frozen=True)
class Frame:
    """A window on the part: so many pixels, ``scale`` of them to a pixel of the item."""

    height: int
    width: int
    scale: float

    def places(self) -> Tensor:
        """(height, width, 2): x and y of each pixel from the frame's centre, in pixels of the item."""
        y = (torch.arange(self.height, dtype=torch.float32) - (self.height - 1) / 2) / self.scale
        x = (torch.arange(self.width, dtype=torch.float32) - (self.width - 1) / 2) / self.scale
        return torch.stack([x.expand(self.height, -1), y[:, None].expand(-1, self.width)], dim=-1)


@dataclass(frozen=True, eq=False)
class Part:
    """What was found in an item.

    Attributes:
        away: (c, h, w), the item less its background.
        background: (c, 1, 1), the median of its border.
        mask: (h / pool, w / pool), 1 where the part is.
        pool: pixels of the item along a side of a pixel of the mask.
        pose: (3,) float64; the centroid and the long axis.
        roundness: 0 for a line, 1 where no axis is longer.
        reach: how far the part extends from its centroid along its long axis and across it, in pixels.
    """

    away: Tensor
    background: Tensor
    mask: Tensor
    pool: int
    pose: Tensor
    roundness: float
    reach: tuple[float, float]


def found(item: Tensor) -> Part | None:
    """The part in an item (c, h, w), or None: nothing stands apart, or it covers nearly all or runs along the border."""
    background = _border(item).median(dim=1).values[:, None, None]
    away = item - background
    pool = -(-max(item.shape[1:]) // LOOKED)
    distance = avg_pool2d(away[None], pool)[0].square().mean(0).sqrt()
    edge = _border(distance[None])[0]
    noise = 1.4826 * edge.median()
    high = distance.flatten().kthvalue(1 + round(0.995 * (distance.numel() - 1))).values
    if high <= max(APART * float(noise), 1e-3):
        return None
    mask = _main((distance > torch.maximum(INSIDE * high, 3 * noise)).numpy())
    share, along = float(mask.float().mean()), float(_border(mask[None].float()).mean())
    if not COVERS[0] <= share <= COVERS[1] or along > AT_BORDER:
        return None
    return Part(away, background, mask, pool, *_moments(mask, pool))


def taken(away: Tensor, poses: Tensor, frame: Frame, pool: int = 1, mode: str = "bilinear") -> Tensor:
    """What is seen through a frame at each pose, (s, c, height, width); zero outside the item.

    Args:
        away: (c, h, w), pooled already by ``pool``.
        poses: (s, 3).
    """
    turn = _turns(poses).to(away)
    at = frame.places().to(away) @ turn.transpose(1, 2)[:, None] + poses[:, None, None, :2].to(away)
    sides = torch.tensor([away.shape[2] * pool, away.shape[1] * pool]).to(away)
    grid = (2 * at + 1) / sides - 1  # align_corners=False: -1 and 1 are the outer edges of the outer pixels
    return grid_sample(away.expand(len(poses), -1, -1, -1), grid, mode=mode, padding_mode="zeros", align_corners=False)


def returned(seen: Tensor, pose: Tensor, frame: Frame, size: tuple[int, int]) -> Tensor:
    """The inverse of :func:`taken` for one pose (3,): what the frame (height, width) shows, where it lies in the item (h, w); zero outside."""
    pool = max(1, int(frame.scale))
    seen = avg_pool2d(seen[None, None], pool)
    places = Frame(size[0], size[1], 1.0).places() + torch.tensor([(size[1] - 1) / 2, (size[0] - 1) / 2]) - pose[:2].float()
    at = places.to(seen) @ _turns(pose[None])[0].to(seen) * frame.scale
    sides = torch.tensor([seen.shape[3] * pool, seen.shape[2] * pool]).to(seen)
    whole = torch.tensor([frame.width, frame.height]).to(seen)
    return grid_sample(seen, ((2 * at + whole) / sides - 1)[None], mode="bilinear", padding_mode="zeros", align_corners=False)[0, 0]


def composed(poses: Tensor, moves: Tensor) -> Tensor:
    """Poses (s, 3) of frames that are moved within their frames by (s, 3), or all by one (3,)."""
    shift = (_turns(poses) @ moves[..., :2].expand(len(poses), 2)[:, :, None])[:, :, 0]
    return torch.cat([poses[:, :2] + shift, poses[:, 2:] + moves[..., 2:].expand(len(poses), 1)], dim=1)


def _turns(poses: Tensor) -> Tensor:
    cos, sin = poses[:, 2].cos(), poses[:, 2].sin()
    return torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], dim=-2)


def _border(planes: Tensor) -> Tensor:
    """(c, h, w) -> (c, m): the pixels of a narrow ring along the edges."""
    ring = max(1, min(planes.shape[1:]) // 32)
    sides = (planes[:, :ring], planes[:, -ring:], planes[:, ring:-ring, :ring], planes[:, ring:-ring, -ring:])
    return torch.cat([side.flatten(1) for side in sides], dim=1)


def _main(mask: Any) -> Tensor:
    """The largest connected piece, and those at least a quarter as large."""
    import numpy as np
    from scipy import ndimage

    labels: Any = ndimage.label(mask, structure=np.ones((3, 3)))[0]  # type: ignore[index]
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    return torch.from_numpy((areas >= max(1, areas.max() / 4))[labels])


def _moments(mask: Tensor, pool: int) -> tuple[Tensor, float, tuple[float, float]]:
    """Pose, roundness and reach of a mask, in pixels of the item."""
    rows, columns = torch.nonzero(mask, as_tuple=True)
    at = (torch.stack([columns, rows]).double() + 0.5) * pool - 0.5
    centre = at.mean(1)
    off = at - centre[:, None]
    (xx, xy), (_, yy) = (off @ off.T / at.shape[1]).tolist()
    angle = 0.5 * math.atan2(2 * xy, xx - yy)
    half, apart = (xx + yy) / 2, math.hypot((xx - yy) / 2, xy)
    axes = off.T @ torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]).double()
    along, across = (axes.abs().amax(0) + pool / 2).tolist()
    roundness = math.sqrt(max(half - apart, 0.0) / max(half + apart, 1e-12))
    return torch.tensor([*centre.tolist(), angle], dtype=torch.float64), roundness, (along, across)
