"""The meta-anomaly head: what it reads, how it is taught, and that its signs cannot turn."""

from __future__ import annotations

import numpy as np
import pytest

from diffident.calibration.head import Head
from diffident.errors import ForeignScores, TooFewReferences, WrongShape
from diffident.evaluate import auroc
from diffident.scores import Scores

COLUMNS = ("jump", "inside[1]", "inside[2]", "inside[3]", "width")
TAILS = ("upper", "both", "both", "both", "lower")


def scores(values: np.ndarray, columns: tuple[str, ...] = COLUMNS, tails: tuple[str, ...] = TAILS) -> Scores:
    return Scores(tuple(map(str, range(len(values)))), columns, values, tails, ("",) * len(columns), "f")


def good(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 5))


def bad(n: int, seed: int) -> np.ndarray:
    return good(n, seed) + np.array([1.5, 1.0, -1.0, 0.0, -1.5])


def test_every_signal_speaks_with_one_voice_in_deviations_of_the_good() -> None:
    head = Head.of(scores(good(2000, 0)))
    said = head.voices(good(2000, 1))
    assert head.signals == ("jump", "inside", "width")
    assert said.shape == (2000, 3)
    assert np.abs(said.mean(0)).max() < 0.15
    assert np.abs(said.std(0) - 1).max() < 0.15


def test_a_tail_says_which_side_is_strange() -> None:
    head = Head.of(scores(good(500, 0)))
    high, low = np.zeros(5), np.zeros(5)
    high[[0, 4]], low[[0, 4]] = 3.0, -3.0
    said = head.voices(np.stack([high, low]))
    assert said[0, 0] > 2.5 > -2.5 > said[1, 0]
    assert said[0, 2] < -2.5 < 2.5 < said[1, 2]


def test_known_good_need_not_be_the_same_samples_for_all_signals() -> None:
    path, rest = scores(good(100, 0)[:, :1], COLUMNS[:1], TAILS[:1]), scores(good(300, 1)[:, 1:], COLUMNS[1:], TAILS[1:])
    head = Head.of(path, rest)
    assert [len(one) for one in head.known] == [100, 300, 300]
    assert head.columns == COLUMNS


def test_teaching_finds_which_signal_tells_and_what_it_says_are_log_odds() -> None:
    rng, n = np.random.default_rng(3), 6000
    failed = rng.random(n) < 0.2
    values = good(n, 4)
    values[failed, 0] += 2.0
    head = Head.of(scores(good(2000, 5))).taught(values, failed)
    assert head.weights[0] > 5 * head.weights[1:].max()
    said = head.score(values)
    for low, high in ((-4, -2), (-2, -1), (-1, 0), (0, 1)):
        some = (said > low) & (said <= high)
        expected = (1 / (1 + np.exp(-said[some]))).mean()
        assert abs(failed[some].mean() - expected) < 4 * np.sqrt(expected * (1 - expected) / some.sum())


def test_weights_cannot_turn_when_fakes_are_too_perfect() -> None:
    fakes = good(500, 1) - np.array([3.0, 0.0, 0.0, 0.0, 0.0])  # failures that a model makes itself lie too low in the first signal
    fakes[:, 4] -= 1.0
    head = Head.of(scores(good(500, 0))).taught(np.concatenate([good(500, 2), fakes]), np.repeat([False, True], 500))
    assert (head.weights >= 0).all()
    assert head.weights[0] < 1e-3
    real = bad(500, 6)
    assert auroc(np.repeat([0, 1], 500), np.append(head.score(good(500, 7)), head.score(real))) > 0.7


def test_few_labels_hardly_move_a_head_and_many_do() -> None:
    head = Head.of(scores(good(500, 0)))
    few = head.taught(np.stack([good(1, 1)[0], bad(1, 2)[0]]), np.array([False, True]))
    many = head.taught(np.concatenate([good(2000, 1), bad(2000, 2)]), np.repeat([False, True], 2000))
    assert np.abs(few.weights - head.weights).max() < 0.4
    assert np.abs(many.weights - head.weights).max() > 0.4
    assert (few.labelled, many.labelled) == (2, 4000)


def test_a_taught_head_beats_equal_weights_where_signals_differ() -> None:
    def world(seed: int) -> tuple[np.ndarray, np.ndarray]:
        failed = np.random.default_rng(seed).random(3000) < 0.3
        values = good(3000, seed + 100)
        values[failed, 4] -= 1.5
        return values, failed

    head = Head.of(scores(good(500, 0)))
    values, failed = world(1)
    seen, truth = world(2)
    before, after = (auroc(truth, one.score(seen)) for one in (head, head.taught(values, failed)))
    assert after > before + 0.03


def test_it_is_read_back_as_it_was() -> None:
    head = Head.of(scores(good(50, 0))).taught(np.concatenate([good(99, 1), bad(99, 2)]), np.repeat([False, True], 99))
    again = Head.from_config(head.to_config(), head.arrays())
    assert (again.score(bad(9, 3)) == head.score(bad(9, 3))).all()
    assert again.labelled == head.labelled


def test_a_number_that_is_none_has_no_voice_and_the_sum_is_none() -> None:
    values = good(3, 0)
    values[1, 2] = np.nan
    said = Head.of(scores(good(50, 1))).score(values)
    assert np.isnan(said).tolist() == [False, True, False]


def test_what_does_not_fit_is_refused() -> None:
    head = Head.of(scores(good(50, 0)))
    with pytest.raises(ForeignScores, match="this head reads jump, inside, width and was given jump, other"):
        head.require(("jump", "other"))
    with pytest.raises(WrongShape, match="5 columns"):
        head.score(good(3, 0)[:, :2])
    with pytest.raises(TooFewReferences, match="0 are failures"):
        head.taught(good(5, 0), np.zeros(5, dtype=bool))
    with pytest.raises(TooFewReferences, match="fewer than two"):
        Head.of(scores(good(1, 0)))
