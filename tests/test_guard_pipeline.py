"""A guard around a pipeline of diffusers: what the pipeline makes is not changed, what is released is bounded, and a changed pipeline is noticed."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import diffident as dd
from diffident.adapters import diffusers
from diffident.errors import ForeignScores, InvalidSetting, NotCalibrated
from diffident.guard import Guard
from diffident.requests import Request
from diffident.trial import Trial

library = pytest.importorskip("diffusers", reason="pipelines are guarded with diffusers: pip install 'diffident[diffusers]'")
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")  # of diffusers, in set_timesteps

STEPS = 6
ARGUMENTS = {"num_inference_steps": STEPS, "output_type": "np"}
BLOCKS = {"down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",), "block_out_channels": (8,), "norm_num_groups": 4, "add_attention": False}


def unet(seed: int = 3) -> torch.nn.Module:
    torch.manual_seed(seed)
    return library.UNet2DModel(sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, **BLOCKS).eval()


def quiet(pipe: object) -> object:
    pipe.set_progress_bar_config(disable=True)
    return pipe


def ddim(seed: int = 3) -> object:
    return quiet(library.DDIMPipeline(unet(seed), library.DDIMScheduler()))


def of_codes() -> object:
    """Class-conditional, in latents, with guidance."""
    torch.manual_seed(3)
    settings = {"num_attention_heads": 2, "attention_head_dim": 8, "in_channels": 4, "out_channels": 8, "num_layers": 1, "sample_size": 4, "norm_num_groups": 4}
    transformer = library.DiTTransformer2DModel(**settings).eval()
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2, "block_out_channels": (4, 4)}
    vae = library.AutoencoderKL(**blocks, norm_num_groups=4, latent_channels=4, scaling_factor=0.7).eval()
    return quiet(library.DiTPipeline(transformer, vae, library.DDIMScheduler(clip_sample=False)))


def plain(pipe: object, seed: int, *conditions: object, **arguments: object) -> np.ndarray:
    """What the pipeline makes when it is called without a guard."""
    return pipe(*conditions, generator=torch.Generator().manual_seed(seed), **{**ARGUMENTS, **arguments}).images[0]


def guarded(pipe: object, release: dd.Release, **more: object) -> Guard:
    return Guard(pipe, release, **{"arguments": ARGUMENTS, **more})


def calls(pipe: object) -> list[int]:
    """Grows by one with each question to the network."""
    asked: list[int] = []
    pipe.unet.register_forward_hook(lambda *_: asked.append(1))
    return asked


@pytest.fixture(scope="module")
def tried() -> tuple[object, Trial]:
    pipe = ddim()
    return pipe, guarded(pipe, dd.Release(withhold=0.2, tries=2, early=0.1)).trial(n=70, seed=1)


@pytest.fixture(scope="module")
def labels(tried: tuple[object, Trial]) -> np.ndarray:
    """Bad is what moved furthest at the end: every twelfth sample."""
    last = tried[1].scores.values[:, tried[1].scores.columns.index("last_jump")]
    return (last > np.quantile(last, 11 / 12)).reshape(-1, 2)


def test_what_is_released_is_what_the_pipeline_makes_of_that_seed(tried: tuple[object, Trial]) -> None:
    pipe, trial = tried
    guard = guarded(pipe, dd.Release(withhold=0.2, tries=2)).fit(trial)
    served = list(guard.generate(n=20, seed=7))
    released = [one for one in served if one.item is not None]
    assert len(released) >= 12
    assert all(np.array_equal(one.item, plain(pipe, one.attempts[-1].seed)) for one in released)
    assert [one.verdict for one in guard.generate(n=20, seed=7)] == [one.verdict for one in served]
    image, verdict = guard(seed=7)
    assert verdict == served[0].verdict and (image is None) == (served[0].item is None)
    assert not {"step", "set_timesteps"} & set(vars(pipe.scheduler)), "and the pipeline is as it was"


def test_without_labels_withholding_is_bounded_and_with_them_the_risk(tried: tuple[object, Trial], labels: np.ndarray) -> None:
    pipe, trial = tried
    without = guarded(pipe, dd.Release(withhold=0.2)).fit(trial)
    withheld = np.mean([one.item is None for one in without.generate(n=40, seed=3)])
    assert 0.03 < withheld < 0.4
    assert "how often a released item fails is not bounded" in without.promise
    guard = guarded(pipe, dd.Release(risk=0.2, tries=2)).fit(trial, labels)
    assert "at most 20 % fails, with 90 % confidence" in guard.promise
    assert not guard.fitted.certified.always_withholds
    decisions = [one.verdict.decision for one in guard.generate(n=20, seed=5)]
    assert set(decisions) <= {"accept", "flag"} and "accept" in decisions


def test_giving_up_half_way_saves_the_other_half(tried: tuple[object, Trial]) -> None:
    pipe = ddim()
    guard = guarded(pipe, dd.Release(withhold=0.3, early=0.2)).fit(tried[1])
    asked = calls(pipe)
    served = list(guard.generate(n=40, seed=9))
    given_up = [one for one in served if one.attempts[-1].abandoned]
    assert given_up
    assert len(asked) == 40 * STEPS - len(given_up) * STEPS // 2
    assert all(one.item is None and len(one.attempts[-1].film) == STEPS // 2 and "given up half-way" in one.verdict.because for one in given_up)
    kept = next(one for one in served if one.item is not None)
    assert np.array_equal(kept.item, plain(pipe, kept.attempts[-1].seed)), "what is looked at half-way goes on as if nobody looked"


def test_what_is_read_on_the_way_is_what_the_trial_read(tried: tuple[object, Trial]) -> None:
    pipe, _ = tried
    guard = guarded(pipe, dd.Release(withhold=0.2, early=0.1))
    trial = guard.trial(n=3, seed=4)
    seen: list[np.ndarray] = []

    def look(film: dd.Trajectory) -> np.ndarray:
        seen.append(guard.introspection.half_way(film).values)
        return np.zeros(film.items, dtype=bool)

    from diffident.generators import Watch
    from diffident.requests import requests, seeds_of

    list(guard.generator.attempts(requests(n=3), [seeds_of(4, i, 1, "trial")[0] for i in range(3)], Watch(0.5, look)))
    assert trial.half_way is not None
    assert np.array_equal(np.concatenate(seen), trial.half_way.values, equal_nan=True)


def test_a_guard_of_a_folder_watches_the_same_pipeline_read_again(tried: tuple[object, Trial], tmp_path: Path) -> None:
    pipe, trial = tried
    guard = guarded(pipe, dd.Release(withhold=0.2, tries=2)).fit(trial)
    place = guard.save(tmp_path / "guard")
    pipe.save_pretrained(tmp_path / "pipe")
    read = quiet(library.DDIMPipeline.from_pretrained(tmp_path / "pipe", local_files_only=True))
    again = Guard.load(place, read, arguments=ARGUMENTS)
    assert again.promise == guard.promise
    pairs = list(zip(again.generate(n=8, seed=6), guard.generate(n=8, seed=6), strict=True))
    assert all(one.verdict.decision == other.verdict.decision for one, other in pairs)
    assert all(one.verdict.score == pytest.approx(other.verdict.score, abs=1e-4) for one, other in pairs), "but for rounding: weights lie elsewhere in memory"
    with pytest.raises(InvalidSetting, match="lies elsewhere; give it"):
        Guard.load(place)


CHANGED = {
    "scheduler": lambda: guarded(quiet(library.DDIMPipeline(unet(), library.DDIMScheduler(beta_schedule="squaredcos_cap_v2"))), dd.Release(withhold=0.2)),
    "arguments": lambda: guarded(ddim(), dd.Release(withhold=0.2), arguments={**ARGUMENTS, "num_inference_steps": STEPS + 1}),
    "weights": lambda: guarded(ddim(4), dd.Release(withhold=0.2)),
    "pipeline": lambda: guarded(quiet(library.DDPMPipeline(unet(), library.DDPMScheduler())), dd.Release(withhold=0.2)),
}


@pytest.mark.parametrize("what", CHANGED)
def test_trials_of_another_pipeline_are_refused(what: str, tried: tuple[object, Trial]) -> None:
    with pytest.raises(ForeignScores):
        CHANGED[what]().fit(tried[1])


def test_a_guard_of_a_folder_refuses_another_pipeline(tried: tuple[object, Trial], tmp_path: Path) -> None:
    pipe, trial = tried
    place = guarded(pipe, dd.Release(withhold=0.2)).fit(trial).save(tmp_path / "guard")
    with pytest.raises(ForeignScores, match="was fitted for another generator"):
        Guard.load(place, pipe, arguments={**ARGUMENTS, "eta": 1.0})


def test_a_scheduler_that_is_changed_under_a_guard_is_noticed(tried: tuple[object, Trial]) -> None:
    pipe = ddim()
    guard = guarded(pipe, dd.Release(withhold=0.2)).fit(tried[1])
    guard(seed=1)
    pipe.scheduler = library.DDPMScheduler.from_config(pipe.scheduler.config)
    with pytest.raises(ForeignScores, match="has a DDPMScheduler since"):
        guard(seed=1)


@torch.no_grad()
def test_the_model_is_asked_about_the_finished_picture() -> None:
    """Of pixels the sample itself, as the model sees the picture once it is opened, but for values beyond black and white."""
    pipe = ddim()
    model = diffusers.model(pipe, chunk=16)
    guard = guarded(pipe, dd.Release(withhold=0.2), recipe="introspection", model=model)
    one = next(iter(guard.generator.attempts([Request()], [5])))
    assert torch.allclose(one.film.origin.clamp(-1, 1), model.encode(torch.from_numpy(2 * one.output[None, ..., 0] - 1)[:, None]), atol=1e-6)
    trial = guard.trial(n=64, seed=1)
    assert {"told residual", "noised residual"} <= set(trial.scores.columns) and np.isfinite(trial.scores.values).all()
    guard.fit(trial)
    made = next(one for one in guard.generate(n=16, seed=2) if one.item is not None)
    assert np.array_equal(made.item, plain(pipe, made.attempts[-1].seed))
    with pytest.raises(ForeignScores):
        guarded(pipe, dd.Release(withhold=0.2), recipe="introspection", model=diffusers.model(ddim(4), chunk=16)).fit(trial)


def test_of_latents_the_model_is_asked_about_the_code_that_was_decoded() -> None:
    pipe = of_codes()
    model = diffusers.model(pipe, chunk=16)
    arguments = {"num_inference_steps": 4, "output_type": "np", "guidance_scale": 3.0}
    guard = guarded(pipe, dd.Release(withhold=0.2), recipe="introspection", model=model, arguments=arguments)
    one = next(iter(guard.generator.attempts([Request([2])], [5])))
    with torch.no_grad():
        decoded = pipe.vae.decode(one.film.origin / 0.7).sample
        assert np.allclose(one.output, (decoded / 2 + 0.5).clamp(0, 1)[0].permute(1, 2, 0).numpy(), atol=1e-5), (
            "codes are scaled as the model's space scales them"
        )
        assert model.encode(torch.zeros(1, *model.modality.shape)).shape[1:] == one.film.origin.shape[1:]
    assert np.array_equal(one.output, plain(pipe, 5, [2], **arguments))
    trial = guard.trial([Request([kind], name=f"class {kind}") for kind in range(3)], n=3)
    assert np.isfinite(trial.scores.values).any(axis=0).all() and len(trial.scores) == 3


def test_a_pipelines_folder_is_generated_from_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., Any]) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    pipe = ddim()
    pipe.save_pretrained(tmp_path / "pipe")
    common = (tmp_path / "pipe", "--steps", STEPS)
    with pytest.raises(NotCalibrated, match="make a trial first"):
        run("generate", *common, "-o", tmp_path / "early")
    run("generate", *common, "-n", 64, "-o", tmp_path / "trial", "--unreviewed", "--seed", 1)
    assert len(list((tmp_path / "trial" / "samples").glob("*.png"))) == 64
    given = ("--trial", tmp_path / "trial", "--withhold", 0.2, "-n", 8, "--seed", 2)
    said = run("generate", *common, *given, "-o", tmp_path / "out", "--report", tmp_path / "page.html", "--keep", tmp_path / "guard")
    assert "how often a released item fails is not bounded" in said.output
    with (tmp_path / "out" / "generated.csv").open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    released = [row for row in rows if row["decision"] == "release"]
    assert len(rows) == 8 and len(released) >= 4
    import PIL.Image

    for row in released:
        expected = pipe(generator=torch.Generator().manual_seed(int(row["seed"])), num_inference_steps=STEPS).images[0]
        assert np.array_equal(np.asarray(PIL.Image.open(tmp_path / "out" / row["path"])), np.asarray(expected))
    run("generate", tmp_path / "guard", "--steps", STEPS, "-n", 8, "--seed", 2, "-o", tmp_path / "again")
    with (tmp_path / "again" / "generated.csv").open(newline="") as opened:
        again = list(csv.DictReader(opened))
    assert [(row["path"], row["seed"], row["decision"]) for row in again] == [(row["path"], row["seed"], row["decision"]) for row in rows]
    with pytest.raises(ForeignScores):
        run("generate", tmp_path / "guard", "--steps", STEPS + 1, "-o", tmp_path / "other")
