"""Models of diffusers are asked as their own schedulers would ask, are kept by reference, and are never changed."""

from __future__ import annotations

import json
import math
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import diffident as dd
from diffident.adapters import diffusers
from diffident.errors import (
    DamagedModel,
    InvalidSetting,
    MissingPackage,
    NoActivations,
    NotAModel,
    Unconditional,
)
from diffident.kinds import Kinds
from diffident.levels import angular
from diffident.networks import of_diffusers
from diffident.pipelines.parametrisations import of_scheduler
from diffident.probes import Activations, HutchinsonTrace
from diffident.walks import Clean

library = pytest.importorskip("diffusers", reason="models of diffusers need diffusers: pip install 'diffident[diffusers]'")

STEPS = (0, 1, 7, 250, 500, 998, 999)
SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid")


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    torch.manual_seed(0)


def unet(**more: object) -> torch.nn.Module:
    settings = {"sample_size": 8, "in_channels": 1, "out_channels": 1, "block_out_channels": (8, 8, 16), "norm_num_groups": 4, "layers_per_block": 1}
    blocks = {"down_block_types": ("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"), "up_block_types": ("AttnUpBlock2D", "UpBlock2D", "UpBlock2D")}
    torch.manual_seed(3)
    return library.UNet2DModel(**{**settings, **blocks, **more}).eval()


def dit(**more: object) -> torch.nn.Module:
    settings = {"num_attention_heads": 2, "attention_head_dim": 8, "in_channels": 4, "out_channels": 8, "num_layers": 3, "sample_size": 4, "norm_num_groups": 4}
    torch.manual_seed(3)
    return library.DiTTransformer2DModel(**{**settings, "num_embeds_ada_norm": 5, **more}).eval()


def vae(**more: object) -> torch.nn.Module:
    settings = {"block_out_channels": (8, 8), "down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    torch.manual_seed(4)
    return library.AutoencoderKL(**{**settings, "norm_num_groups": 4, "latent_channels": 4, "scaling_factor": 0.7, "shift_factor": 0.1, **more}).eval()


def piped(network: torch.nn.Module, scheduler: object) -> object:
    return library.DDPMPipeline(network, scheduler)


def ddpm(**more: object) -> object:
    return library.DDPMScheduler(clip_sample=False, **more)


def noisy(n: int = 2, shape: tuple[int, ...] = (1, 8, 8)) -> torch.Tensor:
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(1))


def at(scheduler: object, step: int) -> tuple[float, float]:
    """The house's level of a training step."""
    bar = scheduler.alphas_cumprod[step].double()
    return bar.sqrt().item(), (1 - bar).sqrt().item()


def off(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference, relative to the largest number expected where that is above 1; infinite for anything but single precision."""
    return (found - expected).abs().max().item() / expected.abs().max().clamp(min=1).item() if found.dtype == torch.float32 else math.inf


@pytest.mark.parametrize("beta_schedule", SCHEDULES)
@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
@torch.no_grad()
def test_the_answer_is_the_schedulers_own_x0(prediction: str, beta_schedule: str) -> None:
    scheduler = ddpm(prediction_type=prediction, beta_schedule=beta_schedule)
    network = unet()
    asked, x = diffusers.model(piped(network, scheduler)).denoiser, noisy()
    for step in STEPS:
        own = scheduler.step(network(x, step).sample, step, x).pred_original_sample
        assert off(asked(x, *at(scheduler, step)), own) <= 1e-5


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of diffusers, in set_timesteps
@pytest.mark.parametrize("kind", ["DDIMScheduler", "PNDMScheduler", "EulerDiscreteScheduler", "DPMSolverMultistepScheduler", "UniPCMultistepScheduler"])
@torch.no_grad()
def test_another_sampler_of_the_same_noise_changes_nothing(kind: str) -> None:
    first = ddpm(beta_schedule="scaled_linear")
    other = getattr(library, kind).from_config(first.config)
    other.set_timesteps(7)
    network, x = unet(), noisy()
    answers = [diffusers.model(piped(network, one)).denoiser(x, 0.6, 0.8) for one in (first, other)]
    assert torch.equal(*answers)


@torch.no_grad()
def test_a_learned_variance_is_left_out() -> None:
    scheduler = ddpm(variance_type="learned_range")
    network, x = unet(out_channels=2), noisy()
    asked = diffusers.model(piped(network, scheduler)).denoiser
    for step in STEPS:
        assert off(asked(x, *at(scheduler, step)), scheduler.step(network(x, step).sample, step, x).pred_original_sample) <= 1e-5


@torch.no_grad()
def test_flow_matching_is_x_minus_t_times_the_velocity() -> None:
    scheduler, network, x = library.FlowMatchEulerDiscreteScheduler(shift=3.0), unet(), noisy()
    asked = diffusers.model(piped(network, scheduler)).denoiser
    for step in (1, 37, 500, 999):
        t = step / 1000
        assert off(asked(x, 1 - t, t), x - t * network(x, torch.tensor(float(step))).sample) <= 1e-5
    own = scheduler.scale_noise(x, scheduler.timesteps[300:301], noisy(2) * 0 + 1)
    t = scheduler.sigmas[300].item()
    assert off(asked(own, 1 - t, t), own - t * network(own, scheduler.timesteps[300]).sample) <= 1e-5
    seconds = diffusers.model(piped(network, scheduler), clock=1.0).denoiser
    assert off(seconds(x, 0.25, 0.75), x - 0.75 * network(x, torch.tensor(0.75)).sample) <= 1e-5


@torch.no_grad()
def test_edm_schedulers_precondition_as_their_own() -> None:
    for prediction in ("epsilon", "v_prediction"):
        scheduler = library.EDMEulerScheduler(prediction_type=prediction)
        network, x = unet(), noisy()
        asked = diffusers.model(piped(network, scheduler)).denoiser
        for sigma in (0.01, 0.5, 60.0):
            told = torch.tensor(sigma)
            output = network(scheduler.precondition_inputs(x, told), scheduler.precondition_noise(told)).sample
            assert off(asked(x, 1.0, sigma), scheduler.precondition_outputs(x, output, told)) <= 1e-5


@torch.no_grad()
def test_any_pair_of_one_ratio_is_one_question() -> None:
    """x_t / alpha is what is known of x0: preserving, exploding and flow are units of it."""
    clean, drawn = noisy(3) / 4, noisy(3).flip(0)
    for scheduler in (ddpm(prediction_type="v_prediction"), library.FlowMatchEulerDiscreteScheduler()):
        asked = diffusers.model(piped(unet(), scheduler)).denoiser
        answers = [asked(a * clean + s * drawn, a, s) for a, s in ((1.0, 2.0), (1 / 5**0.5, 2 / 5**0.5), (1 / 3, 2 / 3))]
        for other in answers[1:]:
            assert off(other, answers[0]) <= 1e-5


@torch.no_grad()
def test_a_network_of_learned_steps_is_told_the_nearest() -> None:
    scheduler = ddpm(num_train_timesteps=50)
    network, x = unet(time_embedding_type="learned", num_train_timesteps=50), noisy()
    asked = diffusers.model(piped(network, scheduler)).denoiser
    assert off(asked(x, *at(scheduler, 7)), scheduler.step(network(x, 7).sample, 7, x).pred_original_sample) <= 1e-5
    ratios = asked.parametrisation.ratios
    ratio = ratios[7] ** 0.6 * ratios[8] ** 0.4
    assert asked.parametrisation.told(torch.tensor([ratio], dtype=torch.float64)).tolist() == [7.0]
    smooth = of_scheduler(scheduler)
    assert smooth.told(torch.tensor([ratio], dtype=torch.float64)).item() == pytest.approx(7.4)


@torch.no_grad()
def test_a_class_is_given_by_its_number() -> None:
    scheduler, network, x = ddpm(), unet(num_class_embeds=3), noisy()
    with pytest.raises(InvalidSetting, match=r"with a condition only.*class_labels.*given=\.\.\."):
        diffusers.model(piped(network, scheduler))
    second = diffusers.model(piped(network, scheduler), given=2)
    own = scheduler.step(network(x, 400, class_labels=torch.tensor([2, 2])).sample, 400, x).pred_original_sample
    assert off(second.denoiser(x, *at(scheduler, 400)), own) <= 1e-5
    first = second.denoiser.given(0)
    assert not torch.allclose(first(x, 0.6, 0.8), second.denoiser(x, 0.6, 0.8))
    assert second.fingerprint != diffusers.model(piped(network, scheduler), given=0).fingerprint
    for wrong, words in ((3, "a class, 0 to 2; it was given 3"), ("cat", "given 'cat'"), ({"cat": x[:1]}, "given cat"), (x, "given a tensor")):
        with pytest.raises(Unconditional, match=words):
            second.denoiser.given(wrong)
    with pytest.raises(Unconditional, match="takes no condition; it was given 1"):
        diffusers.model(piped(unet(), scheduler), given=1)


@torch.no_grad()
def test_classes_are_kinds() -> None:
    asked = diffusers.model(piped(unet(num_class_embeds=2), ddpm()), given=0).denoiser
    kinds, x = Kinds(("nut", "bolt"), (asked, asked.given(1))), noisy()
    assert torch.equal(kinds.given("bolt")(x, 0.6, 0.8), asked.given(1)(x, 0.6, 0.8))


def dit_pipe() -> object:
    return library.DiTPipeline(dit(), vae(), ddpm(variance_type="learned_range"))


@torch.no_grad()
def test_dit_knows_what_means_no_class_in_particular() -> None:
    pipe = dit_pipe()
    made, x = diffusers.model(pipe), noisy(2, (4, 4, 4))
    for given, label in ((None, 5), (3, 3)):
        asked = made.denoiser if given is None else made.denoiser.given(given)
        for step in STEPS:
            output = pipe.transformer(x, timestep=torch.tensor([step] * 2), class_labels=torch.tensor([label] * 2)).sample
            assert off(asked(x, *at(pipe.scheduler, step)), pipe.scheduler.step(output, step, x).pred_original_sample) <= 1e-5


@torch.no_grad()
def test_a_text_is_given_by_its_embedding() -> None:
    kinds = {"down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"), "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D")}
    small = {"sample_size": 8, "in_channels": 1, "out_channels": 1, "block_out_channels": (8, 16), "norm_num_groups": 4, "layers_per_block": 1}
    network = library.UNet2DConditionModel(**kinds, **small, cross_attention_dim=6, attention_head_dim=4).eval()
    scheduler, x = ddpm(), noisy()
    pipe, text = piped(network, scheduler), noisy(1, (5, 6))
    with pytest.raises(InvalidSetting, match="asked without encoder_hidden_states"):
        diffusers.model(pipe)
    asked = diffusers.model(pipe, given=text[0]).denoiser
    own = scheduler.step(network(x, 300, text.expand(2, 5, 6)).sample, 300, x).pred_original_sample
    assert off(asked(x, *at(scheduler, 300)), own) <= 1e-5
    assert off(diffusers.model(pipe, given={"encoder_hidden_states": text}).denoiser(x, *at(scheduler, 300)), own) <= 1e-5


@torch.no_grad()
def test_a_transformer_of_flow_matching_is_given_its_texts_by_name() -> None:
    """As Stable Diffusion 3 is asked: several conditions, one of which runs through the blocks beside the picture."""
    settings = {"sample_size": 4, "in_channels": 4, "out_channels": 4, "num_layers": 2, "attention_head_dim": 8, "num_attention_heads": 2}
    more = {"joint_attention_dim": 6, "caption_projection_dim": 16, "pooled_projection_dim": 5, "pos_embed_max_size": 4}
    network = library.SD3Transformer2DModel(**settings, **more).eval()
    given = {"encoder_hidden_states": noisy(1, (7, 6)), "pooled_projections": noisy(1, (5,))}
    parts = {"transformer": network, "vae": vae(), "scheduler": library.FlowMatchEulerDiscreteScheduler(shift=3.0)}
    pipe, x = SimpleNamespace(components=parts, config={}), noisy(2, (4, 4, 4))
    asked = diffusers.model(pipe, given=given).denoiser
    own = network(x, timestep=torch.tensor([600.0] * 2), **{name: one.expand(2, *one.shape[1:]) for name, one in given.items()}).sample
    assert off(asked(x, 0.4, 0.6), x - 0.6 * own) <= 1e-5
    assert asked.watched(x, 0.4, 0.6, ["deepest"])[1]["deepest"].shape == (2, 16, 2, 2)
    with pytest.raises(InvalidSetting, match="cannot be asked about .* with given.encoder_hidden_states"):
        diffusers.model(pipe, given={"encoder_hidden_states": given["encoder_hidden_states"]})


@torch.no_grad()
def test_codes_without_a_posterior_are_taken_before_they_are_quantised() -> None:
    settings = {"block_out_channels": (8, 8), "down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    coder = library.VQModel(**settings, norm_num_groups=4, latent_channels=3, scaling_factor=0.5).eval()
    network = unet(in_channels=3, out_channels=3, sample_size=8)
    made = diffusers.model(library.LDMPipeline(coder, network, library.DDIMScheduler(clip_sample=False)))
    pictures = noisy(2, (3, 16, 16)).clamp(-1, 1)
    assert made.modality.shape == (3, 16, 16) and torch.allclose(made.encode(pictures), 0.5 * coder.encode(pictures).latents, atol=1e-5)


@torch.no_grad()
def test_latents_are_the_mean_shifted_and_scaled() -> None:
    pipe = dit_pipe()
    made = diffusers.model(pipe)
    assert made.modality.shape == (3, 8, 8) and made.denoiser.part == "transformer"
    pictures = noisy(5, (3, 8, 8)).clamp(-1, 1)
    own = (pipe.vae.encode(pictures).latent_dist.mean - 0.1) * 0.7
    assert torch.allclose(made.encode(pictures), own, atol=1e-5) and torch.equal(made.encode(pictures), made.encode(pictures))
    assert torch.equal(made.encode(pictures[:3])[1], made.encode(pictures)[1]), "a picture's code is its own"
    assert made.space.map_back(own, (8, 8)).shape == (5, 8, 8)


@torch.no_grad()
def test_nothing_of_the_pipeline_is_changed() -> None:
    pipe = dit_pipe()
    pipe.scheduler.set_timesteps(9)
    pipe.transformer.requires_grad_(True)
    before = (
        json.dumps(dict(pipe.scheduler.config), default=str),
        pipe.scheduler.timesteps.clone(),
        {k: v.clone() for k, v in pipe.transformer.state_dict().items()},
    )
    random = torch.get_rng_state()
    made = diffusers.model(pipe)
    made.denoiser.watched(noisy(1, (4, 4, 4)), 0.6, 0.8, ["deepest"])
    made.untrained()
    assert torch.equal(random, torch.get_rng_state())
    assert json.dumps(dict(pipe.scheduler.config), default=str) == before[0] and torch.equal(pipe.scheduler.timesteps, before[1])
    assert all(torch.equal(before[2][name], one) for name, one in pipe.transformer.state_dict().items())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in pipe.transformer.modules())
    assert all(one.requires_grad for one in pipe.transformer.parameters())
    pipe.transformer.train()
    with pytest.raises(InvalidSetting, match=r"in training mode.*call its eval\(\)"):
        made.denoiser(noisy(1, (4, 4, 4)), 0.6, 0.8)
    assert pipe.transformer.training


def test_the_arithmetic_is_the_pipelines_own() -> None:
    network = unet().to(torch.bfloat16)
    asked = diffusers.model(piped(network, ddpm())).denoiser
    seen = asked(noisy(), 0.6, 0.8)
    assert seen.dtype == torch.float32 and not seen.requires_grad and asked.precision == "bf16"
    assert torch.allclose(seen, diffusers.model(piped(unet(), ddpm())).denoiser(noisy(), 0.6, 0.8), atol=0.1)


def test_a_gradient_is_carried_where_it_is_asked_for() -> None:
    asked = diffusers.model(piped(unet(), ddpm())).denoiser
    film = Clean(angular([0.5]))(asked, noisy(), [HutchinsonTrace()])
    assert film.columns["trace"].shape == (1, 2) and film.columns["trace"].abs().min() > 0


@torch.no_grad()
def test_streams_are_named_as_those_of_our_own_networks() -> None:
    network, x = unet(), noisy()
    asked = diffusers.model(piped(network, ddpm())).denoiser
    names = ("down0", "down1", "deepest", "up1", "finest")
    answer, held = asked.watched(x, 0.6, 0.8, names)
    assert tuple(of_diffusers.streams(network)) == names
    assert {name: tuple(held[name].shape[1:]) for name in names} == {
        "down0": (8, 8, 8),
        "down1": (8, 4, 4),
        "deepest": (16, 2, 2),
        "up1": (8, 4, 4),
        "finest": (8, 8, 8),
    }
    assert torch.equal(answer, asked(x, 0.6, 0.8))
    kept: list[torch.Tensor] = []
    hook = network.mid_block.register_forward_hook(lambda _, seen, given: kept.append(given))
    asked(x, 0.6, 0.8)
    hook.remove()
    assert torch.equal(held["deepest"], kept[0])
    film = Clean(angular([0.5]))(asked, x, [Activations("finest", pool=2)])
    assert film.columns["activations finest"].shape == (1, 2, 8, 4, 4)
    with pytest.raises(NoActivations, match="no stream called up7; it has: down0, down1, deepest"):
        asked.watched(x, 0.6, 0.8, ["up7"])
    made = diffusers.model(dit_pipe())
    _, tokens = made.denoiser.watched(noisy(1, (4, 4, 4)), 0.6, 0.8, ["deepest", "block1", "finest"])
    assert tokens["deepest"].shape == (1, 16, 2, 2) and torch.equal(tokens["deepest"], tokens["block1"]) and not torch.equal(tokens["block1"], tokens["finest"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    piped(unet(num_class_embeds=2), ddpm(prediction_type="v_prediction")).save_pretrained(tmp_path / "pipe")
    return tmp_path / "pipe"


def greys(seed: int, n: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.4, 0.6, (n, 8, 8))


def test_a_detector_is_fitted_kept_and_read_again(folder: Path, tmp_path: Path) -> None:
    made = diffusers.model(folder, given=1, chunk=16)
    detector = dd.Detector(made, "reconstruction").fit(greys(0, 40))
    detector.save(tmp_path / "kept")
    again = dd.Detector.load(tmp_path / "kept")
    first, second = (one.judge_all(greys(1, 3)) for one in (detector, again))
    assert [one.p for one in first] == [one.p for one in second] and all(0 < one.p <= 1 for one in first)
    assert not list((tmp_path / "kept").glob("*.bin")) and (tmp_path / "kept" / "weights.safetensors").stat().st_size < 5000, "weights stay where they lie"
    in_memory = library.DDPMPipeline.from_pretrained(folder, local_files_only=True, low_cpu_mem_usage=False)
    assert diffusers.model(in_memory, given=1, chunk=16).fingerprint == made.fingerprint
    moved = shutil.copytree(folder, tmp_path / "elsewhere")
    assert diffusers.model(moved, given=1, chunk=16).fingerprint == made.fingerprint, "where it lies is no part of what it is"


def test_a_latent_model_is_kept_and_read_again(tmp_path: Path) -> None:
    dit_pipe().save_pretrained(tmp_path / "dit")
    made = diffusers.model(tmp_path / "dit", chunk=16)
    dd.save(made, tmp_path / "kept")
    again = dd.load(tmp_path / "kept")
    pictures = noisy(2, (3, 8, 8)).clamp(-1, 1)
    assert again.fingerprint == made.fingerprint and torch.equal(again.encode(pictures), made.encode(pictures))
    detector = dd.Detector(again, "reconstruction").fit(np.random.default_rng(0).uniform(0.4, 0.6, (25, 8, 8, 3)))
    assert detector(np.random.default_rng(1).uniform(0, 1, (8, 8, 3))).p <= 1
    torch.manual_seed(9)
    vae(shift_factor=0.2).save_pretrained(tmp_path / "dit" / "vae")
    with pytest.raises(DamagedModel, match="autoencoder at .* is not the one"):
        dd.load(tmp_path / "kept")


def test_what_the_folder_has_become_is_refused(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dd.save(diffusers.model(folder, given=1), tmp_path / "kept")
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "diffusers", None)
        with pytest.raises(MissingPackage, match=r"need diffusers: pip install 'diffident\[diffusers\]'"):
            dd.load(tmp_path / "kept")
    shutil.copytree(folder, tmp_path / "copy")
    ddpm(prediction_type="epsilon").save_pretrained(folder / "scheduler")
    with pytest.raises(DamagedModel, match="by its noise: .*v_prediction.* became .*epsilon"):
        dd.load(tmp_path / "kept")
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "copy", folder)
    other = unet(num_class_embeds=2)
    other.conv_out.bias.data += 1
    other.save_pretrained(folder / "unet")
    with pytest.raises(DamagedModel, match=r"by its weights or settings: \w{12} became \w{12}; put the pipeline back"):
        dd.load(tmp_path / "kept")
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(NotAModel, match="the unet of .* cannot be read"):
        dd.load(tmp_path / "kept")
    shutil.rmtree(folder)
    with pytest.raises(NotAModel, match="there is no such folder.*put the pipeline back where it was"):
        dd.load(tmp_path / "kept")


def test_a_pipeline_that_lies_nowhere_is_asked_and_not_kept(tmp_path: Path) -> None:
    pipe = piped(unet(), ddpm())
    made = diffusers.model(pipe)
    assert len(made.fingerprint) == 64
    with pytest.raises(InvalidSetting, match=r"lies in no folder.*save_pretrained\(FOLDER\)"):
        dd.save(made, tmp_path / "kept")
    assert not (tmp_path / "kept").exists()
    pipe.save_pretrained(tmp_path / "pipe")
    dd.save(diffusers.model(pipe, folder=tmp_path / "pipe"), tmp_path / "kept")
    assert dd.load(tmp_path / "kept").fingerprint == made.fingerprint
    bias = pipe.unet.conv_out.bias.data.clone()
    pipe.unet.conv_out.bias.data += 1
    with pytest.raises(DamagedModel, match=r"that was changed since it was read, pipe.save_pretrained\(ANOTHER_FOLDER\)"):
        dd.save(diffusers.model(pipe, folder=tmp_path / "pipe"), tmp_path / "other")
    pipe.unet.conv_out.bias.data = bias
    pipe.scheduler = library.DDIMScheduler.from_config(pipe.scheduler.config)
    assert diffusers.model(pipe, folder=tmp_path / "pipe").fingerprint == made.fingerprint, "how it is sampled is no part of what it is"


@torch.no_grad()
def test_its_control_has_learned_nothing() -> None:
    made = diffusers.model(dit_pipe())
    control, x = made.untrained(), noisy(1, (4, 4, 4))
    assert not torch.allclose(control.denoiser(x, 0.6, 0.8), made.denoiser(x, 0.6, 0.8)) and control.fingerprint != made.fingerprint
    assert control.fingerprint == made.untrained().fingerprint
    space = made.space.untrained(1)
    assert space.digest != made.space.digest


WRONG = {
    "no pipeline": (lambda: diffusers.model(unet()), "got a UNet2DModel. A network alone says nothing of its noise"),
    "no network": (lambda: diffusers.model(SimpleNamespace(components={"scheduler": ddpm()}, config={})), "a scheduler and a unet or transformer"),
    "distilled": (lambda: diffusers.model(piped(unet(), library.LCMScheduler())), "distilled to leap"),
    "of variance exploding": (lambda: diffusers.model(piped(unet(), library.ScoreSdeVeScheduler())), "a ScoreSdeVeScheduler .* is not known here"),
    "a clock": (lambda: diffusers.model(piped(unet(), ddpm()), clock=1.0), "networks of flow matching only"),
    "no size": (lambda: diffusers.model(piped(unet(sample_size=None), ddpm())), "give size, in pixels"),
    "no picture": (lambda: diffusers.model(piped(unet(in_channels=2), ddpm())), "images have 1 .grey. or 3 .colour. channels"),
    "another size": (lambda: diffusers.model(piped(unet(), ddpm()), size=6), "cannot be asked about"),
    "another autoencoder": (lambda: diffusers.model(library.DiTPipeline(dit(in_channels=2), vae(), ddpm())), "codes of 4 channels and the .* takes 2"),
    "training": (lambda: diffusers.model(piped(unet().train(), ddpm())), "in training mode"),
    "a dtype": (lambda: diffusers.model("nowhere", dtype="int8"), "a dtype is one of float32"),
    "noise that does not rise": (lambda: diffusers.model(piped(unet(), ddpm(trained_betas=[0.1, 0.0, 0.1], num_train_timesteps=3))), "does not rise"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_asked_is_refused_in_words(case: str) -> None:
    made, words = WRONG[case]
    with pytest.raises(InvalidSetting, match=words):
        made()


def test_other_channels_than_it_was_shown_are_refused() -> None:
    with pytest.raises(dd.errors.WrongShape, match="as many channels are wanted, or twice as many"):
        diffusers.model(piped(unet(out_channels=3), ddpm()))


def test_folders_that_hold_no_pipeline_are_refused(tmp_path: Path) -> None:
    for place, words in ((tmp_path / "none", "there is no such folder"), (tmp_path, "holds no model_index.json")):
        with pytest.raises(NotAModel, match=words):
            diffusers.model(place)
    (tmp_path / "model_index.json").write_text('{"scheduler": ["diffusers", "DDPMScheduler"], "unet": ["diffusers", "NoSuchNet"]}')
    with pytest.raises(NotAModel, match="a NoSuchNet, which this version of diffusers does not have"):
        diffusers.model(tmp_path)
