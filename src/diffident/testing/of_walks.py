"""What every walk, probe and denoiser promises."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from .. import levels as grids
from ..denoiser import Denoiser, StoredDenoiser
from ..errors import InvalidSetting
from ..probes import Activations, Probe
from ..trajectory import Look
from ..walks import Clean, Walk, walk_from
from .promise import close, demand, name
from .worlds import World, gaussian_world, modes_world, sighted_world


def _it_visits_the_levels_it_states(walk: Walk) -> None:
    film = walk(gaussian_world().denoiser, gaussian_world().ordinary[:4])
    stated = torch.tensor(list(walk.levels), dtype=torch.float64)
    close(torch.stack([film.alpha, film.sigma], 1), stated, 1e-12, f"levels of {walk}")


def _it_costs_what_it_states(walk: Walk) -> None:
    """And activations that are watched on the way cost nothing more."""
    counted = _Counting(sighted_world().denoiser)
    walk(counted, sighted_world().ordinary[:4], [Activations()] if walk.evaluations else [])  # where nothing is asked nothing can be watched
    demand(counted.asked == walk.evaluations, f"{walk} asked {counted.asked} times and states {walk.evaluations} evaluations")


def _the_record_is_what_was_asked(walk: Walk) -> None:
    world = gaussian_world()
    film = walk(world.denoiser, world.ordinary[:4])
    items, recorded = world.ordinary[:4], []
    for x, alpha, sigma in zip(film.x, film.alpha.tolist(), film.sigma.tolist(), strict=True):
        asked = Look(alpha, sigma, x, world.denoiser(x, alpha, sigma))
        recorded.append(replace(asked, denoised=walk.answer(world.denoiser, asked, items, recorded)))
    close(film.denoised, torch.stack([look.denoised for look in recorded]), 1e-9, f"the answers recorded by {walk}")


def _an_item_is_walked_alone_as_in_company(walk: Walk) -> None:
    for world in (gaussian_world(), gaussian_world((5,))):
        together, alone = walk(world.denoiser, world.ordinary[:4]), walk(world.denoiser, world.ordinary[:1])
        close(alone.x, together.x[:, :1], 1e-9, f"{walk}, an item alone")


def _it_repeats_itself_and_leaves_items_alone(walk: Walk) -> None:
    world = gaussian_world()
    items, before = world.ordinary[:4], world.ordinary[:4].clone()
    first, second = walk(world.denoiser, items), walk(world.denoiser, items)
    demand(torch.equal(first.x, second.x) and torch.equal(first.denoised, second.denoised), f"{walk} leaves another record the second time")
    demand(torch.equal(items, before), f"{walk} alters the items")


def _it_is_plain_data(walk: Walk) -> None:
    again = walk_from(json.loads(json.dumps(walk.config())))
    demand(again == walk and hash(again) == hash(walk), f"{walk} does not survive being written as JSON: it came back as {again}")


def _it_refuses_items_in_words(walk: Walk) -> None:
    """It has no answer to give: its record is handed in."""
    demand(walk.evaluations == 0, f"{walk} asks nothing and states {walk.evaluations} evaluations")
    try:
        walk(gaussian_world().denoiser, gaussian_world().ordinary[:4])
    except InvalidSetting:
        return
    demand(False, f"{walk} says that its record is handed in, and walks items all the same")


class _Counting(Denoiser):
    """Counts how often it is asked, under a condition too."""

    def __init__(self, inner: Denoiser, whole: _Counting | None = None) -> None:
        self.inner, self.whole, self.asked = inner, whole, 0

    def __call__(self, x_t: Tensor, alpha: float | Tensor, sigma: float | Tensor) -> Tensor:
        self._count()
        return self.inner(x_t, alpha, sigma)

    def watched(self, x_t: Tensor, alpha: float | Tensor, sigma: float | Tensor, streams: Sequence[str]) -> tuple[Tensor, Mapping[str, Tensor]]:
        self._count()
        return self.inner.watched(x_t, alpha, sigma, streams)

    def given(self, condition: object) -> Denoiser:
        return _Counting(self.inner.given(condition), self.whole or self)

    def _count(self) -> None:
        counted = self.whole or self
        counted.asked += 1


def _look(items: Tensor, denoiser: Denoiser) -> Look:
    return Look(0.8, 0.6, items, denoiser(items, 0.8, 0.6))


def _world(probe: Probe) -> World[Denoiser]:
    """One in which the probe can be asked: with a network, if it looks at one."""
    return sighted_world() if probe.watches else modes_world()


def _a_probe_answers_for_each_item_alone(probe: Probe) -> None:
    world = _world(probe)
    together = probe(world.denoiser, _look(world.ordinary[:6], world.denoiser))
    alone = probe(world.denoiser, _look(world.ordinary[2:3], world.denoiser))
    demand(len(together) == 6, f"{probe} gave {tuple(together.shape)} for 6 items")
    close(alone, together[2:3], 1e-4 if probe.watches else 1e-9, f"{probe}, an item alone")  # kernels of networks round by the batch


def _a_probe_repeats_itself(probe: Probe) -> None:
    world = _world(probe)
    look = _look(world.ordinary[:6], world.denoiser)
    demand(torch.equal(probe(world.denoiser, look), probe(world.denoiser, look)), f"{probe} answers differently the second time")


def _a_probe_costs_what_it_states(probe: Probe) -> None:
    """On a walk, beside the walk's own questions; a product is an evaluation too, with its derivative."""
    world, walk = _world(probe), Clean(grids.angular([0.3, 1.0]))
    counted = _Counting(world.denoiser)
    walk(counted, world.ordinary[:4], [probe])
    asked, stated = counted.asked - walk.evaluations, (probe.cost.evaluations + probe.cost.products) * len(walk.levels)
    demand(asked == stated, f"{probe} asked the model {asked} times at {len(walk.levels)} looks and states {stated}: {probe.cost} a look")


def _seen(denoiser: Denoiser, shape: tuple[int, ...]) -> Tensor:
    return torch.randn(5, *shape, generator=torch.Generator().manual_seed(4))


def _levels_may_be_one_per_item(denoiser: Denoiser, shape: tuple[int, ...]) -> None:
    x = _seen(denoiser, shape)
    alphas, sigmas = torch.linspace(0.9, 0.5, len(x)), torch.linspace(0.2, 1.0, len(x))
    each = torch.cat([denoiser(x[i : i + 1], a.item(), s.item()) for i, (a, s) in enumerate(zip(alphas, sigmas, strict=True))])
    close(denoiser(x, alphas, sigmas), each, 1e-4, f"{name(denoiser)} with one level per item")


def _an_item_is_answered_alone_as_in_company(denoiser: Denoiser, shape: tuple[int, ...]) -> None:
    x = _seen(denoiser, shape)
    close(denoiser(x[1:2], 0.7, 0.7), denoiser(x, 0.7, 0.7)[1:2], 1e-4, f"{name(denoiser)}, an item alone")


def _it_comes_back_from_its_tensors(denoiser: Denoiser, shape: tuple[int, ...]) -> None:
    if isinstance(denoiser, StoredDenoiser):
        again = type(denoiser).made_of(json.loads(json.dumps(denoiser.config())), {key: tensor.clone() for key, tensor in denoiser.tensors().items()})
        again = again.at(denoiser.precision)  # which is no part of what is kept
        x = _seen(denoiser, shape)
        demand(torch.equal(again(x, 0.7, 0.7), denoiser(x, 0.7, 0.7)), f"{name(denoiser)} answers differently once it is made of its tensors again")


def _its_control_is_of_its_kind_and_size_and_knows_nothing_of_it(denoiser: Denoiser, shape: tuple[int, ...]) -> None:
    if isinstance(denoiser, StoredDenoiser):
        control, again, other = (denoiser.untrained(seed) for seed in (0, 0, 1))
        sizes = [{key: tensor.shape for key, tensor in one.tensors().items()} for one in (denoiser, control)]
        demand(type(control) is type(denoiser) and sizes[0] == sizes[1], f"the control of {name(denoiser)} is of another kind or size: {sizes[1]}")
        x = _seen(denoiser, shape)
        answers = [one(x, 0.7, 0.7) for one in (denoiser, control, again, other)]
        demand(torch.equal(answers[1], answers[2]), f"the control of {name(denoiser)} is another one the second time, of one seed")
        demand(
            not any(torch.equal(answers[1], one) for one in (answers[0], answers[3])),
            f"the control of {name(denoiser)} answers as {name(denoiser)} or as another seed does",
        )


def _pure_noise_is_answered_with_the_mean(denoiser: Denoiser, shape: tuple[int, ...]) -> None:
    found = denoiser(_seen(denoiser, shape), 0.0, 1.0)
    close(found, found[:1].expand_as(found), 1e-4, f"{name(denoiser)} at alpha = 0, where x says nothing")


#: in the order in which they are checked
WALK: tuple[Callable[[Walk], None], ...] = (
    _it_visits_the_levels_it_states,
    _it_costs_what_it_states,
    _the_record_is_what_was_asked,
    _an_item_is_walked_alone_as_in_company,
    _it_repeats_itself_and_leaves_items_alone,
    _it_is_plain_data,
)


#: of a walk whose record is handed in
RECORDED: tuple[Callable[[Walk], None], ...] = (_it_refuses_items_in_words, _it_is_plain_data)


#: in the order in which they are checked
PROBE: tuple[Callable[[Probe], None], ...] = (_a_probe_answers_for_each_item_alone, _a_probe_repeats_itself, _a_probe_costs_what_it_states)


#: in the order in which they are checked
DENOISER: tuple[Callable[[Denoiser, tuple[int, ...]], None], ...] = (
    _levels_may_be_one_per_item,
    _an_item_is_answered_alone_as_in_company,
    _pure_noise_is_answered_with_the_mean,
    _it_comes_back_from_its_tensors,
    _its_control_is_of_its_kind_and_size_and_knows_nothing_of_it,
)
