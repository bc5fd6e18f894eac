"""A trial: samples made for people to look at, with what was read off each, and the labels that people give them."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .errors import DamagedModel, InvalidSetting, NotLabelled, OutputError
from .rows import RowWriter
from .scores import Scores

FACTS, SCORES, HALF_WAY, LABELS, PICTURES = "trial.json", "scores.safetensors", "half-way.safetensors", "labels.csv", "samples"

#: Of the file of labels.
COLUMNS = ("sample", "request", "label")

#: What a label may be, and whether it says that the sample is a failure.
WORDS = {"good": False, "bad": True}


@dataclass(frozen=True, eq=False)
class Trial:
    """Attempts at ``n`` requests, ``tries`` each, none given up and none withheld.

    Attributes:
        scores: what was read off each attempt; the attempts of the first request first, ``n * tries`` rows.
        tries: attempts at each request.
        asked: what each request was for, (n,), for people.
        half_way: what the way said of each attempt half-way, for policies that give hopeless ones up; None if it was not read.
        share: of the way after which that was.
        declined: per request, empty or why the gate declined it before anything was made, (n,).
        folder: where it lies; None if it was not kept.
    """

    scores: Scores
    tries: int
    asked: tuple[str, ...]
    half_way: Scores | None = None
    share: float = 0.5
    declined: tuple[str, ...] = ()
    folder: Path | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "declined", self.declined or ("",) * len(self.asked))
        if len(self.scores) != self.tries * len(self.asked):
            raise DamagedModel(f"a trial of {len(self.asked)} requests with {self.tries} tries has {len(self.scores)} scores; make it again")

    def __len__(self) -> int:
        """How many requests there were."""
        return len(self.asked)

    def labels(self, given: Any = None) -> np.ndarray:
        """Which attempts are failures, (n, tries): 1 failure, 0 good, NaN where nobody said; only whole requests are left unsaid.

        Args:
            given: a labels file as :meth:`save` writes it, with ``good`` or ``bad`` in its last column; labels by the names of the
                samples; or an array (n, tries) or (n * tries,), true for a failure. None reads the labels file of the trial's own folder.

        Raises:
            NotLabelled: no labels at all, or some attempts of a request without one.
            InvalidSetting: a label that is neither, or names and shapes that do not fit.
        """
        source = self.folder / LABELS if given is None and self.folder is not None else given
        if source is None:
            raise NotLabelled("this trial lies in no folder and no labels were given; give labels=, an array that is true for failures, or keep it with out=")
        said = self._named(_read(Path(source)) if isinstance(source, str | Path) else source)
        found = said.reshape(len(self), self.tries)
        unsaid = np.isnan(found)
        torn = np.flatnonzero(unsaid.any(axis=1) & ~unsaid.all(axis=1))
        if len(torn) or unsaid.all():
            which = f"the first is {self.scores.names[torn[0] * self.tries + int(np.flatnonzero(unsaid[torn[0]])[0])]}" if len(torn) else "none has one"
            raise NotLabelled(
                f"{int(unsaid.sum())} of {found.size} samples have no label, {which}; write good or bad beside every sample of a request, or beside none "
                "of them: a request without labels is left out. Leave requests out as they come, not by how they look"
            )
        return found

    def _named(self, said: Any) -> np.ndarray:
        """Labels in the order of the scores, 1 for a failure, NaN for none."""
        if not isinstance(said, Mapping) and len(said) == len(self.scores) and all(isinstance(one, str) for one in said):
            said = dict(zip(self.scores.names, said, strict=True))
        if not isinstance(said, Mapping):
            flat = np.asarray(said, dtype=np.float64).reshape(-1)
            if flat.shape != (len(self.scores),) or not np.isin(flat[~np.isnan(flat)], (0.0, 1.0)).all():
                raise InvalidSetting(f"labels are true or false for each of {len(self.scores)} samples; got {np.shape(said)}")
            return flat
        foreign = sorted(set(said) - set(self.scores.names))
        if foreign:
            raise InvalidSetting(f"labels name {foreign[0]!r}, and no sample of this trial is called that; its samples are {self.scores.names[0]} and so on")
        wrong = [f"{name}: {word!r}" for name, word in said.items() if str(word).strip().lower() not in {"", *WORDS}]
        if wrong:
            raise InvalidSetting(f"a label is {' or '.join(WORDS)}; got {wrong[0]}{f' and {len(wrong) - 1} more' if len(wrong) > 1 else ''}")
        words = (str(said.get(name, "")).strip().lower() for name in self.scores.names)
        return np.array([np.nan if not word else float(WORDS[word]) for word in words])

    def save(self, folder: str | Path) -> Path:
        """Write scores and a labels file to be filled in, beside pictures that are there already. Labels that are there are never written over.

        Raises:
            OutputError: it cannot be written, or another trial lies there.
        """
        place = _untaken(Path(folder))
        try:
            place.mkdir(parents=True, exist_ok=True)
            facts = {"format": 1, "tries": self.tries, "asked": list(self.asked), "share": self.share, "declined": list(self.declined)}
            self.scores.save(place / SCORES)
            if self.half_way is not None:
                self.half_way.save(place / HALF_WAY)
            with RowWriter(place / LABELS, COLUMNS) as rows:
                for i, name in enumerate(self.scores.names):
                    rows.write({"sample": name, "request": self.asked[i // self.tries], "label": ""})
            (place / FACTS).write_text(json.dumps(facts, indent=1) + "\n", "utf-8")  # last: what has it is whole
        except OSError as error:
            raise OutputError(f"cannot write {place}: {error.strerror or error}; make room or choose another place") from error
        return place

    @staticmethod
    def load(folder: str | Path) -> Trial:
        """Read what :meth:`save` wrote.

        Raises:
            DamagedModel: it is no trial, or not whole.
        """
        place = Path(folder)
        try:
            facts = json.loads((place / FACTS).read_text("utf-8"))
            half_way = Scores.load(place / HALF_WAY) if (place / HALF_WAY).exists() else None
            said = facts["tries"], tuple(facts["asked"]), half_way, facts["share"], tuple(facts["declined"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DamagedModel(
                f"{place} holds no whole trial ({type(error).__name__}: {error}); make one with: diffident generate MODEL -n 300 -o {place} --unreviewed"
            ) from error
        return Trial(Scores.load(place / SCORES), *said, folder=place)


def empty(folder: str | Path) -> Path:
    """The folder, if a trial can be written there.

    Raises:
        OutputError: something lies there already.
    """
    return _untaken(Path(folder), begun=())


def _untaken(place: Path, begun: Sequence[str] = (PICTURES,)) -> Path:
    """The same, where pictures of this very trial lie there already."""
    if place.exists() and (not place.is_dir() or any(one.name not in begun for one in place.iterdir())):
        raise OutputError(f"{place} is there already and may hold labels that somebody gave; choose another name for the trial, or move it away first")
    return place


def keep_pictures(place: Path, pictures: Mapping[str, Any]) -> None:
    """Write pictures of samples as they come.

    Raises:
        OutputError: they cannot be written.
    """
    try:
        (place / PICTURES).mkdir(parents=True, exist_ok=True)
        for name, picture in pictures.items():
            picture.save(place / PICTURES / f"{name}.png")
    except OSError as error:
        raise OutputError(f"cannot write {place}: {error.strerror or error}; make room or choose another place") from error


def _read(path: Path) -> dict[str, str]:
    """A labels file by the names of its samples."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise NotLabelled(f"cannot read labels from {path} ({error}); give the labels.csv of a trial with good or bad in its last column") from error
    if not rows or not {"sample", "label"} <= set(rows[0]):
        raise NotLabelled(f"{path} has no columns sample and label; give the labels.csv of a trial with good or bad in its last column")
    return {row["sample"]: row["label"] or "" for row in rows}


def names(count: int, tries: int) -> Sequence[str]:
    """Of the samples of a trial.

    >>> names(2, 2)
    ['0001-1', '0001-2', '0002-1', '0002-2']
    """
    return [f"{i + 1:04d}-{j + 1}" for i in range(count) for j in range(tries)]
