"""Of what is released few fail, tries included, or few good requests are withheld: with the probability that was promised, and in words."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import beta, binom, norm

from diffident.calibration import Approved, Certified, needed_trials, release_threshold, withhold_threshold
from diffident.calibration.risk import STARTS, ladder, upper_limit, worthwhile
from diffident.errors import InvalidSetting, NotFinite, TooFewReferences, WrongShape
from diffident.release import Release

World = Callable[[np.random.Generator, int, int], tuple[np.ndarray, np.ndarray]]


def binormal(rng: np.random.Generator, n: int, tries: int, shift: float = 2.0, share: float = 0.15) -> tuple[np.ndarray, np.ndarray]:
    bad = rng.random((n, tries)) < share
    return rng.normal(size=bad.shape) + shift * bad, bad


def mixed(rng: np.random.Generator, n: int, tries: int) -> tuple[np.ndarray, np.ndarray]:
    """Each request has a difficulty of its own, which all its attempts share."""
    bad = rng.random((n, tries)) < norm.cdf(rng.normal(size=(n, 1)) - 1.2)
    return rng.normal(size=bad.shape) + 2.0 * bad, bad


def coarse(rng: np.random.Generator, n: int, tries: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores in steps, so that many are equal."""
    scores, bad = mixed(rng, n, tries)
    return np.round(scores), bad


def abandoned(rng: np.random.Generator, n: int, tries: int) -> tuple[np.ndarray, np.ndarray]:
    """A third of the attempts is given up half-way, bad ones more often."""
    scores, bad = mixed(rng, n, tries)
    return np.where(rng.random(scores.shape) < 0.2 + 0.4 * bad, np.nan, scores), bad


def treacherous(rng: np.random.Generator, n: int, tries: int) -> tuple[np.ndarray, np.ndarray]:
    """The least strange of all are the worst: the failure rate falls before it rises."""
    scores = rng.random((n, tries))
    return scores, rng.random(scores.shape) < np.where(scores < 0.08, 0.15, np.where(scores < 0.4, 0.03, 0.2))


def failure_rate(scores: np.ndarray, bad: np.ndarray, threshold: float) -> float:
    below = scores < threshold
    released = below.any(axis=1)
    return float(np.take_along_axis(bad, below.argmax(axis=1)[:, None], axis=1)[released].mean()) if released.any() else 0.0


@pytest.mark.parametrize("world", [binormal, mixed, coarse, abandoned, treacherous])
@pytest.mark.parametrize("tries", [1, 2, 4])
def test_released_items_fail_no_more_often_than_promised(world: World, tries: int) -> None:
    rng = np.random.default_rng(tries)
    fresh, trials, risk = world(rng, 20_000, tries), 150, 0.1
    found = [release_threshold(*world(rng, 250, tries), risk) for _ in range(trials)]
    exceeded = sum(failure_rate(*fresh, one.threshold) > risk for one in found)
    assert binom.sf(exceeded - 1, trials, 0.1) > 0.01, f"{exceeded} of {trials} trials exceed the risk, where a tenth may"


def test_the_limit_cuts_where_it_should() -> None:
    """Judged without choice, a threshold whose risk is exceeded by a hair is certified in nearly a tenth of trials, and no more."""
    certified = [binom.cdf(max((k for k in range(m) if upper_limit(k, m, 0.1) <= 0.05), default=-1), m, 0.05) for m in (45, 77, 400)]
    assert all(0.07 < rate <= 0.1 for rate in certified)


def test_more_is_released_than_by_one_chain_and_nearly_all_that_may_be() -> None:
    rng, share, shift = np.random.default_rng(0), 0.15, 1.987  # AUROC .92; at risk .05 the best threshold accepts .82
    found = [release_threshold(*binormal(rng, 500, 1, shift, share), 0.05).threshold for _ in range(200)]
    accepted = [(1 - share) * norm.cdf(t) + share * norm.cdf(t - shift) for t in found]
    assert np.mean(accepted) / 0.82 >= 0.82


def test_all_is_released_when_nothing_fails_and_nothing_when_all_fails() -> None:
    scores = np.random.default_rng(0).normal(size=(60, 2))
    everything = release_threshold(scores, np.zeros((60, 2)), 0.05)
    assert (everything.threshold, everything.released, everything.bad) == (math.inf, 60, 0)
    nothing = release_threshold(scores, np.ones((60, 2)), 0.05)
    assert nothing.always_withholds and nothing.threshold == -math.inf and math.isnan(nothing.bound)


def test_the_first_attempt_below_is_what_counts() -> None:
    """The best attempt is good, the first one below the threshold fails: the trial counts what would be released."""
    scores = np.tile([[0.5, 0.0]], (100, 1)) + np.linspace(0, 0.01, 100)[:, None]
    found = release_threshold(scores, np.tile([[1, 0]], (100, 1)), 0.05)
    assert found.bad == 0 and 45 <= found.released < 100  # the last rung would release every first attempt
    assert release_threshold(scores, np.tile([[0, 1]], (100, 1)), 0.05).always_withholds


def test_an_attempt_never_finished_is_never_released_and_needs_no_label() -> None:
    scores, bad = np.full((60, 2), np.nan), np.full((60, 2), np.nan)
    scores[:, 1], bad[:, 1] = np.arange(60), 0
    scores[0, 0] = np.inf
    assert release_threshold(scores, bad, 0.05).released == 60
    bad[3, 1] = np.nan
    with pytest.raises(NotFinite, match="1 of 60 finished attempts have no label"):
        release_threshold(scores, bad, 0.05)


def test_the_limit_of_the_chosen_threshold_is_never_above_the_risk() -> None:
    rng = np.random.default_rng(1)
    found = [release_threshold(*binormal(rng, 300, 2), 0.1) for _ in range(20)]
    assert all(one.bound <= 0.1 and one.bad / one.released < one.bound for one in found if not one.always_withholds)


def test_the_ladder_spends_no_more_than_is_permitted_and_knows_no_label() -> None:
    assert sum(share for _, share in STARTS) == 1
    for n in (45, 46, 58, 59, 60, 100, 196, 197, 500, 3000):
        rungs = ladder(n, 0.05, 0.9)
        numbers = [rung.released for rung in rungs]
        assert math.isclose(sum(rung.share for rung in rungs), 1.0)
        assert numbers == sorted(set(numbers)) and numbers[-1] == n and numbers[0] >= 45
    assert [rung.released for rung in ladder(45, 0.05, 0.9)] == [45]


def test_worthwhile_numbers_are_those_where_one_more_failure_is_allowed() -> None:
    assert [int(binom.cdf(k, m, 0.1) <= 0.1) for k, m in enumerate(worthwhile(200, 0.1, 0.1))] == [1] * len(worthwhile(200, 0.1, 0.1))
    assert all(binom.cdf(k, m - 1, 0.1) > 0.1 for k, m in enumerate(worthwhile(200, 0.1, 0.1)))


def test_too_small_a_trial_is_refused_with_the_number_needed() -> None:
    assert needed_trials(0.05) == 45
    with pytest.raises(TooFewReferences, match="from 44 labelled requests: even without one failure it takes 45"):
        release_threshold(np.arange(44.0), np.zeros(44), 0.05)
    assert release_threshold(np.arange(45.0), np.zeros(45), 0.05).threshold == math.inf


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(WrongShape, match=r"scores \(60,\) and labels \(59,\)"):
        release_threshold(np.arange(60.0), np.zeros(59), 0.05)
    with pytest.raises(WrongShape, match=r"got \(2, 2, 2\)"):
        withhold_threshold(np.zeros((2, 2, 2)), 0.5)
    with pytest.raises(InvalidSetting, match="0 .good. or 1"):
        release_threshold(np.arange(60.0), np.full(60, 0.5), 0.05)
    with pytest.raises(InvalidSetting, match="a risk lies between"):
        needed_trials(0.0)
    with pytest.raises(InvalidSetting, match="a confidence lies between"):
        needed_trials(0.05, 1.0)


@pytest.mark.parametrize("tries", [1, 3])
def test_good_requests_are_withheld_no_more_often_than_promised(tries: int) -> None:
    rng, n, level, runs = np.random.default_rng(tries), 59, 0.05, 400
    fresh = mixed(rng, 20_000, tries)[0].min(axis=1)
    rates = [float((fresh >= withhold_threshold(mixed(rng, n, tries)[0], level).threshold).mean()) for _ in range(runs)]
    expected = beta(3, n - 2)  # k = 3 of 60
    assert abs(np.mean(rates) - expected.mean()) < 4 * expected.std() / math.sqrt(runs)
    assert np.mean(rates) <= level + 4 * expected.std() / math.sqrt(runs)


def test_withholding_is_refused_where_it_cannot_be_bounded() -> None:
    with pytest.raises(TooFewReferences, match="with 18 of them; give at least 19"):
        withhold_threshold(np.arange(18.0), 0.05)
    lost = np.append(np.arange(90.0), np.full(9, np.nan))
    with pytest.raises(NotFinite, match="in 9 of 99 requests no attempt was finished"):
        withhold_threshold(lost, 0.05)
    assert np.isfinite(withhold_threshold(lost, 0.1).threshold)


def test_thresholds_survive_being_written_down() -> None:
    scores = np.arange(60.0)
    for one in (release_threshold(scores, scores > 70, 0.05), release_threshold(scores, scores < 70, 0.05), release_threshold(scores, scores > 50, 0.1)):
        again = Certified.from_config(json.loads(json.dumps(one.to_config(), allow_nan=False)))
        assert repr(again) == repr(one)
    approved = withhold_threshold(scores, 0.05)
    assert Approved.from_config(json.loads(json.dumps(approved.to_config(), allow_nan=False))) == approved


def test_a_release_bounds_one_thing() -> None:
    assert Release().withhold == 0.05 and Release(risk=0.05).withhold is None
    for policy in (Release(), Release(risk=0.05, confidence=0.95, tries=3, early=0.02), Release(withhold=0.1, early=0.05)):
        assert Release.from_config(json.loads(json.dumps(policy.to_config()))) == policy
    with pytest.raises(InvalidSetting, match="bound either"):
        Release(risk=0.05, withhold=0.05)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"risk": 0.0}, "risk lies between 0 and 1; got 0"),
        ({"risk": 0.1, "confidence": 1.0}, "confidence lies between"),
        ({"withhold": 1.5}, "withhold lies between"),
        ({"tries": 0}, "tries is a whole number, 1 or more; got 0"),
        ({"early": 0.0}, "early lies between"),
        ({"early": 0.05}, "early must lie below withhold; got 0.05 and 0.05"),
    ],
)
def test_a_release_refuses_what_means_nothing(settings: dict[str, float], says: str) -> None:
    with pytest.raises(InvalidSetting, match=says):
        Release(**settings)  # pyright: ignore[reportArgumentType]


def test_a_release_says_what_it_promises() -> None:
    scores, policy = np.arange(100.0), Release(risk=0.1, tries=2)
    some = policy.promise(release_threshold(scores, scores >= 80, 0.1))
    assert "of up to 2 attempts each, at most 10 % fails, with 90 % confidence" in some and "(78 of 100 were released, 0 of these failed)" in some
    assert policy.promise(release_threshold(scores, scores >= 0, 0.1)).startswith("Nothing is released: the trial of 100 requests")
    assert "At most 5 % of good requests are withheld" in Release().promise(withhold_threshold(scores, 0.05))
