"""Parts of several kinds in one model: a denoiser for each kind, or one for all of them, found by the kind's name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor

from . import registry
from .denoiser import Denoiser, Level, StoredDenoiser
from .errors import InvalidSetting, Unconditional, UnknownKind


@registry.registered("denoisers", "kinds")
class Kinds(StoredDenoiser):
    """What is ordinary for each of several kinds of items. ``given(kind)`` is the denoiser of one kind, exact if its own is.

    One denoiser may serve all kinds, as a network does that has learned from all of them; then it also answers without a kind.
    Denoisers of their own answer for their kind alone: which items came from which kind is a matter of what is to be judged,
    and is never guessed.

    Args:
        names: of the kinds, each once.
        parts: a denoiser for each of them, in that order, or one for all.

    Raises:
        InvalidSetting: no names, an empty one, one twice, or as many denoisers as there are not kinds.

    >>> import torch
    >>> from diffident.denoiser import Empirical
    >>> two = Kinds(("dark", "light"), (Empirical(torch.tensor([[-1.0]])), Empirical(torch.tensor([[1.0]]))))
    >>> two.given("light")(torch.tensor([[0.0]]), 1.0, 0.1).tolist()
    [[1.0]]
    """

    def __init__(self, names: Sequence[str], parts: Sequence[StoredDenoiser]) -> None:
        if not names or not all(names) or len(set(names)) < len(names) or len(parts) not in (1, len(names)):
            raise InvalidSetting(
                f"kinds have a name each, none of them twice, and a denoiser each or one for all; got {len(parts)} denoisers and the names {list(names)}"
            )
        self.names: tuple[str, ...] = tuple(names)
        self.parts: tuple[StoredDenoiser, ...] = tuple(parts)

    def __call__(self, x_t: Float[Tensor, "n *shape"], alpha: Level, sigma: Level) -> Float[Tensor, "n *shape"]:
        return self._shared(x_t, alpha, sigma)

    def watched(
        self, x_t: Float[Tensor, "n *shape"], alpha: Level, sigma: Level, streams: Sequence[str]
    ) -> tuple[Float[Tensor, "n *shape"], Mapping[str, Tensor]]:
        return self._shared.watched(x_t, alpha, sigma, streams)

    def given(self, condition: object) -> Denoiser:
        """The denoiser of the kind of that name."""
        if condition not in self.names:
            raise Unconditional(f"this model knows no kind {condition!r}; it knows {', '.join(self.names)}")
        return self.parts[self.names.index(str(condition)) % len(self.parts)]

    def kept(self, answer: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *shape"]:
        return self.parts[0].kept(answer)

    def config(self) -> dict[str, Any]:
        return {"kinds": list(self.names), "parts": [{"network": part.kind, "denoiser": part.config()} for part in self.parts]}

    def identity(self) -> dict[str, Any]:
        return {"kinds": list(self.names), "parts": [{"network": part.kind, "denoiser": part.identity()} for part in self.parts]}

    def tensors(self) -> dict[str, Tensor]:
        return {f"{i}.{name}": tensor for i, part in enumerate(self.parts) for name, tensor in part.tensors().items()}

    @classmethod
    def made_of(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Kinds:
        def of(i: int) -> dict[str, Tensor]:
            return {name.removeprefix(f"{i}."): tensor for name, tensor in tensors.items() if name.startswith(f"{i}.")}

        parts = [registry.find("denoisers", said["network"]).made_of(said["denoiser"], of(i)) for i, said in enumerate(config["parts"])]  # type: ignore[attr-defined]
        return cls(config["kinds"], parts)

    @property
    def precision(self) -> str:
        return self.parts[0].precision

    def at(self, precision: str) -> Kinds:
        return Kinds(self.names, [part.at(precision) for part in self.parts])

    def untrained(self, seed: int = 0) -> Kinds:
        """The same kinds, each with the control of its denoiser."""
        return Kinds(self.names, [part.untrained(seed) for part in self.parts])

    @property
    def _shared(self) -> StoredDenoiser:
        one, *others = self.parts
        if others:
            raise UnknownKind(f"this model has a denoiser for each of its kinds, and was asked without one; name it: given(kind), of {', '.join(self.names)}")
        return one
