"""Folders on disk: plain JSON and safetensors, checked by sum, written whole or not at all. No pickle, ever.

A folder has a manifest, ``diffident.json``, with the format's version, the sha256 of every other file and of itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .errors import DamagedModel, NewerFormat, NotAModel, OutputError

FORMAT = 1
MANIFEST = "diffident.json"

#: Models that come with the package, by the names that find them; the name without a number is that of the latest.
BUNDLED = {"base": "base_1", "base-1": "base_1"}


def placed(folder: str | Path) -> Path:
    """The folder of that path or, where there is nothing at that path, of the model of that name that comes with the package.

    >>> placed("no such model").name
    'no such model'
    """
    place, name = Path(folder), _bundled(folder)
    return place if name is None or place.exists() else name


def _bundled(folder: str | Path) -> Path | None:
    """Where the model of that name lies that comes with the package; None if none does."""
    place = Path(__file__).parent / "weights" / BUNDLED.get(str(Path(folder)), "")
    return place if (place / MANIFEST).is_file() else None


def writable(folder: str | Path) -> Path:
    """The path, if a folder could be written there as far as can be told before the work.

    Raises:
        OutputError: something else is in the way, or the place cannot be written.
    """
    target = Path(folder)
    target = target.resolve() if target.is_symlink() else target
    if _bundled(folder) and not target.exists():
        raise OutputError(f"{folder!s} is the name of a model that comes with Diffident, and what is written here is another; name the folder otherwise (-o)")
    if target.exists() and not _ours(target):
        raise OutputError(f"{target} exists and is not a folder that Diffident has written; choose another name, or remove it first")
    if foreign := _foreign(target):
        raise OutputError(f"{target} holds {', '.join(foreign[:3])}, which Diffident did not put there and would remove; move it away first")
    above = next(place for place in (target.absolute().parent, *target.absolute().parents) if place.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise OutputError(f"cannot write {target}: {above} is {'not writable' if above.is_dir() else 'not a folder'}; choose another place")
    return target


def write_folder(folder: str | Path, fill: Callable[[Path], Mapping[str, Any]]) -> Path:
    """Let ``fill`` write files into an empty folder and return the manifest's facts; then put it in place in one move.

    What was there before stays untouched until the new folder is complete on disk.

    Raises:
        OutputError: something else is in the way, the place cannot be written, or the disk is full.
    """
    target = writable(folder)
    made: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        _seal(made, fill(made))
        _replace(made, target)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror or error}; make room or choose another place. What was there before is untouched") from error
    finally:
        if made is not None:
            shutil.rmtree(made, ignore_errors=True)
    return target


def read_folder(folder: str | Path) -> dict[str, Any]:
    """The manifest of a folder, after every file in it has been checked against its sum.

    Raises:
        NotAModel: there is no manifest.
        NewerFormat: a later version wrote it.
        DamagedModel: a file is missing, cut short or altered, the manifest among them.
    """
    place = Path(folder)
    if not (place / MANIFEST).is_file():
        near = "there is no such folder" if not place.exists() else f"it holds no {MANIFEST}"
        raise NotAModel(f"{place} is not a model: {near}; make one with: diffident train GOOD_ITEMS -o {place.name or 'model'}")
    facts = _manifest(place)
    for name, expected in facts["files"].items():
        _check(place / name, expected)
    return facts


def _manifest(place: Path) -> dict[str, Any]:
    again = f"restore {place} from a copy or make it again"
    try:
        facts = json.loads((place / MANIFEST).read_text("utf-8"))
        version, claimed = facts["format"], facts.pop("sum")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedModel(f"{place / MANIFEST} cannot be read ({type(error).__name__}: {error}); {again}") from error
    if type(version) is not int or version < 1:
        raise DamagedModel(f"{place / MANIFEST} says format {version!r}, which no version of Diffident has written; {again}")
    if version > FORMAT:
        raise NewerFormat(f"{place} has format {version} and this version of Diffident reads up to {FORMAT}; upgrade with: pip install -U diffident")
    if claimed != _sum(_plain(facts)):
        raise DamagedModel(f"{place / MANIFEST} was altered after it was written (its own sum does not fit); {again}")
    return facts


def _check(file: Path, expected: str) -> None:
    try:
        found = _sum(file.read_bytes())
    except OSError as error:
        raise DamagedModel(f"{file} is missing or cannot be read ({error.strerror}); restore it from a copy or make the model again") from error
    if found != expected:
        raise DamagedModel(f"{file} is damaged: its sha256 is {found[:12]}… and should be {expected[:12]}…; restore it from a copy or make the model again")


def _seal(place: Path, facts: Mapping[str, Any]) -> None:
    for file in place.iterdir():
        _flush(file)
    sums = {file.name: _sum(file.read_bytes()) for file in sorted(place.iterdir())}
    whole = {"format": FORMAT, **facts, "files": sums}
    (place / MANIFEST).write_text(json.dumps({**whole, "sum": _sum(_plain(whole))}, indent=1) + "\n", "utf-8")
    _flush(place / MANIFEST)
    place.chmod(0o777 & ~_umask())  # a temporary folder is private; a finished one is as any other


def _replace(made: Path, target: Path) -> None:
    """Move the finished folder into place; an earlier one steps aside first and is removed last."""
    aside = made.with_name(made.name + ".old")
    if target.exists():
        os.rename(target, aside)
    try:
        os.rename(made, target)
    except BaseException:  # an interruption too: what was there before comes back
        if aside.exists():
            os.rename(aside, target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _ours(place: Path) -> bool:
    return place.is_dir() and ((place / MANIFEST).is_file() or not any(place.iterdir()))


def _foreign(place: Path) -> list[str]:
    """What lies in a folder of ours and is not ours."""
    if not (place / MANIFEST).is_file():
        return []
    try:
        own = {MANIFEST, *json.loads((place / MANIFEST).read_text("utf-8"))["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        own = {MANIFEST}  # a damaged manifest names nothing: nobody's files are removed on its word
    return sorted(path.name for path in place.iterdir() if path.name not in own)


def _flush(file: Path) -> None:
    with file.open("rb") as handle:
        os.fsync(handle.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _plain(facts: Mapping[str, Any]) -> bytes:
    return json.dumps(facts, sort_keys=True).encode()
