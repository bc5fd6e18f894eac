"""The colours of maps: one scale of even steps, transparent where an item is ordinary, the same for all items of a report."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from ..detector import Detector

#: From magenta over red to light yellow: lightness, hue in degrees, and one chroma that every screen can show.
LIGHTNESS, HUE, CHROMA = (0.52, 0.93), (-30.0, 105.0), 0.14

#: How much of the picture the faintest and the strongest colour cover.
COVER = (0.55, 0.9)

FROM_KEPT = (
    "The same colours mean the same everywhere. They are set by the maps of {} known-good pictures: uncoloured is where 99 of 100 of their "
    "positions lie, and the last colour is as strange as the strangest of their positions, or stranger."
)
FROM_MEAN = "The same colours mean the same everywhere. No known-good pictures were kept, so they go from 3 to 30 times the mean of {} known-good maps."
FROM_ITSELF = "No known-good maps to compare with: the colours show the highest tenth of this one map, and nothing about its strangeness."


@dataclass(frozen=True)
class Scale:
    """Which height of a map gets which colour.

    Attributes:
        low: transparent up to here.
        high: the last colour from here on.
        says: where the numbers come from, for people.
    """

    low: float
    high: float
    says: str

    def position(self, heights: np.ndarray) -> np.ndarray:
        """0 at ``low`` to 1 at ``high``, beyond them too; what is not a number is ordinary."""
        width = self.high - self.low
        return np.nan_to_num((np.asarray(heights, dtype=np.float64) - self.low) / (width if width > 0 else 1.0), nan=-1.0, posinf=1.0, neginf=-1.0)


@cache
def table() -> np.ndarray:
    """(256, 3) uint8: colours at equal steps of the Oklab space, so that equal differences of a map look equal.

    Source of the space: Ottosson 2020, "A perceptual color space for image processing".
    """
    t = np.linspace(0, 1, 256)
    lightness, hue = LIGHTNESS[0] + t * (LIGHTNESS[1] - LIGHTNESS[0]), np.radians(HUE[0] + t * (HUE[1] - HUE[0]))
    a, b = CHROMA * np.cos(hue), CHROMA * np.sin(hue)
    cones = np.stack([lightness + 0.3963378 * a + 0.2158038 * b, lightness - 0.1055613 * a - 0.0638542 * b, lightness - 0.0894842 * a - 1.2914855 * b]) ** 3
    to_rgb = np.array([[4.0767417, -3.3077116, 0.2309699], [-1.2684380, 2.6097574, -0.3413194], [-0.0041961, -0.7034186, 1.7076147]])
    linear = np.clip(to_rgb @ cones, 0, 1)
    return np.rint(255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)).T.astype(np.uint8)


def paint(heights: np.ndarray, scale: Scale) -> np.ndarray:
    """A map (h, w) as colours with transparency, (h, w, 4) uint8."""
    t = scale.position(heights)
    index = np.clip(np.rint(255 * t), 0, 255).astype(int)
    cover = np.where(t > 0, COVER[0] + (COVER[1] - COVER[0]) * np.clip(t, 0, 1), 0.0)
    return np.concatenate([table()[index], np.rint(255 * cover)[..., None].astype(np.uint8)], axis=-1)


def scale_of(detector: Detector) -> Scale | None:
    """The scale for every map that a detector's recipe gives, whatever is judged; None if known-good items say nothing of maps.

    From the maps of the known-good items kept: transparent where 99 of 100 of their positions lie, the last colour from the
    highest of them on. Without these, from the mean that the references' maps are known by.
    """
    kept, mapped = detector.gallery, detector.scorer.asked.mapped
    if not mapped:
        return None
    if kept is not None and kept.fingerprint == detector.scorer.fingerprint and math.isfinite(kept.highest):
        return Scale(kept.ordinary, kept.highest, FROM_KEPT.format(len(kept)))
    if detector.calibration is None:
        return None
    known, labels = detector.calibration.references, {reading.label for reading in mapped}
    mean = float(known.values[:, [column in labels for column in known.columns]].mean())
    return Scale(3 * mean, 30 * mean, FROM_MEAN.format(len(known)))


def scale_from(heights: np.ndarray) -> Scale:
    """The scale of one map by itself, where there are no known-good items: its colours compare places, not items."""
    low, high = (float(x) for x in np.nanquantile(heights, [0.9, 1.0]))
    return Scale(low, high, FROM_ITSELF)
