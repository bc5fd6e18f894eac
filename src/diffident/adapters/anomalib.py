"""anomalib: the folders that its data module ``Folder`` takes, and results under the names that it gives them. anomalib is not imported.

from diffident.adapters import anomalib
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..data import Item, Items, digest, split
from ..detector import Detector
from ..errors import InvalidSetting, ItemError, NotLabelled
from ..evaluate.labelled import GOOD, Labelled, mask_of, masks_in
from ..verdict import Policy, Verdict

Place = str | os.PathLike[str]
Places = Place | Sequence[Place]


def folder(
    name: str,
    normal_dir: Places,
    root: Place | None = None,
    abnormal_dir: Places | None = None,
    normal_test_dir: Places | None = None,
    mask_dir: Place | None = None,
    normal_split_ratio: float = 0.2,
    extensions: Sequence[str] | None = None,
    seed: int = 0,
) -> Labelled:
    """The items of what anomalib's ``Folder`` takes, with the same names and order of arguments: ``train`` for :func:`diffident.train`, all of it
    for :func:`diffident.assessment.assess`.

    What is different: subfolders of ``abnormal_dir`` are searched, each is a kind of its own, and a mask belongs to the picture of its
    path without ending, with ``_mask`` or not, or else of its file name. Without ``normal_test_dir`` good items are parted by content,
    so that no copy lies on both sides. Nothing is taken for validation: ``train`` calibrates on good items that it holds out itself.

    Args:
        name: not used; there for the sake of those who have it.
        normal_dir, abnormal_dir, normal_test_dir: one folder or several, below ``root`` if they are relative.
        root: the folder in which they lie; None: the present one.
        mask_dir: where the strange items are strange; what is not 0 is.
        normal_split_ratio: without ``normal_test_dir``, the share of good items that is kept to be judged; 0 keeps none.
        extensions: the endings of items, such as ``.png``; None takes every file.
        seed: of that split.

    Raises:
        NoItems: a folder is empty or not there.
        NotLabelled: nothing that the endings let pass in ``normal_dir``, a kind of strange items called ``good``, or no ``mask_dir`` there.
        TooFewItems: a single good item is to be parted in two.
        InvalidSetting: a share outside [0, 1).

    >>> import tempfile
    >>> from PIL import Image
    >>> root = Path(tempfile.mkdtemp())
    >>> for at in ("ok/0.png", "ok/1.png", "bad/scratch/0.png", "masks/scratch/0.png"):
    ...     (root / at).parent.mkdir(parents=True, exist_ok=True)
    ...     Image.new("L", (8, 8), len(at) + int(at[-5])).save(root / at)
    >>> found = folder("bolts", "ok", root, "bad", mask_dir="masks", normal_split_ratio=0.5)
    >>> len(found.train), found.kinds, found.masks[1].name
    (1, ('good', 'scratch'), 'scratch/0.png')
    """
    place, endings = Path(root or "."), None if extensions is None else tuple(one.lower() for one in extensions)
    good = [item for _, item in _found(place, normal_dir, endings)]
    if not good:
        raise NotLabelled(f"no item in {normal_dir} ends in {', '.join(endings or ())}; give the endings that are there, or extensions=None")
    learned, tested = (good, [item for _, item in _found(place, normal_test_dir, endings)]) if normal_test_dir else _parted(good, normal_split_ratio, seed)
    strange = _found(place, abnormal_dir, endings) if abnormal_dir else []
    kinds = (GOOD,) * len(tested) + tuple(_kind(above, item) for above, item in strange)
    known = (None,) * len(tested) + _masks([item for _, item in strange], None if mask_dir is None else place / mask_dir)
    rests = [item.name for item in tested] + [_rest(item) for _, item in strange]
    named = [replace(item, name=f"{kind}/{rest}") for item, kind, rest in zip([*tested, *(one for _, one in strange)], kinds, rests, strict=True)]
    return Labelled(place, Items(tuple(learned)), Items(tuple(named)), kinds, known)


@dataclass(frozen=True, eq=False)
class Prediction:
    """What anomalib calls a prediction, filled from a verdict; in the last three fields what anomalib does not have.

    Attributes:
        image_path: of the item; its name where it is no file.
        pred_score: raw strangeness, larger is stranger. anomalib's is normalised to [0, 1] by a set with failures; this one is not.
        pred_label: True if it is flagged, False if accepted, None if there is no decision: abstained from, or unreadable.
        anomaly_map: where it is strange, (height, width) float32 at the model's size; None of a recipe without maps.
        pred_mask: where the map lies higher than any of the known-good items looked at, (height, width) bool; None if there were none.
        explanation: one plain sentence.
        p_value: conformal; NaN if there is none.
        decision: ``normal``, ``anomalous``, ``abstain`` or ``unreadable``.
        threshold: on the p-value: flagged is what lies no higher.
    """

    image_path: str
    pred_score: float
    pred_label: bool | None
    anomaly_map: np.ndarray | None
    pred_mask: np.ndarray | None
    explanation: str
    p_value: float
    decision: str
    threshold: float


def prediction(verdict: Verdict, highest: float | None = None, path: str = "") -> Prediction:
    """A verdict under anomalib's names.

    Args:
        verdict: with a map, if masks are wanted.
        highest: no position of known-good maps lies higher, as ``Detector.gallery`` knows: the mask of a recipe that marks nothing
            by itself; None gives none to those.
        path: of the item; the verdict's name if empty.
    """
    where = verdict.map
    promised = None if verdict.where is None else verdict.where.mask
    marked = promised if promised is not None or where is None or highest is None or not np.isfinite(highest) else where > highest
    label = {"flag": True, "accept": False}.get(verdict.decision)
    said = {"flag": "anomalous", "accept": "normal"}.get(verdict.decision, verdict.decision)
    return Prediction(path or verdict.name, verdict.score, label, where, marked, verdict.because, verdict.p, said, verdict.level)


def predictions(detector: Detector, source: object, policy: Policy | None = None) -> Iterator[Prediction]:
    """The same for every item of a source, as they come, with maps where the recipe has them.

    Raises:
        what :meth:`diffident.Detector.judge` raises.

    >>> import diffident as dd
    >>> rng = np.random.default_rng(0)
    >>> model = dd.train(rng.uniform(0.4, 0.6, (60, 8, 8)), network="none")
    >>> detector = dd.Detector(model).fit(rng.uniform(0.4, 0.6, (99, 8, 8)))
    >>> [one.pred_label for one in predictions(detector, rng.uniform(0.3, 0.7, (2, 8, 8)))]
    [True, True]
    """
    highest = detector.gallery.highest if detector.gallery else None
    for item, verdict in detector.judge(source, policy, maps=bool(detector.scorer.asked.mapped)):
        yield prediction(verdict, highest, str(item.payload) if isinstance(item.payload, Path) else item.name)


def _found(root: Path, places: Places, endings: tuple[str, ...] | None) -> list[tuple[str, Item]]:
    """The items of one folder or several, each with the name of the folder that was given."""
    given = [places] if isinstance(places, str | os.PathLike) else list(places)
    return [(Path(one).name, item) for one in given for item in Items.open(root / one) if endings is None or item.name.lower().endswith(endings)]


def _parted(good: list[Item], share: float, seed: int) -> tuple[list[Item], list[Item]]:
    """Good items to learn from, and those kept to be judged."""
    if not 0 <= share < 1:
        raise InvalidSetting(f"normal_split_ratio is the share of good items kept to be judged, from 0 to below 1; got {share:g}")
    if not share:
        return good, []
    learned, tested = split(good, list(map(_content, good)), share, at_least=1, seed=seed)
    return [good[i] for i in learned], [good[i] for i in tested]


def _content(item: Item) -> str:
    """What tells items apart; those that cannot be read, by where they lie."""
    try:
        return digest(item.load())
    except ItemError:
        return str(item.payload)


def _kind(above: str, item: Item) -> str:
    """The subfolder in which a strange item lies, or else the folder that was given."""
    kind = item.name.partition("/")[0] if "/" in item.name else above
    if kind == GOOD:
        raise NotLabelled(f"{item.name} is given as strange and lies in a folder called {GOOD!r}, which is what good items are called; give the others only")
    return kind


def _rest(item: Item) -> str:
    return item.name.partition("/")[2] or item.name


def _masks(strange: Sequence[Item], place: Path | None) -> tuple[Item | None, ...]:
    """The mask of each strange item: of its path, or of its file name where no other has the same."""
    if place is not None and not place.is_dir():
        raise NotLabelled(f"there is no folder of masks at {place}; check mask_dir, or leave it out")
    masks = {} if place is None else masks_in(place)
    files = [item.name.rpartition("/")[2] for item in strange]
    return tuple(mask_of(item.name, masks) or (mask_of(file, masks) if files.count(file) == 1 else None) for item, file in zip(strange, files, strict=True))
