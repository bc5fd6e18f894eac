"""Networks: a signal of unit magnitude stays one, folding changes no answer, every size of item is taken."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from diffident import hardware
from diffident.errors import InvalidSetting
from diffident.networks import DTYPES, Network, folded, network, renormalise
from diffident.networks.layers import Weights

#: each network with the shape of an item that it takes
KINDS = {
    "picture": ("unet", {"channels": 1, "widths": [32, 32], "blocks": 1, "patch": 1}, (1, 8, 8)),
    "picture, patches": ("unet", {"channels": 3, "widths": [32, 64, 64], "blocks": 2, "patch": 2}, (3, 8, 8)),
    "series": ("unet", {"channels": 2, "dims": 1, "widths": [32, 32], "blocks": 1, "patch": 2}, (2, 33)),
    "row": ("mlp", {"shape": [5], "width": 32, "blocks": 2}, (5,)),
    "table": ("mlp", {"shape": [2, 3], "width": 32, "blocks": 1}, (2, 3)),
}
EACH = pytest.mark.parametrize("case", KINDS)


def drawn(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def made(case: str) -> Network:
    """With random weights, and gains of one: every part of it speaks."""
    torch.manual_seed(0)
    kind, settings, _ = KINDS[case]
    return speaking(network(kind, settings))


def speaking(quiet: Network) -> Network:
    quiet.load_state_dict({name: torch.ones_like(tensor) if name.endswith("gain") else tensor for name, tensor in quiet.state_dict().items()})
    return quiet


def items(case: str, count: int = 4) -> Tensor:
    return drawn(count, *KINDS[case][2])


def off(found: Tensor, wanted: Tensor) -> float:
    return ((found.float() - wanted).square().mean().sqrt() / wanted.square().mean().sqrt()).item()


@EACH
@torch.no_grad()
def test_folded_it_answers_as_in_training(case: str) -> None:
    trained, x = made(case), items(case)
    ready = folded(trained, "fp32")
    for level in (torch.tensor(-0.4), drawn(4, seed=2)):  # one for all takes the short way through the kernels
        assert off(ready(x, level), trained(x, level)) < 1e-4


@EACH
@torch.no_grad()
def test_half_the_bits_cost_less_than_three_percent(case: str) -> None:
    if hardware.precision("auto") != "bf16":
        pytest.skip(f"bfloat16 is emulated on this processor ({hardware.kind()}), and nobody asks for it here")
    trained, x = made(case), items(case)
    assert off(folded(trained, "bf16")(x.to(DTYPES["bf16"]), torch.tensor(-0.4)), trained(x, torch.tensor(-0.4))) < 0.03


@EACH
@torch.no_grad()
def test_folding_leaves_the_network_in_training_as_it_was(case: str) -> None:
    trained = made(case)
    before = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    folded(trained, "fp32")
    assert all(torch.equal(before[name], tensor) for name, tensor in trained.state_dict().items())
    assert all(parameter.requires_grad for parameter in trained.parameters())


@EACH
@torch.no_grad()
def test_bringing_weights_back_to_unit_changes_no_answer(case: str) -> None:
    trained, x, level = made(case), items(case), torch.tensor(0.3)
    for part in trained.modules():
        if isinstance(part, Weights):
            part.weight.mul_(drawn(len(part.weight), seed=3).abs().add(0.1).reshape(-1, *[1] * (part.weight.ndim - 1)))
    before = trained(x, level)
    renormalise(trained)
    assert off(trained(x, level), before) < 1e-5
    rows = [row.square().mean().item() for part in trained.modules() if isinstance(part, Weights) for row in part.weight.flatten(1)]
    assert rows == pytest.approx([1.0] * len(rows), rel=1e-4)


@torch.no_grad()
def test_weights_multiply_with_rows_of_their_scale_whatever_was_learned() -> None:
    weights = Weights(5, 3, (3, 3), scale=2.0)
    weights.weight.mul_(17.0)
    assert weights.matrix().flatten(1).norm(dim=1).tolist() == pytest.approx([2.0] * 5, rel=1e-5)


@pytest.mark.parametrize("width", [32, 64, 128])
@pytest.mark.parametrize("kind", ["unet", "mlp"])
@torch.no_grad()
def test_unit_items_make_answers_of_order_one_whatever_the_width(kind: str, width: int) -> None:
    torch.manual_seed(0)
    settings = {"unet": {"channels": 1, "widths": [width, width], "patch": 1}, "mlp": {"shape": [64], "width": width}}[kind]
    answer = speaking(network(kind, settings))(drawn(16, *((1, 8, 8) if kind == "unet" else (64,))), torch.tensor(0.0))
    assert 0.5 < answer.std().item() < 3.0


@EACH
@torch.no_grad()
def test_at_first_it_answers_nothing(case: str) -> None:
    kind, settings, _ = KINDS[case]
    assert network(kind, settings)(items(case), torch.tensor(0.0)).abs().max().item() == 0


@pytest.mark.parametrize("dims, size, patch", [(2, (3, 3), 1), (2, (13, 9), 2), (2, (1, 7), 1), (2, (9, 40), 4), (1, (5,), 1), (1, (33,), 4)])
@pytest.mark.parametrize("ready", [True, False], ids=["folded", "in training"])
@torch.no_grad()
def test_every_size_is_taken_and_kept(dims: int, size: tuple[int, ...], patch: int, ready: bool) -> None:
    torch.manual_seed(0)
    taken = speaking(network("unet", {"channels": 2, "dims": dims, "widths": [32, 32, 32], "blocks": 1, "patch": patch}))
    x = drawn(3, 2, *size)
    answer = (folded(taken, "fp32") if ready else taken)(x, torch.tensor(0.1))
    assert answer.shape == x.shape and torch.isfinite(answer).all() and answer.std() > 0.1


@torch.no_grad()
def test_one_network_is_asked_about_one_size_after_another() -> None:
    trained = made("picture")
    ready = folded(trained, "fp32")
    for size in (8, 12, 8, 5):  # the weights laid out for one size are not those for another
        x = drawn(2, 1, size, size)
        assert off(ready(x, torch.tensor(0.1)), trained(x, torch.tensor(0.1))) < 1e-4


@EACH
@torch.no_grad()
def test_one_level_per_item_or_one_for_all_is_the_same(case: str) -> None:
    for one in (made(case), folded(made(case), "fp32")):
        shared = one(items(case), torch.tensor(-0.7))
        assert off(one(items(case), torch.full((4,), -0.7)), shared) < 1e-4
        assert off(one(items(case), torch.tensor([-0.7, 0.0, 0.5, 1.0]))[1:], shared[1:]) > 1e-3  # and the level is heard


@EACH
@torch.no_grad()
def test_an_item_is_answered_alone_as_in_company(case: str) -> None:
    ready, x = folded(made(case), "fp32"), items(case)
    assert off(ready(x[2:3], torch.tensor(0.2)), ready(x, torch.tensor(0.2))[2:3]) < 1e-4


@EACH
@torch.no_grad()
def test_it_is_made_again_of_its_settings_and_weights(case: str) -> None:
    kind, settings, _ = KINDS[case]
    first = made(case)
    again = network(kind, first.settings())
    again.load_state_dict(first.state_dict())
    assert again.settings() == first.settings() and settings.items() <= first.settings().items()
    assert torch.equal(again(items(case), torch.tensor(0.2)), first(items(case), torch.tensor(0.2)))


@EACH
def test_every_weight_is_learned(case: str) -> None:
    trained = made(case)
    trained(items(case), drawn(4, seed=2)).square().sum().backward()
    silent = [name for name, parameter in trained.named_parameters() if parameter.grad is None or not parameter.grad.abs().sum() > 0]
    assert silent == []


REFUSED = {
    "unknown": ("transformer", {}, "no network called 'transformer'; there are: mlp, unet"),
    "odd width": ("unet", {"channels": 1, "widths": [48, 64]}, r"multiples of 32; got dims=2, widths=\(48, 64\)"),
    "no width": ("unet", {"channels": 1, "widths": []}, "multiples of 32"),
    "three dimensions": ("unet", {"channels": 1, "dims": 3}, "1 or 2 dimensions .* got dims=3"),
    "no such setting": ("mlp", {"shape": [3], "depth": 4}, "'mlp' cannot be made of .*depth"),
    "no shape": ("mlp", {}, "cannot be made of {}.*shape"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_built_is_refused_in_words(case: str) -> None:
    kind, settings, words = REFUSED[case]
    with pytest.raises(InvalidSetting, match=words):
        network(kind, settings)


def test_the_features_of_two_levels_are_told_apart() -> None:
    embedding = made("row").embedding
    features = [embedding(torch.tensor(level)) for level in torch.linspace(-1.7, 1.7, 30).tolist()]
    assert min((a - b).abs().max().item() for a, b in itertools.pairwise(features)) > 0.05
