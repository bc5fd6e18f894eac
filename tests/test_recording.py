"""A pipeline that is recorded makes the same bits, and the record holds what its network was asked and answered, in the words of this house."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import diffident as dd
from diffident.denoiser import GaussianMixture
from diffident.errors import AlreadyRecording, InvalidSetting, WrongShape
from diffident.pipelines.parametrisations import Edm, Flow, spoken_to
from diffident.pipelines.recording import Abandoned, Recorded
from diffident.trajectory import Look, Trajectory

library = pytest.importorskip("diffusers", reason="pipelines are recorded with diffusers: pip install 'diffident[diffusers]'")
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")  # of diffusers, in set_timesteps

SHAPE = (1, 2, 2)
TRUTH = GaussianMixture(torch.tensor([[-0.6, 0.1, 0.4, -0.2], [0.7, 0.3, -0.5, 0.2]]).double(), torch.tensor([0.05, 0.1]).double())


def exact(x: torch.Tensor, alpha: torch.Tensor | float, sigma: torch.Tensor | float) -> torch.Tensor:
    """E[x0 | x] of the two kinds of picture that there are, in double precision."""
    return TRUTH(x.double().flatten(1), alpha, sigma).reshape(x.shape)


class Learned(torch.nn.Module):
    """A network that has learned that truth without fault, in the words of a scheduler; under a condition it answers that and a quarter more."""

    def __init__(self, scheduler: object) -> None:
        super().__init__()
        self.family, self.weight = spoken_to(scheduler), torch.nn.Parameter(torch.zeros(()))

    def forward(self, shown: torch.Tensor, timestep: torch.Tensor, given: torch.Tensor | None = None) -> tuple[torch.Tensor]:
        told, family = float(timestep), self.family
        if isinstance(family, Flow):
            a, s = 1 - told / family.clock, told / family.clock
        elif isinstance(family, Edm):
            a, s = 1.0, float(np.exp(4 * told))
        else:
            ratio = float(np.exp(np.interp(told, np.arange(len(family.ratios)), np.log(family.ratios))))
            a, s = 1 / np.hypot(1, ratio), ratio / np.hypot(1, ratio)
        x = shown.double() * ((s**2 + 0.25) ** 0.5 if isinstance(family, Edm) else 1)
        x0 = exact(x, a, s) + (0 if given is None else 0.25 * given.double().reshape(-1, 1, 1, 1))
        return (self.said(x, x0, a, s).to(shown) + self.weight,)

    def said(self, x: torch.Tensor, x0: torch.Tensor, a: float, s: float) -> torch.Tensor:
        if isinstance(self.family, Flow):
            return (x - x0) / s
        if isinstance(self.family, Edm):
            return (x0 - 0.25 / (s**2 + 0.25) * x) * (s**2 + 0.25) ** 0.5 / (0.5 * s)
        kinds = {"epsilon": (x - a * x0) / s, "sample": x0, "v_prediction": (a * x - x0) / s}
        return kinds[self.family.prediction]


class Tiny:
    """A pipeline as those of diffusers are written; ``guided`` asks about each sample twice, in one batch or in two."""

    def __init__(self, scheduler: object, unet: torch.nn.Module | None = None, guided: str = "", after: Callable[[torch.Tensor], None] | None = None) -> None:
        self.scheduler, self.unet, self.guided, self.after = scheduler, unet or Learned(scheduler), guided, after
        self.own: list[torch.Tensor] = []

    def __call__(self, n: int = 3, steps: int = 10, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        self.scheduler.set_timesteps(steps)
        more = {"generator": generator} if "generator" in inspect.signature(self.scheduler.step).parameters else {}
        x = torch.randn(n, *SHAPE, generator=generator).to(dtype) * getattr(self.scheduler, "init_noise_sigma", 1.0)
        for t in self.scheduler.timesteps:
            shown = x if isinstance(self.unet.family, Flow) else self.scheduler.scale_model_input(x, t)
            with torch.no_grad():
                output = self.answer(shown, t)
            made = self.scheduler.step(output, t, x, **more)
            if (own := made.get("pred_original_sample")) is not None:
                self.own.append(own)
            x = made.prev_sample
            if self.after is not None:
                self.after(x)
        return x

    def answer(self, shown: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        n = len(shown)
        if self.guided == "at once":
            without, given = self.unet(torch.cat([shown, shown]), t, torch.arange(2).repeat_interleave(n))[0].chunk(2)
        elif self.guided:
            without, given = (self.unet(shown, t, torch.full((n,), one))[0] for one in (0, 1))
        else:
            return self.unet(shown, t)[0]
        return without + 3 * (given - without)


LEADING = {"timestep_spacing": "leading"}
FLOWS = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}
#: schedulers by name, and how many of their 10 steps' looks form the record
SCHEDULERS = {
    "DDPM": ("DDPMScheduler", {"clip_sample": False}, 10),
    "DDPM of v": ("DDPMScheduler", {"clip_sample": False, "prediction_type": "v_prediction"}, 10),
    "DDPM of x0": ("DDPMScheduler", {"clip_sample": False, "prediction_type": "sample"}, 10),
    "DDIM": ("DDIMScheduler", {"clip_sample": False}, 10),
    "PNDM": ("PNDMScheduler", {"skip_prk_steps": True}, 10),
    "Euler": ("EulerDiscreteScheduler", LEADING, 10),
    "Euler of v": ("EulerDiscreteScheduler", {"prediction_type": "v_prediction", **LEADING}, 10),
    "Euler ancestral": ("EulerAncestralDiscreteScheduler", LEADING, 10),
    "LMS": ("LMSDiscreteScheduler", LEADING, 10),
    "Heun": ("HeunDiscreteScheduler", LEADING, 10),
    "DPM2": ("KDPM2DiscreteScheduler", LEADING, 10),
    "DPM2 ancestral": ("KDPM2AncestralDiscreteScheduler", LEADING, 10),
    "DPM-Solver multistep": ("DPMSolverMultistepScheduler", {}, 10),
    "DPM-Solver multistep, with noise": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}, 10),
    "DPM-Solver singlestep": ("DPMSolverSinglestepScheduler", {"lower_order_final": True}, 10),
    "DPM-Solver of flows": ("DPMSolverMultistepScheduler", FLOWS, 10),
    "UniPC": ("UniPCMultistepScheduler", {}, 10),
    "UniPC of v": ("UniPCMultistepScheduler", {"prediction_type": "v_prediction"}, 10),
    "DEIS": ("DEISMultistepScheduler", {}, 10),
    "LCM": ("LCMScheduler", {"clip_sample": False}, 10),
    "TCD": ("TCDScheduler", {"clip_sample": False}, 10),
    "flow matching": ("FlowMatchEulerDiscreteScheduler", {"shift": 3.0}, 10),
    "flow matching, Heun": ("FlowMatchHeunDiscreteScheduler", {}, 10),
    "EDM": ("EDMEulerScheduler", {}, 10),
    "EDM, DPM-Solver": ("EDMDPMSolverMultistepScheduler", {}, 10),
}
#: schedulers that tell the network a whole step number near the level: how far off an exact answer then is
ROUNDED = {"DPM-Solver of flows": 2e-3}


def scheduler(name: str = "DDIM", **more: object) -> object:
    kind, settings, _ = SCHEDULERS[name]
    return getattr(library, kind)(**settings, **more)


def pipeline(name: str = "DDIM", guided: str = "", **more: object) -> Tiny:
    return Tiny(scheduler(name, **more), guided=guided)


def off(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference, relative to the largest number expected where that is above 1."""
    return ((found - expected).abs().max() / expected.abs().max().clamp(min=1)).item()


@pytest.mark.parametrize(("name", "guided"), [*((name, "") for name in SCHEDULERS), ("DDIM", "at once"), ("Heun", "at once"), ("flow matching", "in turn")])
def test_not_one_bit_of_what_is_made_changes(name: str, guided: str) -> None:
    without = [pipeline(name, guided)(seed=seed) for seed in (0, 1)]
    recorded = pipeline(name, guided)
    with dd.record(recorded) as film:
        found = [recorded(seed=seed) for seed in (0, 1)]
    assert all(torch.equal(*pair) for pair in zip(found, without, strict=True))
    assert all(torch.equal(one.origin, made) for one, made in zip(film, without, strict=True))
    assert torch.equal(recorded(seed=0), without[0]), "nor afterwards"


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_record_is_what_a_perfect_network_says(name: str) -> None:
    """Of an exact network the x0 is known at each x, alpha and sigma: all four have to fit together."""
    pipe = pipeline(name)
    with dd.record(pipe) as film:
        pipe(seed=0)
        pipe(n=2, seed=1)
    assert [one.items for one in film] == [3, 2] and len(film) == 2
    for one in film:
        assert len(one) == SCHEDULERS[name][2]
        assert bool((one.sigma[1:] * one.alpha[:-1] < one.sigma[:-1] * one.alpha[1:]).all()), "levels come down"
        for alpha, sigma, x, denoised in zip(one.alpha, one.sigma, one.x, one.denoised, strict=True):
            assert off(denoised, exact(x, float(alpha), float(sigma)).float()) <= ROUNDED.get(name, 1e-4)
        assert one.x.dtype == one.denoised.dtype == torch.float32
        assert one.walk == Recorded("Tiny", SCHEDULERS[name][0])
        assert one.provenance["space"] == "pixels" and "ended" not in one.provenance
        assert set(one.columns) == {"clipped"}


@pytest.mark.parametrize(
    "name", ["DDPM", "DDPM of v", "DDPM of x0", "DDIM", "Euler", "Euler of v", "Euler ancestral", "LMS", "Heun", "DPM2", "DPM2 ancestral", "EDM"]
)
def test_the_answer_is_the_schedulers_own_x0(name: str) -> None:
    pipe = pipeline(name)
    with dd.record(pipe) as film:
        pipe()
    own = pipe.own[::2] if name in ("Heun", "DPM2", "DPM2 ancestral") else pipe.own  # of the two looks of a step the one from which it goes on
    assert len(own) == len(film[0])
    for found, expected in zip(film[0].denoised, own, strict=True):
        assert off(found, expected) <= 1e-5


def test_units_are_those_in_which_a_scheduler_holds_its_samples() -> None:
    def first(name: str) -> Trajectory:
        pipe = pipeline(name)
        with dd.record(pipe) as film:
            pipe()
        return film[0]

    scaled, preserving, flow = first("Euler"), first("DDIM"), first("flow matching")
    assert scaled.alpha.tolist() == [1.0] * 10
    assert torch.allclose(preserving.alpha**2 + preserving.sigma**2, torch.ones(10).double())
    assert torch.allclose(scaled.sigma, preserving.sigma / preserving.alpha, rtol=1e-5), "one grid in two units"
    assert flow.alpha[0] == 0 and torch.equal(flow.alpha + flow.sigma, torch.ones(10).double())


def test_what_is_clipped_is_recorded_before_and_counted() -> None:
    pipe = Tiny(library.DDPMScheduler(clip_sample=True))
    with dd.record(pipe) as film:
        pipe()
    one = film[0]
    assert max(own.abs().max().item() for own in pipe.own) <= 1
    assert off(one.denoised[0], exact(one.x[0], float(one.alpha[0]), float(one.sigma[0])).float()) <= 1e-3
    pipe.unet.said = lambda x, x0, a, s: torch.full_like(x, 1e3)
    with dd.record(pipe) as film:
        pipe()
    assert torch.equal(film[0].columns["clipped"], torch.ones(10, 3)), "all lie far outside"
    assert film[0].denoised.abs().max() > 1


def test_codes_are_not_pixels() -> None:
    pipe = pipeline()
    pipe.vae = object()
    with dd.record(pipe) as film:
        pipe()
    assert film[0].provenance["space"] == "latents" and not film[0].columns


@pytest.mark.parametrize("guided", ["at once", "in turn"])
@pytest.mark.parametrize("name", ["DDIM", "Euler", "DDPM of v", "flow matching"])
def test_the_guidance_gap_is_in_units_of_x0(name: str, guided: str) -> None:
    """The condition moves every element of x0 by a quarter, and guidance 3 by three of them."""
    pipe = pipeline(name, guided)
    with dd.record(pipe) as film:
        pipe()
    one = film[0]
    gap = one.columns["guidance gap"]
    assert gap.shape == (10, 3)
    rounding = 1e-5 * (1 + one.sigma / one.alpha.clamp(min=0.1))
    assert bool(((gap - 0.25).abs() <= rounding[:, None]).all())
    moved = one.denoised[-1] - exact(one.x[-1], float(one.alpha[-1]), float(one.sigma[-1])).float()
    assert torch.allclose(moved, torch.full_like(moved, 0.75), atol=1e-4)


def test_a_look_without_guidance_among_others_has_no_gap() -> None:
    pipe = pipeline(guided="at once")

    def later(_: torch.Tensor) -> None:
        pipe.guided = ""

    pipe.after = later
    with dd.record(pipe) as film:
        pipe()
    gap = film[0].columns["guidance gap"]
    assert torch.isfinite(gap[0]).all() and gap[1:].isnan().all()


def test_samples_that_are_stepped_twice_for_guidance_are_one_item_each() -> None:
    """DiT leaves the doubled batch doubled, to the last step."""
    torch.manual_seed(0)
    settings = {"num_attention_heads": 2, "attention_head_dim": 8, "in_channels": 4, "out_channels": 8, "num_layers": 1, "sample_size": 4, "norm_num_groups": 4}
    transformer = library.DiTTransformer2DModel(**settings).eval()
    blocks = {"down_block_types": ("DownEncoderBlock2D",), "up_block_types": ("UpDecoderBlock2D",), "block_out_channels": (4,), "norm_num_groups": 4}
    vae = library.AutoencoderKL(**blocks, latent_channels=4).eval()
    pipe = library.DiTPipeline(transformer, vae, library.DDIMScheduler(clip_sample=False))
    pipe.set_progress_bar_config(disable=True)

    def made() -> np.ndarray:
        return pipe([1, 2, 3], guidance_scale=4.0, num_inference_steps=3, generator=torch.Generator().manual_seed(0), output_type="np").images

    without = made()
    with dd.record(pipe) as film:
        assert np.array_equal(made(), without)
    assert film[0].items == 3 and film[0].columns["guidance gap"].shape == (3, 3)
    assert (film[0].columns["guidance gap"] > 0).all() and film[0].provenance["space"] == "latents"


@pytest.mark.parametrize("kind", ["DDPM", "DDIM"])
def test_pipelines_of_diffusers_are_recorded_as_they_are(kind: str) -> None:
    torch.manual_seed(3)
    blocks = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2, "block_out_channels": (8, 8), "norm_num_groups": 4}
    unet = library.UNet2DModel(sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, **blocks).eval()
    pipe = getattr(library, f"{kind}Pipeline")(unet, getattr(library, f"{kind}Scheduler")())
    pipe.set_progress_bar_config(disable=True)

    def made() -> np.ndarray:
        return pipe(batch_size=4, num_inference_steps=5, generator=torch.Generator().manual_seed(1), output_type="np").images

    without = made()
    with dd.record(pipe) as film:
        assert np.array_equal(made(), without)
    one = film[0]
    assert one.items == 4 and len(one) == 5 and one.walk == Recorded(f"{kind}Pipeline", f"{kind}Scheduler")
    assert torch.allclose((one.origin / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1), torch.from_numpy(without), atol=1e-6)


def test_everything_is_put_back_even_after_a_failure() -> None:
    pipe = pipeline()
    attributes, hooks = set(vars(pipe.scheduler)), dict(pipe.unet._forward_hooks)

    def fails(_: torch.Tensor) -> None:
        raise RuntimeError("the pipeline broke")

    pipe.after = fails
    with pytest.raises(RuntimeError, match="the pipeline broke"), dd.record(pipe) as film:
        assert pipe.unet._forward_hooks and "step" in vars(pipe.scheduler)
        pipe()
    assert not {"step", "set_timesteps"} & set(vars(pipe.scheduler)) and attributes <= set(vars(pipe.scheduler))
    assert pipe.unet._forward_hooks == hooks
    assert len(film) == 1 and len(film[0]) == 1, "what was seen until then is kept"
    assert film[0].provenance["ended"] == "before its last step"


def test_what_stood_on_the_scheduler_before_stands_there_afterwards() -> None:
    pipe, seen = pipeline(), []
    method = pipe.scheduler.step

    def watched(model_output: torch.Tensor, timestep: int, sample: torch.Tensor) -> object:
        seen.append(timestep)
        return method(model_output, timestep, sample)

    pipe.scheduler.step = watched
    with dd.record(pipe) as film:
        pipe()
    assert pipe.scheduler.step is watched and len(seen) == len(film[0]) == 10


def test_a_second_recording_of_the_same_scheduler_is_refused() -> None:
    pipe = pipeline()
    with dd.record(pipe) as film:
        with pytest.raises(AlreadyRecording, match="is being recorded already"), dd.record(Tiny(pipe.scheduler)):
            pass
        pipe()
    assert len(film) == 1, "the first goes on"
    with dd.record(pipe) as again:
        pipe()
    assert len(again) == 1 and len(film) == 1


def test_pipelines_that_ask_what_a_step_takes_are_told() -> None:
    pipe = pipeline()
    parameters = [inspect.signature(one).parameters for one in (pipe.scheduler.step, pipe.scheduler.set_timesteps)]
    with dd.record(pipe):
        assert [inspect.signature(one).parameters for one in (pipe.scheduler.step, pipe.scheduler.set_timesteps)] == parameters
        assert {"eta", "generator"} <= set(inspect.signature(pipe.scheduler.step).parameters)


def test_a_copy_of_the_scheduler_moves_itself_and_is_not_recorded() -> None:
    """Some pipelines step a copy beside their scheduler, or put the scheduler's attributes aside and back."""
    pipe = pipeline("Euler")
    with dd.record(pipe) as film:
        pipe.scheduler.set_timesteps(10)
        beside = copy.deepcopy(pipe.scheduler)
        beside.is_scale_input_called = True
        beside.step(torch.zeros(1, *SHAPE), beside.timesteps[0], torch.zeros(1, *SHAPE))
        assert (beside.step_index, pipe.scheduler.step_index, len(film)) == (1, None, 0)
        vars(pipe.scheduler).update(copy.deepcopy(vars(pipe.scheduler)))
        pipe()
    assert len(film) == 1 and "step" not in vars(pipe.scheduler)


def test_tensors_are_copies_that_the_pipeline_cannot_alter() -> None:
    pipe, plain = pipeline(), pipeline()
    with dd.record(plain) as untouched:
        plain()

    def scribbles(x: torch.Tensor) -> None:
        if len(film[0]) == 10:
            x.fill_(7.0)

    pipe.after = scribbles
    with dd.record(pipe) as film:
        assert bool((pipe() == 7).all())
    assert torch.equal(film[0].origin, untouched[0].origin) and torch.equal(film[0].x, untouched[0].x)


def test_half_precision_is_kept_as_single() -> None:
    pipe = pipeline()
    with dd.record(pipe) as film:
        made = pipe(dtype=torch.bfloat16)
    assert made.dtype == torch.bfloat16 and film[0].x.dtype == film[0].denoised.dtype == film[0].origin.dtype == torch.float32
    assert torch.equal(film[0].origin, made.float())


def test_a_gradient_through_the_sampler_is_not_cut() -> None:
    pipe = pipeline()
    pipe.scheduler.set_timesteps(10)
    x = torch.ones(1, *SHAPE, requires_grad=True)
    with dd.record(pipe) as film:
        pipe.scheduler.step(x * 0.5, pipe.scheduler.timesteps[0], x).prev_sample.sum().backward()
    assert x.grad is not None and not film[0].x.requires_grad and not film[0].denoised.requires_grad


def test_a_learned_variance_is_left_out() -> None:
    plain, twice = pipeline(), library.DDPMScheduler(clip_sample=False, variance_type="learned_range")
    with dd.record(Tiny(twice, plain.unet)) as film:
        twice.set_timesteps(10)
        x, t = torch.ones(2, *SHAPE), twice.timesteps[0]
        said = plain.unet(x, t)[0].detach()
        own = twice.step(torch.cat([said, torch.zeros_like(said)], 1), t, x).pred_original_sample
    assert off(film[0].denoised[0], own) <= 1e-5


def test_only_looks_between_two_levels_and_the_newest_are_kept() -> None:
    whole, some, none = ([], [], [])
    for keep, into in ((None, whole), ((0.5, 3.0), some), ((0.0, 0.0), none)):
        pipe = pipeline("Euler")
        with dd.record(pipe, keep=keep) as film:
            pipe()
            assert len(film) == 1, "the present call is there before the end"
        into.append(film[0])
    wanted = (whole[0].sigma >= 0.5) & (whole[0].sigma <= 3.0)
    wanted[-1] = True
    assert 2 < int(wanted.sum()) < 10 and torch.equal(some[0].sigma, whole[0].sigma[wanted])
    assert torch.equal(some[0].x, whole[0].x[wanted]) and torch.equal(some[0].columns["clipped"], whole[0].columns["clipped"][wanted])
    assert torch.equal(none[0].sigma, whole[0].sigma[-1:]) and torch.equal(none[0].origin, whole[0].origin)


def test_a_call_may_be_given_up_on_the_way() -> None:
    pipe, asked = pipeline(), []

    def enough(looks: list[Look]) -> bool:
        asked.append(len(looks))
        return len(looks) == 4

    with dd.record(pipe, stop=enough) as film:
        with pytest.raises(Abandoned, match="after 4 looks"):
            pipe()
        assert asked == [1, 2, 3, 4]
        with pytest.raises(Abandoned):
            pipe()
    assert not issubclass(Abandoned, dd.DiffidentError), "it is no refusal"
    assert [len(one) for one in film] == [4, 4] and film[0].provenance["ended"] == "before its last step"
    assert torch.equal(pipe(), pipeline()()), "the pipeline is as it was"


def test_a_call_without_a_new_grid_begins_where_the_noise_rises_again() -> None:
    pipe = pipeline()
    pipe.scheduler.set_timesteps(10)
    with dd.record(pipe) as film:
        for n in (2, 2, 3):
            for t in (pipe.scheduler.timesteps[3:7], pipe.scheduler.timesteps[7:])[n == 3]:
                pipe.scheduler.step(torch.zeros(n, *SHAPE), t, torch.zeros(n, *SHAPE))
    assert [(len(one), one.items) for one in film] == [(4, 2), (4, 2), (3, 3)]


REFUSED = {
    "no pipeline": (lambda: dd.record("a picture"), InvalidSetting, "got a str"),
    "a way up": (lambda: dd.record(SimpleNamespace(scheduler=library.DDIMInverseScheduler())), InvalidSetting, "goes up to the noise"),
    "unknown": (lambda: dd.record(SimpleNamespace(scheduler=library.CMStochasticIterativeScheduler())), InvalidSetting, "is not known here"),
    "no bounds": (lambda: dd.record(pipeline(), keep=(2.0, 1.0)), InvalidSetting, r"got keep=\(2.0, 1.0\)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_recorded_is_refused_in_words(case: str) -> None:
    made, kind, words = REFUSED[case]
    with pytest.raises(kind, match=words):
        made()


def test_levels_that_differ_within_a_look_are_refused() -> None:
    pipe = pipeline("flow matching")
    pipe.scheduler.set_timesteps(4)
    x = torch.zeros(2, 3, 4)
    with dd.record(pipe), pytest.raises(InvalidSetting, match="one for each token"):
        pipe.scheduler.step(x, pipe.scheduler.timesteps[0], x, per_token_timesteps=torch.ones(2, 3))
    pipe = pipeline()
    pipe.scheduler.step = lambda model_output, timestep, sample: (sample,)
    with dd.record(pipe), pytest.raises(InvalidSetting, match="gave its DDIMScheduler the steps"):
        pipe.scheduler.step(x, torch.tensor([3, 4]), x)
    with dd.record(pipe), pytest.raises(WrongShape, match="as many elements are wanted"):
        pipe.scheduler.step(x[..., :2], torch.tensor(3), x)
