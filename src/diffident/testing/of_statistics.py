"""What every statistic promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from ..denoiser import Denoiser
from ..evaluate.ranking import auroc
from ..statistics import Statistic
from ..trajectory import Trajectory
from ..walks import Sample, Walk
from .promise import close, demand
from .worlds import WALKS, WORLDS, World


def _film(statistic: Statistic, walk: Walk, world: World[Denoiser], items: Tensor) -> Trajectory:
    return walk(world.denoiser, items, statistic.probes)


def _films(statistic: Statistic, items: str = "ordinary") -> Iterator[Trajectory]:
    """A record of every kind of walk in the statistic's own world."""
    world = WORLDS[statistic.world]()
    for walk in WALKS:
        if walk.draws >= statistic.draws:
            yield _film(statistic, walk, world, getattr(world, items)[:8])


def _every_number_is_finite(statistic: Statistic) -> None:
    for film in _films(statistic):
        found = statistic.numbers(film)
        demand(bool(torch.isfinite(found).all()), f"{statistic.name} is not finite on {film.walk}")


def _one_row_per_item(statistic: Statistic) -> None:
    for film in _films(statistic):
        demand(len(statistic.numbers(film)) == film.items, f"{statistic.name} gave no row per item on {film.walk}")
        if statistic.per_element:
            demand(statistic.map(film).shape == film.origin.shape, f"the map of {statistic.name} is not of the item's shape")


def _an_item_is_read_alone_as_in_company(statistic: Statistic) -> None:
    for film in _films(statistic):
        order = torch.randperm(film.items, generator=torch.Generator().manual_seed(3))
        together = statistic.numbers(film)
        close(statistic.numbers(film.select(order)), together[order], 1e-9, f"{statistic.name}, items in another order")
        close(statistic.numbers(film.select([2])), together[2:3], 1e-9, f"{statistic.name}, an item alone")


def _reading_changes_nothing(statistic: Statistic) -> None:
    for film in _films(statistic):
        before = [t.clone() for t in (film.x, film.denoised, film.origin)]
        first, second = statistic.numbers(film), statistic.numbers(film)
        demand(torch.equal(first, second), f"{statistic.name} gives other numbers when it is read again")
        demand(all(torch.equal(a, b) for a, b in zip(before, (film.x, film.denoised, film.origin), strict=True)), f"{statistic.name} alters the trajectory")


def _single_precision_suffices(statistic: Statistic) -> None:
    double, single = WORLDS[statistic.world](), WORLDS[statistic.world](dtype=torch.float32)
    for walk in (w for w in WALKS if w.draws >= statistic.draws):
        exact = statistic.numbers(_film(statistic, walk, double, double.ordinary[:8]))
        close(statistic.numbers(_film(statistic, walk, single, single.ordinary[:8])), exact, 2e-2, f"{statistic.name} in float32 on {walk}")


def _every_shape_of_item_is_read(statistic: Statistic) -> None:
    for shape in ((5,), (2, 7), (3, 4, 4), (1, 2, 3, 4)):
        world = WORLDS[statistic.world](shape=shape, n=4)
        demand(len(statistic.numbers(_film(statistic, WALKS[1], world, world.ordinary))) == 4, f"{statistic.name} fails on items of shape {shape}")


def _strange_items_stand_out_in_its_world(statistic: Statistic) -> None:
    """On at least one kind of walk some column separates strange from ordinary, in the tail it declares."""
    best = max(_separation(statistic, *pair) for pair in zip(_all(statistic, "ordinary"), _all(statistic, "strange"), strict=True))
    demand(best >= 0.9, f"{statistic.name}: in the world {statistic.world!r} strange items stand out with AUROC {best:.3f} at best; 0.9 is the least")


def _all(statistic: Statistic, items: str) -> Iterator[Tensor]:
    world = WORLDS[statistic.world]()
    for walk in (w for w in WALKS if w.draws >= statistic.draws and not isinstance(w, Sample)):  # a sample is not about the items given
        yield statistic.numbers(_film(statistic, walk, world, getattr(world, items)))


def _separation(statistic: Statistic, ordinary: Tensor, strange: Tensor) -> float:
    centre = ordinary.median(dim=0).values
    turned = {"upper": lambda v: v, "lower": lambda v: -v, "both": lambda v: (v - centre).abs()}[statistic.tail]
    labels = np.repeat([0, 1], [len(ordinary), len(strange)])
    columns = torch.cat([turned(ordinary), turned(strange)]).numpy().T
    return max(auroc(labels, column) for column in columns)


def _it_says_what_it_is(statistic: Statistic) -> None:
    demand(bool(statistic.says) and statistic.says[0].islower(), f"{statistic.name}: 'says' completes 'it ...', in lower case; it is {statistic.says!r}")
    for word in ("Shape:", "Unit:", "Sign:", "Source:", ">>>"):
        demand(word in statistic.doc, f"the docstring of {statistic.name} lacks {word!r}: shapes, units, sign, source and a runnable example belong to it")
    demand(statistic.world in WORLDS, f"{statistic.name} names the world {statistic.world!r}; there are: {', '.join(WORLDS)}")


#: in the order in which they are checked
STATISTIC: tuple[Callable[[Statistic], None], ...] = (
    _it_says_what_it_is,
    _every_number_is_finite,
    _one_row_per_item,
    _an_item_is_read_alone_as_in_company,
    _reading_changes_nothing,
    _single_precision_suffices,
    _every_shape_of_item_is_read,
    _strange_items_stand_out_in_its_world,
)
