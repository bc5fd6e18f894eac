"""Heads that tell failed samples, as columns of the table: not taught, taught by the model itself, taught with 200 verdicts, and moved elsewhere.

A head reads the recipe ``introspection``, as it is or with its noise levels told in deviations of the data, or that and the posterior spread. What
is ordinary comes from the model's own samples, without verdicts, and from real items.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from benchmarks.known_truth import BETWEEN, FAILURE, Case, generate
from diffident.calibration.head import Head
from diffident.levels import angular
from diffident.probes import FEW
from diffident.recipes import Reading, Recipe, recipe
from diffident.teaching import train_head
from diffident.trajectory import Trajectory
from diffident.walks import Clean, Renoise, Sampled, Walk

Read = Callable[[Tensor, Trajectory], np.ndarray]

#: Real items that a head may know; samples that it learns from; labels, and samples among which the strangest are labelled.
BANK, OWN, LABELS, AMONG = 2000, 512, 200, 1000
#: Of samples that are not those of the table.
OWN_SEED, LABEL_SEED = 11, 7


@lru_cache(maxsize=1)
def own(case: Case) -> Trajectory:
    """Samples that tell what is ordinary on the way, without verdicts."""
    ((_, film),) = generate(case.model, case.sampler, OWN, OWN_SEED + case.seed, OWN)
    return film


#: What is read: the recipe as it is, its levels in deviations of the data, and the posterior spread beside that.
SHIPPED, SCALED, SPREAD = "shipped", "scaled", "spread"


@lru_cache(maxsize=256)
def asked(case: Case, what: str) -> Recipe:
    """The recipe that a head reads."""
    shipped = recipe("introspection")
    if what == SHIPPED:
        return shipped
    readings = tuple(_scaled(one, case.unit) for one in shipped.readings)
    if what == SPREAD:
        elements = int(np.prod(case.model.shape))
        settings = {"elements": elements} if elements <= FEW else {}
        readings += (Reading(Clean(angular([0.1 * case.unit])), "posterior_spread", settings, "spread"),)
    return replace(shipped, name=f"introspection, {what}", readings=readings)


def _scaled(one: Reading, unit: float) -> Reading:
    """The reading with levels told in deviations of the data."""
    walk, settings = one.walk, {name: of * unit if name in ("low", "high") else of for name, of in one.settings.items()}
    if isinstance(walk, Clean | Renoise):
        walk = replace(walk, grid=angular([sigma / alpha * unit for alpha, sigma in walk.grid]))
    return replace(one, walk=walk, settings=settings, name=one.label)


@lru_cache(maxsize=3)
def heard(case: Case, film: Trajectory, what: str) -> np.ndarray:
    """What the recipe reads of the samples of a film, (n, k), in the columns of a head."""
    samples, films, readings = film.origin, dict[Walk, Trajectory](), asked(case, what).readings
    for walk in dict.fromkeys(one.walk for one in readings):
        probes = [probe for one in readings if one.walk == walk for probe in one.of.asked(one.settings)]
        films[walk] = film if isinstance(walk, Sampled) else walk(case.model.denoiser, samples, list(dict.fromkeys(probes)))
    return np.concatenate([one.of.numbers(films[one.walk], one.settings).numpy() for one in readings], axis=1)


@lru_cache(maxsize=256)
def by_itself(case: Case, what: str) -> Head:
    """Taught with labels that the model makes itself: its own samples beside real items."""
    real = [case.model.modality.stored(one) for one in case.world.real(BANK, 0).numpy()]
    head = train_head(replace(case.model, chunk=OWN), real, recipe=asked(case, what), sampler=case.sampler, samples=OWN, fakes=("own",)).head
    if head is None:
        raise RuntimeError(f"the model of {case.name} came back without a head; see diffident.teaching")
    return head


def untaught(case: Case, what: str) -> Head:
    """All readings weigh the same."""
    head = by_itself(case, what)
    return replace(head, weights=np.full(len(head.weights), 1 / len(head.weights)), bias=0.0, labelled=0)


@lru_cache(maxsize=1)
def _labelled(case: Case) -> Trajectory:
    """Samples to be labelled, which are not those of the table."""
    ((_, film),) = generate(case.model, case.sampler, AMONG, LABEL_SEED + case.seed, AMONG)
    return film


def _taught(case: Case, what: str, rows: np.ndarray) -> Head:
    """Taught with the verdicts on those samples; where none of them is a failure it stays as the model taught it."""
    with torch.no_grad():
        values, verdicts = heard(case, _labelled(case), what)[rows], case.verdict(_labelled(case).origin)[rows]
    clear, bad, head = verdicts != BETWEEN, verdicts == FAILURE, by_itself(case, what)
    return head.taught(values[clear], bad[clear]) if bad.any() and not bad[clear].all() else head


@lru_cache(maxsize=256)
def with_labels(case: Case, what: str) -> Head:
    """With verdicts on 200 samples as they come."""
    return _taught(case, what, np.arange(LABELS))


@lru_cache(maxsize=256)
def with_chosen(case: Case, what: str) -> Head:
    """With verdicts on 100 samples as they come and on the 100 that an untaught head finds the strangest of the others."""
    half = LABELS // 2
    with torch.no_grad():
        strange = untaught(case, what).score(heard(case, _labelled(case), what)[half:])
    return _taught(case, what, np.append(np.arange(half), half + np.argsort(-strange, kind="stable")[:half]))


Of = Callable[[Case, str], Head]


def home(case: Case) -> Case:
    """The fully trained model of the same world and its DDIM sampler of 50 steps."""
    return replace(case, length="complete", solver="ddim", steps=50)


@lru_cache(maxsize=6)
def voices(case: Case, film: Trajectory, what: str, taught: Case) -> np.ndarray:
    """What each reading says, (n, g): the same for all heads of a case, however they were taught."""
    return by_itself(taught, what).voices(heard(case, film, what))


def reading(of: Of, what: str, where: Callable[[Case], Case] = lambda case: case) -> Callable[[Case], Read]:
    """What a head says of each sample; ``where`` it was taught, if not in the case itself."""

    def make(case: Case) -> Read:
        head = of(where(case), what)
        return lambda _, film: head.bias + voices(case, film, what, where(case)) @ head.weights

    return make
