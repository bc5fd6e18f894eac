"""Whether the default keeps what it promises on good parts, what it finds of planted defects, and what noise, blur, JPEG and light do to it.

    python -m benchmarks.inspection_promises                     what is wanting, piece by piece; then tables
    python -m benchmarks.inspection_promises --piece tile        one set

A piece is one set, seed 0. Planted defects are put on held-out good pictures, so that nothing here is tuned on a test part.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

import diffident as dd
from benchmarks._common import freeze, keep, kept, machine, source, table
from benchmarks.checker import alarm_range
from benchmarks.inspection_sets import SETS, Set, once
from diffident.evaluate import auroc

NAME, LEVEL, SEED = "inspection_promises", 0.05, 0
#: Planted defects on each held-out picture, and how strong they are in grey levels of 1.
PLANTED, STRENGTHS = 3, (0.05, 0.1, 0.2)

Piece = dict[str, Any]


def _bytes(picture: np.ndarray) -> Image.Image:
    whole = picture if picture.dtype == np.uint8 else np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    return Image.fromarray(whole)


def _plain(picture: np.ndarray) -> np.ndarray:
    return picture.astype(np.float32) / 255 if picture.dtype == np.uint8 else picture.astype(np.float32)


def noisy(picture: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    return (_plain(picture) + strength * rng.normal(size=picture.shape)).astype(np.float32)


def blurred(picture: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    return np.asarray(_bytes(picture).filter(ImageFilter.GaussianBlur(strength)))


def jpeg(picture: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    held = io.BytesIO()
    _bytes(picture).save(held, "JPEG", quality=int(strength))
    return np.asarray(Image.open(held))


def exposed(picture: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    return (_plain(picture) * strength).astype(np.float32)


#: What is done to pictures, at three strengths: deviation of grey (1 = white), pixels, JPEG quality, factor of light.
CHANGES: dict[str, tuple[Callable[[np.ndarray, float, np.random.Generator], np.ndarray], tuple[float, ...]]] = {
    "noise": (noisy, (0.01, 0.03, 0.08)),
    "blur": (blurred, (0.5, 1.0, 2.0)),
    "JPEG": (jpeg, (90, 60, 30)),
    "exposure": (exposed, (0.95, 0.85, 0.7)),
}


def planted(picture: np.ndarray, strength: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A good picture with a scratch, a spot or a pasted patch on it, and where that is."""
    plain, (tall, wide) = _plain(picture).copy(), picture.shape
    y, x = (int(rng.integers(side // 4, 3 * side // 4)) for side in (tall, wide))
    rows, columns = np.mgrid[:tall, :wide]
    kind, sign = rng.integers(3), rng.choice([-1.0, 1.0])
    if kind == 0:  # a scratch of 2 x 30 pixels, in any direction
        turn = rng.uniform(0, np.pi)
        along, across = np.cos(turn) * (columns - x) + np.sin(turn) * (rows - y), -np.sin(turn) * (columns - x) + np.cos(turn) * (rows - y)
        mask = (np.abs(along) <= 15) & (np.abs(across) <= 1)
    else:
        mask = (rows - y) ** 2 + (columns - x) ** 2 <= 8**2
    if kind == 2:  # a patch from elsewhere in the picture, its contrast raised with the strength
        away = np.roll(plain, (int(rng.integers(20, tall - 20)), int(rng.integers(20, wide - 20))), (0, 1))
        plain[mask] = (1 - 5 * strength) * plain[mask] + 5 * strength * away[mask] if strength < 0.2 else away[mask]
    else:
        plain[mask] += sign * strength
    return plain.astype(np.float32), mask


def piece(name: str) -> Piece:
    start, of, rng = time.perf_counter(), SETS[name](), np.random.default_rng([SEED, 7])
    learning, calibrating, holding = of.parts(SEED)
    learns, calibrates, held = ([of.good[i] for i in part] for part in (learning, once(of.good_units, calibrating, SEED), holding))
    detector = dd.Detector(dd.train(learns, "inspection", channels=1, seed=SEED), "inspection", dd.Policy(LEVEL)).fit(calibrates, keep=0)
    found = {"set": of.name, "reference": len(calibrates), "held": len(held), "style": str(detector.model.space.config()["style"]), "machine": machine()}
    found |= {"map": map_promise(detector, held), "planted": found_again(detector, held, rng), "changed": robustness(detector, of, held, rng)}
    if name == "screw":
        found["light"] = light(of, learns, calibrates, held)
    return found | {"seconds": time.perf_counter() - start}


def map_promise(detector: dd.Detector, held: list[np.ndarray]) -> Piece:
    """Of held-out good pictures, how many have any place marked, and how many are flagged: the promise says the same of both."""
    verdicts = [verdict for _, verdict in detector.judge(held, maps=True)]
    marked = [bool(v.where is not None and v.where.mask is not None and v.where.mask.any()) for v in verdicts]
    return {"marked": float(np.mean(marked)), "flagged": float(np.mean([v.p <= LEVEL for v in verdicts]))}


def found_again(detector: dd.Detector, held: list[np.ndarray], rng: np.random.Generator) -> list[Piece]:
    """By strength, the share of planted defects of which some place is marked, and of pictures that are flagged."""
    rows = []
    for strength in STRENGTHS:
        made = [planted(picture, strength, rng) for picture in held for _ in range(PLANTED)]
        verdicts = [verdict for _, verdict in detector.judge([one for one, _ in made], maps=True)]
        hit = [
            bool(v.where is not None and v.where.mask is not None and (v.where.mask & _sized(mask, v.where.mask.shape)).any())
            for v, (_, mask) in zip(verdicts, made, strict=True)
        ]
        rows.append(
            {"strength": strength, "planted": len(made), "marked there": float(np.mean(hit)), "flagged": float(np.mean([v.p <= LEVEL for v in verdicts]))}
        )
    return rows


def _sized(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(Image.fromarray(mask).resize(shape[::-1], Image.Resampling.NEAREST))


def robustness(detector: dd.Detector, of: Set, held: list[np.ndarray], rng: np.random.Generator) -> list[Piece]:
    """AUROC with every test picture changed, and how many changed held-out good ones are flagged."""
    rows = [_changed(detector, of, held, "none", 0.0, lambda picture, strength, rng: picture, rng)]
    return rows + [_changed(detector, of, held, name, s, change, rng) for name, (change, strengths) in CHANGES.items() for s in strengths]


def _changed(detector: dd.Detector, of: Set, held: list[np.ndarray], name: str, strength: float, change: Any, rng: np.random.Generator) -> Piece:
    asked = [change(picture, strength, rng) for picture in held + of.test]
    verdicts = detector.judge_all(asked)
    scores, mine = np.array([v.score for v in verdicts]), slice(len(held), None)
    flagged = np.array([v.decision == "flag" for v in verdicts])
    abstained = np.array([v.decision == "abstain" for v in verdicts])
    row = {"change": name, "strength": strength, "AUROC": auroc(of.labels, scores[mine]), "held-out good flagged": float(flagged[: len(held)].mean())}
    return row | {"abstained": float(abstained[: len(held)].mean())}


def light(of: Set, learns: list[np.ndarray], calibrates: list[np.ndarray], held: list[np.ndarray]) -> list[Piece]:
    """The screw as stored, whose test/good is darker than all else: what evening out the light does."""
    rows, good = [], [one for one, label in zip(of.test, of.labels, strict=True) if not label]
    for word, prepare in (("as stored", ()), ("photometry", ("photometry",))):
        model = dd.train(learns, "inspection", channels=1, seed=SEED, prepare=prepare)
        detector = dd.Detector(model, "inspection", dd.Policy(LEVEL)).fit(calibrates, keep=0)
        of_good, of_held, of_test = (detector.judge_all(part) for part in (good, held, of.test))
        first = next((v for v in of_good if v.decision != "accept"), of_good[0])
        rates = {
            "test/good flagged": _rate(of_good),
            "held-out good flagged": _rate(of_held),
            "strange flagged": _rate([v for v, s in zip(of_test, of.labels, strict=True) if s]),
        }
        rows.append(
            {"light": word, "AUROC": auroc(of.labels, np.array([v.score for v in of_test])), **rates, "a verdict": f"{first.decision}: {first.because}"}
        )
    return rows


def _rate(verdicts: Any) -> float:
    return float(np.mean([v.decision == "flag" for v in verdicts]))


def key(name: str) -> str:
    return f"{name}: {source()}"


def as_table(frozen: dict[str, Any]) -> str:
    lines = ["# Inspection: promises kept, defects planted and found, and pictures changed", "", f"Protocol: {frozen['protocol']}", ""]
    for one in frozen["pieces"]:
        low, high = alarm_range(one["reference"], LEVEL, one["held"])
        lines += [f"## {one['set']}", "", f"{one['held']} held-out good pictures, {one['reference']} references; style taken off: {one['style']}.", ""]
        lines += [
            f"Any place marked at {LEVEL:g}: **{one['map']['marked']:.3f}** of them; flagged: {one['map']['flagged']:.3f}; 95 % range {low:.3f} to {high:.3f}.",
            "",
        ]
        lines += [
            "Planted defects (scratches of 2 x 30 pixels, spots and pasted patches of radius 8):",
            "",
            *table(one["planted"], tuple(one["planted"][0]), ".3f"),
            "",
        ]
        lines += ["Test pictures changed (references are not):", "", *table(one["changed"], tuple(one["changed"][0]), ".3f"), ""]
        if "light" in one:
            lines += ["Light:", "", *table(one["light"], tuple(one["light"][0]), ".3f"), ""]
    return "\n".join([*lines, f"`{frozen['command']}`, {frozen['seconds']:.0f} s of work ({frozen['machine']})."]) + "\n"


PROTOCOL = (
    "The default, trained and calibrated on one split of train/good (seed 0, as in `inspection`). The map promise: a good picture shows any marked place with "
    "probability at most the level. Exposures of one tile share their luck, so that its range is too narrow for tiles. Planted defects and changes touch "
    "held-out and test pictures only."
)


def main() -> None:
    parser = argparse.ArgumentParser(description="Promises on good parts, planted defects, robustness.")
    parser.add_argument("--piece", choices=sorted(SETS), help="make this piece only")
    asked = parser.parse_args().piece
    for name in [asked] if asked else [name for name in SETS if key(name) not in kept(NAME)]:
        keep(NAME, key(name), piece(name))
        print(f"{name}: done", flush=True)
    found = kept(NAME)
    if left := [name for name in SETS if key(name) not in found]:
        print(f"{len(left)} pieces are wanting before anything is frozen: {', '.join(left)}")
        return
    pieces = [found[key(name)] for name in SETS]
    frozen = {
        "question": "does a good part show a marked place as seldom as was promised, and what is found",
        "command": "python -m benchmarks.inspection_promises",
        "protocol": PROTOCOL,
        "pieces": pieces,
        "seconds": sum(one["seconds"] for one in pieces),
        "machine": pieces[0]["machine"],
    }
    freeze(NAME, frozen, as_table(frozen))


if __name__ == "__main__":
    main()
