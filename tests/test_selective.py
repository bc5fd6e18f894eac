"""Promises of selective prediction: areas by their meaning, ties by the mean over all orders, maps that point nowhere are told."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffident.errors import InvalidSetting, WrongShape
from diffident.evaluate import (
    augrc,
    aurc,
    auroc,
    coverage_at,
    excess_aurc,
    interval,
    removed_at,
    risk_at,
    risk_coverage,
    sparsification,
)

tied = st.integers(0, 3)
METRICS = (aurc, excess_aurc, augrc, risk_at, coverage_at, removed_at)


def literal(labels, order, kept=0.99):
    """Risk of each number kept, and the share of failures removed, in one given order of the items."""
    failed = [labels[i] for i in order]
    risks = [sum(failed[:k]) / k for k in range(1, len(failed) + 1)]
    wanted = int(np.ceil(kept * failed.count(0) - 1e-9))
    last = [k for k, mark in enumerate(failed) if mark == 0][wanted - 1]
    return np.array(risks), sum(failed[last:]) / sum(failed)


def orders(scores):
    """Every order from the least strange upward that the scores allow."""
    return [order for order in itertools.permutations(range(len(scores))) if all(scores[a] <= scores[b] for a, b in itertools.pairwise(order))]


@st.composite
def rankings(draw, values=tied, most=6):
    labels = draw(st.lists(st.integers(0, 1), min_size=2, max_size=most).filter(lambda marks: 0 < sum(marks) < len(marks)))
    return labels, draw(st.lists(values, min_size=len(labels), max_size=len(labels)))


@settings(max_examples=60, deadline=None)
@given(rankings(), st.floats(0.05, 1))
def test_every_figure_is_the_mean_over_all_orders_of_equal_scores(ranking, share):
    labels, scores = ranking
    told = [literal(labels, order, share) for order in orders(scores)]
    risks = np.mean([risk for risk, _ in told], axis=0)
    assert risk_coverage(labels, scores)[1] == pytest.approx(risks)
    assert aurc(labels, scores) == pytest.approx(risks.mean())
    assert risk_at(labels, scores, share) == pytest.approx(risks[int(np.ceil(share * len(labels) - 1e-9)) - 1])
    assert removed_at(labels, scores, share) == pytest.approx(np.mean([removed for _, removed in told]))


@settings(max_examples=60, deadline=None)
@given(rankings(st.floats(-1e300, 1e300), most=40))
def test_augrc_is_the_area_under_the_share_kept_and_failed(ranking):
    labels, scores = ranking
    coverage, risk = risk_coverage(labels, scores)
    heights = np.append(0.0, coverage * risk)
    area = ((heights[1:] + heights[:-1]) / 2).sum() / len(labels)
    assert augrc(labels, scores) == pytest.approx(area, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(rankings(most=30), st.floats(0, 0.99))
def test_no_more_can_be_kept_within_the_risk(ranking, allowed):
    labels, scores = ranking
    coverage, risk = risk_coverage(labels, scores)
    found = coverage_at(labels, scores, allowed)
    assert found == max((share for share, bad in zip(coverage, risk, strict=True) if bad <= allowed), default=0.0)


@pytest.mark.parametrize(("good", "failed"), [(1, 1), (90, 10), (97, 3)])
def test_a_score_that_knows_nothing_reaches_the_closed_forms(good, failed):
    labels, rate = np.repeat([0, 1], [good, failed]), failed / (good + failed)
    constant = np.zeros(good + failed)
    assert aurc(labels, constant) == pytest.approx(rate)
    assert augrc(labels, constant) == pytest.approx(rate / 2)
    assert risk_at(labels, constant, 0.8) == pytest.approx(rate)
    assert coverage_at(labels, constant, rate + 1e-9) == 1
    assert coverage_at(labels, constant, rate - 1e-9) == 0
    assert removed_at(labels, constant, 1.0) == pytest.approx(1 / (good + 1))


def test_an_oracle_has_no_excess_and_reaches_the_closed_form_of_its_area():
    labels = np.repeat([0, 1], [9_000, 1_000])
    assert excess_aurc(labels, labels) == 0
    assert aurc(labels, labels) == pytest.approx(0.1 + 0.9 * np.log(0.9), abs=1e-4)
    assert augrc(labels, labels) == pytest.approx(0.1**2 / 2)
    assert removed_at(labels, labels, 1.0) == 1
    assert coverage_at(labels, labels, 0.0) == 0.9
    assert risk_at(labels, labels, 0.95) == pytest.approx(0.05 / 0.95)
    assert aurc(labels, -labels) == pytest.approx(0.1 - 0.1 * np.log(0.1), abs=1e-4)  # the worst: every failure is kept first


def test_failures_hidden_among_the_good_show_in_what_is_removed_and_not_in_the_area():
    """What an AUROC of .95 may hide: one failure in twenty lies among the least strange of the good."""
    scores = np.concatenate([np.linspace(0, 1, 1000), np.full(5, -1.0), np.full(95, 2.0)])
    labels = np.repeat([0, 1], [1000, 100])
    assert auroc(labels, scores) == pytest.approx(0.95)
    assert removed_at(labels, scores) == pytest.approx(0.95)
    worse = np.concatenate([np.linspace(0, 1, 1000), np.full(100, 0.95)])
    assert auroc(labels, worse) == pytest.approx(0.95, abs=1e-3)
    assert removed_at(labels, worse) == 0


@settings(max_examples=30, deadline=None)
@given(rankings(most=20))
def test_infinite_scores_are_the_strangest(ranking):
    labels, scores = ranking
    beyond = [np.inf if score == 3 else -np.inf if score == 0 else score for score in scores]
    for metric in METRICS:
        assert metric(labels, beyond) == metric(labels, scores)


def test_an_interval_holds_its_figure_and_shrinks_with_more_items():
    rng = np.random.default_rng(0)
    widths = []
    for n in (100, 1600):
        labels = np.repeat([0, 1], [9 * n // 10, n // 10])
        found = interval(aurc, labels, rng.normal(size=n) + 1.5 * labels, repeats=200)
        assert found.low < found.value < found.high
        widths.append(found.high - found.low)
    assert widths[1] < widths[0] / 2


@pytest.mark.parametrize("metric", METRICS)
def test_what_cannot_be_ranked_is_refused(metric):
    with pytest.raises(InvalidSetting, match="1 of 2 scores are not a number"):
        metric([0, 1], [0.1, np.nan])
    with pytest.raises(InvalidSetting, match="2 strange and 0 normal"):
        metric([1, 1], [0.1, 0.2])
    with pytest.raises(WrongShape):
        metric([0, 1], [0.1])


@pytest.mark.parametrize(("metric", "setting"), [(risk_at, 0.0), (risk_at, 1.1), (removed_at, 0.0), (coverage_at, 1.0), (coverage_at, -0.1)])
def test_shares_that_mean_nothing_are_refused(metric, setting):
    with pytest.raises(InvalidSetting, match=str(setting)):
        metric([0, 1], [0.1, 0.2], setting)


def test_a_sparsification_curve_is_what_remains_when_the_most_uncertain_are_removed():
    errors, told = np.array([[1.0, 2.0, 3.0, 6.0], [0.0, 4.0, 0.0, 4.0]]), np.array([[4.0, 1.0, 2.0, 3.0], [1.0, 3.0, 2.0, 4.0]])
    found = sparsification(errors, told, repeats=10)
    left = [[2.0, 2.5, 11 / 3, 3.0], [0.0, 0.0, 4 / 3, 2.0]]  # mean error of the least uncertain one, two, three, four
    best = [[1.0, 1.5, 2.0, 3.0], [0.0, 0.0, 4 / 3, 2.0]]
    assert found.remaining[0] == found.oracle[0] == 1
    half = int(np.argmax(found.removed == 0.5))
    assert found.remaining[half] == pytest.approx(2.5 / 5) and found.oracle[half] == pytest.approx(1.5 / 5)
    assert found.ause.value == pytest.approx((np.mean(left) - np.mean(best)) / 2.5)
    assert found.gain.value == pytest.approx((2.5 - np.mean(left)) / 2.5)


def test_a_map_that_points_nowhere_is_called_uninformative_and_one_that_points_is_not():
    rng = np.random.default_rng(0)
    errors = rng.exponential(size=(30, 8, 8))
    pointing = errors + rng.normal(size=errors.shape)
    found = sparsification(errors, pointing, repeats=300)
    assert not found.uninformative and 0 < found.ause.value < 1 and "uninformative" not in str(found)
    for blind in (rng.normal(size=errors.shape), np.zeros_like(errors), -errors):
        assert sparsification(errors, blind, repeats=300).uninformative
    assert sparsification(errors, np.zeros_like(errors), repeats=10).gain.value == pytest.approx(0, abs=1e-12)
    assert "uninformative" in str(sparsification(errors, -errors, repeats=10))


def test_pixels_of_one_picture_do_not_make_a_map_informative():
    """Two groups of copies say no more than two items: an interval over the copies would be far too short."""
    rng = np.random.default_rng(3)
    errors, told = rng.exponential(size=(2, 6, 6)), rng.normal(size=(2, 6, 6))
    copies = [np.repeat(of, 50, axis=0) for of in (errors, told)]
    alone, grouped = sparsification(errors, told, repeats=200), sparsification(*copies, groups=np.repeat([0, 1], 50), repeats=200)
    assert grouped.gain.low == pytest.approx(alone.gain.low) and grouped.gain.high == pytest.approx(alone.gain.high)
    copied = sparsification(*copies, repeats=200)
    assert copied.gain.high - copied.gain.low < (alone.gain.high - alone.gain.low) / 2


def test_items_of_different_shapes_and_without_error_are_taken():
    rng = np.random.default_rng(0)
    errors = [np.zeros((4, 4)), *(rng.exponential(size=(5, k)) for k in (2, 3, 4))]
    assert sparsification(errors, errors, repeats=20).ause.value == 0


@pytest.mark.parametrize(
    ("errors", "maps", "refusal", "words"),
    [
        ([[1.0, 2.0]] * 2, [[1.0, 2.0]], WrongShape, "1 maps for 2 items"),
        ([[1.0, 2.0]] * 2, [[1.0], [2.0]], WrongShape, r"of item 0 the errors are \(2,\), the map \(1,\)"),
        ([[1.0, -2.0]] * 2, [[1.0, 2.0]] * 2, InvalidSetting, "those of item 0 are not"),
        ([[1.0, 2.0]] * 2, [[1.0, np.nan]] * 2, InvalidSetting, "those of item 0 are not"),
        ([[0.0, 0.0]] * 2, [[1.0, 2.0]] * 2, InvalidSetting, "none of 2 items has any error"),
        ([[1.0, 2.0]], [[1.0, 2.0]], InvalidSetting, "needs two; here is 1"),
    ],
)
def test_maps_that_cannot_be_judged_are_refused(errors, maps, refusal, words):
    with pytest.raises(refusal, match=words):
        sparsification([np.array(one) for one in errors], [np.array(one) for one in maps])


def test_settings_of_a_sparsification_that_mean_nothing_are_refused():
    two = np.ones((2, 3))
    with pytest.raises(InvalidSetting, match="0 times"):
        sparsification(two, two, repeats=0)
    with pytest.raises(WrongShape, match=r"groups are \(3,\), for 2 items"):
        sparsification(two, two, groups=[1, 2, 3])
