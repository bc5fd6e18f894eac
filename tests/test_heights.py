"""Maps to one strangeness: the promise holds for all places together, whatever the maps, and every place answers for itself."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import uniform_filter
from scipy.stats import betabinom

from diffident.calibration import Calibration, Heights, Highest, PlaceByPlace, combiner
from diffident.errors import InvalidSetting, NotPerElement, TooFewReferences, WrongShape
from diffident.regions import ceiling, where
from diffident.scores import Scores
from diffident.verdict import Policy, verdicts_of

KINDS = (Highest(), PlaceByPlace(), PlaceByPlace(share=0.0, power=1.0), PlaceByPlace(share=1.0))


def maps(rng: np.random.Generator, n: int, grid: tuple[int, ...] = (6, 5), bands: int = 2, smooth: int = 1) -> np.ndarray:
    """Squares of noise, of another spread at each place, correlated between neighbours if asked."""
    drawn = rng.normal(size=(n, bands, *grid)) * np.linspace(0.5, 3, grid[-1])
    return np.square(uniform_filter(drawn, (0, 0, *(smooth,) * len(grid))) if smooth > 1 else drawn)


def tolerated(n: int, m: int, repeats: int, k: int) -> tuple[float, float]:
    """The central 99.9 % of the number of false alarms, by a normal law with the variance of beta-binomials."""
    one = betabinom(m, k, n + 1 - k)
    return repeats * one.mean() - 3.3 * (repeats * one.var()) ** 0.5, repeats * one.mean() + 3.3 * (repeats * one.var()) ** 0.5


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize(("n", "level", "smooth"), [(19, 0.05, 1), (39, 0.1, 3), (60, 0.2, 5)])
def test_good_items_have_any_place_marked_as_often_as_promised(kind: Heights, n: int, level: float, smooth: int) -> None:
    rng, m, repeats, k = np.random.default_rng(n), 12, 150, int(level * (n + 1) + 1e-9)
    marked = 0
    for _ in range(repeats):
        found = kind.places(maps(rng, n, smooth=smooth), maps(rng, m, smooth=smooth))
        marked += int((found.p.reshape(m, -1) <= k / (n + 1)).any(axis=1).sum())
    least, most = tolerated(n, m, repeats, k)
    assert least < marked < most


def test_taking_each_place_by_itself_is_caught() -> None:
    """The same count for p-values of each place beside the same place alone: what the maximum is there for."""
    rng, n, m, repeats = np.random.default_rng(0), 19, 12, 40
    marked = 0
    for _ in range(repeats):
        known, items = maps(rng, n).reshape(n, -1), maps(rng, m).reshape(m, -1)
        marked += int(((known[None] >= items[:, None]).sum(axis=1) == 0).any(axis=1).sum())
    assert marked > 3 * tolerated(n, m, repeats, 1)[1]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_smallest_p_of_the_places_is_the_items_own(kind: Heights, rng: np.random.Generator) -> None:
    known, items = maps(rng, 47), maps(rng, 20) * np.linspace(0.5, 3, 20)[:, None, None, None]
    smallest = kind.places(known, items).p.reshape(20, -1).min(axis=1)
    assert np.array_equal(smallest, kind.p_values(known, items, ())) and len(set(smallest)) > 5


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_an_item_is_the_same_alone_and_in_any_company(kind: Heights, rng: np.random.Generator) -> None:
    known, items = maps(rng, 30, (7, 3)), maps(rng, 9, (7, 3))
    together = kind.places(known, items)
    for i in range(9):
        alone = kind.places(known, items[i : i + 1])
        assert all(np.array_equal(getattr(alone, of)[0], getattr(together, of)[i]) for of in ("heights", "p", "ceilings"))
        assert np.array_equal(kind.score(known, items[i : i + 1], ()), kind.score(known, items, ())[i : i + 1])


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_order_of_references_does_not_matter(kind: Heights, rng: np.random.Generator) -> None:
    known, items = maps(rng, 40), maps(rng, 8)
    plain, shuffled = kind.places(known, items), kind.places(known[rng.permutation(40)], items)
    assert np.array_equal(plain.p, shuffled.p) and np.allclose(plain.heights, shuffled.heights, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_fit_treats_item_and_references_alike(kind: Heights, rng: np.random.Generator) -> None:
    """Change the item for a reference: the heights change places and nothing else, which is what makes p-values exact."""
    known, item = maps(rng, 20), maps(rng, 1)
    first = kind.places(known, item)
    swapped = np.concatenate([item, known[1:]])
    second = kind.places(swapped, known[:1])
    assert first.ceilings[0, 0] == pytest.approx(second.heights[0].max(), rel=1e-9)
    assert second.ceilings[0, 0] == pytest.approx(first.heights[0].max(), rel=1e-9)
    assert second.ceilings[0, 1:] == pytest.approx(first.ceilings[0, 1:], rel=1e-9)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_tie_counts_against_flagging(kind: Heights, rng: np.random.Generator) -> None:
    known = maps(rng, 29)
    highest = kind.score(known, known, ()).argmax()
    assert kind.p_values(known, known[highest : highest + 1], ())[0] >= 2 / 30


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_constant_maps_are_as_ordinary_as_can_be(kind: Heights) -> None:
    same = np.full((25, 1, 4, 4), 3.0)
    assert np.array_equal(kind.places(same, same[:2]).p, np.ones((2, 4, 4)))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_place_lies_above_the_ceiling_exactly_if_its_p_says_so(kind: Heights, rng: np.random.Generator) -> None:
    known, items = maps(rng, 59), maps(rng, 40) * np.linspace(0.5, 4, 40)[:, None, None, None]
    found = kind.places(known, items)
    for level in (0.0167, 0.05, 0.2):
        above = np.stack([found.heights[i] > ceiling(found, i, level) for i in range(40)])
        assert np.array_equal(above, found.p <= level) and above.any() and not above.all()
    assert ceiling(found, 0, 0.01) == np.inf, "59 references reach 1/60 and no lower"


def test_a_place_that_is_unruly_does_not_drown_the_others(rng: np.random.Generator) -> None:
    down, across = np.indices((8, 8))
    spread = 1 + 3 * np.exp(-(np.square(down - 2) + np.square(across - 2)) / 6)

    def parts(n: int) -> np.ndarray:
        return np.square(spread * rng.normal(size=(n, 1, 8, 8)))

    known, strange = parts(99), parts(40)
    strange[:, :, 6, 5] += 40.0
    power = {kind.name: (kind.p_values(known, strange, ()) <= 0.05).mean() for kind in (PlaceByPlace(), Highest())}
    assert power["places"] > 0.9 and power["highest"] < 0.3
    assert (PlaceByPlace().peaks(known, strange)[:, 0] == 6.5 / 8).mean() > 0.9


def test_peaks_are_where_the_highest_place_is(rng: np.random.Generator) -> None:
    known, items = maps(rng, 30, (4, 10)), maps(rng, 2, (4, 10))
    items[0, :, 3, 0] += 500.0
    items[1, :, 0, 7] += 500.0
    for kind in KINDS:
        assert kind.peaks(known, items) == pytest.approx(np.array([[3.5 / 4, 0.5 / 10], [0.5 / 4, 7.5 / 10]]))


def test_grids_of_one_dimension_and_single_bands_are_combined_too(rng: np.random.Generator) -> None:
    known, item = maps(rng, 39, (9,), bands=1), np.zeros((1, 1, 9))
    item[..., 4] = 400.0
    found = PlaceByPlace().places(known, item)
    assert found.p.shape == (1, 9) and found.p[0].argmin() == 4 and found.p[0, 4] == 1 / 40


def test_no_items_are_no_trouble(rng: np.random.Generator) -> None:
    found = PlaceByPlace().places(maps(rng, 20), maps(rng, 0))
    assert found.p.shape == (0, 6, 5) and found.ceilings.shape == (0, 20)


def test_what_cannot_be_combined_is_refused(rng: np.random.Generator) -> None:
    known, items = maps(rng, 20), maps(rng, 2)
    with pytest.raises(TooFewReferences, match="0 reference items"):
        Highest().places(known[:0], items)
    with pytest.raises(WrongShape, match=r"\(20, 2, 6, 5\) and \(2, 1, 6, 5\)"):
        PlaceByPlace().p_values(known, items[:, :1], ())
    with pytest.raises(WrongShape, match="NaN or infinity"):
        PlaceByPlace().score(known, np.full_like(items, np.nan), ())
    for wrong in ({"share": 1.5}, {"power": 0.0}):
        with pytest.raises(InvalidSetting, match="the share of the overall variance"):
            combiner("places", wrong)


def scores(values: np.ndarray, of: np.ndarray | None) -> Scores:
    names = tuple(f"{i}.png" for i in range(len(values)))
    return Scores(names, ("residual",), values, ("upper",), ("comes back changed",), "f", maps=of)


def test_a_calibration_says_where_only_if_it_compares_places(rng: np.random.Generator) -> None:
    known, item = maps(rng, 30), maps(rng, 2)
    item[1] = np.nan
    mapped = Calibration(scores(rng.normal(size=(30, 1)), known), PlaceByPlace())
    asked = scores(np.array([[0.0], [np.nan]]), item)
    judged = mapped.judge(asked)
    assert judged.peaks is not None and np.isfinite(judged.peaks[0]).all() and np.isnan(judged.peaks[1]).all() and np.isnan(judged.p[1])
    assert np.isnan(mapped.places(asked).p[1]).all() and mapped.places(asked).p[0].min() == judged.p[0]
    numbers = Calibration(scores(rng.normal(size=(30, 1)), None))
    assert numbers.judge(asked).peaks is None
    with pytest.raises(NotPerElement, match="knows how strange an item is and not where"):
        numbers.places(asked)
    with pytest.raises(WrongShape, match="these scores hold none"):
        mapped.judge(scores(np.array([[0.0]]), None))


def test_the_sentence_names_the_place_unless_items_were_moved_before(rng: np.random.Generator) -> None:
    known, item = maps(rng, 30, (4, 10)), maps(rng, 1, (4, 10))
    item[0, :, 3, 0] += 500.0
    mapped, asked = Calibration(scores(rng.normal(size=(30, 1)), known), PlaceByPlace()), scores(np.array([[0.0]]), item)
    judged = mapped.judge(asked)
    said = [next(verdicts_of(asked, one, Policy(0.05))).because for one in (judged, judged.somewhere())]
    assert said[0] == "stranger than 30 of 30 references: it stands out most 5 % from the left and 88 % from the top"
    assert said[1] == "stranger than 30 of 30 references: it has a place that stands out"


def test_nothing_is_marked_where_no_place_may_be_whatever_was_rounded_on_the_way(rng: np.random.Generator) -> None:
    """Heights reach a picture in single precision: rounded up, a tie would rise above the ceiling."""
    found = Highest().places(maps(rng, 19), maps(rng, 1))
    tall = np.full((12, 10), np.nextafter(found.ceilings[0].max(), np.inf))
    assert found.p.min() > 0.05, "the item is ordinary"
    assert not where(tall, tall, found, 0, 0.05, (12.0, 10.0)).mask.any()


def test_what_strays_far_does_not_widen_its_own_measure(rng: np.random.Generator) -> None:
    known, items = maps(rng, 59, bands=1), np.repeat(maps(rng, 1, bands=1), 2, axis=0)
    items[0, 0, 2, 2], items[1, 0, 2, 2] = 1e4, 1e6
    found = PlaceByPlace().places(known, items)
    assert found.heights[1].max() == pytest.approx(10 * found.heights[0].max())
    assert np.array_equal(found.heights.reshape(2, -1).max(1), PlaceByPlace().score(known, items, ()))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_each_is_measured_beside_all_others(kind: Heights, rng: np.random.Generator) -> None:
    """The ceilings are what each reference would reach as the item, the item in its place: worked out one by one."""
    known, item = maps(rng, 12, bands=2), maps(rng, 1, bands=2)
    found = kind.places(known, item)
    for i in range(12):
        changed = known.copy()
        changed[i] = item[0]
        assert found.ceilings[0, i] == pytest.approx(kind.places(changed, known[i : i + 1]).heights.max(), rel=1e-9)


def test_marks_are_drawn_in_to_half_the_height_of_their_region() -> None:
    """A strong place and its halo, and a weak place apart: the halo is left out, the weak place is not."""
    down, across = np.indices((24, 24))
    item = 9.0 * np.exp(-(np.square(down - 6) + np.square(across - 6)) / 18)
    item[18, 18] = 2.0
    known = np.random.default_rng(0).uniform(0, 1, (99, 1, 24, 24))
    found = Highest().places(known, item[None, None])
    marked = where(item, item, found, 0, 0.05, (24.0, 24.0))
    above = item > ceiling(found, 0, 0.05)
    assert marked.mask is not None and marked.mask[6, 6] and marked.mask[18, 18] and len(marked.regions) == 2
    assert not (marked.mask & ~above).any() and 3 * marked.mask.sum() < 2 * above.sum()
    assert item[:12, :12][marked.mask[:12, :12]].min() >= 0.5 * (9 + ceiling(found, 0, 0.05)) - 1e-9
