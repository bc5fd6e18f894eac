"""A patch memory is the nearest-neighbour search that it claims to be, covers what it was made of, and always the same way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import diffident as dd
from diffident.errors import InvalidSetting, WrongShape
from diffident.patches import Patches, coreset


def drawn(n: int, *shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed))


def farthest(patches: torch.Tensor, chosen: torch.Tensor) -> float:
    return torch.cdist(patches, patches[chosen]).amin(1).max().item()


def test_as_sigma_falls_the_residual_is_the_squared_distance_to_the_nearest_patch() -> None:
    memory, asked = Patches(drawn(200, 12)), drawn(5, 12, 3, 7, seed=1)
    answers = memory(asked, 1.0, 0.005)
    patches = asked.flatten(2).transpose(1, 2).flatten(0, 1)
    nearest = torch.cdist(patches, memory.bank).amin(1).square().reshape(5, 3, 7)
    torch.testing.assert_close((asked - answers).square().sum(1), nearest, rtol=1e-4, atol=1e-4)


def test_under_high_noise_the_answer_is_the_mean_of_the_memory() -> None:
    memory = Patches(drawn(50, 4))
    answers = memory(drawn(2, 4, 6, seed=1), 0.001, 1.0)
    torch.testing.assert_close(answers, memory.bank.mean(0)[None, :, None].expand(2, 4, 6), rtol=0, atol=0.02)


def test_a_coreset_covers_better_with_every_vector_and_than_chance_does() -> None:
    patches = torch.cat([drawn(300, 80), 20 + drawn(5, 80, seed=1)])
    covers = [farthest(patches, coreset(patches, count)) for count in (1, 5, 40, 200)]
    assert covers == sorted(covers, reverse=True) and covers[-1] < 0.5 * covers[0]
    assert (coreset(patches, 5) >= 300).any(), "what lies apart is found at once"
    assert len(set(coreset(patches, 200).tolist())) == 200


def test_the_same_items_are_remembered_alike_and_another_seed_may_choose_others() -> None:
    items = drawn(20, 70, 4, 4)
    banks = [Patches.fitted(items, share=0.1, seed=seed).bank for seed in (0, 0, 1)]
    assert banks[0].shape == (32, 70) and torch.equal(banks[0], banks[1]) and not torch.equal(banks[0], banks[2])
    assert len(Patches.fitted(items, share=1.0, most=50).bank) == 50


@pytest.mark.parametrize("grid", [(3, 3), (5, 7), (13,)], ids=str)
def test_an_item_is_answered_alike_anywhere_in_a_chunk(grid: tuple[int, ...]) -> None:
    memory, chunk = Patches(drawn(61, 5)), drawn(16, 5, *grid, seed=2)
    answers, order = memory(chunk, 1.0, 0.3), torch.randperm(16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(memory(chunk[order], 1.0, 0.3), answers[order]) and torch.equal(memory(chunk[3:4], 1.0, 0.3), answers[3:4])


def test_a_patch_is_known_wherever_it_lies() -> None:
    memory, item = Patches.fitted(drawn(10, 6, 4, 4), share=1.0), drawn(10, 6, 4, 4)[:1]
    moved = item.roll((1, 2), (2, 3))
    torch.testing.assert_close(memory(moved, 1.0, 0.001), moved)


def test_a_folder_gives_back_every_bit(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).uniform(0.3, 0.7, (40, 6, 6))
    model = dd.train(pictures, network="patches")
    dd.save(model, tmp_path / "m")
    assert dd.load(tmp_path / "m").fingerprint == model.fingerprint


def test_the_control_has_as_many_vectors_of_the_same_spread() -> None:
    memory = Patches(3 + 2 * drawn(500, 4))
    control = memory.untrained(1).bank
    assert control.shape == memory.bank.shape and torch.equal(control, memory.untrained(1).bank)
    torch.testing.assert_close(control.mean(0), memory.bank.mean(0), rtol=0.1, atol=0.1)
    torch.testing.assert_close(control.std(0), memory.bank.std(0), rtol=0.1, atol=0.1)


def test_what_is_no_memory_is_refused() -> None:
    with pytest.raises(WrongShape, match=r"got \(0, 3\)"):
        Patches(torch.zeros(0, 3))
    for wrong in ({"share": 0.0}, {"share": 1.5}, {"most": 0}):
        with pytest.raises(InvalidSetting, match="keeps a share from 0 to 1"):
            Patches.fitted(drawn(5, 3, 2, 2), **wrong)
