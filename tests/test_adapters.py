"""Adapters keep the contracts of their frameworks, and the promise that is ours."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.utils.estimator_checks import parametrize_with_checks

import diffident as dd
from diffident.adapters import anomalib
from diffident.adapters.sklearn import DiffusionOutlier
from diffident.assessment import assess
from diffident.errors import InvalidSetting, NoItems, NotLabelled, TooFewReferences, UnknownName
from diffident.evaluate.ranking import auroc

PYOD = importlib.util.find_spec("pyod") is not None
SMALL = {"network": "mlp", "images_seen": 64, "width": 32}


@parametrize_with_checks([DiffusionOutlier()])  # without a list of checks that may fail
def test_the_estimator_passes_every_check_of_sklearn(estimator: DiffusionOutlier, check: object) -> None:
    check(estimator)


#: Independent tables over which a rate is averaged.
TABLES = 10


def tables(seed: int, n: int = 300) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Good rows, good rows to come, and strange ones."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 3)) * [1, 50, 0.01], rng.normal(size=(200, 3)) * [1, 50, 0.01], rng.normal(3, 1, size=(200, 3)) * [1, 50, 0.01]


@pytest.mark.parametrize(("recipe", "n"), [("reconstruction", 300), ("reconstruction", 24), ("msma", 24)])
def test_labels_and_p_values_keep_the_level(recipe: str, n: int) -> None:
    labels, ps = [], []
    for seed in range(TABLES):
        good, come, strange = tables(seed, n)
        outlier = DiffusionOutlier(recipe, random_state=seed).fit(good)
        labels.append(np.mean(outlier.predict(come) < 0))
        ps.append(np.mean(outlier.p_values(come) <= outlier.level_ + 1e-12))
    held_out = len(outlier.held_out_)
    scatter = np.sqrt(outlier.level_ / (held_out + 2) / TABLES + outlier.level_ / 200 / TABLES)  # of the average over tables
    assert max(np.mean(labels), np.mean(ps)) <= outlier.level_ + 3 * scatter
    assert np.mean(outlier.predict(strange) < 0) > (0.5 if n == 300 else 0.2)


def test_scores_have_the_signs_of_sklearn() -> None:
    good, come, strange = tables(0)
    outlier = DiffusionOutlier().fit(good)
    both, truth = np.concatenate([come, strange]), np.repeat([0, 1], 200)
    assert auroc(truth, -outlier.score_samples(both)) > 0.9
    assert np.array_equal(outlier.predict(both) < 0, outlier.decision_function(both) < 0)
    assert np.array_equal(outlier.predict(both) < 0, outlier.p_values(both) <= outlier.level_), "of one number, labels are p-values"
    assert np.array_equal(outlier.score_samples(both)[5:6], outlier.score_samples(both[5:6]))


def test_a_small_table_says_what_level_it_reaches_and_refuses_another() -> None:
    good = tables(0, 12)[0]
    outlier = DiffusionOutlier().fit(good)
    assert len(outlier.held_out_) == 6 and outlier.level_ == pytest.approx(1 / 7) and outlier.p_values(good).min() >= 1 / 7
    assert DiffusionOutlier().fit(good[:2]).level_ == 0.5
    with pytest.raises(TooFewReferences, match="flag=0.05 with 6 rows held out; it takes 19"):
        DiffusionOutlier(flag=0.05).fit(good)


def test_equal_rows_are_observations_of_their_own() -> None:
    rows = np.random.default_rng(0).integers(0, 2, size=(400, 2)).astype(float)
    outlier = DiffusionOutlier().fit(rows)
    assert len(outlier.calibration_) == 100 and (outlier.predict(rows) == 1).all()


def test_a_network_is_learned_too_and_another_seed_is_another_split() -> None:
    good, come, strange = tables(0)
    outlier = DiffusionOutlier(**SMALL).fit(good)
    assert np.median(outlier.score_samples(strange)) < np.median(outlier.score_samples(come))
    assert not np.array_equal(outlier.held_out_, DiffusionOutlier(random_state=1).fit(good).held_out_)


def test_settings_are_refused_in_words() -> None:
    good = tables(0, 60)[0]
    for settings, kind, words in (
        ({"recipe": "reconstructoin"}, UnknownName, "did you mean 'reconstruction'"),
        ({"network": "unet"}, InvalidSetting, "a U-Net looks at neighbours"),
        ({"share": 1.0}, InvalidSetting, "0 < share < 1"),
        ({"flag": 0.0}, InvalidSetting, "a level lies between"),
    ):
        with pytest.raises(kind, match=words):
            DiffusionOutlier(**settings).fit(good)


@pytest.mark.skipif(not PYOD, reason="PyOD's contract needs pyod: pip install 'diffident[pyod]'")
def test_the_detector_keeps_the_contract_of_pyod() -> None:
    """In a process of its own: PyOD compiles and warns while it is imported."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", CONTRACT], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


#: what PyOD's own tests ask of each of its detectors
CONTRACT = """
import numpy as np
from pyod.models.base import BaseDetector
from pyod.utils.data import generate_data
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from diffident.adapters.pyod import DiffusionOD
from diffident.errors import InvalidSetting

known, new, of_known, of_new = generate_data(200, 100, contamination=0.1, random_state=42)
for settings in ({}, {"recipe": "diffpath"}, {"network": "mlp", "images_seen": 64, "width": 32}):
    found = DiffusionOD(**settings).fit(known)
    assert isinstance(found, BaseDetector) and found.decision_scores_.shape == (200,) and found.labels_.sum() == 20
    assert found.threshold_ and found._mu and found._sigma
    scores = found.decision_function(new)
    assert scores.shape == (100,) and roc_auc_score(of_new, scores) > 0.8 and roc_auc_score(of_known, found.decision_scores_) > 0.8
    assert np.array_equal(found.predict(new), scores > found.threshold_)
    for method in ("linear", "unify"):
        proba = found.predict_proba(new, method=method)
        assert proba.shape == (100, 2) and proba.min() >= 0 and proba.max() <= 1 and np.allclose(proba.sum(1), 1)
    assert found.predict_confidence(new).max() <= 1 and set(found.predict_with_rejection(new, c_r=0.1)) <= {0, 1, -2}
    assert clone(found).get_params() == found.get_params()
    assert np.array_equal(clone(found).fit(known).decision_scores_, found.decision_scores_)
assert DiffusionOD().fit(known[:3]).labels_.shape == (3,)
refusals = {
    ValueError: (lambda: found.decision_function(new[:, :1]), lambda: DiffusionOD(contamination=0.6), lambda: DiffusionOD().fit(known[:1])),
    InvalidSetting: (lambda: DiffusionOD(folds=1).fit(known),),
}
for wrong, kind in ((wrong, kind) for kind, all_wrong in refusals.items() for wrong in all_wrong):
    try:
        wrong()
    except kind:
        continue
    raise SystemExit("not refused")
"""


def pictures(root: Path, *names: str) -> Path:
    """Small pictures, all different."""
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(90, 160, (6, 6), dtype=np.uint8)).save(root / name)
    return root


def test_the_folders_of_anomalib_are_opened(tmp_path: Path) -> None:
    good = [f"ok/{i}.png" for i in range(10)]
    root = pictures(tmp_path, *good, "bad/0.png", "bad/dent/1.png", "bad/hole/1.png", "bad/hole/2.png", "m/0_mask.png", "m/dent/1.png", "m/2.png", "ok2/x.bmp")
    found = anomalib.folder("parts", "ok", root, "bad", mask_dir="m")
    assert len(found.train) == 8 and found.kinds == ("good", "good", "bad", "dent", "hole", "hole") and found.defects == ("bad", "dent", "hole")
    assert [item.name for item in found.test][2:] == ["bad/0.png", "dent/1.png", "hole/1.png", "hole/2.png"]
    assert [one and one.name for one in found.masks] == [None, None, "0_mask.png", "dent/1.png", None, "2.png"]
    assert not {item.payload for item in found.train} & {item.payload for item in found.test}
    apart = anomalib.folder("parts", ["ok", "ok2"], root, normal_test_dir="ok2", extensions=[".PNG", ".bmp"])
    assert len(apart.train) == 11 and apart.kinds == ("good",) and [item.name for item in apart.test] == ["good/x.bmp"]
    assert len(anomalib.folder("parts", "ok", root, normal_split_ratio=0.0).test) == 0


def test_what_the_folders_give_is_learned_from_and_assessed(tmp_path: Path) -> None:
    root = pictures(tmp_path / "parts", *(f"ok/{i}.png" for i in range(60)), "bad/dent/1.png", "bad/dent/2.png", "m/dent/1.png", "m/dent/2.png")
    found = anomalib.folder("parts", "ok", root, "bad", mask_dir="m")
    dd.train(found.train, network="none", size=6, out=tmp_path / "model")
    assessed = assess(dd.Detector.load(tmp_path / "model"), found, repeats=2)
    assert {row.method for row in assessed.rows} >= {"reconstruction", "reconstruction, untrained"} and set(assessed.decisions) == {"good", "dent"}
    assert sum(assessed.decisions["good"].values()) == 12


def test_folders_that_cannot_be_meant_are_refused(tmp_path: Path) -> None:
    root = pictures(tmp_path, "ok/0.png", "ok/1.png", "test/good/0.png", "test/bad/1.png")
    for settings, kind, words in (
        ({"abnormal_dir": "test"}, NotLabelled, "is given as strange and lies in a folder called 'good'"),
        ({"abnormal_dir": "bad"}, NoItems, "does not exist"),
        ({"mask_dir": "masks"}, NotLabelled, "there is no folder of masks"),
        ({"extensions": [".tif"]}, NotLabelled, "no item in ok ends in .tif"),
        ({"normal_split_ratio": 1.0}, InvalidSetting, "from 0 to below 1"),
    ):
        with pytest.raises(kind, match=words):
            anomalib.folder("parts", "ok", root, **settings)


def test_predictions_have_the_names_of_anomalib(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    detector = dd.Detector(dd.train(rng.uniform(0.4, 0.6, (60, 6, 6)), network="none", size=6)).fit(rng.uniform(0.4, 0.6, (99, 6, 6)))
    root = pictures(tmp_path, "0.png")
    (root / "1.png").write_bytes(b"no picture")
    Image.fromarray(np.tile(np.uint8([0, 255]), (6, 3))).save(root / "2.png")
    ordinary, broken, strange = anomalib.predictions(detector, root)
    assert ordinary.image_path == str(root / "0.png") and (ordinary.pred_label, ordinary.decision) in {(False, "normal"), (None, "abstain")}
    assert (broken.pred_label, broken.decision) == (None, "unreadable") and np.isnan(broken.p_value)
    assert strange.pred_score > ordinary.pred_score and strange.p_value <= ordinary.p_value and strange.explanation and strange.threshold == 0.01
    assert strange.anomaly_map.shape == strange.pred_mask.shape == (6, 6) and strange.pred_mask.any()
    verdict = detector(rng.uniform(0.4, 0.6, (6, 6)))
    assert anomalib.prediction(verdict).anomaly_map is None and anomalib.prediction(verdict, 1.0).pred_mask is None
    flat = dd.Detector(detector.model, "msma").fit(rng.uniform(0.4, 0.6, (99, 6, 6)))
    assert next(anomalib.predictions(flat, root)).anomaly_map is None
