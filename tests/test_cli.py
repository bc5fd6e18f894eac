"""The command line as people use it: folders in, files out, exit statuses, and nothing lost on the way."""

from __future__ import annotations

import csv
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffident.cli import main

FASHION = Path(__file__).parents[1] / "examples" / "fashion"


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return left.value.code


@pytest.fixture(scope="module")
def boots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector made by the command line from the pictures that the project ships."""
    out = tmp_path_factory.mktemp("models") / "boots"
    assert run("train", FASHION / "good", "--network", "none", "-o", out) == 0
    return out


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


READ = {".csv": rows, ".json": lambda out: json.loads(out.read_text()), ".jsonl": lambda out: [json.loads(line) for line in out.read_text().splitlines()]}


def test_a_folder_in_decisions_out(boots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("score", boots, FASHION / "incoming", "-o", tmp_path / "scores.csv") == 0
    found = rows(tmp_path / "scores.csv")
    kinds = {row["path"]: row["kind"] for row in rows(FASHION / "incoming.csv")}
    assert list(found[0])[:4] == ["path", "score", "p_value", "decision"] and len(found) == 80
    flagged = [kinds[row["path"]] for row in found if row["decision"] == "flag"]
    good = max(set(kinds.values()), key=list(kinds.values()).count)
    assert flagged.count(good) <= 4 and len(flagged) - flagged.count(good) >= 20
    told = capsys.readouterr().out
    assert "80 items: " in told and "At most 1 % of good items are flagged on average" in told and "the strangest (p is of all statistics together" in told


def test_every_form_of_output_says_the_same(boots: Path, tmp_path: Path) -> None:
    found = {}
    for suffix in READ:
        assert run("score", boots, FASHION / "incoming", "-o", tmp_path / f"scores{suffix}") == 0
        found[suffix] = [{name: str(cell) for name, cell in row.items()} for row in READ[suffix](tmp_path / f"scores{suffix}")]
    assert found[".csv"] == found[".json"] == found[".jsonl"] and len(found[".csv"]) == 80


def test_the_level_is_changed_without_training(boots: Path, tmp_path: Path) -> None:
    counts = {}
    for flag in ("0.01", "0.2"):
        assert run("score", boots, FASHION / "incoming", "-o", tmp_path / "s.csv", "--flag", flag, "--abstain", "0.5") == 0
        counts[flag] = [row["decision"] for row in rows(tmp_path / "s.csv")]
    assert counts["0.2"].count("flag") > counts["0.01"].count("flag") and "abstain" in counts["0.01"]


def test_false_discoveries_are_bounded_for_a_whole_batch(boots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("score", boots, FASHION / "incoming", "-o", tmp_path / "s.csv", "--fdr", "0.1", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["flag"] == sum(row["decision"] == "flag" for row in rows(tmp_path / "s.csv")) > 20
    assert "at most 10 % are good on average" in said["promise"]


def test_fitting_again_uses_other_references(boots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    others = tmp_path / "others"
    others.mkdir()
    good = [row["path"] for row in rows(FASHION / "incoming.csv") if row["kind"] == rows(FASHION / "incoming.csv")[1]["kind"]]
    for name in good:
        shutil.copy(FASHION / "incoming" / name, others)
    assert run("fit", boots, others, "-o", tmp_path / "again", "--recipe", "diffpath", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["references"] == len(good) and said["flag"] == (0.05 if len(good) < 49 else 0.02)
    assert run("score", tmp_path / "again", FASHION / "incoming", "-o", tmp_path / "s.csv") == 0
    assert next(row["reason"] for row in rows(tmp_path / "s.csv") if row["path"] == good[0]).startswith("is a reference")


def test_a_single_file_is_scored(boots: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("score", boots, next((FASHION / "incoming").glob("*.png"))) == 0
    assert capsys.readouterr().out.startswith("1 item: 1 ")


def bad_items(place: Path) -> dict[str, str]:
    """Files of every bad kind, with the decision and the words that each must get."""
    place.mkdir()
    picture = next((FASHION / "incoming").glob("*.png")).read_bytes()
    (place / "good.png").write_bytes(picture)
    (place / "truncated.png").write_bytes(picture[: len(picture) // 2])
    (place / "empty.png").write_bytes(b"")
    (place / "notes.txt").write_text("not an image")
    (place / "rubbish.jpg").write_bytes(os.urandom(500))
    Image.new("L", (1, 1)).save(place / "one pixel.png")
    Image.new("L", (20_000, 28)).save(place / "wide.png")
    Image.new("RGB", (28, 28), (200, 10, 10)).save(place / "red.png")
    Image.fromarray(np.full((28, 28), 1e9, np.float32)).save(place / "bright.tiff")
    Image.fromarray(np.full((28, 28), np.nan, np.float32)).save(place / "nan.tiff")
    bomb = bytearray(picture)
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2
    (place / "bomb.png").write_bytes(bomb)
    (place / "dangling.png").symlink_to(place / "nowhere.png")
    unreadable = ("truncated.png", "empty.png", "notes.txt", "rubbish.jpg", "bomb.png", "dangling.png")
    return dict.fromkeys(unreadable, "unreadable") | dict.fromkeys(("one pixel.png", "wide.png", "red.png", "bright.tiff", "nan.tiff"), "abstain")


def test_bad_items_get_rows_of_their_own_and_the_rest_go_on(boots: Path, tmp_path: Path) -> None:
    expected = bad_items(tmp_path / "items")
    assert run("score", boots, tmp_path / "items", "-o", tmp_path / "s.csv") == 0
    found = {row["path"]: row for row in rows(tmp_path / "s.csv")}
    assert set(found) == set(expected) | {"good.png"}
    for name, decision in expected.items():
        assert (name, found[name]["decision"]) == (name, decision)
        assert len(found[name]["reason"]) > 10, f"{name} says only {found[name]['reason']!r}"
    assert found["good.png"]["decision"] in {"accept", "flag", "abstain"} and found["good.png"]["p_value"]


def test_training_leaves_bad_items_out_and_names_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = bad_items(tmp_path / "items")
    for i, path in enumerate(sorted((FASHION / "good").glob("*.png"))[:60]):
        shutil.copy(path, tmp_path / "items" / f"g{i}.png")
    assert run("train", tmp_path / "items", "--network", "none", "-o", tmp_path / "m", "--json") == 0
    out, err = capsys.readouterr()
    said = json.loads(out)
    assert said["left_out"] == sum(d == "unreadable" for d in expected.values()) + 1  # and the one that is not finite
    assert "left out: " in err and said["trained"] + said["references"] >= 60


def test_the_folder_one_is_in_is_a_folder_like_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FASHION / "good")
    assert run("train", ".", "--network", "none", "-o", tmp_path / "m") == 0


def test_a_change_of_size_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", FASHION / "good", "--network", "none", "-o", tmp_path / "m", "--size", "14x20") == 0
    assert "pictures of 28x28 are brought to 14x20; --size keeps more detail" in capsys.readouterr().out


def test_what_was_not_decided_is_told_with_reasons(boots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad_items(tmp_path / "items")
    assert run("score", boots, tmp_path / "items") == 0
    told = capsys.readouterr().out
    assert "abstained: " in told and "2 wrong size" in told and "unreadable: bomb.png, dangling.png, empty.png and 3 more" in told


def test_copies_are_learned_from_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "items").mkdir()
    for i, path in enumerate(sorted((FASHION / "good").glob("*.png"))[:60]):
        shutil.copy(path, tmp_path / "items" / f"g{i}.png")
        shutil.copy(path, tmp_path / "items" / f"copy of g{i}.png")
    assert run("train", tmp_path / "items", "--network", "none", "-o", tmp_path / "m", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["trained"], said["references"], said["left_out"]) == (30, 30, 60)


def test_real_photographs_run_through(benchmark_data: Path, tmp_path: Path) -> None:
    """Magnetic tiles, JPEG: nothing is unreadable, and a judged good tile has a p-value."""
    tiles = sorted((benchmark_data / "inspection" / "magnetic_tile" / "train" / "good").glob("*.jpg"))
    for name, some in (("good", tiles[:60]), ("new", tiles[-10:])):
        (tmp_path / name).mkdir()
        for path in some:
            shutil.copy(path, tmp_path / name)
    assert run("train", tmp_path / "good", "--network", "none", "-o", tmp_path / "m", "--size", "32") == 0
    assert run("score", tmp_path / "m", tmp_path / "new", "-o", tmp_path / "s.csv") == 0
    found = rows(tmp_path / "s.csv")
    assert len(found) == 10 and all(row["p_value"] for row in found)


REFUSED = {
    "an empty folder": (("train", "{empty}", "-o", "{out}"), "no items in"),
    "no such folder": (("train", "{tmp}/nowhere", "-o", "{out}"), "does not exist"),
    "nothing readable": (("train", "{texts}", "-o", "{out}"), "none of"),
    "too few": (("train", "{five}", "-o", "{out}"), "so give 38 items in all"),
    "level out of reach": (("train", "{five}", "-o", "{out}", "--flag", "0.01"), "give at least 99"),
    "level out of reach when scoring": (("score", "{boots}", "{five}", "--flag", "0.001"), "give at least 999"),
    "batch out of reach": (("score", "{boots}", "{five}", "--fdr", "0.0001"), "cannot"),
    "no such recipe": (("train", "{five}", "-o", "{out}", "--recipe", "difpath"), "did you mean 'diffpath'"),
    "no such network": (("train", "{five}", "-o", "{out}", "--network", "resnet"), "no network called 'resnet'"),
    "output in the way": (("train", "{good}", "-o", "{five}"), "exists and is not a folder that Diffident has written"),
    "output below a file": (("train", "{good}", "-o", "{texts}/a.txt/m"), "cannot write"),
    "not a model": (("score", "{five}", "{five}"), "is not a model"),
    "no such model": (("score", "{tmp}/nowhere", "{five}"), "there is no such folder"),
    "trained on": (("fit", "{boots}", "{good}", "-o", "{out}"), "items trained the model"),
    "unwritable rows": (("score", "{boots}", "{five}", "-o", "{tmp}/nowhere/s.csv"), "cannot write"),
    "an empty path": (("score", "{boots}", ""), "the path given is empty"),
    "a level too small to mean anything": (("score", "{boots}", "{five}", "--flag", "1e-320"), "between 1e-09 and 1"),
    "rows of unknown form": (("score", "{boots}", "{five}", "-o", "{tmp}/s.xlsx"), ".csv, .json or .jsonl"),
    "levels the wrong way round": (("score", "{boots}", "{five}", "--flag", "0.05", "--abstain", "0.01"), "above flag"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_say_what_to_do_and_leave_with_1(case: str, boots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    places = {"tmp": tmp_path, "out": tmp_path / "out", "boots": boots, "good": FASHION / "good"}
    for name in ("empty", "texts", "five"):
        places[name] = tmp_path / name
        places[name].mkdir()
    (tmp_path / "texts" / "a.txt").write_text("words")
    for path in sorted((FASHION / "incoming").glob("*.png"))[:5]:
        shutil.copy(path, tmp_path / "five")
    arguments, words = REFUSED[case]
    assert run(*(argument.format(**places) for argument in arguments)) == 1
    out, err = capsys.readouterr()
    assert err.startswith("diffident: ") and words in err and not out
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("sore",),
        ("score",),
        ("train", "x"),
        ("score", "m", "x", "--fdr", "0.1", "--flag", "0.1"),
        ("train", "x", "-o", "m", "--size", "big"),
        ("list", "things"),
    ],
)
def test_wrong_usage_leaves_with_2(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*arguments) == 2
    assert "Usage" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["statistics", "recipes", "denoisers", "walks", "probes", "steps", "spaces", "modalities"])
def test_everything_listed_has_a_sentence(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list", kind, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found and all(len(said) > 15 for said in found.values())
    assert run("list", kind) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(found)


def many(place: Path, n: int) -> Path:
    """A folder of so many pictures that scoring takes a while."""
    place.mkdir()
    pictures = sorted((FASHION / "incoming").glob("*.png"))
    for i in range(n):
        os.link(shutil.copy(pictures[i % 80], place / f"first{i}.png") if i < 80 else place / f"first{i % 80}.png", place / f"x{i}.png")
    return place


@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl"])
def test_ctrl_c_keeps_the_rows_so_far_and_leaves_with_130(boots: Path, tmp_path: Path, suffix: str) -> None:
    folder, out = many(tmp_path / "items", 20_000), tmp_path / f"s{suffix}"
    child = subprocess.Popen(
        [sys.executable, "-m", "diffident.cli", "score", boots, folder, "-o", out], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while (not out.exists() or out.stat().st_size < 20_000) and time.monotonic() < deadline:
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    told, said = child.communicate(timeout=60)
    assert child.returncode == 130 and "interrupted" in said
    kept = {
        ".csv": lambda: rows(out),
        ".json": lambda: json.loads(out.read_text()),
        ".jsonl": lambda: [json.loads(line) for line in out.read_text().splitlines()],
    }[suffix]()
    assert 0 < len(kept) < 20_080 and f"{len(kept)} items: " in told


def small_disk() -> None:
    """No file may grow beyond 10,000 bytes: for the program as good as a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def test_a_full_disk_keeps_the_rows_so_far(boots: Path, tmp_path: Path) -> None:
    folder, out = many(tmp_path / "items", 400), tmp_path / "s.csv"
    done = subprocess.run([sys.executable, "-m", "diffident.cli", "score", boots, folder, "-o", out], capture_output=True, text=True, preexec_fn=small_disk)
    assert done.returncode == 1 and "rows so far are kept" in done.stderr
    kept = rows(out)
    assert 20 < len(kept) < 480 and all(row["decision"] for row in kept)


def test_a_full_disk_leaves_the_old_model_as_it_was(boots: Path, tmp_path: Path) -> None:
    shutil.copytree(boots, tmp_path / "m")
    before = {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir()}
    command = [sys.executable, "-m", "diffident.cli", "train", FASHION / "good", "--network", "none", "-o", tmp_path / "m"]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=small_disk)
    assert done.returncode == 1 and "What was there before is untouched" in done.stderr
    assert {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_a_refused_batch_leaves_an_earlier_result_as_it_was(boots: Path, tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text("dear to somebody")
    assert run("score", boots, FASHION / "incoming", "--fdr", "0.005", "-o", tmp_path / "old.csv") == 1
    assert run("score", boots, tmp_path / "nowhere", "-o", tmp_path / "old.csv") == 1
    assert (tmp_path / "old.csv").read_text() == "dear to somebody"


def test_the_models_own_flag_level_stands_when_only_abstain_is_given(boots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", FASHION / "good", "--network", "none", "-o", tmp_path / "m", "--flag", "0.05") == 0
    assert run("score", tmp_path / "m", FASHION / "incoming", "--abstain", "0.2", "--json") == 0
    assert "At most 5 % of good items" in capsys.readouterr().out


def test_files_of_others_in_a_model_folder_are_not_removed(boots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(boots, tmp_path / "m")
    assert run("score", tmp_path / "m", FASHION / "incoming", "-o", tmp_path / "m" / "scores.csv") == 0
    assert run("train", FASHION / "good", "--network", "none", "-o", tmp_path / "m") == 1
    assert "holds scores.csv, which Diffident did not put there" in capsys.readouterr().err
    assert (tmp_path / "m" / "scores.csv").exists()


def test_a_run_without_standard_error_works(boots: Path, tmp_path: Path) -> None:
    command = f'exec "{sys.executable}" -m diffident.cli score "{boots}" "{FASHION / "incoming"}" -o "{tmp_path / "s.csv"}" 2>&-'
    assert subprocess.run(["bash", "-c", command], capture_output=True).returncode == 0
    assert len(rows(tmp_path / "s.csv")) == 80


def test_a_full_standard_output_is_a_refusal(boots: Path) -> None:
    command = f'exec "{sys.executable}" -m diffident.cli list recipes > /dev/full'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.returncode == 1 and "cannot write" in done.stderr and "Traceback" not in done.stderr


def test_output_to_a_reader_that_went_away_is_no_crash() -> None:
    done = subprocess.run(
        f"{sys.executable} -m diffident.cli list recipes | head -n 0; exit ${{PIPESTATUS[0]}}",
        shell=True,
        capture_output=True,
        text=True,
        executable="/bin/bash",
    )
    assert "Traceback" not in done.stderr
