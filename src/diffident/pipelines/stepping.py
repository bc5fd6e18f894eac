"""What a scheduler of diffusers says of the step that it takes: at which level its network was asked, and which x0 the answer means.

Schedulers hold x in units of their own. With r = sigma / alpha, the number that those with a table of ``sigmas`` keep:

    preserving   alpha^2 + sigma^2 = 1     DDPM, DDIM, LCM, PNDM, DPM-Solver, UniPC, DEIS
    scaled       alpha = 1, sigma = r      Euler, Heun, LMS, DPM2, EDM: x = x0 + sigma eps
    flow         alpha = 1 - sigma         flow matching, which starts at alpha = 0

Only public attributes are read, and nothing is written.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import InvalidSetting, WrongShape
from .parametrisations import Edm, Flow, Parametrisation, spoken_to


@dataclass(frozen=True, eq=False)
class Stepping:
    """One scheduler, read while it steps.

    Attributes:
        family: in whose words it hears its network.
        scaled: whether it holds x as x0 + sigma eps.
    """

    scheduler: Any
    family: Parametrisation
    scaled: bool

    @property
    def name(self) -> str:
        return type(self.scheduler).__name__

    @property
    def trying(self) -> bool:
        """Before a step: whether the network was asked about a trial point, from which a solver of second order does not go on."""
        return not getattr(self.scheduler, "state_in_first_order", True)

    def level(self, timestep: Any) -> tuple[float, float]:
        """After a step: (alpha, sigma) at which the network had been asked.

        Raises:
            InvalidSetting: a step number for each item or token.
        """
        table = getattr(self.scheduler, "sigmas", None)
        if table is None:
            bar = float(self.scheduler.alphas_cumprod[self._step(timestep)])
            return math.sqrt(bar), math.sqrt(1 - bar)
        ratio = float(table[self.scheduler.step_index - 1])  # a step ends by counting itself
        if isinstance(self.family, Flow):
            return 1 - ratio, ratio
        return (1.0, ratio) if self.scaled else (1 / math.hypot(1, ratio), ratio / math.hypot(1, ratio))

    def answer(self, output: Tensor, x: Tensor, alpha: float, sigma: float) -> Tensor:
        """The x0 that an output means for x = alpha x0 + sigma eps; the half that says variances is left out.

        Raises:
            WrongShape: an output that does not fit x.
        """
        mean = output[:, : x.shape[1]]
        if mean.shape != x.shape:
            raise WrongShape(f"the {self.name} was given an output {tuple(output.shape)} for x {tuple(x.shape)}; as many elements are wanted, or twice as many")
        a, s = (torch.tensor(level, dtype=torch.float64) for level in (alpha, sigma))
        if self.scaled:
            a, s = (one[0] for one in self.family.pair((s / a)[None]))
        return self.family.answer(mean, x * (a / alpha) if self.scaled else x, a, s)

    def ends(self, timestep: Any) -> bool:
        """Whether a step number is the last of the present run."""
        steps = getattr(self.scheduler, "timesteps", None)
        return steps is None or float(torch.as_tensor(timestep).reshape(-1)[0]) == float(steps[-1])

    def _step(self, timestep: Any) -> int:
        steps = torch.as_tensor(timestep).reshape(-1).tolist()
        if len(set(steps)) != 1:
            raise InvalidSetting(f"all items of a look have one level; this pipeline gave its {self.name} the steps {steps}. It cannot be recorded")
        return int(steps[0])


def stepping(scheduler: Any) -> Stepping:
    """How that scheduler is read.

    Raises:
        InvalidSetting: a family that is not known here, or one that goes up to the noise.
    """
    name = type(scheduler).__name__
    if "Inverse" in name:
        raise InvalidSetting(f"a {name} goes up to the noise, and runs that come down to a sample are recorded; of a given item ask the walk Encode")
    family = spoken_to(scheduler)
    start = float(getattr(scheduler, "init_noise_sigma", 1.0))
    return Stepping(scheduler, family, isinstance(family, Edm) or (start != 1.0 and not isinstance(family, Flow)))
