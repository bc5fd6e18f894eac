"""Pictures that owe nobody a licence: what the bundled base model learns from. Every picture follows from its number alone.

    python scripts/base_pictures.py sheet.png     a sheet of them to look at

Four worlds are mixed: dead leaves (things that hide each other, of all sizes), coloured noise (spectra that fall as natural ones do),
fractals (ridges, clouds, Julia sets) and rendered shapes (solids under a light, strokes, gratings). Scenes lay one over another, under
a common palette, with shading, haze and grain. They are drawn at four times their size and reduced by averaging, as a lens and a sensor would.

Sources: Lee, Mumford and Huang 2001 for dead leaves; Field 1987 for spectra; Baradad et al. 2021 (2106.05963) for learning to see from noise.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

#: Pixels a side, and how many times as many it is drawn with.
SIDE, FINER = 32, 4
#: Of pictures that are grey.
GREY = 0.15

Rng = np.random.Generator
Plane = np.ndarray


def picture(number: int, side: int = SIDE) -> np.ndarray:
    """The picture of that number, (3, side, side) float32 from -1 to 1; the same on every machine but for rounding."""
    rng = np.random.default_rng([2026, number])
    colours = palette(rng)
    scene = coloured(WORLDS[rng.integers(len(WORLDS))](rng, side * FINER), colours, rng)
    for _ in range(rng.integers(0, 3)):  # something before something else
        mask = WORLDS[rng.integers(len(WORLDS))](rng, side * FINER) if rng.random() < 0.5 else blobs(rng, side * FINER)
        over = coloured(WORLDS[rng.integers(len(WORLDS))](rng, side * FINER), palette(rng) if rng.random() < 0.5 else colours, rng)
        share = _edge(mask, rng.uniform(0.3, 0.7), 10 ** rng.uniform(-2, -0.5))
        scene = share * over + (1 - share) * scene
    scene = taken(scene, rng)
    small = scene.reshape(3, side, FINER, side, FINER).mean((2, 4))
    if rng.random() < GREY:
        small = np.repeat(np.tensordot([0.299, 0.587, 0.114], small, 1)[None], 3, axis=0)
    return (2 * np.clip(small, 0, 1) - 1).astype(np.float32)


def pictures(first: int, count: int, side: int = SIDE) -> np.ndarray:
    """So many pictures from that number on, (count, 3, side, side)."""
    return np.stack([picture(number, side) for number in range(first, first + count)])


def _ranked(plane: Plane) -> Plane:
    """The same order, evenly from 0 to 1: what a palette reads."""
    flat = plane.ravel()
    order = np.empty(flat.size)
    order[np.argsort(flat, kind="stable")] = np.linspace(0, 1, flat.size)
    return order.reshape(plane.shape)


def _stretched(plane: Plane) -> Plane:
    low, high = np.quantile(plane, [0.01, 0.99])
    return np.clip((plane - low) / max(high - low, 1e-9), 0, 1)


def _edge(plane: Plane, at: float, soft: float) -> Plane:
    return 1 / (1 + np.exp(-np.clip((_ranked(plane) - at) / soft, -30, 30)))


def noise(rng: Rng, side: int, steep: float | None = None) -> Plane:
    """Gaussian noise whose amplitude falls as 1 / f^steep, stretched along one direction."""
    steep = rng.uniform(0.4, 2.2) if steep is None else steep
    down, across = np.meshgrid(np.fft.fftfreq(side), np.fft.rfftfreq(side), indexing="ij")
    turn, stretch = rng.uniform(0, np.pi), 2 ** rng.uniform(0, 2)
    along, beside = np.cos(turn) * across + np.sin(turn) * down, np.cos(turn) * down - np.sin(turn) * across
    frequency = np.sqrt((along * stretch) ** 2 + (beside / stretch) ** 2)
    frequency[0, 0] = 1
    spectrum = (rng.normal(size=frequency.shape) + 1j * rng.normal(size=frequency.shape)) / frequency**steep
    spectrum[0, 0] = 0
    return np.fft.irfft2(spectrum, (side, side))


def coloured_noise(rng: Rng, side: int) -> Plane:
    return _stretched(noise(rng, side))


def leaves(rng: Rng, side: int) -> Plane:
    """Discs, ellipses and polygons that hide each other; radii follow a power law, so that no size is special."""
    plane, (rows, columns) = np.zeros((side, side)), np.mgrid[:side, :side]
    smallest, kind, textured = rng.uniform(0.02, 0.1) * side, rng.integers(3), rng.random() < 0.5
    texture = _stretched(noise(rng, side)) if textured else 0.0
    for _ in range(rng.integers(15, 90)):
        radius = min(smallest / np.sqrt(1 - rng.random() * (1 - (smallest / (0.6 * side)) ** 2)), 0.6 * side)
        y, x = rng.uniform(-0.2, 1.2, 2) * side
        turn, flat = rng.uniform(0, np.pi), rng.uniform(0.3, 1.0) if kind else 1.0
        top, left = (int(max(0, c - radius - 1)) for c in (y, x))
        bottom, right = (int(max(0, min(side, c + radius + 2))) for c in (y, x))
        down, across = rows[top:bottom, left:right] - y, columns[top:bottom, left:right] - x
        along, beside = np.cos(turn) * across + np.sin(turn) * down, (np.cos(turn) * down - np.sin(turn) * across) / flat
        inside = np.maximum(abs(along), abs(beside)) < 0.75 * radius if kind == 2 else along**2 + beside**2 < radius**2
        shade = rng.uniform(-0.3, 0.3) * along / radius + rng.random()
        seen = plane[top:bottom, left:right]
        seen[inside] = (shade + (0.5 * rng.random() * (texture[top:bottom, left:right] - 0.5) if textured else 0))[inside]
    return plane


def ridges(rng: Rng, side: int) -> Plane:
    """Ridged and billowed noise: mountains, marble, clouds."""
    plane = sum(abs(noise(rng, side, rng.uniform(1, 2))) * s for s in rng.normal(size=rng.integers(1, 4)))
    return _stretched(np.sin(rng.uniform(1, 12) * _stretched(plane)) if rng.random() < 0.4 else plane)


def julia(rng: Rng, side: int) -> Plane:
    """How soon points leave under z -> z^2 + c, c near the edge of the Mandelbrot set."""
    turn = rng.uniform(0, 2 * np.pi)
    c = (0.5 * np.exp(1j * turn) - 0.25 * np.exp(2j * turn)) * rng.uniform(1.0, 1.15)
    centre, zoom = rng.uniform(-0.6, 0.6, 2), rng.uniform(0.3, 1.4)
    down, across = np.meshgrid(np.linspace(-zoom, zoom, side), np.linspace(-zoom, zoom, side), indexing="ij")
    z, gone = (across + centre[0]) + 1j * (down + centre[1]), np.zeros((side, side))
    for _ in range(32):
        z = np.where(abs(z) < 4, z * z + c, z)
        gone += np.exp(-abs(z))
    return _stretched(gone)


def blobs(rng: Rng, side: int) -> Plane:
    """One or a few round or angular bodies: where something stands before something else."""
    rows, columns = (np.mgrid[:side, :side] + 0.5) / side
    best = np.full((side, side), -np.inf)
    for _ in range(rng.integers(1, 4)):
        y, x, size = *rng.uniform(0.15, 0.85, 2), rng.uniform(0.1, 0.5)
        turn, power, flat = rng.uniform(0, np.pi), rng.choice([1.0, 2.0, 2.0, 4.0]), rng.uniform(0.4, 1)
        along, beside = np.cos(turn) * (columns - x) + np.sin(turn) * (rows - y), np.cos(turn) * (rows - y) - np.sin(turn) * (columns - x)
        lobes = 1 + rng.uniform(0, 0.3) * np.cos(rng.integers(2, 7) * np.arctan2(beside, along))
        best = np.maximum(best, 1 - ((abs(along) / size) ** power + (abs(beside) / (flat * size)) ** power) / lobes)
    return best


def solids(rng: Rng, side: int) -> Plane:
    """Rounded bodies under one light, on a shaded ground."""
    height = np.clip(blobs(rng, side), 0, None) ** rng.uniform(0.3, 1.0) + 0.03 * noise(rng, side, 1.5) / 0.05
    down, across = np.gradient(height * side / rng.uniform(4, 10))
    turn = rng.uniform(0, 2 * np.pi)
    light = (np.cos(turn) * across + np.sin(turn) * down + 1) / np.sqrt(across**2 + down**2 + 1)
    return _stretched(light + (height > 0.05) * rng.uniform(-1, 1))


def strokes(rng: Rng, side: int) -> Plane:
    """Curved lines of some width: writing, twigs, wires."""
    plane, (rows, columns) = np.zeros((side, side)), np.mgrid[:side, :side] / side
    for _ in range(rng.integers(1, 9)):
        ends = rng.uniform(-0.1, 1.1, (3, 2))
        t = np.linspace(0, 1, 24)[:, None]
        path = (1 - t) ** 2 * ends[0] + 2 * t * (1 - t) * ends[1] + t**2 * ends[2]
        near = np.min([(rows - y) ** 2 + (columns - x) ** 2 for y, x in path], axis=0)
        plane = np.maximum(plane, np.exp(-near / rng.uniform(0.01, 0.06) ** 2) * rng.uniform(0.4, 1))
    return plane


def gratings(rng: Rng, side: int) -> Plane:
    """Stripes, checks, weaves, bent and uneven."""
    rows, columns = np.mgrid[:side, :side] / side
    bend = rng.uniform(0, 0.15) * _stretched(noise(rng, side, 1.8))
    turn, fine, sharp = rng.uniform(0, np.pi), rng.uniform(2, 11), rng.choice([0.5, 3.0, 20.0])
    along, beside = np.cos(turn) * columns + np.sin(turn) * rows + bend, np.cos(turn) * rows - np.sin(turn) * columns + bend
    wave = np.sin(2 * np.pi * fine * along)
    if rng.random() < 0.5:
        wave = wave * np.sin(2 * np.pi * fine * rng.uniform(0.5, 1.5) * beside) if rng.random() < 0.5 else wave + np.sin(2 * np.pi * fine * beside)
    return _stretched(np.tanh(sharp * wave) + 0.3 * noise(rng, side, 1.0))


WORLDS: tuple[Callable[[Rng, int], Plane], ...] = (leaves, leaves, coloured_noise, ridges, julia, solids, solids, strokes, gratings, blobs)


def palette(rng: Rng) -> np.ndarray:
    """Three to six colours in the order of their brightness or in none, (k, 3): most of them muted, as the world is."""
    many = rng.integers(3, 7)
    hue, spread, vivid = rng.random(), 10 ** rng.uniform(-2, 0), rng.beta(1.2, 3, many)[:, None]
    hues = (hue + spread * rng.normal(size=many))[:, None] + np.array([0, 1 / 3, 2 / 3])
    light = rng.uniform(0.02, 0.98, many)
    light = np.sort(light) if rng.random() < 0.7 else light
    return np.clip(light[:, None] + 0.5 * vivid * np.cos(2 * np.pi * hues), 0, 1)


def coloured(plane: Plane, colours: np.ndarray, rng: Rng) -> np.ndarray:
    """A plane read through a palette, (3, side, side); hues wander a little by themselves."""
    stops = np.linspace(0, 1, len(colours))
    plane = np.clip(plane, 0, 1) ** (2 ** rng.normal(0, 0.4)) if rng.random() < 0.7 else _ranked(plane)
    flat = np.stack([np.interp(plane, stops, colour) for colour in colours.T])
    return flat + (0.1 * (_stretched(noise(rng, plane.shape[0], 1.5)) - 0.5) * rng.normal(size=3)[:, None, None] if rng.random() < 0.3 else 0)


def taken(scene: np.ndarray, rng: Rng) -> np.ndarray:
    """As a camera would: light that falls off, haze, contrast, blur and grain."""
    side = scene.shape[-1]
    rows, columns = np.mgrid[:side, :side] / side - 0.5
    turn, fall = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.8) * (rng.random() < 0.5)
    scene = scene * (1 + fall * (np.cos(turn) * columns + np.sin(turn) * rows))
    low, high = rng.beta(0.5, 3), 1 - rng.beta(0.5, 3)
    scene = low + np.clip(scene, 0, 1) * max(high - low, 0.15)
    if rng.random() < 0.3:  # out of focus
        frequency = np.fft.fftfreq(side)[:, None] ** 2 + np.fft.rfftfreq(side)[None] ** 2
        scene = np.fft.irfft2(np.fft.rfft2(scene) * np.exp(-frequency * (side * rng.uniform(0.02, 0.25)) ** 2), (side, side))
    grain = 10 ** rng.uniform(-3, -1.1) * (rng.random() < 0.6)
    return scene + grain * FINER / 2 * rng.normal(size=(1 if rng.random() < 0.5 else 3, side, side))


def sheet(count: int = 160) -> Image.Image:
    """Pictures side by side, twice their size."""
    shown = np.rint((pictures(0, count) + 1) * 127.5).astype(np.uint8).transpose(0, 2, 3, 1)
    rows = shown.reshape(-1, 20, SIDE, SIDE, 3).transpose(0, 2, 1, 3, 4).reshape(-1, 20 * SIDE, 3)
    return Image.fromarray(rows).resize((40 * SIDE, 2 * len(rows)), Image.Resampling.NEAREST)


if __name__ == "__main__":
    sheet().save(Path(sys.argv[1] if len(sys.argv) > 1 else "sheet.png"))
