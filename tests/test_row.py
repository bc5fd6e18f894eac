"""Rows of a table: read as they are learned, refused in words, and judged like anything else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import diffident as dd
from diffident.data import Item, Items
from diffident.errors import InvalidSetting, NoItems, UnreadableItem, WrongShape
from diffident.learning import Training, learn
from diffident.modalities.row import FARTHEST, Row
from diffident.verdict import Policy


def table(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 4)) * [1, 100, 0.01, 0] + [0, 1, 2, 3]


def opened(values: object, *columns: float) -> object:
    return Row((0.0,) * 3, (1.0,) * 3).open(Item("row", np.array(values)))


@pytest.mark.parametrize("network", ["none", "mlp"])
def test_rows_are_learned_saved_loaded_and_judged(network: str, tmp_path: Path) -> None:
    dd.train(table(300), modality="row", network=network, images_seen=128, width=32, out=tmp_path / "m")
    detector = dd.Detector.load(tmp_path / "m")
    odd = np.array([[0.0, 1.0, 2.0, 60.0], [0.0, 1.0, 2.5, 3.0]])
    verdicts = list(detector.judge(odd, maps=True))
    assert [item.name for item, _ in verdicts] == ["array[0]", "array[1]"] and detector(odd[1]).decision == "flag"
    assert [v.map.shape for _, v in verdicts] == [(4,), (4,)] and [int(v.map.argmax()) for _, v in verdicts] == [3, 2]
    assert detector(np.array([0.0, np.nan, 2.0, 3.0])).reason == "not finite: 25.00% of its values are NaN or infinite"
    assert detector(odd[0, :3]).decision == "unreadable"
    assert np.mean([v.decision == "flag" for _, v in detector.judge(table(200, 1))]) < 0.06


def test_no_reference_has_a_say_in_the_scale() -> None:
    rows = table(200)
    outcome = learn(rows, "reconstruction", Training("none", modality="row"), Policy(), "m")
    model, held_out = outcome.detector.model, set(outcome.detector.calibrated.references.digests)
    learned = [row for row in rows if model.modality.open(Item("row", row)).digest in model.seen]
    assert len(learned) == 101 and len(held_out) == 99 and not held_out & model.seen
    assert np.allclose(model.modality.mean, np.mean(learned, axis=0)) and not np.allclose(model.modality.mean, rows.mean(0), rtol=1e-3)
    assert float(model.denoiser.items.mean(0).abs().max()) < 1e-6 and model.denoiser.items.std(0)[0, :3].tolist() == pytest.approx([1 / 3] * 3, rel=0.01)


def test_a_row_is_the_same_in_any_type_and_either_shape() -> None:
    rows = [opened([1, 0, 1]), opened([[1.0, 0.0, 1.0]]), opened([True, False, True]), opened(np.float32([1, 0, 1]))]
    assert len({row.digest for row in rows}) == 1 and all(np.array_equal(row.values, rows[0].values) for row in rows)
    assert opened([1e300, -1e300, 0.0]).values.tolist() == [[FARTHEST, -FARTHEST, 0.0]]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (np.array(["a", "b", "c"]), "real numbers"),
        (np.array([1j, 0, 0]), "real numbers"),
        (np.zeros((3, 1)), r"shape \(3, 1\)"),
        (np.zeros(()), r"shape \(\)"),
        (np.zeros(0), r"shape \(0,\)"),
        (np.zeros(2), "has 2 columns and the rows learned from have 3"),
        ("text", "is no array"),
    ],
)
def test_what_is_no_row_is_refused(content: object, words: str) -> None:
    with pytest.raises(UnreadableItem, match=words):
        Row((0.0,) * 3, (1.0,) * 3).open(Item("it", content))


def test_sources_and_settings_are_refused_in_words() -> None:
    for source, kind, words in (
        (np.zeros(4), WrongShape, r"stacked as \(n, columns\)"),
        (np.zeros((2, 3, 4)), WrongShape, r"stacked as \(n, columns\)"),
        (np.zeros((0, 4)), NoItems, "no rows"),
        (np.full((5, 2), np.nan), NoItems, "none of 5 rows"),
        ([np.zeros(2), np.zeros(3)], InvalidSetting, "rows of 2, 3"),
    ):
        with pytest.raises(kind, match=words):
            dd.train(source, modality="row", network="none")
    for settings, words in (({"size": 8}, "neither a size nor channels"), ({"network": "unet"}, "a U-Net looks at neighbours")):
        with pytest.raises(InvalidSetting, match=words):
            dd.train(table(60), modality="row", **{"network": "none", **settings})
    for mean, deviation in (((), ()), ((0.0,), (1.0, 1.0)), ((0.0,), (0.0,)), ((np.inf,), (1.0,))):
        with pytest.raises(InvalidSetting):
            Row(mean, deviation)
    with pytest.raises(NoItems, match="no known-good row"):
        Row((0.0,), (1.0,)).limits([])


def test_huge_and_constant_columns_have_a_scale() -> None:
    found = Row.learn(Row.items(np.array([[1e308, 0.0, 7.0], [-1e308, 0.0, 7.0]])))
    assert found.mean == (0.0, 0.0, 7.0) and found.deviation == (1e308, 1.0, 7.0)


def test_a_flat_array_is_still_no_stack_of_pictures() -> None:
    with pytest.raises(WrongShape, match="for a single image give array\\[None\\]"):
        Items.open(np.zeros((5, 4)))
    with pytest.raises(WrongShape):
        dd.train(np.zeros((5, 4)), network="none")
