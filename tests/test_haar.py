"""Haar: a rotation with an exact inverse, at every size and depth, and maps whose sums it keeps."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffident import levels
from diffident.data import Items
from diffident.denoiser import Denoiser, Empirical
from diffident.errors import InvalidSetting, WrongShape
from diffident.modalities.image import Image
from diffident.model import Model
from diffident.scorer import Scorer
from diffident.spaces import Settled, space_from
from diffident.spaces.haar import Haar
from diffident.spaces.pixels import Pixels
from diffident.walks import Encode

SIZES = [(8, 8), (16, 12), (9, 7), (1, 1), (1, 6), (5, 1), (3, 3), (17, 33), (13,), (16,), (1,), (3, 5, 4)]


def items(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def literal(picture: torch.Tensor) -> dict[str, torch.Tensor]:
    """One level of one channel (h, w), block by block as it is written in books; a lone row or column counts by itself."""
    height, width = picture.shape
    bands = {name: torch.zeros(-(-height // 2), -(-width // 2)) for name in ("LL", "LH", "HL", "HH")}
    for i in range(0, height, 2):
        for j in range(0, width, 2):
            a, at = float(picture[i, j]), (i // 2, j // 2)
            right, below = j + 1 < width, i + 1 < height
            b, c = float(picture[i, j + 1]) if right else 0.0, float(picture[i + 1, j]) if below else 0.0
            if right and below:
                d = float(picture[i + 1, j + 1])
                found = ((a + b + c + d) / 2, (a - b + c - d) / 2, (a + b - c - d) / 2, (a - b - c + d) / 2)
            elif right:
                found = ((a + b) / math.sqrt(2), (a - b) / math.sqrt(2), 0.0, 0.0)
            elif below:
                found = ((a + c) / math.sqrt(2), 0.0, (a - c) / math.sqrt(2), 0.0)
            else:
                found = (a, 0.0, 0.0, 0.0)
            for name, value in zip(bands, found, strict=True):
                bands[name][at] = value
    return bands


@pytest.mark.parametrize("size", [(8, 8), (9, 7), (2, 5), (1, 4), (1, 1)])
def test_one_level_is_the_transform_of_the_books(size):
    pictures = items(2, 3, *size)
    found = Haar().encode(pictures)
    for n in range(2):
        for c in range(3):
            for place, band in enumerate(literal(pictures[n, c]).values()):
                torch.testing.assert_close(found[n, 3 * place + c], band, atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [(8, 12), (9, 7), (3, 2)])
def test_two_levels_transform_the_coarse_picture_again_and_keep_the_documented_order(size):
    pictures = items(1, 2, *size)
    found, many = Haar(2).encode(pictures)[0], 2
    for c in range(many):
        fine = literal(pictures[0, c])
        for place, band in enumerate(literal(fine["LL"]).values()):
            torch.testing.assert_close(found[many * place + c], band, atol=1e-6, rtol=0)
        for place, name in enumerate(("LH", "HL", "HH")):
            first = many * 4 + place * many * 4 + c * 4
            for i, j in [(i, j) for i in range(fine[name].shape[0]) for j in range(fine[name].shape[1])]:
                stored = found[first + 2 * (i % 2) + j % 2, i // 2, j // 2]
                assert float(stored) == pytest.approx(float(fine[name][i, j]), abs=1e-6)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_what_is_encoded_comes_back_and_keeps_its_length(size, depth):
    space, given_ = Haar(depth), items(2, 3, *size)
    elements = space.encode(given_)
    assert elements.shape == (2, 3 * 2 ** (len(size) * depth), *(-(-side // 2**depth) for side in size))
    torch.testing.assert_close(space.decode(elements, size), given_, atol=1e-6, rtol=0)
    torch.testing.assert_close(elements.flatten(1).norm(dim=1), given_.flatten(1).norm(dim=1), atol=1e-5, rtol=1e-6)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_map_of_squared_errors_has_the_sum_it_has_in_pixels(size, depth):
    space, here, there = Haar(depth), items(2, 3, *size), items(2, 3, *size, seed=1)
    found = space.map_back((space.encode(here) - space.encode(there)).square(), size)
    plain = Pixels().map_back((here - there).square(), size)
    assert found.shape == plain.shape and bool((found >= 0).all())
    torch.testing.assert_close(found.flatten(1).sum(1), plain.flatten(1).sum(1), atol=1e-5, rtol=1e-5)


def test_an_element_is_spread_evenly_over_what_its_wavelet_touches():
    for depth, side in ((1, 2), (2, 4), (3, 8)):
        elements = torch.zeros(1, 4**depth, 16 // side, 16 // side)
        elements[0, 1, 0, 1] = 1.0  # LH of the coarsest level
        found = Haar(depth).map_back(elements, (16, 16))[0]
        expected = torch.zeros(16, 16)
        expected[:side, side : 2 * side] = 1 / side**2
        torch.testing.assert_close(found, expected)


@settings(max_examples=60, deadline=None)
@given(size=st.lists(st.integers(1, 11), min_size=1, max_size=2).map(tuple), channels=st.integers(1, 3), depth=st.integers(1, 4), seed=st.integers(0, 2**20))
def test_at_any_size_and_depth_the_transform_is_a_rotation(size, channels, depth, seed):
    space, here, there = Haar(depth), items(1, channels, *size, seed=seed), items(1, channels, *size, seed=seed + 1)
    inner = (space.encode(here) * space.encode(there)).sum()
    torch.testing.assert_close(inner, (here * there).sum(), atol=1e-4, rtol=1e-4)  # angles stay, so lengths do
    torch.testing.assert_close(space.decode(space.encode(here), size), here, atol=1e-6, rtol=0)


def test_an_item_is_encoded_to_the_bit_alone_as_in_company():
    pictures = items(32, 3, 13, 9)
    together = Haar(2).encode(pictures)
    assert all(torch.equal(Haar(2).encode(pictures[i : i + 1])[0], together[i]) for i in range(32))


def test_a_flat_picture_has_no_details():
    elements = Haar(3).encode(torch.full((1, 2, 16, 16), 0.25))
    torch.testing.assert_close(elements[:, :2], torch.full((1, 2, 2, 2), 2.0))
    assert float(elements[:, 2:].abs().max()) < 1e-6


@pytest.mark.parametrize("depth", [0, -1])
def test_fewer_than_one_level_is_refused(depth):
    with pytest.raises(InvalidSetting, match="one level or more.*got levels="):
        Haar(depth)


def test_elements_of_another_size_are_refused_with_the_shape_they_should_have():
    for size in ((11, 7), (9, 9), (9,)):  # (10, 7) has the same grid
        with pytest.raises(WrongShape, match=r"of size .* have elements \(n, a multiple of"):
            Haar().decode(Haar().encode(items(1, 3, 9, 7)), size)
    with pytest.raises(WrongShape, match="multiple of 4"):
        Haar().map_back(torch.zeros(1, 6, 5, 4), (9, 7))


def test_its_settings_survive_json():
    assert space_from(Haar(3).config()) == Haar(3)
    assert Haar(3).config() == {"name": "haar", "levels": 3}


class Turned(Denoiser):
    """The answers of a denoiser of pixels, in Haar coefficients."""

    def __init__(self, inner: Denoiser, size: tuple[int, int]) -> None:
        self.inner, self.size = inner, size

    def __call__(self, x_t, alpha, sigma):
        return Haar(2).encode(self.inner(Haar(2).decode(x_t, self.size), alpha, sigma))


def test_a_walk_that_clips_goes_the_same_way_in_pixels_and_in_wavelets():
    known, asked = items(12, 1, 10, 7), 1.5 * items(4, 1, 10, 7, seed=1)
    plain, clipped = Empirical(1.3 * known), Encode(levels.cosine(6))
    here = clipped(plain, asked)
    there = clipped(Settled(Turned(plain, (10, 7)), Haar(2), (10, 7)), Haar(2).encode(asked))
    assert float(plain(asked, 1.0, 0.1).abs().max()) > 1  # there was something to clip
    for i in range(len(here)):
        torch.testing.assert_close(Haar(2).decode(there.denoised[i], (10, 7)), here.denoised[i], atol=1e-5, rtol=0)
        torch.testing.assert_close(there.x[i].flatten(1).norm(dim=1), here.x[i].flatten(1).norm(dim=1), atol=1e-4, rtol=1e-5)


def test_a_model_that_lives_in_wavelets_is_asked_and_mapped_like_any_other():
    pictures = (127.5 * (items(40, 11, 13) + 1)).byte().numpy()
    kind = Image(11, 13)
    values = torch.from_numpy(np.stack([kind.open(one).values for one in Items.open(pictures[:30])]))
    model = Model(Empirical(Haar(2).encode(values)), kind, Haar(2))
    for recipe in ("reconstruction", "diffpath"):
        assert np.isfinite(Scorer(model, recipe)(pictures[30:]).values).all()
    scores, scorer = Scorer(model, "partial")(pictures[30:]), Scorer(model, "partial")
    # the number is the mean over elements, the map holds the sum over them: 4 x 3 x 4 elements here for 11 x 13 pixels
    for i in range(10):
        assert scorer.map(pictures[30 + i]).sum() == pytest.approx(scores.values[i, 0] * 16 * 3 * 4, rel=0.05)
