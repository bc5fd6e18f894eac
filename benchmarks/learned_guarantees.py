"""Is the false-alarm rate kept with a learned model on real images? Many calibrations, none of which shares an image with another.

    python -m benchmarks.learned_guarantees               both sets, one a core (about ten minutes on two cores)
    python -m benchmarks.learned_guarantees --piece faces   one of them: faces, tinyimagenet

Faces are one image a person; TinyImageNet are the images of its validation part. In an order drawn once, the first images train a
network and the rest is dealt out: 100 references and 50 good items for each calibration, every image in one calibration only.
Images of a set are exchangeable, so the counts follow sums of beta-binomials. To deal the same images out again would bring
rows that look like more evidence and are not: they would not be independent. Exit status 1 if an honest row leaves its limits,
or if the wrong procedure is not caught. Writes benchmarks/results/learned_guarantees.json and learned_guarantees.md.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import diffident as dd
from benchmarks._common import data, freeze, keep, kept, machine, table
from benchmarks._learned import asked_at_once
from benchmarks.checker import Counts, Judgement, judge_counts
from diffident.calibration import Calibration, combiner
from diffident.recipes import recipe
from diffident.scores import Scores

RECIPES, LEVELS, SIZE = ("reconstruction", "diffpath", "msma"), (0.01, 0.05, 0.1), 32
#: Of each calibration: how many references and how many good items.
REFERENCES, ITEMS = 100, 50
IMAGES_SEEN = 12_000
#: Of the aside on power: how many strange images, and before how many of the calibrations.
STRANGE, BEFORE = 300, 10

Piece = dict[str, Any]


@dataclass(frozen=True)
class Pool:
    """A set: how its images are read, how many train, and how many calibrations the rest is dealt out to."""

    read: Callable[[], np.ndarray]
    train: int
    calibrations: int


def zipped(path: Path, below: str = "", most: int | None = None) -> np.ndarray:
    """The images of a zip file below a folder of it, at 32 x 32 in colour: (n, 32, 32, 3) uint8."""
    with zipfile.ZipFile(path) as packed:
        names = [name for name in packed.namelist() if name.startswith(below) and name.endswith(".jpg")][:most]
        return np.stack([_sized(packed.read(name)) for name in names])


def _sized(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as picture:
        return np.asarray(picture.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def faces() -> np.ndarray:
    return zipped(*data("ood/faces_64.zip"))


def tinyimagenet() -> np.ndarray:
    return zipped(*data("ood/tinyimagenet_64.zip"), "val/")


POOLS = {"faces": Pool(faces, 1249, 30), "tinyimagenet": Pool(tinyimagenet, 1500, 40)}


def others() -> dict[str, np.ndarray]:
    """Images of other sets, for the aside on power."""
    textures, digits = data("ood/textures_128.zip", "ood/digits.npz")
    drawn = np.load(digits)["images"][:STRANGE]
    return {"textures": zipped(textures)[:: 1200 // STRANGE][:STRANGE], "digits": np.repeat(np.pad(drawn, ((0, 0), (2, 2), (2, 2)))[..., None], 3, axis=3)}


def piece(name: str) -> Piece:
    """Everything about one set: a network of its first images, and a network that has learned nothing, before the same calibrations."""
    start, pool = time.perf_counter(), POOLS[name]
    images = pool.read()
    images = images[np.random.default_rng(2024).permutation(len(images))]
    dealt = pool.calibrations * (REFERENCES + ITEMS)
    if len(images) < pool.train + dealt:
        raise SystemExit(f"{name} holds {len(images)} images and {pool.train + dealt} are dealt out; take fewer calibrations")
    trained, rest = images[: pool.train], images[pool.train : pool.train + dealt]
    model = dd.train(trained, network="unet", size=SIZE, channels=3, images_seen=IMAGES_SEEN, width=32)
    learned = time.perf_counter() - start
    scores = asked_at_once(model, RECIPES, rest)
    control = asked_at_once(model.untrained(0), RECIPES, rest)
    strange = {of: asked_at_once(model, RECIPES, shown) for of, shown in others().items()}
    own = asked_at_once(model, RECIPES, trained)
    return {
        "set": name,
        "images": len(images),
        "train": pool.train,
        "calibrations": pool.calibrations,
        "honest": [asdict(row) for how, of in (("learned", scores), ("random weights", control)) for row in counts(f"{name}, {how}", of)],
        "wrong": [asdict(wrong(name, together(scores)))],
        "aside": [power(name, recipe, scores[recipe], strange) | seen(recipe, own[recipe], scores[recipe]) for recipe in RECIPES],
        "learning": learned,
        "seconds": time.perf_counter() - start,
        "machine": machine(),
    }


def deals(scores: Scores) -> list[tuple[Scores, Scores]]:
    """References and good items of each calibration; no image comes twice."""
    each = REFERENCES + ITEMS
    starts = range(0, len(scores), each)
    return [(scores.select(range(at, at + REFERENCES)), scores.select(range(at + REFERENCES, at + each))) for at in starts]


def counts(of: str, scores: dict[str, Scores]) -> list[Counts]:
    """Good items flagged by the library's own p-values, for every recipe and level."""
    rows = []
    for name in RECIPES:
        p = np.concatenate([Calibration(known, combiner(recipe(name).combine)).judge(items).p for known, items in deals(scores[name])])
        repeats = len(p) // ITEMS
        rows += [Counts(f"{of}, {name}", REFERENCES, level, ITEMS, repeats, int((p <= level * (1 + 1e-9)).sum())) for level in LEVELS]
    return rows


def together(scores: dict[str, Scores]) -> Scores:
    """The columns of all recipes side by side."""
    parts = [scores[name] for name in RECIPES]
    names = tuple(f"{name}: {column}" for name in RECIPES for column in scores[name].columns)
    tails, says = (tuple(chain.from_iterable(of)) for of in ([part.tails for part in parts], [part.says for part in parts]))
    return replace(parts[0], columns=names, values=np.concatenate([part.values for part in parts], axis=1), tails=tails, says=says, fingerprint="together")


def wrong(of: str, scores: Scores) -> Counts:
    """Flag above the 95th percentile of the references' own scores: what was fitted on them measures them."""
    dealt, fit = deals(scores), combiner("gaussian")
    flags = sum(int((fit.score(known.values, items.values, known.tails) > _percentile(fit, known)).sum()) for known, items in dealt)
    name = f"WRONG: {of}, percentile of the {REFERENCES} references' own scores, {len(scores.columns)} statistics"
    return Counts(name, REFERENCES, 0.05, ITEMS, len(dealt), flags)


def _percentile(fit: Any, known: Scores) -> float:
    return float(np.quantile(fit.score(known.values, known.values, known.tails), 0.95))


def seen(name: str, own: Scores, fresh: Scores) -> dict[str, float]:
    """What a threshold from the images that trained the network does with images that did not: nothing is promised there."""
    fit = combiner(recipe(name).combine)
    threshold = _percentile(fit, own)
    return {"fresh above the training images' 95 %": float((fit.score(own.values, fresh.values, own.tails) > threshold).mean())}


def power(of: str, name: str, scores: Scores, strange: dict[str, dict[str, Scores]]) -> Piece:
    """Images of other sets flagged at .05."""
    known = [Calibration(references, combiner(recipe(name).combine)) for references, _ in deals(scores)[:BEFORE]]
    return {"set": of, "recipe": name} | {other: float(np.mean([one.judge(shown[name]).p <= 0.05 for one in known])) for other, shown in strange.items()}


def problems(honest: list[Judgement], caught: list[Judgement]) -> list[str]:
    """Everything for which this benchmark fails, in words."""
    found = [f"{one.counts.name}, level {one.counts.level:g}: {one.counts.flags} flags, limits {one.low} to {one.high}" for one in honest if not one.inside]
    return found + [f"{one.counts.name} is not caught" for one in caught if one.inside]


def shown(one: Judgement) -> dict[str, Any]:
    of = one.counts
    total = of.m * of.repeats
    limits = f"{one.low / total:.4f} to {one.high / total:.4f}"
    about = {"name": of.name, "level": of.level, "calibrations": of.repeats, "good items": total, "flags": of.flags, "rate": of.flags / total}
    return about | {"95 % limits": limits, "p": one.p, "verdict": "inside" if one.inside else "OUTSIDE"}


COLUMNS = ("name", "level", "calibrations", "good items", "rate", "95 % limits", "p", "verdict")


def as_table(frozen: dict[str, Any]) -> str:
    lines = [
        "# Is the false-alarm rate kept with a learned model on real images?",
        "",
        f"`{frozen['command']}`, {frozen['seconds']:.0f} s of work in all ({frozen['machine']}).",
        f"Problems: {'; '.join(frozen['problems']) or 'none'}.",
        "",
        *(
            f"- **{one['set']}**: {one['images']} images at {SIZE} x {SIZE}; {one['train']} train, {one['calibrations']} calibrations."
            for one in frozen["pieces"]
        ),
        "",
        f"A U-Net of width 32, {IMAGES_SEEN:,} images seen.",
        f"Each calibration has {REFERENCES} references and {ITEMS} good items of its own. The draws are disjoint parts",
        "of one finite pool, in an order drawn once; faces are one image a person, so images are independent persons. Nothing is dealt out twice: re-sampled",
        "images would not be independent, and the limits would be too narrow. Limits of sums of beta-binomials, Holm over the rows. The rate is owed to the",
        "calibration and not to the model: it is kept with random weights as well. What a model has to bring is power.",
        "",
        *table(frozen["honest"], COLUMNS),
        "",
        "## A wrong procedure, which has to be caught",
        "",
        *table(frozen["wrong"], COLUMNS),
        "",
        "## Aside",
        "",
        f"Images of other sets flagged at .05 (mean over {BEFORE} calibrations): easy ones, of another making, which prove little. And how many fresh images",
        "lie above the 95th percentile of those that trained the network: .05 would be right.",
        "",
        *table(frozen["aside"], tuple(frozen["aside"][0])),
    ]
    return "\n".join(lines) + "\n"


def key(name: str) -> str:
    """Names a piece and all that it depends on."""
    return f"{name}: {POOLS[name].train} train, {POOLS[name].calibrations} calibrations, {IMAGES_SEEN} images"


def wanted() -> list[str]:
    found = kept("learned_guarantees")
    return [name for name in POOLS if key(name) not in found]


def all_pieces() -> None:
    """Make what is wanting, a core each."""
    with ProcessPoolExecutor(len(POOLS), get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        doing = {pool.submit(piece, name): name for name in wanted()}
        for done in as_completed(doing):
            keep("learned_guarantees", key(doing[done]), done.result())
            print(f"{doing[done]}: done", flush=True)


def frozen_of(pieces: list[Piece]) -> dict[str, Any]:
    honest, caught = (judge_counts([Counts(**row) for one in pieces for row in one[of]]) for of in ("honest", "wrong"))
    return {
        "question": "is the false-alarm rate kept with a learned model on real images",
        "command": "python -m benchmarks.learned_guarantees",
        "problems": problems(honest, caught),
        "honest": [shown(one) for one in honest],
        "wrong": [shown(one) for one in caught],
        "aside": [row for one in pieces for row in one["aside"]],
        "pieces": pieces,
        "seconds": sum(one["seconds"] for one in pieces),
        "machine": pieces[0]["machine"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Is the false-alarm rate kept with a learned model on real images?")
    parser.add_argument("--piece", choices=tuple(POOLS), help="one set only")
    asked = parser.parse_args().piece
    data("ood/faces_64.zip", "ood/tinyimagenet_64.zip", "ood/textures_128.zip", "ood/digits.npz")  # absent data are told once, before the work
    keep("learned_guarantees", key(asked), piece(asked)) if asked else all_pieces()
    if left := wanted():
        print(f"wanting before anything is frozen: {', '.join(left)}")
        return 0
    frozen = frozen_of([kept("learned_guarantees")[key(name)] for name in POOLS])
    freeze("learned_guarantees", frozen, as_table(frozen))
    return 1 if frozen["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
