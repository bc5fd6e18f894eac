"""Maps as files: one picture for each item, in a folder with the items' own subfolders, and never outside it."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from ..data import Item
from ..detector import Detector
from ..errors import InvalidSetting, ItemError, NotCalibrated, OutputError
from ..verdict import Verdict
from .colours import Scale, scale_of
from .page import write
from .pictures import located, png, shown

#: So many bytes of a name fit into one folder's entry on every file system, with something to tell names apart.
LONGEST = 200

#: How files of maps end, and what is written into them, so that nothing else is taken for one.
MAP, SAYS = ".png", "a map of Diffident"

#: How files of pictures end: what a map's name leaves out of an item's.
ENDINGS = ("png", "jpg", "jpeg", "tif", "tiff", "bmp", "webp", "gif", "ppm", "pgm", "pbm", "pnm", "avif", "qoi")


class MapFolder:
    """Writes a picture for each item that was read: the item as a model shows it, its map laid over it.

    ``lot/a.png`` and ``lot/a.jpg`` both become ``<folder>/lot/a.png``; where ``names`` holds them both, the picture that is called
    so keeps its name, and the other becomes ``lot/a.map.png``. A file that is no map is never written over.

    Args:
        folder: made if it is not there; earlier maps of the same names are written over.
        detector: whose scale gives the colours their meaning.
        source: what is judged; the folder may not lie in it, or maps would be items next time.
        names: of all items that will be added, as far as they are known; what stands in their way is found before the work.

    Raises:
        NotPerElement: the recipe has no map.
        NotCalibrated: there are no known-good items to set the colours by.
        InvalidSetting: the folder lies in the items' folder.
        OutputError: it cannot be made, or holds a file that is no map where one would be written.
    """

    def __init__(self, folder: str | Path, detector: Detector, source: str | Path, names: Iterable[str] = ()) -> None:
        detector.scorer.require_maps()
        self.scale = _scale(detector)
        self.place, self._detector, self._taken = Path(folder).resolve(), detector, set[str]()
        called = [inside(name) for name in names]
        self._kept = {name.casefold() for name in called if name.casefold().endswith(MAP)}
        if self.place.is_relative_to(Path(source).resolve()):
            raise InvalidSetting(f"cannot write maps to {self.place}: it lies in {source}, so that they would be items next time; choose another place")
        try:
            self.place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write maps to {self.place}: {error.strerror or error}; choose another place") from error
        if not os.access(self.place, os.W_OK):
            raise OutputError(f"cannot write maps to {self.place}: it is not writable; choose another place")
        for name in called:
            _require_map(self.place / f"{_stem(name)}{MAP}")

    def add(self, item: Item, verdict: Verdict) -> None:
        """Write the map of an item; nothing for one that was not read.

        Raises:
            OutputError: it cannot be written, or a link would lead out of the folder.
        """
        if verdict.where is None or verdict.decision == "unreadable":
            return
        try:
            values = self._detector.model.shown(item)
        except ItemError:  # gone since it was scored
            return
        target = self.place / self._free(inside(item.name))
        try:
            if not target.parent.resolve().is_relative_to(self.place):  # before anything is made there
                raise OutputError(f"cannot write {target}: a link leads out of {self.place}; remove the link or choose another place")
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write {target}: {error.strerror or error}; choose another place or make room") from error
        _require_map(target)
        write(target, png(located(shown(self._detector.model.modality, values), verdict.where, self.scale), SAYS))

    def _free(self, name: str) -> str:
        """The name as that of a map; another where an item has that, or is called so: names may differ in what no file can be called."""
        stem, count = _stem(name), 1
        free = f"{stem}{MAP}"
        while free.casefold() in self._taken or (free.casefold() in self._kept and free.casefold() != name.casefold()):
            free = f"{stem}.map{MAP}" if count == 1 else f"{stem}.map ({count}){MAP}"
            count += 1
        self._taken.add(free.casefold())
        return free


def _stem(name: str) -> str:
    """A name without the ending of a picture's file."""
    stem, dot, ending = name.rpartition(".")
    return stem if dot and ending.casefold() in ENDINGS and not stem.endswith("/") else name


def _require_map(target: Path) -> None:
    """Refuse to write over a file that is no map; a link is only replaced.

    Raises:
        OutputError: it is one.
    """
    if not target.is_file() or target.is_symlink():
        return
    try:
        begins = target.read_bytes()[:256]
    except OSError as error:
        raise OutputError(f"cannot write the map {target}: {error.strerror}; choose another folder for maps") from error
    if SAYS.encode() not in begins:
        raise OutputError(f"cannot write the map {target}: a file that is no map of Diffident has that name; choose another folder for maps")


def _scale(detector: Detector) -> Scale:
    found = scale_of(detector)
    if found is None:
        raise NotCalibrated("the colours of maps are set by known-good items, and this detector has seen none; calibrate it: diffident fit MODEL KNOWN_GOOD")
    return found


def inside(name: str) -> str:
    """A name as a path that stays inside a folder, on any system.

    >>> inside("../lot 7/a:b.png"), inside("/etc/passwd"), inside("array[3]")
    ('lot 7/a_b.png', 'etc/passwd', 'array[3]')
    """
    parts = [_entry(part) for part in name.split("/") if part not in ("", ".", "..")]
    return "/".join(parts) or "item"


def _entry(part: str) -> str:
    """One entry of a folder: no character that some system forbids, not hidden, not too long."""
    plain = re.sub(r'[\x00-\x1f\x7f\\:*?"<>|\ud800-\udfff]', "_", part)
    plain = re.sub(r"^\.", "_", plain)
    encoded = plain.encode("utf-8")
    if len(encoded) <= LONGEST:
        return plain
    return encoded[: LONGEST - 9].decode("utf-8", "ignore") + "-" + hashlib.sha256(encoded).hexdigest()[:8]
