"""Ways back from noise against known truth: pulled, restored, inpainted, compared from inside; and how probable an item is."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

import diffident as dd
from diffident import levels
from diffident.denoiser import Denoiser, GaussianMixture, Watched
from diffident.errors import InvalidSetting, NoActivations, WrongShape
from diffident.modalities.image import Image
from diffident.model import Model
from diffident.networks import MLP, UNet
from diffident.precondition import Learned
from diffident.probes import Activations, HutchinsonTrace
from diffident.recipes import Recipe, recipe, recipe_from, wavelet_semantic
from diffident.spaces import Settled
from diffident.spaces.haar import Haar
from diffident.spaces.pixels import Pixels
from diffident.statistics import find
from diffident.testing import World, gaussian_world, modes_world, sighted_world
from diffident.trajectory import Look, Trajectory
from diffident.walks import Compare, Descend, Encode, Inpaint, Reconstruct, Restore, Sample, walk_from


def unet(shape: tuple[int, ...] = (1, 8, 8), widths: tuple[int, ...] = (32, 32, 64), patch: int = 2, head: int = 32) -> Learned:
    """Of random weights, which speak."""
    net = UNet(shape[0], dims=len(shape) - 1, widths=widths, blocks=1, patch=patch, head=head)
    return Learned(net, torch.zeros(shape[0], *[1] * (len(shape) - 1)), torch.ones(shape[0], *[1] * (len(shape) - 1)), "fp32").untrained(3)


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def test_without_a_pull_the_way_back_is_that_of_a_reconstruction() -> None:
    world, plain = modes_world(n=8), Reconstruct(start=1.0, steps=6, end=0.1)
    expected, found = (walk(world.denoiser, world.strange) for walk in (plain, Descend(plain.levels.reversed(), pull=0.0, eta=0.0)))
    torch.testing.assert_close(found.denoised, expected.denoised)


def test_the_pull_is_the_corrected_noise_of_the_paper() -> None:
    """A literal reading of DDAD without its random part: correct the noise by how far x_t lies from the noised item."""
    world, grid, pull = modes_world(n=4), levels.part(levels.linear(40), 2, 11), 0.7
    film = Descend(grid, pull, eta=0.0)(world.denoiser, world.strange)
    x = film.x[0]
    for i, (a, s) in enumerate(grid.reversed()):
        torch.testing.assert_close(film.x[i], x)
        eps = (x - a * world.denoiser(x, a, s)) / s
        eps = eps - s * pull * (a * world.strange + s * eps - x)
        denoised = (x - s * eps) / a
        torch.testing.assert_close(film.denoised[i], denoised)
        if i + 1 < len(grid):
            x = film.alpha[i + 1] * denoised + film.sigma[i + 1] * eps


def test_a_pull_brings_the_reconstruction_nearer_to_the_item() -> None:
    world = modes_world()
    off = [(Descend(pull=pull)(world.denoiser, world.strange).denoised[-1] - world.strange).abs().mean().item() for pull in (0.0, 0.5, 1.0)]
    assert off[0] > off[1] > off[2]


def test_the_grid_of_the_paper_starts_at_a_quarter_of_its_schedule() -> None:
    bars = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    assert Descend().levels.alpha == pytest.approx([math.sqrt(bars[t]) for t in range(250, 0, -25)])


def test_restoring_moves_what_is_strange_and_leaves_what_is_ordinary() -> None:
    """As the paper writes it: x0 = x - s dev, then x0 + s' dev, from the item itself; scaled, since our levels shrink the item."""
    world, walk = modes_world(), Restore(start=0.8, steps=5, end=0.1)
    film = walk(world.denoiser, world.strange)
    x = world.strange
    ratios = [s / a for a, s in walk.levels]
    for i, ratio in enumerate(ratios):
        x0 = world.denoiser(x, 1.0, ratio)
        torch.testing.assert_close(film.denoised[i], x0)
        x = x0 + (ratios[i + 1] if i + 1 < len(ratios) else 0.0) * (x - x0) / ratio
    ordinary = walk(world.denoiser, world.ordinary)
    assert (film.denoised[-1] - film.origin).abs().mean() > 4 * (ordinary.denoised[-1] - ordinary.origin).abs().mean()


def smooth_world(shape: tuple[int, ...] = (1, 8, 8)) -> GaussianMixture:
    """Neighbours tell of each other."""
    dims = math.prod(shape)
    rows, columns = torch.arange(dims, dtype=torch.float64) // shape[-1], torch.arange(dims, dtype=torch.float64) % shape[-1]
    away = (rows[:, None] - rows).square() + (columns[:, None] - columns).square()
    covariance = 0.25 * torch.exp(-away / 8) + 0.001 * torch.eye(dims, dtype=torch.float64)
    return GaussianMixture(torch.zeros(1, *shape, dtype=torch.float64), covariance[None])


def conditional_mean(world: GaussianMixture, items: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """Of the hidden elements given the others; the others as they are."""
    cov, hides, flat = world.covariances[0], hidden.expand(items.shape[1:]).flatten(), items.flatten(1).clone()
    flat[:, hides] = flat[:, ~hides] @ torch.linalg.solve(cov[~hides][:, ~hides], cov[~hides][:, hides])
    return flat.reshape(items.shape)


def test_inpainting_with_a_perfect_model_comes_near_the_conditional_mean() -> None:
    """Seven times nearer than the mean of all, which ignores the surroundings; that itself is nearer than chance, an independent item."""
    world = smooth_world()
    items = world.draw(64, seed=1)
    walk = Inpaint(start=20.0, steps=40, end=0.02, cells=8)
    found, first = walk(world, items).denoised[-1], walk.hidden((1, 8, 8))
    best = torch.where(first, conditional_mean(world, items, first), conditional_mean(world, items, ~first))
    off, mean, chance = ((of - best).square().mean().item() for of in (found, torch.zeros_like(items), world.draw(64, seed=2)))
    assert off < 0.15 * mean < 0.15 * chance


def test_what_is_filled_in_owes_nothing_to_what_was_hidden() -> None:
    """Another item that differs only where the board hides is filled in the same there, from a start that is all but noise."""
    world, walk = smooth_world(), Inpaint(start=1e6, steps=20, end=0.05)
    items, hidden = world.draw(8, seed=1), walk.hidden((1, 8, 8))
    other = torch.where(hidden, world.draw(8, seed=5), items)
    found = [walk(world, of).denoised[walk.steps - 1] for of in (items, other)]  # the first board, filled in
    torch.testing.assert_close(found[0], found[1], atol=1e-4, rtol=0)
    assert torch.equal(found[0].masked_select(~hidden), items.masked_select(~hidden))


def test_a_board_has_as_many_cells_as_asked_and_both_hide_everything_once() -> None:
    board = Inpaint(cells=4).hidden((3, 8, 8))
    assert board.shape == (8, 8) and board[:2, :2].all() and not board[:2, 2:4].any() and not board[2:4, :2].any()
    for shape in ((5,), (2, 7), (3, 4, 4), (1, 2, 3, 4)):
        board = Inpaint(cells=8).hidden(shape)  # more cells than elements: every element one
        assert board.any() and not board.all() and abs(board.double().mean().item() - 0.5) < 0.11


@dataclass(frozen=True)
class ExactTrace(HutchinsonTrace):
    """One product for each element: no estimate."""

    def __call__(self, denoiser: Denoiser, look: Look) -> torch.Tensor:
        with torch.enable_grad():
            x = look.x.detach().requires_grad_(True)
            answer = denoiser(x, look.alpha, look.sigma).flatten(1)
            rows = [torch.autograd.grad(answer[:, i].sum(), x, retain_graph=True)[0].flatten(1)[:, i] for i in range(answer.shape[1])]
        return torch.stack(rows).sum(0)


EXACT = [(gaussian_world((2, 2), n=8), 100, 0.15), (gaussian_world((2, 2), n=8), 400, 0.04), (gaussian_world((2, 2), n=8), 2000, 0.01)]
EXACT += [(modes_world((3,), n=8), 400, 0.04), (modes_world((3,), n=8), 2000, 0.01)]


@pytest.mark.parametrize("world, steps, error", EXACT, ids=["gaussian, 100", "gaussian, 400", "gaussian, 2000", "modes, 400", "modes, 2000"])
def test_the_likelihood_is_the_exact_density_within_its_error(world: World, steps: int, error: float) -> None:
    """In nats per element, relative where the density is far from 1; it falls in proportion to the steps. Between modes 100 are too few."""
    d, grid = world.ordinary[0].numel(), levels.cosine(steps)
    for items in (world.ordinary, world.strange):
        found = find("likelihood").read(Encode(grid, clip=False)(world.denoiser, items, [ExactTrace()]))
        exact = -world.denoiser.log_density(items, grid.alpha[0], grid.sigma[0]) / d
        assert ((found - exact).abs() / exact.abs().clamp(min=1)).max().item() < error


def test_five_steps_rank_items_as_their_density_does() -> None:
    world = gaussian_world()
    items = torch.cat([world.ordinary, world.strange])
    found = find("likelihood").read(Encode(levels.cosine(5), clip=False)(world.denoiser, items, find("likelihood").probes))
    exact = -world.denoiser.log_density(items, 1.0, 0.003)
    assert np.corrcoef(found.argsort().argsort(), exact.argsort().argsort())[0, 1] > 0.95


def test_nothing_is_discrepant_in_a_perfect_reconstruction() -> None:
    """The item and an identical one, seen by one network; and a changed one is seen to differ."""
    model, items = unet(), drawn(3, 1, 8, 8)
    look = Compare()(model, items, find("semantic").probes)
    columns = {name: torch.stack([column[-2], column[-2]]) for name, column in look.columns.items()}
    perfect = Trajectory(look.alpha[-2:], look.sigma[-2:], look.x[-2:], items.expand(2, *items.shape), items, columns, None)
    assert torch.equal(find("semantic").map(perfect), torch.zeros_like(items))
    assert torch.equal(find("deviation").map(perfect), torch.zeros_like(items))
    assert (find("semantic").map(look) > 0).all()


def test_a_discrepancy_lies_over_the_change() -> None:
    """A change in a corner of the item is seen there, also where the size is no multiple of the coarsest grid."""
    model = unet((1, 20, 20), widths=(32, 32), patch=2)
    item = drawn(1, 1, 20, 20)
    changed = item.clone()
    changed[..., 16:, 16:] += 3.0
    low = levels.angular([0.08])
    looks = [model.watched(low.alpha[0] * of, low.alpha[0], low.sigma[0], ("deepest", "finest"))[1] for of in (item, changed)]
    columns = {f"activations {name}": torch.stack([look[name] for look in looks]) for name in ("deepest", "finest")}
    two = torch.ones(2)
    where = find("semantic").map(Trajectory(two, two, torch.stack([item, changed]), torch.stack([item, changed]), item, columns, None))[0, 0]
    assert where[16:, 16:].mean() > 5 * where[:8, :8].mean()


def test_a_comparison_ends_with_the_item_and_what_was_made_of_it() -> None:
    world, inner = modes_world(n=4), Reconstruct(start=0.5, steps=3)
    film, plain = Compare(inner, claimed=0.1)(world.denoiser, world.strange), inner(world.denoiser, world.strange)
    torch.testing.assert_close(film.x[-2] / film.alpha[-2], world.strange)
    torch.testing.assert_close(film.x[-1] / film.alpha[-1], plain.denoised[-1])
    torch.testing.assert_close(film.denoised[:3], plain.denoised)


def test_a_walk_inside_a_walk_comes_back_from_json() -> None:
    walk = Compare(Descend(levels.linear(10), pull=0.3))
    again = walk_from(json.loads(json.dumps(walk.config())))
    assert again == walk and hash(again) == hash(walk)


STREAMS = {
    "two dimensions": (unet((3, 9, 13)), {"down0": (32, 5, 7), "down1": (32, 3, 4), "deepest": (64, 2, 2), "up1": (32, 3, 4), "finest": (32, 5, 7)}),
    "one dimension": (unet((2, 21)), {"down0": (32, 11), "down1": (32, 6), "deepest": (64, 3), "up1": (32, 6), "finest": (32, 11)}),
    "one grid": (unet((1, 6, 6), widths=(32,)), {"deepest": (32, 3, 3), "finest": (32, 3, 3)}),
    "no grid": (Learned(MLP((5,), width=32, blocks=3), torch.zeros(5), torch.ones(5), "fp32").untrained(1), {"deepest": (32,), "finest": (32,)}),
}


@pytest.mark.parametrize("case", STREAMS)
def test_streams_cover_the_item_and_looking_changes_no_answer(case: str) -> None:
    model, expected = STREAMS[case]
    assert model.network.streams == tuple(expected)
    x = drawn(2, *{"two dimensions": (3, 9, 13), "one dimension": (2, 21), "one grid": (1, 6, 6), "no grid": (5,)}[case])
    answer, held = model.watched(x, 0.8, 0.6, tuple(expected))
    assert torch.equal(answer, model(x, 0.8, 0.6))
    assert {name: tuple(stream.shape[1:]) for name, stream in held.items()} == expected


def test_activations_are_averaged_over_cells() -> None:
    model, look = unet((1, 10, 10)), Reconstruct(steps=1)
    fine, coarse = (look(model, drawn(2, 1, 10, 10), [Activations("finest", pool)]).columns["activations finest"] for pool in (1, 2))
    assert fine.shape[-2:] == (5, 5) and coarse.shape[-2:] == (3, 3)
    torch.testing.assert_close(coarse[..., 0, 0], fine[..., :2, :2].mean((-1, -2)))
    torch.testing.assert_close(coarse[..., 2, 2], fine[..., 4, 4])


def test_what_is_watched_is_kept_beside_a_probe_that_asks_for_gradients() -> None:
    world = sighted_world(n=4)
    watched = Watched(Settled(world.denoiser, Pixels(), (4, 4)), ("deepest",))
    film = Reconstruct(steps=2)(watched, world.ordinary, [HutchinsonTrace(), Activations()])
    assert set(film.columns) == {"trace", "activations deepest"}


def test_a_network_without_attention_has_none_and_comes_back() -> None:
    model = unet(head=0)
    assert not any("attention" in name for name in model.tensors())
    again = Learned.made_of(json.loads(json.dumps(model.config())), model.tensors()).at("fp32")
    assert torch.equal(again(drawn(2, 1, 8, 8), 0.8, 0.6), model(drawn(2, 1, 8, 8), 0.8, 0.6))


def pictures(n: int) -> np.ndarray:
    return np.random.default_rng(n).uniform(0.2, 0.8, (n, 12, 12))


@pytest.mark.parametrize("name", ["conditioned", "deviation", "wavelet-semantic", "mask", "multi-start", "conditioned-pixels"])
def test_a_recipe_has_a_map_of_the_items_size(name: str) -> None:
    asked = recipe(name)
    space = Haar() if asked.space == "haar" else Pixels()
    shape = tuple(space.encode(torch.zeros(1, 1, 12, 12)).shape[1:])
    found = dd.Scorer(Model(unet(shape, widths=(32, 32)), Image(12, 12), space), asked).map(pictures(1)[0])
    assert found.shape == (12, 12) and np.isfinite(found).all() and found.std() > 0


ABLATIONS = {
    "all": (wavelet_semantic(), 21, 15),
    "one scale": (wavelet_semantic(starts=(0.33,)), 7, 5),
    "no wavelets": (wavelet_semantic(bands=1, space="pixels"), 21, 6),
    "nothing semantic": (wavelet_semantic(semantic=False), 15, 12),
}


@pytest.mark.parametrize("case", ABLATIONS)
def test_every_ingredient_can_be_left_out(case: str) -> None:
    asked, evaluations, columns = ABLATIONS[case]
    assert asked.cost.evaluations == evaluations and len(asked.readings) == columns
    assert bool(asked.watches) == (case != "nothing semantic")
    assert recipe_from(json.loads(json.dumps(asked.config()))) == asked


def test_bands_add_up_to_the_residual() -> None:
    space, world = Haar(), modes_world((4, 3, 3), n=4)
    film = replace(Reconstruct()(world.denoiser, world.strange), provenance={"space": str(space)})
    bands = [find("band_residual").numbers(film, {"band": band, "bands": 4, "last": True}) for band in range(4)]
    torch.testing.assert_close(torch.stack(bands).sum(0), find("residual").numbers(film, {"last": True}))


REFUSED = {
    "a pull away": (lambda: Descend(pull=-1.0), InvalidSetting, "pulled with 0 or more"),
    "downhill": (lambda: Descend(levels.linear(5).reversed()), InvalidSetting, "turn them with .reversed"),
    "one cell": (lambda: Inpaint(cells=1), InvalidSetting, "two cells or more"),
    "restored upward": (lambda: Restore(start=0.1, end=0.5), InvalidSetting, "0 < end < start"),
    "compared samples": (lambda: Compare(Sample()), InvalidSetting, "items that are given"),
    "no pool": (lambda: Activations(pool=0), InvalidSetting, "one position or more"),
    "no such stream": (lambda: unet().watched(drawn(1, 1, 8, 8), 0.8, 0.6, ("middle",)), NoActivations, "no stream called middle; it has: down0"),
    "no network": (lambda: Compare()(gaussian_world().denoiser, gaussian_world().ordinary, [Activations()]), NoActivations, "without a network"),
    "a third head": (lambda: unet(head=-1), InvalidSetting, "0 to leave attention out"),
    "a part of nothing": (lambda: levels.part(levels.linear(5), 3, 6), InvalidSetting, "got 3 to 6"),
    "five bands of four": (
        lambda: find("band_residual").read(Reconstruct()(modes_world((4, 2, 2)).denoiser, modes_world((4, 2, 2)).ordinary), band=0, bands=5),
        WrongShape,
        "no band 0 of 5",
    ),
    "one look": (
        lambda: find("semantic").read(Reconstruct(steps=1)(sighted_world().denoiser, sighted_world().ordinary, find("semantic").probes)),
        WrongShape,
        "take the walk Compare",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_means_nothing_is_refused_in_words(case: str) -> None:
    come_to_it, kind, words = REFUSED[case]
    with pytest.raises(kind, match=words):
        come_to_it()


def test_recipes_state_their_costs() -> None:
    costs = {name: str(recipe(name).cost) for name in ("conditioned", "deviation", "inversion", "mask", "multi-start")}
    assert costs == {
        "conditioned": "12 evaluations, 0 Jacobian products",
        "deviation": "7 evaluations, 0 Jacobian products",
        "inversion": "5 evaluations, 5 Jacobian products",
        "mask": "20 evaluations, 0 Jacobian products",
        "multi-start": "60 evaluations, 0 Jacobian products",
    }
    assert all(isinstance(recipe(name), Recipe) for name in costs)
