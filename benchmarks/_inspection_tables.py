"""The tables of ``inspection``: figures over seeds, differences from the default in pairs, false alarms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks._common import freeze, table
from benchmarks._draws import drawn_auroc, ends
from benchmarks.first_inspection import alarm_rows
from benchmarks.inspection_sets import SETS, Set
from diffident.evaluate import auroc
from diffident.evaluate.ranking import redrawn

Piece = dict[str, Any]

REPEATS, LEVEL = 20_000, 0.05
DEFAULT = "inspection"
FIGURES = ("method", "seeds", "AUROC", "95 % interval", "lowest", "highest", "AUPRO", "AUPRO, 95 % interval")
PAIRS = ("method", "seeds", "AUROC of the default over it", "95 % interval", "p, Holm", "AUPRO of the default over it", "AUPRO, 95 % interval")


def merged(pieces: Sequence[Piece], name: str) -> dict[int, Piece]:
    """By seed, everything that was said of a set's test part."""
    found: dict[int, Piece] = {}
    for one in pieces:
        if one["set"] == name:
            mine = found.setdefault(one["seed"], {"set": name, "scores": {}, "pixels": {}, "alarms": {}, "reference": one["reference"], "learning": {}})
            for part in ("scores", "pixels", "alarms", "learning"):
                mine[part] |= one[part]
    return found


def draws(of: Set) -> np.ndarray:
    """How often each test picture is drawn, (repeats, n); whole tiles where tiles repeat. The same for every method."""
    return np.stack(list(redrawn(of.labels, of.test_units, REPEATS, 0)))


def summary(pieces: Sequence[Piece], of: Set) -> tuple[list[Piece], list[Piece]]:
    """Rows of figures and rows of differences from the default, of one set: means over the seeds that a method has."""
    seeds, times = merged(pieces, of.name), draws(of)
    methods = list(dict.fromkeys(method for one in seeds.values() for method in one["scores"]))
    by = {(m, s): drawn_auroc(of.labels, np.array(one["scores"][m]), times) for s, one in seeds.items() for m in one["scores"]}
    value = {(m, s): auroc(of.labels, np.array(one["scores"][m])) for s, one in seeds.items() for m in one["scores"]}
    figures = [_figures(method, [s for m, s in by if m == method], by, value, seeds) for method in methods]
    pairs = [_pair(method, [s for m, s in by if m == method and (DEFAULT, s) in by], by, value, seeds) for method in methods if method != DEFAULT]
    return figures, _held(pairs)


def _figures(method: str, mine: list[int], by: Any, value: Any, seeds: dict[int, Piece]) -> Piece:
    values, over = [value[method, s] for s in mine], np.mean([by[method, s] for s in mine], axis=0)
    row = {"method": method, "seeds": len(mine), "AUROC": float(np.mean(values)), "95 % interval": ends(over), "lowest": min(values), "highest": max(values)}
    pixels = [seeds[s]["pixels"][method]["all"] for s in mine if method in seeds[s]["pixels"]]
    if not pixels:
        return row | {"AUPRO": "", "AUPRO, 95 % interval": ""}
    over = np.mean([one["drawn"] for one in pixels], axis=0)
    return row | {"AUPRO": float(np.mean([one["AUPRO"][0] for one in pixels])), "AUPRO, 95 % interval": ends(over)}


def _pair(method: str, mine: list[int], by: Any, value: Any, seeds: dict[int, Piece]) -> Piece:
    gain = float(np.mean([value[DEFAULT, s] - value[method, s] for s in mine]))
    over = np.mean([by[DEFAULT, s] - by[method, s] for s in mine], axis=0)
    p = 2 * min((1 + (over <= 0).sum()), (1 + (over >= 0).sum())) / (len(over) + 1)
    row = {
        "method": method,
        "seeds": len(mine),
        "AUROC of the default over it": gain,
        "95 % interval": ends(over),
        "p": min(1.0, p),
    }
    pixels = [(seeds[s]["pixels"][DEFAULT]["all"], seeds[s]["pixels"][method]["all"]) for s in mine if method in seeds[s]["pixels"]]
    if not pixels:
        return row | {"AUPRO of the default over it": "", "AUPRO, 95 % interval": ""}
    gain = float(np.mean([a["AUPRO"][0] - b["AUPRO"][0] for a, b in pixels]))
    over = np.mean([np.subtract(a["drawn"], b["drawn"]) for a, b in pixels], axis=0)
    return row | {"AUPRO of the default over it": gain, "AUPRO, 95 % interval": ends(over)}


def _held(pairs: list[Piece]) -> list[Piece]:
    """The same rows with p after Holm over all of them."""
    order, so_far = sorted(range(len(pairs)), key=lambda i: pairs[i]["p"]), 0.0
    for rank, i in enumerate(order):
        so_far = max(so_far, min(1.0, pairs[i]["p"] * (len(pairs) - rank)))
        pairs[i]["p, Holm"] = so_far
    return pairs


PROTOCOL = (
    "Per seed a fresh split of train/good and the set's own test part. Screw: 200 pictures learn, 80 calibrate, 40 are held out; *one median* multiplies each "
    "picture so that its median grey is .7: test/good is stored darker than all else, which alone tells it from defects. Magnetic tile: about 60 % of the "
    "tiles learn, 25 % calibrate with one exposure each, 15 % are held out, all exposures of a tile on one side. "
    "One configuration for all sets; what it leaves open (style, mirrored "
    "copies, steps) known-good pictures of train/good decide. Its blocks, sizes and constants come from earlier work that had "
    "seen the test parts of these sets; the threshold above which style is taken off lies between what the good "
    "pictures of the two sets show. Intervals: pictures, or whole tiles, drawn again, the same for all methods and seeds."
)


def report(pieces: Sequence[Piece], left: Sequence[str] = ()) -> None:
    """Freeze the figures, or show those that are there where pieces are left to do."""
    lines, rows = ["# Inspection: the default beside baselines, controls and other recipes", "", f"Protocol: {PROTOCOL}", ""], []
    for make in SETS.values():
        of = make()
        figures, pairs = summary(pieces, of)
        rows += [{"set": of.name} | row for row in figures]
        lines += [
            f"## {of.name}",
            "",
            *table(figures, FIGURES, ".3f"),
            "",
            f"### {of.name}: the default over each, in pairs",
            "",
            *table(pairs, PAIRS, ".3f"),
            "",
        ]
        seeds = [one for one in pieces if one["set"] == of.name and one["part"] == "default"]
        alarms = [row for row in alarm_rows(seeds, of.name) if row["method"] == DEFAULT] if seeds else []
        if alarms:
            lines += [f"### {of.name}: good pictures flagged by the default at {LEVEL:g}", "", *table(alarms, tuple(alarms[0]), ".3f"), ""]
    lines += [
        "Seconds of learning, seed 0: "
        + "; ".join(f"{one['set']}, {name} {s:.0f}" for one in pieces if not one["seed"] for name, s in one["learning"].items())
        + "."
    ]
    lines += ["", f"Made on {pieces[0]['machine']}, other work beside it. {sum(one['seconds'] for one in pieces):.0f} s of work in all."]
    text = "\n".join(lines) + "\n"
    if left:
        print(text)
        return
    freeze(
        "inspection", {"question": "does the default beat the baselines on the same features", "protocol": PROTOCOL, "rows": rows, "pieces": list(pieces)}, text
    )
