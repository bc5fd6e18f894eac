"""How ``zero-shot`` was chosen, on known-good pictures alone: outliers are made of references, and no strange world is looked at.

    python -m benchmarks.zero_shot_choice            the base of the package
    python -m benchmarks.zero_shot_choice FOLDER     another

Of each world's references some calibrate, some are held out, and of others seven kinds of outliers are made, four of which keep a picture's
plain numbers or nearly: blends of two, shuffled patches, noise of the same spectrum, a patch of another pasted in, quarter turns, another
exposure, negatives. Compared are streams of the network, levels that it is told, noise or none, and whether the three plain numbers join.
Chosen is the cheapest, then the best, of what no other beats by more than the paired interval of pictures drawn again.

The outliers decide little: two earlier sets of them (half-and-half blends and no turns; no other exposures and no negatives) chose other streams
at the same level, deepest and up1 with the plain numbers, then down0 and finest without, and most of what is in reach stays within the interval.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

import diffident as dd
from benchmarks._common import freeze, machine, table
from benchmarks._draws import drawn_auroc, ends
from benchmarks.zero_shot_sets import equal, worlds
from diffident import levels as grids
from diffident import store
from diffident.calibration.fusion import Fusion
from diffident.evaluate import auroc
from diffident.recipes import Reading, Recipe, zero_shot
from diffident.recipes.inside import FAINT
from diffident.scorer import Scorer
from diffident.walks import Clean, Renoise, Unasked

NAME, REPEATS = "zero_shot_choice", 500
#: Worlds whose references are known; noise and constants have no parts to shuffle.
KNOWN = ("CIFAR-10", "faces", "TinyImageNet", "textures", "digits", "fashion")
#: References that calibrate, that are held out, and that outliers are made of.
FIT, HELD, MADE = 300, 100, 100
TOLD = (0.25, 0.5, 1.0, 2.0, 4.0)
STREAMS = ("down0", "down1", "deepest", "up1", "finest")
#: Of several levels: a block on the way down with the bottleneck, the bottleneck with a block on the way up, the finest grid on both ways.
PAIRS = (("down1", "deepest"), ("deepest", "up1"), ("down0", "finest"))
#: Where a world's strangest kind is plain to see, all do well: three decimals are kept.
FIGURE = ".3f"


def blend(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Two pictures laid over each other, with the mean and the contrast that the two have on average: half and half would be told by its contrast."""
    one, mean, deviation = images.astype(float), images.mean((1, 2), keepdims=True), images.std((1, 2, 3), keepdims=True)
    both = (one - mean) + np.roll(one - mean, 1, axis=0)
    wanted = (deviation + np.roll(deviation, 1, axis=0)) / 2
    both = both * wanted / np.maximum(both.std((1, 2, 3), keepdims=True), 1)
    return np.rint(both + (mean + np.roll(mean, 1, axis=0)) / 2).clip(0, 255).astype(np.uint8)


def turn(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A quarter turn: every plain number stays."""
    return np.ascontiguousarray(np.rot90(images, axes=(1, 2)))


def shuffle(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sixteen patches in another order."""
    n, side = len(images), images.shape[1] // 4
    parts = images.reshape(n, 4, side, 4, side, 3).transpose(0, 1, 3, 2, 4, 5).reshape(n, 16, side, side, 3)
    parts = np.stack([one[rng.permutation(16)] for one in parts])
    return parts.reshape(n, 4, 4, side, side, 3).transpose(0, 1, 3, 2, 4, 5).reshape(images.shape)


def filtered(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The spectrum of a picture with phases of noise, which all colours share; so its mean, contrast and sharpness, but for what is clipped."""
    turned = np.angle(np.fft.rfft2(rng.normal(size=images.shape[:3])))
    turned[:, 0, 0] = 0
    spectra = np.fft.rfft2(images.astype(float), axes=(1, 2)) * np.exp(1j * turned)[..., None]
    return np.rint(np.fft.irfft2(spectra, images.shape[1:3], axes=(1, 2))).clip(0, 255).astype(np.uint8)


def paste(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A quarter of the picture is another's."""
    side, made = images.shape[1] // 2, images.copy()
    for one, other in zip(made, np.roll(images, 1, axis=0), strict=True):
        (y, x), (row, column) = rng.integers(0, side + 1, (2, 2))
        one[y : y + side, x : x + side] = other[row : row + side, column : column + side]
    return made


def exposure(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Brighter or darker, of more contrast or less."""
    gain, shift = np.exp(rng.choice([-0.5, 0.5], (len(images), 1, 1, 1))), rng.choice([-40.0, 40.0], (len(images), 1, 1, 1))
    mean = images.mean((1, 2, 3), keepdims=True)
    return np.rint((images - mean) * gain + mean + shift).clip(0, 255).astype(np.uint8)


def negative(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The negative of the picture."""
    return 255 - images


OUTLIERS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "blends": blend, "shuffled patches": shuffle, "filtered noise": filtered, "pasted patches": paste, "quarter turns": turn, "exposure": exposure,
    "negatives": negative,
}  # fmt: skip


@dataclass(frozen=True)
class Candidate:
    """A way to look: which groups of columns are fused, at what cost."""

    groups: tuple[str, ...]
    evaluations: int
    columns: int

    def __str__(self) -> str:
        return " + ".join(self.groups)


def shown(name: str) -> dict[str, np.ndarray]:
    """References, held-out ones and each kind of outliers of a world, of one resolution and JPEG history."""
    known, rng = worlds()[name].references, np.random.default_rng(3)
    parts = {"fit": known[:FIT], "held": known[FIT : FIT + HELD]}
    return {part: equal(images) for part, images in (parts | {kind: made(known[-MADE:], rng) for kind, made in OUTLIERS.items()}).items()}


def everything() -> Recipe:
    """All streams at all levels, and the three plain numbers, read in one go."""
    walks = {f"told {level:g}": Clean(grids.angular([level])) for level in TOLD} | {"noised": Renoise(grids.angular([FAINT]))}
    readings = [Reading(walk, "activations", {"stream": stream}, f"{stream} {said}") for said, walk in walks.items() for stream in STREAMS]
    return Recipe("everything", (*readings, Reading(Unasked(), "trivial")), combine="fusion")


def columns_of(columns: Sequence[str]) -> dict[str, np.ndarray]:
    """Where the columns of each group lie."""
    labels = np.array([column.rpartition("[")[0] if column.endswith("]") else column for column in columns])
    return {"trivial": np.flatnonzero([label.startswith("trivial") for label in labels])} | {
        label: np.flatnonzero(labels == label) for label in dict.fromkeys(labels.tolist()) if not label.startswith("trivial")
    }


def candidates(places: dict[str, np.ndarray]) -> list[Candidate]:
    """Of one level up to three streams with and without the plain numbers, of two and of three levels a few pairs."""
    said = [f"told {level:g}" for level in TOLD] + ["noised"]
    sets = [tuple(f"{stream} {one}" for stream in many) for one in said for k in (1, 2, 3) for many in itertools.combinations(STREAMS, k)]
    sets += [tuple(f"{stream} {one}" for one in many for stream in pair) for pair in PAIRS for k in (2, 3) for many in itertools.combinations(said, k)]
    found = [(*one, *more) for one in sets for more in ((), ("trivial",))]
    levels = [len({group.partition(" ")[2] for group in one} - {""}) for one in found]
    return [Candidate(one, cost, sum(len(places[group]) for group in one)) for one, cost in zip(found, levels, strict=True)]


def voices(rows: dict[str, np.ndarray], places: dict[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """What each group alone says of the held-out references and of each kind of outliers: a fusion is their mean."""
    others = {part: values for part, values in rows.items() if part != "fit"}
    return {
        group: {part: Fusion().score(rows["fit"][:, at], values[:, at], ("both",) * len(at)) for part, values in others.items()} for group, at in places.items()
    }


def tested(model: dd.Model) -> tuple[list[Candidate], np.ndarray, np.ndarray, list[tuple[str, str]]]:
    """Candidates; their AUROC for each world and kind, (candidates, cells); of draws their mean, (candidates, repeats); the cells."""
    scorer, rng = Scorer(model, everything()), np.random.default_rng(5)
    often = rng.multinomial(HELD, np.full(HELD, 1 / HELD), REPEATS), rng.multinomial(MADE, np.full(MADE, 1 / MADE), REPEATS)
    labels, times, cells = np.repeat([0, 1], [HELD, MADE]), np.concatenate(often, axis=1), [(world, kind) for world in KNOWN for kind in OUTLIERS]
    said, wanted = {}, []
    for world in KNOWN:
        scores = {part: scorer(images) for part, images in shown(world).items()}
        places = columns_of(scores["fit"].columns)
        wanted = wanted or candidates(places)
        said[world] = voices({part: one.values for part, one in scores.items()}, places)
        print(f"{world}: looked at", flush=True)
    figures, draws = np.zeros((len(wanted), len(cells))), np.zeros((len(wanted), REPEATS))
    for i, candidate in enumerate(wanted):
        for j, (world, kind) in enumerate(cells):
            fused = [np.mean([said[world][group][part] for group in candidate.groups], axis=0) for part in ("held", kind)]
            scores = np.concatenate(fused)
            figures[i, j] = auroc(labels, scores)
            draws[i] += drawn_auroc(labels, scores, times) / len(cells)
    return wanted, figures, draws, cells


def chosen(wanted: list[Candidate], figures: np.ndarray, draws: np.ndarray) -> int:
    """The cheapest, then the best, of those that the best does not beat by more than the paired interval."""
    means = figures.mean(1)
    best = int(means.argmax())
    near = [i for i in range(len(wanted)) if np.quantile(draws[best] - draws[i], 0.025) <= 0]
    return min(near, key=lambda i: (wanted[i].evaluations, -means[i]))


def main() -> None:
    parser = argparse.ArgumentParser(description="Chooses how zero-shot looks, on known-good pictures alone.")
    parser.add_argument("base", nargs="?", default="base", help="a model's folder")
    wanted, figures, draws, cells = tested(store.load(parser.parse_args().base))
    means, taken = figures.mean(1), chosen(wanted, figures, draws)
    default = next(i for i, one in enumerate(wanted) if set(one.groups) == groups(zero_shot()))
    alone = [i for i, one in enumerate(wanted) if len(one.groups) == 1]
    picked = list(dict.fromkeys([taken, default, *np.argsort(-means)[:12].tolist(), *sorted(alone, key=lambda i: -means[i])]))
    rows: list[dict[str, object]] = [
        {"looks at": str(wanted[i]), "evaluations": wanted[i].evaluations, "columns": wanted[i].columns, "AUROC": float(means[i]),
         "the choice over it": f"{means[taken] - means[i]:+.3f} ({ends(draws[taken] - draws[i])})",
         "which": ", ".join(word for word, which in (("chosen", taken), ("the recipe now", default)) if which == i)} for i in picked
    ]  # fmt: skip
    cell_rows = [{"world": world, "outliers": kind, "AUROC": float(figures[taken, j])} for j, (world, kind) in enumerate(cells)]
    text = "\n".join(
        ["# How zero-shot was chosen: outliers made of references, no strange world", "",
         f"{len(wanted)} candidates, {FIT} references, {HELD} held out and {MADE} outliers of each kind; mean AUROC over {len(cells)} cells.",
         "Two earlier sets of outliers chose other streams at the same level; see the script.", "",
         *table(rows, ("looks at", "evaluations", "columns", "AUROC", "the choice over it", "which"), FIGURE), "", "The choice, cell by cell:", "",
         *table(cell_rows, ("world", "outliers", "AUROC"), FIGURE), "", machine()]
    )  # fmt: skip
    freeze(NAME, {"candidates": len(wanted), "rows": rows, "cells": cell_rows}, text + "\n")


def groups(recipe: Recipe) -> set[str]:
    """The groups of a recipe, by the names that they have here."""
    return {reading.label.replace(f"noised to {FAINT:.3g}", "noised") for reading in recipe.readings}


if __name__ == "__main__":
    main()
