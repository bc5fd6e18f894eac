"""A stream that changes is noticed soon, also after a long quiet time; one that does not is left alone; a watch goes on after a restart."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import binom, kstest

from diffident.calibration import Drift
from diffident.calibration.drift import _log_bets
from diffident.errors import InvalidSetting, NotFinite, TooFewReferences


def delay(seed: int, quiet: int, shift: float, most: int = 400) -> float:
    """Steps from the change to the alarm; NaN if there was an alarm before."""
    rng = np.random.default_rng(seed)
    drift = Drift(rng.normal(size=100), seed=seed)
    if any([drift.update(x).alarm for x in rng.normal(size=quiet)]):
        return math.nan
    return next((i + 1 for i, x in enumerate(rng.normal(shift, size=most)) if drift.update(x).alarm), math.inf)


@pytest.mark.parametrize(("quiet", "most"), [(500, 60), (2000, 110)])
def test_a_change_is_noticed_soon_even_after_a_long_quiet_time(quiet: int, most: int) -> None:
    assert np.nanmedian([delay(seed, quiet, 0.7) for seed in range(5)]) <= most


def test_growing_less_strange_raises_no_alarm() -> None:
    assert all(delay(seed, 100, -1.0) == math.inf for seed in range(5))


@pytest.mark.parametrize(("history", "coarse"), [(5, True), (100, False)])
def test_false_alarms_stay_below_what_was_promised(history: int, coarse: bool) -> None:
    repeats, level, alarms = 60, 0.2, 0
    for seed in range(repeats):
        rng = np.random.default_rng((seed, history))
        numbers = np.exp(rng.normal(size=history + 300))
        numbers = np.round(numbers) if coarse else numbers
        drift = Drift(numbers[:history], level, seed)
        alarms += [drift.update(x).alarm for x in numbers[history:]][-1]
    assert binom.sf(alarms - 1, repeats, level) > 0.01, f"{alarms} of {repeats} quiet streams raised an alarm, where a fifth may"


def test_p_values_are_uniform_and_know_nothing_of_each_other() -> None:
    rng = np.random.default_rng(0)
    drift = Drift(rng.integers(0, 4, 20), seed=3)
    p = np.array([drift.update(x).p for x in rng.integers(0, 4, 2000).astype(float)])
    assert kstest(p, "uniform").pvalue > 0.01
    assert abs(np.corrcoef(p[1:], p[:-1])[0, 1]) < 4 / math.sqrt(len(p))


@pytest.mark.parametrize("bet", range(4))
def test_every_bet_is_fair(bet: int) -> None:
    """Its mean over uniform p-values is 1, so that evidence is a martingale."""

    def paid(u: float) -> float:
        return math.exp(_log_bets(math.exp(-u))[bet] - u)

    assert quad(paid, 0, 27, limit=200)[0] == pytest.approx(1.0, abs=1e-4)


def test_evidence_is_what_the_stakes_have_won() -> None:
    """The recursion against the sum that it stands for: one stake a step, each with the winnings since it opened."""
    rng = np.random.default_rng(5)
    drift = Drift(rng.normal(size=30))
    states = [drift.update(x) for x in rng.normal(0.5, size=40)]
    paid = np.exp([_log_bets(state.p) for state in states])
    kept = (1 + np.arange(41) / 100) ** -0.25
    won = sum((kept[s] - kept[s + 1]) * paid[s:].prod(axis=0).mean() for s in range(40))
    assert states[-1].evidence == pytest.approx(won + kept[40])


def test_a_watch_goes_on_as_if_it_had_never_stopped() -> None:
    rng = np.random.default_rng(0)
    history, stream = rng.normal(size=50), rng.normal(0.3, size=400)
    whole, parts = Drift(history, seed=7), Drift(history, seed=7)
    expected = [whole.update(x) for x in stream]
    found = []
    for piece in (stream[:0], stream[:100], stream[100:350], stream[350:]):
        found += [parts.update(x) for x in piece]
        parts = Drift.from_config(json.loads(json.dumps(parts.to_config(), allow_nan=False)))
    assert found == expected


def test_an_alarm_stays_when_evidence_goes() -> None:
    drift = Drift(np.arange(100.0))
    assert any([drift.update(1000.0 + i).alarm for i in range(10)])
    after = [drift.update(-1.0 - i) for i in range(300)]
    assert after[-1].evidence < 1 and after[-1].alarm


def test_endless_evidence_is_no_error() -> None:
    drift = Drift(np.arange(100.0))
    assert [drift.update(1000.0 + i) for i in range(400)][-1].evidence == math.inf


def test_what_cannot_be_watched_is_refused() -> None:
    with pytest.raises(TooFewReferences, match="with 0 known-good numbers"):
        Drift([])
    with pytest.raises(NotFinite, match="1 of 2 known-good numbers"):
        Drift([0.0, math.nan])
    with pytest.raises(InvalidSetting, match="got 1"):
        Drift([0.0], level=1.0)
    drift = Drift([0.0, 1.0])
    with pytest.raises(NotFinite, match="number 1 of the stream is nan"):
        drift.update(math.nan)
    assert drift.update(0.5).steps == 1
