"""Spaces of a network's inner maps: what they were made of travels with the model, other weights are refused, pictures of any form fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import diffident as dd
from diffident import noise
from diffident.errors import InvalidSetting
from diffident.lessons import lives_in
from diffident.networks.frozen import SqueezeNet
from diffident.precondition import Learned
from diffident.recipes import recipe
from diffident.settings import Training
from diffident.spaces import space_from
from diffident.spaces.activations import Activations
from diffident.spaces.features import Features

SMALL = Features(sizes=(64,), grid=8)


def pictures(n: int, height: int = 32, width: int = 32, channels: int = 1, seed: int = 0) -> torch.Tensor:
    return 2 * noise.uniform((n, channels, height, width), "pictures", seed) - 1


@pytest.fixture(scope="module")
def own_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of weights as somebody may have it: SqueezeNet's form, numbers drawn at random that keep a signal alive."""
    drawn = {name: noise.normal(shape, name) for name, shape in SqueezeNet.shapes().items()}
    path = tmp_path_factory.mktemp("weights") / "own.npz"
    np.savez(path, **{name: (t * (2 / t[0].numel()) ** 0.5 if t.ndim > 1 else 0.1 * t).numpy() for name, t in drawn.items()})
    return path


def of(file: Path, grid: int = 8) -> Features:
    found = lives_in(recipe("inspection"), Training(space="features", features=str(file)))
    assert isinstance(found, Features)
    return replace(found, sizes=(64,), grid=grid)


def test_settings_and_weights_make_the_same_space_again(own_weights: Path) -> None:
    for made in (SMALL.learned(pictures(8)), of(own_weights).learned(pictures(8))):
        again = space_from(made.config(), made.tensors())
        assert again == made and torch.equal(again.encode(pictures(3, seed=1)), made.encode(pictures(3, seed=1)))


def test_other_weights_than_it_was_made_with_are_refused() -> None:
    with pytest.raises(InvalidSetting, match=r"the bundled weights of 'mobilenet_v2' are others .* than this space was made with \(0123"):
        space_from({**SMALL.config(), "digest": "0123456789abcdef"})


def test_other_numbers_make_another_model(own_weights: Path) -> None:
    made = of(own_weights)
    other = replace(made, weights={name: tensor + 1e-3 for name, tensor in made.weights.items()}, digest="")
    assert other.digest != made.digest and len(made.digest) == 64


def test_the_bundled_weights_stay_in_the_package_and_those_of_a_file_travel(own_weights: Path, tmp_path: Path) -> None:
    known = np.random.default_rng(0).uniform(0.3, 0.7, (12, 32, 32))
    how = {"housing": {"sizes": (64,), "grid": 2}, "vary": ()}
    bundled = dd.train(known, replace(recipe("inspection"), **how))
    own = dd.train(known, replace(recipe("inspection"), **how), features=str(own_weights))
    for name, model in (("bundled", bundled), ("own", own)):
        dd.save(model, tmp_path / name)
        again = dd.load(tmp_path / name)
        assert again.fingerprint == model.fingerprint
        assert np.array_equal(dd.Scorer(again, "inspection")(known[:3]).maps, dd.Scorer(model, "inspection")(known[:3]).maps)
    inside = {name: [key for file in (tmp_path / name).glob("weights*.safetensors") for key in load_file(file)] for name in ("bundled", "own")}
    assert not [key for key in inside["bundled"] if key.startswith("space.")]
    assert len([key for key in inside["own"] if key.startswith("space.")]) == len(SqueezeNet.shapes())


def test_usual_blocks_are_the_last_of_each_stride(own_weights: Path) -> None:
    made = of(own_weights)
    assert made.network == "squeezenet" and [made.net.blocks[block][1] for block in made.blocks] == [4, 8, 16]
    assert SMALL.blocks == (6, 10, 13)


@pytest.mark.parametrize(("height", "width", "grid"), [(32, 32, (8, 8)), (20, 80, (4, 16)), (90, 40, (12, 5))])
def test_pictures_keep_their_proportions(height: int, width: int, grid: tuple[int, int]) -> None:
    asked = pictures(2, height, width)
    elements = SMALL.encode(asked)
    assert elements.shape == (2, 192, *grid)
    back = SMALL.map_back(elements.square(), (height, width))
    assert back.shape == (2, height, width) and back.max() <= elements.square().mean(1).max() + 1e-6
    assert SMALL.bands(elements, (height, width)).shape == (2, 1, *grid)


def test_each_input_size_is_a_band_of_its_own() -> None:
    two = Features(sizes=(64, 32), grid=4)
    elements = two.encode(pictures(2))
    assert two.groups == 2 and elements.shape == (2, 384, 4, 4)
    torch.testing.assert_close(two.bands(elements, (32, 32))[:, 1], Features(sizes=(32,), grid=4).encode(pictures(2)).mean(1))


def test_grey_is_seen_as_a_colour_without_hue_and_a_place_moves_with_its_picture() -> None:
    grey = pictures(2)
    assert torch.equal(SMALL.encode(grey), SMALL.encode(grey.expand(-1, 3, -1, -1)))
    spot = torch.zeros(1, 1, 64, 64)
    spot[..., 28:36, 42:50] = 1
    found = (SMALL.encode(spot) - SMALL.encode(torch.zeros(1, 1, 64, 64))).square().mean(1)[0]
    assert divmod(int(found.argmax()), 8) in [(y, x) for y in (3, 4) for x in (5, 6)]


@pytest.mark.parametrize("style", [0.5, 1.0])
def test_style_is_each_pictures_own_mean_and_deviation_taken_off_in_part(style: float) -> None:
    plain = replace(SMALL, style=0.0).encode(pictures(3))
    mean, deviation = plain.mean((2, 3), keepdim=True), plain.std((2, 3), keepdim=True, correction=0)
    found = replace(SMALL, style=style).encode(pictures(3))
    torch.testing.assert_close(found, (plain - style * mean) / (deviation + 0.1) ** style)
    assert style < 1 or found.mean((2, 3)).abs().max() < 1e-4


def test_scales_make_every_block_count_alike() -> None:
    space = Features(sizes=(64,), grid=8, style=0.0)
    elements = space.learned(pictures(16)).encode(pictures(16))
    spread = (elements - elements.mean((0, 2, 3), keepdim=True)).square().mean((0, 2, 3))
    widths = [space.net.blocks[block][0] for block in space.blocks]
    assert [part.mean().item() for part in spread.split(widths)] == pytest.approx([1.0] * 3, rel=0.01)


def test_the_control_has_the_same_form_and_other_numbers() -> None:
    control = SMALL.untrained(1)
    assert control.blocks == SMALL.blocks and control.digest != SMALL.digest and control.tensors()
    assert not torch.equal(control.encode(pictures(1)), SMALL.encode(pictures(1)))


def test_what_a_network_cannot_show_is_refused() -> None:
    for wrong, words in (
        ({"blocks": (99,)}, "has no block 99"),
        ({"sizes": (16,)}, "input sizes of 32 pixels or more"),
        ({"sizes": ()}, "need blocks and input sizes"),
        ({"scales": (1.0,)}, "one scale for each of 3 blocks at each of 1 sizes; got 1"),
        ({"grid": 0}, "a place or more a side"),
        ({"style": 2.0}, "a share from 0 to 1"),
    ):
        with pytest.raises(InvalidSetting, match=words):
            Features(**{"sizes": (64,), "grid": 8, **wrong})
    with pytest.raises(InvalidSetting, match="are for models that live in 'features', and this one lives in 'pixels'"):
        dd.train(np.random.default_rng(0).uniform(size=(20, 8, 8)), "reconstruction", features="mobilenet_v2")
    with pytest.raises(InvalidSetting, match="activations are those of a learned denoiser, and none is given"):
        Activations().encode(pictures(1))
    with pytest.raises(InvalidSetting, match="lies above 0"):
        Activations(claimed=0.0)


@pytest.fixture(scope="module")
def learned() -> dd.Model:
    known = np.random.default_rng(0).uniform(0.3, 0.7, (40, 32, 32))
    return dd.train(known, "inspection", features="own", vary=(), images_seen=64, batch=32, width=32)


def test_features_of_the_models_own_network_need_no_other(learned: dd.Model, tmp_path: Path) -> None:
    assert isinstance(learned.space, Activations) and isinstance(learned.space.denoiser, Learned)
    asked = np.random.default_rng(1).uniform(0.3, 0.7, (25, 32, 32))
    asked[24, 8:20, 8:20] = 0
    dd.save(learned, tmp_path / "own")
    again = dd.load(tmp_path / "own")
    assert again.fingerprint == learned.fingerprint and again.space == learned.space
    detector = dd.Detector(again, dd.Recipe(**{**vars(recipe("inspection")), "space": "activations"})).fit(asked[:24])
    assert detector(asked[24]).p <= 2 / 25


def test_activations_of_a_picture_are_its_own(learned: dd.Model) -> None:
    asked = pictures(19, seed=3)
    together, order = learned.space.encode(asked), torch.randperm(19, generator=torch.Generator().manual_seed(0))
    assert torch.equal(learned.space.encode(asked[order]), together[order]) and torch.equal(learned.space.encode(asked[7:8]), together[7:8])
    assert not torch.equal(learned.space.untrained(1).encode(asked[:1]), together[:1])


def test_the_control_of_a_model_with_features_of_its_own_has_learned_none(learned: dd.Model) -> None:
    control, again, asked = learned.untrained(1), learned.untrained(1), pictures(16, seed=5)
    assert control.fingerprint == again.fingerprint != learned.untrained(2).fingerprint and not control.seen
    kept = learned.space.tensors()
    assert all(not torch.equal(tensor, kept[name]) for name, tensor in control.space.tensors().items() if "weight" in name and tensor.numel() > 1)
    assert 0.3 < control.encode(asked).std() < 3, "scales are those of the random network"
    elsewhere = replace(learned, space=SMALL.learned(pictures(8)))
    assert elsewhere.untrained(1).space == elsewhere.space
