"""The witness: a folder made on other hardware is asked again before it is trusted, and no damage passes."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from safetensors.torch import load, save

import diffident as dd
from diffident import folder as code
from diffident import hardware, witness
from diffident.cli import main
from diffident.errors import DamagedModel, DifferentAnswers, DiffidentError, NewerFormat, NotAModel
from diffident.folder import MANIFEST
from diffident.store import WEIGHTS

FILES = ["README.md", MANIFEST, "gallery.safetensors", "references.safetensors", WEIGHTS, witness.FILE]


def pictures(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.2, 0.8, (n, 8, 8))


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector whose network has learned a little: it has an opinion of its own."""
    place = tmp_path_factory.mktemp("models") / "m"
    dd.train(pictures(60), "reconstruction", place, width=32, images_seen=640, precision="fp32")
    return place


def altered(folder: Path, into: Path, say: Callable[[dict], None] = lambda facts: None, files: Callable[[Path], None] = lambda place: None) -> Path:
    """A copy with valid sums, changed by somebody who knows how they are made."""
    shutil.copytree(folder, into)
    files(into)
    facts = json.loads((into / MANIFEST).read_text())
    facts.pop("sum")
    say(facts)
    facts["files"] = {name: code._sum((into / name).read_bytes()) for name in facts["files"]}
    (into / MANIFEST).write_text(json.dumps({**facts, "sum": code._sum(code._plain(facts))}))
    return into


def elsewhere(facts: dict) -> None:
    facts["made_on"]["processor"] = "abacus"


def answering(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Path], None]:
    def rewrite(place: Path) -> None:
        kept = load((place / witness.FILE).read_bytes())["answers"]
        (place / witness.FILE).write_bytes(save({"answers": change(kept).contiguous()}))

    return rewrite


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows by one each time that a model is asked for the answers of its witness."""
    times, real = [], witness.answers

    def counted(model: dd.Model) -> torch.Tensor:
        times.append(model.name)
        return real(model)

    monkeypatch.setattr(witness, "answers", counted)
    return times


def test_where_it_was_made_nothing_is_asked(learned: Path, asked: list[str]) -> None:
    dd.Detector.load(learned, precision="fp32")
    assert asked == []


@pytest.mark.parametrize("name", ["processor", "torch", "precision"])
def test_a_folder_made_elsewhere_is_asked_again_and_loads(name: str, learned: Path, tmp_path: Path, asked: list[str]) -> None:
    place = altered(learned, tmp_path / "m", lambda facts: facts["made_on"].update({name: "another"}))
    loaded = dd.Detector.load(place, precision="fp32")
    assert len(asked) == 1
    assert loaded(pictures(1, 7)[0]).p == dd.Detector.load(learned, precision="fp32")(pictures(1, 7)[0]).p


def test_a_folder_serves_the_other_precision_too(learned: Path) -> None:
    if hardware.precision("auto") != "bf16":
        pytest.skip(f"bfloat16 is emulated on this processor ({hardware.kind()}), and nobody asks for it here")
    single, half = (dd.load(learned, precision) for precision in ("fp32", "bf16"))
    assert single.fingerprint == half.fingerprint and half.stored.precision == "bf16"
    assert len(dd.Detector.load(learned, "bf16").calibrated) == 30


def test_answers_that_differ_are_refused_with_numbers(learned: Path, tmp_path: Path) -> None:
    place = altered(learned, tmp_path / "m", elsewhere, answering(lambda kept: 1.2 * kept))
    with pytest.raises(DifferentAnswers, match=r"made on processor abacus.* 8 stored inputs come out 0\.167 apart .* at most 0\.05.*train it here"):
        dd.load(place, precision="fp32")


def test_answers_that_are_no_numbers_are_refused(learned: Path, tmp_path: Path) -> None:
    with pytest.raises(DifferentAnswers, match="nan apart"):
        dd.load(altered(learned, tmp_path / "m", elsewhere, answering(lambda kept: kept * torch.nan)), precision="fp32")


def test_rounding_of_another_machine_is_no_difference(learned: Path, tmp_path: Path) -> None:
    place = altered(learned, tmp_path / "m", elsewhere, answering(lambda kept: kept.bfloat16().float()))
    assert dd.load(place, precision="fp32").fingerprint == dd.load(learned).fingerprint


def test_answers_of_another_shape_are_damage(learned: Path, tmp_path: Path) -> None:
    with pytest.raises(DamagedModel, match=r"keeps answers of shape \(7, 1, 8, 8\) and its model gives \(8, 1, 8, 8\)"):
        dd.load(altered(learned, tmp_path / "m", elsewhere, answering(lambda kept: kept[:7])), precision="fp32")


def test_a_calibration_whose_statistics_have_moved_is_refused(learned: Path, tmp_path: Path) -> None:
    def moved(facts: dict) -> None:
        elsewhere(facts)
        facts["detector"]["witness"] = [[1.5 * number for number in row] for row in facts["detector"]["witness"]]

    place = altered(learned, tmp_path / "m", moved)
    with pytest.raises(DifferentAnswers, match="move by up to .* times what is allowed .*; fit it again here: diffident fit MODEL KNOWN_GOOD"):
        dd.Detector.load(place, precision="fp32")
    assert dd.load(place, precision="fp32").name == "m"  # the model itself still answers as it did
    good = tmp_path / "good"
    good.mkdir()
    for i, picture in enumerate(pictures(40, seed=7)):
        PIL.Image.fromarray((255 * picture).astype(np.uint8)).save(good / f"{i}.png")
    with pytest.raises(SystemExit) as left:  # what the refusal advises can be done
        main(["fit", str(place), str(good), "--precision", "fp32"])
    assert not left.value.code
    assert len(dd.Detector.load(place, precision="fp32").calibrated) == 40


def test_statistics_that_moved_a_little_are_no_difference(learned: Path, tmp_path: Path) -> None:
    def moved(facts: dict) -> None:
        elsewhere(facts)
        facts["detector"]["witness"] = [[1.01 * number for number in row] for row in facts["detector"]["witness"]]

    assert len(dd.Detector.load(altered(learned, tmp_path / "m", moved), precision="fp32").calibrated) == 30


def test_each_of_the_eight_inputs_is_another_and_lies_within_what_items_can_be(learned: Path) -> None:
    items = witness.items(dd.load(learned))
    assert items.shape == (8, 1, 8, 8) and items.abs().max() <= 1
    assert len({tuple(item.flatten().tolist()) for item in items}) == 8


def test_it_loads_in_under_a_second(learned: Path) -> None:
    dd.Detector.load(learned)
    began = time.perf_counter()
    dd.Detector.load(learned)
    assert time.perf_counter() - began < 1


def test_a_folder_says_on_what_it_was_made(learned: Path) -> None:
    facts = json.loads((learned / MANIFEST).read_text())
    assert facts["made_on"] == hardware.stamp("fp32") and sorted(facts["files"]) == sorted(set(FILES) - {MANIFEST})


HARM: dict[str, Callable[[Path], object]] = {
    "cut": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "emptied": lambda file: file.write_bytes(b""),
    "a byte flipped in the middle": lambda file: file.write_bytes(flipped(file.read_bytes(), file.stat().st_size // 2)),
    "a byte flipped at the end": lambda file: file.write_bytes(flipped(file.read_bytes(), file.stat().st_size - 4)),
    "longer": lambda file: file.write_bytes(file.read_bytes() + b"x"),
    "removed": lambda file: file.unlink(),
    "renamed": lambda file: file.rename(file.with_name("renamed" + file.suffix)),
    "a folder": lambda file: (file.unlink(), file.mkdir()),
}


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("name", FILES)
def test_no_damage_of_any_file_passes(name: str, harm: str, learned: Path, tmp_path: Path) -> None:
    shutil.copytree(learned, tmp_path / "m")
    HARM[harm](tmp_path / "m" / name)
    for opened in (dd.Detector.load, dd.load):
        with pytest.raises((DamagedModel, NotAModel)) as refusal:
            opened(tmp_path / "m")
        assert str(tmp_path / "m") in str(refusal.value) and any(words in str(refusal.value) for words in ("make", "restore"))


EDITS: dict[str, Callable[[dict], object]] = {
    "a laxer level": lambda facts: facts["detector"]["policy"].update(flag=0.5),
    "another recipe": lambda facts: facts["detector"]["recipe"].update(name="mine"),
    "a wider depth": lambda facts: facts["detector"].update(depth=[]),
    "made here": lambda facts: facts.update(made_on=hardware.stamp("bf16")),
    "no witness": lambda facts: facts["detector"].pop("witness"),
    "fewer files": lambda facts: facts["files"].pop(witness.FILE),
    "another name": lambda facts: facts["model"].update(name="mine"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_manifest_edited_by_hand_is_refused(edit: str, learned: Path, tmp_path: Path) -> None:
    shutil.copytree(learned, tmp_path / "m")
    facts = json.loads((tmp_path / "m" / MANIFEST).read_text())
    EDITS[edit](facts)
    (tmp_path / "m" / MANIFEST).write_text(json.dumps(facts))
    with pytest.raises(DamagedModel, match="was altered after it was written"):
        dd.Detector.load(tmp_path / "m")


@pytest.mark.parametrize(
    "version, kind", [(2, NewerFormat), (0, DamagedModel), (-1, DamagedModel), ("1", DamagedModel), (True, DamagedModel), (1.0, DamagedModel)]
)
def test_a_format_that_this_version_does_not_write_is_refused(version: object, kind: type, learned: Path, tmp_path: Path) -> None:
    with pytest.raises(kind, match="format"):
        dd.Detector.load(altered(learned, tmp_path / "m", lambda facts: facts.update(format=version)))


SEALED: dict[str, tuple[Callable[[dict], object], Callable[[Path], object], str]] = {
    "weights of another": (lambda facts: None, lambda place: _doubled(place / WEIGHTS), "does not hold the model that its manifest names"),
    "no kind": (lambda facts: facts["model"]["denoiser"].pop("kind"), lambda place: None, "describes its model incompletely"),
    "unknown kind": (lambda facts: facts["model"]["denoiser"].update(kind="transformer"), lambda place: None, "no network called 'transformer'"),
    "other settings": (lambda facts: facts["model"]["denoiser"]["settings"].update(widths=[32, 32]), lambda place: None, "describes its model incompletely"),
    "witness of words": (elsewhere, lambda place: (place / witness.FILE).write_bytes(b"words"), "keeps no answers that can be read"),
    "witness without answers": (elsewhere, lambda place: _other_tensors(place / witness.FILE), "keeps no answers that can be read .KeyError"),
    "witness unlisted": (
        lambda facts: (elsewhere(facts), facts["files"].pop(witness.FILE)),
        lambda place: (place / witness.FILE).unlink(),
        "keeps no answers that can be read .FileNotFoundError",
    ),
}


@pytest.mark.parametrize("case", SEALED)
def test_what_does_not_describe_a_detector_is_refused_in_words_whatever_its_sums(case: str, learned: Path, tmp_path: Path) -> None:
    say, files, words = SEALED[case]
    place = altered(learned, tmp_path / "m", say, files)
    with pytest.raises(DiffidentError, match=words):
        dd.Detector.load(place, precision="fp32")


def _other_tensors(file: Path) -> None:
    file.write_bytes(save({"others": torch.zeros(2)}))


def _doubled(file: Path) -> None:
    kept = load(file.read_bytes())
    file.write_bytes(save({name: 2 * tensor if name.endswith("gain") else tensor for name, tensor in kept.items()}))
