"""Defects of screws and magnetic tiles: what a network of minutes finds, beside random weights, baselines and nulls.

    python -m benchmarks.first_inspection                  all pieces, two at a time (about 25 minutes on two cores)
    python -m benchmarks.first_inspection --piece tile 0   one piece: a set (screw-scaled, screw, tile) and a seed

A piece is one split of one set, with one network that all recipes question. Finished pieces are kept, so that a run that was
interrupted goes on where it was; when all are there the figures are frozen. No setting was chosen by looking at a test part.
Writes benchmarks/results/first_inspection.json and first_inspection.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch
from PIL import Image

import diffident as dd
from benchmarks._common import freeze, keep, kept, machine, table
from benchmarks._learned import answers, asked_at_once, ranked
from benchmarks.checker import alarm_range
from benchmarks.inspection_sets import SETS, Set
from benchmarks.natural_split import over_units
from diffident.data import Items
from diffident.evaluate import Interval, auroc, average_precision, fpr_at, interval, pixel_intervals
from diffident.evaluate.nulls import BASELINES, brightness, contrast, random_score
from diffident.scorer import Scorer
from diffident.scores import Scores

#: Pictures shown to the network, each counted as often as it is shown: what fits into 25 minutes on two cores, all pieces together.
IMAGES_SEEN = 10_000
#: Wavelets hold 128 x 128 pixels on a grid of 64 x 64: a network sees about four times as many pictures in the same time.
SIZE, SPACE, SEEDS = 128, "haar", (0, 1, 2)
#: Recipes with a map are asked one by one, for their maps; the others share their walks.
MAPPED, NUMBERS = ("reconstruction", "partial"), ("diffpath", "diffpath-1d", "msma")
METRICS = {"AUROC": auroc, "AP": average_precision, "FPR95": fpr_at}
LEVEL, REPEATS = 0.05, 500
CHEAP = ("pixel_knn", "pixel_pca")
HELD, GOOD = "held-out train/good", "test/good"

Piece = dict[str, Any]
Said = dict[str, dict[str, np.ndarray]]
Maps = dict[str, np.ndarray]


def piece(name: str, seed: int) -> Piece:
    """All figures of one split of one set."""
    start, of = time.perf_counter(), SETS[name]()
    learns, calibrates, held = ([of.good[i] for i in part] for part in of.parts(seed))
    model = dd.train(learns, network="unet", size=SIZE, channels=1, seed=seed, images_seen=IMAGES_SEEN, space=SPACE)
    learned = time.perf_counter() - start
    asked = held + of.test
    said, maps = questioned(model, calibrates, asked)
    random = model.untrained(seed)
    control, control_maps = questioned(random, calibrates, asked)
    said |= {f"{recipe}, random weights": one for recipe, one in control.items()}
    maps |= {f"{recipe}, random weights": one for recipe, one in control_maps.items()}
    said |= beside(model, of, seed, [learns, calibrates, asked])
    return {
        "set": of.name,
        "seed": seed,
        "train": len(learns),
        "reference": len(calibrates),
        "figures": {method: figures(of, one["scores"][len(held) :]) for method, one in said.items()},
        "pixels": {method: pixel_figures(of, one[len(held) :]) for method, one in maps.items()},
        "alarms": {method: alarms(of, seed, one) for method, one in said.items()},
        "learning": learned,
        "seconds": time.perf_counter() - start,
        "machine": machine(),
    }


def questioned(model: dd.Model, references: list[np.ndarray], asked: list[np.ndarray]) -> tuple[Said, Maps]:
    """What detectors of every recipe say of pictures, and the maps of those recipes that have them."""
    scores, of_references, maps = asked_at_once(model, NUMBERS, asked), asked_at_once(model, NUMBERS, references), {}
    for recipe in MAPPED:
        scorer = Scorer(model, recipe)
        parts = list(scorer.stream_maps(asked))
        scores[recipe], maps[recipe] = Scores.merge([part for _, part, _ in parts]), np.concatenate([part for _, _, part in parts])
        of_references[recipe] = scorer(references)
    policy = dd.Policy(LEVEL)
    said = {recipe: answers(dd.Detector(model, recipe, policy).fit(of_references[recipe]).judge_all(scores[recipe])) for recipe in (*MAPPED, *NUMBERS)}
    return said, maps


def beside(model: dd.Model, of: Set, seed: int, parts: list[list[np.ndarray]]) -> Said:
    """Cheap baselines and nulls on the same pictures at the same size, decided by the same references."""
    train, reference, asked = ((np.stack([model.modality.open(one).values for one in Items.open(part)]) + 1) / 2 for part in parts)
    found = {name: ranked(BASELINES[name](train, reference), BASELINES[name](train, asked), LEVEL) for name in CHEAP}
    found |= {score.__name__: ranked(score(reference), score(asked), LEVEL) for score in (brightness, contrast)}
    luck = random_score(len(reference) + len(asked), seed)
    found["random"] = ranked(*np.split(luck, [len(reference)]), LEVEL)
    _, calibrates, held = of.parts(seed)
    for name, (of_good, of_test) in of.outside.items():
        found[name] = ranked(of_good[calibrates], np.concatenate([of_good[held], of_test]), LEVEL)
    return found


def figures(of: Set, scores: np.ndarray) -> dict[str, dict[str, list[float]]]:
    """By row of the tables and metric: the figure with its interval over units."""
    found = {}
    for row, mine in of.groups().items():
        units = of.test_units[mine] if of.grouped else None
        found[row] = {name: _plain(interval(metric, of.labels[mine], scores[mine], units, REPEATS)) for name, metric in METRICS.items()}
    return found


def pixel_figures(of: Set, maps: np.ndarray) -> dict[str, dict[str, list[float]]]:
    """Pixel AUROC and AUPRO at the size of the masks, for all and for all but what is apart; pictures without a known mask are left out."""
    found = {}
    for row in [row for row in of.groups() if row.startswith("all") or row == of.apart]:
        mine = [i for i in np.flatnonzero(of.groups()[row]) if of.masks[i] is not None]
        masks = [of.masks[i] for i in mine]
        sized = [_sized(maps[i], mask.shape) for i, mask in zip(mine, masks, strict=True)]  # type: ignore[union-attr]
        units = of.test_units[mine] if of.grouped else None
        pair = pixel_intervals(masks, sized, groups=units, repeats=REPEATS)  # type: ignore[arg-type]
        found[row] = dict(zip(("pixel AUROC", "AUPRO"), map(_plain, pair), strict=True))
    return found


def alarms(of: Set, seed: int, said: dict[str, np.ndarray]) -> dict[str, Piece]:
    """Good pictures flagged and abstained from, held out of train/good and in the set's own test part."""
    held = of.parts(seed)[2]
    in_test = np.flatnonzero(of.labels == 0)
    places = {HELD: (np.arange(len(held)), of.good_units[held]), GOOD: (len(held) + in_test, of.test_units[in_test])}
    found = {}
    for name, (rows, units) in places.items():
        rates = {"flagged": float(said["flagged"][rows].mean()), "abstained": float(said["abstained"][rows].mean())}
        found[name] = rates | {"items": len(rows)} | over_units(said["flagged"][rows], tuple(units.tolist()) if of.grouped else ())
    return found


def _sized(found: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    return np.asarray(Image.fromarray(found).resize((shape[1], shape[0]), Image.Resampling.BILINEAR))


def _plain(one: Interval) -> list[float]:
    return [one.value, one.low, one.high]


def summary(pieces: list[Piece]) -> list[Piece]:
    """One row for each set, method and row of the tables: means over seeds of figures and of the ends of their intervals."""
    rows = []
    for name in dict.fromkeys(one["set"] for one in pieces):
        mine = [one for one in pieces if one["set"] == name]
        for method in mine[0]["figures"]:
            for of in mine[0]["figures"][method]:
                each = [one["figures"][method][of] | one["pixels"].get(method, {}).get(of, {}) for one in mine]
                means = {metric: np.mean([found[metric] for found in each], axis=0).tolist() for metric in each[0]}
                values = [found["AUROC"][0] for found in each]
                rows.append({"set": name, "method": method, "of": of, **means, "lowest AUROC": min(values), "highest AUROC": max(values)})
    return rows


def as_table(frozen: dict[str, Any]) -> str:
    lines = [
        "# First inspection figures: a network of minutes",
        "",
        f"`{frozen['command']}`, {frozen['seconds']:.0f} s of work in all ({frozen['machine']}).",
        f"Protocol: {frozen['protocol']}",
        "",
        "Means over the seeds; intervals are bootstraps over pictures, for magnetic tiles over tiles, and their ends are averaged over the seeds, for the",
        "test pictures are the same in each. *Random weights*: the same network, which has learned nothing. Baselines and nulls: larger is stranger, a",
        "convention for nulls.",
        "AUPRO is taken up to a false positive rate of .3, where a map that knows nothing reaches .15. Of good pictures flagged, items and range are seed 0's.",
    ]
    for name in dict.fromkeys(row["set"] for row in frozen["rows"]):
        mine = [row for row in frozen["rows"] if row["set"] == name]
        kinds = list(dict.fromkeys(row["of"] for row in mine))
        for of in [of for of in kinds if of.startswith("all")]:
            lines += ["", f"## {name}, {of}", "", *table([_shown(row) for row in mine if row["of"] == of], OVERALL, ".3f")]
        lines += ["", f"## {name}, AUROC by kind of defect", "", *table(_by_kind(mine, kinds), ("method", *kinds[1:]), ".3f")]
        lines += ["", f"## {name}, good pictures flagged at {LEVEL:g}", "", *table(alarm_rows(frozen["pieces"], name), ALARMS, ".3f")]
    return "\n".join(lines) + "\n"


OVERALL = ("method", "AUROC", "95 % interval", "seeds", "AP", "FPR95", "pixel AUROC", "AUPRO", "AUPRO, 95 % interval")
ALARMS = ("method", "good pictures", "items", "flagged", "seeds", "95 % range", "abstained", "over tiles, seed 0")


def _shown(row: Piece) -> Piece:
    pixels = {name: f"{row[name][0]:.3f}" if name in row else "" for name in ("pixel AUROC", "AUPRO")}
    ends = {"95 % interval": _ends(row["AUROC"]), "AUPRO, 95 % interval": _ends(row["AUPRO"]) if "AUPRO" in row else ""}
    span = f"{row['lowest AUROC']:.3f} to {row['highest AUROC']:.3f}"
    return {"method": row["method"], "seeds": span} | {name: row[name][0] for name in METRICS} | pixels | ends


def _ends(figure: list[float]) -> str:
    return f"{figure[1]:.3f} to {figure[2]:.3f}"


def _by_kind(rows: list[Piece], kinds: list[str]) -> list[Piece]:
    by = {(row["method"], row["of"]): row["AUROC"][0] for row in rows}
    return [{"method": method} | {of: by[method, of] for of in kinds} for method in dict.fromkeys(row["method"] for row in rows)]


def alarm_rows(pieces: list[Piece], name: str) -> list[Piece]:
    """Each method and part: the mean rate over seeds, and where 95 % of rates of one seed would lie if pictures were exchangeable."""
    mine, rows = [one for one in pieces if one["set"] == name], []
    for method, parts in mine[0]["alarms"].items():
        for part, first in parts.items():
            each = [one["alarms"][method][part] for one in mine]
            rates, (low, high) = [one["flagged"] for one in each], alarm_range(mine[0]["reference"], LEVEL, first["items"])
            over = f"[{first['interval'][0]:.3f}, {first['interval'][1]:.3f}] over {first['units']}" if first["units"] else ""
            figures_ = {"flagged": float(np.mean(rates)), "abstained": float(np.mean([one["abstained"] for one in each]))}
            span = {"seeds": f"{min(rates):.3f} to {max(rates):.3f}", "95 % range": f"{low:.3f} to {high:.3f}", "over tiles, seed 0": over}
            rows.append({"method": method, "good pictures": part, "items": first["items"]} | figures_ | span)
    return rows


PROTOCOL = (
    f"{SIZE} x {SIZE} pixels, grey; per seed a fresh split of train/good, one network (U-Net in the space {SPACE}, {IMAGES_SEEN:,} images seen) that every "
    "recipe questions, and the set's own test part. Screw: 200 pictures train, 80 calibrate, 40 are held out; *one median* multiplies each picture so that "
    "its median grey is .7, for the test/good pictures as stored are darker than all others, which alone tells them from defects. Magnetic tile: about "
    "60 % of the tiles train, 25 % calibrate, 15 % are held out, all exposures of a tile on one side; tiles that test shows as well (among them 311322 "
    "to 311392) are left out of train/good. Five tiles whose masks are empty are left out of pixel metrics; `uneven` is brightness over large areas and "
    "stands apart as well. Good pictures of one tile share their luck: there the 95 % range is too narrow."
)


def key(name: str, seed: int) -> str:
    """Names a piece and all that it depends on."""
    return f"{name} {seed}: {IMAGES_SEEN} images, {SIZE} pixels, {SPACE}"


def wanted() -> list[tuple[str, int]]:
    """The pieces that no earlier run has finished, the long ones first."""
    found = kept("first_inspection")
    return [(name, seed) for name in reversed(SETS) for seed in SEEDS if key(name, seed) not in found]


def all_pieces() -> None:
    """Make what is wanting, a core each: chunks are too small to share."""
    with ProcessPoolExecutor(2, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        doing = {pool.submit(piece, name, seed): (name, seed) for name, seed in wanted()}
        for done in as_completed(doing):
            keep("first_inspection", key(*doing[done]), done.result())
            print(f"{doing[done][0]}, seed {doing[done][1]}: done", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Defects of screws and magnetic tiles, found by a network of minutes.")
    parser.add_argument("--piece", nargs=2, metavar=("SET", "SEED"), help=f"make this piece only: {', '.join(SETS)} and a seed")
    asked = parser.parse_args().piece
    if asked and (asked[0] not in SETS or not asked[1].isdecimal() or int(asked[1]) not in SEEDS):
        parser.error(f"no piece {' '.join(asked)}; give one of {', '.join(SETS)} and one of {', '.join(map(str, SEEDS))}")
    if asked:
        keep("first_inspection", key(asked[0], int(asked[1])), piece(asked[0], int(asked[1])))
    else:
        all_pieces()
    if left := wanted():
        print(f"{len(left)} pieces are wanting before anything is frozen: {', '.join(f'{name} {seed}' for name, seed in left)}")
        return
    found = kept("first_inspection")
    pieces = [found[key(name, seed)] for name in SETS for seed in SEEDS]
    frozen = {
        "question": "which defects does a network of minutes find, beside random weights, baselines and nulls",
        "command": "python -m benchmarks.first_inspection",
        "protocol": PROTOCOL,
        "rows": summary(pieces),
        "pieces": pieces,
        "seconds": sum(one["seconds"] for one in pieces),
        "machine": pieces[0]["machine"],
    }
    freeze("first_inspection", frozen, as_table(frozen))


if __name__ == "__main__":
    main()
