"""EDM and k-diffusion: a model of any D(x, sigma) that takes the noise off x = x0 + sigma eps.

from diffident.adapters import karras
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NoReturn

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..denoiser import Level, StoredDenoiser
from ..errors import InvalidSetting, NoActivations, Unconditional, WrongShape
from ..modalities.image import Image
from ..model import CHUNK, Model
from ..networks import of_diffusers
from ..pipelines.diffusers import bridged
from ..pipelines.parametrisations import Parametrisation

#: The range of EDM's sampler, where a callable does not say its own.
SIGMA_MIN, SIGMA_MAX, SIGMA_DATA = 0.002, 80.0, 0.5

#: D(x, sigma), with x = x0 + sigma eps (n, *shape) and sigma (n,), gives E[x0 | x], (n, *shape).
Asked = Callable[..., Tensor]


@dataclass(frozen=True)
class Exploding(Parametrisation):
    """x = x0 + sigma eps, and the output is x0 itself: preconditioning is the callable's own affair."""

    faintest: float
    loudest: float
    data: float

    def pair(self, ratio: Float[Tensor, " n"]) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
        return torch.ones_like(ratio), ratio

    def told(self, ratio: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        return ratio

    def answer(self, output: Tensor, x: Tensor, a: Tensor, s: Tensor) -> Tensor:
        return output

    def config(self) -> dict[str, Any]:
        return {"family": "exploding", "faintest": self.faintest, "loudest": self.loudest, "data": self.data}


@dataclass(frozen=True, eq=False)
class Karras(StoredDenoiser):
    """A callable D(x, sigma) as a denoiser: asked about x_t / alpha at sigma / alpha. :func:`model` makes one.

    It can be identified, and so calibrated; its code is not ours, so that it cannot be kept in a folder. Levels beyond its range are
    answered as :class:`diffident.pipelines.diffusers.Pretrained` says.

    Attributes:
        asked: the callable.
        parametrisation: its range, and the deviation of what it was trained on.
        name: what tells it from others, beside its weights if it is a torch module.
        label: the name by which it takes a class.
        classes: how many it tells apart, if it takes one as a vector with a single 1; 0 if it takes a number.
        condition: what it is given by that name, for one item (1, ...); None for nothing.
    """

    asked: Asked
    parametrisation: Exploding
    name: str
    label: str = "class_labels"
    classes: int = 0
    condition: Tensor | None = None

    def __call__(self, x_t: Float[Tensor, "n *shape"], alpha: Level, sigma: Level) -> Float[Tensor, "n *shape"]:
        with torch.set_grad_enabled(torch.is_grad_enabled() and x_t.requires_grad):
            return bridged(x_t, alpha, sigma, self.parametrisation, self._asked)

    def watched(
        self, x_t: Float[Tensor, "n *shape"], alpha: Level, sigma: Level, streams: Sequence[str]
    ) -> tuple[Float[Tensor, "n *shape"], Mapping[str, Tensor]]:
        """As a denoiser's; a stream is what a part of the module answers, by the part's name in torch, such as ``inner_model.mid``."""
        parts, held = dict(self.asked.named_modules()) if isinstance(self.asked, nn.Module) else {}, {}
        if unknown := [name for name in streams if not name or name not in parts]:
            some = [name for name in parts if name][:8]
            raise NoActivations(
                f"{self.name!r} has no part called {', '.join(unknown)}; a stream is named as a part of the module: {', '.join(some) or 'none here'}"
            )

        def keep(name: str, stream: Tensor) -> None:
            held[name] = stream.to(x_t.device, torch.float32)

        with of_diffusers.watching({name: (parts[name], False) for name in streams}, keep, (0, 0)):
            return self(x_t, alpha, sigma), held

    def given(self, condition: object) -> Karras:
        """The denoiser of one class by its number, or of what a tensor (1, ...) says.

        Raises:
            Unconditional: a number that is no class, or something else.
        """
        if isinstance(condition, Tensor) and len(condition) == 1:
            return replace(self, condition=condition.detach())
        if not isinstance(condition, int) or condition < 0 or (self.classes and condition >= self.classes):
            known = f"a class, 0 to {self.classes - 1}," if self.classes else "the number of a class"
            raise Unconditional(f"{self.name!r} takes {known} or a tensor (1, ...) for each item; it was given {condition!r}")
        one = torch.tensor([condition])
        return replace(self, condition=nn.functional.one_hot(one, self.classes).float() if self.classes else one)

    @cached_property
    def _digest(self) -> str:
        return of_diffusers.digest(self.asked) if isinstance(self.asked, nn.Module) else ""

    def identity(self) -> dict[str, Any]:
        return {"name": self.name, "digest": self._digest, "parametrisation": self.parametrisation.config(), "label": self.label, "classes": self.classes}

    @property
    def kind(self) -> str:
        return "karras"

    def config(self) -> NoReturn:
        """Refuse.

        Raises:
            InvalidSetting: always; what a callable does is code, and code is not kept.
        """
        raise InvalidSetting(
            f"{self.name!r} is a callable, whose code cannot be kept in a folder; keep its scores (Scores.save) and fit on them, or make a StoredDenoiser "
            "of your own and announce it in the entry points diffident.denoisers"
        )

    def tensors(self) -> dict[str, Tensor]:
        return {} if self.condition is None else {"given": self.condition}

    @classmethod
    def made_of(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> NoReturn:
        """Refuse, as :meth:`config` does.

        Raises:
            InvalidSetting: always.
        """
        raise InvalidSetting("a callable D(x, sigma) is not made of data; take diffident.adapters.karras.model of it again")

    def untrained(self, seed: int = 0) -> Karras:
        """The same module, each of its tensors drawn anew with its own mean and deviation.

        Raises:
            InvalidSetting: it is no torch module, so that there are no weights to draw.
        """
        if not isinstance(self.asked, nn.Module):
            raise InvalidSetting(f"{self.name!r} is a plain function, and a control of it has no weights to draw; give a torch module")
        return replace(self, asked=of_diffusers.redrawn(self.asked, seed))

    def _asked(self, shown: Tensor, told: Tensor) -> Tensor:
        device, dtype = shown.device, shown.dtype
        if isinstance(self.asked, nn.Module):
            of_diffusers.require_asking(self.asked)
            device, dtype = of_diffusers.placed(self.asked)
        more = {} if self.condition is None else {self.label: self.condition.to(device).expand(len(shown), *self.condition.shape[1:])}
        output = self.asked(shown.to(device, dtype), told.to(device, dtype), **more)
        if output.shape != shown.shape:
            raise WrongShape(f"{self.name!r} answers {tuple(shown.shape)} with {tuple(output.shape)}; D(x, sigma) gives x0, of the shape of x")
        return output.to(shown)


def model(
    denoiser: Asked,
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    given: object = None,
    *,
    name: str = "",
    sigma_min: float | None = None,
    sigma_max: float | None = None,
    sigma_data: float | None = None,
    label: str = "class_labels",
    chunk: int = CHUNK,
) -> Model:
    """A model of a D(x, sigma): an EDM network, a Denoiser of k-diffusion, or any function that takes noise off.

    D is shown x = x0 + sigma eps with x0 in [-1, 1], (n, channels, height, width), and sigma (n,), and gives E[x0 | x] (Karras et al. 2022,
    2206.00364). What is left open is asked of D itself where it says so, as EDM's networks do (``img_resolution``, ``img_channels``,
    ``sigma_min``, ``sigma_max``, ``sigma_data``, ``label_dim``). A detector of it can be fitted and its scores kept; its folder cannot be written.

    Args:
        denoiser: D. A torch module is asked where it lies, in its own arithmetic and in evaluation mode.
        size: of the pictures in pixels, a side or height and width.
        channels: of the pictures, 1 or 3; None: as D says, or 3.
        given: a class by its number, or a tensor (1, ...).
        name: what tells it from others. A torch module is told apart by its weights too; a plain function by its name alone, so it needs one.
        sigma_min, sigma_max: between which D was trained; None: as D says, or 0.002 and 80.
        sigma_data: the deviation of its training items; None: as D says, or 0.5. It decides only what is asked beyond ``sigma_max``.
        label: the name by which D takes a class: ``class_labels`` of EDM, ``class_cond`` of k-diffusion.
        chunk: pictures asked about at once, a multiple of 16.

    Raises:
        InvalidSetting: a size or range that cannot be, a function without a name, or a module that is being trained.
        Unconditional: a condition that it does not take.
        WrongShape: it does not give what it was shown in shape.
    """
    side = size if size is not None else getattr(denoiser, "img_resolution", None)
    if side is None or not (name or isinstance(denoiser, nn.Module)):
        raise InvalidSetting(f"D does not say {'at which size it was trained; give size, in pixels' if side is None else 'what it is; give a name of its own'}")
    low, high = _or(sigma_min, _said(denoiser, "sigma_min", SIGMA_MIN)), _or(sigma_max, _said(denoiser, "sigma_max", SIGMA_MAX))
    data = _or(sigma_data, _said(denoiser, "sigma_data", SIGMA_DATA))
    if not 0 < low < high < float("inf") or data <= 0:
        raise InvalidSetting(f"D was trained between 0 < sigma_min < sigma_max, on items of sigma_data > 0; got {low:g}, {high:g} and {data:g}")
    height, width = (side, side) if isinstance(side, int) else side
    taken = int(getattr(denoiser, "img_channels", 3)) if channels is None else channels
    called = name or type(denoiser).__name__
    made = Karras(denoiser, Exploding(low, high, data), called, label, int(getattr(denoiser, "label_dim", 0) or 0))
    made = made if given is None else made.given(given)
    with torch.no_grad():
        made(torch.zeros(1, taken, height, width), 1.0, 1.0)
    return Model(made, Image(height, width, taken), chunk=chunk, name=called, notes={"taken from": f"D(x, sigma): {type(denoiser).__name__}"})


def _said(denoiser: Asked, name: str, otherwise: float) -> float:
    """What D says of itself, unless that is no bound, as 0 and infinity are none."""
    said = getattr(denoiser, name, None)
    return float(said) if isinstance(said, int | float) and 0 < said < float("inf") else otherwise


def _or(asked: float | None, otherwise: float) -> float:
    return otherwise if asked is None else asked
