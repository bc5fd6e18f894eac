"""Every refusal has a class of its own, is drawn in the tree, and is met here with words that say what to do."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

import diffident as dd
from diffident import errors, registry, statistics
from diffident.calibration import Calibration
from diffident.data import Item, Items
from diffident.denoiser import Empirical
from diffident.evaluate.labelled import Labelled
from diffident.folder import MANIFEST
from diffident.modalities.image import Image
from diffident.optimise import Record, Schedule, descend
from diffident.probes import HutchinsonTrace
from diffident.recipes import Reading, Recipe
from diffident.testing import checks
from diffident.walks import Clean, Renoise, walk_from


def pictures(n: int) -> np.ndarray:
    return np.random.default_rng(n).uniform(0.2, 0.8, (n, 6, 6))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("models") / "m"
    dd.train(pictures(60), network="none", out=place)
    return place


def rewritten(folder: Path, into: Path, change: Callable[[dict], None], reseal: bool = True, files: Callable[[Path], None] | None = None) -> Path:
    """A copy of a model whose manifest, and files if asked, were changed by somebody who knows how the sums are made."""
    from diffident import folder as code

    shutil.copytree(folder, into)
    facts = json.loads((into / MANIFEST).read_text())
    facts.pop("sum")
    change(facts)
    if files is not None:
        files(into)
        facts["files"] = {name: code._sum((into / name).read_bytes()) for name in facts["files"]}
    facts["sum"] = code._sum(code._plain(facts)) if reseal else "0" * 64
    (into / MANIFEST).write_text(json.dumps(facts))
    return into


def damaged(folder: Path, into: Path, name: str, change: Callable[[bytes], bytes | None]) -> Path:
    shutil.copytree(folder, into)
    content = change((into / name).read_bytes())
    (into / name).unlink() if content is None else (into / name).write_bytes(content)
    return into


def flipped(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


#: each refusal: its class, words of its message, and how a person comes to it
CASES: dict[str, tuple[type, str, Callable[[Path, Path], object]]] = {
    "name": (errors.UnknownName, "did you mean 'landing'", lambda f, t: statistics.find("lnding")),
    "setting": (errors.InvalidSetting, "once or more", lambda f, t: Renoise(repeats=0)),
    "setting of a statistic": (
        errors.InvalidSetting,
        "has no setting x",
        lambda f, t: dd.Scorer(dd.load(f), Recipe("r", (Reading(Clean(), "landing", {"x": 1}),)))(pictures(2)),
    ),
    "setting of a walk": (errors.InvalidSetting, "cannot be made of", lambda f, t: walk_from({"name": "clean", "speed": 3})),
    "two readings of one name": (errors.InvalidSetting, "name them apart", lambda f, t: Recipe("r", (Reading(Clean(), "landing"),) * 2)),
    "too few draws": (errors.InvalidSetting, "noise draws", lambda f, t: Recipe("r", (Reading(Clean(), "needs_two"),))),
    "two probes of one name": (errors.InvalidSetting, "different probes of one name", lambda f, t: _asked(f, _two_traces())),
    "missing package": (errors.MissingPackage, "PyOD's contract needs pyod: pip install 'diffident[pyod]'", lambda f, t: _without_pyod()),
    "unreadable": (errors.UnreadableItem, "no image", lambda f, t: Image(8, 8, 1, 8).open(Item("x", _file(t, b"words")))),
    "too large": (errors.TooLarge, "pixels", lambda f, t: Image(8, 8, 1, 8).open(Item("x", _file(t, _bomb())))),
    "no items": (errors.NoItems, "give a folder", lambda f, t: Items.open(t)),
    "not labelled": (errors.NotLabelled, "laid out as DIR/test/good", lambda f, t: Labelled.open(t)),
    "too few items": (errors.TooFewItems, "give at least", lambda f, t: dd.train(pictures(1), network="none", out=t / "o")),
    "too few references": (
        errors.TooFewReferences,
        "cannot flag at p <= 0.01 with 10 reference items; give at least 99",
        lambda f, t: dd.Policy(0.01).resolve(10),
    ),
    "too few to calibrate": (errors.TooFewReferences, "give at least 19", lambda f, t: dd.train(pictures(20), network="none", out=t / "o")),
    "shape": (errors.WrongShape, "one per item", lambda f, t: Empirical(torch.ones(3, 2))(torch.ones(3, 2), torch.ones(2), 1.0)),
    "batch and policy": (errors.InvalidSetting, "give one of them", lambda f, t: dd.Detector.load(f).judge_all(pictures(3), fdr=0.1, policy=dd.Policy(0.1))),
    "unconditional": (errors.Unconditional, "no item of this set", lambda f, t: Empirical(torch.ones(1, 2)).given("cat")),
    "unknown kind": (errors.UnknownKind, "tells no kinds apart; leave it out", lambda f, t: dd.Detector.load(f)(pictures(1)[0], kind="bolt")),
    "no gradient": (errors.NoGradient, "carries no gradient", lambda f, t: _probed_in_inference()),
    "no activations": (errors.NoActivations, "diffident train --network unet", lambda f, t: dd.Scorer(dd.load(f), "deviation")(pictures(2))),
    "another run": (errors.ForeignCheckpoint, "remove that folder to train from the start", lambda f, t: _another_run(t)),
    "not finished": (errors.TrainingError, "take the denoiser of the last record", lambda f, t: next(_descended(pictures(20))).finished),
    "diverged": (errors.Diverged, "give a lower rate", lambda f, t: list(_descended(np.full((20, 6, 6), np.nan)))),
    "other answers": (errors.DifferentAnswers, "train it here", lambda f, t: dd.load(rewritten(f, t / "m", _made_elsewhere, files=_other_answers))),
    "calibration moved": (errors.DifferentAnswers, "fit it again here", lambda f, t: dd.Detector.load(rewritten(f, t / "m", _moved))),
    "a format that never was": (errors.DamagedModel, "says format 0", lambda f, t: dd.load(rewritten(f, t / "m", lambda m: m.update(format=0)))),
    "recorded twice": (errors.AlreadyRecording, "leave the first with-block before the second", lambda f, t: _recorded_twice()),
    "no map": (errors.NotPerElement, "has no map", lambda f, t: dd.Scorer(dd.load(f), registry.find("recipes", "msma")).map(Items.single(pictures(1)[0])[0])),
    "not calibrated": (errors.NotCalibrated, "call fit", lambda f, t: dd.Detector(dd.load(f)).judge_all(pictures(2))),
    "not finite": (
        errors.NotFinite,
        "leave them out",
        lambda f, t: dd.Detector(dd.load(f)).fit(np.where(np.arange(25)[:, None, None] == 3, np.nan, pictures(25))),
    ),
    "foreign scores": (
        errors.ForeignScores,
        "another model or recipe",
        lambda f, t: dd.Detector.load(f).judge_all(dd.Scorer(dd.load(f), registry.find("recipes", "msma"))(pictures(2))),
    ),
    "seen in training": (errors.SeenInTraining, "items trained the model", lambda f, t: dd.Detector(dd.load(f)).fit(pictures(60))),
    "not a model": (errors.NotAModel, "diffident train", lambda f, t: dd.load(t)),
    "a file missing": (errors.DamagedModel, "missing", lambda f, t: dd.load(damaged(f, t / "m", "weights.safetensors", lambda c: None))),
    "a bit flipped": (errors.DamagedModel, "is damaged", lambda f, t: dd.load(damaged(f, t / "m", "weights.safetensors", flipped))),
    "cut short": (errors.DamagedModel, "is damaged", lambda f, t: dd.Detector.load(damaged(f, t / "m", "references.safetensors", lambda c: c[: len(c) // 2]))),
    "manifest cut": (errors.DamagedModel, "cannot be read", lambda f, t: dd.load(damaged(f, t / "m", MANIFEST, lambda c: c[:100]))),
    "manifest edited": (
        errors.DamagedModel,
        "was altered",
        lambda f, t: dd.load(rewritten(f, t / "m", lambda m: m["model"].update(name="mine"), reseal=False)),
    ),
    "other tensors": (
        errors.DamagedModel,
        "does not hold the model",
        lambda f, t: dd.load(rewritten(f, t / "m", lambda m: m["model"].update(fingerprint="0" * 64))),
    ),
    "another recipe": (errors.ForeignScores, "another model or recipe", lambda f, t: dd.Detector.load(rewritten(f, t / "m", _other_recipe))),
    "no model in it": (errors.DamagedModel, "describes its model incompletely", lambda f, t: dd.load(rewritten(f, t / "m", lambda m: m.pop("model")))),
    "newer": (errors.NewerFormat, "pip install -U diffident", lambda f, t: dd.load(rewritten(f, t / "m", lambda m: m.update(format=2)))),
    "in the way": (errors.OutputError, "exists and is not a folder", lambda f, t: dd.save(dd.load(f), _file(t, b""))),
    "scores unwritable": (errors.OutputError, "cannot write scores", lambda f, t: dd.Detector.load(f).calibrated.references.save(t / "nowhere" / "s")),
    "scores damaged": (errors.DamagedModel, "readable scores", lambda f, t: dd.Scores.load(_file(t, b"words"))),
    "scores of a later version": (errors.NewerFormat, "reads up to 1", lambda f, t: dd.Scores.load(_altered(f, t / "s", b'format\\": 1', b'format\\": 2'))),
    "scores without tails": (errors.DamagedModel, "KeyError: 'tails'", lambda f, t: dd.Scores.load(_altered(f, t / "s", b"tails", b"tools"))),
    "broken contract": (
        errors.ContractBroken,
        "lacks 'Shape:'",
        lambda f, t: [check() for check in checks(statistics.Statistic("s", lambda film: film.eps, "upper", "is odd"))],
    ),
    "calibrated on nothing": (errors.TooFewReferences, "0 reference items", lambda f, t: Calibration(dd.Detector.load(f).calibrated.references.select([]))),
}


def _descended(items: np.ndarray, place: Path | None = None, seed: int = 0) -> Iterator[Record]:
    values = torch.from_numpy(items.astype(np.float32))
    return descend(values, values[:0], "mlp", {"shape": [6, 6], "width": 32, "blocks": 1}, Schedule(images_seen=40, batch=20, seed=seed), place)


def _another_run(place: Path) -> None:
    with contextlib.closing(_descended(pictures(20), place)) as records:
        next(records)
    next(_descended(pictures(20), place, seed=1))


def _made_elsewhere(manifest: dict) -> None:
    manifest["made_on"]["processor"] = "abacus"


def _moved(manifest: dict) -> None:
    _made_elsewhere(manifest)
    manifest["detector"]["witness"] = [[2 * number + 1 for number in row] for row in manifest["detector"]["witness"]]


def _other_answers(place: Path) -> None:
    kept = load((place / "witness.safetensors").read_bytes())
    (place / "witness.safetensors").write_bytes(save({"answers": kept["answers"] + 0.2}))


def _probed_in_inference() -> None:
    with torch.inference_mode():
        bank = Empirical(torch.eye(3))
        Clean()(bank, torch.eye(3), [HutchinsonTrace()])


def _asked(folder: Path, recipe: Recipe) -> dd.Scores:
    return dd.Scorer(dd.load(folder), recipe)(pictures(2))


def _two_traces() -> Recipe:
    return Recipe("r", (Reading(Clean(), "posterior_variance"), Reading(Clean(), "one_trace")))


def _file(place: Path, content: bytes) -> Path:
    (place / "a file").write_bytes(content)
    return place / "a file"


def _bomb() -> bytes:
    """A PNG that claims 60,000 x 60,000 pixels in under a hundred bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(bytes(9)))


def _altered(folder: Path, path: Path, old: bytes, new: bytes) -> Path:
    """A table of scores in which some bytes were changed for as many others."""
    dd.Detector.load(folder).calibrated.references.save(path)
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    return path


def _without_pyod() -> None:
    """Its adapter imported as where PyOD is not installed."""
    with mock.patch.dict(sys.modules, {"pyod": None}):
        sys.modules.pop("diffident.adapters.pyod", None)
        importlib.import_module("diffident.adapters.pyod")


def _recorded_twice() -> None:
    scheduler = mock.MagicMock(step=lambda model_output, timestep, sample: None, config={}, alphas_cumprod=torch.tensor([0.9, 0.5]), init_noise_sigma=1.0)
    pipe = mock.MagicMock(scheduler=scheduler)
    with dd.record(pipe), dd.record(pipe):
        pass


def _other_recipe(manifest: dict) -> None:
    manifest["detector"]["recipe"] = registry.find("recipes", "diffpath-1d").config()


#: statistics that are registered for these tests only
MADE_UP = {
    "needs_two": statistics.Statistic("needs_two", lambda film: film.eps, "upper", "is odd", draws=2),
    "one_trace": statistics.Statistic("one_trace", lambda film: film.columns["trace"].T, "upper", "is odd", probes=(HutchinsonTrace(draws=1),)),
}


@pytest.mark.parametrize("case", CASES)
def test_every_refusal_says_what_is_the_case_and_what_to_do(case: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, words, come_to_it = CASES[case]
    for name, made_up in MADE_UP.items():
        monkeypatch.setitem(registry._things, ("statistics", name), made_up)
    with pytest.raises(errors.DiffidentError) as refusal:
        come_to_it(folder, tmp_path)
    assert refusal.type is kind, refusal.value
    assert words in str(refusal.value)


def test_every_class_of_refusal_is_met_above() -> None:
    def leaves(kind: type) -> set[type]:  # and TrainingError, which is raised itself too
        below = kind.__subclasses__()
        return set().union(*map(leaves, below)) if below else {kind}

    assert leaves(errors.DiffidentError) | {errors.TrainingError} == {kind for kind, _, _ in CASES.values()}


def test_the_tree_that_is_drawn_is_the_tree_that_is_there() -> None:
    def drawn(kind: type) -> list[str]:
        return [kind.__name__, *(name for below in kind.__subclasses__() for name in drawn(below))]

    tree = [line.split("─ ")[-1].split()[0] for line in errors.__doc__.splitlines() if "─" in line]
    assert ["DiffidentError", *tree] == drawn(errors.DiffidentError)


def test_no_pickle_is_read_or_written(folder: Path) -> None:
    for path in folder.iterdir():
        assert path.suffix in {".json", ".safetensors", ".md"}
        assert path.read_bytes()[:1] != b"\x80"


def test_a_failed_save_leaves_nothing_behind(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diffident.folder.os.rename", _full)
    with pytest.raises(errors.OutputError, match="make room"):
        dd.save(dd.load(folder), tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_between_two_moves_brings_the_old_model_back(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(folder, tmp_path / "m")
    moves, real = [], os.rename

    def interrupted(source: Path, target: Path) -> None:
        moves.append(target)
        if len(moves) == 2:
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr("diffident.folder.os.rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        dd.save(dd.load(folder), tmp_path / "m")
    assert dd.load(tmp_path / "m").fingerprint == dd.load(folder).fingerprint
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def _full(*_: object) -> None:
    raise OSError(28, "No space left on device")
