"""Items: lazy, named, fingerprinted; and splits that keep identical content on one side."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, overload

import numpy as np

from .errors import InvalidSetting, NoItems, TooFewItems, TooLarge, UnreadableItem, WrongShape

#: A file is held in memory whole. Larger than the largest picture that is opened at all: 90 million pixels of four floats.
LARGEST = 2 << 30


#: So many items calibrate where that is at most half: with 99 an item can be flagged at p <= 0.01.
AT_LEAST = 99


@dataclass(frozen=True, eq=False)
class Item:
    """One thing to judge, not read yet.

    Attributes:
        name: for people and for tables: the path below the folder that was opened, with forward slashes; ``array[12]``
            for an array.
        payload: where the content is: a path, or the array or Pillow image itself.
        kind: of what kind of thing it is one: the first folder below the folder that was opened, unless it is said otherwise;
            empty where there is none. Only models that tell kinds apart look at it.
    """

    name: str
    payload: Any = field(repr=False)
    kind: str = ""

    def load(self) -> Any:
        """The content as it is stored: the bytes of a file, or the array or picture itself.

        Raises:
            UnreadableItem: the file is empty, gone, no regular file or may not be read.
            TooLarge: the file has more than 2 GiB.

        >>> Item("dot", np.zeros((1, 1))).load().shape
        (1, 1)
        """
        if not isinstance(self.payload, Path):
            return self.payload
        try:
            self._check(self.payload.stat())
            return self.payload.read_bytes()
        except (OSError, ValueError) as error:  # ValueError: a path with a null character
            raise UnreadableItem(f"cannot read {self.name}: {getattr(error, 'strerror', None) or error}; check the path and its permissions") from error

    def _check(self, found: os.stat_result) -> None:
        if not stat.S_ISREG(found.st_mode):  # a pipe would be waited for without end
            kind = "a folder" if stat.S_ISDIR(found.st_mode) else "not a regular file"
            raise UnreadableItem(f"cannot read {self.name}: it is {kind}; give a file that can be read")
        if not found.st_size:
            raise UnreadableItem(f"cannot read {self.name}: the file is empty (0 bytes); get it again from its source")
        if found.st_size > LARGEST:
            raise TooLarge(f"{self.name} has {found.st_size:,} bytes and at most {LARGEST:,} are opened; give smaller files")


@dataclass(frozen=True)
class Items(Sequence[Item]):
    """Named items in a fixed order. Nothing is read before an item is loaded; a slice gives Items again.

    >>> items = Items.open(np.zeros((3, 8, 8)))
    >>> [item.name for item in items[1:]]
    ['array[1]', 'array[2]']
    """

    entries: tuple[Item, ...]

    def __len__(self) -> int:
        return len(self.entries)

    @overload
    def __getitem__(self, index: int) -> Item: ...

    @overload
    def __getitem__(self, index: slice) -> Items: ...

    def __getitem__(self, index: int | slice) -> Item | Items:
        return Items(self.entries[index]) if isinstance(index, slice) else self.entries[index]

    def of_kind(self, kind: str) -> Items:
        """The same items, all of the kind of that name.

        >>> Items.open(np.zeros((2, 8, 8))).of_kind("bolt")[1].kind
        'bolt'
        """
        return Items(tuple(replace(item, kind=kind) for item in self.entries))

    @staticmethod
    def open(source: Any) -> Items:
        """The items of a folder, a file, a list or an array.

        A folder is searched through all its subfolders, in natural order (``img2`` before ``img10``). Hidden files and
        folders are left out; every other file is an item, also one that turns out not to be an image when it is read.
        Links to folders are followed, each folder once, so that a loop ends.

        Args:
            source: a folder; a file; a list of files, folders, arrays (h, w) or (h, w, channels) and Pillow images; an
                array (n, h, w) or (n, h, w, channels); a Pillow image; Items.

        Raises:
            NoItems: there are none, or the path does not exist.
            WrongShape: an array that is not a stack of images.
            InvalidSetting: something else.
        """
        if isinstance(source, Items):
            found = source
        elif isinstance(source, str) and not source.strip():  # as a path it would be this very folder
            raise NoItems("no items: the path given is empty; for the folder you are in give a dot")
        elif isinstance(source, str | os.PathLike):
            found = Items(tuple(_at(Path(source))))
        elif isinstance(source, np.ndarray):
            found = Items(tuple(_stack(source)))
        elif isinstance(source, list | tuple):
            found = Items(tuple(item for i, one in enumerate(source) for item in _listed(one, f"[{i}]")))
        else:
            found = Items.single(source)
        if not found:
            raise NoItems(f"no items in {_named(source)}: it is empty, or holds hidden files only; give a folder, list or array with at least one item")
        return found

    @staticmethod
    def single(one: Any) -> Items:
        """Exactly one item: a file, an array (h, w) or (h, w, channels), a Pillow image or an Item.

        Raises:
            InvalidSetting: something else.

        >>> Items.single("parts/bolt.png")[0].name
        'bolt.png'
        """
        if isinstance(one, Items) and len(one) == 1:
            return one
        if isinstance(one, str | os.PathLike):
            return Items((Item(_text(Path(one).name), Path(one)),))
        return Items((_one(one, ""),))


def _at(path: Path) -> Iterator[Item]:
    """The items of a path that must exist."""
    if not os.path.lexists(path):
        raise NoItems(f"no items at {_text(str(path))}: it does not exist or may not be looked at; check the path")
    if path.is_dir():
        yield from _inside(path, "", set())
    else:
        yield Item(_text(path.name), path)


def _inside(folder: Path, above: str, seen: set[tuple[int, int]], kind: str = "") -> Iterator[Item]:
    """The files of a folder and of those below it; ``seen`` are the folders already entered, ``kind`` is the first of those above."""
    try:
        place = folder.stat()
        names = sorted(os.listdir(folder), key=_natural)
    except OSError:  # reported in a row of its own, not dropped
        yield Item(above.rstrip("/") or _text(str(folder)), folder, kind)
        return
    if (place.st_dev, place.st_ino) in seen:
        return
    seen.add((place.st_dev, place.st_ino))
    for name in names:
        if name.startswith("."):
            continue
        if (folder / name).is_dir():
            yield from _inside(folder / name, f"{above}{_text(name)}/", seen, kind or _text(name))
        else:
            yield Item(above + _text(name), folder / name, kind)


def _natural(name: str) -> tuple[list[str | int], str]:
    """Runs of digits count as numbers: text and numbers alternate, so that like is compared with like."""
    parts = re.split("([0-9]+)", name.casefold())
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


def _text(name: str) -> str:
    """A name that can be printed and stored, also where the file system's is not valid Unicode."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _stack(array: np.ndarray) -> Iterator[Item]:
    """The items of an array (n, h, w) or (n, h, w, channels), as views."""
    stacked = "items are stacked as (n, height, width) or (n, height, width, channels)"
    if array.dtype.hasobject:
        raise WrongShape(f"an array of dtype object, shape {array.shape}, is not a stack of images; {stacked}; give images of different sizes as a list")
    if array.ndim not in (3, 4):
        single = " for a single image give array[None]" if array.ndim == 2 else ""
        raise WrongShape(f"an array of shape {array.shape} is not a stack of images; {stacked};{single or ' reshape it'}")
    if array.ndim == 3 and array.shape[2] <= 4 < array.shape[1]:
        raise WrongShape(f"an array of shape {array.shape} looks like a single image with {array.shape[2]} channels; {stacked}; give array[None]")
    if array.ndim == 4 and not 1 <= array.shape[3] <= 4:
        raise WrongShape(f"an array of shape {array.shape} has {array.shape[3]} channels, and 1 to 4 can be read; {stacked}: channels come last")
    return (_view(one, f"array[{i}]") for i, one in enumerate(array))


def _listed(one: Any, place: str) -> Iterator[Item]:
    """The items that one entry of a list stands for. A missing file is found out when it is read: the others go on."""
    if isinstance(one, str | os.PathLike):
        path = Path(one)
        yield from _inside(path, f"{_text(path.as_posix())}/", set()) if path.is_dir() else [Item(_text(path.as_posix()), path)]
    else:
        yield _one(one, place)


def _one(one: Any, place: str) -> Item:
    """An item that is in memory already."""
    if isinstance(one, Item):
        return one
    if isinstance(one, np.ndarray):
        return _view(one, f"array{place}")
    pillow = sys.modules.get("PIL.Image")  # whoever holds a Pillow image has imported it
    if pillow is not None and isinstance(one, pillow.Image):
        return Item(f"image{place}", one)
    tensor = "; a tensor (n, channels, h, w) becomes one with tensor.permute(0, 2, 3, 1).numpy()" if type(one).__module__.partition(".")[0] == "torch" else ""
    raise InvalidSetting(
        f"cannot take items from a {type(one).__name__}{place and f' at {place} of the list'}; give paths, numpy arrays or Pillow images{tensor}"
    )


def _view(array: np.ndarray, name: str) -> Item:
    kept = array.view()
    kept.flags.writeable = False
    return Item(name, kept)


def _named(source: Any) -> str:
    return _text(str(source)) if isinstance(source, str | os.PathLike) else f"the {type(source).__name__} given"


def digest(content: bytes | np.ndarray) -> str:
    """sha256 of what was stored: the bytes of a file, or an array's numbers with their type and shape.

    >>> digest(b"")[:8]
    'e3b0c442'
    >>> digest(np.zeros((2, 3))) == digest(np.zeros((3, 2)))
    False
    """
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha256(f"{content.dtype.str} {content.shape} ".encode() + content.tobytes()).hexdigest()


def split(items: Sequence[Any], digests: Sequence[str], share: float = 0.25, at_least: int = AT_LEAST, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Part the items in two, one to learn from and one to calibrate on, with identical content on one side.

    The reference side gets ``max(share * n, at_least)`` items where ``at_least`` is at most half of them, and half of them
    otherwise; exactly so when no content occurs twice. Contents are taken in the order of sha256(seed and digest), so the
    split depends on what the items are and not on their order, and changes little when items are added.

    Only identical bytes are seen. Two photographs of one part, or two frames of one film, count as different items, and a
    calibration on them is too sure of itself: put such groups in folders or lists of your own, and part those.

    Args:
        items: n of them; only their number is looked at.
        digests: of the content of each, see :func:`digest`.
        share: of the items that calibrate, between 0 and 1.
        at_least: so many calibrate where that is at most half; 99 are needed to flag at p <= 0.01.
        seed: another seed, another split.

    Returns:
        indices to learn from and indices to calibrate on, both ascending.

    Raises:
        WrongShape: not one digest per item.
        InvalidSetting: a share outside (0, 1), or ``at_least`` below 1.
        TooFewItems: fewer than two different items.

    >>> learn, reference = split("abcdefgh", list("abcdefgh"))
    >>> len(learn), len(reference)
    (4, 4)
    """
    if len(items) != len(digests):
        raise WrongShape(f"a split needs one digest per item; got {len(items)} items and {len(digests)} digests")
    if not 0 < share < 1 or at_least < 1:
        raise InvalidSetting(f"a split needs 0 < share < 1 and at_least >= 1; got {share:g} and {at_least}")
    members: dict[str, list[int]] = {}
    for i, one in enumerate(digests):
        members.setdefault(one, []).append(i)
    if len(members) < 2:
        raise TooFewItems(f"cannot part {len(items)} items with {len(members)} different content in two; give at least 2 different ones")
    n = len(items)
    ordered = sorted(members, key=lambda one: hashlib.sha256(f"{seed}:{one}".encode()).digest())
    kept = _filled([len(members[one]) for one in ordered], max(round(share * n), at_least) if at_least <= n / 2 else n // 2)
    reference = sorted(i for place in kept for i in members[ordered[place]])
    return np.setdiff1d(np.arange(n), reference), np.array(reference, dtype=np.int64)


def _filled(sizes: list[int], wanted: int) -> list[int]:
    """Which groups, taken in order, make up ``wanted`` items: those that still fit, then the smallest if some are lacking."""
    kept, count = [], 0
    for place, size in enumerate(sizes):
        if count + size <= wanted:
            kept, count = [*kept, place], count + size
    rest = sorted(set(range(len(sizes))) - set(kept), key=lambda place: (sizes[place], place))
    if len(rest) > 1 and count < wanted:
        kept.append(rest[0])
    if not rest:  # a share close to 1 has taken everything
        kept.pop()
    return kept
