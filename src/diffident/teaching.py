"""Teaches a finished model to tell its own failures, with labels that it can make itself and with people's where there are any."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from . import noise
from .calibration.head import Head
from .data import Items
from .errors import InvalidSetting, ItemError, NoItems, SeenInTraining, TooFewItems
from .generators.choice import SAMPLER
from .generators.own import OwnGenerator
from .introspection import Introspection, asked_of
from .levels import Levels
from .model import Model
from .recipes import Recipe
from .requests import requests, seeds_of
from .scores import Scores
from .walks import Sample

#: Fewer known-good items, or samples, say too little of what is ordinary.
LEAST = 20

#: A sampler is hurried by taking one step where it took so many; weights are spoiled by so much of their own deviation.
HURRY, SPOIL = 5, 0.3


def train_head(
    model: Model,
    known_good: Any,
    *,
    recipe: str | Recipe | None = None,
    sampler: Sample | None = None,
    samples: int = 512,
    fakes: Sequence[str] = ("own",),
    seed: int = 0,
) -> Model:
    """The model with a head that tells its failures from its good samples: new, the old one is unchanged, and so is its fingerprint.

    What is ordinary: for readings that ask about a finished sample, what they say of ``known_good``; for readings off the way, what they say of
    the model's own samples, of which most are good. How much each reading counts is learned with labels that the model makes itself:

    * ``own``: known-good items against the model's own samples: where it fails at all, it fails there;
    * ``hurried``: its samples against samples in a fifth of the steps;
    * ``spoiled``: its samples against samples of the same network with weights that were disturbed;
    * ``outliers``: known-good items against blends of two and items with their quarters exchanged.

    These are no people's labels: fakes are easier to tell than real failures, which is why no weight can become negative and why a guard
    still calibrates with a trial of its own. Teach further with people's labels: ``Guard.fit`` does, with a third of its trial.

    Args:
        known_good: items that the model was not trained on.
        recipe: what is read; None: what a guard of this model reads.
        sampler: how samples are made; None: DDIM in 50 steps. A head serves other samplers too; the trial shows how well.
        samples: of the model's own, and of each kind of fakes.
        fakes: which of the four.
        seed: of all that is drawn.

    Raises:
        SeenInTraining: items that trained the model.
        TooFewItems: fewer than 20.
        InvalidSetting: fakes of another name, none, or a model that makes no samples.

    Source: proper scoring rules for a head on a generator's own features after 2512.05927; the density ratio of samples and data as in Goodfellow et al. 2014.
    """
    unknown = [name for name in fakes if name not in FAKES]
    if unknown or not fakes:
        raise InvalidSetting(f"fakes are some of {', '.join(FAKES)}; got {', '.join(map(str, unknown)) or 'none'}")
    lesson = _Lesson(model, recipe, sampler or SAMPLER, samples, seed)
    items = _unseen(model, known_good)
    real, own = lesson.introspection.real(items), lesson.samples_of(model, lesson.sampler, "own")
    head = Head.of(*lesson.apart(own)[:1], real) if lesson.introspection.watches else Head.of(real)
    good, bad = list[np.ndarray](), list[np.ndarray]()
    for name in fakes:
        ordinary, fake = FAKES[name](lesson, items, real, own)
        good.append(lesson.filled(ordinary, head))
        bad.append(lesson.filled(fake, head))
    values, said = np.concatenate([*good, *bad]), np.repeat([False, True], [sum(map(len, good)), sum(map(len, bad))])
    return replace(model, head=replace(head.taught(values, said), reads=lesson.introspection.recipe.fingerprint))


class _Lesson:
    """What is taught from: samples of a model by a sampler, read by a recipe."""

    def __init__(self, model: Model, asked: str | Recipe | None, sampler: Sample, samples: int, seed: int) -> None:
        if samples < LEAST:
            raise TooFewItems(f"a head is taught with {LEAST} samples of the model or more; got {samples}")
        self.model, self.sampler, self.count, self.seed = model, sampler, samples, seed
        generator = OwnGenerator(model, sampler)
        self.introspection = Introspection(generator, asked_of(asked, generator))

    def samples_of(self, model: Model, sampler: Sample, what: str) -> Scores:
        """What is read off samples, with the questions put to the model that is taught."""
        wishes, parts = requests(list(model.kinds) or None, self.count, self.seed, what), []
        seeds = [one for i in range(self.count) for one in seeds_of(self.seed, i, 1, what)]
        generator = OwnGenerator(model, sampler)
        for start in range(0, self.count, model.chunk):
            some = wishes[start : start + model.chunk]
            made = sorted(generator.attempts(some, seeds[start : start + model.chunk]), key=lambda one: one.index)
            parts.append(self.introspection.hear(made, [one.kind for one in some]).scores)
        return Scores.merge(parts)

    def apart(self, scores: Scores) -> tuple[Scores, Scores]:
        """The columns read off the way, and the others."""
        labels = {one.label for one in self.introspection.watches}
        way = [i for i, column in enumerate(scores.columns) if column.partition("[")[0] in labels]
        return _columns(scores, way), _columns(scores, [i for i in range(len(scores.columns)) if i not in way])

    def filled(self, scores: Scores, head: Head) -> np.ndarray:
        """Values in the columns of the head; what was not measured is what is ordinary, so that it says nothing."""
        whole = np.tile(np.concatenate([np.median(one, axis=0) for one in head.known]), (len(scores), 1))
        at = [head.columns.index(column) for column in scores.columns]
        whole[:, at] = scores.values
        return whole[np.isfinite(whole).all(axis=1)]


def _columns(scores: Scores, which: Sequence[int]) -> Scores:
    columns, tails, says = (tuple(of[i] for i in which) for of in (scores.columns, scores.tails, scores.says))
    return replace(scores, columns=columns, tails=tails, says=says, values=scores.values[:, list(which)])


def _unseen(model: Model, known_good: Any) -> Items:
    """The items, none of which trained the model."""
    items = model.modality.items(known_good)
    if len(items) < LEAST:
        raise TooFewItems(f"a head learns what is ordinary from {LEAST} known-good items or more, and 2,000 are better; got {len(items)}")
    seen = []
    for item in items:
        try:
            seen += [item.name] if model.modality.open(item).digest in model.seen else []
        except ItemError:
            continue
    if seen:
        raise SeenInTraining(
            f"{len(seen)} of {len(items)} items trained this model ({', '.join(seen[:3])}): what it says of them is not what it says of others; give items "
            "that were held out"
        )
    return items


def _own(lesson: _Lesson, items: Items, real: Scores, own: Scores) -> tuple[Scores, Scores]:
    return real, lesson.apart(own)[1]


def _hurried(lesson: _Lesson, items: Items, real: Scores, own: Scores) -> tuple[Scores, Scores]:
    grid = lesson.sampler.grid
    few = Levels(grid.alpha[::-HURRY][::-1], grid.sigma[::-HURRY][::-1])
    return own, lesson.samples_of(lesson.model, replace(lesson.sampler, grid=few), "hurried")


def _spoiled(lesson: _Lesson, items: Items, real: Scores, own: Scores) -> tuple[Scores, Scores]:
    stored = lesson.model.stored
    spoiled = {name: _disturbed(of, lesson.seed, i) for i, (name, of) in enumerate(sorted(stored.tensors().items()))}
    worse = replace(lesson.model, denoiser=type(stored).made_of(stored.config(), spoiled))
    return own, lesson.samples_of(worse, lesson.sampler, "spoiled")


def _disturbed(of: Tensor, seed: int, i: int) -> Tensor:
    """A tensor of weights under noise; what is no matrix of numbers stays."""
    if not of.is_floating_point() or of.ndim < 2:
        return of
    return of + SPOIL * of.std(correction=0) * noise.normal(tuple(of.shape), "spoiled", seed, i).to(of)


def _outliers(lesson: _Lesson, items: Items, real: Scores, own: Scores) -> tuple[Scores, Scores]:
    model, opened = lesson.model, []
    for item in items[: lesson.count]:
        try:
            opened.append(model.modality.open(item).values)
        except ItemError:
            continue
    if not opened:
        raise NoItems("none of the known-good items can be read")
    values = np.stack(opened)
    blends = (values + np.roll(values, len(values) // 2, axis=0)) / 2
    half = values.shape[-1] // 2
    exchanged = np.concatenate([values[..., half:], values[..., :half]], axis=-1)
    made = [model.modality.stored(one) for one in np.concatenate([blends, exchanged])]
    return real, lesson.introspection.real(made)


FAKES: dict[str, Callable[[_Lesson, Items, Scores, Scores], tuple[Scores, Scores]]] = {
    "own": _own,
    "hurried": _hurried,
    "spoiled": _spoiled,
    "outliers": _outliers,
}
