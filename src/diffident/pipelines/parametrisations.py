"""What a diffusers network is told of the noise, and what its output says about x0: one class for each family of models.

A level is known by its ratio r = sigma / alpha alone, and every family has a pair (a, s) of its own for each ratio:

    preserving   a^2 + s^2 = 1   told: the number of the training step   eps, x0 or v = a eps - s x0
    flow         a + s = 1       told: s, times a constant               v = eps - x0
    edm          a = 1           told: ln(s) / 4                         F, with x0 = c_skip x + c_out F

Items at another pair of the same ratio are brought there by a factor.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import InvalidSetting
from ..precondition import FAINTEST, LOUDEST

#: Schedulers of networks that were taught something else than to say what was there before the noise.
DISTILLED = ("LCM", "TCD", "Consistency", "CM", "SCM", "FlowMatchLCM")
#: Networks of flow matching that are told the scheduler's own number of the step; others are told what only their pipelines know.
TOLD_STEPS = ("UNet2D", "DiTTransformer", "SD3Transformer")
#: Networks of flow matching whose clock runs backwards: they are told how much of the item is there.
BACKWARDS = ("Lumina", "Mochi", "ZImage")
#: The deviation of what a network was taught on, where nothing says it.
DATA = 0.5

#: A step number that lies so close to a whole one is that one: levels reach us in single precision.
SNAP = 1e-3


class Parametrisation(ABC):
    """A family of models. ``faintest`` and ``loudest`` are the ratios of noise to signal between which one was taught.

    ``data`` is the deviation of what it was taught on, about 0; it decides only what is asked beyond ``loudest``.
    """

    faintest: float
    loudest: float
    data: float

    @abstractmethod
    def pair(self, ratio: Float[Tensor, " n"]) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
        """The family's own (a, s) of that ratio."""

    @abstractmethod
    def told(self, ratio: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """What the network is told of the noise."""

    @abstractmethod
    def answer(self, output: Tensor, x: Tensor, a: Tensor, s: Tensor) -> Tensor:
        """E[x0 | x] of the network's output for x = a x0 + s eps."""

    def shown(self, x: Tensor, s: Tensor) -> Tensor:
        """What the network is shown of x = a x0 + s eps."""
        return x

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The family and its settings, as plain data."""


@dataclass(frozen=True, eq=False)
class Preserving(Parametrisation):
    """DDPM and its kin, of T training steps.

    Between two training steps the network is told a number between theirs, linear in ln r: the embeddings of step numbers are
    sines and cosines, which know no whole numbers, and the nearest step would be up to a fifth off in r where noise is faint.
    A network that has one learned vector for each step is told the nearest.

    Attributes:
        ratios: sigma / alpha of each training step, rising; those without any signal are left out.
        prediction: ``epsilon``, ``sample`` or ``v_prediction``.
        whole: whether only whole step numbers are understood.
        logarithmic: whether ln(r) / 4 is told in place of a step number.
    """

    ratios: np.ndarray = field(repr=False)
    prediction: str
    whole: bool = False
    logarithmic: bool = False
    data: float = field(default=DATA, init=False)

    @property
    def faintest(self) -> float:  # type: ignore[override]
        return float(self.ratios[0])

    @property
    def loudest(self) -> float:  # type: ignore[override]
        return float(self.ratios[-1])

    def pair(self, ratio: Float[Tensor, " n"]) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
        return 1 / torch.hypot(torch.ones_like(ratio), ratio), ratio / torch.hypot(torch.ones_like(ratio), ratio)

    def told(self, ratio: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        if self.logarithmic:
            return ratio.log() / 4
        step = np.interp(ratio.log().numpy(), np.log(self.ratios), np.arange(len(self.ratios)))
        nearest = np.rint(step)
        return torch.from_numpy(nearest if self.whole else np.where(np.abs(step - nearest) < SNAP, nearest, step))

    def answer(self, output: Tensor, x: Tensor, a: Tensor, s: Tensor) -> Tensor:
        if self.prediction == "sample":
            return output
        return (x - s * output) / a if self.prediction == "epsilon" else a * x - s * output

    def config(self) -> dict[str, Any]:
        table = hashlib.sha256(self.ratios.astype("<f8").tobytes()).hexdigest()
        return {"family": "preserving", "prediction": self.prediction, "steps": table, "whole": self.whole, "logarithmic": self.logarithmic}


@dataclass(frozen=True, eq=False)
class Flow(Parametrisation):
    """Flow matching: x_t = (1 - t) x0 + t eps, and the network says v = eps - x0, so that x0 = x_t - t v.

    Attributes:
        clock: the network is told ``clock`` times t.
    """

    clock: float = 1000.0
    faintest: float = field(default=FAINTEST, init=False)
    loudest: float = field(default=LOUDEST, init=False)
    data: float = field(default=DATA, init=False)

    def pair(self, ratio: Float[Tensor, " n"]) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
        return 1 / (1 + ratio), ratio / (1 + ratio)

    def told(self, ratio: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        return self.clock * ratio / (1 + ratio)

    def answer(self, output: Tensor, x: Tensor, a: Tensor, s: Tensor) -> Tensor:
        return x - s * output

    def config(self) -> dict[str, Any]:
        return {"family": "flow", "clock": self.clock}


@dataclass(frozen=True, eq=False)
class Edm(Parametrisation):
    """Karras et al. 2022 (2206.00364), eq. 7: x0 = c_skip x + c_out F(c_in x, ln(sigma) / 4).

    Attributes:
        data: the deviation of the items it was trained on, sigma_data.
        sign: 1, or -1 for networks that give -F (``v_prediction``).
    """

    data: float
    faintest: float
    loudest: float
    sign: float = 1.0

    def pair(self, ratio: Float[Tensor, " n"]) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
        return torch.ones_like(ratio), ratio

    def told(self, ratio: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        return ratio.log() / 4

    def shown(self, x: Tensor, s: Tensor) -> Tensor:
        return x / (s.square() + self.data**2).sqrt()

    def answer(self, output: Tensor, x: Tensor, a: Tensor, s: Tensor) -> Tensor:
        spread = s.square() + self.data**2
        return self.data**2 / spread * x + self.sign * s * self.data / spread.sqrt() * output

    def config(self) -> dict[str, Any]:
        return {"family": "edm", "data": self.data, "faintest": self.faintest, "loudest": self.loudest, "sign": self.sign}


def of_scheduler(scheduler: Any, whole: bool = False, clock: float | None = None, network: str = "") -> Parametrisation:
    """The family that a scheduler of diffusers is made for. It is read and left as it is; clipping and thresholding are its own affair.

    Args:
        whole: whether the network understands whole step numbers only.
        clock: of flow matching, what the network is told where all is noise; None takes the number of training steps.
        network: what its class is called. A scheduler does not say what of its time a network is told, so of flow matching only those do without a
            clock of which that is known here.

    Raises:
        InvalidSetting: a family that is not known here, or a network of flow matching that is told something else, or who knows what.
    """
    name = type(scheduler).__name__
    if name.startswith(DISTILLED):
        raise InvalidSetting(f"a {name} is for networks that were distilled to leap and answer no E[x0 | x_t]; take the model that they were distilled from")
    taught = spoken_to(scheduler, whole, clock)
    if isinstance(taught, Flow):
        _require_clock(network, taught.clock, clock)
    return taught


def spoken_to(scheduler: Any, whole: bool = False, clock: float | None = None) -> Parametrisation:
    """The family in whose words a scheduler hears its network, distilled ones too: those say an x0, though not the mean of all that could be.

    Raises:
        InvalidSetting: a family that is not known here.
    """
    name, config = type(scheduler).__name__, dict(scheduler.config)
    prediction = config.get("prediction_type") or "epsilon"
    if name.startswith("FlowMatch") or config.get("use_flow_sigmas") or prediction.startswith("flow"):
        return Flow(float(config.get("num_train_timesteps", 1000) if clock is None else clock))
    if clock is not None:
        raise InvalidSetting(f"a clock is told to networks of flow matching only, and a {name} is not for those; leave it out")
    if name.startswith("EDM"):
        return _edm(prediction, config)
    if "alphas_cumprod" not in vars(scheduler) or prediction not in ("epsilon", "sample", "v_prediction"):
        raise InvalidSetting(
            f"a {name} with prediction_type {prediction!r} is not known here: known are schedulers with alphas_cumprod that predict epsilon, sample or "
            "v_prediction, those of flow matching, and EDM's; for another model write a Denoiser, or take diffident.adapters.karras"
        )
    bars = torch.as_tensor(scheduler.alphas_cumprod).detach().cpu().double().numpy()
    bars = bars[bars > 0]
    ratios = np.sqrt((1 - bars) / bars)
    logarithmic = config.get("timestep_type") == "continuous" and prediction == "v_prediction"
    return Preserving(_rising(ratios, name), prediction, whole, logarithmic)


def _require_clock(network: str, steps: float, clock: float | None) -> None:
    """Refuse to guess what a network of that class is told of the noise."""
    if network.startswith(BACKWARDS):
        raise InvalidSetting(
            f"a {network} is told 1 - t where others are told t, and answers with the opposite sign, which is not known here; write a Denoiser that asks it"
        )
    if clock is None and network and not network.startswith(TOLD_STEPS):
        raise InvalidSetting(
            f"what a {network} is told of the noise is not known here: its scheduler counts to {steps:g}, and many pipelines of flow matching divide that "
            f"by {steps:g} before they ask the network. Look into its pipeline and give clock=1.0 where it divides, clock={steps:.1f} where it does not"
        )


def _edm(prediction: str, config: Mapping[str, Any]) -> Edm:
    return Edm(float(config["sigma_data"]), float(config["sigma_min"]), float(config["sigma_max"]), -1.0 if prediction == "v_prediction" else 1.0)


def _rising(ratios: np.ndarray, name: str) -> np.ndarray:
    if len(ratios) < 2 or ratios[0] <= 0 or not (np.diff(ratios) > 0).all():
        raise InvalidSetting(f"the noise of a {name} does not rise from each training step to the next, so that a level has no step; check its betas")
    return ratios
