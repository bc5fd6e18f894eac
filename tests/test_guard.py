"""A guard: trial, labels, promises about whole requests, tries, giving up, a gate, drift, and folders that bring it back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import diffident as dd
from diffident import levels
from diffident.calibration.ranks import needed
from diffident.denoiser import GaussianMixture
from diffident.errors import ForeignScores, InvalidSetting, NotCalibrated, NotLabelled, OutputError, TooFewReferences
from diffident.generators.own import OwnGenerator
from diffident.guard import Guard
from diffident.introspection import Introspection
from diffident.modalities.row import Row
from diffident.model import Model
from diffident.requests import Request
from diffident.trial import Trial
from diffident.walks import Sample

#: Eight modes on a ring; samples in a few steps come to lie between them.
RING = torch.stack([torch.cos(torch.arange(8) * torch.pi / 4), torch.sin(torch.arange(8) * torch.pi / 4)], dim=1)[:, None] * 0.8
SPREAD = 0.02
FEW = Sample("ddim", levels.cosine(8))


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(GaussianMixture(RING, torch.full((8,), SPREAD**2)), Row((0.0, 0.0), (1 / 3, 1 / 3)), name="ring")


def fails(items: np.ndarray) -> np.ndarray:
    """Further than five deviations from every mode."""
    apart = np.linalg.norm(items[:, None] - RING.numpy()[None, :, 0], axis=2).min(axis=1)
    return apart > 5 * SPREAD


def truth(guard: Guard, n: int, seed: int = 0) -> tuple[Trial, np.ndarray]:
    """A trial and which of its attempts fail: what a person would say who looked at them."""
    made: list[np.ndarray] = []
    plain = guard.generator.attempts

    def kept(*given):  # type: ignore[no-untyped-def]
        attempts = list(plain(*given))
        made.extend(one.output for one in sorted(attempts, key=lambda one: one.index))
        return iter(attempts)

    object.__setattr__(guard.generator, "attempts", kept)
    trial = guard.trial(n=n, seed=seed)
    object.__setattr__(guard.generator, "attempts", plain)
    return trial, fails(np.stack(made).reshape(-1, 2)).reshape(n, -1)


@pytest.fixture(scope="module")
def tried(model: Model) -> tuple[Guard, Trial, np.ndarray]:
    guard = Guard(model, dd.Release(risk=0.05, tries=2), sampler=FEW)
    return guard, *truth(guard, 600)


def test_the_sampler_fails_often_enough_to_be_guarded(tried: tuple[Guard, Trial, np.ndarray]) -> None:
    assert 0.05 < tried[2].mean() < 0.6


def test_what_is_released_fails_no_more_often_than_was_promised(tried: tuple[Guard, Trial, np.ndarray]) -> None:
    guard, trial, bad = tried
    guard.fit(trial, bad)
    served = list(guard.generate(n=600, seed=77))
    released = np.array([one.item for one in served if one.item is not None])
    assert len(released) > 300
    assert fails(released).mean() <= 0.05
    assert "at most 5 % fails, with 90 % confidence" in guard.promise
    assert {one.verdict.decision for one in served} <= {"accept", "flag"}


def test_a_second_try_serves_more_requests(tried: tuple[Guard, Trial, np.ndarray], model: Model) -> None:
    guard, trial, bad = tried
    once = Guard(model, dd.Release(risk=0.05, tries=1), sampler=FEW).fit(trial, bad)
    guard.fit(trial, bad)
    counts = [sum(one.item is not None for one in each.generate(n=300, seed=5)) for each in (once, guard)]
    assert counts[1] > counts[0]


def test_without_labels_only_withholding_is_bounded(model: Model) -> None:
    guard = Guard(model, dd.Release(withhold=0.1), sampler=FEW)
    trial = guard.trial(n=300)
    guard.fit(trial)
    withheld = sum(one.item is None for one in guard.generate(n=600, seed=3))
    assert 0.02 < withheld / 600 < 0.2
    assert "how often a released item fails is not bounded" in guard.promise
    guard.release = dd.Release(risk=0.05)
    with pytest.raises(NotLabelled, match=r"cannot be bounded without labels.*Release\(withhold=0.05\)"):
        guard.fit(trial)


def test_good_requests_are_withheld_no_more_often_than_was_promised(tried: tuple[Guard, Trial, np.ndarray], model: Model) -> None:
    _, trial, bad = tried
    guard = Guard(model, dd.Release(withhold=0.05), sampler=FEW).fit(trial, bad)
    fresh = truth(Guard(model, dd.Release(), sampler=FEW), 600, seed=123)
    strangeness = guard.fitted.head.score(fresh[0].scores.values)
    good = ~fresh[1].reshape(-1)
    assert (strangeness[good] >= guard.fitted.certified.threshold).mean() < 0.1
    assert (strangeness[~good] >= guard.fitted.certified.threshold).mean() > 0.5


def test_a_request_is_served_the_same_again_by_its_seed_and_fresh_without(tried: tuple[Guard, Trial, np.ndarray]) -> None:
    guard, trial, bad = tried
    guard.fit(trial, bad)
    first, again, other = guard(seed=4), guard(seed=4), guard(seed=5)
    assert first[1] == again[1]
    assert (first[0] == again[0]).all() if first[0] is not None else again[0] is None
    assert first[1].score != other[1].score
    assert guard()[1].score != guard()[1].score


def test_a_changed_policy_wants_another_fit(tried: tuple[Guard, Trial, np.ndarray], model: Model) -> None:
    _, trial, bad = tried
    guard = Guard(model, dd.Release(risk=0.05), sampler=FEW)
    with pytest.raises(NotCalibrated, match="has seen no trial"):
        guard()
    guard.fit(trial, bad)
    guard.release = dd.Release(risk=0.05, tries=2)
    with pytest.raises(NotCalibrated, match=r"was fitted for .*tries=1.* is .*tries=2.*fit again"):
        guard()
    guard.release = dd.Release(risk=0.05, tries=3)
    with pytest.raises(InvalidSetting, match="tries 3 times and the trial made 2"):
        guard.fit(trial, bad)


def test_hopeless_samples_are_given_up_and_that_is_part_of_what_is_calibrated(model: Model) -> None:
    guard = Guard(model, dd.Release(risk=0.1, early=0.05, share=0.75), sampler=FEW)
    trial, bad = truth(guard, 500)
    guard.fit(trial, bad)
    served = list(guard.generate(n=400, seed=9))
    given_up = [one for one in served if one.attempts and one.attempts[-1].abandoned]
    assert given_up
    assert all(one.item is None and "given up half-way" in one.verdict.because and len(one.attempts[-1].film) == 6 for one in given_up)
    released = np.array([one.item for one in served if one.item is not None])
    assert fails(released).mean() <= 0.1


def test_giving_up_needs_a_trial_that_was_read_half_way(tried: tuple[Guard, Trial, np.ndarray], model: Model) -> None:
    guard = Guard(model, dd.Release(risk=0.05, early=0.01), sampler=FEW)
    with pytest.raises(InvalidSetting, match="nothing was read half-way"):
        guard.fit(tried[1], tried[2])


def test_where_nothing_can_be_promised_nothing_is_released_and_it_says_so(tried: tuple[Guard, Trial, np.ndarray], model: Model) -> None:
    _, trial, bad = tried
    few_are_good = np.broadcast_to((np.arange(600) % 7 > 0)[:, None], bad.shape)
    guard = Guard(model, dd.Release(risk=0.05), sampler=FEW).fit(trial, few_are_good)
    item, verdict = guard(seed=1)
    assert item is None
    assert verdict.decision == "abstain"
    assert "Nothing is released" in verdict.reason


def test_too_few_requests_are_refused_with_the_number_needed(model: Model) -> None:
    guard = Guard(model, dd.Release(risk=0.05), sampler=FEW)
    trial = guard.trial(n=40)
    with pytest.raises(TooFewReferences, match="of the 40 requests of this trial 27 calibrate, so make one of 67 or more"):
        guard.fit(trial, np.arange(40) % 5 == 0)
    with pytest.raises(TooFewReferences, match="60"):
        Guard(model, sampler=FEW).fit(Guard(model, sampler=FEW).trial(n=8))


def test_a_condition_out_of_distribution_is_declined_before_anything_is_made(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    plain = dd.train(rng.uniform(0.3, 0.7, (60, 8, 8)), network="none")
    gate = dd.Detector(plain, "reconstruction", dd.Policy(0.05)).fit(rng.uniform(0.3, 0.7, (needed(0.05) + 20, 8, 8)))
    guard = Guard(plain, dd.Release(withhold=0.2), sampler=Sample("ddim", levels.cosine(6)), gate=gate)
    made = np.zeros((8, 8), dtype=bool)
    made[2:5] = True
    wishes = [Request(item=one, made=made) for one in rng.uniform(0.3, 0.7, (60, 8, 8))]
    guard.fit(guard.trial(wishes))
    asked: list[int] = []
    plain_attempts = guard.generator.attempts
    object.__setattr__(guard.generator, "attempts", lambda *given: asked.append(len(given[0])) or plain_attempts(*given))
    item, verdict = guard(Request(item=np.indices((8, 8)).sum(0) % 2.0, made=made), seed=1)
    assert item is None
    assert verdict.decision == "abstain"
    assert "condition is out of distribution" in verdict.reason
    assert not asked
    reasons = [guard(Request(item=one, made=made), seed=i)[1].reason for i, one in enumerate(rng.uniform(0.3, 0.7, (6, 8, 8)))]
    assert sum("out of distribution" in one for one in reasons) <= 2
    place = guard.save(tmp_path / "gated")
    with pytest.raises(ForeignScores, match="gate changed"):
        Guard.load(place)
    assert Guard.load(place, gate=gate)(Request(item=np.indices((8, 8)).sum(0) % 2.0, made=made))[1].decision == "abstain"


def test_a_stream_that_grows_stranger_raises_an_alarm(tried: tuple[Guard, Trial, np.ndarray], model: Model) -> None:
    _, trial, bad = tried
    guard = Guard(model, dd.Release(withhold=0.05), sampler=FEW).fit(trial, bad)
    list(guard.generate(n=200, seed=1))
    assert guard.drift is not None
    assert not guard.drift.alarm
    hurried = OwnGenerator(model, Sample("ddim", levels.cosine(5)))  # somebody saves steps and tells nobody
    guard.generator = hurried
    guard.introspection = Introspection(hurried, guard.introspection.recipe)
    list(guard.generate(n=300, seed=2))
    assert guard.drift.alarm


def test_because_names_what_was_odd(tried: tuple[Guard, Trial, np.ndarray], model: Model) -> None:
    _, trial, bad = tried
    guard = Guard(model, dd.Release(risk=0.05), sampler=FEW).fit(trial, bad)
    withheld = next(one.verdict for one in guard.generate(n=200, seed=2) if one.item is None)
    assert withheld.because.startswith("withheld after 1 try: stranger than ")
    assert ": it " in withheld.because
    assert withheld.p < 0.2
    assert set(withheld.evidence) == set(guard.fitted.head.columns)


def test_a_guard_of_a_folder_serves_the_same(tried: tuple[Guard, Trial, np.ndarray], model: Model, tmp_path: Path) -> None:
    _, trial, bad = tried
    guard = Guard(model, dd.Release(risk=0.05, tries=2), sampler=FEW).fit(trial, bad)
    again = Guard.load(guard.save(tmp_path / "guard"))
    assert again.promise == guard.promise
    assert [one.verdict for one in again.generate(n=40, seed=6)] == [one.verdict for one in guard.generate(n=40, seed=6)]
    assert dd.load(tmp_path / "guard").fingerprint == model.fingerprint


def test_trials_of_another_sampler_are_refused(tried: tuple[Guard, Trial, np.ndarray], model: Model) -> None:
    other = Guard(model, dd.Release(risk=0.05), sampler=Sample("ddim", levels.cosine(9)))
    with pytest.raises(ForeignScores):
        other.fit(tried[1], tried[2])


def test_labels_are_read_from_the_file_that_a_person_filled_in(model: Model, tmp_path: Path) -> None:
    guard = Guard(model, dd.Release(withhold=0.2, tries=2), sampler=FEW)
    trial = guard.trial(n=70, out=tmp_path / "trial")
    file = tmp_path / "trial" / "labels.csv"
    lines = file.read_text().splitlines()
    assert lines[:2] == ["sample,request,label", "0001-1,,"]
    assert len(list((tmp_path / "trial" / "samples").glob("*.png"))) == 140
    with pytest.raises(NotLabelled, match="none has one"):
        trial.labels()
    file.write_text("\n".join([lines[0], *(f"{line}{'bad' if i % 5 == 0 else 'good'}" for i, line in enumerate(lines[1:]))]))
    said = Trial.load(tmp_path / "trial").labels()
    assert said.shape == (70, 2)
    assert said.mean() == pytest.approx(0.2)
    guard.fit(tmp_path / "trial")
    assert guard.fitted.labelled == 140
    file.write_text("\n".join([*lines[:1], f"{lines[1]}good", *lines[2:]]))
    with pytest.raises(NotLabelled, match="the first is 0001-2"):
        Trial.load(tmp_path / "trial").labels()
    file.write_text("\n".join([*lines[:1], f"{lines[1]}fine", *lines[2:]]))
    with pytest.raises(InvalidSetting, match="'fine'"):
        Trial.load(tmp_path / "trial").labels()
    with pytest.raises(OutputError, match="may hold labels"):
        guard.trial(n=5, out=tmp_path / "trial")


def test_a_head_of_the_model_reads_its_samples(model: Model) -> None:
    known = GaussianMixture(RING, torch.full((8,), SPREAD**2)).draw(300, 5)[:, 0].numpy()
    taught = dd.train_head(model, known, sampler=FEW, samples=200)
    assert taught.fingerprint == model.fingerprint
    guard = Guard(taught, dd.Release(risk=0.05), sampler=FEW)
    assert guard.head is taught.head
    trial, bad = truth(guard, 400)
    said = guard.head.score(trial.scores.values)
    from diffident.evaluate import auroc

    assert auroc(bad.reshape(-1), said) > 0.9


def test_a_trial_and_what_is_served_share_no_seed(model: Model) -> None:
    guard = Guard(model, dd.Release(withhold=0.2), sampler=FEW)
    trial = guard.trial(n=60, seed=3)
    served = [one.verdict.raw for one in guard.fit(trial).generate(n=60, seed=3)]
    assert not np.isclose([list(one.values()) for one in served], trial.scores.values).all(axis=1).any()


def test_a_model_of_kinds_is_guarded_kind_by_kind(tmp_path: Path) -> None:
    import PIL.Image

    rng = np.random.default_rng(0)
    for kind, light in (("dark", 60), ("light", 190)):
        (tmp_path / kind).mkdir()
        for i in range(40):
            PIL.Image.fromarray(rng.integers(light - 20, light + 20, (8, 8)).astype(np.uint8)).save(tmp_path / kind / f"{i}.png")
    guard = Guard(dd.train(tmp_path, network="none", kinds="folder"), dd.Release(withhold=0.2), sampler=Sample("ddim", levels.cosine(6)))
    guard.fit(guard.trial(["dark", "light"], n=90))
    made = {kind: [one.item for one in guard.generate([kind] * 6, seed=1) if one.item is not None] for kind in ("dark", "light")}
    assert all(np.asarray(one).mean() < 100 for one in made["dark"])
    assert all(np.asarray(one).mean() > 150 for one in made["light"])
    assert len(made["dark"]) + len(made["light"]) > 6


def test_requests_of_several_strengths_are_read_each_by_its_own_way() -> None:
    rng = np.random.default_rng(0)
    guard = Guard(dd.train(rng.uniform(0.3, 0.7, (60, 8, 8)), network="none"), dd.Release(withhold=0.2), sampler=Sample("ddim", levels.cosine(12)))
    wishes = [Request(item=one, strength=(0.5, 5.0)[i % 2]) for i, one in enumerate(rng.uniform(0.3, 0.7, (70, 8, 8)))]
    trial = guard.trial(wishes)
    alone = guard.trial([wishes[0]])
    assert np.allclose(trial.scores.values[0], alone.scores.values[0])
    assert len(list(guard.fit(trial).generate(wishes[:10], seed=2))) == 10


def test_an_interrupted_trial_keeps_the_requests_that_were_tried(model: Model, tmp_path: Path) -> None:
    guard = Guard(model, dd.Release(withhold=0.2, tries=3), sampler=FEW)

    def stopping(steps, doing, total):  # type: ignore[no-untyped-def]
        yield from list(steps)[:2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        guard.trial(n=50, out=tmp_path / "trial", progress=stopping)
    kept = Trial.load(tmp_path / "trial")
    assert len(kept) == 64 // 3
    assert (tmp_path / "trial" / "samples" / "0021-3.png").exists()


def test_pictures_of_a_trial_that_was_lost_are_not_mixed_with_new_ones(model: Model, tmp_path: Path) -> None:
    (tmp_path / "trial" / "samples").mkdir(parents=True)
    (tmp_path / "trial" / "samples" / "0400-1.png").write_bytes(b"of another trial")
    with pytest.raises(OutputError, match="is there already"):
        Guard(model, sampler=FEW).trial(n=5, out=tmp_path / "trial")


def test_a_score_is_the_same_in_any_company(tried: tuple[Guard, Trial, np.ndarray]) -> None:
    guard, trial, bad = tried
    head = guard.fit(trial, bad).fitted.head
    together = head.score(trial.scores.values[:200])
    assert (together == [head.score(one[None])[0] for one in trial.scores.values[:200]]).all()


def test_failures_that_are_no_numbers_teach_nothing_and_are_not_released(tried: tuple[Guard, Trial, np.ndarray], model: Model) -> None:
    from dataclasses import replace

    _, trial, bad = tried
    values = trial.scores.values.copy()
    values[bad.reshape(-1)] = np.nan
    guard = Guard(model, dd.Release(risk=0.05, tries=2), sampler=FEW).fit(replace(trial, scores=replace(trial.scores, values=values)), bad)
    assert guard.fitted.certified.released > 0  # type: ignore[union-attr]
