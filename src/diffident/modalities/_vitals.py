"""What a picture tells of how it was made and not of what it shows: its detail, noise, JPEG grid, dead lines; cheap, and measured before it is resized."""

from __future__ import annotations

import math

import numpy as np

#: Of each measure of a picture the smallest difference that means anything: see :func:`diffident.calibration.depth.standing`.
GRAIN = {
    "contrast": 0.01,
    "black": 0.02,
    "white": 0.02,
    "colour": 0.01,
    "dead": 0.01,
    "brightness": 0.01,
    "detail": 0.02,
    "noise": 0.0005,
    "specks": 0.0005,
    "slope": 0.02,
    "blocks": 0.02,
    "stripes": 0.002,
}

#: The texture of a larger picture is measured in its middle, so many pixels a side.
SIDE = 512
#: Grey values are held between minus this and this, white being 1: squares of a float picture's far values would overflow.
FAR = 100.0
#: Of what varies along a line, every frequency counted alike, so much lies below its effective resolution.
BELOW = 0.95
#: Of a compressed picture: the side of its blocks.
BLOCK = 8
#: A step at a block's border is faint; a larger one is drawn, and counts as this.
FAINT = 0.02
#: By so much a pixel must differ from all four of its neighbours, the same way, to be a speck.
SPECK = 0.1
#: Differences at this distance are compared with those of neighbours.
AWAY = 4
#: A median of |x| of Gaussian noise is so much of its deviation.
MEDIAN = 0.6745


def texture(grey: np.ndarray) -> dict[str, float]:
    """Seven plain measures of grey values (h, w), 0 black and 1 white, none of them NaN; each measure is a finite number.

    ``brightness``: the mean. ``detail``: the effective resolution as a share of the side, 1 is all that the pixels can hold; the rule
    is that of :func:`diffident.steps.equalise.resolution`, line by line instead of in the plane, which is cheaper. ``noise``: the robust
    deviation of what neither neighbours across nor down explain. ``specks``: the share of pixels that stand out of all four neighbours
    the same way. ``slope``: how differences grow with distance, 0 for white noise, towards 1 for what is smooth; of a fractal picture
    half of (spectral slope - 2). ``blocks``: faint steps every eight pixels over those between, wherever the grid begins; above 1 is a
    JPEG history. ``stripes``: how far the mean of one row or column lies from those beside it, at most. The last six are of the middle
    512 x 512 pixels.

    >>> texture(np.zeros((8, 8)))["detail"]
    0.0
    """
    held = np.clip(grey, -FAR, FAR)
    found = middle(held)
    return {
        "brightness": float(held.mean(dtype=np.float64)),
        "detail": _detail(found),
        "noise": _noise(found),
        "specks": _specks(found),
        "slope": _slope(found),
        "blocks": math.sqrt(_blocks(found) * _blocks(found.T)),
        "stripes": max(_stripes(found.mean(axis, dtype=np.float64)) for axis in (0, 1)),
    }


def dead(pixels: np.ndarray) -> float:
    """The share of rows and columns of pixels (h, w, channels) in which nothing varies, to the last bit: of a sensor, or of a border.

    >>> dead(np.arange(12).reshape(3, 4, 1) % 4)
    0.5714285714285714
    """
    still = [(pixels == pixels.take([0], axis)).all(axis=(axis, 2)) for axis in (0, 1)]
    return float(np.concatenate(still).mean())


def middle(grey: np.ndarray) -> np.ndarray:
    """The middle of a picture, at most 512 pixels a side."""
    top, left = (max(0, side - SIDE) // 2 for side in grey.shape)
    return np.ascontiguousarray(grey[top : top + SIDE, left : left + SIDE])


def _detail(grey: np.ndarray) -> float:
    """Twice the frequency below which 95 % of the power of every other row lies, or of columns if that is more, every octave counted alike as in nature."""
    if max(grey.shape) < 3:
        return 0.0
    return max(_highest(turned - turned.mean(axis=1, keepdims=True)) for turned in (grey[::2], grey.T[::2]) if turned.shape[1] > 2)


def _highest(rows: np.ndarray) -> float:
    width = rows.shape[1]
    power = np.square(np.abs(np.fft.rfft(rows * np.hanning(width).astype(np.float32), axis=1))).sum(axis=0, dtype=np.float64)
    weighed = (power * np.fft.rfftfreq(width) ** 2).cumsum()
    return 2 * float(np.fft.rfftfreq(width)[(weighed < BELOW * weighed[-1]).sum()]) if weighed[-1] > 1e-9 else 0.0


def _noise(grey: np.ndarray) -> float:
    if min(grey.shape) < 3:
        return 0.0
    across = grey[:, 1:-1] - (grey[:, :-2] + grey[:, 2:]) / 2
    both = across[1:-1] - (across[:-2] + across[2:]) / 2
    return float(np.median(np.abs(both[::2]))) / (MEDIAN * 1.5)  # of independent noise it has 1.5 times the deviation


def _specks(grey: np.ndarray) -> float:
    if min(grey.shape) < 3:
        return 0.0
    around = [grey[:-2, 1:-1], grey[2:, 1:-1], grey[1:-1, :-2], grey[1:-1, 2:]]
    least, most = around[0], around[0]
    for one in around[1:]:
        least, most = np.minimum(least, one), np.maximum(most, one)
    own = grey[1:-1, 1:-1]
    return float((np.maximum(own - most, least - own) > SPECK).mean())


def _slope(grey: np.ndarray) -> float:
    if max(grey.shape) <= AWAY:
        return 0.0
    near, far = (sum(_squares(turned, by) for turned in (grey, grey.T)) for by in (1, AWAY))
    return math.log(far / near) / (2 * math.log(AWAY)) if near > 0 and far > 0 else 0.0


def _squares(grey: np.ndarray, by: int) -> float:
    """The mean square of differences at that distance, down."""
    return float(np.square(grey[by:] - grey[:-by]).mean(dtype=np.float64)) if len(grey) > by else 0.0


def _blocks(grey: np.ndarray) -> float:
    """Of the eight places at which a grid of rows may begin, the one with the largest steps over the mean of the others; 1 where there are none."""
    if len(grey) < 2 * BLOCK + 3:
        return 1.0
    step = np.diff(grey, axis=0)
    sharp = np.minimum(np.abs(step[1:-1] - (step[:-2] + step[2:]) / 2), FAINT).mean(axis=1, dtype=np.float64)
    of = np.array([sharp[start::BLOCK].mean() for start in range(BLOCK)])
    others = (of.sum() - of.max()) / (BLOCK - 1)
    return float(of.max() / others) if others > 1e-9 else float(BLOCK) if of.max() > 1e-9 else 1.0


def _stripes(profile: np.ndarray) -> float:
    return float(np.abs(profile[1:-1] - (profile[:-2] + profile[2:]) / 2).max()) if len(profile) > 2 else 0.0
