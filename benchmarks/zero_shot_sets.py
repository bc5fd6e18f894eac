"""Small pictures of many worlds for ``zero_shot``: references and tests of each, 32 x 32 in colour, one split for all methods.

    python -m benchmarks.zero_shot_sets    how many pictures there are

Every picture is reduced by one filter. *Equal* brings all of them to 16 pixels, through one JPEG step and back, so that neither resolution nor
JPEG history tells a set; *raw* leaves both, to show the leak. Persons of the faces' references and tests are in no training of a base
(``TEST_PERSONS``); nor are the pictures here.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from PIL import Image

from benchmarks._common import data
from diffident.steps.equalise import Equalise

SIDE = 32
#: References and tests of each world.
REFERENCES, TESTS = 500, 250
#: The first so many persons of the faces, in file order, are kept from every base.
TEST_PERSONS = 1500
#: What is compared with what counts as near: natural pictures among each other.
NATURAL = ("CIFAR-10", "faces", "TinyImageNet")
OTHERS = "CIFAR-10, the others"
#: Of CIFAR-10.
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True, eq=False)
class World:
    """Pictures (n, 32, 32, 3) uint8 of one kind."""

    name: str
    references: np.ndarray
    tests: np.ndarray


@dataclass(frozen=True)
class Pair:
    """One world known, another strange."""

    known: str
    strange: str
    near: bool


def pictures(archive: str, names: Callable[[str], object], most: int) -> np.ndarray:
    """The first pictures of an archive whose names will do, reduced to 32 pixels; of an order drawn once, so that all classes are there."""
    (path,) = data(f"ood/{archive}")
    with zipfile.ZipFile(path) as opened:
        wanted = sorted(name for name in opened.namelist() if name.endswith((".jpg", ".png")) and names(name))
        drawn = [wanted[i] for i in np.random.default_rng(7).permutation(len(wanted))[:most]]
        return np.stack([_reduced(Image.open(io.BytesIO(opened.read(name)))) for name in drawn])


def _reduced(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def _parted(name: str, found: np.ndarray, references: int = REFERENCES) -> World:
    return World(name, found[:references], found[references : references + TESTS])


def grey(name: str, most: int) -> np.ndarray:
    """The first grey pictures of a set, reduced, of an order drawn once."""
    (path,) = data(f"ood/{name}.npz")
    with np.load(path) as stored:
        images = stored["images"][np.random.default_rng(7).permutation(len(stored["images"]))[:most]]
    return np.stack([_reduced(Image.fromarray(one)) for one in images])


def plain_noise(most: int) -> np.ndarray:
    return np.random.default_rng(8).integers(0, 256, (most, SIDE, SIDE, 3), dtype=np.uint8)


def plain_colours(most: int) -> np.ndarray:
    """One colour each, with grain of one grey level: exactly equal pixels would be refused as blank."""
    rng = np.random.default_rng(9)
    return (rng.integers(4, 252, (most, 1, 1, 3)) + rng.integers(-1, 2, (most, SIDE, SIDE, 3))).astype(np.uint8)


def _classes() -> tuple[str, ...]:
    (path,) = data("ood/tinyimagenet_64.zip")
    with zipfile.ZipFile(path) as opened:
        (listed,) = [name for name in opened.namelist() if name.endswith("classes.txt")]
        return tuple(line.split("\t")[0] for line in opened.read(listed).decode().splitlines() if line)


def _tiny(name: str, classes: tuple[str, ...]) -> World:
    """References from train, tests from val."""
    found = [pictures("tinyimagenet_64.zip", lambda one, part=part: f"{part}/" in one and one.rsplit("/", 2)[-2] in classes, many)
             for part, many in (("train", REFERENCES), ("val", TESTS))]  # fmt: skip
    return World(name, *found)


def persons() -> list[str]:
    """The files of faces, a person each, in order: the first of them are kept from every base."""
    (path,) = data("ood/faces_64.zip")
    with zipfile.ZipFile(path) as opened:
        return sorted(name for name in opened.namelist() if name.endswith(".jpg"))


@cache
def worlds() -> dict[str, World]:
    """All of them, by name."""
    classes, tested = _classes(), set(persons()[:TEST_PERSONS])
    found = [
        World(
            "CIFAR-10", pictures("cifar10_lossless.zip", lambda n: "train/" in n, REFERENCES), pictures("cifar10_lossless.zip", lambda n: "test/" in n, TESTS)
        ),
        _parted("faces", pictures("faces_64.zip", tested.__contains__, REFERENCES + TESTS)),
        _tiny("TinyImageNet", classes),
        _parted("textures", pictures("textures_128.zip", lambda n: True, REFERENCES + TESTS)),
        _parted("digits", grey("digits", REFERENCES + TESTS)),
        _parted("fashion", grey("fashion", REFERENCES + TESTS)),
        _parted("noise", plain_noise(REFERENCES + TESTS)),
        _parted("constants", plain_colours(REFERENCES + TESTS)),
        _tiny("TinyImageNet, first classes", classes[:100]),
        _tiny("TinyImageNet, last classes", classes[100:]),
    ]
    return {world.name: world for world in [*found, *(_cifar(f"CIFAR-10, {kind}", kind, 300, 100) for kind in CLASSES)]}


def _cifar(name: str, kind: str, references: int, tests: int) -> World:
    """References of its train, tests of its test; of one class or of all."""
    parts = {"train": references, "test": tests}
    return World(name, *(pictures("cifar10_lossless.zip", re.compile(f"(^|/){part}/{kind or '.*'}/").search, most) for part, most in parts.items()))


def pairs() -> list[Pair]:
    """Every ordered pair of the eight worlds, the halves of TinyImageNet's classes, and one class of CIFAR-10 against the others."""
    every = [name for name in worlds() if ", " not in name]
    found = [Pair(a, b, a in NATURAL and b in NATURAL) for a in every for b in every if a != b]
    halves = ("TinyImageNet, first classes", "TinyImageNet, last classes")
    found += [Pair(*halves, True), Pair(*halves[::-1], True)]
    return found + [Pair(f"CIFAR-10, {kind}", OTHERS, True) for kind in CLASSES]


def strange_to(pair: Pair) -> list[str]:
    """The worlds whose tests are strange in a pair: of one class of CIFAR-10 the nine others."""
    return [f"CIFAR-10, {kind}" for kind in CLASSES if not pair.known.endswith(kind)] if pair.strange == OTHERS else [pair.strange]


def equal(images: np.ndarray) -> np.ndarray:
    """The same of one resolution and one JPEG history."""
    values = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    return ((Equalise(16)(values) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()


if __name__ == "__main__":
    for one in worlds().values():
        print(f"{one.name:32} {len(one.references)} references, {len(one.tests)} tests")
    print(f"{len(pairs())} ordered pairs, {sum(pair.near for pair in pairs())} of them near")
