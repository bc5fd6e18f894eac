"""What a base model should learn from: one network, as many pictures shown as often, of four kinds; judged on worlds that none has seen.

    python -m benchmarks.bases                  train what is wanting, judge it, tables; interrupted, it goes on
    python -m benchmarks.bases --images 40000   how many pictures each base is shown
    python -m benchmarks.bases --so-far         the tables of what is there

Bases lie in build/bases. Their pictures are nobody's references or tests in ``zero_shot_sets``: no test person's face, none of the pictures of
TinyImageNet that are looked at there. Each base has the same number of different pictures. Random weights stand beside them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import diffident as dd
from benchmarks._common import ROOT, freeze, keep, kept, machine, so_far, table
from benchmarks._draws import ends
from benchmarks._zero_shot import Piece, judged, pixels, recipe_of, scored
from benchmarks.zero_shot import drawn, resampled
from benchmarks.zero_shot_sets import SIDE, TEST_PERSONS, Pair, pairs, persons, pictures
from diffident import store
from diffident.folder import MANIFEST
from diffident.scorer import Scorer
from diffident.settings import Training
from scripts.train_base import CHANNELS, bank, trained

NAME, PLACE = "bases", ROOT / "build" / "bases"
#: Different pictures of each base, and how many are shown in all.
PICTURES, IMAGES = 9_000, 40_000
#: Recipes and how many references and tests of each world are looked at: those of ten evaluations see fewer.
CHEAP, DEAR = (("zero-shot", "zero-shot, told 1", "activations-told"), (300, 150)), (("diffpath", "msma"), (150, 75))
#: The same picture as one of the other archive, which is looked at.
TWICE = ("n01855672/000044", "n07753592/000063")


def untested() -> Callable[[str], bool]:
    """Whether a picture of a face shows a person who is in no test."""
    tested = {name.rsplit("/", 1)[0] for name in persons()[:TEST_PERSONS]}
    return lambda name: name.rsplit("/", 1)[0] not in tested


def faces(most: int) -> np.ndarray:
    """Of persons who are in no test."""
    return np.concatenate([pictures(archive, untested(), most) for archive in ("faces_64.zip", "faces_64_more.zip")])[:most]


def natural(most: int) -> np.ndarray:
    """Of the part of TinyImageNet that no world of the benchmark is made of."""
    return pictures("tinyimagenet_64_more.zip", lambda name: not any(one in name for one in TWICE), most)


def procedural(most: int) -> np.ndarray:
    return bank(most).transpose(0, 2, 3, 1)


def mixture(most: int) -> np.ndarray:
    """A third of each."""
    return np.concatenate([kind(most // 3) for kind in (faces, natural, procedural)])


BASES: dict[str, Callable[[int], np.ndarray]] = {"procedural": procedural, "TinyImageNet": natural, "faces": faces, "mixture": mixture}


def made(name: str, images: int) -> Path:
    """The folder of a base, trained if it is not there."""
    folder = PLACE / f"{name}-{images}"
    if not (folder / MANIFEST).is_file():
        values = torch.from_numpy(BASES[name](PICTURES)).permute(0, 3, 1, 2).float() / 127.5 - 1
        print(f"{name}: {len(values)} pictures", flush=True)
        how = Training(network="unet", size=SIDE, channels=CHANNELS, images_seen=images)
        store.save(replace(trained(values, how, f"{name}, {len(values)}", PLACE / f"training-{name}-{images}"), name=name), folder)
    return folder


def model_of(name: str, images: int) -> dd.Model:
    return replace(store.load(made("procedural", images)).untrained(1), name="random") if name == "random" else store.load(made(name, images))


def wanting(images: int) -> None:
    """Make what is not there yet."""
    for name in (*BASES, "random"):
        model = model_of(name, images)
        for asked, most in (CHEAP, DEAR):
            keys = {one: f"{name} {one} {most}: {Scorer(model, recipe_of(one)).fingerprint}" for one in asked}
            if any(key not in kept(NAME) for key in keys.values()):
                scores = scored(model, asked, "equal", most)
                for one, key in keys.items():
                    cost = recipe_of(one).cost
                    keep(
                        NAME,
                        key,
                        {"base": name, "recipe": one, "scores": judged(scores[one], recipe_of(one).combine), "cost": [cost.evaluations, cost.products]},
                    )
                    print(f"{name}, {one}: done", flush=True)


def rows(found: list[Piece], near: bool) -> list[dict[str, object]]:
    """Mean AUROC over pairs of each base under each recipe, and what it gains over random weights and over faces, on the same draws."""
    times, wanted = resampled(), [pair for pair in pairs() if pair.near is near]
    means = {(one["recipe"], one["base"]): _mean(wanted, one, times) for one in found}
    told = []
    for (name, base), (value, draws) in sorted(means.items()):
        row: dict[str, object] = {"near": near, "recipe": name, "base": base, "AUROC": value, "95 % interval": ends(draws)}
        for other in ("random", "faces"):
            there = means.get((name, other)) if base not in (other, "none", "random") else None
            row[f"over {other}"] = "" if there is None else f"{value - there[0]:+.3f} ({ends(draws - there[1])})"
        told.append(row)
    return told


def _mean(wanted: list[Pair], one: Piece, times: dict[str, np.ndarray]) -> tuple[float, np.ndarray]:
    values = [drawn(pair, one, times) for pair in wanted]
    return float(np.mean([value for value, _ in values])), np.mean([draws for _, draws in values], axis=0)


def left() -> list[str]:
    """The pieces that are not there yet, in words; bases that are not there count without being trained."""
    there = {(one["base"], one["recipe"]) for one in kept(NAME).values()}
    return [f"{base}, {name}" for base in (*BASES, "random") for asked, _ in (CHEAP, DEAR) for name in asked if (base, name) not in there]


def report(images: int) -> None:
    """The tables; frozen if nothing is left to do, otherwise written with what is wanting."""
    wanted, found = left(), [*kept(NAME).values(), *pixels("equal", CHEAP[1]).values()]
    lines, frozen = [f"# What a base should learn from: {PICTURES} different pictures of each kind, {images} shown, one network", ""], []
    lines += [f"**Unfinished.** Wanting: {'; '.join(wanted)}.", ""] if wanted else []
    lines += [f"{' and '.join(asked)}: {most[0]} references and {most[1]} tests of each world." for asked, most in (CHEAP, DEAR)]
    lines += ["Everything passes 16 pixels and one JPEG step. Intervals: tests drawn again, jointly for all; one training of each base.", ""]
    for near in (True, False):
        told = rows(found, near)
        frozen += told
        lines += [
            f"## {'Near' if near else 'Far'} pairs",
            "",
            *table(told, ("recipe", "base", "AUROC", "95 % interval", "over random", "over faces"), ".3f"),
            "",
        ]
    text = "\n".join([*lines, machine()]) + "\n"
    if wanted:
        so_far(NAME, text)
    else:
        freeze(NAME, {"images": images, "pictures": PICTURES, "rows": frozen}, text)


def main() -> None:
    parser = argparse.ArgumentParser(description="What a base should learn from.")
    parser.add_argument("--images", type=int, default=IMAGES, help="shown to each base in all")
    parser.add_argument("--so-far", action="store_true", help="write the tables of what is there, and make nothing")
    asked = parser.parse_args()
    if not asked.so_far:
        wanting(asked.images)
    report(asked.images)


if __name__ == "__main__":
    main()
