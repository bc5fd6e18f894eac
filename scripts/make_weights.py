"""Makes the weights that come with the package from the arrays that DIFFIDENT_DATA names, and the notice beside them.

    python scripts/make_weights.py                  write src/diffident/weights/mobilenet_v2

Reads ``networks/mobilenet_v2.npz`` (batch norm folded in, 8-bit numbers times one scale a tensor, as float32) and
``licences/apache-2.0.txt``. Weights become float16, biases, half a percent of the numbers, stay float32. Then it says how far
the network's answers move by that, on the reference pictures of ``networks/check.npz``. Deterministic: the same arrays give the same bytes.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("DIFFIDENT_DATA", ROOT.parent / "shared" / "data"))
TARGET = ROOT / "src" / "diffident" / "weights" / "mobilenet_v2"
NEEDED = ("networks/mobilenet_v2.npz", "networks/check.npz", "licences/apache-2.0.txt")
NOTICE = """weights.safetensors holds the weights of MobileNetV2 1.0, 224 px, as published in the repository google-coral/test_data
(https://github.com/google-coral/test_data, commit 104342d2d348, file mobilenet_v2_1.0_224_quant.tflite) under the Apache
License, Version 2.0. Changed: 8-bit numbers were multiplied out, batch norm was folded in before they were published, layouts
were turned to those of torch, and weights rounded to float16. The licence follows.

"""


def main() -> None:
    if absent := [name for name in NEEDED if not (DATA / name).exists()]:
        raise SystemExit(f"no {', '.join(absent)} in {DATA}; name the folder of benchmark data in DIFFIDENT_DATA")
    with np.load(DATA / NEEDED[0]) as arrays:
        exact = {name: torch.from_numpy(array) for name, array in sorted(arrays.items())}
    kept = {name: tensor.half() if name.startswith("w") else tensor for name, tensor in exact.items()}
    TARGET.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in kept.items()}, TARGET / "weights.safetensors")
    (TARGET / "weights.safetensors").chmod(0o644)  # it was written for its owner alone
    (TARGET / "NOTICE").write_text(NOTICE + (DATA / NEEDED[2]).read_text())
    print(f"{(TARGET / 'weights.safetensors').stat().st_size / 1e6:.2f} MB in {TARGET.relative_to(ROOT)}")
    compare({"float32": exact, "as stored": kept})


def compare(candidates: dict[str, dict[str, torch.Tensor]]) -> None:
    """How far the answers to the reference pictures lie from the reference answers, in the two kinds of arithmetic."""
    from diffident.networks.frozen import MobileNetV2

    with np.load(DATA / NEEDED[1]) as check:
        pixels = torch.from_numpy(check["image"]).permute(0, 3, 1, 2) / 127.5 - 1
        wanted = {name: torch.from_numpy(check[f"mobilenet_{name}"]) for name in ("block5_mean", "block17_mean", "embedding", "logits")}
    print("largest difference, and root mean square difference relative to the answers")
    for (name, tensors), precision in ((pair, precision) for pair in candidates.items() for precision in ("fp32", "bf16")):
        network = MobileNetV2(tensors, precision)
        means = [found.mean((2, 3)) for found in network.features(pixels, [5, 17])]
        for (answer, right), found in zip(wanted.items(), [*means, network.embedding(pixels), network.logits(pixels)], strict=True):
            print(f"{name:10} {precision}  {answer:13} {(found - right).abs().max():.1e}  {(found - right).norm() / right.norm():.1e}")


if __name__ == "__main__":
    main()
