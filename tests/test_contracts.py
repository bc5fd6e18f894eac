"""Every registered part keeps every promise of its kind, found by discovery; and the checks can fail."""

from __future__ import annotations

import atexit
import importlib.util
import shutil
import tempfile
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from diffident import registry, statistics
from diffident.adapters import diffusers
from diffident.data import Item
from diffident.denoiser import Denoiser, Empirical, GaussianMixture
from diffident.errors import ContractBroken, InvalidSetting, UnknownName
from diffident.kinds import Kinds
from diffident.modalities import Modality
from diffident.modalities.image import Image
from diffident.modalities.row import Row
from diffident.networks import network, of_diffusers
from diffident.patches import Patches
from diffident.positions import Positions
from diffident.precondition import Learned, measured
from diffident.probes import Cost, HutchinsonTrace
from diffident.spaces import InvertibleSpace
from diffident.spaces.activations import Activations
from diffident.statistics import Statistic
from diffident.steps import Step
from diffident.testing import checks
from diffident.testing.of_steps import arrows
from diffident.texture import Texture
from diffident.trajectory import Look
from diffident.walks import Encode, Walk


def parts() -> dict[str, object]:
    """One of everything that is registered; a statistic is itself, the others are made with their defaults."""
    found: dict[str, object] = {f"statistics/{name}": statistics.find(name) for name in registry.names("statistics")}
    for kind in ("walks", "probes", "spaces"):
        found |= {f"{kind}/{name}": registry.find(kind, name)() for name in registry.names(kind) if name not in ("activations", "latents")}
    found |= {"spaces/activations": Activations.of(_learned("unet"))}  # it has to be told of which network
    found |= {f"steps/{name}": registry.find("steps", name).learn(arrows(16, PICTURE)) for name in registry.names("steps")}
    found |= {"modalities/image grey": Image(12, 10, 1, 8), "modalities/image colour": Image(9, 9, 3, 8)}
    found |= {"modalities/row": Row((5.0, -3.0, 0.0), (2.0, 0.1, 7.0))}
    mixture = GaussianMixture(torch.tensor([[[-0.5, 0.1]], [[0.5, 0.3]]]), torch.tensor([0.1, 0.3]))
    found |= {"denoisers/mixture": mixture, "denoisers/empirical": Empirical(mixture.draw(50), block=7)}
    drawn = torch.randn(40, 1, 2, generator=torch.Generator().manual_seed(2))
    found |= {"denoisers/positions": Positions.fitted(drawn), "denoisers/texture": Texture.fitted(drawn), "denoisers/patches": Patches.fitted(drawn, share=0.5)}
    found |= {"denoisers/kinds": Kinds(("round", "square"), (Positions.fitted(drawn),))}
    return found | _pipelines() | {"denoisers/learned unet": _learned("unet"), "denoisers/learned mlp": _learned("mlp")}


#: What is made of a pipeline of diffusers, where that is installed.
OF_DIFFUSERS = {"denoisers/diffusers", "spaces/latents"} if importlib.util.find_spec("diffusers") else set()


def _pipelines() -> dict[str, object]:
    """Of a tiny pipeline of random weights, with an autoencoder, in a folder."""
    if not OF_DIFFUSERS:
        return {}
    library, place = of_diffusers.library(), tempfile.mkdtemp(prefix="diffident-")
    atexit.register(shutil.rmtree, place)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        settings = {"num_attention_heads": 2, "attention_head_dim": 8, "num_layers": 2, "sample_size": 4, "num_embeds_ada_norm": 5}
        halves = ("encoder", "decoder")
        coder = library.AutoencoderTiny(**{f"{half}_block_out_channels": (8, 8) for half in halves}, **{f"num_{half}_blocks": (1, 1) for half in halves})
        library.DiTPipeline(library.DiTTransformer2DModel(**settings), coder, library.DDIMScheduler(prediction_type="v_prediction")).save_pretrained(place)
    made = diffusers.model(place)
    return {"denoisers/diffusers": made.denoiser, "spaces/latents": made.space}


SHAPE = (1, 2)  # of the items of denoisers
PICTURE = (2, 40, 48)  # of the items of steps
SHAPES = {"denoisers/learned unet": (3, 6, 5), "denoisers/diffusers": (4, 4, 4)} | {f"steps/{name}": PICTURE for name in registry.names("steps")}


def _learned(kind: str) -> Learned:
    """A tiny network of random weights that speaks."""
    settings = {"unet": {"channels": 3, "widths": [32, 32], "blocks": 1, "patch": 2}, "mlp": {"shape": SHAPE, "width": 32, "blocks": 1}}[kind]
    mean, deviation = measured(torch.randn(20, *SHAPES.get(f"denoisers/learned {kind}", SHAPE), generator=torch.Generator().manual_seed(5)), kind == "mlp")
    return Learned(network(kind, settings), mean, deviation).untrained(7)


ALL = [pytest.param(check, id=f"{name}: {check.name}") for name, part in parts().items() for check in checks(part, SHAPES.get(name, SHAPE))]


@pytest.mark.parametrize("check", ALL)
def test_every_part_keeps_its_promises(check: object) -> None:
    check()


def test_every_registered_modality_is_checked() -> None:
    assert {f"modalities/{name}" for name in registry.names("modalities")} <= {key.split(" ")[0] for key in parts()}


def test_every_registered_denoiser_is_checked() -> None:
    missing = {f"denoisers/{name}" for name in registry.names("denoisers")} - {key.split(" ")[0] for key in parts()}
    assert missing == (set() if OF_DIFFUSERS else {"denoisers/diffusers"})


def statistic_with(read: object, **changes: object) -> Statistic:
    facts = {"tail": "upper", "says": "is odd", "doc": "Shape: Unit: Sign: Source: >>>", **changes}
    return Statistic("made_up", read, **facts)


BROKEN = {
    "batch": (lambda film: (film.eps - film.eps.mean(1, keepdim=True)).square().transpose(0, 1).flatten(1).mean(1), {}, "another order|alone"),
    "rank": (lambda film: torch.arange(film.items).double(), {}, "another order"),
    "nan": (lambda film: film.eps.transpose(0, 1).flatten(1).mean(1) / 0, {}, "not finite"),
    "blind": (lambda film: torch.zeros(film.items), {}, "stand out"),
    "wrong side": (lambda film: -film.eps.square().transpose(0, 1).flatten(1).mean(1), {}, "stand out"),
    "alters": (lambda film: film.origin.add_(1).flatten(1).square().mean(1), {}, "alters|again|another order"),
    "mute": (lambda film: film.eps.square().transpose(0, 1).flatten(1).mean(1), {"doc": "?"}, "lacks 'Shape:'"),
    "shouts": (lambda film: film.eps.square().transpose(0, 1).flatten(1).mean(1), {"says": "Is odd"}, "lower case"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_statistic_is_caught(case: str) -> None:
    read, changes, words = BROKEN[case]
    with pytest.raises(ContractBroken, match=words):
        for check in checks(statistic_with(read, **changes)):
            check()


@dataclass(frozen=True)
class Forgetful(InvertibleSpace):
    def encode(self, items: torch.Tensor) -> torch.Tensor:
        return items - items.mean()

    def decode(self, elements: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
        return elements

    def map_back(self, maps: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
        return maps.mean(1).flip(1)


@dataclass(frozen=True)
class Cheap(Encode):
    @property
    def evaluations(self) -> int:
        return 1


@dataclass(frozen=True)
class Free(HutchinsonTrace):
    @property
    def cost(self) -> Cost:
        return Cost()


class Company(Denoiser):
    def __call__(self, x_t: torch.Tensor, alpha: object, sigma: object) -> torch.Tensor:
        return x_t - x_t.mean(0, keepdim=True)


@dataclass(frozen=True)
class Lenient(Image):
    def open(self, item: Item) -> object:
        return super().open(Item("blank", np.zeros((self.height, self.width), np.uint8)) if item.name == "rubbish" else item)


class Levelling(Step):
    @classmethod
    def learn(cls, items: torch.Tensor) -> Levelling:
        return cls()

    def __call__(self, items: torch.Tensor) -> torch.Tensor:
        return items - items.mean()

    def config(self) -> dict[str, object]:
        return {"name": "photometry"}

    @classmethod
    def made_of(cls, config: object, tensors: object) -> Levelling:
        return cls()


@pytest.mark.parametrize("thing", [Forgetful(), Cheap(), Free(), Company(), Lenient(8, 8, 1, 8), Levelling()], ids=lambda t: type(t).__name__)
def test_a_broken_part_of_any_kind_is_caught(thing: object) -> None:
    with pytest.raises(ContractBroken):
        for check in checks(thing, PICTURE if isinstance(thing, Step) else SHAPE):
            check()


def test_what_has_no_contract_is_refused_with_the_kinds_that_have() -> None:
    with pytest.raises(InvalidSetting, match="there is no contract for a dict.*Step, Statistic"):
        list(checks({}))


def test_a_near_miss_is_suggested() -> None:
    with pytest.raises(UnknownName, match="no statistics called 'residul'; did you mean 'residual'"):
        statistics.find("residul")


def test_a_name_means_one_thing_only() -> None:
    with pytest.raises(InvalidSetting, match="two walks are called 'encode'"):
        registry.register("walks", "encode", Look)


def test_kinds_are_abstract() -> None:
    for abstract in (Denoiser, Walk, Modality):
        with pytest.raises(TypeError, match="abstract"):
            abstract()
