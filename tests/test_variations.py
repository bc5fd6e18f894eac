"""Known-good items are learned from once more, mirrored or turned, only where they do not tell these from themselves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

import diffident as dd
from diffident.errors import InvalidSetting
from diffident.lessons import exactly
from diffident.positions import Positions
from diffident.spaces.pixels import Pixels
from diffident.testing.of_steps import arrows
from diffident.variations import VARIATIONS, harmless, told_apart, varied


def strange(known: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    denoiser = Positions.fitted(known)
    return lambda asked: (asked - denoiser(asked, 1.0, 0.3)).square().mean(1).flatten(1).amax(1)


def textures(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 4, 6, 6, generator=torch.Generator().manual_seed(seed))


def test_a_texture_is_learned_from_in_every_way() -> None:
    assert harmless(textures(60), strange) == tuple(VARIATIONS)


def test_an_arrow_is_mirrored_along_its_axis_and_no_other_way() -> None:
    """All point one way: turned round they are strange, and what is left of the two mirrors keeps the point where it is."""
    upright = arrows(60, (1, 24, 24), seed=1)[:1].expand(60, -1, -1, -1) + 0.05 * torch.randn(60, 1, 24, 24, generator=torch.Generator().manual_seed(1))
    shares = told_apart(upright, strange)
    assert "half-turn" not in harmless(upright, strange) and shares["half-turn"] > 0.95


def test_parts_that_point_to_the_right_are_not_mirrored() -> None:
    gradient = torch.linspace(-1, 1, 8).expand(40, 1, 8, 8) + 0.1 * torch.randn(40, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    assert harmless(gradient, strange) == ("upside-down",)


def test_too_few_items_decide_nothing_and_the_same_items_decide_alike() -> None:
    assert harmless(textures(7), strange) == () and harmless(textures(60), strange, seed=3) == harmless(textures(60), strange, seed=3)


def test_half_a_turn_is_both_mirrors() -> None:
    items = textures(3)
    assert torch.equal(varied(items, "half-turn"), varied(varied(items, "mirror"), "upside-down"))
    assert all(torch.equal(varied(varied(items, name), name), items) for name in VARIATIONS)
    with pytest.raises(InvalidSetting, match="no variation called 'twice'; there are: auto, mirror"):
        varied(items, "twice")


def test_what_chooses_variations_is_not_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 40 textures half are asked about in four ways, and half in their own; all are learned from in four ways: each picture once."""
    asked: list[bytes] = []
    encode = Pixels.encode

    def counted(self: Pixels, items: torch.Tensor) -> torch.Tensor:
        asked.extend(item.contiguous().numpy().tobytes() for item in items)
        return encode(self, items)

    monkeypatch.setattr(Pixels, "encode", counted)
    items = textures(40)
    how = dd.Training("positions", vary=("auto",))
    found = exactly(items, Pixels(), how)
    assert len(asked) == len(set(asked)) == 40 * 4
    plain = torch.cat([items, *(varied(items, name) for name in VARIATIONS)])
    assert torch.equal(found.tensors()["means"], Positions.fitted(plain).means)


def test_a_model_that_learned_mirrored_items_knows_them() -> None:
    known = np.random.default_rng(0).uniform(0.2, 0.8, (30, 8, 8))
    residual = {}
    for vary in ((), ("mirror",)):
        model = dd.train(known, network="none", vary=vary)
        residual[vary] = dd.Scorer(model, "reconstruction")(known[:, :, ::-1].copy()).values.mean()
    assert residual[("mirror",)] < 0.5 * residual[()]


def test_variations_are_refused_where_they_would_be_passed_over() -> None:
    pictures, rows = np.random.default_rng(0).uniform(size=(20, 8, 8)), np.random.default_rng(0).normal(size=(20, 3))
    with pytest.raises(InvalidSetting, match="'unet' is trained; leave it out"):
        dd.train(pictures, network="unet", vary=("mirror",))
    with pytest.raises(InvalidSetting, match="no variation called 'twice'"):
        dd.train(pictures, vary=("twice",))
    for asked in ({"network": "none", "vary": ("mirror",)}, {"network": "none", "prepare": ("registration",)}, {}):
        with pytest.raises(InvalidSetting, match="looks at neighbours, and the elements of a row have none; give network='mlp'"):
            dd.train(rows, modality="row", **asked)
