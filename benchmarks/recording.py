"""What recording costs a pipeline of diffusers that generates.

    python -m benchmarks.recording

A U-Net of diffusers with random weights at 32 x 32 in colour generates three times a round: recorded, not recorded, and not recorded again; the
order goes round, so that a busy machine slows all alike. What is told is the ratio of the recorded run to the unrecorded one of its round, and beside
it that of the two unrecorded ones: how far equal runs lie apart here. Processor time is told beside wall time, for others' work enters it less.
All runs of one scheduler must make the same bits, or nothing is written.

Where equal runs lie further apart than the goal, that ratio cannot tell whether it is kept. What recording adds to a step does not depend on the
network, so it is measured once more beside a network that costs nothing, in processor time, and set against a step of the real one.
Times depend on the machine: each kind of processor has figures of its own. Writes benchmarks/results/recording_KIND.json and .md.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch

import diffident as dd
from benchmarks._common import freeze, kind, machine, resampled, table

SIDE, BATCH, STEPS, ROUNDS, WIDTHS = 32, 4, 5, 12, (64, 128, 128)
FREE_STEPS = 100
#: A recording may take at most this share of the time of generating.
GOAL = 0.02
SCHEDULERS = ("DDPM", "DDIM")


def pipeline(name: str) -> Any:
    import diffusers

    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"), "up_block_types": ("AttnUpBlock2D", "UpBlock2D", "UpBlock2D")}
    unet = diffusers.UNet2DModel(sample_size=SIDE, in_channels=3, out_channels=3, layers_per_block=1, block_out_channels=WIDTHS, **blocks).eval()
    pipe = getattr(diffusers, f"{name}Pipeline")(unet, getattr(diffusers, f"{name}Scheduler")())
    pipe.set_progress_bar_config(disable=True)
    return pipe


def generated(pipe: Any, recorded: bool, steps: int = STEPS) -> tuple[tuple[float, float], np.ndarray]:
    """Wall and processor seconds of a call, and what it made; opening and closing the recording is part of the time."""
    generator = torch.Generator().manual_seed(1)
    start = time.perf_counter(), time.process_time()
    with dd.record(pipe) if recorded else nullcontext():
        made = pipe(batch_size=BATCH, num_inference_steps=steps, generator=generator, output_type="np").images
    return (time.perf_counter() - start[0], time.process_time() - start[1]), made


def rounds(pipe: Any) -> np.ndarray:
    """Seconds (ROUNDS, 3, 2): recorded, not recorded, not recorded again; wall and processor."""
    seconds = np.empty((ROUNDS, 3, 2))
    expected = generated(pipe, False)[1]  # the first time warms caches
    for i in range(ROUNDS):
        for run in np.roll(np.arange(3), i):
            seconds[i, run], made = generated(pipe, bool(run == 0))
            if not np.array_equal(made, expected):
                raise SystemExit("a run made other bits; nothing was written")
    return seconds


class Free(torch.nn.Module):
    """A network that costs next to nothing, of the same shapes."""

    def __init__(self, like: Any) -> None:
        super().__init__()
        self.config, self.dtype, self.device = like.config, like.dtype, like.device

    def forward(self, sample: torch.Tensor, timestep: Any) -> Any:
        from diffusers.models.unets.unet_2d import UNet2DOutput

        return UNet2DOutput(sample=sample * 0.1)


def added(name: str) -> float:
    """Processor seconds that recording adds to a step: how far recorded and unrecorded runs lie apart where the network is free, median over rounds."""
    pipe = pipeline(name)
    pipe.unet = Free(pipe.unet)
    generated(pipe, True, FREE_STEPS)
    differences = [generated(pipe, True, FREE_STEPS)[0][1] - generated(pipe, False, FREE_STEPS)[0][1] for _ in range(ROUNDS)]
    return float(np.median(differences)) / FREE_STEPS


def rows(name: str) -> list[dict[str, Any]]:
    pipe = pipeline(name)
    seconds, parameters = rounds(pipe), sum(one.numel() for one in pipe.unet.parameters())
    found = []
    for run, what in ((0, "recorded"), (2, "not recorded again")):
        wall, processor = (seconds[:, run] / seconds[:, 1]).T
        low, high = resampled(lambda counts, ratios=wall: float(np.median(np.repeat(ratios, counts))), ROUNDS, 2000)
        about = {"scheduler": name, "run": what, "parameters": parameters, "seconds": float(np.median(seconds[:, run, 0]))}
        found.append(about | {"ratio": float(np.median(wall)), "low": low, "high": high, "ratio of processor time": float(np.median(processor))})
    own, step = added(name), float(np.median(seconds[:, 1, 1])) / STEPS
    return [one | {"added ms a step": 1e3 * own, "ms a step": 1e3 * step, "share": own / step} for one in found]


def as_table(frozen: dict[str, Any]) -> str:
    recorded = [one for one in frozen["rows"] if one["run"] == "recorded"]
    worst, dearest = (max(recorded, key=lambda one: one[figure]) for figure in ("ratio", "share"))
    lines = [
        "# Recording a pipeline: what it costs",
        "",
        f"`{frozen['command']}`, {frozen['seconds']:.0f} s ({frozen['machine']}).",
        f"{BATCH} pictures of {SIDE} x {SIDE} in colour, {STEPS} steps, a U-Net of {worst['parameters'] / 1e6:.1f} million parameters.",
        "Recorded or not, every run made the same bits.",
        "",
        f"Processor time, beside a network that costs nothing: recording adds at most {100 * dearest['share']:.2f} % to a step of this U-Net",
        f"({dearest['scheduler']}); the goal is {100 * GOAL:g} %.",
        "",
        *table(recorded, ("scheduler", "added ms a step", "ms a step", "share"), ".3g"),
        "",
        f"Wall time, {ROUNDS} rounds: *ratio* of a run to the unrecorded one of its round, median with its 95 % bootstrap interval. *Not recorded",
        f"again* is how far equal runs lie apart on the machine as busy as it was; the highest median of recorded ones is {worst['ratio']:.3f}",
        f"({worst['scheduler']}).",
        "",
        *table(frozen["rows"], ("scheduler", "run", "seconds", "ratio", "low", "high", "ratio of processor time"), ".4g"),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    start = time.perf_counter()
    frozen: dict[str, Any] = {
        "question": "how much longer does a pipeline take while it is recorded",
        "command": "python -m benchmarks.recording",
        "rows": [row for name in SCHEDULERS for row in rows(name)],
        "machine": machine(f"torch {torch.__version__.partition('+')[0]}", f"{torch.get_num_threads()} threads"),
    }
    freeze(f"recording_{kind().lower()}", frozen | {"seconds": (spent := time.perf_counter() - start)}, as_table(frozen | {"seconds": spent}))


if __name__ == "__main__":
    main()
