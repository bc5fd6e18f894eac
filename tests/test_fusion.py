"""Groups of columns, one voice each: equal to a slow refit, exact for items that are exchangeable, stable where columns outnumber references."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.stats import betabinom

from diffident.calibration import Calibration, Fusion, Gaussian, Strangeness
from diffident.errors import InvalidSetting, WrongShape
from diffident.scores import Scores


def literal(references: np.ndarray, item: np.ndarray, groups: tuple[int, ...]) -> np.ndarray:
    """What the groups say of each of n + 1 rows, the item last, from one fit on all of them."""
    rows, at, total = np.vstack([references, item]), 0, np.zeros(len(references) + 1)
    n = len(rows)
    for size in groups:
        part = rows[:, at : at + size]
        part = (part - part.mean(axis=0)) / 4.0 ** np.round(np.log(part.std(axis=0)) / np.log(4))
        covariance, at = part.T @ part / n, at + size
        target = np.trace(covariance) / size * np.eye(size)
        error = sum(((np.outer(row, row) - covariance) ** 2).sum() for row in part) / n**2
        apart = ((covariance - target) ** 2).sum()
        w = min(1.0, error / apart) if size > 1 else 1.0
        distance = np.einsum("ij,jk,ik->i", part, np.linalg.inv((1 - w) * covariance + w * target), part)
        logs = np.log(distance / (1 - (1 - w) * distance / (n - 1)))
        total += (logs - logs.mean()) / logs.std() / len(groups)
    return total


def drawn(rng: np.random.Generator, n: int, far: float = 1.0) -> np.ndarray:
    """Nine correlated columns of very different units."""
    mix = np.random.default_rng(7).normal(size=(9, 9))
    return far * rng.normal(size=(n, 9)) @ mix * 10.0 ** np.arange(-4, 5)


@pytest.mark.parametrize("n", [6, 40])
def test_one_item_more_is_a_whole_refit(n: int) -> None:
    """Rank-one updates against the book, items near and far, so that powers of four move too."""
    rng = np.random.default_rng(0)
    references, items, strange = drawn(rng, n), np.vstack([drawn(rng, 4), drawn(rng, 4, 30.0)]), Fusion((5, 3, 1))
    expected = [literal(references, item, strange.groups) for item in items]
    found = [strange.p_values(references, item[None], ("both",) * 9)[0] for item in items]
    np.testing.assert_allclose(found, [np.mean(one >= one[-1] - 1e-9) for one in expected], rtol=1e-12)
    (own, others), *_ = strange._refitted(references, items, ("both",) * 9)
    np.testing.assert_allclose(np.column_stack([others, own]) - np.sqrt(n + 1), expected, atol=1e-6)


def cubes(rng: np.random.Generator, n: int, k: int) -> np.ndarray:
    return (rng.normal(size=(n, k)) + rng.normal(size=(n, 1))) ** 3 * 10.0 ** (np.arange(k) % 7 - 3)


@pytest.mark.parametrize("groups", [(3, 3, 1), (40, 3)], ids=str)
def test_false_alarms_are_those_that_were_promised(groups: tuple[int, ...]) -> None:
    """29 references, also with more columns than references, and heavy tails: the count of flags is within its law, from both sides."""
    rng, k, strange = np.random.default_rng(1), sum(groups), Fusion(groups)
    p = np.concatenate([strange.p_values(cubes(rng, 29, k), cubes(rng, 4, k), ("both",) * k) for _ in range(300)])
    for level in (0.1, 0.3):
        flags, steps = np.sum(p <= level * (1 + 1e-9)), round(level * 30)
        spread = np.sqrt(300 * betabinom.var(4, steps, 30 - steps))
        assert abs(flags - 1200 * level) < 4 * spread


def test_numbers_are_the_same_to_the_bit_alone_and_in_company() -> None:
    rng, strange, tails = np.random.default_rng(2), Fusion((40, 3)), ("both",) * 43
    references, items = cubes(rng, 30, 43), cubes(rng, 23, 43)
    order = rng.permutation(23)
    for ask in (strange.score, strange.p_values):
        together = ask(references, items, tails)
        assert np.concatenate([ask(references, one[None], tails) for one in items]).tobytes() == together.tobytes()
        assert ask(references, items[order], tails).tobytes() == together[order].tobytes()


def test_three_columns_are_not_drowned_by_two_hundred() -> None:
    rng, found = np.random.default_rng(3), {}
    references, items = rng.normal(size=(100, 203)), rng.normal(size=(200, 203))
    items[:, 200:] += 2.5
    ways: dict[str, Strangeness] = {"fused": Fusion((200, 3)), "one group": Fusion(), "gaussian": Gaussian()}
    for name, strange in ways.items():
        found[name] = np.mean(strange.p_values(references, items, ("both",) * 203) <= 0.1)
    assert found["fused"] > 0.55 > 0.45 > max(found["one group"], found["gaussian"])


def test_a_shift_of_all_columns_is_seen_where_they_outnumber_references() -> None:
    rng, strange = np.random.default_rng(4), Fusion((300,))
    common = rng.normal(size=(1, 300))
    references, items = rng.normal(size=(50, 300)), rng.normal(size=(30, 300)) + 0.6 * common
    assert np.mean(strange.p_values(references, items, ("both",) * 300) <= 0.1) > 0.9
    assert strange.score(references, items, ("both",) * 300).mean() > strange.score(references, rng.normal(size=(30, 300)), ("both",) * 300).mean() + 1


def test_powers_of_four_and_offsets_do_not_matter_at_all() -> None:
    rng, strange, tails = np.random.default_rng(5), Fusion((3, 2)), ("both",) * 5
    references, items = rng.normal(size=(60, 5)), 2 * rng.normal(size=(30, 5))
    unit = 4.0 ** np.array([-9, 0, 5, 30, -2]) * np.array([1, -1, 1, -1, 1])
    np.testing.assert_array_equal(strange.p_values(references * unit, items * unit, tails), strange.p_values(references, items, tails))
    np.testing.assert_allclose(strange.score(references * unit + unit, items * unit + unit, tails), strange.score(references, items, tails), rtol=1e-9)
    thirds = references * 3, items * 3
    assert np.corrcoef(strange.score(*thirds, tails), strange.score(references, items, tails))[0, 1] > 0.999


def test_a_thousand_references_with_six_hundred_columns_take_milliseconds_an_item() -> None:
    rng, k = np.random.default_rng(6), 403
    references, items = rng.normal(size=(1000, k)), rng.normal(size=(60, k))
    started = time.perf_counter()
    Fusion((200, 200, 3)).p_values(references, items, ("both",) * k)
    assert time.perf_counter() - started < 6  # about .2 s on one core; another machine may be busy


def test_a_calibration_tells_groups_by_the_names_of_columns() -> None:
    rng, columns = np.random.default_rng(7), ("deepest told 1[1]", "deepest told 1[2]", "trivial[1]", "landing", "residual")
    values = rng.normal(size=(30, 5))
    says = dict(columns=columns, tails=("both",) * 5, says=("odd",) * 5, fingerprint="f")
    known = Scores(tuple(map(str, range(30))), values=values, digests=("",) * 30, vitals=({},) * 30, **says)
    assert Calibration(known, Fusion()).combiner == Fusion((2, 1, 1, 1))
    assert Calibration(known, Fusion((4, 1))).combiner == Fusion((4, 1)), "who says what belongs together is believed"
    assert Calibration(known, Gaussian()).combiner == Gaussian()
    item = known.select([3])
    assert Calibration(known, Fusion()).judge(item).p[0] == Fusion((2, 1, 1, 1)).p_values(values, values[3:4], ("both",) * 5)[0]


def test_groups_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(WrongShape, match="groups of 2, 2 columns make 4, and there are 3"):
        Fusion((2, 2)).p_values(np.ones((4, 3)), np.ones((1, 3)), ("both",) * 3)
    for groups in ((0, 3), (-1,)):
        with pytest.raises(InvalidSetting, match="one column or more"):
            Fusion(groups)
