"""Trains the base model that is to come with the package, on pictures that owe nobody a licence (see base_pictures.py).

    python scripts/train_base.py                     write src/diffident/weights/base_1; interrupted, it goes on
    python scripts/train_base.py --images 100000 --out elsewhere

Pictures are drawn once into build/base (they follow from their numbers), then a U-Net learns to denoise them. Another base of one's own
pictures needs no script: diffident train PICTURES --recipe reconstruction --network unet --size 32 --channels 3 -o mine.
"""

from __future__ import annotations

import argparse
import datetime
import math
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from diffident.detector import Detector
from diffident.lessons import Descent
from diffident.modalities.image import Image
from diffident.model import Model
from diffident.optimise import Record
from diffident.settings import Training
from diffident.spaces import space_from

sys.path.insert(0, str(Path(__file__).parent))
from base_pictures import SIDE, pictures

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / "build" / "base"
#: Pictures in one file, drawn by one process at a time; how many there are in all.
PART, PICTURES = 2_000, 40_000
CHANNELS = 3

#: What the card says of it beside what was measured.
FACTS = {
    "pictures": "dead leaves, fractals, coloured noise and rendered shapes, drawn by scripts/base_pictures.py: nobody's photographs, no faces",
    "licence": "Apache-2.0, as the package; the pictures follow from their numbers and owe nobody anything",
    "training command": "python scripts/train_base.py",
    "meant for": "the recipe zero-shot: diffident fit base PHOTOS -o mine; or dd.Detector(dd.load('base'), 'zero-shot').fit(PHOTOS)",
    "known limits": "items are brought to 32 x 32: what is smaller than a pixel then is not seen. References and items must have one effective resolution "
    "and one JPEG history, or that is what is told apart (--depth, --prepare equalise). It has seen no real photograph; figures are in benchmarks/results",
}


def bank(count: int) -> np.ndarray:
    """The first so many pictures, (count, 3, 32, 32) uint8; those that are drawn already are read."""
    CACHE.mkdir(parents=True, exist_ok=True)
    parts = []
    for first in range(0, count, PART):
        file = CACHE / f"pictures-{first:06d}.npy"
        if not file.exists():
            print(f"drawing pictures {first} to {first + PART}", flush=True)
            drawn = np.rint((pictures(first, PART) + 1) * 127.5).astype(np.uint8)
            unfinished = file.with_suffix(".new.npy")
            np.save(unfinished, drawn)
            unfinished.replace(file)
        parts.append(np.load(file))
    return np.concatenate(parts)[:count]


def trained(values: torch.Tensor, how: Training, about: str, place: Path) -> Model:
    """A model of these values, with what there is to say of how it came about."""
    space, curve = space_from({"name": how.space}), []
    descent = Descent(how, about, place)
    records = descent.of(space.encode(values), "unet", space)
    try:
        while True:
            record = next(records)
            told = _told(record)
            curve += [told] if told else []
    except StopIteration as done:
        denoiser = done.value[0]
    notes = {"made": datetime.date.today().isoformat(), "by": f"diffident {version('diffident')}", "settings": str(how), **descent.notes}
    notes |= {"loss curve": "; ".join(curve)} if curve else {}
    return Model(denoiser, Image(SIDE, SIDE, CHANNELS), space, name="base-1", notes=notes)


def _told(record: Record) -> str:
    """A line of the loss curve, printed on the way; empty where nothing was measured."""
    if math.isnan(record.held_out):
        return ""
    print(f"{record.images_seen} images, loss {record.loss:.4f}, held out {record.held_out:.4f}", flush=True)
    return f"{record.images_seen} {record.held_out:.4f}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the base model.")
    parser.add_argument("--images", type=int, default=400_000, help="shown in all, each as often as it is shown")
    parser.add_argument("--pictures", type=int, default=PICTURES, help="different ones")
    parser.add_argument("--out", type=Path, default=ROOT / "src" / "diffident" / "weights" / "base_1")
    asked = parser.parse_args()
    values = torch.from_numpy(bank(asked.pictures)).float() / 127.5 - 1
    how = Training(network="unet", size=SIDE, channels=CHANNELS, images_seen=asked.images)
    model = trained(values, how, f"procedural pictures 0 to {asked.pictures}", CACHE / f"training-{asked.images}")
    print(f"written to {Detector(replace(model, notes={**model.notes, **FACTS}), 'zero-shot').save(asked.out)}")


if __name__ == "__main__":
    main()
