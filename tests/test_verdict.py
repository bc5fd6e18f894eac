"""Promises of decisions: levels that can be reached, reasons in words, and rows that are kept whatever happens."""

from __future__ import annotations

import csv
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from diffident.calibration import Calibration, Depth, Judged, Limit, Ranks, false_alarm_bound
from diffident.errors import InvalidSetting, NotCalibrated, OutputError, TooFewReferences
from diffident.rows import RowWriter
from diffident.scores import Scores
from diffident.verdict import COLUMNS, Policy, Verdict, Verdicts, batch_verdicts_of, header, verdicts_of

DEPTH = Depth((Limit("width", 28.0, 28.0, "wrong size"),))


def table(values: np.ndarray, **changed: object) -> Scores:
    n = len(values)
    rows = {"names": tuple(f"i{i}.png" for i in range(n)), "digests": tuple(f"d{i}" for i in range(n)), "vitals": ({"width": 28.0},) * n}
    kept = {"columns": ("residual", "semantic"), "tails": ("upper", "upper"), "says": ("is hard to restore", "means something else"), "fingerprint": "f"}
    return Scores(values=values, **(rows | kept | changed))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    return Calibration(table(np.column_stack([np.arange(99.0), np.arange(99.0)[::-1]])), Ranks())


@pytest.fixture(scope="module")
def mixed() -> Scores:
    """A flag, an ordinary item, a wrong size, an unreadable file, a NaN, and one of the references."""
    values = np.array([[500.0, 400.0], [50.0, 50.0], [500.0, 400.0], [np.nan, np.nan], [np.nan, 1.0], [500.0, 400.0]])
    vitals = ({"width": 28.0}, {"width": 28.0}, {"width": 64.0}, {}, {"width": 28.0}, {"width": 28.0})
    return table(values, vitals=vitals, problems=("", "", "", "not an image", "", ""), digests=("a", "b", "c", "", "e", "known"))


def test_the_strictest_level_that_can_be_reached_is_taken() -> None:
    assert [Policy().resolve(n).flag for n in (19, 48, 49, 98, 99, 5000)] == [0.05, 0.05, 0.02, 0.02, 0.01, 0.01]


def test_a_level_that_cannot_be_reached_is_refused_with_the_number_needed() -> None:
    with pytest.raises(TooFewReferences, match=r"^cannot flag at p <= 0.01 with 10 reference items; give at least 99, or a higher flag level \(--flag\)$"):
        Policy(flag=0.01).resolve(10)
    with pytest.raises(TooFewReferences, match=r"p <= 0.05 with 18 reference items; give at least 19"):
        Policy().resolve(18)
    with pytest.raises(TooFewReferences, match="with 1 reference item;"):
        Policy().resolve(1)
    assert Policy(flag=0.1).resolve(9) == Policy(flag=0.1)


@pytest.mark.parametrize(("flag", "abstain"), [(0.05, 0.05), (0.05, 0.01), (0.0, None), (1.0, None), (None, 1.5), (math.nan, None)])
def test_levels_that_mean_nothing_are_refused(flag: float | None, abstain: float | None) -> None:
    with pytest.raises(InvalidSetting, match=r"level \(--(flag|abstain)\)"):
        Policy(flag, abstain)


def test_a_grey_zone_below_the_flag_level_that_was_chosen_is_refused() -> None:
    with pytest.raises(InvalidSetting, match=r"abstain 0.02 and flag 0.05"):
        Policy(abstain=0.02).resolve(20)


def test_levels_are_reached_exactly() -> None:
    policy = Policy(0.05, 0.1)
    assert [policy.decide(k / 100) for k in (5, 6, 10, 11)] == ["flag", "abstain", "abstain", "accept"]
    assert [Policy(0.29).decide(k / 100) for k in (29, 30)] == ["flag", "accept"]
    for k in range(1, 100):
        assert Policy(k / 100).decide(k * (1 / 100)) == "flag" if k < 100 else True
    with pytest.raises(NotCalibrated, match="resolve"):
        Policy().decide(0.5)


def test_every_row_gets_the_verdict_that_it_deserves(calibration: Calibration, mixed: Scores) -> None:
    verdicts = list(verdicts_of(mixed, calibration.judge(mixed), Policy(), DEPTH, {"known": "is one of the references"}))
    assert [v.decision for v in verdicts] == ["flag", "accept", "abstain", "unreadable", "abstain", "abstain"]
    assert [v.reason for v in verdicts] == [
        "",
        "",
        "wrong size: width 64, known-good items have 28 to 28",
        "not an image",
        "not finite: a statistic is NaN or infinite",
        "is one of the references",
    ]
    assert verdicts[0].p == 0.01 == verdicts[0].level and verdicts[0].bound == false_alarm_bound(99, 0.01)
    assert verdicts[2].p == 0.01, "out of depth whatever its p"
    assert math.isnan(verdicts[3].p) and math.isnan(verdicts[3].score)
    assert verdicts[0].raw == {"residual": 500.0, "semantic": 400.0} and verdicts[0].references == 99


def test_a_verdict_says_why_in_one_plain_sentence(calibration: Calibration) -> None:
    items = table(np.array([[90.0, 500.0], [50.0, 50.0], [97.5, 90.5]]))
    flag, accept, grey = verdicts_of(items, calibration.judge(items), Policy(0.01, 0.3))
    assert flag.because == "stranger than 99 of 99 references: it means something else"
    as_strange = round(accept.p * 100) - 1
    assert accept.decision == "accept" and accept.because == f"as ordinary as the known-good: {as_strange} of 99 references are at least as strange"
    grey = next(iter(verdicts_of(items.select([2]), Judged(np.ones(1), np.array([0.02]), np.array([[0.02, 0.5]]), 99), Policy(0.01, 0.3))))
    assert grey.decision == "abstain" and grey.because == "in the grey zone, stranger than 98 of 99 references: it is hard to restore"
    assert grey.reason == "between the levels: p = 0.02 is above 0.01"
    one = next(iter(verdicts_of(items.select([2]), Judged(np.ones(1), np.array([0.02]), np.array([[0.02, 0.5]]), 99), Policy(0.01))))
    assert one.because.endswith("1 of 99 references is at least as strange")


def test_a_verdict_prints_its_smallest_evidence_first(calibration: Calibration, mixed: Scores) -> None:
    lines = [str(v) for v in verdicts_of(mixed, calibration.judge(mixed), Policy(), DEPTH)]
    assert lines[0] == "flag  p=0.01  residual 0.01 · semantic 0.01"
    assert lines[2] == "abstain  p=0.01  wrong size: width 64, known-good items have 28 to 28"
    assert lines[3] == "unreadable  not an image"


def test_a_verdict_is_the_same_alone_and_in_company(calibration: Calibration) -> None:
    items = table(np.random.default_rng(0).normal(50, 40, size=(20, 2)))
    together = list(verdicts_of(items, calibration.judge(items), Policy(0.05, 0.2)))
    for i in range(20):
        alone = items.select([i])
        assert list(verdicts_of(alone, calibration.judge(alone), Policy(0.05, 0.2))) == together[i : i + 1]


def test_a_policy_that_cannot_be_reached_is_refused_before_the_first_verdict() -> None:
    few = Calibration(table(np.ones((5, 2))))
    with pytest.raises(TooFewReferences, match="with 5 reference items"):
        verdicts_of(table(np.ones((1, 2))), few.judge(table(np.ones((1, 2)))), Policy())


def test_no_more_false_alarms_than_the_policy_promised() -> None:
    rng, flags = np.random.default_rng(1), 0
    for _ in range(100):
        known = Calibration(table(rng.standard_t(2, size=(59, 2))))
        items = table(rng.standard_t(2, size=(20, 2)))
        flags += sum(v.decision == "flag" for v in verdicts_of(items, known.judge(items), Policy(flag=0.05)))
    assert 50 <= flags <= 140  # expected 2000 * 3 / 60 = 100, give or take four standard deviations of a beta-binomial sum


def test_a_batch_flags_by_false_discoveries_and_leaves_out_what_cannot_be_judged(calibration: Calibration, mixed: Scores) -> None:
    judged = calibration.judge(mixed)
    batch = batch_verdicts_of(mixed, judged, 0.1, DEPTH, {"known": "is one of the references"})
    assert [v.decision for v in batch] == ["flag", "accept", "abstain", "unreadable", "abstain", "abstain"]
    assert "batch of 2, at most 10 % are good on average (99 references)" in batch.promise and "1 or more are flagged" in batch.promise
    assert math.isnan(batch[0].bound) and batch[0].level == 0.1
    with pytest.raises(TooFewReferences, match="in a batch of 5 with 99 reference items"):
        batch_verdicts_of(mixed, Judged(np.zeros(6), np.full(6, 0.01), judged.evidence, 99), 0.001)


def test_an_empty_batch_is_an_empty_batch(calibration: Calibration) -> None:
    none = table(np.empty((0, 2)))
    assert len(batch_verdicts_of(none, calibration.judge(none), 0.1)) == 0
    assert list(verdicts_of(none, calibration.judge(none), Policy())) == []


def test_the_promise_names_level_references_and_bound() -> None:
    promise, bound = Policy().promise(64), 100 * (1 - 0.1 ** (1 / 64))  # one step: the smallest of 64 uniform numbers
    assert promise.startswith("At most 2 % of good items are flagged on average (p <= 0.02, 64 references)")
    assert f"with 90 % confidence at most {bound:.3g} % with this calibration" in promise


@pytest.fixture
def verdicts(calibration: Calibration, mixed: Scores) -> Verdicts:
    return Verdicts(tuple(verdicts_of(mixed, calibration.judge(mixed), Policy(), DEPTH)), mixed.columns, Policy().promise(99))


def test_files_have_the_columns_that_were_agreed(verdicts: Verdicts, tmp_path: Path) -> None:
    verdicts.to_csv(tmp_path / "s.csv")
    verdicts.to_json(tmp_path / "s.json")
    verdicts.to_jsonl(tmp_path / "s.jsonl")
    with open(tmp_path / "s.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == (*COLUMNS, "residual", "semantic") == header(verdicts.columns)
    assert rows[0]["path"] == "i0.png" and float(rows[0]["p_value"]) == 0.01 and rows[3]["p_value"] == rows[3]["residual"] == ""
    listed = json.loads((tmp_path / "s.json").read_text())
    assert listed == [json.loads(line) for line in (tmp_path / "s.jsonl").read_text().splitlines()]
    assert listed[3]["p_value"] is None and listed[3]["decision"] == "unreadable" and listed[0]["residual"] == 500.0
    assert [float(r["score"]) if r["score"] else None for r in rows] == [r["score"] for r in listed], "no digit is lost in any form"
    with pytest.raises(InvalidSetting, match=r"end in \.csv"):
        verdicts.to_csv(tmp_path / "s.txt")


def test_the_strangest_come_first_and_those_not_judged_not_at_all(verdicts: Verdicts) -> None:
    found = verdicts.strangest(10)
    assert [v.p for v in found] == sorted(v.p for v in verdicts if v.judged) and found[0].name == "i0.png"
    assert {v.name for v in verdicts} - {v.name for v in found} == {v.name for v in verdicts if v.decision == "unreadable" or v.because == v.reason}
    assert len(verdicts.strangest(2)) == 2 and verdicts.strangest(2).promise == verdicts.promise
    assert isinstance(verdicts[1:3], Verdicts) and isinstance(verdicts[-1], Verdict) and len(verdicts[1:3]) == 2


@pytest.mark.parametrize("form", [".csv", ".json", ".jsonl"])
def test_rows_so_far_are_on_disk_after_every_row(form: str, tmp_path: Path) -> None:
    path = tmp_path / f"s{form}"

    def read() -> list[dict[str, object]]:
        text = path.read_text()
        if form == ".csv":
            return list(csv.DictReader(text.splitlines()))  # type: ignore[arg-type]
        return json.loads(text) if form == ".json" else [json.loads(line) for line in text.splitlines()]

    with pytest.raises(KeyboardInterrupt), RowWriter(path, ("path", "score")) as rows:
        assert read() == []
        for i in range(3):
            rows.write({"path": f'a{i}, "b"\nc', "score": i / 3})
            assert len(read()) == i + 1, "before close, as after a power cut"
        raise KeyboardInterrupt
    assert [row["path"] for row in read()] == [f'a{i}, "b"\nc' for i in range(3)] if form != ".csv" else len(read()) >= 3
    assert form == ".csv" or [row["score"] for row in read()] == [0, 1 / 3, 2 / 3]


@pytest.mark.parametrize("form", [".csv", ".json", ".jsonl"])
def test_a_full_disk_is_refused_and_the_rows_so_far_are_kept_whole(form: str, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="the limit on a file's size stands for a full disk; this system has none")
    import signal

    path, kept = tmp_path / f"s{form}", resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with RowWriter(path, ("path", "score")) as rows:
            rows.write({"path": "a.png", "score": 1.0})
            rows.write({"path": "b.png", "score": math.nan})
            before = path.read_bytes()
            resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, kept[1]))
            with pytest.raises(OutputError, match="the 2 rows so far are kept"):
                rows.write({"path": "c" * 100, "score": 2.0})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, kept)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == before


def test_a_file_that_cannot_be_written_is_refused(tmp_path: Path, verdicts: Verdicts) -> None:
    (tmp_path / "taken.csv").mkdir()
    for path in (tmp_path / "taken.csv", tmp_path / "no" / "such" / "folder.csv"):
        with pytest.raises(OutputError, match="cannot write"):
            verdicts.to_csv(path)
    with pytest.raises(InvalidSetting, match=r"\.csv, \.json or \.jsonl"):
        RowWriter(tmp_path / "s.xlsx", ("path",))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no device that is always full")
def test_a_disk_that_is_full_from_the_start_is_refused(tmp_path: Path, verdicts: Verdicts) -> None:
    (tmp_path / "s.csv").symlink_to("/dev/full")
    with pytest.raises(OutputError, match="No space left"):
        verdicts.to_csv(tmp_path / "s.csv")


def test_names_in_any_writing_survive(tmp_path: Path) -> None:
    names = ["größe.png", "日本.png", os.fsdecode(b"caf\xe9.png"), '=1+1,"x".png']
    for form in ("csv", "jsonl"):
        with RowWriter(tmp_path / f"s.{form}", ("path",)) as rows:
            for name in names:
                rows.write({"path": name})
    with open(tmp_path / "s.csv", newline="", encoding="utf-8", errors="surrogateescape") as file:
        assert [row["path"] for row in csv.DictReader(file)] == names
    assert [json.loads(line)["path"] for line in (tmp_path / "s.jsonl").read_text("utf-8").splitlines()] == names
