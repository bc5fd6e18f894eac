"""Good items in, a detector that is ready to judge out: split by content, learn, calibrate on the part held out."""

from __future__ import annotations

import datetime
import math
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch

from . import checkpoint, optimise, registry
from .calibration import needed
from .data import AT_LEAST, Item, Items, split
from .detector import Detector
from .errors import InvalidSetting, ItemError, NoItems, TooFewItems, TooFewReferences
from .folder import writable
from .gallery import KEEP
from .kinds import Kinds
from .lessons import Descent, exactly, lives_in, steps_of
from .modalities import Modality, Opened
from .model import CHUNK, Model
from .optimise import Record
from .recipes import Recipe
from .settings import EXACT, OWN, Training, suited
from .spaces.activations import Activations
from .spaces.pixels import Pixels
from .tiles import Tiles
from .verdict import LEVELS, Policy

T = TypeVar("T")

#: Tiles that the denoiser is asked about at once: the fewest that a chunk may have, since tiles are large.
TILED_CHUNK = 16


@runtime_checkable
class Progress(Protocol):
    """Shows progress: takes the steps, what is being done and how many steps there are; gives the steps back one by one."""

    def __call__(self, steps: Iterable[Any], doing: str, total: int, worth: int = 1) -> Iterable[Any]:
        """``worth`` is how many items a step is about."""
        ...


def silent(steps: Iterable[Any], doing: str, total: int, worth: int = 1) -> Iterable[Any]:
    """Shows no progress."""
    return steps


@dataclass(frozen=True)
class Outcome:
    """What learning gave: a calibrated detector, and the items that were left out with the reason."""

    detector: Detector
    left_out: tuple[tuple[str, str], ...]
    held_out_loss: float | None = None


def train(
    source: Any,
    recipe: str | Recipe | None = None,
    out: str | Path | None = None,
    *,
    network: str | None = None,
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    share: float = 0.25,
    seed: int = 0,
    modality: str = "image",
    keep: int = KEEP,
    space: str = "pixels",
    images_seen: int = 50_000,
    width: int = 64,
    batch: int = 64,
    rate: float = 0.04,
    every: float = 30.0,
    precision: str = "auto",
    prepare: tuple[str, ...] | None = None,
    vary: tuple[str, ...] | None = None,
    features: str | None = None,
    kinds: str = "",
    tile: int | None = None,
    policy: Policy | None = None,
    progress: Progress = silent,
) -> Model:
    """Learn what is ordinary from known-good items.

    Items that cannot be read, and copies of others, are left out. With ``out``, part of the items is held out to
    calibrate, and the folder holds a detector that is ready: ``Detector.load(out)``; interrupted, even by a power cut, the
    same call goes on where it last wrote, in ``out.training``. Without, all items are learned from, and the model returned
    still wants ``Detector.fit`` on others. Under ``torchrun`` all processes share the work and the first one writes.

    Args:
        source: a folder, a list of paths or arrays, an array (n, height, width) or (n, height, width, channels); of
            ``modality="row"`` an array (n, columns).
        recipe: how the detector will ask, by name or as data. None: ``inspection``, unless a ``network`` is named, which then
            learns pixels for ``reconstruction``; with a ``tile`` ``texture``. In tiles the highest place counts, whatever the recipe combines.
        out: the folder to write.
        network, size, channels, share, seed, modality, keep, space, images_seen, width, batch, rate, every, precision, prepare, vary,
            features, kinds, tile: see :class:`Training`.
        policy: at which p-values the detector flags and abstains.
        progress: see :class:`Progress`.

    Raises:
        NoItems: nothing readable.
        TooFewItems: too few to learn from and to calibrate on.
        TooFewReferences: too few for the policy; the message gives the number needed.
        ForeignCheckpoint: the place holds an interrupted training of other items or settings.
        Diverged: the loss is no longer a number.
        OutputError: ``out`` cannot be written.

    >>> import numpy as np
    >>> train(np.random.default_rng(0).uniform(size=(40, 8, 8)), network="none").modality.shape
    (1, 8, 8)
    """
    asked = suited(recipe, network, tile)
    given = (network, size, channels, share, seed, modality, keep, space, images_seen, width, batch, rate, every, precision, prepare, vary, features)
    how = Training(*given, kinds, tile).settled(asked)
    if out is None:
        return _drained(_alone(source, asked, how, progress), how, progress)
    target = writable(out)
    learned = learn(source, asked, how, policy or Policy(), target.name, progress, target)
    write(learned, target)
    return learned.detector.model


def training(
    source: Any,
    recipe: str | Recipe | None = None,
    out: str | Path | None = None,
    *,
    how: Training | None = None,
    policy: Policy | None = None,
) -> Iterator[Record]:
    """The same as :func:`train`, record by record: the caller's ``for`` is the hook, and may stop whenever it likes.

    The folder is written after the last record; a loop that is left before goes on when it is entered again with the same
    ``out``. With an exact denoiser, such as that of ``inspection``, there is nothing to descend, and no record.

    Args:
        how: all settings.

    Raises:
        what :func:`train` raises.

    >>> import numpy as np
    >>> few = np.random.default_rng(0).uniform(size=(60, 8, 8))
    >>> losses = [record.loss for record in training(few, how=Training("unet", images_seen=128, width=32))]
    >>> len(losses)
    2
    """
    asked = suited(recipe, how.network if how else None, how.tile if how else None)
    wanted = (how or Training()).settled(asked)
    if out is None:
        yield from _alone(source, asked, wanted, silent)
        return
    target = writable(out)
    learned = yield from _learning(source, asked, wanted, policy or Policy(), target.name, silent, target)
    write(learned, target)


def write(learned: Outcome, out: Path) -> None:
    """Write the folder and remove the checkpoints beside it; of several processes the first does it, and the others wait.

    Raises:
        OutputError: it cannot be written; the checkpoints stay.
    """
    if optimise.leads():
        learned.detector.save(out)
        place_of(out).clear()
    optimise.meet()


def learn(source: Any, recipe: str | Recipe, how: Training, policy: Policy, name: str, progress: Progress = silent, out: Path | None = None) -> Outcome:
    """Split by content, learn from one part, calibrate on the other. Of ``out`` only the checkpoints beside it are written.

    Raises:
        what :func:`train` raises.
    """
    asked = suited(recipe, how.network, how.tile)
    settled = how.settled(asked)
    return _drained(_learning(source, asked, settled, policy, name, progress, out), settled, progress)


def _drained(records: Generator[Record, None, T], how: Training, progress: Progress) -> T:
    """What a generator of records returns, its steps shown."""
    returned: list[T] = []

    def caught() -> Generator[Record, None, None]:
        returned.append((yield from records))

    total = how.schedule.steps if how.descends else 0
    with closing(caught()) as steps:
        for _ in progress(steps, "learning", total, how.batch) if total else steps:
            pass
    return returned[0]


def _alone(source: Any, asked: Recipe, how: Training, progress: Progress) -> Generator[Record, None, Model]:
    optimise.join()
    opened, _, kind = _opened(source, asked, how, progress)
    kind, values = _fitted(kind, opened)
    return (yield from _model(values, kind, asked, "model", how, None, _kinds(opened, how)))[0]


def _learning(source: Any, asked: Recipe, how: Training, policy: Policy, name: str, progress: Progress, out: Path | None) -> Generator[Record, None, Outcome]:
    optimise.join()
    opened, left_out, kind = _opened(source, asked, how, progress)
    if len(opened) < 2:
        raise TooFewItems(f"cannot learn and calibrate with {len(opened)} readable item; give at least 38 to flag at p <= 0.05, 198 at 0.01")
    learned, held_out = _parted(opened, how, policy)
    known_good = [opened[i] for i in learned]
    kind, values = _fitted(kind, known_good)
    model, loss = yield from _model(values, kind, asked, name, how, out, _kinds(known_good, how))
    references = Items(tuple(opened[i][0] for i in held_out))
    detector = Detector(model, asked, policy)
    return Outcome(detector.fit_parts(*detector.measure(references, how.keep, progress)), left_out, loss)


def place_of(out: Path) -> checkpoint.Place:
    """Where the checkpoints of a folder to be written lie: beside it, for the folder itself is whole or not there."""
    return checkpoint.Place(out.with_name(f"{out.name}.training"), "")


def _opened(source: Any, asked: Recipe, how: Training, progress: Progress) -> tuple[list[tuple[Item, Opened]], tuple[tuple[str, str], ...], Modality]:
    """Every item that can be learned from, the others with the reason, and the modality's settings."""
    known: type[Modality] = registry.find("modalities", how.modality)  # type: ignore[assignment]
    if not known.gridded:
        _require_no_neighbours(how)
    items = known.items(source)
    roomy = Activations().roomy if how.features == OWN else lives_in(asked, how).roomy
    kind = known.learn(items, how.tile or how.size, how.channels, roomy)
    good, bad, first = [], [], {}
    for item in progress(items, "reading", len(items)):
        try:
            one = kind.open(item) if how.tiles is None else _in_tiles(kind, item, how.tiles, how, len(items))
        except ItemError as refusal:
            bad.append((item.name, str(refusal)))
            continue
        if not np.isfinite(one.values).all():
            bad.append((item.name, "not finite: some of its values are NaN or infinite"))
        elif how.kinds and not item.kind:
            bad.append((item.name, "of no kind: it lies in no folder, and the first folder says the kind"))
        elif one.digest in first:
            bad.append((item.name, f"a copy of {first[one.digest]}, to the byte: it would count twice"))
        else:
            first[one.digest] = item.name
            good.append((item, one))
    if not good:
        raise NoItems(f"none of the {len(items)} items can be learned from; the first, {bad[0][0]}: {bad[0][1]}")
    return good, tuple(bad), kind


def _in_tiles(kind: Modality, item: Item, tiles: Tiles, how: Training, count: int) -> Opened:
    """Some tiles of an item, (n, C, side, side), drawn by its content: not the item, which is large.

    Raises:
        ItemError: it cannot be read, or is smaller than a tile.
    """
    whole = kind.whole(item)
    tiles.require(whole.values.shape[1:], item.name)
    own = int(whole.digest[:12], 16)
    return replace(whole, values=tiles.some(whole.values, how.tiles_of(count, own), how.seed ^ own))


def _each_tile(opened: Sequence[Opened], kinds: Sequence[str]) -> tuple[list[Opened], list[str]]:
    """Every tile as an item of its own, and the kind of each where there are kinds.

    Raises:
        TooFewItems: there is no room for a tile of some kind.
    """
    tiles = [replace(one, values=tile) for one in opened for tile in one.values]
    each = [kind for one, kind in zip(opened, kinds, strict=True) for _ in one.values] if kinds else []
    if lacking := sorted(set(kinds) - set(each)):
        raise TooFewItems(f"of {len(opened)} items {len(tiles)} tiles are learned from, and none of the kind {lacking[0]!r}; give a smaller tile")
    return tiles, each


def _require_no_neighbours(how: Training) -> None:
    """Refuse what looks at neighbours for items whose elements have none."""
    seeing = {
        "a U-Net": how.network == "unet",
        f"the space {how.space!r}": how.space == "features",
        "features": how.features is not None,
        "preparing": bool(how.prepare),
        "varying": bool(how.vary),
    }
    if asked := next((name for name, wanted in seeing.items() if wanted), None):
        raise InvalidSetting(f"{asked} looks at neighbours, and the elements of a {how.modality} have none; give network='mlp', or 'none' to keep the items")


def _fitted(kind: Modality, opened: Sequence[tuple[Item, Opened]]) -> tuple[Modality, list[Opened]]:
    """The modality with its measures taken from the items learned from alone, and these items as it reads them."""
    fitted = kind.fitted(Items(tuple(item for item, _ in opened)))
    return fitted, [one if fitted == kind else fitted.open(item) for item, one in opened]


def _kinds(opened: Sequence[tuple[Item, Opened]], how: Training) -> list[str]:
    """The kind of each item; none where kinds are not told apart."""
    return [item.kind for item, _ in opened] if how.kinds else []


def _parted(opened: Sequence[tuple[Item, Opened]], how: Training, policy: Policy) -> tuple[list[int], list[int]]:
    """Which items are learned from and which are held out, each kind parted by content for itself; refused where they are too few."""
    kinds, learned, held_out = _kinds(opened, how) or [""] * len(opened), list[int](), list[int]()
    for kind in dict.fromkeys(kinds):
        rows = [i for i, one in enumerate(kinds) if one == kind]
        if len(rows) < 2:
            raise TooFewItems(f"cannot learn and calibrate with 1 readable item of the kind {kind!r}; give at least 38 to flag at p <= 0.05, 198 at 0.01")
        own, others = split(rows, [opened[i][1].digest for i in rows], how.share, seed=how.seed)
        _require_enough(policy, len(rows), len(others), how.share, kind)  # before the work, not after it
        learned += [rows[i] for i in own]
        held_out += [rows[i] for i in others]
    return sorted(learned), sorted(held_out)


def _require_enough(policy: Policy, count: int, held_out: int, share: float, kind: str) -> None:
    """Refuse, before learning, a policy that the items held out cannot serve, and say how many items it takes in all."""
    try:
        policy.resolve(held_out, kind)
    except TooFewReferences as refusal:
        references = max(needed(policy.flag or LEVELS[-1]), needed(policy.depth) if policy.depth else 0)
        enough = 2 * references if references <= AT_LEAST else math.ceil(references / share)
        raise TooFewReferences(f"{refusal}: of the {count} items {held_out} are held out to calibrate, so give {enough} items in all") from refusal


def _model(
    opened: Sequence[Opened], kind: Modality, asked: Recipe, name: str, how: Training, out: Path | None, kinds: Sequence[str]
) -> Generator[Record, None, tuple[Model, float | None]]:
    """The denoiser that was asked for, in the space that the recipe or else the settings ask for, and its held-out loss."""
    if how.tiles is not None:
        opened, kinds = _each_tile(opened, kinds)
    known_good, digests = torch.from_numpy(np.stack([one.values for one in opened])), tuple(one.digest for one in opened)
    steps = steps_of(known_good, how)
    for step in steps:
        known_good = step(known_good)
    about = " ".join([str(kind.config()), *(str(step.config()) for step in steps), *digests])
    descent, loss = Descent(how, about, None if out is None else place_of(out).folder), None
    if how.features == OWN:
        own, loss, _ = yield from descent.of(known_good, "unet", Pixels(), "own")
        lives = Activations.of(own) if how.tile is None else Activations.of(own).tiled(how.tile)
    else:
        lives = lives_in(asked, how)
    lives = lives.at(how.precision).learned(known_good)
    if how.network in EXACT:
        denoiser, learns = exactly(known_good, lives, how, kinds), range(len(digests))
    else:
        denoiser, loss, learns = yield from descent.of(lives.encode(known_good), how.network or "", lives)
        denoiser = Kinds(sorted(set(kinds)), (denoiser,)) if kinds else denoiser
    notes = {"made": datetime.date.today().isoformat(), "by": f"diffident {version('diffident')}", "settings": str(how), **descent.notes}
    seen, chunk = frozenset(digests[i] for i in learns), CHUNK if how.tiles is None else TILED_CHUNK
    return Model(denoiser, kind, lives, chunk, seen, name, notes, steps, how.tiles), loss
