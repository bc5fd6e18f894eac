"""Training: the seed decides every bit, an interruption costs nothing, and what cannot go on is refused."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import diffident as dd
from diffident import checkpoint
from diffident.cli import main
from diffident.data import Items
from diffident.errors import Diverged, ForeignCheckpoint, InvalidSetting, OutputError, TrainingError
from diffident.learning import Training, training
from diffident.optimise import Record, Schedule, batch_of, descend, rate_at, stratified
from diffident.precondition import Learned

MLP = {"shape": [16], "width": 32, "blocks": 1}
SCHEDULE = Schedule(images_seen=320, batch=16, every=1e9, precision="fp32")
TINY = {"network": "mlp", "width": 32, "precision": "fp32", "batch": 32}


def rows(n: int, seed: int = 0) -> Tensor:
    """One of two prototypes, and a little noise: far from a Gaussian, so that a network has something to learn."""
    rng = np.random.default_rng(seed)
    prototypes = np.random.default_rng(99).choice([-0.7, 0.7], (2, 16))
    return torch.from_numpy((prototypes[rng.integers(0, 2, n)] + 0.05 * rng.normal(size=(n, 16))).astype(np.float32))


def pictures(n: int, seed: int = 0) -> np.ndarray:
    return (rows(n, seed).numpy().reshape(n, 4, 4) + 1) / 2


def run(how: Schedule = SCHEDULE, place: Path | None = None, seed: int = 0) -> list[Record]:
    return list(descend(rows(100, seed), rows(20, seed + 1), "mlp", MLP, how, place, "rows"))


def bits(model: Learned) -> bytes:
    return b"".join(tensor.float().numpy().tobytes() for _, tensor in sorted(model.tensors().items()))


@pytest.fixture(scope="module")
def uninterrupted() -> list[Record]:
    return run()


def test_the_same_seed_learns_the_same_bits_and_another_seed_others(uninterrupted: list[Record]) -> None:
    torch.manual_seed(123)  # what anybody else drew does not matter
    assert bits(run()[-1].finished) == bits(uninterrupted[-1].finished)
    assert bits(run(Schedule(320, 16, every=1e9, seed=1, precision="fp32"))[-1].finished) != bits(uninterrupted[-1].finished)


def test_every_step_has_its_record(uninterrupted: list[Record]) -> None:
    assert [record.step for record in uninterrupted] == list(range(1, 21))
    assert [record.images_seen for record in uninterrupted] == [16 * step for step in range(1, 21)]
    assert all(record.denoiser is None for record in uninterrupted[:-1]) and uninterrupted[-1].seconds_left == 0
    assert np.isfinite(uninterrupted[-1].held_out) and uninterrupted[-1].images_per_second > 0


def test_nothing_is_finished_before_the_last_step(uninterrupted: list[Record]) -> None:
    with pytest.raises(TrainingError, match="after 3 of 20 steps nothing is finished"):
        _ = uninterrupted[2].finished


def test_images_are_counted_as_asked_though_the_last_batch_is_whole() -> None:
    found = run(Schedule(images_seen=50, batch=16, precision="fp32"))
    assert [record.images_seen for record in found] == [16, 32, 48, 50]


def test_what_is_learned_serves_items_that_were_never_seen() -> None:
    found = run(Schedule(images_seen=20_000, batch=64, every=1e9, precision="fp32"))
    assert found[0].loss > 0.8 and found[-1].loss < 0.75
    assert found[-1].held_out < 0.75


@pytest.mark.parametrize("count, batch", [(40, 16), (10, 16), (16, 16), (7, 3)])
def test_every_item_is_shown_once_a_pass(count: int, batch: int) -> None:
    how = Schedule(batch=batch)
    shown = torch.cat([batch_of(how, step, count) for step in range(-(-5 * count // batch))])[: 5 * count].reshape(5, count)
    assert all(sorted(one.tolist()) == list(range(count)) for one in shown)
    assert not torch.equal(shown[0], shown[1])  # in another order


def test_the_levels_of_a_batch_lie_one_in_each_part() -> None:
    levels = stratified(32, seed=0, step=5)
    assert sorted((levels * 32).floor().int().tolist()) == list(range(32))
    assert not torch.equal(levels, levels.sort().values) and not torch.equal(levels, stratified(32, 0, 6))


def test_the_rate_rises_and_falls_to_nothing() -> None:
    how = Schedule(images_seen=64_000, batch=64, rate=0.04)
    rates = [rate_at(step, how) for step in range(how.steps)]
    assert rates[0] < 0.001 and max(rates) == pytest.approx(0.04, rel=0.03) and rates[-1] < 1e-6
    assert all(a >= b for a, b in pairwise(rates[100:]))


def test_items_that_are_watched_are_never_learned_from() -> None:
    images = pictures(60)
    model = dd.train(images, images_seen=64, **TINY)
    assert len(model.seen) == 57  # one in twenty is watched
    digests = {model.modality.open(item).digest for item in Items.open(images)}
    assert model.seen < digests
    assert "of 3 items" in model.notes["held-out loss"]


def test_a_loop_that_is_left_at_any_step_goes_on_and_ends_with_the_same_bits(uninterrupted: list[Record], tmp_path: Path) -> None:
    steps = []
    for left_after in (1, 7, 5):
        records = descend(rows(100), rows(20, 1), "mlp", MLP, SCHEDULE, tmp_path, "rows")
        steps += [record.step for record in islice(records, left_after)]
        records.close()
    rest = run(place=tmp_path)
    steps += [record.step for record in rest]
    assert steps == list(range(1, 21))
    assert bits(rest[-1].finished) == bits(uninterrupted[-1].finished)
    assert [one.loss for one in rest] == [one.loss for one in uninterrupted[-7:]]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_loop_that_is_left_at_the_last_record_loses_and_alters_nothing(precision: str, tmp_path: Path) -> None:
    how = Schedule(images_seen=64, batch=16, every=1e9, precision=precision)
    records = descend(rows(100), rows(20, 1), "mlp", MLP, how, tmp_path, "rows")
    *_, last = islice(records, 4)
    records.close()
    again = run(how, tmp_path)
    assert len(again) == 1 and again[0].step == 4
    assert bits(again[0].finished) == bits(last.finished) and again[0].held_out == last.held_out


def _killed_at_a_random_moment(place: Path, how: Schedule, most: float) -> bool:
    """Fork, train in the child, kill it; whether it was killed before it was done."""
    child = os.fork()
    if not child:
        try:
            torch.set_num_threads(1)  # the threads of the parent were not forked
            run(how, place)
        finally:
            os._exit(0)
    time.sleep(random.Random(os.urandom(8)).uniform(0, most))
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the child trains and does nothing else
def test_kill_nine_at_twenty_random_moments_costs_no_bit(tmp_path: Path) -> None:
    how = Schedule(images_seen=1600, batch=16, every=0.0, precision="fp32")
    began = time.perf_counter()
    wanted, place = bits(run(how, tmp_path / "whole")[-1].finished), tmp_path / "killed"
    duration, killed, latest, furthest = time.perf_counter() - began, 0, 0, 0
    identity = checkpoint.identity("mlp", MLP, how, "rows")
    while killed < 20:
        killed += _killed_at_a_random_moment(place, how, min(duration, 0.25))
        kept = checkpoint.Place(place, identity).read()  # whole, at whatever moment it was killed
        now = 0 if kept is None else int(kept["step"])
        assert now >= latest
        latest, furthest = now, max(now, furthest)
        if latest == how.steps:  # done before twenty: once more from the start
            checkpoint.Place(place, identity).clear()
            latest = 0
    assert furthest > 0
    assert bits(run(how, place)[-1].finished) == wanted


FOREIGN: dict[str, Callable[[Path], object]] = {
    "other items": lambda place: list(descend(rows(100), rows(20, 1), "mlp", MLP, SCHEDULE, place, "others")),
    "other seed": lambda place: run(Schedule(320, 16, every=1e9, seed=1, precision="fp32"), place),
    "other rate": lambda place: run(Schedule(320, 16, 0.02, every=1e9, precision="fp32"), place),
    "other network": lambda place: list(descend(rows(100), rows(20, 1), "mlp", {**MLP, "blocks": 2}, SCHEDULE, place, "rows")),
}


def left(place: Path) -> Path:
    records = descend(rows(100), rows(20, 1), "mlp", MLP, SCHEDULE, place, "rows")
    next(records)
    records.close()
    return place / checkpoint.FILE


@pytest.mark.parametrize("case", FOREIGN)
def test_the_checkpoint_of_another_run_is_refused_and_kept(case: str, tmp_path: Path) -> None:
    before = left(tmp_path).read_bytes()
    with pytest.raises(ForeignCheckpoint, match="other items or settings .* remove that folder to train from the start"):
        FOREIGN[case](tmp_path)
    assert (tmp_path / checkpoint.FILE).read_bytes() == before


def test_how_often_it_is_written_may_change_between_two_sittings(tmp_path: Path) -> None:
    left(tmp_path)
    assert run(Schedule(320, 16, every=0.0, precision="fp32"), tmp_path)[0].step == 2


@pytest.mark.parametrize("change", [lambda c: c[: len(c) // 2], lambda c: b"", lambda c: b"\xff" * 8 + c[8:]], ids=["cut", "empty", "header"])
def test_a_damaged_checkpoint_is_refused(change: Callable[[bytes], bytes], tmp_path: Path) -> None:
    file = left(tmp_path)
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(ForeignCheckpoint, match="cannot be read .* to train from the start"):
        run(place=tmp_path)


def test_a_full_disk_keeps_the_earlier_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = left(tmp_path).read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("diffident.checkpoint.os.replace", full)
    with pytest.raises(OutputError, match="No space left on device; make room .* The checkpoint before stays"):
        run(Schedule(320, 16, every=0.0, precision="fp32"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint.FILE] and (tmp_path / checkpoint.FILE).read_bytes() == before


def test_a_place_that_is_a_file_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "place").write_text("dear to somebody")
    with pytest.raises(OutputError, match="cannot write"):
        run(place=tmp_path / "place")


def test_a_loss_that_is_no_number_ends_the_run_and_is_not_kept(tmp_path: Path) -> None:
    broken = rows(100)
    broken[3] = torch.nan
    with pytest.raises(Diverged, match=r"after 1 steps the loss is nan; give a lower rate than 0.04, or precision='fp32'"):
        list(descend(broken, rows(20, 1), "mlp", MLP, Schedule(320, 16, every=0.0), tmp_path, "rows"))
    assert not (tmp_path / checkpoint.FILE).exists()


@pytest.mark.parametrize("setting", [{"images_seen": 0}, {"batch": 0}, {"rate": 0.0}, {"rate": float("nan")}, {"clip": -1.0}, {"every": -1.0}], ids=str)
def test_a_schedule_that_means_nothing_is_refused(setting: dict) -> None:
    with pytest.raises(InvalidSetting, match="with a rate and a clip above 0; got"):
        Schedule(**setting)


def test_training_leaves_one_folder_and_no_checkpoint(tmp_path: Path) -> None:
    dd.train(pictures(60), out=tmp_path / "m", images_seen=96, every=0.0, **TINY)
    assert [path.name for path in tmp_path.iterdir()] == ["m"]
    assert len(dd.Detector.load(tmp_path / "m").calibrated) == 30


def test_what_others_keep_beside_a_checkpoint_stays(tmp_path: Path) -> None:
    (tmp_path / "m.training").mkdir()
    (tmp_path / "m.training" / "notes.txt").write_text("dear to somebody")
    dd.train(pictures(60), out=tmp_path / "m", images_seen=96, every=0.0, **TINY)
    assert [path.name for path in (tmp_path / "m.training").iterdir()] == ["notes.txt"]


def test_a_place_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "m").write_text("in the way")
    with pytest.raises(OutputError, match="is not a folder"):
        dd.train(pictures(60), out=tmp_path / "m", images_seen=10**9, **TINY)


def test_the_callers_loop_may_stop_and_train_goes_on(tmp_path: Path) -> None:
    how = Training(images_seen=320, every=1e9, **TINY)
    records = training(pictures(60), out=tmp_path / "m", how=how)
    assert [record.step for record in islice(records, 4)] == [1, 2, 3, 4]
    records.close()
    assert (tmp_path / "m.training").is_dir() and not (tmp_path / "m").exists()
    assert [record.step for record in training(pictures(60), out=tmp_path / "m", how=how)] == [5, 6, 7, 8, 9, 10]
    whole = dd.train(pictures(60), out=tmp_path / "whole", images_seen=320, every=1e9, **TINY)
    assert dd.load(tmp_path / "m").fingerprint == whole.fingerprint
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "whole"]


SHARED = """
import sys, numpy as np, diffident as dd
items = np.load(sys.argv[1])
model = dd.train(items, out=sys.argv[2], network="mlp", width=32, precision="fp32", batch=32, images_seen=640)
"""


def test_two_processes_learn_as_one_does_and_write_one_folder(tmp_path: Path) -> None:
    np.save(tmp_path / "items.npy", pictures(60))
    (tmp_path / "script.py").write_text(SHARED)
    together = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0", "--rdzv-backend", "c10d"]
    done = subprocess.run(
        [*together, "--rdzv-endpoint", "localhost:0", tmp_path / "script.py", tmp_path / "items.npy", tmp_path / "two"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    one = dd.train(pictures(60), out=tmp_path / "one", network="mlp", width=32, precision="fp32", batch=32, images_seen=640)
    two = dd.load(tmp_path / "two", precision="fp32")
    assert float(two.notes["loss"]) == pytest.approx(float(one.notes["loss"]), abs=1e-3)
    assert float(two.notes["held-out loss"].split(",")[0]) == pytest.approx(float(one.notes["held-out loss"].split(",")[0]), abs=5e-3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["items.npy", "one", "script.py", "two"]


def test_of_a_handful_none_is_watched_and_no_loss_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = saved(tmp_path / "good", 38)
    with pytest.raises(SystemExit) as status:
        main(["train", str(good), "-o", str(tmp_path / "m"), "--network", "mlp", "--width", "32", "--images-seen", "64", "--flag", "0.05", "--json"])
    assert status.value.code == 0
    assert json.loads(capsys.readouterr().out)["held_out_loss"] is None
    assert "held-out loss" not in dd.load(tmp_path / "m").notes


def saved(place: Path, n: int) -> Path:
    place.mkdir()
    for i, picture in enumerate(pictures(n)):
        Image.fromarray((255 * picture.clip(0, 1)).astype(np.uint8)).save(place / f"{i}.png")
    return place


def test_ctrl_c_leaves_with_130_and_the_same_command_goes_on(tmp_path: Path) -> None:
    good = saved(tmp_path / "good", 60)
    settings = ["--network", "mlp", "--width", "32", "--precision", "fp32", "--images-seen", "160000", "--batch", "32", "--every", "0.01"]
    command = [sys.executable, "-m", "diffident.cli", "train", good, "-o", tmp_path / "m", *settings]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    file, deadline = tmp_path / "m.training" / checkpoint.FILE, time.monotonic() + 60
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 130 and "interrupted" in said and not (tmp_path / "m").exists()
    before = reached(file)
    assert 0 < before < 5000
    again = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while reached(file) <= before and time.monotonic() < deadline:
        time.sleep(0.02)
    again.send_signal(signal.SIGINT)
    again.communicate(timeout=60)
    assert again.returncode == 130 and reached(file) > before


def reached(file: Path) -> int:
    from safetensors import safe_open

    with safe_open(str(file), framework="pt") as kept:
        return int(kept.get_tensor("step"))
