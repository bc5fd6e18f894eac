"""Good items in, a detector that is ready to judge out: split by content, learn, calibrate on the part held out."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from . import registry
from .calibration import needed
from .data import AT_LEAST, Item, Items, split
from .denoiser import Empirical
from .detector import Detector
from .errors import InvalidSetting, ItemError, NoItems, TooFewItems, TooFewReferences
from .gallery import KEEP
from .modalities import Modality, Opened
from .model import Model
from .recipes import Recipe
from .recipes import recipe as recipe_of
from .spaces import space_from
from .verdict import LEVELS, Policy

#: what can be learned: ``none`` keeps the items themselves as an exact denoiser and is ready at once
NETWORKS = ("none",)

#: Shows progress: takes the steps, what is being done and how many steps there are; gives the steps back one by one.
Progress = Callable[[Iterable[Any], str, int], Iterable[Any]]


def silent(steps: Iterable[Any], doing: str, total: int) -> Iterable[Any]:
    """Shows no progress."""
    return steps


@dataclass(frozen=True)
class Training:
    """How to learn; the flags of ``diffident train`` mirror these.

    Attributes:
        network: what is learned; ``none`` keeps the items.
        size: height and width to which items are brought, one number for a square; None lets the items decide.
        channels: 1 or 3; None lets the items decide.
        share: of the items held out to calibrate; at least 99 items where that is at most half.
        seed: of the split.
        modality: of the items.
        keep: of so many references a small copy is kept in the folder, to be looked at beside a strange item.
    """

    network: str = "none"
    size: int | tuple[int, int] | None = None
    channels: int | None = None
    share: float = 0.25
    seed: int = 0
    modality: str = "image"
    keep: int = KEEP

    def __post_init__(self) -> None:
        if self.network not in NETWORKS:
            raise InvalidSetting(f"no network called {self.network!r}; there are: {', '.join(NETWORKS)}")
        if not 0 < self.share < 1:
            raise InvalidSetting(f"the share held out to calibrate lies between 0 and 1; got {self.share:g}")


@dataclass(frozen=True)
class Learned:
    """What learning gave: a calibrated detector, and the items that were left out with the reason."""

    detector: Detector
    left_out: tuple[tuple[str, str], ...]


def train(
    source: Any,
    recipe: str | Recipe = "reconstruction",
    out: str | Path | None = None,
    *,
    network: str = "none",
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    share: float = 0.25,
    seed: int = 0,
    modality: str = "image",
    keep: int = KEEP,
    policy: Policy | None = None,
    progress: Progress = silent,
) -> Model:
    """Learn what is ordinary from known-good items.

    Items that cannot be read, and copies of others, are left out. With ``out``, part of the items is held out to
    calibrate, and the folder holds a detector that is ready: ``Detector.load(out)``. Without, all items are learned
    from, and the model returned still wants ``Detector.fit`` on others.

    Args:
        source: a folder, a list of paths or arrays, an array (n, height, width) or (n, height, width, channels).
        recipe: how the detector will ask, by name or as data.
        out: the folder to write.
        network, size, channels, share, seed, modality, keep: see :class:`Training`.
        policy: at which p-values the detector flags and abstains.
        progress: see :data:`Progress`.

    Raises:
        NoItems: nothing readable.
        TooFewItems: too few to learn from and to calibrate on.
        TooFewReferences: too few for the policy; the message gives the number needed.
        OutputError: ``out`` cannot be written.

    >>> import numpy as np
    >>> train(np.random.default_rng(0).uniform(size=(40, 8, 8)), network="none").modality.shape
    (1, 8, 8)
    """
    how = Training(network, size, channels, share, seed, modality, keep)
    if out is None:
        opened, _, kind = _opened(source, how, progress)
        return _model([one for _, one in opened], kind, recipe_of(recipe), "model", how)
    learned = learn(source, recipe, how, policy or Policy(), Path(out).name, progress)
    learned.detector.save(out)
    return learned.detector.model


def learn(source: Any, recipe: str | Recipe, how: Training, policy: Policy, name: str, progress: Progress = silent) -> Learned:
    """Split by content, learn from one part, calibrate on the other. Nothing is written.

    Raises:
        what :func:`train` raises.
    """
    asked = recipe_of(recipe)
    opened, left_out, kind = _opened(source, how, progress)
    if len(opened) < 2:
        raise TooFewItems(f"cannot learn and calibrate with {len(opened)} readable item; give at least 38 for Policy(flag=0.05), 198 for 0.01")
    learned, held_out = split(Items(tuple(item for item, _ in opened)), [one.digest for _, one in opened], how.share, seed=how.seed)
    _require_enough(policy, len(opened), len(held_out), how.share)  # before the work, not after it
    model = _model([opened[i][1] for i in learned], kind, asked, name, how)
    references = Items(tuple(opened[i][0] for i in held_out))
    detector = Detector(model, asked, policy)
    return Learned(detector.fit_parts(*detector.measure(references, how.keep, progress)), left_out)


def _opened(source: Any, how: Training, progress: Progress) -> tuple[list[tuple[Item, Opened]], tuple[tuple[str, str], ...], Modality]:
    """Every item that can be learned from, the others with the reason, and the modality's settings."""
    items = Items.open(source)
    kind: Modality = registry.find("modalities", how.modality).learn(items, size=how.size, channels=how.channels)  # type: ignore[attr-defined]
    good, bad, first = [], [], {}
    for item in progress(items, "reading", len(items)):
        try:
            one = kind.open(item)
        except ItemError as refusal:
            bad.append((item.name, str(refusal)))
            continue
        if not np.isfinite(one.values).all():
            bad.append((item.name, "not finite: some of its values are NaN or infinite"))
        elif one.digest in first:
            bad.append((item.name, f"a copy of {first[one.digest]}, to the byte: it would count twice"))
        else:
            first[one.digest] = item.name
            good.append((item, one))
    if not good:
        raise NoItems(f"none of the {len(items)} items can be learned from; the first, {bad[0][0]}: {bad[0][1]}")
    return good, tuple(bad), kind


def _require_enough(policy: Policy, count: int, held_out: int, share: float) -> None:
    """Refuse, before learning, a policy that the items held out cannot serve, and say how many items it takes in all."""
    try:
        policy.resolve(held_out)
    except TooFewReferences as refusal:
        references = needed(policy.flag or LEVELS[-1])
        enough = 2 * references if references <= AT_LEAST else math.ceil(references / share)
        raise TooFewReferences(f"{refusal}: of the {count} items {held_out} are held out to calibrate, so give {enough} items in all") from refusal


def _model(opened: Sequence[Opened], kind: Modality, asked: Recipe, name: str, how: Training) -> Model:
    """The exact denoiser of the items themselves, in the space that the recipe asks for."""
    lives = space_from({"name": asked.space or "pixels"})
    values = lives.encode(torch.from_numpy(np.stack([one.values for one in opened])))
    notes = {"made": datetime.date.today().isoformat(), "by": f"diffident {version('diffident')}", "settings": str(how)}
    return Model(Empirical(values), kind, lives, seen=frozenset(one.digest for one in opened), name=name, notes=notes)
