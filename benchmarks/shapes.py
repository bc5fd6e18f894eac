"""Shapes: a triangle, a square and a pentagon, each in its own panel or absent, and a strict validator of such pictures.

The world of Aithal et al. 2024 (2406.09358), smaller and drawn with soft edges. A failure is whatever the rule of a picture does not
allow: a shape twice, a shape in another's panel, a shape that is none of the three. No distance to real items enters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from benchmarks.known_truth import FAILURE, GOOD, World
from diffident.modalities.image import Image
from diffident.optimise import Schedule

#: Corners of each shape, in the order of their panels.
KINDS = {"triangle": 3, "square": 4, "pentagon": 5}
#: Of a panel in pixels; of a shape in square pixels; how far a shape keeps from the edge of its panel.
SIDE, AREA, MARGIN = 12, 30.0, 0.5
#: A panel holds its shape if what it shows overlaps the ideal shape at its centre of mass so much: sum of minima over sum of maxima.
OVERLAP = 0.85
#: Grey below this is black; an empty panel holds no more than so much white, in pixels.
DARK, DUST = 0.1, 3.0


def polygon(kind: str) -> np.ndarray:
    """Corners (k, 2) of a regular shape of that area around its centre of mass, as (x, y) with y downward, flat side down."""
    corners = KINDS[kind]
    radius = np.sqrt(2 * AREA / (corners * np.sin(2 * np.pi / corners)))
    angles = np.pi / 2 + np.pi / corners + 2 * np.pi * np.arange(corners) / corners
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def drawn(kind: str, centres: np.ndarray) -> np.ndarray:
    """Panels (n, side, side) from 0 to 1 with that shape around each of some centres (n, 2), (x, y) in pixels: its edges are a pixel soft."""
    corners, here = polygon(kind), np.arange(SIDE) + 0.5
    along = np.roll(corners, -1, axis=0) - corners
    inward = np.stack([-along[:, 1], along[:, 0]], axis=1) / np.linalg.norm(along, axis=1, keepdims=True)
    offset = (inward * corners).sum(1)  # of an edge from the centre, below 0
    across = inward[:, 0, None] * (here - centres[:, :1])[:, None], inward[:, 1, None] * (here - centres[:, 1:])[:, None]  # (n, k, side) each
    depth = (across[0][:, :, None, :] + across[1][:, :, :, None] - offset[:, None, None]).min(1)
    return np.clip(depth + 0.5, 0, 1)


def pictures(n: int, seed: int) -> np.ndarray:
    """Real pictures (n, side, 3 side) from 0 to 1: each panel shows its shape anywhere in it, or with the same chance nothing."""
    rng, panels = np.random.default_rng([seed, 345]), []
    for kind in KINDS:
        low, high = -polygon(kind).min(0) + MARGIN, SIDE - polygon(kind).max(0) - MARGIN
        centres, shown = low + (high - low) * rng.random((n, 2)), rng.random(n) < 0.5
        panels.append(np.concatenate([drawn(kind, part) for part in np.array_split(centres, -(-n // 1000))]) * shown[:, None, None])
    return np.concatenate(panels, axis=2)


def fault(picture: np.ndarray) -> str:
    """What is wrong with a picture (side, 3 side) from 0 to 1; empty if nothing is.

    >>> whole = pictures(8, 0)
    >>> [fault(one) for one in whole[:2]], fault(np.roll(whole[0] + whole[1], SIDE, axis=1)) != ""
    (['', ''], True)
    """
    shown = np.where(picture < DARK, 0.0, np.clip(picture, 0, 1))
    found = [_fault_of(panel, kind) for panel, kind in zip(np.split(shown, len(KINDS), axis=1), KINDS, strict=True)]
    return "; ".join(one for one in found if one)


def _fault_of(panel: np.ndarray, kind: str) -> str:
    """What is wrong with a panel that may show that shape."""
    _, pieces = ndimage.label(panel > 0.5, np.ones((3, 3)))  # type: ignore[misc]
    if not pieces:
        return "" if panel.sum() <= DUST else f"traces where a {kind} may be"
    if pieces > 1:
        return f"{pieces} things where one {kind} may be"
    overlap = {name: _overlap(panel, name) for name in KINDS}
    best = max(overlap, key=overlap.__getitem__)
    if overlap[best] < OVERLAP:
        return f"malformed where a {kind} may be"
    return "" if best == kind else f"a {best} where a {kind} may be"


def _overlap(panel: np.ndarray, kind: str) -> float:
    """How well the panel agrees with the ideal shape at its own centre of mass: 1 is the same."""
    here = np.arange(SIDE) + 0.5
    centre = np.array([panel.sum(0) @ here, panel.sum(1) @ here]) / panel.sum()
    (ideal,) = drawn(kind, centre[None])
    return float(np.minimum(panel, ideal).sum() / np.maximum(panel, ideal).sum())


@dataclass(frozen=True)
class Shapes(World):
    """The three panels as a world with a model of its own."""

    name: str = "shapes"

    samplers: Sequence[tuple[str, int]] = (("ddim", 25), ("ddpm", 25), ("ddim", 50), ("ddpm", 50))
    #: How many pictures are learned from.
    rows = 20_000

    @property
    def lengths(self) -> Mapping[str, int]:
        return {"complete": 240_000, "under-trained": 80_000}

    @property
    def modality(self) -> Image:
        return Image(SIDE, SIDE * len(KINDS))

    @property
    def network(self) -> tuple[str, dict[str, Any]]:
        return "unet", {"channels": 1, "dims": 2, "widths": [64, 64], "blocks": 1, "patch": 2, "head": 32}

    @property
    def schedule(self) -> Schedule:
        return Schedule(batch=32, precision="fp32")

    @property
    def about(self) -> str:
        return f"{SIDE} {AREA} {MARGIN} {self.rows}"

    def learns(self) -> Tensor:
        return _taken(pictures(self.rows, 0))

    def real(self, n: int, seed: int) -> Tensor:
        return _taken(pictures(n, 1 + seed))

    def verdict(self, samples: Tensor) -> np.ndarray:
        return np.array([FAILURE if fault(one) else GOOD for one in self.shown(samples)])

    def shown(self, samples: Tensor) -> np.ndarray:
        """Samples (n, 1, h, w) as pictures (n, h, w) from 0 to 1."""
        return (samples[:, 0].double().numpy() + 1) / 2


def _taken(of: np.ndarray) -> Tensor:
    """Pictures from 0 to 1 as the model takes them, (n, 1, h, w) from -1 to 1."""
    return torch.from_numpy((2 * of - 1)[:, None].astype(np.float32))
