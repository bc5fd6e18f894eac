"""The U-Net that people use today, from diffusers, under our preconditioning and our descent: the same loss, another network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from diffident.networks import NETWORKS, Network

#: Both have 5.7 million parameters, within three in a hundred. The peer's attention heads are 8 wide, its default.
PEER = {"channels": 3, "widths": [64, 96, 128]}
OURS = {"channels": 3, "dims": 2, "widths": [96, 160, 192], "blocks": 2, "patch": 2, "head": 32}
#: Its weights are not normalised, so that Adam's step is absolute there; for the time of a step any rate will do.
PEER_RATE = 1e-3


class Peer(Network):
    """``diffusers.UNet2DModel`` for pictures of 32 x 32."""

    def __init__(self, channels: int, widths: list[int]) -> None:
        super().__init__()
        try:
            from diffusers import UNet2DModel
        except ImportError:
            print("skipped: this benchmark compares with diffusers, which is not installed: pip install diffusers. Nothing was written")
            raise SystemExit(0) from None
        deeper = len(widths) - 1
        self.channels, self.widths = channels, widths
        self.inner = UNet2DModel(
            sample_size=32,
            in_channels=channels,
            out_channels=channels,
            block_out_channels=tuple(widths),
            layers_per_block=2,
            down_block_types=("DownBlock2D",) + ("AttnDownBlock2D",) * deeper,
            up_block_types=("AttnUpBlock2D",) * deeper + ("UpBlock2D",),
        )
        for parameter in self.inner.conv_out.parameters():  # as ours: at first nothing is added to what a Gaussian knows
            torch.nn.init.zeros_(parameter)

    def settings(self) -> dict[str, Any]:
        return {"channels": self.channels, "widths": list(self.widths)}

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """Its own precision for training is autocast; a network that was cast as a whole answers in what it was cast to."""
        times = 1000 * torch.sigmoid(level.float()).expand(len(x))
        x = x.contiguous(memory_format=torch.channels_last)
        whole = next(self.inner.parameters()).dtype == x.dtype
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=x.dtype == torch.bfloat16 and not whole):
            return self.inner(x if whole else x.float(), times).sample


def enlist() -> None:
    """Let the descent make it by name."""
    NETWORKS["diffusers"] = Peer  # type: ignore[index]
