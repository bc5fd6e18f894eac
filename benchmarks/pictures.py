"""Digits and garments: models of real pictures, and two independent classifiers that say which of their samples are failures.

A sample is a failure if the two classifiers name different classes, or if the probability of what they name is below one half in both;
they are used for evaluation alone, and no signal sees them. Real pictures are called failures by the same rule at a rate that is printed:
what the labels cannot tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmarks._common import data
from benchmarks.known_truth import CACHE, FAILURE, GOOD, World
from diffident import noise
from diffident.modalities.image import Image
from diffident.optimise import Schedule

SIDE, CLASSES = 28, 10
#: Both unsure: what they name has less than this probability.
UNSURE = 0.5
#: The first so many pictures are learned from, by models and classifiers alike; the others test the classifiers and stand for what is real.
LEARNS = 7_000
#: Rounds over the pictures that a classifier learns for.
ROUNDS, BATCH = 6, 64


@lru_cache(maxsize=2)
def _read(name: str) -> tuple[Tensor, Tensor]:
    """Pictures (n, 1, 28, 28) from -1 to 1 and their classes, in an order that mixes these."""
    (path,) = data(f"ood/{name}.npz")
    found = np.load(path)
    order = noise.order(len(found["labels"]), "pictures", 0)
    images = torch.from_numpy(found["images"].astype(np.float32))[:, None] / 127.5 - 1
    return images[order], torch.from_numpy(found["labels"].astype(np.int64))[order]


def plain(width: int = 24) -> nn.Module:
    """Three convolutions and two dense layers."""
    return nn.Sequential(
        *(nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(width, 2 * width, 3, padding=1), nn.BatchNorm2d(2 * width), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(2 * width, 2 * width, 3, padding=1), nn.BatchNorm2d(2 * width), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(98 * width, 96), nn.ReLU(), nn.Dropout(0.3), nn.Linear(96, CLASSES)),
    )


def strided(width: int = 32) -> nn.Module:
    """Large kernels that step, a mean over positions, and one dense layer: another architecture."""
    return nn.Sequential(
        *(nn.Conv2d(1, width, 5, stride=2, padding=2), nn.GroupNorm(4, width), nn.GELU()),
        *(nn.Conv2d(width, 2 * width, 5, stride=2, padding=2), nn.GroupNorm(4, 2 * width), nn.GELU()),
        *(nn.Conv2d(2 * width, 3 * width, 3, padding=1), nn.GroupNorm(4, 3 * width), nn.GELU()),
        *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12 * width, CLASSES)),
    )


#: The two, and the seed of each: weights, order of pictures and how they are moved.
JUDGES = {"plain": (plain, 1), "strided": (strided, 2)}


@dataclass(frozen=True)
class Pictures(World):
    """One set of small grey pictures.

    Attributes:
        name: ``digits`` or ``fashion``.
    """

    name: str

    samplers: Sequence[tuple[str, int]] = (("ddim", 10), ("ddpm", 25), ("ddim", 50), ("ddpm", 50))

    @property
    def lengths(self) -> Mapping[str, int]:
        return {"complete": 60_000, "under-trained": 20_000, "hardly trained": 8_000}

    @property
    def modality(self) -> Image:
        return Image(SIDE, SIDE)

    @property
    def network(self) -> tuple[str, dict[str, Any]]:
        return "unet", {"channels": 1, "dims": 2, "widths": [32, 64], "blocks": 1, "patch": 2, "head": 32}

    @property
    def schedule(self) -> Schedule:
        return Schedule(batch=64, precision="fp32")

    @property
    def about(self) -> str:
        return f"first {LEARNS}"

    def learns(self) -> Tensor:
        return _read(self.name)[0][:LEARNS]

    def real(self, n: int, seed: int) -> Tensor:
        """Of the pictures that nothing learned from, in an order of that seed; there are no more than 3,000."""
        left = _read(self.name)[0][LEARNS:]
        return left[noise.order(len(left), "real", seed)[:n]]

    def verdict(self, samples: Tensor) -> np.ndarray:
        (first, named), (second, other) = (self.told(judge, samples).max(1) for judge in JUDGES)
        wrong = (named != other) | ((first < UNSURE) & (second < UNSURE))
        return np.where(wrong.numpy(), FAILURE, GOOD)

    def told(self, judge: str, samples: Tensor) -> Tensor:
        """Probabilities of the classes, (n, 10), as that classifier sees samples brought to what pictures can be."""
        classifier = _classifier(self.name, judge)
        with torch.inference_mode():
            return torch.cat([classifier(part.clamp(-1, 1)).softmax(1) for part in samples.split(500)])

    def accuracy(self) -> dict[str, float]:
        """Of each classifier on pictures that it did not learn from; and how many of these real pictures are called failures."""
        images, classes = (of[LEARNS:] for of in _read(self.name))
        right = {judge: float((self.told(judge, images).argmax(1) == classes).float().mean()) for judge in JUDGES}
        return right | {"real called failures": float((self.verdict(images) == FAILURE).mean())}


@lru_cache(maxsize=4)
def _classifier(name: str, judge: str) -> nn.Module:
    """A trained classifier; trained at the first call."""
    make, seed = JUDGES[judge]
    torch.manual_seed(seed)
    made, place = make(), CACHE / f"{name}-{judge}-{ROUNDS}.safetensors"
    if not place.exists():
        images, classes = _read(name)
        _learn(made, images[:LEARNS], classes[:LEARNS], seed)
        CACHE.mkdir(parents=True, exist_ok=True)
        save_file({key: tensor.contiguous() for key, tensor in made.state_dict().items()}, place)
    made.load_state_dict(load_file(place))
    return made.eval()


def _learn(classifier: nn.Module, images: Tensor, classes: Tensor, seed: int) -> None:
    """Adam with a rate that falls to nothing, on pictures moved by up to two pixels."""
    steps = ROUNDS * (len(images) // BATCH)
    optimiser = torch.optim.Adam(classifier.parameters(), 2e-3)
    course = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        mine = torch.from_numpy(rng.integers(0, len(images), BATCH))
        moved = torch.roll(images[mine], tuple(rng.integers(-2, 3, 2).tolist()), (2, 3))
        loss = F.cross_entropy(classifier(moved), classes[mine], label_smoothing=0.05)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        course.step()


WORLDS = {name: Pictures(name) for name in ("digits", "fashion")}
