"""Steps: parts are found again to a fraction of a pixel, light stops counting, and known-good items alone decide."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from diffident import registry, steps
from diffident.errors import InvalidSetting, TooFewItems, UnknownName, WrongShape
from diffident.noise import normal, uniform
from diffident.steps.equalise import Equalise, resolution
from diffident.steps.photometry import Photometry
from diffident.steps.registration import Registration
from diffident.testing.of_steps import arrow, arrows

SHAPE = (1, 128, 128)
LONG = 76.0  # pixels from end to end


@pytest.fixture(scope="module")
def step() -> Registration:
    return Registration.learn(arrows(32, SHAPE, seed=1))


def lying(many: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy arrows of many angles, and their true poses (many, 3): x, y, angle."""
    drawn = uniform((many, 3), "lying", seed).double()
    poses = torch.stack([63.5 + 30 * (drawn[:, 0] - 0.5), 63.5 + 30 * (drawn[:, 1] - 0.5), 2 * math.pi * drawn[:, 2]], dim=1)
    pictures = torch.stack([arrow(SHAPE, *pose.tolist(), LONG) for pose in poses])
    return (pictures + 0.03 * normal((many, *SHAPE), "lying", seed)).clamp(-1, 1), poses


def turned(angles: torch.Tensor) -> torch.Tensor:
    """Into -pi .. pi."""
    return torch.remainder(angles + math.pi, 2 * math.pi) - math.pi


def off(found: torch.Tensor, true: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Degrees and pixels by which poses differ from the true ones, beside what they all differ by: how the mean lies is free."""
    turn = turned(found[:, 2] - true[:, 2])
    turn = turned(turn - torch.atan2(turn.sin().median(), turn.cos().median()))
    shift, cos, sin = found[:, :2] - true[:, :2], found[:, 2].cos(), found[:, 2].sin()
    inside = torch.stack([cos * shift[:, 0] + sin * shift[:, 1], cos * shift[:, 1] - sin * shift[:, 0]], dim=1)
    return turn.abs().rad2deg(), (inside - inside.median(0).values).norm(dim=1)


def test_parts_are_turned_and_moved_onto_each_other_to_a_fraction_of_a_pixel(step: Registration) -> None:
    items, true = lying(60, seed=3)
    degrees, pixels = off(step.poses(items), true)
    assert degrees.max() < 0.5 and pixels.max() < 0.5
    prepared = step(items)
    assert (prepared - prepared.mean(0)).abs().mean() < 0.03  # no more than the noise


def test_of_two_ways_to_lie_the_right_one_is_taken(step: Registration) -> None:
    items, true = lying(300, seed=4)
    degrees, _ = off(step.poses(items), true)
    assert (degrees < 90).double().mean() > 0.99


def test_a_part_without_a_long_axis_is_tried_all_around() -> None:
    def ell(x: float, y: float, angle: float) -> torch.Tensor:
        return torch.minimum(arrow(SHAPE, x, y, angle, 60.0), arrow(SHAPE, x, y, angle + math.pi / 2, 56.0))

    drawn = uniform((40, 3), "ell", 0).double()
    true = torch.stack([63.5 + 20 * (drawn[:, 0] - 0.5), 63.5 + 20 * (drawn[:, 1] - 0.5), 2 * math.pi * drawn[:, 2]], dim=1)
    items = torch.stack([ell(*pose.tolist()) for pose in true])
    step = Registration.learn(items[:20])
    assert step.template.starts == 24
    degrees, pixels = off(step.poses(items[20:]), true[20:])
    assert degrees.max() < 1 and pixels.max() < 1


@pytest.mark.parametrize("size", ["item", "part", (64, 160), (40, 90), (160, 64)], ids=str)
def test_a_dot_on_a_part_is_found_again_at_its_place(size: object) -> None:
    step = Registration.learn(arrows(24, SHAPE, seed=1), size=size)
    items, true = lying(24, seed=5)
    usual = step(items).median(0).values
    for item, (x, y, angle) in zip(items, true.tolist(), strict=True):
        across, down = torch.arange(128) - (x - 10 * math.cos(angle)), torch.arange(128)[:, None] - (y - 10 * math.sin(angle))
        item[0] += 1.2 * torch.exp(-(across**2 + down**2) / (2 * 1.5**2))
        prepared = step(item[None])
        strange = (prepared - usual)[:, 0]
        assert tuple(prepared.shape[1:]) == step.shape(SHAPE)
        row, column = divmod(int(step.map_back(strange, item[None])[0].argmax()), 128)
        assert math.hypot(row - (y - 10 * math.sin(angle)), column - (x - 10 * math.cos(angle))) < 2


def test_a_broken_part_lies_as_a_whole_one(step: Registration) -> None:
    whole, true = lying(24, seed=6)
    broken = whole.clone()
    for item, (x, y, angle) in zip(broken, true.tolist(), strict=True):
        along = (torch.arange(128) - x) * math.cos(angle) + (torch.arange(128)[:, None] - y) * math.sin(angle)
        item[0][along < -0.34 * LONG] = 0.4  # a fifth of the shaft is gone
    shift = (step.poses(broken) - step.poses(whole))[:, :2].norm(dim=1)
    assert shift.max() < 1


def test_a_frame_shows_the_part_with_its_margin() -> None:
    items = arrows(24, SHAPE, seed=1)
    part, strip, tall = (Registration.learn(items, size=size) for size in ("part", (48, 160), (160, 48)))
    assert part.shape(SHAPE) == (1, 32, 96) and part.frame.scale == 1
    assert strip.shape((3, 128, 128)) == (3, 48, 160) and strip.frame.scale > 1.4
    lying_down, upright = strip(items[:4]), tall(items[:4])
    turned_once = upright.transpose(2, 3)
    best = min(float((lying_down - turned_once.flip(dims)).abs().mean()) for dims in ([], [2], [3], [2, 3]))
    assert best < 0.03


def test_colours_and_bright_parts_are_registered_too() -> None:
    items = arrows(20, SHAPE, seed=2)
    red = torch.cat([0.2 - items, items.mean((2, 3), keepdim=True).expand_as(items), items - 0.4], dim=1).clamp(-1, 1)  # hardly any grey
    for kind in (-items, red):
        assert Registration.learn(kind[:12]).gain(kind[12:]) > 0.9


def test_where_no_part_stands_apart_the_item_stays_as_it_lies(step: Registration) -> None:
    noise = 0.3 * normal((2, *SHAPE), "texture", 1).clamp(-2, 2)
    assert torch.equal(step(noise), noise) and bool(step.poses(noise).isnan().all())
    maps = noise[:, 0].abs()
    assert torch.equal(step.map_back(maps, noise), maps)
    strip = Registration.learn(arrows(24, SHAPE, seed=1), size="part")
    assert tuple(strip(noise).shape) == (2, 1, 32, 96)
    middle = strip(noise)
    assert torch.allclose(middle, noise[:, :, 48:80, 16:112], atol=1e-4)


def test_outside_the_frame_a_map_says_as_little_as_it_can(step: Registration) -> None:
    items = arrows(2, SHAPE, seed=8)
    maps = 5 + step(items)[:, 0]
    back = step.map_back(maps, items)
    assert torch.equal(back.flatten(1).amin(1), maps.flatten(1).amin(1)) and (back.flatten(1).amax(1) <= maps.flatten(1).amax(1)).all()


def test_outside_the_item_is_the_level_of_its_background() -> None:
    step = Registration.learn(arrows(16, SHAPE, seed=1), size=(96, 160), margin=0.5)
    assert step(arrows(4, SHAPE, seed=9)).amin((1, 2, 3)).min() > -0.7 and (step(arrows(4, SHAPE, seed=9))[:, :, :4] - 0.4).abs().max() < 0.15


def textures(many: int, kind: str) -> torch.Tensor:
    if kind == "noise":
        return 0.3 * normal((many, *SHAPE), "texture", 0)
    grain = torch.nn.functional.avg_pool2d(normal((many, 1, 136, 136), "grain", 0), 9, 1)
    stripes = torch.sin(torch.arange(128) / 5 + 6.28 * uniform((many, 1, 1, 1), "stripes", 0)).expand(many, *SHAPE)
    return {"grain": grain * 3, "stripes": 0.4 * stripes + 0.1 * normal((many, *SHAPE), "stripes", 0)}[kind].clamp(-1, 1)


def test_parts_that_lie_any_way_choose_registration() -> None:
    items = arrows(32, SHAPE, seed=11)
    found = steps.chosen(items)
    assert [type(step) for step in found] == [Registration]
    assert steps.gains(items)["registration"] > 0.95 and steps.gains(items) == steps.gains(items)
    assert found[0].helps(arrows(16, SHAPE, seed=12))


@pytest.mark.parametrize("kind", ["noise", "grain", "stripes"])
def test_textures_choose_nothing(kind: str) -> None:
    assert steps.chosen(textures(32, kind)) == ()


def test_parts_that_lie_alike_choose_nothing() -> None:
    alike = arrow(SHAPE, 63.5, 63.5, 0.3, LONG).expand(32, *SHAPE) + 0.03 * normal((32, *SHAPE), "alike", 0)
    lumps = torch.nn.functional.avg_pool2d(normal((32, 1, 144, 144), "lumps", 0), 17, 1)  # differ in what no turn takes away
    assert steps.chosen((alike + 2 * lumps).clamp(-1, 1)) == ()


def test_flattening_gains_nothing() -> None:
    items = textures(16, "grain")
    assert abs(steps.spread(0.01 * items + 0.3) - steps.spread(items)) < 1e-3


def test_photometry_is_never_chosen_without_a_word() -> None:
    factor = torch.linspace(0.6, 1.4, 32)[:, None, None, None]
    dark = arrow(SHAPE, 63.5, 63.5, 0.3, LONG).expand(32, *SHAPE) / 2
    assert steps.chosen(((dark + 1) * factor - 1).clamp(-1, 1)) == ()


@pytest.mark.parametrize("channels", ["together", "each"])
@pytest.mark.parametrize("shape", [(1, 64, 64), (3, 64, 64)], ids=str)
def test_photometry_takes_a_factor_away(channels: str, shape: tuple[int, int, int]) -> None:
    light = (arrows(12, shape, seed=1) + 1) / 2
    step = Photometry.learn(2 * light - 1, channels=channels)
    for factor in (0.6, 0.8, 1.0, 1.4):
        assert torch.allclose(step(2 * factor * light - 1), step(2 * light - 1), atol=1e-5)
    medians = ((step(1.2 * light - 1) + 1) / 2).mean(1).flatten(1).median(1).values
    assert torch.allclose(medians, torch.tensor(step.level[0]), atol=1e-3)


def test_photometry_balances_white_where_each_channel_has_its_level() -> None:
    light = (arrows(12, (3, 48, 48), seed=1) + 1) / 2
    step = Photometry.learn(2 * light - 1, channels="each")
    tinted = light * torch.tensor([0.8, 1.0, 1.2])[:, None, None]
    assert torch.allclose(step(2 * tinted - 1), step(2 * light - 1), atol=1e-5)
    with pytest.raises(WrongShape, match="a level for each of 3 channels"):
        step(torch.zeros(2, 2, 8, 8))


def test_photometry_matches_contrast_if_it_is_told_to() -> None:
    light = 0.5 + 0.1 * normal((8, 1, 64, 64), "contrast", 0).clamp(-2, 2)
    step = Photometry.learn(2 * light - 1, contrast="matched")
    pale = 2 * (0.5 + 0.7 * (light - 0.5)) - 1
    assert abs(float(step(pale).std() / (2 * light).std()) - 1) < 0.02
    assert float(Photometry.learn(2 * light - 1)(pale).std() / (2 * light).std()) == pytest.approx(0.7, abs=0.02)


def test_a_black_picture_stays_dark_and_finite() -> None:
    step = Photometry.learn(torch.full((4, 1, 8, 8), 0.4), contrast="kept")
    assert torch.equal(step(torch.full((1, 1, 8, 8), -1.0)), torch.full((1, 1, 8, 8), -1.0))
    dim = torch.full((1, 1, 8, 8), -0.98)
    assert float(step(dim).max()) == pytest.approx(-0.92)


def test_refusals_say_what_to_do(step: Registration) -> None:
    with pytest.raises(TooFewItems, match="8 items or more.*of 5 looked at 5 do"):
        Registration.learn(arrows(5, SHAPE))
    with pytest.raises(TooFewItems, match="of 30 looked at 0 do"):
        Registration.learn(textures(30, "noise"))
    with pytest.raises(TooFewItems, match="got none"):
        Photometry.learn(torch.zeros(0, 1, 8, 8))
    with pytest.raises(TooFewItems, match="on 4 items or more.*got 3"):
        steps.chosen(arrows(3, SHAPE))
    with pytest.raises(WrongShape, match="shape \\(1, 128, 128\\); got \\(1, 64, 64\\)"):
        step(torch.zeros(1, 1, 64, 64))
    with pytest.raises(InvalidSetting, match="a height and a width of 8 pixels or more; got \\(4, 90\\)"):
        Registration.learn(arrows(8, SHAPE), size=(4, 90))
    with pytest.raises(InvalidSetting, match="between 0 and .5 of its length; got 0.7"):
        Registration.learn(arrows(8, SHAPE), margin=0.7)
    with pytest.raises(InvalidSetting, match="levels above 0"):
        Photometry.learn(torch.full((4, 1, 8, 8), -1.0))
    with pytest.raises(UnknownName, match="no steps called 'registraton'; did you mean 'registration'"):
        steps.step_from({"name": "registraton"}, {})


def test_no_items_are_no_items(step: Registration) -> None:
    none = torch.zeros(0, *SHAPE)
    assert step(none).shape == none.shape and step.map_back(none[:, 0], none).shape == (0, 128, 128)
    assert Photometry((0.5,))(none).shape == none.shape


@pytest.mark.parametrize(("name", "chosen"), [("screw-scaled", ["registration"]), ("tile", [])])
def test_real_known_good_items_decide(name: str, chosen: list[str], benchmark_data: object) -> None:
    from benchmarks.inspection_sets import SETS

    good = SETS[name]().good[::8]
    light = np.stack([one if one.dtype == np.float32 else one.astype(np.float32) / 255 for one in good])
    found = steps.chosen(2 * torch.from_numpy(light)[:, None] - 1)
    assert [registry.name_of("steps", type(step)) for step in found] == chosen


def natural(many: int, seed: int, side: int = 64) -> torch.Tensor:
    """Noise whose amplitude falls as 1 / f, as in photographs, in three channels."""
    down, across = torch.fft.fftfreq(side)[:, None], torch.fft.rfftfreq(side)
    fall = 1 / (down.square() + across.square()).sqrt().clamp(min=1 / side)
    made = torch.fft.irfft2(torch.fft.rfft2(normal((many, 3, side, side), "natural", seed)) * fall)
    return (0.3 * made / made.std((1, 2, 3), keepdim=True)).clamp(-1, 1)


def enlarged(items: torch.Tensor, factor: int, mode: str) -> torch.Tensor:
    small = torch.nn.functional.interpolate(items, scale_factor=1 / factor, mode="bilinear", antialias=True)
    return torch.nn.functional.interpolate(small, size=items.shape[2:], mode=mode)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_enlarged_pictures_have_the_resolution_that_they_were_enlarged_from(mode: str) -> None:
    items = natural(32, 0)
    assert resolution(items).min() > 48
    for factor in (2, 4):
        assert (resolution(enlarged(items, factor, mode)) / (64 / factor)).median() == pytest.approx(1, abs=0.4)
    assert resolution(torch.zeros(2, 1, 16, 16)).tolist() == [0, 0]


def test_pictures_are_reduced_to_what_nearly_all_of_them_show() -> None:
    fine = natural(40, 1)
    assert Equalise.learn(fine).side == 48
    assert Equalise.learn(torch.cat([fine[:38], enlarged(fine[38:39], 4, "bicubic")])).side == 48, "one in forty does not decide"
    assert Equalise.learn(torch.cat([fine[:20], enlarged(fine[20:], 2, "bicubic")])).side <= 32


def test_what_only_tells_archives_apart_is_taken_away() -> None:
    """Enlarged pictures and fine ones, with JPEG and without: a fine structure tells them apart before, and hardly afterwards."""
    items, step = natural(80, 2), Equalise(16)

    def apart(known: torch.Tensor, asked: torch.Tensor) -> float:
        rough = [(part[..., 1:] - part[..., :-1]).square().mean((1, 2, 3)) / part.var((1, 2, 3)) for part in (known, asked)]
        return float((rough[0][:, None] > rough[1]).float().mean())

    fine, coarse = items[:40], enlarged(items[40:], 2, "bicubic")  # of 32 pixels, in truth
    assert apart(fine, coarse) > 0.99 and 0.2 < apart(step(fine), step(coarse)) < 0.8
    again = step(step(fine))
    assert (again - step(fine)).abs().mean() < 0.25 * (step(fine) - fine).abs().mean(), "another JPEG step changes little"


def test_colours_keep_their_places_and_small_pictures_their_size() -> None:
    items = torch.tensor([0.8, -0.8, 0.0])[None, :, None, None].expand(2, 3, 16, 24).contiguous()
    assert (Equalise(64)(items) - items).abs().max() < 0.05 and Equalise(8)(items).shape == items.shape
    assert torch.equal(Equalise(64, quality=0)(items), items)
    assert (Equalise(64)(items[:, :2]) - items[:, :2]).abs().max() < 0.05, "channels that are no colours are compressed one by one"


def test_a_resolution_that_cannot_be_is_refused() -> None:
    for wrong in ((1, 75), (16, 101)):
        with pytest.raises(InvalidSetting, match="reduced to 2 pixels or more"):
            Equalise(*wrong)
    with pytest.raises(TooFewItems, match="1 known-good item or more"):
        Equalise.learn(torch.zeros(0, 3, 8, 8))


def test_blank_pictures_do_not_decide_the_resolution() -> None:
    assert Equalise.learn(torch.cat([natural(20, 1), torch.zeros(20, 3, 64, 64)])).side == 48
    with pytest.raises(TooFewItems, match="in which anything varies"):
        Equalise.learn(torch.zeros(3, 3, 64, 64))
