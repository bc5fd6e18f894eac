"""A defect of 12 x 12 pixels in pictures of twelve million: is it found, at which rate of false alarms, and what does it cost?

    python -m benchmarks.large_images [--quick]

Generated textures: coloured noise whose amplitude falls as 1/f (below wavelengths of 256 pixels) with a deviation of 24 grey
levels, white grain of 8 on it, 8 bits. 99 known-good references of 2048 x 1536; 100 good pictures of the same size, 100 of
4096 x 3072, and 100 others of that size in each of which one square of 12 x 12 pixels at a random place is raised by 1, 2 or 3
*local deviations*: the root of the mean variance within windows of 12 x 12 pixels, which the table states in grey levels. A
picture is found at p <= 0.05; the large ones fit four times into a reference's size, so their p-value counts four times.

Beside the detector (recipe ``texture``, tiles of 512) stand, with the very same rule: the same with random weights in place of
the network's; the highest mean of a 12 x 12 window in deviations; and that mean less the mean of the 36 x 36 around it, which
is nearly the best filter for such a defect. Pieces are kept, so that an interrupted run goes on. Writes
benchmarks/results/large_images.json and large_images.md; ``--quick`` shows a small run and writes nothing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import uniform_filter
from scipy.stats import beta, binom

import diffident as dd
from benchmarks._common import freeze, keep, kept, machine, table
from benchmarks.checker import alarm_range
from diffident import store
from diffident.calibration import Calibration, Highest
from diffident.data import Item
from diffident.scorer import Scorer
from diffident.spaces.features import Features
from diffident.texture import Texture

NAME, LEVEL, DEFECT, STRENGTHS = "large_images", 0.05, 12, (1, 2, 3)
#: Deviations of the coloured noise and of the grain, in grey levels, and the longest wavelength, in pixels.
COLOUR, GRAIN, LONGEST = 24.0, 8.0, 256
#: Where the seeds of each kind of picture begin.
SEEDS = {"train": 0, "reference": 10_000, "same size": 20_000, "good": 30_000, "defect": 40_000}
METHODS = ("texture", "texture, random weights", "window mean", "window mean less surroundings")


@dataclass(frozen=True)
class Plan:
    """How large a run is: height and width of references and of large pictures, and how many."""

    small: tuple[int, int] = (1536, 2048)
    large: tuple[int, int] = (3072, 4096)
    train: int = 30
    references: int = 99
    pictures: int = 100
    tile: int = 512

    @property
    def key(self) -> str:
        return f"{self.small} {self.large} {self.train} {self.references} {self.tile}"


QUICK = Plan((192, 256), (384, 512), 8, 79, 4, 128)


def texture(size: tuple[int, int], seed: int) -> np.ndarray:
    """A picture in grey levels, not yet rounded: the same law whatever its size, in multiples of 64 pixels."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(size[0])[:, None], np.fft.rfftfreq(size[1])[None])
    amplitude = 1 / np.maximum(frequency, 1 / LONGEST)
    amplitude[0, 0] = 0
    coloured = np.fft.irfft2(np.fft.rfft2(rng.normal(size=size)) * amplitude, s=size)
    coloured *= COLOUR / spread(size)
    return 128 + coloured + GRAIN * rng.normal(size=size)


@cache
def spread(size: tuple[int, int]) -> float:
    """The deviation of the coloured noise before it is scaled, known from its spectrum: no picture is scaled by its own."""
    frequency = np.hypot(np.fft.fftfreq(size[0])[:, None], np.fft.fftfreq(size[1])[None])
    power = 1 / np.maximum(frequency, 1 / LONGEST) ** 2
    return float(np.sqrt((power.sum() - power[0, 0]) / power.size))


def stored(picture: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


@cache
def local_deviation() -> float:
    """The root of the mean variance within windows of 12 x 12 pixels, in grey levels."""
    one = texture((1024, 1024), 1)
    mean = uniform_filter(one, DEFECT)
    return float(np.sqrt((uniform_filter(one**2, DEFECT) - mean**2).mean()))


def defective(picture: np.ndarray, strength: int, seed: int) -> tuple[np.ndarray, tuple[int, int]]:
    """A copy with a square raised at a random place, and where."""
    rng = np.random.default_rng(seed)
    row, column = (int(rng.integers(0, side - DEFECT + 1)) for side in picture.shape)
    raised = picture.copy()
    raised[row : row + DEFECT, column : column + DEFECT] += strength * local_deviation()
    return stored(raised), (row, column)


@dataclass(frozen=True, eq=False)
class Asked:
    """What answers: the scorer and its twin of random weights."""

    scorer: Scorer
    control: Scorer


def asked(plan: Plan) -> Asked:
    """Learn from pictures of 512 pixels a side, or of what a tile needs."""
    known = np.stack([stored(texture((max(512, plan.tile),) * 2, SEEDS["train"] + i)) for i in range(plan.train)])
    model = dd.train(known, "texture", tile=plan.tile)
    assert isinstance(model.space, Features) and model.tiles is not None
    values = torch.from_numpy(known[:, None, : plan.tile, : plan.tile] / np.float32(127.5) - 1)
    blind = model.space.untrained(0).learned(values)
    twin = replace(model, space=blind, denoiser=Texture.fitted(model.tiles.inner(blind.encode(values))))
    return Asked(Scorer(model, "texture"), Scorer(twin, "texture"))


def windows(picture: np.ndarray) -> dict[str, float]:
    """The two cheap scores: the highest window, beyond either end."""
    values = picture.astype(np.float32)
    mean = uniform_filter(values, DEFECT, mode="reflect")
    around = uniform_filter(values, 3 * DEFECT, mode="reflect")
    return {"window mean": float(np.abs(mean - 128).max()), "window mean less surroundings": float(np.abs(mean - around).max())}


def piece(who: Asked, picture: np.ndarray, tile: int, at: tuple[int, int] | None = None) -> dict[str, Any]:
    """The scores of one picture, what the first took, and for good ones how high and how steep its map is at seams and elsewhere."""
    started = time.perf_counter()
    mosaic = who.scorer.mosaic
    assert mosaic is not None
    scores, maps = mosaic.judged(Item("picture", picture))
    seconds = time.perf_counter() - started
    found = {"texture": float(scores.values[0, 0]), "texture, random weights": float(who.control([picture]).values[0, 0])} | windows(picture)
    highest = np.unravel_index(int(maps[0].argmax()), maps[0].shape)
    near = at is not None and all(abs(place * mosaic.place - pixel) <= 3 * DEFECT for place, pixel in zip(highest, at, strict=True))
    return {"scores": found, "seconds": seconds, "near": near, "seam": seam(maps[0], mosaic.tiles.core // mosaic.place)}


def seam(heights: np.ndarray, core: int) -> list[float]:
    """Mean height of places on either side of where cores meet, and of all others; mean step across such a border, and across all others."""
    rows, columns = (np.arange(side) % core for side in heights.shape)
    edge = np.isin(rows, (0, core - 1))[:, None] | np.isin(columns, (0, core - 1))[None]
    inner = np.zeros_like(edge)
    inner[2:-2, 2:-2] = True  # borders of the picture are another matter
    across = np.abs(np.diff(heights, axis=1))[2:-2, 2:-2]
    meets = (np.arange(heights.shape[1] - 1) % core == core - 1)[2:-2]
    return [float(x.mean()) for x in (heights[edge & inner], heights[~edge & inner], across[:, meets], across[:, ~meets])]


def pictures(plan: Plan) -> Iterator[tuple[str, tuple[int, int], int, tuple[int, ...]]]:
    """Kind, size, number and strengths of every picture that is made."""
    for kind, size, count in (("reference", plan.small, plan.references), ("same size", plan.small, plan.pictures), ("good", plan.large, plan.pictures)):
        yield from ((kind, size, i, ()) for i in range(count))
    yield from (("defect", plan.large, i, STRENGTHS) for i in range(plan.pictures))


def pieces(plan: Plan, remember: bool) -> dict[str, Any]:
    """All pieces, made where an earlier run has not."""
    done = kept(NAME) if remember else {}
    who: Asked | None = None
    for kind, size, i, strengths in pictures(plan):
        key = f"{plan.key} {kind} {i}"
        if key in done:
            continue
        who, made = who or asked(plan), texture(size, SEEDS[kind] + i)
        raised = {strength: defective(made, strength, SEEDS[kind] + i) for strength in strengths}
        done[key] = {k: piece(who, one, plan.tile, at) for k, (one, at) in raised.items()} if strengths else piece(who, stored(made), plan.tile)
        if remember:
            keep(NAME, key, done[key])
            print(key, flush=True)
    return json.loads(json.dumps({key.removeprefix(plan.key + " "): of for key, of in done.items() if key.startswith(plan.key)}))  # keys become texts


def of_kind(done: dict[str, Any], kind: str, strength: int = 0) -> list[dict[str, Any]]:
    found = [of for key, of in done.items() if key.rpartition(" ")[0] == kind]
    return [of[str(strength)] for of in found] if strength else found


def rows_of(plan: Plan, done: dict[str, Any]) -> list[dict[str, Any]]:
    """For each method: false alarms at both sizes, and how many defects are found."""
    groups = [("good, same size", "same size", 0), ("good, large", "good", 0), *((f"large, {k} deviations", "defect", k) for k in STRENGTHS)]
    rows = []
    for method in METHODS:
        known = calibrated([one["scores"][method] for one in of_kind(done, "reference")], plan.small)
        for name, kind, strength in groups:
            size = plan.small if kind == "same size" else plan.large
            p = known.judge(scores([one["scores"][method] for one in of_kind(done, kind, strength)], size)).p
            flags = int((p <= LEVEL * (1 + 1e-9)).sum())
            rows.append({"method": method, "pictures": name, "flagged": flags, "of": len(p), "smallest p": float(p.min()), "good": not strength})
            rows[-1] |= dict(zip(("low", "high"), limits(plan.references, len(p), name) if not strength else exact(flags, len(p)), strict=True))
    return rows


def scores(highest: list[float], size: tuple[int, int]) -> dd.Scores:
    values = np.array(highest)
    sizes, names = np.full((len(values), 2), size, float), tuple(map(str, range(len(values))))
    return dd.Scores(names, ("highest",), values[:, None], ("upper",), ("stands out",), NAME, maps=values.reshape(-1, 1, 1, 1), sizes=sizes)


def calibrated(highest: list[float], size: tuple[int, int]) -> Calibration:
    return Calibration(scores(highest, size), Highest())


def limits(n: int, m: int, name: str) -> tuple[int, int]:
    """Where 95 % of counts of false alarms lie among m good pictures that share n references.

    Of the references' size: beta-binomial, exact. Four times as large: if the four parts are independent, each as good a
    picture as a reference, a picture is flagged with probability 1 - (1 - u)^4 with u ~ Beta(k, n + 1 - k), k = floor(level (n + 1) / 4).
    """
    if name == "good, same size":
        return tuple(round(m * rate) for rate in alarm_range(n, LEVEL, m))  # type: ignore[return-value]
    k = int(LEVEL * (n + 1) / 4 + 1e-9)
    if not k:
        return 0, 0
    u = beta(k, n + 1 - k).ppf((np.arange(4000) + 0.5) / 4000)
    up_to = binom.cdf(np.arange(m + 1)[:, None], m, 1 - (1 - u) ** 4).mean(axis=1)
    return int(np.searchsorted(up_to, 0.025)), int(np.searchsorted(up_to, 0.975))


def exact(found: int, of: int) -> tuple[float, float]:
    """Clopper and Pearson's 95 % interval of a rate."""
    low = beta.ppf(0.025, found, of - found + 1) if found else 0.0
    return float(low), float(beta.ppf(0.975, found + 1, of - found)) if found < of else 1.0


def seams(done: dict[str, Any]) -> dict[str, float]:
    """Of the mean map of good large pictures: how much higher and steeper it is at seams, as a ratio, and how sure that is."""
    heights = np.array([one["seam"] for one in of_kind(done, "good")])
    figures: dict[str, float] = {}
    for name, (at, away) in {"height": (0, 1), "step": (2, 3)}.items():
        ratios = heights[:, at] / heights[:, away]
        figures |= {name: float(heights[:, at].mean() / heights[:, away].mean()), f"{name}, standard error": float(ratios.std(ddof=1) / np.sqrt(len(ratios)))}
    return figures


CHILD = """
import resource, sys, time
import numpy as np, torch
import diffident as dd
from diffident.scorer import Scorer
torch.set_num_threads(1)
scorer = Scorer(dd.load(sys.argv[1]), "texture")
picture = np.load(sys.argv[2])
scorer([picture[:1024, :1024]])  # a chunk of tiles: buffers are there
before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
scorer([picture])
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, before / 1024, time.perf_counter() - start)
"""


def memory(plan: Plan) -> list[dict[str, Any]]:
    """What one picture of each size adds to the peak of a process that has judged a small one, and seconds on one core."""
    rows = []
    with tempfile.TemporaryDirectory() as place:
        store.save(asked(plan).scorer.model, Path(place) / "model")
        for times in (1, 2, 4):
            size = (plan.small[0] * times, plan.small[1] * times)
            np.save(Path(place) / "picture.npy", np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8))
            command = [sys.executable, "-c", CHILD, str(Path(place) / "model"), str(Path(place) / "picture.npy")]
            added, before, seconds = map(float, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
            rows.append({"size": f"{size[1]} x {size[0]}", "MiB before": before, "MiB added": added, "seconds": seconds})
    return rows


def frozen_of(plan: Plan, done: dict[str, Any], wall: float) -> dict[str, Any]:
    seconds = [one["seconds"] for one in of_kind(done, "good")]
    found = {str(k): sum(one["near"] for one in of_kind(done, "defect", k)) for k in STRENGTHS}
    rows = rows_of(plan, done)
    return {
        "question": "is a defect of 12 x 12 pixels found in pictures four times as large as the references, at the promised rate of false alarms",
        "command": "python -m benchmarks.large_images",
        "local deviation": local_deviation(),
        "rows": rows,
        "highest place at the defect": found,
        "seams": seams(done),
        "memory": memory(plan),
        "seconds a large picture": float(np.median(seconds)),
        "problems": [f"{row['method']}, {row['pictures']}: {row['flagged']} of {row['of']}" for row in rows if row["good"] and row["flagged"] > row["high"]],
        "seconds": wall,
        "machine": machine(f"torch {torch.__version__}"),
    }


def as_table(plan: Plan, frozen: dict[str, Any]) -> str:
    shown = [row | {"rate": row["flagged"] / row["of"], "95 %": limit(row)} for row in frozen["rows"]]
    small, large = (f"{width} x {height}" for height, width in (plan.small, plan.large))
    seam, near = frozen["seams"], frozen["highest place at the defect"]
    places = ", ".join(f"{count} of {plan.pictures} at {k}" for k, count in near.items())
    lines = [
        "# A small defect in large pictures",
        "",
        f"`{frozen['command']}`, {frozen['seconds']:.0f} s of this run ({frozen['machine']}).",
        f"Textures of coloured noise and grain; {plan.references} references of {small}, others of {large}; a square of {DEFECT} x {DEFECT} pixels raised by",
        f"1, 2, 3 local deviations of {frozen['local deviation']:.1f} grey levels (root of the mean variance within such windows). Flagged at p <= {LEVEL}.",
        "*95 %*: for good pictures the range of counts that the promise allows (beta-binomial; of large ones if their four parts are independent, an",
        "upper end that may not be passed), for others the interval of the rate (Clopper and Pearson).",
        "",
        *table(shown, ("method", "pictures", "flagged", "of", "rate", "95 %", "smallest p")),
        "",
        f"- The highest place of the map lies within {3 * DEFECT} pixels of the defect in {places} deviations.",
        f"- Seams: the mean map of {plan.pictures} good large pictures is {seam['height']:.4f} times as high beside borders of tiles as elsewhere",
        f"  (standard error {seam['height, standard error']:.4f}), and {seam['step']:.4f} times as steep across them ({seam['step, standard error']:.4f}).",
        f"- {frozen['seconds a large picture']:.1f} s for a picture of {large} (median), tiles of {plan.tile}, {torch.get_num_threads()} thread.",
        f"- Rates beyond what was promised: {'; '.join(frozen['problems']) or 'none'}.",
        "",
        *table(frozen["memory"], ("size", "MiB before", "MiB added", "seconds"), ".0f"),
    ]
    return "\n".join(lines) + "\n"


def limit(row: dict[str, Any]) -> str:
    return f"{row['low']} to {row['high']} of {row['of']}" if row["good"] else f"{row['low']:.2f} to {row['high']:.2f}"


def main() -> int:
    parser = argparse.ArgumentParser(description="A small defect in large pictures.")
    parser.add_argument("--quick", action="store_true", help="a small run, shown and not written")
    plan, start = (QUICK if (quick := parser.parse_args().quick) else Plan()), time.perf_counter()
    torch.set_num_threads(1)
    frozen = frozen_of(plan, pieces(plan, not quick), time.perf_counter() - start)
    if quick:
        print(as_table(plan, frozen))
    else:
        freeze(NAME, frozen, as_table(plan, frozen))
    return 1 if frozen["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
