"""What every space and modality promises."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data import Item
from ..errors import ContractBroken, UnreadableItem
from ..modalities import Modality
from ..spaces import InvertibleSpace, Space
from .promise import close, demand, name


def _pictures() -> Tensor:
    return torch.rand(3, 3, 9, 7, generator=torch.Generator().manual_seed(5)) * 2 - 1


def _each_item_is_encoded_alone(space: Space) -> None:
    together = space.encode(_pictures())
    demand(len(together) == 3, f"{name(space)} encodes 3 items as {len(together)}")
    close(space.encode(_pictures()[1:2]), together[1:2], 1e-5, f"{name(space)}, an item alone")


def _maps_come_back_in_the_items_geometry(space: Space) -> None:
    found = space.map_back(space.encode(_pictures()).abs(), (9, 7))
    demand(tuple(found.shape) == (3, 9, 7), f"{name(space)} brings maps of 9 x 7 items back as {tuple(found.shape[1:])}")


def _strangeness_stays_where_it_was(space: Space) -> None:
    marked = torch.zeros(1, 3, 8, 8)
    marked[..., 6, 1] = 1.0
    found = space.map_back((space.encode(marked) - space.encode(torch.zeros_like(marked))).abs(), (8, 8))[0]
    row, column = divmod(int(found.argmax()), found.shape[1])
    demand(abs(row - 6) <= 4 and abs(column - 1) <= 4, f"{name(space)} maps a mark at (6, 1) back to ({row}, {column})")


def _decoding_undoes_encoding(space: Space) -> None:
    if isinstance(space, InvertibleSpace):
        close(space.decode(space.encode(_pictures()), (9, 7)), _pictures(), 1e-5, f"{name(space)}: decode(encode(items))")


def _an_item_can_be_looked_at(modality: Modality) -> None:
    shown = modality.picture(_item_of(modality))
    demand(min(shown.size) > 0, f"{name(modality)} makes pictures of {shown.size[0]} x {shown.size[1]} pixels")


def _an_item_of_known_values_is_opened(modality: Modality) -> None:
    opened = modality.open(_made(modality))
    demand(
        opened.values.dtype == np.float32 and tuple(opened.values.shape) == tuple(modality.shape),
        f"{name(modality)} opens items as {opened.values.dtype} {opened.values.shape}; it states float32 {modality.shape}",
    )
    demand(float(np.abs(opened.values).max()) <= 1.0, f"{name(modality)} leaves [-1, 1] on an ordinary item")


def _the_same_item_is_opened_the_same(modality: Modality) -> None:
    item = _made(modality)
    first, second = modality.open(item), modality.open(item)
    demand(
        np.array_equal(first.values, second.values) and first.digest == second.digest and first.vitals == second.vitals,
        f"{name(modality)} opens the same item differently",
    )


def _rubbish_is_refused_in_words(modality: Modality) -> None:
    try:
        modality.open(Item("rubbish", np.array(["not", "an", "item"])))
    except UnreadableItem as refusal:
        demand("rubbish" in str(refusal) or len(str(refusal)) > 20, f"{name(modality)} refuses without saying why: {refusal}")
    else:
        raise ContractBroken(f"{name(modality)} opened rubbish without a word")


def _known_good_items_are_within_depth(modality: Modality) -> None:
    vitals = [modality.open(_made(modality, seed)).vitals for seed in range(8)]
    for limit in modality.limits(vitals):
        for one in vitals:
            demand(
                limit.low <= one[limit.name] <= limit.high,
                f"{name(modality)}: a known-good item has {limit.name} = {one[limit.name]}, outside {limit.low} to {limit.high}",
            )


def _its_settings_are_plain_data(modality: Modality) -> None:
    again = type(modality).from_config(json.loads(json.dumps(modality.config())))
    demand(dataclasses.is_dataclass(modality) and again == modality, f"{modality} does not survive being written as JSON: it came back as {again}")


def _made(modality: Modality, seed: int = 0) -> Item:
    """An item as it would be stored."""
    return Item("made", modality.stored(_item_of(modality, seed)))


def _item_of(modality: Modality, seed: int = 0) -> np.ndarray:
    made: Any = np.random.default_rng(seed).uniform(-0.9, 0.9, modality.shape)
    return made.astype(np.float32)


#: in the order in which they are checked
SPACE: tuple[Callable[[Space], None], ...] = (
    _each_item_is_encoded_alone,
    _maps_come_back_in_the_items_geometry,
    _strangeness_stays_where_it_was,
    _decoding_undoes_encoding,
)


#: in the order in which they are checked
MODALITY: tuple[Callable[[Modality], None], ...] = (
    _an_item_can_be_looked_at,
    _an_item_of_known_values_is_opened,
    _the_same_item_is_opened_the_same,
    _rubbish_is_refused_in_words,
    _known_good_items_are_within_depth,
    _its_settings_are_plain_data,
)
