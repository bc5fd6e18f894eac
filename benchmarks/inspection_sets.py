"""The inspection sets as ``first_inspection`` takes them: screws, screws of one median grey, magnetic tiles; and fresh splits of their good ones.

    python -m benchmarks.inspection_sets    how many pictures and units there are

Screws are split by picture. Magnetic tiles were photographed under up to six exposures and are split by tile.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks._common import data
from benchmarks.natural_split import tiles
from diffident.data import Item
from diffident.evaluate.labelled import GOOD, Labelled, mask

#: Of train/good: what learns, what calibrates; the rest is held out.
SHARES = (0.6, 0.25)
#: Of the 320 screws: how many learn, how many calibrate.
SCREWS = (200, 80)


@dataclass(frozen=True, eq=False)
class Set:
    """Grey pictures (h, w) of one part: good ones to be split, and a test part that is the same in every split.

    Attributes:
        good, good_units: pictures of train/good, and the tile or picture that each shows.
        test, test_units, kinds: pictures of test, likewise; ``good`` or the name of a defect.
        masks: of each test picture where it is strange; None where that is not known.
        counts: how many units learn and how many calibrate.
        apart: a kind that is reported apart from the others, or empty.
        outside: null scores that are read off files and not off pictures: by name, those of good and of test.
    """

    name: str
    good: list[np.ndarray]
    good_units: np.ndarray
    test: list[np.ndarray]
    test_units: np.ndarray
    kinds: tuple[str, ...]
    masks: list[np.ndarray | None]
    counts: tuple[int, int]
    apart: str = ""
    outside: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    @cached_property
    def labels(self) -> np.ndarray:
        """(n,): 1 = strange, 0 = good."""
        return np.array([kind != GOOD for kind in self.kinds], dtype=int)

    @property
    def grouped(self) -> bool:
        """Whether several pictures show one unit."""
        return len(set(self.test_units.tolist())) < len(self.test)

    def groups(self) -> dict[str, np.ndarray]:
        """Which test pictures belong to a row of the tables: the good ones and all strange, all but those apart, or those of a kind."""
        kinds, good = np.array(self.kinds), self.labels == 0
        rows = {"all": np.ones(len(kinds), dtype=bool)} | ({f"all but {self.apart}": kinds != self.apart} if self.apart else {})
        return rows | {kind: good | (kinds == kind) for kind in sorted(set(self.kinds) - {GOOD})}

    def parts(self, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Which of the good ones learn, calibrate and are held out: whole units, in an order drawn afresh for each seed."""
        order = np.random.default_rng([seed, 2024]).permutation(np.unique(self.good_units))
        cuts = np.split(order, np.cumsum(self.counts))
        return tuple(np.flatnonzero(np.isin(self.good_units, cut)) for cut in cuts)  # type: ignore[return-value]


def screw() -> Set:
    (place,) = data("inspection/mvtec_screw")
    labelled = Labelled.open(place)
    good, test = [_grey(item) for item in labelled.train], [_grey(item) for item in labelled.test]
    masks = [_marked(one, shown) for one, shown in zip(labelled.masks, test, strict=True)]
    return Set("screw as stored", good, np.arange(len(good)), test, np.arange(len(test)), labelled.kinds, masks, SCREWS)


def screw_scaled() -> Set:
    """Each picture multiplied so that its median grey is .7; test/good is darker than all else, and this takes that away."""
    stored = screw()
    return replace(stored, name="screw, one median", good=[_scaled(one) for one in stored.good], test=[_scaled(one) for one in stored.test])


def magnetic_tile() -> Set:
    """Tiles that are shown in test are left out of train/good; test keeps them."""
    (place,) = data("inspection/magnetic_tile")
    labelled = Labelled.open(place)
    tile = tiles([item.payload for item in [*labelled.train, *labelled.test]])
    tested = {tile[item.payload] for item in labelled.test}
    kept = [item for item in labelled.train if tile[item.payload] not in tested]
    good, test = [_grey(item) for item in kept], [_grey(item) for item in labelled.test]
    units = np.array([tile[item.payload] for item in kept])
    many = len(np.unique(units))
    masks = [_marked(one, shown) for one, shown in zip(labelled.masks, test, strict=True)]
    # an empty mask of a strange picture says that nobody knows where it is strange: five of them here
    known = [None if kind != GOOD and one is not None and not one.any() else one for kind, one in zip(labelled.kinds, masks, strict=True)]
    shapes = _aspects(place)
    outside = {"aspect ratio": (_aspect_of(kept, shapes, place), _aspect_of(list(labelled.test), shapes, place))}
    counts = (round(SHARES[0] * many), round(SHARES[1] * many))
    test_units = np.array([tile[item.payload] for item in labelled.test])
    return Set("magnetic tile", good, units, test, test_units, labelled.kinds, known, counts, "uneven", outside)


def once(units: np.ndarray, rows: np.ndarray, seed: int) -> np.ndarray:
    """Of these rows one for each unit, drawn by the seed: several pictures of one part are no independent references."""
    drawn = np.random.default_rng([seed, 99]).permutation(rows)
    return np.sort(drawn[np.unique(units[drawn], return_index=True)[1]])


SETS: dict[str, Callable[[], Set]] = {"screw-scaled": screw_scaled, "screw": screw, "tile": magnetic_tile}


def _grey(item: Item) -> np.ndarray:
    with Image.open(item.payload) as picture:
        return np.asarray(picture.convert("L"))


def _scaled(picture: np.ndarray) -> np.ndarray:
    """float32, white is 1; what becomes brighter than white stays so."""
    return (0.7 / np.median(picture) * picture).astype(np.float32)


def _marked(of: Item | None, picture: np.ndarray) -> np.ndarray:
    return np.zeros(picture.shape, dtype=bool) if of is None else mask(of)


def _aspects(place: Path) -> dict[str, float]:
    with (place / "sizes.csv").open(newline="") as file:
        return {row["file"]: float(row["source_width"]) / float(row["source_height"]) for row in csv.DictReader(file)}


def _aspect_of(items: list[Item], shapes: dict[str, float], place: Path) -> np.ndarray:
    return np.array([shapes[item.payload.relative_to(place).as_posix()] for item in items])


def main() -> None:
    for name, make in SETS.items():
        one = make()
        train, reference, held = one.parts(0)
        unknown = sum(marked is None for marked in one.masks)
        print(f"{name}: {len(train)} train, {len(reference)} reference, {len(held)} held out, {len(one.test)} test, {unknown} without a mask")


if __name__ == "__main__":
    main()
