"""What every step promises; and pictures of arrows that lie any way, in which a part stands apart."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from ..noise import normal, uniform
from ..steps import Step, step_from
from .promise import demand, name


def arrow(shape: tuple[int, int, int], x: float, y: float, angle: float, length: float) -> Float[Tensor, "c h w"]:
    """A dark arrow on a bright background, its middle at (x, y) in pixels, its point towards ``angle`` (radians from x down to y).

    Its shaft is a tenth of its length wide, its head a third of it; edges are soft by a pixel.
    """
    channels, height, width = shape
    across, down = torch.arange(width) - x, torch.arange(height)[:, None] - y
    along = across * math.cos(angle) + down * math.sin(angle)
    aside = (down * math.cos(angle) - across * math.sin(angle)).abs()
    shaft = torch.maximum(aside - 0.05 * length, (along + 0.1 * length).abs() - 0.4 * length)
    head = torch.maximum(0.2 * length - along, (aside + 0.55 * (along - 0.5 * length)) / math.hypot(1, 0.55))
    return (0.4 - 0.9 * (0.5 - torch.minimum(shaft, head)).clamp(0, 1)).expand(channels, height, width)


def arrows(many: int, shape: tuple[int, int, int], seed: int = 0) -> Float[Tensor, "many c h w"]:
    """Arrows at random places and angles with a little noise, in [-1, 1]; each lies wholly in its picture."""
    drawn = uniform((many, 3), "arrows", seed)
    side = min(shape[1:])
    made = []
    for (x, y, turn), noise in zip(drawn.tolist(), normal((many, *shape), "arrows", seed), strict=True):
        centre = [(extent - 1) / 2 + (place - 0.5) * 0.25 * side for extent, place in ((shape[2], x), (shape[1], y))]
        made.append((arrow(shape, centre[0], centre[1], 2 * math.pi * turn, 0.6 * side) + 0.02 * noise).clamp(-1, 1))
    return torch.stack(made)


def _prepared(step: Step, shape: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    items = arrows(5, shape, seed=3)
    items[4] = 0.3 * normal(shape, "arrows", 4).clamp(-1, 1)  # and one in which there is nothing
    return items, step(items)


def _an_item_is_prepared_alone_as_in_company(step: Step, shape: tuple[int, int, int]) -> None:
    items, together = _prepared(step, shape)
    order = torch.tensor([3, 1, 4, 0, 2])
    demand(torch.equal(step(items[order]), together[order]), f"{name(step)} prepares items differently in another order")
    demand(torch.equal(step(items[1:2]), together[1:2]), f"{name(step)} prepares an item differently alone")


def _prepared_items_are_of_the_shape_it_states(step: Step, shape: tuple[int, int, int]) -> None:
    items, prepared = _prepared(step, shape)
    stated = (len(items), *step.shape(shape))
    demand(tuple(prepared.shape) == stated, f"{name(step)} prepares items as {tuple(prepared.shape)} and states {stated}")


def _prepared_items_are_items_still(step: Step, shape: tuple[int, int, int]) -> None:
    """Not much beyond [-1, 1], where an item was no other than those learned from."""
    prepared = _prepared(step, shape)[1][:4]
    low, high = float(prepared.min()), float(prepared.max())
    demand(low >= -1.5 and high <= 1.5, f"{name(step)} prepares ordinary items to values from {low:.3g} to {high:.3g}; -1.5 to 1.5 is the most")


def _an_item_is_left_as_it_was(step: Step, shape: tuple[int, int, int]) -> None:
    items = arrows(2, shape, seed=3)
    before = items.clone()
    demand(torch.equal(step(items), step(items)) and torch.equal(items, before), f"{name(step)} alters what it is given, or answers otherwise the second time")


def _it_comes_back_from_its_tensors(step: Step, shape: tuple[int, int, int]) -> None:
    again = step_from(json.loads(json.dumps(step.config())), {key: tensor.clone() for key, tensor in step.tensors().items()})
    items, prepared = _prepared(step, shape)
    maps = prepared.mean(1)
    same = torch.equal(again(items), prepared) and torch.equal(again.map_back(maps, items), step.map_back(maps, items))
    demand(same and again.config() == step.config(), f"{name(step)} prepares differently once it is made of its tensors again")


def _it_learns_the_same_twice(step: Step, shape: tuple[int, int, int]) -> None:
    first, second = (type(step).learn(arrows(12, shape, seed=6)) for _ in range(2))
    same = first.config() == second.config() and all(torch.equal(tensor, second.tensors()[key]) for key, tensor in first.tensors().items())
    demand(same, f"{name(step)} learns otherwise from the same items")


def _maps_come_back_in_the_items_geometry(step: Step, shape: tuple[int, int, int]) -> None:
    items, prepared = _prepared(step, shape)
    found = step.map_back(torch.full_like(prepared[:, 0], 0.7), items)
    demand(tuple(found.shape) == (len(items), *shape[1:]), f"{name(step)} brings maps back as {tuple(found.shape[1:])}; items are {shape[1:]}")
    demand(bool(torch.isfinite(found).all()), f"{name(step)} brings a constant map back with values that are not finite")


def _what_stands_out_stays_where_it_was(step: Step, shape: tuple[int, int, int]) -> None:
    """The arrow itself, as a map, lies over the arrow in the item."""
    items, prepared = _prepared(step, shape)
    found = step.map_back(-prepared[:4].mean(1), items[:4]).flatten(1)
    alike = min(float(torch.corrcoef(torch.stack(pair))[0, 1]) for pair in zip(found, -items[:4].mean(1).flatten(1), strict=True))
    demand(alike >= 0.8, f"{name(step)} brings a map of the item's own darkness back with a correlation of {alike:.2f} with the item; .8 is the least")


#: in the order in which they are checked
STEP: tuple[Callable[[Step, tuple[int, int, int]], None], ...] = (
    _an_item_is_prepared_alone_as_in_company,
    _prepared_items_are_of_the_shape_it_states,
    _prepared_items_are_items_still,
    _an_item_is_left_as_it_was,
    _it_comes_back_from_its_tensors,
    _it_learns_the_same_twice,
    _maps_come_back_in_the_items_geometry,
    _what_stands_out_stays_where_it_was,
)
