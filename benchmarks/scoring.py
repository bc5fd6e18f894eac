"""How much of a network's speed is left when it judges, and whether memory stays flat however many pictures come.

    python -m benchmarks.scoring

Speed: ``Scorer.stream`` and ``Detector.judge`` on uint8 pictures of 32 x 32 in colour, in memory and as PNG files, beside the
bare network: the same denoiser, asked as many times about full chunks and nothing else. All are measured in turn, round by
round, so that a busy machine slows them alike. Memory: a fresh process for each number of pictures, peak resident memory
as the system counts it, with a small exact model, for the network's own memory does not depend on how many pictures come.
Times depend on the machine: each kind of processor has figures of its own. Writes benchmarks/results/scoring_KIND.json and .md.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from PIL import Image

import diffident as dd
from benchmarks._common import ROOT, freeze, kind, machine, table
from diffident.data import Item, Items
from diffident.recipes import recipe
from diffident.scorer import Scorer

RECIPES, SIDE, PICTURES, ROUNDS = ("reconstruction", "diffpath"), 32, 256, 5
#: Pictures shown in training: speed does not depend on what was learned.
IMAGES_SEEN = 640
#: The share of the bare network's speed that judging should keep.
GOAL = 0.9
FEW, MANY = 1_000, 50_000
SOURCES = ("generated", "array on disk")


def pictures(n: int, seed: int) -> np.ndarray:
    """(n, 32, 32, 3) uint8: coarse patches of colour with a little noise, all different."""
    rng = np.random.default_rng(seed)
    coarse = np.kron(rng.uniform(40, 200, (n, 4, 4, 3)), np.ones((1, SIDE // 4, SIDE // 4, 1)))
    return (coarse + rng.normal(0, 8, coarse.shape)).clip(0, 255).astype(np.uint8)


class Generated(Sequence[Item]):
    """Pictures that are made when they are asked for and not kept: a source without end that takes no memory."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Item, ...]: ...
    def __getitem__(self, index: int | slice) -> Item | tuple[Item, ...]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(self.n)))
        return Item(f"generated[{index}]", pictures(1, index)[0])


def bare(model: dd.Model, name: str) -> Callable[[], None]:
    """The network alone, asked what the recipe asks about so many pictures, in full chunks that are there already."""
    items = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (model.chunk, *model.modality.shape)).astype(np.float32))
    x, levels = model.space.encode(items), [level for walk in recipe(name).plan for level in walk.levels]

    def ask() -> None:
        with torch.no_grad():
            for _ in range(PICTURES // model.chunk):
                for alpha, sigma in levels:
                    model.denoiser(x, alpha, sigma)

    return ask


def runs(model: dd.Model, name: str, folder: Path) -> dict[str, Callable[[], object]]:
    """What is timed, by its name in the table; each handles the same number of pictures."""
    judged, scorer = pictures(PICTURES, 2), Scorer(model, name)
    detector = dd.Detector(model, name).fit(pictures(200, 1))
    return {
        "bare network": bare(model, name),
        "Scorer.stream, in memory": lambda: [len(scores) for _, scores in scorer.stream(judged)],
        "Detector.judge, in memory": lambda: [verdict.p for _, verdict in detector.judge(judged)],
        "Detector.judge, PNG files": lambda: [verdict.p for _, verdict in detector.judge(folder)],
    }


def speed(model: dd.Model, name: str, folder: Path) -> list[dict[str, Any]]:
    """Rows of the table: pictures per second, and the share of the bare network's speed, median over rounds."""
    timed = runs(model, name, folder)
    for run in timed.values():
        run()  # the first time warms caches
    seconds: dict[str, list[float]] = {what: [] for what in timed}
    for _ in range(ROUNDS):
        for what, run in timed.items():
            seconds[what].append(clocked(run))
    rows = []
    for what, taken in seconds.items():
        shares = np.array(seconds["bare network"]) / np.array(taken)
        about = {"recipe": name, "evaluations": recipe(name).cost.evaluations, "what": what, "pictures per second": PICTURES / float(np.median(taken))}
        rows.append(about | {"share": float(np.median(shares)), "lowest share": float(shares.min()), "highest share": float(shares.max())})
    return rows


def clocked(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def speeds() -> list[dict[str, Any]]:
    model = dd.train(pictures(200, 0), network="unet", size=SIDE, channels=3, images_seen=IMAGES_SEEN)
    with tempfile.TemporaryDirectory() as folder:
        for i, one in enumerate(pictures(PICTURES, 2)):
            Image.fromarray(one).save(Path(folder) / f"{i}.png")
        return [row for name in RECIPES for row in speed(model, name, Path(folder))]


def memory(source: str, n: int) -> dict[str, Any]:
    """Judge so many pictures in a fresh process and see what it took."""
    command = [sys.executable, "-m", "benchmarks.scoring", "--memory", source, str(n)]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return {"source": source, "pictures": n} | json.loads(told)


def judge_many(source: str, n: int) -> dict[str, float]:
    """In the fresh process: peak resident MiB and seconds of judging n pictures, verdict by verdict."""
    torch.set_num_threads(1)
    model = dd.train(pictures(100, 0), network="none", size=8)
    detector = dd.Detector(model, "reconstruction").fit(pictures(200, 1))
    with tempfile.TemporaryDirectory() as folder:
        items = Items(Generated(n)) if source == "generated" else on_disk(Path(folder) / "pictures.npy", n)  # type: ignore[arg-type]
        start, count = time.perf_counter(), sum(1 for _ in detector.judge(items))
    return {"judged": count, "seconds": time.perf_counter() - start, "peak MiB": peak()}


def on_disk(path: Path, n: int) -> np.ndarray:
    """An array (n, 32, 32, 3) that lies in a file, written a part at a time; what is read of it may stay resident as the system likes."""
    made = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(n, SIDE, SIDE, 3))
    for start in range(0, n, 500):
        made[start : start + 500] = pictures(min(500, n - start), start)
    del made  # its pages are no longer this process's
    return np.load(path, mmap_mode="r")


def peak() -> float:
    """The most resident MiB this process has had; on Linux not counting its parent's, from which it was started."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(next(line for line in status.read_text().splitlines() if line.startswith("VmHWM")).split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 * 1024 if sys.platform == "darwin" else 1024)


def as_table(frozen: dict[str, Any]) -> str:
    worst = min((row for row in frozen["speed"] if row["what"].endswith("in memory")), key=lambda row: row["share"])
    grown = {source: [row["peak MiB"] for row in frozen["memory"] if row["source"] == source] for source in SOURCES}
    lines = [
        "# Scoring: speed and memory",
        "",
        f"`{frozen['command']}`, {frozen['seconds']:.0f} s ({frozen['machine']}).",
        f"Pictures of {SIDE} x {SIDE} in colour, {PICTURES} a run, {ROUNDS} rounds in which all take turns; median over rounds. *Share*: of the speed of",
        f"the bare network, asked as often about full chunks; the goal is {GOAL:g} in memory, and the lowest is {worst['share']:.3f} ({worst['what']}, "
        f"{worst['recipe']}).",
        "",
        *table(frozen["speed"], ("recipe", "evaluations", "what", "pictures per second", "share", "lowest share", "highest share"), ".3g"),
        "",
        f"Memory: an exact model of 100 pictures at 8 x 8, `reconstruction`, a fresh process for each row. From {FEW:,} to {MANY:,} pictures the peak grows",
        f"by {'; '.join(f'{many - few:.0f} MiB ({source})' for source, (few, many) in grown.items())}. Generated pictures are made when they are asked for; of",
        f"an array on disk ({MANY * SIDE * SIDE * 3 / 2**20:.0f} MiB at {MANY:,}) the system may keep in memory what was read, and each picture has a name.",
        "",
        *table(frozen["memory"], ("source", "pictures", "peak MiB", "seconds"), ".4g"),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="How much of a network's speed is left when it judges, and whether memory stays flat.")
    parser.add_argument("--memory", nargs=2, metavar=("SOURCE", "N"), help="judge N pictures in this very process and print what it took")
    asked = parser.parse_args().memory
    if asked:
        print(json.dumps(judge_many(asked[0], int(asked[1]))))
        return
    start = time.perf_counter()
    frozen: dict[str, Any] = {
        "question": "how much of the bare network's speed does judging keep, and does memory stay flat",
        "command": "python -m benchmarks.scoring",
        "speed": speeds(),
        "memory": [memory(source, n) for source in SOURCES for n in (FEW, MANY)],
        "machine": machine(f"torch {torch.__version__.partition('+')[0]}", f"{torch.get_num_threads()} threads"),
    }
    freeze(f"scoring_{kind().lower()}", frozen | {"seconds": (spent := time.perf_counter() - start)}, as_table(frozen | {"seconds": spent}))


if __name__ == "__main__":
    main()
