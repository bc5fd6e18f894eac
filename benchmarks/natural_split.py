"""False alarms on real images, under one natural split each: reported, not judged.

    python -m benchmarks.natural_split

The promise holds for good items that are exchangeable with the references. Here nobody shuffled: references and tests
follow the training part in file order, by tile or by person, as in real work. Beside each observed rate stands the range
in which 95 % of such rates would fall if exchangeability held (beta-binomial, exact), so that a reader sees where it does
not. Exact models (network none), recipes as registered, nothing chosen by looking at a test part. Writes
benchmarks/results/natural_split.json and natural_split.md.
"""

from __future__ import annotations

import io
import re
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import diffident as dd
from benchmarks._common import data, freeze, machine, resampled, table
from benchmarks.checker import alarm_range
from diffident.errors import TooFewReferences

LEVELS, RECIPES, SIZE = (0.01, 0.05, 0.1), ("reconstruction", "diffpath", "msma"), 32
#: Numbers of magnetic-tile files no further apart than this show one tile: six exposures lie some 15 apart, the next tile hundreds.
ONE_TILE = 100


@dataclass(frozen=True)
class Part:
    """Good items that nothing was fitted on; ``groups`` names the independent unit of each, where items are not."""

    name: str
    items: Any
    groups: tuple[int, ...] = ()


@dataclass(frozen=True)
class Split:
    """One set, parted in one way."""

    name: str
    how: str
    train: Any
    reference: Any
    tests: tuple[Part, ...] = field(default=())


def in_file_order(name: str, path: Path) -> Split:
    """Ten classes together; of each the first 200 train, the next 100 calibrate, the next 100 are tested."""
    stored = np.load(path)
    order = [np.flatnonzero(stored["labels"] == label) for label in range(10)]
    train, reference, test = (stored["images"][np.concatenate([rows[cut] for rows in order])] for cut in (slice(200), slice(200, 300), slice(300, 400)))
    return Split(name, "file order within each class: 0-199 train, 200-299 reference, 300-399 test", train, reference, (Part("next in order", test),))


def fashion() -> Split:
    return in_file_order("fashion", *data("ood/fashion.npz"))


def digits() -> Split:
    return in_file_order("digits", *data("ood/digits.npz"))


def magnetic_tile() -> Split:
    """Parted by number within each exposure; what shows a tile of an earlier part is left out."""
    (place,) = data("inspection/magnetic_tile")
    train, reference = [], []
    for of in by_exposure(place / "train" / "good").values():
        cut = round(0.75 * len(of))
        train, reference = train + of[:cut], reference + of[cut:]
    tested = sorted((place / "test" / "good").glob("*.jpg"), key=number)
    tile = tiles([*train, *reference, *tested])
    seen = {tile[path] for path in train}
    kept = [path for path in reference if tile[path] not in seen]
    seen |= {tile[path] for path in kept}
    fresh = [path for path in tested if tile[path] not in seen]
    out = len(reference) + len(tested) - len(kept) - len(fresh)
    how = f"by number within each exposure; {len({tile[p] for p in kept})} tiles calibrate; {out} images left out that show a tile of an earlier part"
    return Split("magnetic tile", how, train, kept, (Part("test/good", fresh, tuple(tile[path] for path in fresh)),))


def number(path: Path) -> int:
    return int(re.findall(r"\d+", path.stem)[1])


def by_exposure(folder: Path) -> dict[str, list[Path]]:
    """The files of each exposure, by number."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*.jpg"), key=number):
        found.setdefault(path.stem.partition("_")[0], []).append(path)
    return found


def tiles(paths: list[Path]) -> dict[Path, int]:
    """Which tile each file shows: runs of near numbers."""
    ordered = sorted(paths, key=number)
    jumps = np.diff([number(path) for path in ordered], prepend=number(ordered[0])) > ONE_TILE
    return dict(zip(ordered, np.cumsum(jumps).tolist(), strict=True))


def screw() -> Split:
    """Held out of the same folder, and the set's own test part, which is darker than everything else."""
    (place,) = data("inspection/mvtec_screw")
    good, dark = sorted((place / "train" / "good").glob("*.png")), sorted((place / "test" / "good").glob("*.png"))
    how = "file order of train/good: 000-199 train, 200-279 reference, 280-319 held out; test/good is darker"
    return Split("screw", how, good[:200], good[200:280], (Part("held out", good[280:320]), Part("test/good, darker", dark)))


def faces() -> Split:
    """One picture of each person, in the order of first names."""
    (path,) = data("ood/faces_64.zip")
    with zipfile.ZipFile(path) as packed:
        names = [name for name in packed.namelist() if name.endswith(".jpg")][:1100]
        pictures = np.stack([np.asarray(Image.open(io.BytesIO(packed.read(name))).convert("RGB")) for name in names])
    how = "persons in file order: 0-499 train, 500-799 reference, 800-1099 test"
    return Split("faces", how, pictures[:500], pictures[500:800], (Part("next in order", pictures[800:]),))


SPLITS: tuple[Callable[[], Split], ...] = (fashion, digits, magnetic_tile, screw, faces)


def rows_of(split: Split) -> list[dict[str, Any]]:
    """Every recipe, part and level of one split."""
    model, rows = dd.train(split.train, network="none", size=SIZE), []
    for recipe in RECIPES:
        detector = dd.Detector(model, recipe, dd.Policy(0.1)).fit(split.reference)  # .1: the one level that all these references reach
        for part in split.tests:
            scores = detector.scorer(part.items)
            rows += [{"set": split.name, "part": part.name, "recipe": recipe} | row(detector, scores, part, level) for level in LEVELS]
    return rows


def row(detector: dd.Detector, scores: dd.Scores, part: Part, level: float) -> dict[str, Any]:
    """What the detector does with good items at one level."""
    about: dict[str, Any] = {"level": level, "references": len(detector.calibrated), "items": len(scores)}
    try:
        verdicts = detector.judge_all(scores, policy=dd.Policy(level))
    except TooFewReferences as refused:
        return about | {"flagged": None, "abstained": None, "low": None, "high": None, "inside": None, "units": None, "says": str(refused)}
    flags = np.array([verdict.decision == "flag" for verdict in verdicts])
    low, high = alarm_range(len(detector.calibrated), level, len(scores))
    rate, abstained = float(flags.mean()), float(np.mean([verdict.decision == "abstain" for verdict in verdicts]))
    found = {"flagged": rate, "abstained": abstained, "low": low, "high": high, "inside": low <= rate <= high}
    return about | found | over_units(flags, part.groups) | {"says": next((v.because for v in verdicts if v.decision == "abstain"), "")}


def over_units(flags: np.ndarray, groups: tuple[int, ...]) -> dict[str, Any]:
    """Where items come in groups: how many there are, and an interval of the observed rate over them."""
    if not groups:
        return {"units": None}
    unit = np.unique(groups, return_inverse=True)[1]
    per, of = np.bincount(unit, weights=flags), np.bincount(unit)
    return {"units": len(of), "interval": resampled(lambda times: float(times @ per / (times @ of)), len(of), 2000)}


def as_table(frozen: dict[str, Any]) -> str:
    shown = [shape(row) for row in frozen["rows"]]
    lines = [
        "# False alarms on real images, one natural split each",
        "",
        f"`{frozen['command']}`, {frozen['seconds']:.0f} s ({frozen['machine']}). Reported, not judged: nobody shuffled, so nothing is promised.",
        f"Exact models of the training part at {SIZE} pixels. *95 % range*: of the rate, if test items were exchangeable with the references and with",
        "each other (beta-binomial). Up to six images show one magnetic tile: there the range is too narrow, and the observed rate has an interval over tiles.",
        "",
        *(f"- **{one['name']}**: {one['how']}; {one['train']} train." for one in frozen["splits"]),
        "",
        *table(shown, ("set", "part", "recipe", "references", "items", "level", "flagged", "95 % range", "within", "abstained", "over tiles")),
        "",
        *(f"- {line}" for line in frozen["in words"]),
    ]
    return "\n".join(lines) + "\n"


def shape(row: dict[str, Any]) -> dict[str, Any]:
    """A row in words."""
    if row["flagged"] is None:
        return row | {"flagged": "refused", "95 % range": "", "within": "", "abstained": "", "over tiles": ""}
    over = f"[{row['interval'][0]:.3f}, {row['interval'][1]:.3f}] over {row['units']}" if row["units"] else ""
    figures = {"flagged": f"{row['flagged']:.3f}", "abstained": f"{row['abstained']:.3f}", "95 % range": f"{row['low']:.3f} to {row['high']:.3f}"}
    return row | figures | {"within": "yes" if row["inside"] else "NO", "over tiles": over}


def in_words(rows: list[dict[str, Any]]) -> list[str]:
    """What the table says about each part: how often it left its range; and why levels were refused."""
    lines = []
    for name, part in dict.fromkeys((row["set"], row["part"]) for row in rows):
        mine = [row for row in rows if (row["set"], row["part"]) == (name, part) and row["flagged"] is not None]
        outside = [row for row in mine if not row["inside"]]
        worst = max(mine, key=lambda row: row["flagged"] / row["level"])
        lines.append(
            f"{name}, {part}: {len(outside)} of {len(mine)} rates outside the range; the highest is {worst['flagged']:.3f} at level {worst['level']:g} "
            f"({worst['recipe']}); at most {max(row['abstained'] for row in mine):.3f} abstained."
        )
    return lines + sorted({f"{row['set']}: {row['says']}." for row in rows if row["flagged"] is None})


def main() -> None:
    start = time.perf_counter()
    splits = [make() for make in SPLITS]
    rows = [row for split in splits for row in rows_of(split)]
    frozen = {
        "question": "how often does the detector flag good items of real sets, under one natural split each",
        "command": "python -m benchmarks.natural_split",
        "splits": [{"name": one.name, "how": one.how, "train": len(one.train)} for one in splits],
        "rows": rows,
        "in words": in_words(rows),
        "seconds": time.perf_counter() - start,
        "machine": machine(),
    }
    freeze("natural_split", frozen, as_table(frozen))


if __name__ == "__main__":
    main()
