"""Promises of the judging half: exact p-values, bounds that hold, and numbers that do not depend on company."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import beta, betabinom, false_discovery_control

from benchmarks.checker import Counts, judge_counts
from diffident.calibration import (
    COMBINERS,
    Calibration,
    Depth,
    Fusion,
    Gaussian,
    Limit,
    Ranks,
    Robust,
    Strangeness,
    combiner,
    conformal_p,
    evidence_p,
    false_alarm_bound,
    false_discoveries,
    fewest_discoveries,
    needed,
    smallest_p,
)
from diffident.calibration.ranks import steps
from diffident.errors import CalibrationError, ForeignScores, InvalidSetting, NotFinite, TooFewReferences, UnknownName, WrongShape
from diffident.scores import Scores

ALL = [Gaussian(), Gaussian(0.0), Gaussian(1.0), Ranks(), Robust(), Fusion()]
UP = ("upper",)


def world(rng: np.random.Generator, n: int, k: int) -> np.ndarray:
    """Correlated and heavy-tailed: cubes of normals with a common part, k columns of very different units."""
    return (rng.normal(size=(n, k)) + rng.normal(size=(n, 1))) ** 3 * 10.0 ** np.arange(-3, k - 3)


def table(values: np.ndarray, fingerprint: str = "f", problems: tuple[str, ...] = ()) -> Scores:
    n, k = values.shape
    columns = tuple(f"c{j}" for j in range(k))
    return Scores(tuple(f"i{i}" for i in range(n)), columns, values, ("upper",) * k, columns, fingerprint, ("",) * n, ({},) * n, problems)


def by_definition(references: np.ndarray, item: np.ndarray) -> float:
    """Full conformal by the book with plain covariance: refit on all n + 1 rows, rank the last among them."""
    rows = np.vstack([references, item])
    away = rows - rows.mean(axis=0)
    distance = np.einsum("ij,jk,ik->i", away, np.linalg.inv(away.T @ away / len(rows)), away)
    return float(np.mean(distance >= distance[-1] * (1 - 1e-9)))


@pytest.mark.parametrize("strange", ALL, ids=repr)
@pytest.mark.parametrize("k", [1, 6])
def test_false_alarms_stay_below_what_was_promised(strange: Strangeness, k: int) -> None:
    rng = np.random.default_rng(0)
    p = np.concatenate([strange.p_values(world(rng, 39, k), world(rng, 4, k), ("both",) * k) for _ in range(400)])
    for level in (0.05, 0.1, 0.3):
        flags = np.sum((p <= level * (1 + 1e-9)).reshape(400, 4))
        spread = np.sqrt(400 * betabinom.var(4, steps(39, level), 40 - steps(39, level)))
        assert flags <= 1600 * level + 4 * spread
        assert flags >= 1600 * level * (0.4 if isinstance(strange, Ranks) and k == 1 else 1) - 4 * spread, (
            "a p-value that never speaks would pass the first line"
        )


def test_full_conformal_by_updates_equals_the_definition() -> None:
    rng = np.random.default_rng(1)
    references, items = rng.normal(size=(30, 4)) @ rng.normal(size=(4, 4)), 2 * rng.normal(size=(25, 4))
    expected = [by_definition(references, item) for item in items]
    np.testing.assert_allclose(Gaussian(0.0).p_values(references, items, ("both",) * 4), expected, rtol=1e-12)


@pytest.mark.parametrize("strange", ALL, ids=repr)
def test_an_item_and_a_reference_are_treated_alike(strange: Strangeness) -> None:
    """Rank every row of one table among the others by full conformal: without ties the ranks are a permutation."""
    rows = np.random.default_rng(2).normal(size=(25, 3))
    p = [strange.p_values(np.delete(rows, i, axis=0), rows[[i]], ("upper", "both", "lower"))[0] for i in range(25)]
    for i, level in enumerate(np.arange(1, 26) / 25):
        assert np.sum(np.array(p) <= level + 1e-9) <= i + 1
    if not isinstance(strange, Ranks):
        np.testing.assert_allclose(np.sort(p), np.arange(1, 26) / 25)


@pytest.mark.parametrize("strange", ALL, ids=repr)
@pytest.mark.parametrize(("n", "k"), [(1, 1), (7, 1), (20, 3), (64, 20), (10, 30), (1000, 9)])
def test_numbers_are_the_same_to_the_bit_alone_and_in_company(strange: Strangeness, n: int, k: int) -> None:
    rng = np.random.default_rng(3)
    references, items, tails = world(rng, n, k), world(rng, 37, k), tuple(("upper", "lower", "both")[j % 3] for j in range(k))
    order = rng.permutation(37)
    for ask in (strange.score, strange.p_values):
        together = ask(references, items, tails)
        alone = np.concatenate([ask(references, items[[i]], tails) for i in range(37)])
        assert together.tobytes() == alone.tobytes()
        assert together[order].tobytes() == ask(references, items[order], tails).tobytes()


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    references, items = world(rng, 50, 5), world(rng, 40, 5)
    whole = [strange.p_values(references, items, ("upper",) * 5).tobytes() for strange in ALL]
    monkeypatch.setattr("diffident.calibration.strangeness.BLOCK", 700)
    assert whole == [strange.p_values(references, items, ("upper",) * 5).tobytes() for strange in ALL]


@pytest.mark.parametrize("strange", [Gaussian(), Gaussian(0.2), Robust()], ids=repr)
def test_units_do_not_matter(strange: Strangeness) -> None:
    rng = np.random.default_rng(5)
    references, items = rng.normal(size=(60, 4)), 2 * rng.normal(size=(30, 4))
    unit = np.array([1e-9, 1.0, 1e5, -1e30])
    np.testing.assert_allclose(strange.score(references * unit, items * unit, ("both",) * 4), strange.score(references, items, ("both",) * 4), rtol=1e-9)
    np.testing.assert_array_equal(strange.p_values(references * unit, items * unit, ("both",) * 4), strange.p_values(references, items, ("both",) * 4))


@settings(max_examples=60, deadline=None)
@given(arrays(np.float64, (9, 3), elements=st.floats(-1e300, 1e300) | st.sampled_from([0.0, 1.0, -1.0, 1e-300, 0.1])), st.integers(1, 8))
def test_any_finite_numbers_give_a_p_value_and_a_finite_score(rows: np.ndarray, n: int) -> None:
    for strange in ALL:
        p, score = strange.p_values(rows[:n], rows[n:], ("upper", "lower", "both")), strange.score(rows[:n], rows[n:], ("upper", "lower", "both"))
        assert np.all((p >= smallest_p(n) - 1e-12) & (p <= 1))
        assert np.isfinite(score).all()


@pytest.mark.parametrize("strange", ALL, ids=repr)
def test_ties_count_against_flagging(strange: Strangeness) -> None:
    constant = np.full((20, 3), 0.1)
    assert strange.p_values(constant, constant[:2], ("upper",) * 3).tolist() == [1.0, 1.0]
    twins = np.repeat(np.random.default_rng(6).normal(size=(10, 3)), 2, axis=0)
    with_a_twin = strange.p_values(twins[:-1], twins[-1:], ("upper",) * 3)
    assert with_a_twin[0] >= 2 / 20 - 1e-12, "an item equal to a reference cannot be stranger than it"


def test_a_column_that_never_moved_and_now_moves_is_the_strangest_thing() -> None:
    rng = np.random.default_rng(7)
    references = np.column_stack([rng.normal(size=50), np.full(50, 0.1), np.zeros(50)])
    moved = np.array([[0.0, 0.1001, 0.0], [0.0, 0.1, 1e-6], [0.0, 0.1, 0.0]])
    p = Gaussian().p_values(references, moved, ("upper",) * 3)
    assert p[0] == p[1] == 1 / 51 and p[2] > 0.5
    score = Gaussian().score(references, moved, ("upper",) * 3)
    assert score[0] > 1e3 * score[2] and score[1] > 1e3 * score[2]


def test_the_gaussian_sees_a_broken_correlation_that_no_column_shows() -> None:
    rng = np.random.default_rng(8)
    common = rng.normal(size=(80, 1))
    references = common + 0.1 * rng.normal(size=(80, 2))
    torn = np.array([[1.0, -1.0]])
    assert Gaussian().p_values(references, torn, ("both",) * 2)[0] == 1 / 81
    assert evidence_p(references, torn, ("both",) * 2).min() > 0.1


def test_no_reference_is_wasted_by_full_conformal() -> None:
    """64 references, 20 statistics, level .05: refitting is sharper than fitting on one half and ranking on the other."""
    rng, full, halves, strange = np.random.default_rng(9), [], [], Gaussian()
    for _ in range(60):
        references, items = rng.normal(size=(64, 20)), rng.normal(size=(20, 20)) + 1.1
        full.append(strange.p_values(references, items, ("both",) * 20) <= 0.05)
        fit, rank = references[:32], references[32:]
        halves.append(conformal_p(strange.score(fit, rank, ("both",) * 20), strange.score(fit, items, ("both",) * 20)) <= 0.05)
    assert np.mean(full) > np.mean(halves) + 0.08


def test_drawn_in_tails_see_more_where_tails_are_heavy() -> None:
    rng, plain, robust = np.random.default_rng(19), [], []
    for _ in range(12):
        references, items = rng.normal(size=(64, 20)) ** 3, (rng.normal(size=(10, 20)) + 1.2) ** 3
        plain.append(Gaussian().p_values(references, items, ("both",) * 20) <= 0.05)
        robust.append(Robust().p_values(references, items, ("both",) * 20) <= 0.05)
    assert np.mean(robust) > np.mean(plain) + 0.1


@pytest.mark.parametrize("tail", ["upper", "lower", "both"])
def test_ranks_of_one_column_are_the_plain_conformal_p(tail: str) -> None:
    rng = np.random.default_rng(10)
    references, items = rng.integers(0, 30, size=(40, 1)).astype(float), rng.integers(-5, 35, size=(60, 1)).astype(float)
    p = Ranks().p_values(references, items, (tail,))
    if tail == "both":
        ends = Ranks().p_values(references, np.array([[-1e6], [1e6], [np.median(references)]]), (tail,))
        assert ends[0] == ends[1] == 1 / 41 and ends[2] == 1.0, "either end can be the strangest of all, the middle cannot"
        np.testing.assert_array_equal(p, evidence_p(references, items, (tail,))[:, 0])
    else:
        np.testing.assert_allclose(p, conformal_p(*((references[:, 0], items[:, 0]) if tail == "upper" else (-references[:, 0], -items[:, 0]))))
    away, ordered = items[:, 0] - np.median(references), np.sort(references[:, 0])
    above, below = ordered[30] - np.median(references), np.median(references) - ordered[9]
    raw = {"upper": items[:, 0], "lower": -items[:, 0], "both": np.where(away > 0, away / above, -away / below)}[tail]
    np.testing.assert_allclose(Ranks().score(references, items, (tail,)), raw, rtol=1e-12)


@pytest.mark.parametrize("strange", ALL, ids=repr)
def test_scores_beyond_the_last_reference_keep_their_order(strange: Strangeness) -> None:
    references = np.random.default_rng(11).normal(size=(50, 3))
    farther = np.arange(5.0, 105.0)[:, None] * np.ones(3)
    assert np.all(np.diff(strange.score(references, farther, ("upper",) * 3)) > 0)


def test_direction_matters_to_ranks_as_the_tail_says() -> None:
    references = np.random.default_rng(12).normal(size=(99, 2))
    item = np.array([[9.0, -9.0]])
    assert Ranks().p_values(references, item, ("upper", "lower"))[0] == 0.01
    assert Ranks().p_values(references, item, ("lower", "upper"))[0] == 1.0


@pytest.mark.parametrize("strange", ALL, ids=repr)
def test_what_cannot_be_combined_is_refused(strange: Strangeness) -> None:
    good = np.zeros((3, 2))
    for references, items, tails in ((good, np.zeros((1, 3)), UP * 2), (good, good, UP), (good, good * np.nan, UP * 2), (good[0], good, UP * 2)):
        with pytest.raises(WrongShape):
            strange.p_values(references, items, tails)
    with pytest.raises(InvalidSetting, match="sideways"):
        strange.score(good, good, ("upper", "sideways"))
    with pytest.raises(TooFewReferences, match="0 reference items"):
        strange.p_values(good[:0], good, UP * 2)
    assert strange.p_values(good, good[:0], UP * 2).shape == strange.score(good, good[:0], UP * 2).shape == (0,)


@pytest.mark.parametrize("strange", ALL, ids=repr)
def test_a_combiner_comes_back_from_json(strange: Strangeness) -> None:
    config = json.loads(json.dumps(strange.to_config()))
    assert combiner(config["name"], config["settings"]) == strange


def test_unknown_combiners_and_settings_are_refused() -> None:
    assert [combiner(name).name for name in COMBINERS] == list(COMBINERS)
    with pytest.raises(UnknownName, match="fusion, gaussian, highest, places, ranks, robust"):
        combiner("copula")
    with pytest.raises(InvalidSetting, match="no setting 'width'"):
        combiner("ranks", {"width": 1})
    for name, settings_ in (("gaussian", {"shrinkage": 1.5}), ("robust", {"shrinkage": -1.0}), ("robust", {"width": 0.0})):
        with pytest.raises(InvalidSetting, match="shrinkage|width"):
            combiner(name, settings_)


def test_how_many_references_a_level_needs() -> None:
    assert [needed(level) for level in (0.01, 0.05, 0.1, 0.02, 0.5, 0.9)] == [99, 19, 9, 49, 1, 1]
    for level in np.linspace(0.001, 0.6, 300):
        n = needed(level)
        assert steps(n, level) >= 1 and (n == 1 or steps(n - 1, level) == 0)
    with pytest.raises(InvalidSetting):
        needed(0.0)


def test_the_stated_bound_covers_nine_calibrations_in_ten() -> None:
    rng = np.random.default_rng(13)
    for n, level in ((64, 0.05), (99, 0.01), (30, 0.1)):
        threshold = np.sort(rng.uniform(size=(4000, n)), axis=1)[:, n - steps(n, level)]
        assert abs(np.mean(1 - threshold <= false_alarm_bound(n, level)) - 0.9) < 0.02
    assert false_alarm_bound(50, 0.01) == 0.0
    assert false_alarm_bound(64, 0.05, 0.975) == pytest.approx(beta.ppf(0.975, 3, 62))
    with pytest.raises(InvalidSetting, match="confidence"):
        false_alarm_bound(64, 0.05, 1.0)


@pytest.mark.parametrize(("dependence", "method"), [("positive", "bh"), ("any", "by")])
def test_false_discoveries_are_those_of_benjamini_and_hochberg(dependence: str, method: str) -> None:
    rng = np.random.default_rng(14)
    p = np.concatenate([rng.uniform(0.001, 1, 80), np.full(20, 0.001)])
    np.testing.assert_array_equal(false_discoveries(p, 0.1, 999, dependence), false_discovery_control(p, method=method) <= 0.1)
    assert false_discoveries(np.empty(0), 0.1, 5).shape == (0,)


def test_false_discoveries_stay_below_what_was_promised() -> None:
    rng, shares, found = np.random.default_rng(15), [], []
    for _ in range(150):
        items = rng.normal(size=200)
        items[:20] += 4
        called = false_discoveries(conformal_p(rng.normal(size=500), items), 0.2, 500)
        shares.append(called[20:].sum() / max(1, called.sum()))
        found.append(called[:20].mean())
    assert np.mean(shares) < 0.18 + 3 * np.std(shares) / np.sqrt(150)
    assert np.mean(found) > 0.9


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.sampled_from([0.01, 0.05, 0.1, 0.29]), st.sampled_from(["positive", "any"]))
def test_the_first_discovery_comes_exactly_when_it_was_said(m: int, n: int, level: float, dependence: str) -> None:
    fewest = fewest_discoveries(m, level, n, dependence)
    p = np.ones(m)
    if fewest > m:
        with pytest.raises(TooFewReferences, match="give at least") as refusal:
            false_discoveries(p, level, n, dependence)
        enough = int(str(refusal.value).split("give at least ")[1].split(",")[0])
        assert fewest_discoveries(m, level, enough, dependence) <= m < fewest_discoveries(m, level, enough - 1, dependence)
        return
    p[:fewest] = smallest_p(n)
    assert false_discoveries(p, level, n, dependence).sum() == fewest
    p[fewest - 1] = 1.0
    assert not false_discoveries(p, level, n, dependence).any()


def test_a_batch_with_nan_or_an_unknown_dependence_is_refused() -> None:
    with pytest.raises(NotFinite, match="1 of 2"):
        false_discoveries(np.array([0.1, np.nan]), 0.1, 99)
    with pytest.raises(InvalidSetting, match="dependence"):
        false_discoveries(np.array([0.1]), 0.1, 99, "some")


def test_evidence_is_refused_without_references_or_with_other_columns() -> None:
    with pytest.raises(TooFewReferences):
        conformal_p(np.empty(0), np.ones(2))
    with pytest.raises(WrongShape):
        evidence_p(np.ones((3, 2)), np.ones((1, 1)), UP)


def test_depth_speaks_in_plain_words_and_comes_back_from_json() -> None:
    depth = Depth((Limit("width", 28.0, 28.0, "wrong size"), Limit("contrast", 0.1, 2.5, "blank")))
    good = {"width": 28.0, "contrast": 0.1, "finite": 1.0}
    assert depth.check(good) == ""
    assert depth.check(good | {"width": 64.0}) == "wrong size: width 64, known-good items have 28 to 28"
    assert depth.check(good | {"contrast": 0.0}).startswith("blank: contrast 0,")
    assert depth.check(good | {"finite": 0.5}) == "not finite: 50.00% of its values are NaN or infinite"
    assert depth.check(good | {"finite": float("nan")}).startswith("not finite")
    assert depth.check(good | {"contrast": float("nan")}).startswith("not finite: contrast")
    assert depth.check({"width": 28.0}) == "blank: contrast was not measured"
    assert Depth.from_config(json.loads(json.dumps(depth.to_config()))) == depth
    with pytest.raises(InvalidSetting, match="low <= high"):
        Limit("width", 2.0, 1.0, "wrong size")


def test_a_calibration_judges_readable_rows_and_leaves_the_others_nan() -> None:
    rng = np.random.default_rng(16)
    values = rng.normal(size=(5, 2))
    values[1, 0], values[3] = np.inf, np.nan
    calibration = Calibration(table(rng.normal(size=(40, 2))))
    judged = calibration.judge(table(values, problems=("", "", "truncated", "", "")))
    np.testing.assert_array_equal(np.isnan(judged.p), [False, True, True, True, False])
    np.testing.assert_array_equal(np.isnan(judged.strangeness), np.isnan(judged.p))
    assert judged.evidence.shape == (5, 2) and judged.references == len(calibration) == 40
    assert judged.p[4] == calibration.judge(table(values[4:])).p[0]


def test_a_calibration_refuses_what_it_cannot_stand_on() -> None:
    bad = np.ones((5, 1))
    bad[[1, 2, 3, 4]] = np.nan
    with pytest.raises(NotFinite, match=r"4 of 5 references .*i1, i2, i3, \.\.\."):
        Calibration(table(bad))
    with pytest.raises(TooFewReferences, match="0 reference"):
        Calibration(table(np.ones((0, 1))))
    with pytest.raises(ForeignScores):
        Calibration(table(np.ones((5, 1)))).judge(table(np.ones((1, 1)), fingerprint="other"))
    assert issubclass(NotFinite, CalibrationError)


def honest(rng: np.random.Generator, n: int, level: float, m: int, repeats: int) -> Counts:
    flags = sum(int(np.sum(conformal_p(rng.normal(size=n), rng.normal(size=m)) <= level * (1 + 1e-9))) for _ in range(repeats))
    return Counts("honest", n, level, m, repeats, flags)


def test_the_checker_passes_the_honest_as_often_as_it_says() -> None:
    rng = np.random.default_rng(17)
    outside = [not all(j.inside for j in judge_counts([honest(rng, n, a, 20, 20) for n in (50, 99) for a in (0.05, 0.1)])) for _ in range(60)]
    assert np.mean(outside) < 0.17, "5 % of honest tables at most, four standard errors allowed"


def test_the_checker_catches_a_percentile_of_training_scores() -> None:
    rng, flags = np.random.default_rng(18), 0
    for _ in range(60):
        references, items = rng.normal(size=(50, 6)), rng.normal(size=(20, 6))
        known = Gaussian().score(references, references, ("both",) * 6)
        flags += int(np.sum(Gaussian().score(references, items, ("both",) * 6) > np.quantile(known, 0.95)))
    assert not judge_counts([Counts("wrong", 50, 0.05, 20, 60, flags), honest(rng, 50, 0.05, 20, 60)])[0].inside


def test_the_checker_knows_the_law_of_one_calibration_and_who_cannot_flag() -> None:
    one = judge_counts([Counts("one", 39, 0.05, 10, 1, 3)])[0]
    law = betabinom(10, 2, 38)
    assert one.p == pytest.approx(2 * law.sf(2)) and one.expected == pytest.approx(law.mean()) and (one.low, one.high) == (law.ppf(0.025), law.ppf(0.975))
    mute, loud = judge_counts([Counts("mute", 50, 0.01, 10, 5, 0), Counts("loud", 50, 0.01, 10, 5, 1)])
    assert mute.cannot_flag and mute.inside and not loud.inside


@pytest.mark.parametrize("strange", ALL, ids=repr)
@pytest.mark.parametrize("offset", [0.0, 1e8, 1e12])
def test_no_bag_of_items_has_more_small_p_values_than_ranks_allow(strange: Strangeness, offset: float) -> None:
    """Deterministic: take each of n + 1 items in turn as the new one; at most j of them may have p <= j / (n + 1). Ties and offsets included."""
    rng = np.random.default_rng(5)
    for _ in range(25):
        bag = rng.integers(0, 6, size=(16, 2)) + offset
        p = np.array([strange.p_values(np.delete(bag, i, 0), bag[i : i + 1], ("both", "both"))[0] for i in range(16)])
        assert all((p <= j / 16 + 1e-12).sum() <= j for j in range(1, 16))


def test_nan_is_never_a_p_value() -> None:
    for references, items in ((np.arange(9.0), np.array([np.nan])), (np.array([1.0, np.nan]), np.array([1.0]))):
        with pytest.raises(NotFinite, match="NaN"):
            conformal_p(references, items)


def test_two_sided_ranks_survive_the_largest_floats() -> None:
    huge = np.array([[1.7e308], [-1.7e308], [1.6e308], [1.5e308]])
    assert 0 < Ranks().p_values(huge, np.array([[1.79e308]]), ("both",))[0] <= 1
