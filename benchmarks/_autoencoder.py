"""A convolutional autoencoder of about the size of our U-Net: what reconstruction reaches without diffusion."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

#: Pictures shown in all, at a time, and the rate of Adam.
SEEN, BATCH, RATE = 50_000, 32, 1e-3


def _network(channels: int, width: int = 64) -> nn.Module:
    """Four halvings to 16 times fewer positions a side and back."""
    widths, layers = [channels, width // 2, width, 2 * width, 2 * width], list[nn.Module]()
    for narrow, wide in itertools.pairwise(widths):
        layers += [nn.Conv2d(narrow, wide, 4, 2, 1), nn.SiLU()]
    layers[-1] = nn.Conv2d(2 * width, 16, 1)  # the bottleneck
    layers.append(nn.Conv2d(16, 2 * width, 1))
    for wide, narrow in itertools.pairwise(widths[::-1]):
        layers += [nn.SiLU(), nn.ConvTranspose2d(wide, narrow, 4, 2, 1)]
    return nn.Sequential(*layers)


def autoencoder(known_good: np.ndarray, asked: Sequence[np.ndarray], seed: int) -> list[np.ndarray]:
    """The mean squared error of each item (n, c, h, w) of each stack in ``asked``, after learning from ``known_good``."""
    torch.manual_seed(seed)
    net = _network(known_good.shape[1])
    descent, items = torch.optim.Adam(net.parameters(), RATE), torch.from_numpy(known_good).float()
    for _ in range(SEEN // BATCH):
        some = items[torch.randint(len(items), (BATCH,))]
        descent.zero_grad()
        (net(some) - some).square().mean().backward()
        descent.step()
    with torch.no_grad():
        return [torch.cat([_error(net, part) for part in torch.from_numpy(stack).float().split(32)]).numpy() for stack in asked]


def _error(net: nn.Module, part: torch.Tensor) -> torch.Tensor:
    return (net(part) - part).square().flatten(1).mean(1)
