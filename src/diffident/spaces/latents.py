"""Latents: the diffusion lives in the codes of an autoencoder of diffusers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .. import registry
from ..errors import DamagedModel, InvalidSetting, NotAModel
from ..networks import of_diffusers
from . import Space
from .activations import _padded

#: So many pictures are encoded at once.
TOGETHER = 4


@registry.registered("spaces", "latents")
@dataclass(frozen=True)
class Latents(Space):
    """The codes in which a latent diffusion model lives: (mean - shift) * scaling, with the mean of what the encoder says of a picture.

    The mean and not a draw: an item has one place in the space. Autoencoders without a posterior (VQ-VAE) give the code before it
    is quantised, as their diffusion models learn it. A map of codes is averaged over channels and brought to the picture's
    size bilinearly. The autoencoder's own error is not part of what is seen. Grey pictures are repeated to its channels.

    Attributes:
        folder: where the pipeline lies; empty if nowhere.
        part: the autoencoder's name in it.
        dtype: its arithmetic, as diffusers is told it.
        digest: sha256 of the autoencoder; empty takes what is there.
        network: the autoencoder itself; None reads it from the folder.

    Raises:
        MissingPackage: diffusers is not installed.
        InvalidSetting: an autoencoder that is being trained, or neither one nor a folder.
        NotAModel: the folder is gone, or lacks that part.
        DamagedModel: what lies there now is another autoencoder.

    Source: Rombach et al. 2022 (2112.10752); shift: Esser et al. 2024 (2403.03206).
    """

    folder: str = ""
    part: str = "vae"
    dtype: str = "float32"
    digest: str = ""
    network: Any = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.network is None and not self.folder:
            raise InvalidSetting(
                "latents are those of an autoencoder, and none is given: take the model of a pipeline, diffident.adapters.diffusers.model(pipe)"
            )
        of_diffusers.require_asking(self.net)
        said = of_diffusers.settings(self.net)
        if said.get("latents_mean") or said.get("latents_std"):
            raise InvalidSetting(
                f"a {type(self.net).__name__} with latents_mean and latents_std, one for each channel, is not known here; write a Space of its own"
            )
        found = of_diffusers.digest(self.net)
        if self.digest and found != self.digest:
            raise DamagedModel(
                f"the autoencoder at {self.folder} is not the one that this model was made of: {self.digest[:12]} became {found[:12]}; put it back, "
                "or take diffident.adapters.diffusers.model(FOLDER) of what is there and fit again"
            )
        object.__setattr__(self, "digest", found)

    @cached_property
    def net(self) -> nn.Module:
        """The autoencoder."""
        try:
            return of_diffusers.loaded(self.folder, self.part, of_diffusers.DTYPES[self.dtype]) if self.network is None else self.network
        except NotAModel as error:
            raise NotAModel(f"this model refers to an autoencoder of diffusers that cannot be used: {error}; put it back where it was") from error

    @property
    def channels(self) -> int:
        """Of the pictures that the autoencoder takes."""
        return int(of_diffusers.settings(self.net).get("in_channels", 3))

    @torch.no_grad()
    def encode(self, items: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k y x"]:
        device, dtype = of_diffusers.placed(self.net)
        said, wanted = of_diffusers.settings(self.net), items.expand(-1, self.channels, -1, -1)
        codes = torch.cat([self._code(part.to(device, dtype)) for part in _padded(wanted, TOGETHER)])[: len(items)]
        shift, scaling = said.get("shift_factor"), said.get("scaling_factor")
        return (codes.to(items.device, torch.float32) - (shift or 0.0)) * (1.0 if scaling is None else scaling)

    def _code(self, pictures: Tensor) -> Tensor:
        found = self.net.encode(pictures, return_dict=False)[0]  # type: ignore[operator]
        return found if isinstance(found, Tensor) else found.mode()

    def map_back(self, maps: Float[Tensor, "n k y x"], size: tuple[int, ...]) -> Float[Tensor, "n h w"]:
        return torch.nn.functional.interpolate(maps.mean(1, keepdim=True), size, mode="bilinear", align_corners=False)[:, 0]

    def config(self) -> dict[str, Any]:
        return {**self.identity(), "folder": self.folder, "dtype": self.dtype}

    def identity(self) -> dict[str, Any]:
        return {"name": "latents", "part": self.part, "digest": self.digest}

    def untrained(self, seed: int = 0) -> Latents:
        """The same autoencoder with weights as they are drawn before training; it lies nowhere."""
        return replace(self, network=of_diffusers.untrained(self.net, seed), folder="", digest="")
