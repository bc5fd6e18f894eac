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
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diffident import store
from diffident.folder import write_folder
from diffident.lessons import Descent
from diffident.modalities.image import Image
from diffident.model import Model
from diffident.optimise import Record
from diffident.recipes import recipe
from diffident.settings import Training
from diffident.spaces import space_from
from diffident.verdict import Policy

sys.path.insert(0, str(Path(__file__).parent))
from base_pictures import SIDE, pictures

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / "build" / "base"
#: Pictures in one file, drawn by one process at a time; how many there are in all.
PART, PICTURES = 2_000, 40_000
CHANNELS = 3

#: The first part of the card.
ABOUT = """# base-1, the model that comes with Diffident

It judges pictures of things that it was never trained on, once it has seen some that are known to be good:

    diffident fit base photos/ -o mine
    diffident score mine incoming/ -o scores.csv

In Python `dd.Detector(dd.load("base"), "zero-shot").fit("photos")`. Pictures of any size, grey or colour, are brought to 32 x 32.

## Data and licence

It learned from 40,000 pictures that `scripts/base_pictures.py` draws from their numbers: dead leaves, coloured noise, fractals, rendered shapes,
mixed. No photograph, no face, nobody's work was used, so nothing is owed to anybody; weights and pictures are under the licence of Diffident
(Apache-2.0). It is made again by

    python scripts/train_base.py

## Figures

`benchmarks/results/zero_shot.md` and `bases.md`, with the same network of random weights beside every one; how the recipe was chosen:
`zero_shot_choice.md`.

## Known limits

* 32 pixels a side: what is smaller in the picture is not seen. Small defects of parts are for `diffident train` (recipe `inspection`).
* It knows no names of things. What tells two natural pictures apart by what they show (one kind of animal from another) is mostly beyond it.
* Flagged is what is unlike the references in any way, resolution and JPEG history among them, unless all come from one source:
  `diffident train --prepare equalise` shows how references can be brought to one.
* The network was trained in bfloat16; other processors answer a little differently, which is checked when it is loaded.

## How it was made
"""

#: What lies beside the weights.
NOTICE = """weights.safetensors holds the weights of base-1, made by the Diffident authors with scripts/train_base.py from pictures that
scripts/base_pictures.py draws. They contain nobody else's work and come under the Apache License, Version 2.0, as Diffident itself: see LICENSE.
"""


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


def written(model: Model, out: Path) -> Path:
    """The folder of a detector that asks ``zero-shot`` and wants known-good items yet, with the card and the notice of the base."""

    def fill(place: Path) -> dict[str, Any]:
        facts = store.fill(place, model)
        (place / store.CARD).write_text(card(model), "utf-8")
        (place / "NOTICE").write_text(NOTICE, "utf-8")
        return facts | {"detector": {"recipe": recipe("zero-shot").config(), "policy": Policy().config()}}

    return write_folder(out, fill)


def card(model: Model) -> str:
    """What it is, what it learned from and how, where its figures stand, and what it cannot do."""
    notes = dict(model.notes)
    curve = [point.split() for point in notes.pop("loss curve", "").split("; ") if point]
    facts = {"fingerprint": model.fingerprint, "parameters": f"{sum(t.numel() for t in model.stored.tensors().values()):,}", **notes}
    rows = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
    losses = "\n".join(f"| {int(seen):,} | {loss} |" for seen, loss in curve)
    watched = "## Loss\n\nOf the averaged weights, on pictures that were only watched.\n\n| images seen | loss |\n|---|---|"
    return f"{ABOUT}\n| | |\n|---|---|\n{rows}\n\n{watched}\n{losses}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the base model.")
    parser.add_argument("--images", type=int, default=400_000, help="shown in all, each as often as it is shown")
    parser.add_argument("--pictures", type=int, default=PICTURES, help="different ones")
    parser.add_argument("--out", type=Path, default=ROOT / "src" / "diffident" / "weights" / "base_1")
    parser.add_argument("--of", type=Path, help="the folder of a model that is trained already, to be written anew with its recipe and card")
    asked = parser.parse_args()
    if asked.of:
        print(f"written to {written(store.load(asked.of), asked.out)}")
        return
    values = torch.from_numpy(bank(asked.pictures)).float() / 127.5 - 1
    how = Training(network="unet", size=SIDE, channels=CHANNELS, images_seen=asked.images)
    model = trained(values, how, f"procedural pictures 0 to {asked.pictures}", CACHE / f"training-{asked.images}")
    print(f"written to {written(model, asked.out)}")


if __name__ == "__main__":
    main()
