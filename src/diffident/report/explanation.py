"""One item explained: its verdict, the evidence, and one picture with its map, its nearest known-good and the film of its walks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..detector import Detector
from ..regions import Where
from ..scorer import Examined
from ..verdict import Verdict
from .colours import Scale, scale_from, scale_of
from .pictures import FAINT, Picture, caption, legend, located, marking, shown, sized
from .sheet import below, beside, captioned, framed, words
from .strip import strip

#: The longer side of a picture of the item, and the width of the words.
SIDE, WIDTH = 256, 800

NO_P = "no p-value: this detector has seen no known-good items; calibrate it with: diffident fit MODEL KNOWN_GOOD"


@dataclass(frozen=True, eq=False)
class Explanation:
    """What there is to say about one item, and to see.

    Attributes:
        name: of the item.
        verdict: with its map; None if the detector is not calibrated.
        raw: per column, the number itself.
        nearest: the name of the known-good item most like it; empty if none was kept.
        picture: the item, the map over it, the nearest known-good, and a film strip of each walk.
    """

    name: str
    verdict: Verdict | None
    raw: dict[str, float]
    nearest: str
    picture: Picture

    def __str__(self) -> str:
        if self.verdict is None:
            return f"{self.name}: {NO_P}"
        return f"{self.name}: {self.verdict}\n{self.verdict.because}"


def explain(detector: Detector, item: Any) -> Explanation:
    """Ask about one item and show everything that the decision rests on. The model is asked once.

    Args:
        detector: if it is not calibrated there is no p-value, and the film all the same.
        item: a path, an array of one item, an Item.

    Raises:
        ItemError: the item cannot be read.
    """
    examined = detector.scorer.examine(item)
    where = _where(detector, examined)
    verdict = None if detector.calibration is None else replace(next(detector.decide(examined.scores)), where=where)
    tiled = detector.model.tiles is not None  # what is shown then is the strangest tile, which is like no known-good item as a whole
    name, values, kept = examined.scores.names[0], examined.opened.values, None if tiled else detector.gallery
    index = None if kept is None else kept.nearest(values)
    nearest = ("", None) if kept is None or index is None else (kept.names[index], kept.values(index))
    raw = dict(zip(examined.scores.columns, map(float, examined.scores.values[0]), strict=True))
    return Explanation(name, verdict, raw, nearest[0], _sheet(detector, examined, where, verdict, *nearest))


def _where(detector: Detector, examined: Examined) -> Where | None:
    """Beside known-good items where the recipe compares places, and as the model answered where it does not."""
    if detector.model.tiles is None and detector.calibration is not None and detector.calibration.mapped and examined.scores.readable[0]:
        return detector.located(examined.scores, examined.lift, detector.settled().flag or 0.0)[0]
    return None if examined.map is None else Where(examined.map)


def _sheet(detector: Detector, examined: Examined, where: Where | None, verdict: Verdict | None, known: str, like: np.ndarray | None) -> Picture:
    name, scale = examined.scores.names[0], _scale(detector, where)
    first = shown(detector.model.modality, examined.opened.values)
    pictures = [captioned(sized(first, SIDE), "the item")]
    if scale is not None and where is not None:
        pictures.append(captioned(located(first, where, scale, SIDE), caption(where)))
    if like is not None:
        pictures.append(captioned(sized(shown(detector.model.modality, like), SIDE), f"nearest known-good: {known}"))
    told = [words(name, WIDTH, 20), *([words(str(verdict), WIDTH), words(verdict.because, WIDTH)] if verdict else [words(NO_P, WIDTH)])]
    strips = [strip(detector.model, film) for film in examined.films.values()]
    return framed(below([below(told, 2), beside(pictures, 16), *_key(scale, where), *strips], 18), 20)


def _scale(detector: Detector, where: Where | None) -> Scale | None:
    if where is None or not np.isfinite(where.map).any():
        return None
    return scale_of(detector) or scale_from(where.map)


def _key(scale: Scale | None, where: Where | None) -> list[Picture]:
    """What the colours of the map mean; nothing where there is no map."""
    if scale is None or where is None:
        return []
    return [below([legend(scale, 360, 14), words(f"{scale.low:.3g} to {scale.high:.3g} and more. {scale.says}{marking(where)}", WIDTH, 13, FAINT)], 4)]
