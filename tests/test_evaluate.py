"""Promises of the evaluation room: metrics equal scikit-learn's, intervals cover and respect groups, nulls know nothing."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from diffident.errors import InvalidSetting, WrongShape
from diffident.evaluate import BASELINES, NULLS, auroc, average_precision, fpr_at, interval, nulls

METRICS = (auroc, average_precision, fpr_at)
SMALLEST, LARGEST = np.nextafter(0, 1), np.finfo(np.float64).max

plain = st.floats(-1, 1, allow_nan=False)
tied = st.sampled_from([-1.0, 0.0, -0.0, 0.5, 1.0])
huge = st.sampled_from([1e300, -1e300, 1.0000000001e300, 0.0])
tiny = st.sampled_from([1e-300, 2e-300, -1e-300, SMALLEST, -SMALLEST, 0.0])
same = st.just(0.25)
anything = st.one_of(plain, tied, huge, tiny)
beyond = st.one_of(anything, st.sampled_from([np.inf, -np.inf, LARGEST, -LARGEST]))  # scikit-learn refuses or overflows
sorts = st.sampled_from([plain, tied, huge, tiny, same, anything])


@st.composite
def rankings(draw, of=sorts):
    """Labels of both classes and as many scores of one sort."""
    labels = draw(st.lists(st.integers(0, 1), min_size=2, max_size=60).filter(lambda marks: 0 < sum(marks) < len(marks)))
    sort = draw(of)
    return np.array(labels), np.array(draw(st.lists(sort, min_size=len(labels), max_size=len(labels))))


def fpr_by_curve(labels, scores, recall=0.95):
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
    return fpr[tpr >= recall].min()


def by_pairs(labels, scores):
    """AUROC by its meaning: every strange item against every normal one."""
    strange, normal = scores[labels == 1][:, None], scores[labels == 0][None]
    return ((strange > normal) + 0.5 * (strange == normal)).mean()


@settings(max_examples=150, deadline=None)
@given(rankings())
def test_metrics_equal_those_of_scikit_learn_to_twelve_digits(ranking):
    labels, scores = ranking
    assert abs(auroc(labels, scores) - roc_auc_score(labels, scores)) < 1e-12
    assert abs(average_precision(labels, scores) - average_precision_score(labels, scores)) < 1e-12
    assert abs(fpr_at(labels, scores) - fpr_by_curve(labels, scores)) < 1e-12


@settings(max_examples=60, deadline=None)
@given(rankings(), st.floats(0.01, 1))
def test_the_false_positive_rate_equals_the_curve_at_any_recall(ranking, recall):
    assert abs(fpr_at(*ranking, recall) - fpr_by_curve(*ranking, recall)) < 1e-12


@settings(max_examples=60, deadline=None)
@given(rankings(st.just(beyond)))
def test_infinite_scores_rank_beyond_all_finite_ones(ranking):
    labels, scores = ranking
    ranks = np.unique(scores, return_inverse=True)[1]  # an order-preserving stand-in that scikit-learn accepts
    assert auroc(labels, scores) == pytest.approx(by_pairs(labels, scores), abs=1e-12)
    assert average_precision(labels, scores) == pytest.approx(average_precision_score(labels, ranks), abs=1e-12)
    assert fpr_at(labels, scores) == pytest.approx(fpr_by_curve(labels, ranks), abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(rankings(), st.randoms(use_true_random=False))
def test_the_order_of_items_and_of_equal_scores_does_not_matter(ranking, random):
    labels, scores = ranking
    order = random.sample(range(len(labels)), len(labels))
    for metric in METRICS:
        assert metric(labels[order], scores[order]) == metric(labels, scores)


@settings(max_examples=60, deadline=None)
@given(rankings())
def test_reversing_all_scores_reverses_the_area(ranking):
    labels, scores = ranking
    assert auroc(labels, scores) + auroc(labels, -scores) == pytest.approx(1, abs=1e-15)


def test_scores_that_differ_in_the_last_bit_are_not_ties():
    assert auroc([0, 1], [1.0, np.nextafter(1.0, 2)]) == 1
    assert auroc([0, 1], [1e300, np.nextafter(1e300, np.inf)]) == 1
    assert auroc([0, 1], [0.0, SMALLEST]) == 1


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("labels", "scores", "refusal", "words"),
    [
        ([0, 1, 1], [0.1, np.nan, np.nan], InvalidSetting, "2 of 3 scores are not a number"),
        ([1, 1], [0.1, 0.2], InvalidSetting, "2 strange and 0 normal"),
        ([0, 0], [0.1, 0.2], InvalidSetting, "0 strange and 2 normal"),
        ([], [], InvalidSetting, "0 strange and 0 normal"),
        ([0, 2], [0.1, 0.2], InvalidSetting, r"hold \[0, 2\]"),
        (["good", "bad"], [0.1, 0.2], InvalidSetting, "labels must be 1"),
        ([0, 1], ["a", "b"], InvalidSetting, "real numbers"),
        ([0, 1], [0.1, 0.2, 0.3], WrongShape, r"\(2,\), scores \(3,\)"),
        ([[0, 1]], [[0.1, 0.2]], WrongShape, r"\(1, 2\)"),
    ],
)
def test_what_cannot_be_ranked_is_refused_in_words(metric, labels, scores, refusal, words):
    with pytest.raises(refusal, match=words):
        metric(labels, scores)


@pytest.mark.parametrize("recall", [0.0, -0.1, 1.01, np.nan])
def test_a_recall_without_meaning_is_refused(recall):
    with pytest.raises(InvalidSetting, match="give a recall"):
        fpr_at([0, 1], [0.1, 0.2], recall)


def test_intervals_hold_the_true_area_as_often_as_they_say():
    truth, trials, rng = 0.7602499389065233, 120, np.random.default_rng(1)  # Phi(1 / sqrt(2)): two unit Gaussians, one apart
    held = 0
    for trial in range(trials):
        labels = np.arange(160) % 2
        found = interval(auroc, labels, rng.normal(size=160) + labels, repeats=100, seed=trial)
        held += found.low <= truth <= found.high
    assert 105 <= held <= 119  # binomial limits of 0.95 (and a percentile interval's small shortfall) at one in a thousand


def test_intervals_over_groups_are_as_wide_as_the_groups_are_few():
    rng = np.random.default_rng(2)
    labels, scores, groups = np.arange(40) % 2, rng.normal(size=40) + np.arange(40) % 2, np.arange(40)
    honest = interval(auroc, labels, scores)
    copied = [np.repeat(x, 25) for x in (labels, scores, groups)]  # the same forty tiles, photographed 25 times each
    fooled, grouped = interval(auroc, copied[0], copied[1], repeats=500), interval(auroc, *copied, repeats=500)
    assert fooled.high - fooled.low < 0.3 * (honest.high - honest.low)
    assert (grouped.low, grouped.high) == pytest.approx((honest.low, honest.high), abs=0.03)
    assert grouped.value == pytest.approx(honest.value, abs=1e-12)


def test_a_group_may_hold_both_classes_and_every_draw_holds_both():
    labels, groups = np.array([0, 1, 0, 1, 0, 0, 1, 1]), np.array(["a", "a", "b", "b", "c", "d", "e", "f"])
    found = interval(auroc, labels, np.arange(8.0), groups, repeats=50)
    assert found.low <= found.value <= found.high


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    labels, scores = np.arange(50) % 2, np.random.default_rng(3).normal(size=50)
    first, second = interval(auroc, labels, scores, repeats=100), interval(auroc, labels, scores, repeats=100)
    assert first == second
    assert first != interval(auroc, labels, scores, repeats=100, seed=1)


def test_any_function_of_labels_and_scores_gets_an_interval():
    labels, scores = np.arange(50) % 2, np.random.default_rng(4).normal(size=50)
    assert interval(roc_auc_score, labels, scores, repeats=50) == interval(auroc, labels, scores, repeats=50)


def test_two_thousand_repeats_over_a_thousand_items_take_under_two_seconds_of_work():
    rng = np.random.default_rng(5)
    labels, scores = np.arange(1000) % 2, rng.normal(size=1000)
    start = time.process_time()
    interval(auroc, labels, scores)
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    ("settings", "refusal", "words"),
    [
        ({"repeats": 0}, InvalidSetting, "at least 1 repeat"),
        ({"confidence": 1.0}, InvalidSetting, "between 0 and 1"),
        ({"groups": [1, 2]}, WrongShape, r"groups are \(2,\)"),
        ({"groups": [1, 1, 2, 3]}, InvalidSetting, "the normal items come from 0 mixed and 1 pure"),
        ({"groups": [1, 2, 1, 3]}, InvalidSetting, "1 mixed and 1 pure"),
    ],
)
def test_an_interval_without_enough_to_draw_from_is_refused(settings, refusal, words):
    with pytest.raises(refusal, match=words):
        interval(auroc, [0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4], **settings)


@pytest.fixture(scope="module")
def normal():
    """Smooth stripes in [0, 1] with little noise, (60, 1, 12, 12)."""
    rng = np.random.default_rng(6)
    stripes = 0.5 + 0.3 * np.sin(np.arange(12) / 2)[None, :] * rng.uniform(0.8, 1.2, (60, 1, 1, 1))
    return np.clip(stripes + rng.normal(0, 0.02, (60, 1, 12, 12)), 0, 1)


def test_every_null_gives_one_finite_number_per_item_whatever_the_company(normal):
    for name, score in NULLS.items():
        whole = score(normal)
        assert whole.shape == (60,) and np.isfinite(whole).all(), name
        if name != "random":
            np.testing.assert_allclose(score(normal[7:9]), whole[7:9], rtol=1e-12, err_msg=name)


def test_every_baseline_finds_noise_among_stripes_and_judges_each_item_alone(normal):
    noise = np.random.default_rng(7).random((20, 1, 12, 12))
    train, known = normal[:40], normal[40:]
    for name, score in BASELINES.items():
        whole = score(train, np.concatenate([known, noise]))
        assert auroc(np.repeat([0, 1], 20), whole) == 1, name
        np.testing.assert_allclose(score(train, known[3:4]), whole[3:4], rtol=1e-6, err_msg=name)


def test_a_constant_score_is_worth_exactly_a_half_and_a_random_one_about_that(normal):
    labels = np.arange(4000) % 2
    assert auroc(labels[:60], NULLS["constant"](normal)) == 0.5
    assert abs(auroc(labels, nulls.random_score(4000)) - 0.5) < 4 / np.sqrt(12 * 1000)  # four standard deviations
    assert (nulls.random_score(5, seed=1) != nulls.random_score(5, seed=2)).all()


def test_sharpness_reads_the_laplacian_of_every_channel():
    ramp = np.arange(36.0).reshape(1, 6, 6)  # linear: no second derivative
    bowl = (np.arange(6.0) ** 2)[None, None, :].repeat(6, axis=1)  # second derivative 2 along one axis
    assert nulls.sharpness(np.stack([ramp, bowl])).tolist() == [0, 4]
    assert nulls.sharpness(np.stack([np.concatenate([ramp, bowl])])).tolist() == [2]


def test_the_png_size_is_that_of_the_file():
    picture = np.random.default_rng(8).integers(0, 256, (9, 7, 3)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    assert nulls.png_size(np.moveaxis(picture, -1, 0)[None] / 255).tolist() == [len(buffer.getvalue())]
    assert nulls.png_size(np.moveaxis(picture, -1, 0)[None] / 127.5 - 1, low=-1.0).tolist() == [len(buffer.getvalue())]


def test_nearest_neighbours_are_counted_from_the_nearest(normal):
    assert nulls.pixel_knn(normal, normal[:5]).max() < 1e-6
    distances = np.sort(np.linalg.norm((normal - normal[0]).reshape(60, -1), axis=1))
    assert nulls.pixel_knn(normal, normal[:1], k=3)[0] == pytest.approx(distances[2])


def test_components_leave_the_share_that_they_were_told_to_leave(normal):
    flat = normal.reshape(60, -1)
    total = flat.var(axis=0).mean()
    shares = (0.2, 0.5, 0.9, 0.99)
    left = [nulls.pixel_pca(normal, normal, share).mean() / total for share in shares]
    assert all(found <= 1 - share for found, share in zip(left, shares, strict=True))
    assert sorted(left, reverse=True) == left


def test_a_number_that_never_varied_among_normal_items_counts_when_it_does():
    normal = np.full((10, 1, 4, 4), 0.5)
    assert nulls.trivial3(normal, np.full((1, 1, 4, 4), 0.6))[0] > 1e6
    assert nulls.trivial3(normal, normal).max() == 0


@pytest.mark.parametrize(
    ("call", "refusal", "words"),
    [
        (lambda x: nulls.random_score(-1), InvalidSetting, "-1 items"),
        (lambda x: nulls.brightness(np.full((2, 3), np.nan)), InvalidSetting, "6 of 6 elements"),
        (lambda x: nulls.contrast(np.zeros(3)), WrongShape, r"\(3,\)"),
        (lambda x: nulls.sharpness(np.zeros((2, 9))), WrongShape, "pictures must be"),
        (lambda x: nulls.sharpness(np.zeros((2, 2, 9))), WrongShape, "3 by 3"),
        (lambda x: nulls.png_size(np.zeros((1, 2, 4, 4))), WrongShape, "these items have 2"),
        (lambda x: nulls.png_size(x - 1), InvalidSetting, "black and white"),
        (lambda x: nulls.trivial3(x[:3], x), WrongShape, "at least 4"),
        (lambda x: nulls.pixel_knn(x, x, k=61), InvalidSetting, "neighbour 61 among 60"),
        (lambda x: nulls.pixel_knn(x, x[:, :, 1:]), WrongShape, r"\(1, 11, 12\)"),
        (lambda x: nulls.pixel_pca(x, x, share=1.0), InvalidSetting, "share"),
        (lambda x: nulls.pixel_pca(np.zeros((5, 4)), np.zeros((5, 4))), InvalidSetting, "all 5 training items are equal"),
    ],
)
def test_nulls_refuse_what_they_cannot_read(normal, call, refusal, words):
    with pytest.raises(refusal, match=words):
        call(normal)
