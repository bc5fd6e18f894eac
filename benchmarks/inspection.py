"""Which defects the default finds, beside the coreset memory and the Gaussian per position on the same features, controls, nulls and other recipes.

    python -m benchmarks.inspection                      what is wanting, piece by piece; then tables
    python -m benchmarks.inspection --piece tile 0 exact one piece

One configuration for all sets, fresh splits of train/good for each seed. Pieces are kept: an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image

import diffident as dd
from benchmarks._autoencoder import autoencoder
from benchmarks._common import data, keep, kept, machine, source
from benchmarks._learned import answers, ranked
from benchmarks.first_inspection import alarms, beside
from benchmarks.inspection_sets import SETS, Set
from diffident.data import Items
from diffident.evaluate.pixels import pixel_draws
from diffident.lessons import exactly
from diffident.levels import exploding
from diffident.model import Model
from diffident.recipes import INSPECTION, Reading, Recipe
from diffident.settings import Training
from diffident.walks import Clean

#: Which pieces there are: a part of the work, and for how many seeds it is done.
PARTS = {"exact": 5, "squeezenet": 1, "own": 1, "learned": 1, "pixels": 1}
NAME, LEVEL, REPEATS = "inspection", 0.05, 300
#: Items shown to a U-Net that is trained here.
IMAGES_SEEN = 50_000

Said, Maps, Piece = dict[str, dict[str, np.ndarray]], dict[str, np.ndarray], dict[str, Any]


class Asked:
    """One split of a set, and what detectors say of its held-out and test pictures."""

    def __init__(self, of: Set, seed: int) -> None:
        self.of, self.seed = of, seed
        self.learns, self.calibrates, self.held = ([of.good[i] for i in part] for part in of.parts(seed))
        self.said: Said = {}
        self.maps: Maps = {}
        self.seconds: dict[str, float] = {}

    def train(self, name: str, recipe: str | Recipe, **settings: Any) -> Model:
        """A model of the pictures that learn, as a user would train it."""
        start = time.perf_counter()
        model = dd.train(self.learns, recipe, channels=1, seed=self.seed, **settings)
        self.seconds[name] = time.perf_counter() - start
        return model

    def ask(self, name: str, model: Model, recipe: str | Recipe) -> dd.Detector:
        """Calibrate, judge, and keep what was said, with maps where there are any."""
        detector = dd.Detector(model, recipe, dd.Policy(LEVEL)).fit(self.calibrates, keep=0)
        asked, mapped = self.held + self.of.test, bool(detector.scorer.asked.mapped)
        parts = list(detector.stream(asked, mapped))
        self.said[name] = answers(detector.judge_all(dd.Scores.merge([scores for _, scores, _ in parts])))
        if mapped:
            self.maps[name] = np.stack([one.map for _, _, found in parts for one in found if one is not None])[len(self.held) :]
        return detector

    def piece(self) -> Piece:
        """All of it as plain data."""
        of, rows = self.of, pixel_rows(self.of)
        return {
            "set": of.name,
            "seed": self.seed,
            "scores": {name: one["scores"][len(self.held) :].tolist() for name, one in self.said.items()},
            "pixels": {name: {row: _drawn(of, maps, mine) for row, mine in rows.items()} for name, maps in self.maps.items()},
            "alarms": {name: alarms(of, self.seed, one) for name, one in self.said.items()},
            "train": len(self.learns),
            "reference": len(self.calibrates),
            "learning": self.seconds,
            "machine": machine(),
        }


def pixel_rows(of: Set) -> dict[str, np.ndarray]:
    """Test pictures with a known mask: of all kinds, and of all but the one that stands apart."""
    known = np.array([mask is not None for mask in of.masks])
    return {row: np.flatnonzero(mine & known) for row, mine in of.groups().items() if row.startswith("all")}


def _drawn(of: Set, maps: np.ndarray, mine: np.ndarray) -> dict[str, list[float]]:
    """AUPRO and what it becomes when pictures, or whole tiles, are drawn again."""
    masks = [of.masks[i] for i in mine]
    sized = [np.asarray(Image.fromarray(maps[i]).resize(mask.shape[::-1], Image.Resampling.BILINEAR)) for i, mask in zip(mine, masks, strict=True)]  # type: ignore[union-attr]
    exact, drawn = pixel_draws(masks, sized, groups=of.test_units[mine] if of.grouped else None, repeats=REPEATS)  # type: ignore[arg-type]
    return {"pixel AUROC": [float(exact[0])], "AUPRO": [float(exact[1])], "drawn": drawn[:, 1].round(5).tolist()}


def reading(walk: Clean, statistic: str, name: str) -> Recipe:
    """The default with another reading."""
    return replace(INSPECTION, name=name, readings=(Reading(walk, statistic),))


def refitted(model: Model, learns: list[np.ndarray], seed: int) -> Model:
    """The default on a network of random weights, everything else learned anew from the same pictures."""
    known_good = torch.from_numpy(np.stack([model.modality.open(item).values for item in Items.open(learns)]))
    for step in model.steps:
        known_good = step(known_good)
    space = replace(model.space.untrained(seed), style=None).learned(known_good)  # type: ignore[type-var]
    return replace(model, space=space, denoiser=exactly(known_good, space, Training(seed=seed).settled(INSPECTION)))


def exact(asked: Asked) -> None:
    """The default, its parts taken away, and the usual detectors on the same network."""
    model = asked.train("inspection", "inspection")
    asked.ask("inspection", model, "inspection")
    asked.ask("Mahalanobis in its place", model, reading(Clean(exploding([0.1, 1e4])), "mahalanobis", "mahalanobis, place by place"))
    asked.ask("no diffusion: distance to the mean", model, reading(Clean(exploding([1e4])), "residual", "distance to the mean"))
    asked.ask("not place by place", model, replace(INSPECTION, name="highest", combine="highest"))
    asked.ask("random weights", refitted(model, asked.learns, asked.seed), "inspection")
    same = {"network": "patches", "name": "memory of the default's features", "combine": "highest"}
    asked.ask(
        "coreset memory, the default's features",
        asked.train("coreset memory, the default's features", replace(INSPECTION, **same)),
        replace(INSPECTION, **same),
    )
    asked.ask("coreset memory", asked.train("coreset memory", "memory"), "memory")
    asked.ask("Gaussian per position", asked.train("Gaussian per position", "mahalanobis"), "mahalanobis")


def squeezenet(asked: Asked) -> None:
    """The same three on another network."""
    (weights,) = data("networks/squeezenet.npz")
    for name, recipe in (("inspection", "inspection"), ("coreset memory", "memory"), ("Gaussian per position", "mahalanobis")):
        asked.ask(f"{name}, SqueezeNet", asked.train(f"{name}, SqueezeNet", recipe, features=str(weights)), recipe)


def own(asked: Asked) -> None:
    """Without any outside network: the model's own activations, trained and not."""
    model = asked.train("inspection, own features", "inspection", features="own", prepare=("auto",), images_seen=IMAGES_SEEN)
    asked.ask("inspection, own features", model, "inspection")
    asked.ask("own features, random weights", refitted(model, asked.learns, asked.seed), "inspection")


def learned(asked: Asked) -> None:
    """A U-Net that learns to denoise the features, in place of the exact Gaussians."""
    model = asked.train("a learned denoiser of the features", "inspection", network="unet", images_seen=IMAGES_SEEN)
    asked.ask("a learned denoiser of the features", model, "inspection")


def pixels(asked: Asked) -> None:
    """Recipes that question a U-Net in pixels and in Haar coefficients, an autoencoder, baselines and nulls."""
    model = asked.train("U-Net, pixels", "reconstruction", network="unet", size=128, images_seen=IMAGES_SEEN)
    for recipe in ("reconstruction", "conditioned", "inversion", "deviation", "mask", "msma", "diffpath"):
        asked.ask(recipe, model, recipe)
    asked.ask("reconstruction, random weights", model.untrained(asked.seed), "reconstruction")
    haar = asked.train("U-Net, Haar", "wavelet-semantic", size=128, images_seen=IMAGES_SEEN)
    asked.ask("wavelet-semantic", haar, "wavelet-semantic")
    parts = [np.stack([model.modality.open(one).values for one in Items.open(part)]) for part in (asked.learns, asked.calibrates, asked.held + asked.of.test)]
    of_reference, of_asked = autoencoder(parts[0], parts[1:], asked.seed)
    asked.said["autoencoder"] = ranked(of_reference, of_asked, LEVEL)
    asked.said |= beside(model, asked.of, asked.seed, [asked.learns, asked.calibrates, asked.held + asked.of.test])


WORK: dict[str, Callable[[Asked], None]] = {"exact": exact, "squeezenet": squeezenet, "own": own, "learned": learned, "pixels": pixels}


def piece(name: str, seed: int, part: str) -> Piece:
    start, asked = time.perf_counter(), Asked(SETS[name](), seed)
    WORK[part](asked)
    return asked.piece() | {"part": part, "seconds": time.perf_counter() - start}


def key(name: str, seed: int, part: str) -> str:
    """Names a piece and all that it depends on: the code of the library, and the settings here."""
    return f"{name} {seed} {part}: {source()} {IMAGES_SEEN}"


def wanted() -> list[tuple[str, int, str]]:
    """The pieces that no earlier run has finished."""
    found = kept(NAME)
    every = [(name, seed, part) for part, seeds in PARTS.items() for seed in range(seeds) for name in SETS]
    return [one for one in every if key(*one) not in found]


def main() -> None:
    parser = argparse.ArgumentParser(description="Defects of screws and magnetic tiles.")
    parser.add_argument("--piece", nargs=3, metavar=("SET", "SEED", "PART"), help=f"make this piece only: {', '.join(SETS)}, a seed, {', '.join(PARTS)}")
    asked = parser.parse_args().piece
    for name, seed, part in [(asked[0], int(asked[1]), asked[2])] if asked else wanted():
        keep(NAME, key(name, seed, part), piece(name, seed, part))
        print(f"{name}, seed {seed}, {part}: done", flush=True)
    if left := wanted():
        print(f"{len(left)} pieces are wanting before anything is frozen: {', '.join(' '.join(map(str, one)) for one in left)}")
        return
    from benchmarks._inspection_tables import report

    report([kept(NAME)[key(name, seed, part)] for part, seeds in PARTS.items() for seed in range(seeds) for name in SETS])


if __name__ == "__main__":
    main()
