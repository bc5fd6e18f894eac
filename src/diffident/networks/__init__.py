"""Networks: torch and nothing of diffusion. Each maps (n, *shape) and one level per item to (n, *shape).

All are magnitude preserving: weights are normalised row by row, so that a signal of unit variance stays one and no
normalisation layer is needed. In training that happens at every step; :func:`folded` does it once, in the precision asked.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch

from ..errors import InvalidSetting
from .layers import Keep, Network, Weights, ignored
from .mlp import MLP
from .unet import UNet

__all__ = ["DTYPES", "MLP", "NETWORKS", "Keep", "Network", "UNet", "folded", "ignored", "network", "renormalise"]

#: What can be learned, by the name that ``--network`` takes.
NETWORKS: Mapping[str, type[Network]] = {"mlp": MLP, "unet": UNet}

#: The arithmetic of a network by the name that ``--precision`` takes.
DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


def network(kind: str, settings: Mapping[str, Any]) -> Network:
    """A network with random weights.

    Raises:
        InvalidSetting: there is none of that kind, or it lacks such a setting.

    >>> network("mlp", {"shape": (3,), "width": 32, "blocks": 1})(torch.zeros(2, 3), torch.zeros(2)).shape
    torch.Size([2, 3])
    """
    if kind not in NETWORKS:
        raise InvalidSetting(f"no network called {kind!r}; there are: {', '.join(NETWORKS)}")
    try:
        return NETWORKS[kind](**settings)
    except TypeError as error:
        raise InvalidSetting(f"the network {kind!r} cannot be made of {dict(settings)}: {error}") from error


def folded(trained: Network, precision: str) -> Network:
    """The same network for asking only: weights normalised once, constants folded in, in that precision."""
    ready = copy.deepcopy(trained).requires_grad_(False).eval()
    for part in ready.modules():
        if isinstance(part, Weights):
            part.fold(DTYPES[precision])
    return ready


@torch.no_grad()
def renormalise(trained: Network) -> None:
    """Bring every row of weights back to unit mean square: what the network computes stays the same, a step stays a step."""
    for part in trained.modules():
        if isinstance(part, Weights):
            part.renormalise()
