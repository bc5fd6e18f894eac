"""A folder whose subfolders say what is good and what is strange, with masks of the defects: the layout of MVTec AD.

    DIR/train/good/*.png            known-good pictures to learn from; may be absent
    DIR/test/good/*.png             good pictures to be judged
    DIR/test/KIND/x.png             strange ones, a folder for each kind
    DIR/ground_truth/KIND/x_mask.png    where x is strange: not 0; or x.png; may be absent

Any format that is read as a picture will do, for masks too. Source: Bergmann et al., The MVTec anomaly detection dataset, IJCV 2021.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from ..data import Item, Items
from ..errors import NotLabelled
from ..modalities.image import pixels

GOOD = "good"
LAYOUT = "DIR/test/good and DIR/test/KIND for each kind of defect; DIR/ground_truth/KIND/NAME_mask.png and DIR/train/good if there are any"

#: Masks in these files have no sharp values: from half of white upward they mark.
LOSSY = (".jpg", ".jpeg")


@dataclass(frozen=True)
class Labelled:
    """Items of which it is known whether they are good, by kind. Nothing is read before it is needed.

    Attributes:
        root: the folder.
        train: known-good items to learn from; may be none.
        test: items to be judged, named below ``test``.
        kinds: of each test item, the name of its folder; ``good`` is good.
        masks: of each test item, where it is strange, or None where that is not said.
        strays: names of files that lie in ``test`` itself and so are of no kind; they are left out.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> root = Path(tempfile.mkdtemp())
        >>> for name in ("test/good/0.png", "test/scratch/0.png", "ground_truth/scratch/0_mask.png"):
        ...     (root / name).parent.mkdir(parents=True)
        ...     Image.new("L", (8, 8)).save(root / name)
        >>> found = Labelled.open(root)
        >>> found.kinds, found.labels.tolist(), found.masks[1].name
        (('good', 'scratch'), [0, 1], 'scratch/0_mask.png')
    """

    root: Path
    train: Items
    test: Items
    kinds: tuple[str, ...]
    masks: tuple[Item | None, ...]
    strays: tuple[str, ...] = ()

    @staticmethod
    def open(root: str | os.PathLike[str]) -> Labelled:
        """The labelled items of a folder.

        Raises:
            NotLabelled: it is not laid out so; the message says what is missing.
        """
        place = Path(root)
        try:
            _require_layout(place)
        except OSError as error:
            raise NotLabelled(f"cannot look into {place}: {error.strerror or error}; check the path and its permissions") from error
        found = Items.open(place / "test")
        test = Items(tuple(item for item in found if "/" in item.name))
        kinds = tuple(item.name.partition("/")[0] for item in test)
        for wanted, there in (("good items in test/good", GOOD in kinds), ("strange items in test/KIND", set(kinds) - {GOOD})):
            if not there:
                raise NotLabelled(f"{place} holds no {wanted}; what is tested on is laid out as {LAYOUT}")
        masks = masks_in(place / "ground_truth")
        known = tuple(None if kind == GOOD else mask_of(item.name, masks) for item, kind in zip(test, kinds, strict=True))
        return Labelled(place, _inside(place / "train" / GOOD), test, kinds, known, tuple(item.name for item in found if "/" not in item.name))

    def of_kind(self, kind: str) -> Labelled:
        """The same, all items of that kind of thing, for a model that tells kinds apart; what is wrong with each stays in ``kinds``."""
        return replace(self, train=self.train.of_kind(kind), test=self.test.of_kind(kind))

    @property
    def labels(self) -> np.ndarray:
        """(n,): 1 = strange, 0 = good."""
        return np.array([kind != GOOD for kind in self.kinds], dtype=np.int64)

    @property
    def defects(self) -> tuple[str, ...]:
        """The kinds of strange items, sorted."""
        return tuple(sorted(set(self.kinds) - {GOOD}))

    @property
    def masked(self) -> bool:
        """Whether any mask is there."""
        return any(mask is not None for mask in self.masks)


def mask(item: Item) -> np.ndarray:
    """Where an item is strange: (height, width) bool.

    Args:
        item: a mask's file; what is not 0 is marked, in JPEG what is half of white or more.

    Raises:
        ItemError: it cannot be read; the message says why.

    Example:
        >>> mask(Item("dot", np.array([[0, 255]], dtype=np.uint8))).tolist()
        [[False, True]]
    """
    least = 128 if PurePosixPath(item.name).suffix.lower() in LOSSY else 1e-9
    return np.any(pixels(item) >= least, axis=2).astype(bool)


def _require_layout(place: Path) -> None:
    if not place.is_dir():
        raise NotLabelled(f"cannot test on {place}: {'it is a file' if place.exists() else 'there is no such folder'}; give a folder laid out as {LAYOUT}")
    if not (place / "test").is_dir():
        holds = ", ".join(sorted(one.name for one in place.iterdir())[:4]) or "nothing"
        raise NotLabelled(f"{place} holds {holds} and no folder called test; what is tested on is laid out as {LAYOUT}")
    if not any((place / "test").iterdir()):
        raise NotLabelled(f"{place / 'test'} is empty; what is tested on is laid out as {LAYOUT}")


def _inside(folder: Path) -> Items:
    return Items.open(folder) if folder.is_dir() and any(not one.name.startswith(".") for one in folder.iterdir()) else Items(())


def masks_in(folder: Path) -> dict[str, Item]:
    """The masks by their names without ending: ``scratch/0_mask``."""
    return {str(PurePosixPath(item.name).with_suffix("")): item for item in _inside(folder)}


def mask_of(name: str, masks: dict[str, Item]) -> Item | None:
    """The mask of the item of that name: of its name with ``_mask`` behind it, or else of its very name."""
    stem = str(PurePosixPath(name).with_suffix(""))
    return masks.get(f"{stem}_mask") or masks.get(stem)
