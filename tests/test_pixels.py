"""Promises of the pixel metrics: they equal a literal reading of their definitions, and intervals hold what is true."""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
import pytest
from scipy.ndimage import label
from sklearn.metrics import roc_auc_score

from diffident.errors import InvalidSetting, WrongShape
from diffident.evaluate import aupro, pixel_auroc, pixel_intervals


def literal_aupro(masks, maps, limit):
    """The definition word by word: every distinct threshold, every region of every picture, trapezoids, cut at the limit."""
    regions = []
    for i, mask in enumerate(masks):
        named, count = label(mask, structure=[[1, 1, 1]] * 3)
        regions += [(i, named == k + 1) for k in range(count)]
    ordinary = np.concatenate([m[mask == 0] for mask, m in zip(masks, maps, strict=True)])
    curve = [(0.0, 0.0)]
    for t in np.unique(np.concatenate([m.ravel() for m in maps]))[::-1]:
        curve.append(((ordinary >= t).mean(), np.mean([(maps[i][region] >= t).mean() for i, region in regions])))
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise(curve):
        if x0 >= limit or x1 == x0:
            continue
        x, y = (x1, y1) if x1 <= limit else (limit, y0 + (y1 - y0) * (limit - x0) / (x1 - x0))
        area += (x - x0) * (y0 + y) / 2
    return area / limit


def pictures(seed, kind="plain", n=5):
    """Masks with specks, touching corners and large regions, and maps of one sort; pictures differ in size."""
    rng = np.random.default_rng(seed)
    sizes = [(int(h), int(w)) for h, w in rng.integers(4, 12, (n, 2))]
    masks = [(rng.random(size) < rng.choice([0.05, 0.4])).astype(int) for size in sizes]
    masks[0][:], masks[1][:] = 0, 0
    masks[1][0, 0] = masks[1][1, 1] = masks[1][3, 3] = 1  # two corners that touch are one region, and a single pixel
    maps = {
        "plain": [rng.normal(size=size) + mask for size, mask in zip(sizes, masks, strict=True)],
        "ties": [rng.integers(0, 4, size) + mask for size, mask in zip(sizes, masks, strict=True)],
        "constant": [np.ones(size) for size in sizes],
        "perfect": [mask.astype(float) for mask in masks],
        "reversed": [-mask.astype(float) for mask in masks],
        "infinite": [np.where(rng.random(size) < 0.2, np.inf, rng.normal(size=size)) for size in sizes],
        "single": [(rng.normal(size=size) + mask).astype(np.float32) for size, mask in zip(sizes, masks, strict=True)],
    }
    return masks, maps[kind]


KINDS = ("plain", "ties", "constant", "perfect", "reversed", "infinite", "single")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("limit", [0.02, 0.3, 1.0])
def test_aupro_equals_a_literal_reading_of_its_definition(kind, limit):
    for seed in range(12):
        masks, maps = pictures(seed, kind)
        assert abs(aupro(masks, maps, limit) - literal_aupro(masks, maps, limit)) < 1e-9


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "infinite"])
def test_pixel_auroc_equals_that_of_scikit_learn(kind):
    for seed in range(12):
        masks, maps = pictures(seed, kind)
        flat = (np.concatenate([one.ravel() for one in of]) for of in (masks, maps))
        assert abs(pixel_auroc(masks, maps) - roc_auc_score(*flat)) < 1e-12


def test_what_is_known_beforehand_comes_out():
    for kind, expected in (("perfect", (1.0, 1.0)), ("constant", (0.5, 0.15)), ("reversed", (0.0, 0.0))):
        masks, maps = pictures(0, kind)
        assert (pixel_auroc(masks, maps), aupro(masks, maps)) == pytest.approx(expected)


def test_a_small_defect_counts_as_much_as_a_large_one():
    mask = np.zeros((20, 20), int)
    mask[0, 0], mask[5:15, 5:15] = 1, 1
    assert aupro([mask], [(np.arange(400).reshape(20, 20) == 0).astype(float)]) == pytest.approx(0.5 + 0.5 * 0.15)


def test_ten_million_pixels_take_seconds():
    rng = np.random.default_rng(0)
    masks = np.zeros((160, 256, 256), bool)
    masks[40:, 100:110, 100:110] = True
    maps = rng.random(masks.shape, dtype=np.float32) + masks.astype(np.float32) / 2
    start = time.process_time()
    area, overlap = pixel_intervals(masks, maps)
    assert time.process_time() - start < 30
    assert area.value == pytest.approx(0.875, abs=0.005) and area.low <= area.value <= area.high
    assert 0 < overlap.high - overlap.low < 0.02


def test_the_interval_covers_the_truth_as_often_as_it_says():
    """Defects differ from picture to picture, so pixels of one picture move together: pictures must be drawn, not pixels."""
    masks = np.zeros((60, 12, 12), int)
    masks[20:, 3:6, 3:6] = 1

    def maps(seed, n=60):
        rng = np.random.default_rng(seed)
        return rng.normal(size=(n, 12, 12)) + rng.normal(1.5, 1, (n, 1, 1)) * masks[np.arange(n) % 60]

    truth = [np.mean([metric(masks, maps(1000 + i)) for i in range(60)]) for metric in (pixel_auroc, aupro)]
    found = [pixel_intervals(masks, maps(i), repeats=200) for i in range(60)]
    for i in range(2):
        covered = np.mean([both[i].low <= truth[i] <= both[i].high for both in found])
        assert 0.86 <= covered <= 1.0


def test_groups_widen_the_interval():
    masks = np.zeros((40, 8, 8), int)
    masks[10:, 2:5, 2:5] = 1
    rng = np.random.default_rng(0)
    tiles = np.arange(40) // 5
    maps = rng.normal(size=masks.shape) + rng.normal(1.5, 1, 8)[tiles][:, None, None] * masks
    alone, grouped = pixel_intervals(masks, maps)[1], pixel_intervals(masks, maps, groups=tiles)[1]
    assert alone.value == grouped.value and grouped.high - grouped.low > 1.3 * (alone.high - alone.low)


ONE = np.eye(4, dtype=int)


@pytest.mark.parametrize(
    ("call", "refusal", "words"),
    [
        (lambda: aupro([ONE], [np.ones((5, 4))]), WrongShape, "bring the map to the height and width of its mask"),
        (lambda: aupro([ONE], []), WrongShape, "got 1 masks and 0 maps"),
        (lambda: pixel_auroc([ONE * 0], [ONE]), InvalidSetting, "here 0 of 16 are marked"),
        (lambda: pixel_auroc([ONE], [np.full((4, 4), np.nan)]), InvalidSetting, "not a number"),
        (lambda: aupro([ONE], [ONE], 0.0), InvalidSetting, "above 0 and up to 1"),
        (lambda: pixel_intervals([ONE], [ONE]), InvalidSetting, "quote the figure without an interval"),
        (lambda: pixel_intervals([ONE] * 2, [ONE] * 2, confidence=1.0), InvalidSetting, "between 0 and 1"),
        (lambda: pixel_intervals([ONE] * 2, [ONE] * 2, groups=[1]), WrongShape, "one group for each picture"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_words(call, refusal, words):
    with pytest.raises(refusal, match=words):
        call()
