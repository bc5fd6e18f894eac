"""A network of diffusers as a denoiser: items brought to the levels that it was taught, its output to E[x0 | x_t]. It is asked, never changed."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .. import registry
from ..denoiser import Level, StoredDenoiser, per_item
from ..errors import DamagedModel, InvalidSetting, NoActivations, NotAModel, Unconditional, WrongShape
from ..networks import of_diffusers
from .parametrisations import Parametrisation, of_scheduler

#: Parts of a pipeline that take off noise.
NETWORKS = ("unet", "transformer")

#: A factor that lies so close to 1 is 1: levels reach us in single precision, and an item that needs no scaling stays bit by bit what it was.
CLOSE = 1e-6


@registry.registered("denoisers", "diffusers")
@dataclass(frozen=True, eq=False)
class Pretrained(StoredDenoiser):
    """A U-Net or transformer of diffusers that somebody else has trained; :func:`diffident.adapters.diffusers.model` makes one of a pipeline.

    With r = sigma / alpha, an item is asked about at the level of the same r in the network's own family, see
    ``diffident.pipelines.parametrisations``. Where r lies beyond what it was taught:

    * fainter: the noise that it finds at its faintest level is scaled down; so the answer lies within sigma / alpha of x_t / alpha.
    * louder: x_t / alpha is shrunk by (loudest^2 + d^2) / (r^2 + d^2) and asked about at the loudest level, which is right for a Gaussian
      of mean 0 and deviation d. At alpha = 0 the answer is the same for all items.

    Answers are float32 and lie where x_t does; the network is asked where it lies and in its own arithmetic. A gradient is
    carried where x_t asks for one. Weights are read when its identity is first asked for: a network that is trained on
    afterwards is another one, so make it anew.

    Attributes:
        network: takes (n, *shape), a number for each item and its conditions. In evaluation mode.
        parametrisation: what it was taught.
        conditions: what it is given beside x_t, each for one item, (1, ...), by the names of its ``forward``.
        folder: where its pipeline lies; empty if nowhere, and then it can be asked and not kept.
        part: its name in the pipeline.

    Raises:
        InvalidSetting: a network that is being trained, needs a condition and has none, or gives another number of channels than it
            takes, or twice that.
    """

    network: nn.Module = field(repr=False)
    parametrisation: Parametrisation
    conditions: Mapping[str, Tensor] = field(default_factory=dict, repr=False)
    folder: str = ""
    part: str = "unet"

    def __call__(self, x_t: Float[Tensor, "n *shape"], alpha: Level, sigma: Level) -> Float[Tensor, "n *shape"]:
        return self._answered(x_t, alpha, sigma)

    def watched(
        self, x_t: Float[Tensor, "n *shape"], alpha: Level, sigma: Level, streams: Sequence[str]
    ) -> tuple[Float[Tensor, "n *shape"], Mapping[str, Tensor]]:
        places, held = of_diffusers.streams(self.network), {}
        if unknown := [name for name in streams if name not in places]:
            raise NoActivations(f"a {type(self.network).__name__} has no stream called {', '.join(unknown)}; it has: {', '.join(places) or 'none'}")
        side = int(of_diffusers.settings(self.network).get("patch_size") or 1)
        grid = x_t.shape[2] // side, x_t.shape[3] // side

        def keep(name: str, stream: Tensor) -> None:
            held[name] = stream.to(x_t.device, torch.float32)

        with of_diffusers.watching({name: places[name] for name in streams}, keep, grid):
            answer = self._answered(x_t, alpha, sigma)
        return answer, held

    def given(self, condition: object) -> Pretrained:
        """The denoiser of one class, by its number; of a text, by its embedding (tokens, channels); or of several conditions by name, (1, ...) each.

        Names are those of the network's ``forward``; a mapping inside is reached by a dot, as in ``added_cond_kwargs.time_ids``.

        Raises:
            Unconditional: the network takes no such condition.
        """
        made = replace(self, conditions={**self.conditions, **named(self.network, condition)})
        vars(made).update({name: known for name, known in vars(self).items() if name == "identified"})  # one network: its weights are read once
        return made

    @cached_property
    def identified(self) -> str:
        """sha256 of the network, see :func:`diffident.networks.of_diffusers.digest`."""
        return of_diffusers.digest(self.network)

    def identity(self) -> dict[str, Any]:
        return {"digest": self.identified, "parametrisation": self.parametrisation.config(), "part": self.part}

    def config(self) -> dict[str, Any]:
        """The identity, and where it lies; what lies there is read, so that no folder refers to something else.

        Raises:
            InvalidSetting: it lies nowhere.
            DamagedModel, NotAModel, MissingPackage: what lies there is not this network; see :meth:`made_of`.
        """
        if not self.folder:
            raise InvalidSetting(
                "this pipeline lies in no folder that is known, and its weights stay in a folder of their own: write it with pipe.save_pretrained(FOLDER), "
                "then take diffident.adapters.diffusers.model(FOLDER)"
            )
        return self._checked

    @cached_property
    def _checked(self) -> dict[str, Any]:
        said = {**self.identity(), "folder": self.folder, "dtype": str(of_diffusers.placed(self.network)[1]).removeprefix("torch.")}
        Pretrained.made_of(said, {})
        return said

    def tensors(self) -> dict[str, Tensor]:
        """The conditions alone: weights stay where they lie."""
        return {f"given.{name}": tensor for name, tensor in self.conditions.items()}

    @classmethod
    def made_of(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Pretrained:
        """Read again from the folder of the pipeline; nothing is fetched.

        Raises:
            MissingPackage: diffusers is not installed.
            NotAModel: the folder is gone, or lacks the network or its scheduler.
            DamagedModel: what lies there now is another model.
        """
        folder, said = config["folder"], config["parametrisation"]
        again = "put the pipeline back where it was, or take diffident.adapters.diffusers.model(FOLDER) of where it is now and fit again"
        try:
            network = of_diffusers.loaded(folder, config["part"], of_diffusers.DTYPES[config["dtype"]])
            clock = said.get("clock") if said["family"] == "flow" else None
            taught = of_scheduler(of_diffusers.loaded(folder, "scheduler"), whole(network), clock, type(network).__name__)
        except NotAModel as error:
            raise NotAModel(f"this model refers to a pipeline of diffusers that cannot be used: {error}; {again}") from error
        conditions = {name.removeprefix("given."): tensor for name, tensor in tensors.items()}
        made = cls(network, taught, conditions, folder, config["part"])
        again = f"{again}; of a pipeline that was changed since it was read, pipe.save_pretrained(ANOTHER_FOLDER) first"
        for what, was, now in (("weights or settings", config["digest"], made.identified), ("noise", said, taught.config())):
            if was != now:
                shown = (str(one)[:12] if isinstance(one, str) else one for one in (was, now))
                raise DamagedModel(
                    f"the pipeline at {folder} is not the one that this model was made of, by its {what}: {' became '.join(map(str, shown))}; {again}"
                )
        return made

    def untrained(self, seed: int = 0) -> Pretrained:
        """The same network with weights as they are drawn before training; it lies nowhere."""
        return replace(self, network=of_diffusers.untrained(self.network, seed), folder="")

    @property
    def precision(self) -> str:
        return {torch.bfloat16: "bf16", torch.float16: "fp16"}.get(of_diffusers.placed(self.network)[1], "fp32")

    def _answered(self, x_t: Tensor, alpha: Level, sigma: Level) -> Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and x_t.requires_grad):
            return bridged(x_t, alpha, sigma, self.parametrisation, self._asked)

    def _asked(self, shown: Tensor, told: Tensor) -> Tensor:
        """The network's output, without the half that says variances."""
        of_diffusers.require_asking(self.network)
        device, dtype = of_diffusers.placed(self.network)
        more = conditions_of(self.network, self.conditions, len(shown), device, dtype)
        times = told.to(device, torch.long if whole(self.network) else torch.float32)
        output = self.network(shown.to(device, dtype), timestep=times, return_dict=False, **more)[0]
        if output.shape[0] != shown.shape[0] or output.shape[1] not in (shown.shape[1], 2 * shown.shape[1]) or output.shape[2:] != shown.shape[2:]:
            raise WrongShape(
                f"a {type(self.network).__name__} answers {tuple(shown.shape)} with {tuple(output.shape)}; as many channels are wanted, or twice as many "
                "where it says variances too"
            )
        return output[:, : shown.shape[1]].to(shown)


def bridged(x_t: Tensor, alpha: Level, sigma: Level, taught: Parametrisation, ask: Any) -> Tensor:
    """E[x0 | x_t] by a model of another family: items are brought to its levels, and its output to x0; float32.

    Args:
        taught: the family.
        ask: takes what the network is shown (n, *shape) and what it is told (n,), and gives its output.
    """
    x = x_t if x_t.dtype == torch.float64 else x_t.float()
    a0, s0 = (per_item(level, x.detach().double().cpu())[:, 0] for level in (alpha, sigma))
    ratio = s0 / a0
    near = ratio.clamp(taught.faintest, taught.loudest)
    a, s = taught.pair(near)
    louder = a * a0 * (near.square() + taught.data**2) / (s0.square() + (a0 * taught.data).square())
    factor = torch.where(ratio > near, louder, a / a0)
    factor = torch.where((factor - 1).abs() < CLOSE, torch.ones_like(factor), factor)
    wide = [one.to(x).reshape(-1, *[1] * (x.ndim - 1)) for one in (a, s, factor, (1 - ratio / near).clamp(min=0))]
    brought = x * wide[2]
    answer = taught.answer(ask(taught.shown(brought, wide[1]), taught.told(near)), brought, wide[0], wide[1])
    if (ratio < near).any():
        answer = answer + wide[3] * (brought / wide[0] - answer)
    return answer.float()


def whole(network: nn.Module) -> bool:
    """Whether a network has one learned vector for each training step, and understands no other."""
    return of_diffusers.settings(network).get("time_embedding_type") == "learned"


def classes(network: nn.Module) -> int:
    """How many classes a network tells apart by their number; 0 if none."""
    said = of_diffusers.settings(network)
    return int(said.get("num_class_embeds") or (said.get("num_embeds_ada_norm") if _no_class(network) else 0) or 0)


def _no_class(network: nn.Module) -> bool:
    """Whether it was taught, as DiT was, that one number more than there are classes means no class in particular."""
    return type(network).__name__ == "DiTTransformer2DModel"


def _reads(network: nn.Module) -> bool:
    """Whether a network looks at a text."""
    said = of_diffusers.settings(network)
    crossed = [str(kind) for name in ("down_block_types", "up_block_types", "mid_block_type") for kind in _listed(said.get(name))]
    return "encoder_hidden_states" in _asks(network) and (not crossed or any("CrossAttn" in kind for kind in crossed))


def _listed(value: Any) -> Sequence[Any]:
    return [] if value is None else [value] if isinstance(value, str) else value


def _asks(network: nn.Module) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(network.forward).parameters


def named(network: nn.Module, condition: object) -> dict[str, Tensor]:
    """A condition by the names of the network's ``forward``, each for one item, (1, ...).

    Raises:
        Unconditional: the network takes no such condition.
    """
    asks, kind, many = _asks(network), type(network).__name__, classes(network)
    if isinstance(condition, Mapping):
        unknown = [str(name) for name in condition if str(name).partition(".")[0] not in asks]
        if unknown or not all(isinstance(one, Tensor) and len(one) == 1 for one in condition.values() if one is not None):
            raise Unconditional(
                f"a {kind} takes conditions by name, a tensor (1, ...) each, of {', '.join(asks)}; it was given {', '.join(map(str, condition))}"
            )
        return {str(name): one.detach() for name, one in condition.items()}
    if isinstance(condition, Tensor) and condition.is_floating_point():
        one = condition.detach()
        if _reads(network) and one.ndim in (2, 3):
            return {"encoder_hidden_states": one[None] if one.ndim == 2 else one}
        if of_diffusers.settings(network).get("class_embed_type") and one.ndim == 1:
            return {"class_labels": one[None]}
    elif isinstance(condition, int) and 0 <= condition < many:
        return {"class_labels": torch.tensor([condition])}
    takes = [*([f"a class, 0 to {many - 1}"] if many else []), *(["the embedding of a text (tokens, channels)"] if _reads(network) else [])]
    said = f"a tensor {tuple(condition.shape)}" if isinstance(condition, Tensor) else repr(condition)
    raise Unconditional(f"a {kind} takes {' and '.join(takes) or 'no condition'}; it was given {said}")


def conditions_of(network: nn.Module, given: Mapping[str, Tensor], n: int, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """What the network is given for n items: the conditions, and where it was taught one what means no class in particular.

    Raises:
        InvalidSetting: it needs a condition and was given none.
    """
    needs, found = dict(given), {}
    if _no_class(network):
        needs.setdefault("class_labels", torch.tensor([classes(network)]))
    conditional = bool(classes(network) or of_diffusers.settings(network).get("class_embed_type"))
    lacking = ["class_labels"] if conditional and "class_labels" not in needs else []
    lacking += ["encoder_hidden_states"] if _reads(network) and "encoder_hidden_states" not in needs else []
    if lacking:
        raise InvalidSetting(
            f"a {type(network).__name__} answers with a condition only, and was asked without {' and '.join(lacking)}: give one with model(pipe, given=...), "
            "a class by its number or a text by its embedding; what means no class in particular is a condition too, if it was taught one"
        )
    if "encoder_hidden_states" in _asks(network) and not _reads(network):
        found["encoder_hidden_states"] = None
    for name, one in needs.items():
        wide = one.to(device, dtype if one.is_floating_point() else one.dtype).expand(n, *one.shape[1:])
        outer, _, inner = name.partition(".")
        if inner:
            found.setdefault(outer, {})[inner] = wide
        else:
            found[outer] = wide
    return found


def part_of(names: Mapping[str, Any], wanted: Sequence[str] = NETWORKS) -> str:
    """The first of the wanted parts that a pipeline has; empty if it has none."""
    return next((name for name in wanted if names.get(name) is not None), "")
