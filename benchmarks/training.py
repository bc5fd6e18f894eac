"""Loss against images seen and against seconds, for this network and for diffusers' U-Net under the same loss.

    python -m benchmarks.training

TinyImageNet and faces at 32 x 32, both networks with 5.7 million parameters, the same preconditioning, noise levels, batch,
clipping, average and cosine decay, from benchmarks/_peer.py. Each network sees IMAGES_SEEN; on TinyImageNet
ours is run once more for about the seconds that the other took. Learning rates are chosen by the held-out loss of TinyImageNet: ours beforehand, the peer's
among PEER_RATES here,
after a third of the images. Held-out loss: averaged weights, other images (for faces other persons), always the same noise;
1 is what a Gaussian reaches. Interrupted, it goes on. One file for each kind of processor: results/training_KIND.json.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks._common import data, freeze, keep, kept, kind, machine, table
from benchmarks._peer import OURS, PEER, enlist
from diffident import hardware
from diffident.optimise import Schedule, descend

IMAGES_SEEN, HELD_OUT = 3072, 192
PEER_RATES = (1e-3, 3e-4)
#: Exact duplicates of images of the validation part.
COPIES = {"train/n01855672/000044.jpg", "train/n07753592/000063.jpg"}


def pictures(archive: Path, names: Iterable[str]) -> Tensor:
    """(n, 3, 32, 32) in [-1, 1], by the mean of each 2 x 2 block."""
    with zipfile.ZipFile(archive) as file:
        read = [np.asarray(Image.open(io.BytesIO(file.read(name))).convert("RGB").resize((32, 32), Image.Resampling.BOX)) for name in names]
    return torch.from_numpy(np.stack(read)).permute(0, 3, 1, 2).float() / 127.5 - 1


def listed(archive: Path, below: str = "") -> list[str]:
    with zipfile.ZipFile(archive) as file:
        return sorted(name for name in file.namelist() if name.startswith(below) and name.endswith((".jpg", ".png")))


def tiny() -> tuple[Tensor, Tensor]:
    some, more = data("ood/tinyimagenet_64.zip", "ood/tinyimagenet_64_more.zip")
    learns = [pictures(some, listed(some, "train/")), pictures(more, [name for name in listed(more, "train/") if name not in COPIES])]
    return torch.cat(learns), pictures(some, listed(some, "val/")[:: 10_000 // HELD_OUT][:HELD_OUT])


def faces() -> tuple[Tensor, Tensor]:
    """One picture of every person, so that the last persons are strangers to the first."""
    (archive,) = data("ood/faces_64.zip")
    names = listed(archive)
    return pictures(archive, names[:-HELD_OUT]), pictures(archive, names[-HELD_OUT:])


SETS = {"TinyImageNet": tiny, "faces": faces}
_opened: dict[str, tuple[Tensor, Tensor]] = {}


def run(name: str, network: str, images: int, rate: float) -> dict[str, Any]:
    """One curve, made or found."""
    results, key = f"training_{kind().lower()}", f"{name} {network} {images} {rate:g} {hardware.precision()} {HELD_OUT}"
    if key in kept(results):
        return kept(results)[key]
    if name not in _opened:
        _opened[name] = SETS[name]()
    learns, watched = _opened[name]
    how = replace(Schedule(images_seen=images), rate=rate)
    settings = OURS if network == "unet" else PEER
    torch.manual_seed(0)
    points = []
    for record in descend(learns, watched, network, settings, how):
        if record.held_out == record.held_out:
            points.append({"images": record.images_seen, "seconds": record.seconds, "loss": record.loss, "held out": record.held_out})
            print(f"{key}: {record.images_seen} images, {record.seconds:.0f} s, held-out loss {record.held_out:.4f}", flush=True)
    made = {"set": name, "network": network, "rate": rate, "images": images, "seconds": points[-1]["seconds"], "points": points, "machine": machine()}
    keep(results, key, made)
    return made


def reached(curve: dict[str, Any], loss: float) -> tuple[float, float]:
    """Images and seconds at which a curve first lies at a held-out loss or below; infinite if it never does."""
    return next(((p["images"], p["seconds"]) for p in curve["points"] if p["held out"] <= loss), (float("inf"), float("inf")))


def rows(curves: list[dict[str, Any]]) -> list[dict[str, Any]]:
    said = []
    for name in SETS:
        mine = [curve for curve in curves if curve["set"] == name]
        goal = min(curve["points"][-1]["held out"] for curve in mine if curve["network"] == "diffusers")
        for curve in mine:
            images, seconds = reached(curve, goal)
            last = curve["points"][-1]
            said.append(
                {
                    "set": name,
                    "network": "ours" if curve["network"] == "unet" else "diffusers",
                    "rate": f"{curve['rate']:g}",
                    "images seen": curve["images"],
                    "seconds": round(last["seconds"]),
                    "held-out loss": last["held out"],
                    "images to the best loss of diffusers": images if seconds < float("inf") else "not reached",
                    "seconds to it": seconds if seconds < float("inf") else "not reached",
                }
            )
    return said


def as_table(frozen: dict[str, Any]) -> str:
    columns = ("set", "network", "rate", "images seen", "seconds", "held-out loss", "images to the best loss of diffusers", "seconds to it")
    lines = [
        f"# Training: loss against images and seconds on {frozen['kind']}",
        "",
        f"`{frozen['command']}` ({frozen['machine']}, {frozen['precision']}). Both networks have 5.7 million parameters and the same loss; 1 is a Gaussian's.",
        f"Held out: {HELD_OUT} images that are never learned from (faces: other persons). Seconds are of learning alone.",
        f"The short runs have {IMAGES_SEEN // 64} steps: they compare beginnings, not ends. Our rate was chosen among six beforehand, on TinyImageNet,",
        "after 16,384 or 32,768 images.",
        "Learning rates of diffusers' network were tried on TinyImageNet: "
        + ", ".join(f"{one['held out']:.3f} at {one['rate']:g}" for one in frozen["rates tried"])
        + f", after {frozen['rates tried'][0]['images']} images.",
        "",
        *table(frozen["rows"], columns, ".4g"),
        "",
        "## Held-out loss along the way",
        "",
        "| curve | " + " | ".join(f"{part:.0%}" for part in (0.05, 0.1, 0.25, 0.5, 0.75, 1)) + " |",
        "|" + "---|" * 7,
    ]
    for curve in frozen["curves"]:
        points = [min(curve["points"], key=lambda p, part=part: abs(p["images"] - part * curve["images"])) for part in (0.05, 0.1, 0.25, 0.5, 0.75, 1)]
        named = f"{curve['set']}, {'ours' if curve['network'] == 'unet' else 'diffusers'} at {curve['rate']:g}, {curve['images']} images"
        lines.append(f"| {named} | " + " | ".join(f"{p['held out']:.3f} ({p['seconds']:.0f} s)" for p in points) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    enlist()
    ours = Schedule().rate
    first = run("TinyImageNet", "unet", IMAGES_SEEN, ours)
    tried = [run("TinyImageNet", "diffusers", IMAGES_SEEN // 3, rate) for rate in PEER_RATES]
    rate = min(tried, key=lambda curve: curve["points"][-1]["held out"])["rate"]
    theirs = run("TinyImageNet", "diffusers", IMAGES_SEEN, rate)
    longer = round(theirs["seconds"] / first["seconds"] * IMAGES_SEEN / 1024) * 1024
    curves = [first, run("TinyImageNet", "unet", longer, ours), theirs, run("faces", "unet", IMAGES_SEEN, ours), run("faces", "diffusers", IMAGES_SEEN, rate)]
    frozen = {
        "question": "what loss does the network reach after how many images and seconds, beside diffusers' U-Net under the same loss",
        "command": "python -m benchmarks.training",
        "kind": hardware.kind(),
        "precision": hardware.precision(),
        "rows": rows(curves),
        "curves": curves,
        "rates tried": [{"rate": curve["rate"], "images": curve["images"], "held out": curve["points"][-1]["held out"]} for curve in tried],
        "machine": curves[0]["machine"],
    }
    freeze(f"training_{kind().lower()}", frozen, as_table(frozen))


if __name__ == "__main__":
    main()
