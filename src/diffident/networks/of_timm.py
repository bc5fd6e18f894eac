"""Any network of timm as a frozen one; the only place that knows timm, which is installed by whoever wants it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .. import hardware
from ..errors import InvalidSetting, NotAModel, UnknownName
from . import DTYPES
from .frozen import Frozen, foreign, shapes_of


class Timm(Frozen):
    """Any network of timm that gives inner maps, by its name there; blocks are numbered from 0 as in timm, and all are computed.

    Args:
        name: as ``timm.create_model`` takes it.
        tensors: its weights; without them timm fetches those it was published with.
        precision: ``auto``, ``fp32`` or ``bf16``.

    Raises:
        InvalidSetting: timm is not installed, or another precision.
        UnknownName: timm has no such network.
        NotAModel: the tensors are of another network.
    """

    def __init__(self, name: str, tensors: Mapping[str, Tensor] | None = None, precision: str = "fp32") -> None:
        self.name, self.precision = name, hardware.precision(precision)
        self.network = _of_timm(name, pretrained=tensors is None).eval().requires_grad_(False)
        if tensors is not None:
            if shapes_of(tensors) != shapes_of(self.network.state_dict()):
                raise NotAModel(foreign(tensors, f"the network {name!r} of timm"))
            self.network.load_state_dict(dict(tensors))
        self._tensors = {key: tensor.clone() for key, tensor in self.network.state_dict().items()} if tensors is None else dict(tensors)
        self.network = self.network.to(dtype=DTYPES[self.precision], memory_format=torch.channels_last)
        self.blocks = dict(enumerate(zip(self.network.feature_info.channels(), self.network.feature_info.reduction(), strict=True)))
        config = self.network.pretrained_cfg
        self._mean, self._deviation = (torch.tensor(config[key]).reshape(3, 1, 1) for key in ("mean", "std"))

    def _maps(self, group: Tensor, blocks: Sequence[int]) -> list[Tensor]:
        x = ((group + 1) / 2 - self._mean) / self._deviation
        found = self.network(x.to(DTYPES[self.precision]).contiguous(memory_format=torch.channels_last))
        return [found[block] for block in blocks]

    def tensors(self) -> dict[str, Tensor]:
        return dict(self._tensors)

    def at(self, precision: str) -> Timm:
        return Timm(self.name, self._tensors, precision)

    def untrained(self, seed: int = 0) -> Timm:
        """The control: weights as timm draws them before training."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            drawn = _of_timm(self.name, pretrained=False).state_dict()
        return Timm(self.name, drawn, self.precision)


def _of_timm(name: str, pretrained: bool) -> Any:
    """The network of that name as timm makes it, giving all its inner maps."""
    try:
        timm = importlib.import_module("timm")
    except ImportError as error:
        raise InvalidSetting("features of timm networks need timm: pip install 'diffident[timm]'") from error
    if not timm.is_model(name):
        raise UnknownName(f"timm {timm.__version__} has no network called {name!r}; timm.list_models() names those it has")
    return timm.create_model(name, pretrained=pretrained, features_only=True)
