"""Which defects the default finds, beside the coreset memory and the Gaussian per position on the same features, controls, nulls and other recipes.

    python -m benchmarks.inspection                      what is wanting, piece by piece; then tables
    python -m benchmarks.inspection --piece tile 0 default   one piece; pieces may be made side by side
    python -m benchmarks.inspection --so-far                 the tables of what is there

One configuration for all sets, fresh splits of train/good for each seed. Pieces are kept: an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
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
from benchmarks.inspection_sets import SETS, Set, once
from diffident.data import Items
from diffident.evaluate.pixels import pixel_draws
from diffident.learning import learn
from diffident.lessons import exactly
from diffident.levels import exploding
from diffident.model import Model
from diffident.recipes import INSPECTION, WAVELET_SEMANTIC, Reading, Recipe, wavelet_semantic
from diffident.settings import Training
from diffident.walks import Clean

#: Which pieces there are: a part of the work, for how many seeds it is done, and of which sets. Networks are trained here for
#: the two sets that are judged; screws as they were stored stand beside the default alone.
JUDGED = ("screw-scaled", "tile")
PARTS: dict[str, tuple[int, Sequence[str]]] = {
    "default": (5, tuple(SETS)),
    "controls": (1, tuple(SETS)),
    "squeezenet": (1, tuple(SETS)),
    "own": (1, JUDGED),
    "learned": (1, JUDGED),
    "pixels": (1, JUDGED),
    "haar": (1, JUDGED),
}
NAME, LEVEL, REPEATS = "inspection", 0.05, 300
#: Items shown to a U-Net that is trained here.
IMAGES_SEEN = 20_000

Said, Maps, Piece = dict[str, dict[str, np.ndarray]], dict[str, np.ndarray], dict[str, Any]


class Asked:
    """One split of a set, and what detectors say of its held-out and test pictures."""

    def __init__(self, of: Set, seed: int) -> None:
        self.of, self.seed = of, seed
        learns, calibrates, held = of.parts(seed)
        parts = (learns, once(of.good_units, calibrates, seed), held)
        self.learns, self.calibrates, self.held = ([of.good[i] for i in part] for part in parts)
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


def default(asked: Asked) -> None:
    """The default, its parts taken away, and the usual detectors on the same network."""
    model = asked.train("inspection", "inspection")
    asked.ask("inspection", model, "inspection")
    asked.ask("Mahalanobis in its place", model, reading(Clean(exploding([0.1, 1e4])), "mahalanobis", "mahalanobis, place by place"))
    asked.ask("no diffusion: distance to the mean", model, reading(Clean(exploding([1e4])), "residual", "distance to the mean"))
    asked.ask("coreset memory", asked.train("coreset memory", "memory"), "memory")
    asked.ask("Gaussian per position", asked.train("Gaussian per position", "mahalanobis"), "mahalanobis")


def controls(asked: Asked) -> None:
    """What the default owes to its network, to its calibration by places, to its denoiser and to being learned of one part."""
    model = asked.train("inspection, again", "inspection")
    asked.ask("not place by place", model, replace(INSPECTION, name="highest", combine="highest"))
    asked.ask("random weights", refitted(model, asked.learns, asked.seed), "inspection")
    same = replace(INSPECTION, network="patches", name="memory of the default's features", combine="highest")
    asked.ask("coreset memory, the default's features", asked.train("coreset memory, the default's features", same), same)
    others = [Asked(SETS[name](), asked.seed).learns for name in JUDGED if SETS[name]().name != asked.of.name][:1]
    asked.ask("one model for screws and tiles", dd.train([*asked.learns, *others[0]], "inspection", channels=1, seed=asked.seed), "inspection")


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
    asked.ask("wavelet-semantic without wavelets", model, wavelet_semantic(bands=1, space="pixels"))
    parts = [np.stack([model.modality.open(one).values for one in Items.open(part)]) for part in (asked.learns, asked.calibrates, asked.held + asked.of.test)]
    of_reference, of_asked = autoencoder(parts[0], parts[1:], asked.seed)
    asked.said["autoencoder"] = ranked(of_reference, of_asked, LEVEL)
    asked.said |= beside(model, asked.of, asked.seed, [asked.learns, asked.calibrates, asked.held + asked.of.test])


def haar(asked: Asked) -> None:
    """The recipe of several scales, Haar bands, attention and semantic discrepancy, and what each of the four is worth."""
    model = asked.train("U-Net, Haar", "wavelet-semantic", size=128, images_seen=IMAGES_SEEN)
    asked.ask("wavelet-semantic", model, "wavelet-semantic")
    asked.ask("wavelet-semantic, one scale", model, wavelet_semantic(starts=(0.33,)))
    asked.ask("wavelet-semantic without semantic discrepancy", model, wavelet_semantic(semantic=False))
    asked.ask("wavelet-semantic, random weights", model.untrained(asked.seed), "wavelet-semantic")
    how = Headless(size=128, channels=1, seed=asked.seed, images_seen=IMAGES_SEEN).settled(WAVELET_SEMANTIC)
    blind = learn(asked.learns, "wavelet-semantic", how, dd.Policy(), "no attention").detector.model
    asked.ask("wavelet-semantic without attention", blind, "wavelet-semantic")


class Headless(Training):
    """Networks without attention."""

    def shaped(self, shape: Sequence[int], network: str) -> dict[str, Any]:
        return super().shaped(shape, network) | {"head": 0}


WORK: dict[str, Callable[[Asked], None]] = {
    "default": default,
    "controls": controls,
    "squeezenet": squeezenet,
    "own": own,
    "learned": learned,
    "pixels": pixels,
    "haar": haar,
}


def piece(name: str, seed: int, part: str) -> Piece:
    start, asked = time.perf_counter(), Asked(SETS[name](), seed)
    WORK[part](asked)
    return asked.piece() | {"part": part, "seconds": time.perf_counter() - start}


def key(name: str, seed: int, part: str) -> str:
    """Names a piece and all that it depends on: the code of the library, and the settings here."""
    return f"{name} {seed} {part}: {source()} {IMAGES_SEEN}"


def every() -> list[tuple[str, int, str]]:
    """All pieces: set, seed, part."""
    return [(name, seed, part) for part, (seeds, sets) in PARTS.items() for seed in range(seeds) for name in sets]


def main() -> None:
    parser = argparse.ArgumentParser(description="Defects of screws and magnetic tiles.")
    parser.add_argument("--piece", nargs=3, metavar=("SET", "SEED", "PART"), help=f"make this piece only: {', '.join(SETS)}, a seed, {', '.join(PARTS)}")
    parser.add_argument("--so-far", action="store_true", help="show the tables of the pieces that are there, and make none")
    asked = parser.parse_args()
    wanted = [] if asked.so_far else [(asked.piece[0], int(asked.piece[1]), asked.piece[2])] if asked.piece else every()
    for one in wanted:
        if key(*one) not in kept(NAME):
            keep(NAME, key(*one), piece(*one))
            print(f"{one[0]}, seed {one[1]}, {one[2]}: done", flush=True)
    found = kept(NAME)
    left = [one for one in every() if key(*one) not in found]
    if left:
        print(f"{len(left)} pieces are wanting before anything is frozen: {', '.join(' '.join(map(str, one)) for one in left)}")
    if asked.so_far or not left:
        from benchmarks._inspection_tables import report

        report([found[key(*one)] for one in every() if one not in left], [" ".join(map(str, one)) for one in left])


if __name__ == "__main__":
    main()
