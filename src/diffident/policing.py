"""What a guard has learned from a trial: how signals become one number, when a sample is given up, and below which number it is released."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import noise
from .calibration import needed, needed_trials, release_threshold, withhold_threshold
from .calibration.head import Head
from .calibration.risk import Approved, Certified
from .errors import DamagedModel, InvalidSetting, NotLabelled, TooFewReferences
from .release import Release
from .scores import Scores
from .trial import Trial

#: Of the requests of a trial, the share that the head learns from, before the rest calibrates.
LEARNS = 1 / 3


@dataclass(frozen=True, eq=False)
class Policed:
    """A policy with the numbers that make it hold.

    Attributes:
        release: the policy.
        head: signals to strangeness.
        half_way: the same of what the way says half-way; None where nothing is given up.
        hopeless: above it a sample is given up half-way.
        share: of the way after which that is.
        certified: the threshold below which samples are released, and what stands behind it.
        references: what was read off samples of the calibrating part that count as ordinary: those labelled good, or all where there are no labels.
        strangeness: theirs, (n,).
        history: of the first attempts of the calibrating part, in order: what a drifting stream is told from.
        labelled: how many samples had labels.
    """

    release: Release
    head: Head
    half_way: Head | None
    hopeless: float
    share: float
    certified: Certified | Approved
    references: Scores
    strangeness: np.ndarray
    history: np.ndarray
    labelled: int

    def config(self) -> dict[str, Any]:
        """All but the arrays, for JSON."""
        numbers = {"hopeless": self.hopeless if math.isfinite(self.hopeless) else None, "share": self.share, "labelled": self.labelled}
        heads = {"head": self.head.to_config(), "half_way": None if self.half_way is None else self.half_way.to_config()}
        return {"release": self.release.to_config(), "certified": self.certified.to_config(), **numbers, **heads}

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays by name; the references are kept apart."""
        half_way = {} if self.half_way is None else {f"half_way.{name}": of for name, of in self.half_way.arrays().items()}
        heads = {f"head.{name}": of for name, of in self.head.arrays().items()} | half_way
        return heads | {"strangeness": self.strangeness, "history": self.history}

    @property
    def nothing(self) -> str:
        """Empty, or why nothing can be released at all."""
        found = self.certified
        return self.release.promise(found) if isinstance(found, Certified) and found.always_withholds else ""

    @staticmethod
    def from_config(config: Mapping[str, Any], arrays: Mapping[str, np.ndarray], references: Scores) -> Policed:
        """Read back what :meth:`config` and :meth:`arrays` wrote.

        Raises:
            DamagedModel: a part is missing.
        """

        def head(name: str) -> Head:
            return Head.from_config(config[name], {key.removeprefix(f"{name}."): of for key, of in arrays.items()})

        try:
            half_way = head("half_way") if config["half_way"] is not None else None
            hopeless = math.inf if config["hopeless"] is None else float(config["hopeless"])
            policy, certified = Release.from_config(config["release"]), _certified_from(config["certified"])
            return Policed(
                policy, head("head"), half_way, hopeless, config["share"], certified, references, arrays["strangeness"], arrays["history"], config["labelled"]
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedModel(f"a guard is described incompletely ({type(error).__name__}: {error}); fit it again") from error


def policed(trial: Trial, labels: Any, release: Release, head: Head | None = None, seed: int = 0) -> Policed:
    """What a policy needs to hold, from a trial.

    A third of the requests, drawn by ``seed``, teaches: what is ordinary, with labels how much each signal counts, and where hopeless
    samples are given up. The others calibrate the whole procedure, tries and giving up included. A ``head`` that was taught before needs no
    third where there are no labels and nothing is given up.

    Args:
        labels: see :meth:`diffident.trial.Trial.labels`; None looks for those of the trial's folder, and goes without where there are none.

    Raises:
        NotLabelled: a bound on the risk of what is released, and no labels.
        InvalidSetting: more tries than the trial made, or giving up half-way where nothing was read there.
        TooFewReferences: too few requests for what is asked.
    """
    found, count = _labels(trial, labels, release), trial.tries
    if release.tries > count:
        raise InvalidSetting(
            f"the policy tries {release.tries} times and the trial made {count} attempts at each request; make a trial with tries={release.tries}"
        )
    if release.early is not None and trial.half_way is not None and trial.share != release.share:
        raise InvalidSetting(f"the trial was read after {trial.share:g} of the way and the policy looks after {release.share:g}; make a trial with that share")
    if release.early is not None and trial.half_way is None:
        raise InvalidSetting("the policy gives hopeless samples up half-way, and nothing was read half-way in this trial; make another, or leave out early")
    usable = np.array([not why for why in trial.declined]) & (True if found is None else ~np.isnan(found).any(axis=1))
    rows = np.flatnonzero(usable)
    drawn = rows[noise.order(len(rows), "policed", seed).numpy()]
    learns = round(LEARNS * len(rows)) if head is None or found is not None or release.early is not None else 0
    first, rest = np.sort(drawn[:learns]), np.sort(drawn[learns:])
    values = _each(trial.scores, count)
    if learns < 4 and head is None:
        lost = len(trial) - len(rows)
        said = f" ({lost} of {len(trial)} were declined by the gate or have no label)" if lost else ""
        raise TooFewReferences(f"a third of {len(rows)} requests{said} is too few to learn what is ordinary; make a trial of 60 or more")
    bad = None if found is None else found > 0
    taught = _taught(head, trial.scores, values[first], first, bad, count)
    half_way, hopeless = _half_way(trial, release, first, bad)
    strangeness = _strangeness(taught, values[rest][:, : release.tries])
    if half_way is not None and trial.half_way is not None:
        strangeness[half_way.score(trial.half_way.values).reshape(-1, count)[rest][:, : release.tries] > hopeless] = math.inf
    certified = _certified_or_refused(strangeness, None if bad is None else bad[rest][:, : release.tries], release, len(rows), bool(learns))
    ordinary = np.isfinite(strangeness) & (True if bad is None else ~bad[rest][:, : release.tries])
    at = (rest[:, None] * count + np.arange(release.tries))[ordinary]
    if not len(at):
        raise TooFewReferences(f"none of {strangeness.size} samples is labelled good; a guard needs good ones to tell from others")
    return Policed(
        release,
        taught,
        half_way,
        hopeless,
        trial.share,
        certified,
        trial.scores.select(at),
        strangeness[ordinary],
        strangeness[:, 0],
        0 if bad is None else bad[rows].size,
    )


def _labels(trial: Trial, labels: Any, release: Release) -> np.ndarray | None:
    try:
        return trial.labels(labels)
    except NotLabelled as refusal:
        if labels is not None or release.risk is not None:
            raise NotLabelled(
                f"how often what is released fails cannot be bounded without labels: {refusal}. Without labels only how often samples are withheld can be "
                "bounded: Release(withhold=0.05)"
            ) from refusal
        return None


def _each(scores: Scores, tries: int) -> np.ndarray:
    """(n, tries, k)."""
    return scores.values.reshape(-1, tries, len(scores.columns))


def _taught(head: Head | None, scores: Scores, values: np.ndarray, rows: np.ndarray, bad: np.ndarray | None, tries: int) -> Head:
    """A head of what is ordinary in the part that teaches, taught with its labels where it has failures and good ones."""
    if not len(rows):
        return _required(head, scores)
    said = np.zeros(values.shape[:2], dtype=bool) if bad is None else bad[rows]
    good = (rows[:, None] * tries + np.arange(tries))[~said]
    if head is None and len(good) < 2:
        raise TooFewReferences(
            f"{len(good)} of {said.size} samples of the third that teaches are labelled good; a guard needs good ones to know what is ordinary"
        )
    made = Head.of(scores.select(good)) if head is None else _required(head, scores)
    return _with_labels(made, values.reshape(-1, values.shape[2]), said.reshape(-1))


def _with_labels(head: Head, values: np.ndarray, bad: np.ndarray) -> Head:
    """Taught, where those that can be heard are good and bad; a sample whose numbers are none is never released, whatever the weights."""
    heard = bad[np.isfinite(head.voices(values)).all(axis=1)]
    return head.taught(values, bad) if heard.any() and not heard.all() else head


def _required(head: Head | None, scores: Scores) -> Head:
    if head is None:
        raise TooFewReferences("no request is left to learn from; give at least 60")
    head.require(scores.columns)
    return head


def _half_way(trial: Trial, release: Release, rows: np.ndarray, bad: np.ndarray | None) -> tuple[Head | None, float]:
    """What is ordinary half-way, and above which number a sample is given up: a share ``early`` of the good lies there."""
    if release.early is None or trial.half_way is None:
        return None, math.inf
    good = (rows[:, None] * trial.tries + np.arange(trial.tries))[np.ones((len(rows), trial.tries), bool) if bad is None else ~bad[rows]]
    known = trial.half_way.select(good)
    head = Head.of(known)
    if bad is not None and bad[rows].any():
        every = (rows[:, None] * trial.tries + np.arange(trial.tries)).reshape(-1)
        head = _with_labels(head, trial.half_way.values[every], bad[rows].reshape(-1))
    said = np.sort(head.score(known.values))
    return head, float(said[min(math.ceil((len(said) + 1) * (1 - release.early)), len(said)) - 1])


def _strangeness(head: Head, values: np.ndarray) -> np.ndarray:
    """(n, tries); infinite where a number is none: such a sample is never released."""
    found = head.score(values.reshape(-1, values.shape[2])).reshape(values.shape[:2])
    return np.where(np.isnan(found), math.inf, found)


def _certified_from(config: Mapping[str, Any]) -> Certified | Approved:
    return Certified.from_config(config) if "risk" in config else Approved.from_config(config)


def _certified_or_refused(strangeness: np.ndarray, bad: np.ndarray | None, release: Release, count: int, learns: bool) -> Certified | Approved:
    """The threshold, or a refusal that names how many requests the whole trial needs, the third that teaches among them."""
    try:
        return _certified(strangeness, bad, release)
    except TooFewReferences as refusal:
        least = needed_trials(release.risk, release.confidence) if release.risk is not None else needed(release.level)
        enough = next(n for n in itertools.count(least) if n - (round(LEARNS * n) if learns else 0) >= least)
        raise TooFewReferences(f"{refusal}: of the {count} requests of this trial {len(strangeness)} calibrate, so make one of {enough} or more") from refusal


def _certified(strangeness: np.ndarray, bad: np.ndarray | None, release: Release) -> Certified | Approved:
    if release.risk is not None and bad is not None:
        return release_threshold(strangeness, bad, release.risk, release.confidence)
    served = np.ones(len(strangeness), dtype=bool) if bad is None else (~bad).any(axis=1)
    return withhold_threshold(strangeness[served], release.withhold or 0.05)
