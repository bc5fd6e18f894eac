"""What somebody else's network is told, and what its output says, whether or not diffusers is installed."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch

from diffident import levels
from diffident.adapters import diffusers
from diffident.denoiser import GaussianMixture
from diffident.errors import InvalidSetting, MissingPackage, NoActivations
from diffident.networks import of_diffusers
from diffident.pipelines.diffusers import bridged
from diffident.pipelines.parametrisations import Edm, Flow, Preserving, of_scheduler

#: families with a range that is asked within and beyond
FAMILIES = {
    "epsilon": Preserving(np.geomspace(0.01, 20, 500), "epsilon"),
    "sample": Preserving(np.geomspace(0.01, 20, 500), "sample"),
    "v_prediction": Preserving(np.geomspace(0.01, 20, 500), "v_prediction"),
    "flow": Flow(),
    "edm": Edm(0.5, 0.002, 80.0),
}


def taught(family: object, truth: GaussianMixture) -> object:
    """A network that has learned a known truth without fault, in its family's own words."""

    def ask(shown: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        if isinstance(family, Flow):
            s = told / family.clock
            a = 1 - s
        elif isinstance(family, Edm):
            s, a = (4 * told).exp(), torch.ones_like(told)
        else:
            ratio = torch.from_numpy(np.exp(np.interp(told.numpy(), np.arange(len(family.ratios)), np.log(family.ratios))))
            a, s = family.pair(ratio)
        wide = [one.reshape(-1, 1).to(shown) for one in (a, s)]
        x = shown * (wide[1] ** 2 + 0.25).sqrt() if isinstance(family, Edm) else shown
        x0 = truth(x, a.to(x), s.to(x))
        eps = (x - wide[0] * x0) / wide[1]
        if isinstance(family, Edm):
            spread = wide[1] ** 2 + 0.25
            return (x0 - 0.25 / spread * x) * spread.sqrt() / (0.5 * wide[1])
        kinds = {"epsilon": eps, "sample": x0, "v_prediction": wide[0] * eps - wide[1] * x0}
        return eps - x0 if isinstance(family, Flow) else kinds[family.prediction]

    return ask


@pytest.mark.parametrize("name", FAMILIES)
def test_a_perfect_network_gives_the_exact_answer(name: str) -> None:
    """Levels between training steps too, one for each item, and beyond the loudest where a Gaussian is known."""
    family = FAMILIES[name]
    truth = GaussianMixture(torch.tensor([[-0.5, 0.1], [0.6, 0.3]]).double(), torch.tensor([0.02, 0.1]).double())
    ratios = torch.tensor([0.0123, 0.3, 1.0, 3.7, 15.0]).double()
    for unit in (torch.ones(5).double(), 1 / (1 + ratios), 1 / torch.hypot(torch.ones(5).double(), ratios)):
        x = truth.draw(5) * unit[:, None] + (ratios * unit)[:, None] * torch.randn(5, 2, generator=torch.Generator().manual_seed(2)).double()
        expected = truth(x, unit, ratios * unit).float()
        assert torch.allclose(bridged(x, unit, ratios * unit, family, taught(family, truth)), expected, atol=2e-5)
    gaussian = GaussianMixture(torch.zeros(1, 2).double(), torch.tensor([0.25]).double())
    x = torch.randn(4, 2, generator=torch.Generator().manual_seed(1)).double()
    for alpha in (1e-2, 1e-4, 0.0):
        found = bridged(x, alpha, 1.0, family, taught(family, gaussian))
        assert torch.allclose(found, gaussian(x, alpha, 1.0).float(), atol=1e-5)
    faint = bridged(x, 1.0, 1e-3, family, taught(family, gaussian))
    assert torch.allclose(faint, gaussian(x, 1.0, 1e-3).float(), atol=1e-4 if family.faintest > 1e-3 else 1e-6)


class DDPM:
    """A scheduler of the house's own linear grid, as far as it is looked at."""

    def __init__(self, **more: object) -> None:
        self.alphas_cumprod = torch.tensor(levels.linear(1000).alpha, dtype=torch.float64).square()
        self.config = {"num_train_timesteps": 1000, **more}


def test_a_training_step_has_the_level_of_the_houses_own_grid() -> None:
    grid = levels.linear(1000)
    ratio = torch.tensor(grid.sigma, dtype=torch.float64) / torch.tensor(grid.alpha, dtype=torch.float64)
    assert of_scheduler(DDPM()).told(ratio).tolist() == list(range(1000))
    between = of_scheduler(DDPM()).told((ratio[1:] * ratio[:-1]).sqrt())
    assert np.allclose(between, np.arange(999) + 0.5), "halfway in the logarithm of the ratio"
    single = ratio.float().double()
    assert of_scheduler(DDPM()).told(single).tolist() == list(range(1000)), "levels in single precision are whole steps too"


class FlowMatching:
    """A scheduler of flow matching, as far as it is looked at."""

    config: ClassVar = {"num_train_timesteps": 1000, "prediction_type": "flow_prediction"}


@pytest.mark.parametrize("network", ["AuraFlowTransformer2DModel", "FluxTransformer2DModel", "SomethingNew"])
def test_who_is_told_another_time_wants_a_clock(network: str) -> None:
    """A scheduler counts to a thousand whatever its pipeline makes of that: silence would ask these at a thousandth of the noise, or a thousand times it."""
    with pytest.raises(InvalidSetting, match=f"what a {network} is told of the noise is not known here.*clock=1.0 where it divides, clock=1000.0"):
        of_scheduler(FlowMatching(), network=network)
    half = torch.ones(1, dtype=torch.float64)
    assert of_scheduler(FlowMatching(), clock=1.0, network=network).told(half).tolist() == [0.5]
    assert of_scheduler(FlowMatching(), network="SD3Transformer2DModel").told(half).tolist() == [500]


def test_a_clock_that_runs_backwards_is_refused_whatever_is_said() -> None:
    for clock in (None, 1.0):
        with pytest.raises(InvalidSetting, match="is told 1 - t where others are told t"):
            of_scheduler(FlowMatching(), clock=clock, network="LuminaNextDiT2DModel")


class Net(torch.nn.Module):
    """A network with the manners of diffusers: it doubles its channels for variances, and a class moves its output."""

    def __init__(self, **config: object) -> None:
        super().__init__()
        self.config = {"in_channels": 1, "sample_size": 8, **config}
        self.down_blocks = torch.nn.ModuleList([torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.Conv2d(4, 4, 3, padding=1)])
        self.mid_block = torch.nn.Conv2d(4, 4, 1)
        self.up_blocks = torch.nn.ModuleList([torch.nn.Identity(), torch.nn.Conv2d(4, 2, 1)])
        self.seen: list[torch.Tensor] = []

    def forward(self, sample: torch.Tensor, timestep: torch.Tensor, class_labels: torch.Tensor | None = None, return_dict: bool = True) -> tuple:
        assert not return_dict and timestep.shape == (len(sample),)
        self.seen.append(timestep)
        x = sample + timestep[:, None, None, None] / 1000 + (0 if class_labels is None else class_labels.reshape(-1, 1, 1, 1))
        for part in (*self.down_blocks, self.mid_block, *self.up_blocks):
            x = part(x)
        return (x,)


def asked(net: Net, given: object = None, **more: object) -> object:
    return diffusers.model(SimpleNamespace(components={"unet": net, "scheduler": DDPM(**more)}, config={}), given=given).denoiser


@torch.no_grad()
def test_levels_may_differ_from_item_to_item() -> None:
    net = Net().eval()
    denoiser, x, grid = asked(net), torch.randn(3, 1, 8, 8), list(levels.linear(1000))
    alpha, sigma = (torch.tensor([grid[step][i] for step in (3, 500, 999)]) for i in (0, 1))
    found = denoiser(x, alpha, sigma)
    assert net.seen[-1].tolist() == [3.0, 500.0, 999.0]
    eps = net(x, net.seen[-1], return_dict=False)[0][:, :1]
    wide = [one[:, None, None, None] for one in (alpha, sigma)]
    assert torch.allclose(found, (x - wide[1] * eps) / wide[0], rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_a_class_and_a_stream_are_asked_for_by_name() -> None:
    net, x = Net(num_class_embeds=3).eval(), torch.zeros(2, 1, 8, 8)
    with pytest.raises(InvalidSetting, match="asked without class_labels"):
        asked(net)
    second = asked(net, given=2)
    assert not torch.equal(second(x, 0.6, 0.8), second.given(1)(x, 0.6, 0.8))
    _, held = second.watched(x, 0.6, 0.8, ["down0", "finest"])
    assert held["down0"].shape == (2, 4, 8, 8) and held["finest"].shape == (2, 2, 8, 8)
    with pytest.raises(NoActivations, match="it has: down0, deepest, finest"):
        second.watched(x, 0.6, 0.8, ["up1"])
    assert not any(part._forward_hooks for part in net.modules())


def test_every_setting_that_says_something_is_part_of_what_a_network_is() -> None:
    torch.manual_seed(0)
    first, digest = Net().eval(), of_diffusers.digest
    was = digest(first)
    first.config["added_later"] = None
    assert digest(first) == was
    first.config["act_fn"] = "mish"
    assert digest(first) != was


def test_without_diffusers_a_folder_is_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    (tmp_path / "model_index.json").write_text(
        '{"_class_name": "DDPMPipeline", "scheduler": ["diffusers", "DDPMScheduler"], "unet": ["diffusers", "UNet2DModel"]}'
    )
    with pytest.raises(MissingPackage, match=r"pip install 'diffident\[diffusers\]'"):
        diffusers.model(tmp_path)
