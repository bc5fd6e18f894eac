"""Large pictures in tiles: no seam, no more memory than one of them, the promise kept at any size."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from scipy import ndimage

import diffident as dd
from diffident import noise
from diffident.calibration import Calibration, Highest
from diffident.cli import main
from diffident.data import Item, Items
from diffident.errors import InvalidSetting, UnreadableItem, WrongShape
from diffident.learning import Training
from diffident.modalities.image import Image
from diffident.model import Model
from diffident.recipes import Reading, Recipe, recipe
from diffident.report.explanation import explain
from diffident.scorer import Scorer
from diffident.spaces.activations import Activations
from diffident.spaces.features import Features
from diffident.spaces.pixels import Pixels
from diffident.texture import Texture
from diffident.tiles import SIDES, Tiles
from diffident.walks import Renoise

NOISY = Recipe("noisy", (Reading(Renoise(), "residual"),), combine="highest")


def cloth(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A texture with grain, 8 bits."""
    soft = ndimage.gaussian_filter(rng.normal(size=(height, width)), 3, mode="wrap")
    return np.clip(128 + 25 * soft / soft.std() + 8 * rng.normal(size=(height, width)), 0, 255).astype(np.uint8)


def of_pixels(side: int) -> Model:
    """A model whose answer at a place knows that place alone."""
    values = torch.from_numpy(cloth(np.random.default_rng(1), 64, 64) / np.float32(127.5) - 1).float()[None, None]
    return Model(Texture.fitted(values), Image(side, side), Pixels(), chunk=16, tiles=Tiles(side))


def pieced(model: Model, how: Recipe, picture: np.ndarray) -> np.ndarray:
    """Its map, also where one tile's core is as large as the picture."""
    mosaic = Scorer(model, how).mosaic
    assert mosaic is not None
    return mosaic.maps(picture[None] / np.float32(127.5) - 1)[0]


@pytest.fixture(scope="module")
def detector() -> dd.Detector:
    rng = np.random.default_rng(5)
    model = dd.train(np.stack([cloth(rng, 128, 160) for _ in range(12)]), tile=64)
    return dd.Detector(model, "texture", dd.Policy(0.05)).fit([cloth(rng, 128, 160) for _ in range(79)])


@pytest.mark.parametrize("side", SIDES)
def test_cores_cover_an_item_once_and_lie_on_whole_places(side: int) -> None:
    tiles, size = Tiles(side), (2 * side + 3, side)
    seen = np.zeros(size, int)
    for row, column in tiles.lay(size):
        top, left = row + tiles.halo, column + tiles.halo
        seen[top : top + tiles.core, left : left + tiles.core] += 1
    assert (seen == 1).all()
    assert tiles.halo % 16 == 0
    assert tiles.halo % (side // min(side, 64)) == 0  # places of maps are of so many pixels


def test_beyond_the_borders_a_tile_is_mirrored() -> None:
    values = np.arange(80 * 70, dtype=np.float32).reshape(1, 80, 70)
    tiles = Tiles(64)
    first = tiles.cut(values, (-16, -16))
    assert np.array_equal(first[:, 16:, 16:], values[:, :48, :48])
    assert np.array_equal(first[:, 15], first[:, 17])
    assert np.array_equal(tiles.cut(values, (48, 48))[0, :32, :22], values[0, 48:, 48:])


def test_noise_of_a_place_is_the_same_whatever_piece_shows_it() -> None:
    whole = noise.field((2, 100, 130), (-20, 35), "common", 0, 1)
    piece = noise.field((2, 40, 50), (13, 60), "common", 0, 1)
    assert torch.equal(whole[:, 33:73, 25:75], piece)
    assert abs(float(whole.mean())) < 0.03
    assert abs(float(whole.std()) - 1) < 0.02
    assert not torch.equal(piece, noise.field((2, 40, 50), (13, 60), "common", 0, 2))


def test_with_noise_the_map_of_many_tiles_is_that_of_one(rng: np.random.Generator) -> None:
    """Tiles of 64 have places of 1 pixel, one of 256 has places of 4: its core is the whole picture."""
    picture = cloth(rng, 160, 160)
    fine, whole = (pieced(of_pixels(side), NOISY, picture) for side in (64, 256))
    pooled = fine.reshape(40, 4, 40, 4).mean(axis=(1, 3))
    assert fine.shape == (160, 160)
    assert np.allclose(pooled, whole, rtol=1e-4, atol=1e-6)


def test_features_of_many_tiles_are_those_of_one_away_from_borders(rng: np.random.Generator) -> None:
    """Blocks up to stride 8 see 37 pixels around a place, and the halo has 48: nothing but rounding may differ. Borders are mirrored elsewhere."""
    picture = cloth(rng, 416, 416)
    model = dd.train([picture], tile=256)
    one = replace(model, space=replace(model.space, sizes=(512,), grid=64), modality=Image(512, 512), tiles=Tiles(512))
    many, whole = (pieced(of, recipe("texture"), picture) for of in (model, one))
    assert many.shape == whole.shape == (52, 52)
    assert np.abs(many - whole)[6:-6, 6:-6].max() < 1e-3 * whole.max()


def test_there_is_no_seam(rng: np.random.Generator) -> None:
    """The mean map of good pictures is as high where cores meet as elsewhere, and the step across a seam no larger than others."""
    scorer = Scorer(dd.train(np.stack([cloth(rng, 256, 256) for _ in range(8)]), tile=128), "texture")
    mean = np.mean([scorer.map(cloth(rng, 256, 256)) for _ in range(40)], axis=0)
    steps, seams = np.abs(np.diff(mean, axis=1)).mean(axis=0), [7, 15, 23]  # cores of 64 pixels are 8 places
    others = np.delete(steps, seams)
    assert abs(steps[seams].mean() - others.mean()) < 3 * others.std() / np.sqrt(len(seams))


def test_a_large_picture_is_scored_to_the_bit_the_same_alone_and_in_company(detector: dd.Detector, rng: np.random.Generator) -> None:
    pictures = [cloth(rng, 130, 161), cloth(rng, 300, 200), cloth(rng, 64, 64)]
    together = detector.scorer(pictures)
    for i in (2, 0, 1):
        alone = detector.scorer([pictures[i]])
        assert np.array_equal(alone.values[0], together.values[i])
        assert np.array_equal(alone.maps[0], together.maps[i])  # type: ignore[index]
    assert together.sizes is not None
    assert together.sizes.tolist() == [[130, 161], [300, 200], [64, 64]]


def test_the_row_holds_the_highest_place_of_the_map(detector: dd.Detector, rng: np.random.Generator) -> None:
    picture = cloth(rng, 200, 333)
    assert detector.scorer([picture]).values[0, 0] == pytest.approx(float(detector.scorer.map(picture).max()))


def test_a_defect_in_a_picture_four_times_as_large_is_flagged_at_four_times_the_p_value(detector: dd.Detector, rng: np.random.Generator) -> None:
    large = cloth(rng, 256, 320)
    large[100:124, 200:224] = 255
    [(_, verdict)] = detector.judge([large], maps=True)
    assert verdict.decision == "flag"
    assert verdict.p == pytest.approx(4 / 80)
    assert verdict.evidence["residual"] == pytest.approx(4 / 80)
    assert "judged in 4 parts of their size" in verdict.because
    assert "79 of 79 references" in verdict.because
    assert verdict.where is not None
    best = verdict.where.regions[0]
    assert best.p == pytest.approx(4 / 80)
    assert best.left <= 212 <= best.right
    assert best.top <= 112 <= best.bottom
    assert detector(cloth(rng, 256, 320)).decision == "accept"


def test_where_the_level_is_out_of_reach_it_says_so_instead_of_accepting(detector: dd.Detector, rng: np.random.Generator) -> None:
    large = cloth(rng, 384, 320)
    large[100:140, 200:240] = 255
    verdict = detector(large)
    assert verdict.decision == "abstain"
    assert verdict.reason.startswith("too large: in 6 parts of the references' size p is 0.075 or more with 79 references, above 0.05; calibrate on 119")


def scores(highest: np.ndarray, sizes: np.ndarray) -> dd.Scores:
    names = tuple(map(str, range(len(highest))))
    return dd.Scores(names, ("a",), highest[:, None], ("upper",), ("odd",), "f", maps=highest[:, None, None, None].astype(np.float32), sizes=sizes)


def test_parts_are_counted_by_size() -> None:
    known = scores(np.arange(3.0), np.array([[100.0, 200.0], [110.0, 180.0], [100.0, 200.0]]))
    asked = np.array([[100.0, 200.0], [50.0, 10.0], [110.0, 200.0], [200.0, 360.0], [200.0, 100.0], [101.0, 181.0]])
    parts = Calibration(known, Highest()).parts(scores(np.zeros(6), asked))
    assert parts is not None
    assert parts.tolist() == [2, 1, 4, 4, 2, 4]  # whole only if it is no larger than any of them: least height 100, least width 180


def test_false_alarms_stay_below_what_was_promised_at_any_size(rng: np.random.Generator) -> None:
    """Pictures of independent places, of which the larger have more: rank without parts and the promise breaks."""
    n, runs, size = 39, 600, {"half": 0.5, "same": 1.0, "four": 4.0, "odd": 2.5}

    def highest(area: float, count: int) -> np.ndarray:
        return rng.uniform(size=count) ** (1 / (64 * area))  # the highest of so many uniform places

    alarms = {name: [] for name in (*size, "four, ranked whole")}
    for _ in range(runs):
        known = Calibration(scores(highest(1, n), np.full((n, 2), 8.0)), Highest())
        for name, area in size.items():
            item = scores(highest(area, 1), np.array([[8.0 * area, 8.0]]))
            alarms[name].append(known.judge(item).p[0] <= 0.1)
            if name == "four":
                alarms["four, ranked whole"].append(known.judge(replace(item, sizes=None)).p[0] <= 0.1)
    rates = {name: np.mean(of) for name, of in alarms.items()}
    slack = 3 * np.sqrt(0.1 * 0.9 / runs)
    assert all(rates[name] <= 0.1 + slack for name in size), rates
    assert rates["same"] >= 0.1 - slack
    assert rates["four, ranked whole"] > 0.25


def test_known_good_pictures_come_from_the_law_of_the_references(detector: dd.Detector, rng: np.random.Generator) -> None:
    p = [detector(cloth(rng, 128, 160)).p for _ in range(30)]
    assert 0.3 < np.mean(p) < 0.7


def test_a_detector_in_tiles_comes_back_from_its_folder(detector: dd.Detector, tmp_path: Path, rng: np.random.Generator) -> None:
    again = dd.Detector.load(detector.save(tmp_path / "cloth"))
    picture = cloth(rng, 256, 320)
    assert again.model.tiles == Tiles(64)
    assert again.model.fingerprint == detector.model.fingerprint
    assert again.model.fingerprint != replace(detector.model, tiles=None).fingerprint
    assert (again(picture).p, again(picture).score) == (detector(picture).p, detector(picture).score)
    parts = dd.Scores.merge([again.scorer([picture]), again.scorer([picture])])
    parts.save(tmp_path / "scores")
    loaded = dd.Scores.load(tmp_path / "scores")
    assert loaded.sizes is not None
    assert np.array_equal(loaded.sizes, [[256, 320]] * 2)


def test_a_network_learns_from_tiles_and_its_recipe_takes_the_highest_place(rng: np.random.Generator) -> None:
    pictures = np.stack([cloth(rng, 128, 128) for _ in range(6)])
    model = dd.train(pictures, "reconstruction", network="unet", tile=64, images_seen=32, width=32, batch=16)
    fitted = dd.Detector(model, "reconstruction", dd.Policy(0.05)).fit([cloth(rng, 80, 80) for _ in range(19)])
    assert recipe(fitted.recipe).combine == "highest"
    assert fitted.scorer([cloth(rng, 100, 90)]).readable.all()


def rough(rng: np.random.Generator, side: int) -> np.ndarray:
    return np.clip(rng.normal(128, 40, (side, side)), 0, 255).astype(np.uint8)


def test_surfaces_of_several_kinds_are_judged_in_tiles_each_beside_its_own(tmp_path: Path, rng: np.random.Generator) -> None:
    def surfaces(n: int) -> list[Item]:
        return [Item(f"{kind}/{i}", cloth(rng, 96, 96) if kind == "cloth" else rough(rng, 96), kind) for i in range(n) for kind in ("cloth", "felt")]

    dd.train(Items(tuple(surfaces(40))), tile=64, kinds="folder", out=tmp_path / "m")
    detector = dd.Detector.load(tmp_path / "m")
    assert detector.model.kinds == ("cloth", "felt") and detector.model.tiles == Tiles(64) and set(detector.calibrated.kinds.values()) == {20}
    fresh = surfaces(8)
    good = [verdict.decision for _, verdict in detector.judge(Items(tuple(fresh)))]
    swapped = [Item(one.name, one.payload, "felt" if one.kind == "cloth" else "cloth") for one in fresh]
    wrong = [verdict for _, verdict in detector.judge(Items(tuple(swapped)), maps=True)]
    assert good.count("flag") <= 4 and all(v.decision == "flag" for v in wrong if v.kind == "cloth")
    assert all(v.map.shape == (12, 12) and v.references == 20 for v in wrong), "a place for every 8 pixels"


def test_tiles_are_seen_with_features_of_the_models_own_network(tmp_path: Path, rng: np.random.Generator) -> None:
    model = dd.train([cloth(rng, 96, 96) for _ in range(8)], features="own", tile=64, images_seen=64, batch=32, width=32)
    assert isinstance(model.space, Activations) and model.space.grid == 64 // 8 and model.tiles == Tiles(64)
    spoilt = cloth(rng, 128, 96)
    spoilt[70:90, 30:50] = 255
    detector = dd.Detector(model, "texture", dd.Policy(0.05)).fit([cloth(rng, 128, 96) for _ in range(24)])
    detector.save(tmp_path / "m")
    ((_, verdict),) = dd.Detector.load(tmp_path / "m").judge([spoilt], maps=True)
    y, x = np.unravel_index(verdict.map.argmax(), verdict.map.shape)
    assert verdict.decision == "flag" and 70 <= 8 * y + 4 < 90 and 30 <= 8 * x + 4 < 50


def test_memory_is_bounded_by_one_picture_and_a_chunk() -> None:
    """What one chunk of tiles needs is nearly all that a picture four times as large needs, however many are judged."""
    code = """
import resource
import numpy as np
from tests.test_tiles import NOISY, of_pixels
from diffident.scorer import Scorer
scorer, peaks = Scorer(of_pixels(256), NOISY), []
for side in (640, 1280):
    scorer([np.random.default_rng(0).integers(0, 256, (side, side), dtype=np.uint8)])
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
print(peaks[0], peaks[-1])
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    early, late = map(float, ran.stdout.split())
    assert late - early < 50  # MiB; the record of all tiles of the larger picture would take 96


def test_tiles_to_learn_from_are_bounded_however_many_pictures_there_are(rng: np.random.Generator) -> None:
    how = Training(tile=1024, network="texture")  # room for 16 tiles
    assert [how.tiles_of(items, 0) for items in (1, 5, 16, 1000)] == [16, 3, 1, 1]
    assert sum(how.tiles_of(1000, int(drawn)) for drawn in rng.integers(0, 1 << 48, 1000)) < 40
    values = np.zeros((3, 200, 130), np.float32)
    assert [Tiles(64).some(values, most, 0).shape for most in (0, 2, 99)] == [(0, 3, 64, 64), (2, 3, 64, 64), (6, 3, 64, 64)]


def test_what_is_smaller_than_a_tile_is_unreadable_and_the_rest_goes_on(detector: dd.Detector, rng: np.random.Generator) -> None:
    verdicts = detector.judge_all([cloth(rng, 40, 200), cloth(rng, 128, 160)])
    assert verdicts[0].decision == "unreadable"
    assert "has 40 x 200 pixels and is smaller than a tile of 64" in verdicts[0].because
    assert verdicts[1].decision in ("accept", "flag")
    with pytest.raises(UnreadableItem, match="smaller than a tile of 64"):
        detector.scorer.map(cloth(rng, 40, 200))


def test_a_picture_that_is_not_finite_is_not_judged(detector: dd.Detector) -> None:
    holes = np.full((128, 160), 0.5, np.float32)
    holes[5, 5] = np.nan
    [(_, verdict)] = detector.judge([holes], maps=True)
    assert verdict.decision == "abstain"
    assert verdict.map is not None
    assert np.isnan(verdict.map).all()


def test_what_cannot_be_is_refused_in_words(rng: np.random.Generator) -> None:
    with pytest.raises(InvalidSetting, match="a tile has a side of 64, 128"):
        Training(tile=100)
    with pytest.raises(InvalidSetting, match="no position is usual for anything"):
        dd.train(rng.uniform(size=(4, 64, 64)), "inspection", tile=64)
    with pytest.raises(InvalidSetting, match="leave out the size and what prepares them"):
        Training(tile=64, size=32)
    with pytest.raises(InvalidSetting, match="combines maps, and 'path_speed' has none"):
        dd.train(rng.uniform(size=(4, 64, 64)), "diffpath", tile=64)
    with pytest.raises(InvalidSetting, match="a row is not judged in tiles"):
        dd.train(rng.uniform(size=(4, 9)), network="none", modality="row").modality.whole(Item("first", rng.uniform(size=9)))
    with pytest.raises(InvalidSetting, match="take a modality of their size"):
        replace(of_pixels(64), tiles=Tiles(128))
    with pytest.raises(InvalidSetting, match="judges items whole"):
        _ = replace(Scorer(of_pixels(64), NOISY).mosaic, model=replace(of_pixels(64), tiles=None)).tiles  # type: ignore[type-var]
    with pytest.raises(InvalidSetting, match="combines by 'ranks'"):
        replace(Scorer(of_pixels(64), NOISY).mosaic, recipe=recipe("reconstruction"))  # type: ignore[type-var]
    with pytest.raises(WrongShape, match="sizes are"):
        scores(np.zeros(2), np.zeros((3, 2)))


def run(*arguments: str, expected: int = 0) -> None:
    with pytest.raises(SystemExit) as left:
        main(list(arguments))
    assert left.value.code == expected


def test_the_verbs_take_tiles(tmp_path: Path, rng: np.random.Generator) -> None:
    for folder, count, shape in (("good", 60, (80, 100)), ("new", 2, (200, 150))):
        (tmp_path / folder).mkdir()
        for i in range(count):
            Picture.fromarray(cloth(rng, *shape)).save(tmp_path / folder / f"{i}.png")
    model = str(tmp_path / "model")
    arguments = ["train", str(tmp_path / "good"), "-o", model, "--recipe", "texture", "--network", "texture", "--tile", "64", "--share", "0.5", "--flag", "0.2"]
    run(*arguments)
    run("score", model, str(tmp_path / "new"), "--maps", str(tmp_path / "maps"), "--report", str(tmp_path / "page.html"))
    with Picture.open(tmp_path / "maps" / "0.png") as shown:
        assert shown.size == (150, 200)
    run("explain", model, str(tmp_path / "new" / "0.png"), "-o", str(tmp_path / "e.png"))
    run("fit", model, str(tmp_path / "good"), "-o", str(tmp_path / "again"), "--flag", "0.5", expected=1)  # half of them trained it


def test_an_explanation_shows_the_strangest_tile(detector: dd.Detector, rng: np.random.Generator) -> None:
    large = cloth(rng, 200, 300)
    large[150:170, 230:250] = 255
    examined = detector.scorer.examine(large)
    assert examined.opened.values.shape == (1, 64, 64)
    assert (examined.opened.values == 1).sum() > 100
    assert np.array_equal(examined.scores.values, detector.scorer([large]).values)
    assert explain(detector, large).verdict is not None


def test_pixels_of_a_place_are_known_before_anything_is_asked() -> None:
    asked = {side: Scorer(of_pixels(side), NOISY).mosaic for side in (64, 256)}
    assert {side: mosaic.place for side, mosaic in asked.items() if mosaic} == {64: 1, 256: 4}
    features = replace(of_pixels(128), space=Features(blocks=(3, 6), sizes=(32,)).tiled(128))
    mosaic = Scorer(features, NOISY).mosaic
    assert mosaic is not None
    assert mosaic.place == 8


def test_a_look_at_a_huge_picture_is_reduced(rng: np.random.Generator) -> None:
    model = of_pixels(64)
    assert model.shown(Item("wide", np.zeros((100, 3000)))).shape == (1, 34, 1024)
    assert Scorer(model, NOISY).map(rng.uniform(size=(64, 2100)).astype(np.float32)).shape == (22, 700)
