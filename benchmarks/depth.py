"""How many items that a detector cannot judge are declined by plain measures, beside the simple limits; and what that costs of good items and defects.

    python -m benchmarks.depth    pictures of screws, magnetic tiles and faces, broken on purpose

No model is asked: both tests look only at what was measured when a picture was opened. References are drawn three times; the good ones
held out are of the same source. Of defects it is counted how many are declined before anyone could flag them.
"""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw

from benchmarks._common import data, freeze, machine, table
from benchmarks.inspection_sets import SETS, once
from diffident.calibration.depth import Depth, standing
from diffident.calibration.ranks import needed
from diffident.evaluate.labelled import GOOD
from diffident.modalities._raster import raster
from diffident.modalities.image import Image

LEVELS = (0.01, 0.02, 0.05)
REFERENCES = 200
DRAWS = 3
BROKEN = 40
FACES = 400

Vitals = dict[str, float]
Picture = np.ndarray


def _as_pillow(picture: Picture) -> Pillow.Image:
    return Pillow.fromarray(picture)


def resized(picture: Picture, share: float) -> Picture:
    """Made smaller and brought back: another camera's resolution."""
    shown, size = _as_pillow(picture), picture.shape[1::-1]
    small = shown.resize((max(1, round(size[0] * share)), max(1, round(size[1] * share))), Pillow.Resampling.BICUBIC)
    return np.asarray(small.resize(size, Pillow.Resampling.BICUBIC))


def stored(picture: Picture, quality: int) -> Picture:
    """As JPEG gives it back."""
    held = io.BytesIO()
    _as_pillow(picture).save(held, "JPEG", quality=quality)
    return np.asarray(Pillow.open(held))


def noisy(picture: Picture, deviation: float, rng: np.random.Generator) -> Picture:
    return _bytes(picture + 255 * deviation * rng.normal(size=picture.shape))


def specked(picture: Picture, share: float, rng: np.random.Generator) -> Picture:
    """So many pixels black or white: salt and pepper."""
    hit, white = rng.random(picture.shape[:2]) < share, rng.random(picture.shape[:2]) < 0.5
    made = picture.copy()
    made[hit & white], made[hit & ~white] = 255, 0
    return made


def dead_columns(picture: Picture, count: int, rng: np.random.Generator) -> Picture:
    made = picture.copy()
    made[:, rng.choice(picture.shape[1], count, replace=False)] = 0
    return made


def hot_column(picture: Picture, rng: np.random.Generator) -> Picture:
    """One column brighter by a tenth of the range; its pixels still vary."""
    made = picture.astype(np.float64)
    made[:, rng.integers(picture.shape[1])] += 25.5
    return _bytes(made)


def frozen_half(picture: Picture) -> Picture:
    """The lower half repeats one row: a read-out that stopped."""
    made = picture.copy()
    made[len(made) // 2 :] = made[len(made) // 2]
    return made


def page_of(picture: Picture, rng: np.random.Generator) -> Picture:
    """Dark letters on white."""
    page = Pillow.new("L", picture.shape[1::-1], 255)
    draw, letters = ImageDraw.Draw(page), np.array(list("abcdefghijklmnopqrstuvwxyz      "))
    for y in range(4, picture.shape[0] - 8, 12):
        draw.text((4, y), "".join(rng.choice(letters, picture.shape[1] // 6)), fill=0)
    return _like(np.asarray(page), picture)


def spectrogram(picture: Picture, rng: np.random.Generator) -> Picture:
    """Harmonics that glide, and a floor of noise that falls with frequency: how a sound is drawn."""
    height, width = picture.shape[:2]
    rows, pitch = np.arange(height)[:, None], (0.06 + 0.02 * np.sin(np.arange(width) / width * 6 + rng.random() * 6)) * height
    lines = sum(np.exp(-(((rows - k * pitch) / 1.2) ** 2)) / k for k in range(1, 9))
    drawn = 60 * np.log1p(4 * lines + rng.exponential(1.0, (height, width)) * np.exp(-3 * rows / height))
    return _like(_bytes(drawn[::-1]), picture)


def _bytes(values: np.ndarray) -> Picture:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _like(grey: Picture, picture: Picture) -> Picture:
    return np.repeat(grey[..., None], picture.shape[2], axis=2) if picture.ndim == 3 else grey


Ways = dict[str, Callable[[Picture, np.random.Generator], Picture]]

WAYS: Ways = {
    "1 dead column": lambda x, rng: dead_columns(x, 1, rng),
    "4 dead columns": lambda x, rng: dead_columns(x, 4, rng),
    "1 hot column": hot_column,
    "lower half frozen": lambda x, rng: frozen_half(x),
    "0.1 % of pixels salt and pepper": lambda x, rng: specked(x, 0.001, rng),
    "2 % salt and pepper": lambda x, rng: specked(x, 0.02, rng),
    "noise of .02": lambda x, rng: noisy(x, 0.02, rng),
    "noise of .1": lambda x, rng: noisy(x, 0.1, rng),
    "twice as bright, clipped": lambda x, rng: _bytes(2.0 * x),
    "a quarter as bright": lambda x, rng: _bytes(0.25 * x),
    "half the resolution": lambda x, rng: resized(x, 0.5),
    "a quarter of the resolution": lambda x, rng: resized(x, 0.25),
    "JPEG, quality 75": lambda x, rng: stored(x, 75),
    "JPEG, quality 30": lambda x, rng: stored(x, 30),
    "inverted": lambda x, rng: 255 - x,
    "upside down": lambda x, rng: x[::-1],
    "a page of text": page_of,
    "a spectrogram": spectrogram,
    "white noise": lambda x, rng: rng.integers(0, 256, x.shape, dtype=np.uint8),
}


def faces(count: int) -> list[Picture]:
    (place,) = data("ood/faces_64.zip")
    with zipfile.ZipFile(place) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith((".jpg", ".png")))
        picked = np.random.default_rng(7).choice(len(names), count, replace=False)
        return [np.asarray(Pillow.open(io.BytesIO(archive.read(names[i]))).convert("RGB")) for i in picked]


def measured(pictures: Iterable[Picture]) -> list[Vitals]:
    return [raster(np.ascontiguousarray(picture), "a picture").vitals() for picture in pictures]


@dataclass(frozen=True)
class Source:
    """Pictures of one source: good ones in an order to draw from, the unit each shows, and defects where there are any."""

    name: str
    good: list[Picture]
    units: np.ndarray
    defects: dict[str, list[Picture]]


def inspected(name: str) -> Source:
    """A set of inspection with its defects by kind; the good ones of its test part stand among them as ``test/good``."""
    one = SETS[name]()
    kinds = {kind: [one.test[i] for i in np.flatnonzero(np.array(one.kinds) == kind)] for kind in sorted(set(one.kinds))}
    return Source(one.name, one.good, one.good_units, {("test/good" if kind == GOOD else kind): shown for kind, shown in kinds.items()})


def declined(references: list[Vitals], items: list[Vitals]) -> tuple[np.ndarray, np.ndarray]:
    """By the simple limits, and by these or the test of plain measures, (m,) bool each."""
    depth = Depth(Image(64, 64).limits(references))
    limits = np.array([bool(depth.check(one)) for one in items])
    return limits, limits | np.array([bool(why) for why in standing(references, items, Image.grain).beyond(level_of(len(references)))])


def level_of(references: int) -> float:
    """The strictest level that so many references can reach."""
    return next(level for level in LEVELS if references >= needed(level))


def rows_of(source: Source) -> list[dict[str, Any]]:
    """A row for the good ones held out, one for each way of breaking them, one for each kind of defect; means over draws of the references."""
    vitals, defects = measured(source.good), {kind: measured(shown) for kind, shown in source.defects.items()}
    found: dict[tuple[str, str], list[tuple[np.ndarray, np.ndarray]]] = {}
    once_each = once(source.units, np.arange(len(vitals)), 0)
    count = min(REFERENCES, 2 * len(once_each) // 3)
    for draw in range(DRAWS):
        rng = np.random.default_rng([draw, 2025])
        order = rng.permutation(once(source.units, np.arange(len(vitals)), draw))
        references, held = [vitals[i] for i in order[:count]], order[count:]
        found.setdefault(("good", "held out, as they are"), []).append(declined(references, [vitals[i] for i in held]))
        for way, broken in WAYS.items():
            items = measured(broken(source.good[i], rng) for i in held[:BROKEN])
            found.setdefault(("broken", way), []).append(declined(references, items))
        for kind, items in defects.items():
            found.setdefault(("test", kind), []).append(declined(references, items))
    return [{"set": source.name, "references": count, "level": level_of(count)} | _row(*key, pairs) for key, pairs in found.items()]


def _row(part: str, what: str, pairs: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, Any]:
    limits, both = (float(np.mean([pair[i].mean() for pair in pairs])) for i in (0, 1))
    return {"part": part, "what": what, "items": len(pairs[0][0]), "limits alone": limits, "with the test": both}


def as_table(frozen: dict[str, Any]) -> str:
    shown = [row | {end: f"{row[end]:.3f}" for end in ("limits alone", "with the test")} for row in frozen["rows"]]
    lines = [
        "# What is declined by plain measures",
        "",
        f"`{frozen['command']}`, {frozen['seconds']:.0f} s ({frozen['machine']}). Shares of items declined: by the simple limits, and by these or the",
        f"test of plain measures, with one picture a unit as references, drawn {DRAWS} times; *items* is for each draw. Good ones",
        "held out may be declined by the test with the probability that is stated. *test* are pictures of the set's own test part: a defect that is declined",
        "is looked at by a person, but not flagged. Nobody shuffled train and test, so of *test/good* nothing is promised.",
        "",
    ]
    for name in dict.fromkeys(row["set"] for row in shown):
        first = next(row for row in shown if row["set"] == name)
        lines += [f"## {name}: {first['references']} references, p <= {first['level']:g}", ""]
        lines += [*table([row for row in shown if row["set"] == name], ("part", "what", "items", "limits alone", "with the test")), ""]
    return "\n".join(lines)


def main() -> None:
    start = time.perf_counter()
    shown = faces(FACES)
    sources = [inspected("screw"), inspected("tile"), Source("faces at 64 pixels", shown, np.arange(len(shown)), {})]
    frozen = {
        "question": "how many items that cannot be judged are declined by plain measures, and at what cost of good items and defects",
        "command": "python -m benchmarks.depth",
        "rows": [row for source in sources for row in rows_of(source)],
        "seconds": time.perf_counter() - start,
        "machine": machine(),
    }
    freeze("depth", frozen, as_table(frozen))


if __name__ == "__main__":
    main()
