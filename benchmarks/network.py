"""How much of this machine's measured convolution peak a network turns into answers, beside diffusers' U-Net in the same run.

    python -m benchmarks.network

Peak: the fastest of four 3 x 3 convolutions in each precision. Share: multiply-adds of the network, counted, times images
per second, over the peak, which is measured first. Networks are timed in turns, five rounds, and the median told; each change is taken away by itself.
Writes one file for each kind of processor: results/network_KIND.json.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from benchmarks._common import freeze, kind, machine, table
from benchmarks._peer import OURS, PEER, PEER_RATE, enlist
from diffident import hardware
from diffident.networks import DTYPES, Network, folded, layers, network
from diffident.optimise import Descent, Schedule

BATCH, SIDE, ROUNDS = 32, 32, 5
GOALS = {"AMX": 0.45, "AVX2": 0.80}


def in_turns(doing: Mapping[str, Callable[[], Any]], rounds: int = ROUNDS) -> dict[str, float]:
    """Median seconds of each, one after the other in every round: what disturbs one disturbs all."""
    for one in doing.values():
        one()
    taken: dict[str, list[float]] = {name: [] for name in doing}
    for _ in range(rounds):
        for name, one in doing.items():
            start = time.perf_counter()
            one()
            taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in taken.items()}


def peaks() -> dict[str, float]:
    """The fastest 3 x 3 convolution of each precision, operations per second."""
    found = {}
    for name in _precisions():
        doing, work = {}, {}
        for width, side in ((128, 16), (128, 32), (256, 8), (256, 16)):
            x = torch.randn(BATCH, width, side, side).to(DTYPES[name]).contiguous(memory_format=torch.channels_last)
            weight = torch.randn(width, width, 3, 3).to(DTYPES[name]).contiguous(memory_format=torch.channels_last)
            doing[f"{width} {side}"] = lambda x=x, weight=weight: torch.nn.functional.conv2d(x, weight, padding=1)
            work[f"{width} {side}"] = 2 * BATCH * side**2 * width**2 * 9
        with torch.no_grad():
            taken = in_turns(doing)
        found[name] = max(work[one] / taken[one] for one in doing)
    return found


def _precisions() -> list[str]:
    return sorted({"fp32", hardware.precision()})


def operations(of: Network) -> float:
    """Multiplications and additions of matrix products and convolutions, per image."""
    from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

    def attended(query: torch.Size, key: torch.Size, value: torch.Size, *_: Any, out_shape: Any = None, **__: Any) -> int:
        return sdpa_flop_count(query, key, value)

    attention = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attended}  # which torch does not count by itself
    with FlopCounterMode(display=False, custom_mapping=attention) as counter, torch.no_grad():
        of(torch.zeros(1, 3, SIDE, SIDE), torch.zeros(1))
    return counter.get_total_flops()


def inference(ours: Network, peer: Network, peak: Mapping[str, float]) -> list[dict[str, Any]]:
    """Images per second and share of the peak, in every precision that makes sense here."""
    rows = []
    for name in _precisions():
        x = torch.randn(BATCH, 3, SIDE, SIDE).to(DTYPES[name])
        ready, other = folded(ours, name), _cast(peer, name)
        with torch.no_grad():
            taken = in_turns({"ours": partial(ready, x, torch.tensor(-0.3)), "diffusers": partial(other, x, torch.tensor(-0.3))})
        for who, of in (("ours", ours), ("diffusers", peer)):
            speed, work = BATCH / taken[who], operations(of)
            row = {"network": who, "precision": name, "images per second": speed, "GFLOP per image": work / 1e9, "share of peak": work * speed / peak[name]}
            rows.append({**row, "parameters": sum(p.numel() for p in of.parameters())})
    return rows


def _cast(peer: Network, name: str) -> Network:
    again = network("diffusers", peer.settings())
    again.load_state_dict(peer.state_dict())
    return again.to(DTYPES[name]).to(memory_format=torch.channels_last).eval()


def training() -> dict[str, float]:
    """Images per second of a whole step: loss, gradient, clipping, Adam, average; the batch is 64."""
    elements, how = 0.5 * torch.randn(512, 3, SIDE, SIDE), Schedule()
    ours, peer = Descent(elements, "unet", OURS, how), Descent(elements, "diffusers", PEER, replace(how, rate=PEER_RATE))
    taken = in_turns({"ours": lambda: ours.advance(elements), "diffusers": lambda: peer.advance(elements)})
    return {who: how.batch / seconds for who, seconds in taken.items()}


def changes(ours: Network) -> list[dict[str, Any]]:
    """What each choice brings: images per second with it taken away, all else as it is."""
    best = hardware.precision()
    x, level = torch.randn(BATCH, 3, SIDE, SIDE), torch.tensor(-0.3)
    ready, single, fine = folded(ours, best), folded(ours, "fp32"), folded(network("unet", {**OURS, "patch": 1}), best)
    low = x.to(DTYPES[best])

    def unfused() -> Tensor:
        with mock.patch.object(layers, "_fusible", lambda x, bias: False):
            return ready(low, level)

    doing = {
        "as it is": lambda: ready(low, level),
        "no fused passes of oneDNN": unfused,
        "weights normalised at every call": lambda: ours(low, level),
        "a level for each item": lambda: ready(low, level.expand(BATCH)),
        "single precision": lambda: single(x, level),
        "no space-to-depth stem (the same channels on a grid twice as fine)": lambda: fine(low, level),
    }
    with torch.no_grad():
        taken = in_turns(doing)
    return [{"change": name, "images per second": BATCH / seconds, "of as it is": taken["as it is"] / seconds} for name, seconds in taken.items()]


def compiled(ours: Network) -> dict[str, float]:
    """What ``torch.compile`` costs once and brings, or nothing where it does not work."""
    best = hardware.precision()
    ready, x, level = folded(ours, best), torch.randn(BATCH, 3, SIDE, SIDE).to(DTYPES[best]), torch.tensor(-0.3)
    try:
        with torch.no_grad():
            start, faster = time.perf_counter(), torch.compile(ready)
            faster(x, level)
            cold = time.perf_counter() - start
            taken = in_turns({"plain": lambda: ready(x, level), "compiled": lambda: faster(x, level)})
    except Exception as error:  # no compiler here, or a version that does not take it: a figure, not a failure
        print(f"torch.compile does not work here: {type(error).__name__}")
        return {}
    gain = taken["plain"] - taken["compiled"]
    return {"cold start, seconds": cold, "speed": taken["plain"] / taken["compiled"], "images until it pays": BATCH * cold / gain if gain > 0 else float("inf")}


def as_table(frozen: Mapping[str, Any]) -> str:
    peak = ", ".join(f"{name} {value / 1e12:.3f} TFLOP/s" for name, value in frozen["peak"].items())
    train, once, goal = frozen["training"], frozen["compile"], GOALS.get(frozen["kind"])
    lines = [
        f"# Network: speed on {frozen['kind']}",
        "",
        f"`{frozen['command']}` ({frozen['machine']}). Measured convolution peak: {peak}.",
        f"Batches of {BATCH} at {SIDE} x {SIDE}, timed in turns, medians of {ROUNDS}. Both networks have 5.7 million parameters. "
        + (f"The goal for this kind of processor is a share of {goal:g}." if goal else "No goal was set for this kind: AMX was to reach .45, AVX2 .80."),
        "",
        *table(frozen["inference"], ("network", "precision", "images per second", "GFLOP per image", "share of peak"), ".3f"),
        "",
        f"Training, a whole step in {frozen['precision']}: {train['ours']:.0f} images per second, diffusers {train['diffusers']:.0f}: "
        f"{train['ours'] / train['diffusers']:.2f} times (goal 3). What the losses are at that speed: [training](training_{frozen['kind'].lower()}.md).",
        "",
        "## What each choice brings",
        "",
        *table(frozen["changes"], ("change", "images per second", "of as it is"), ".3f"),
    ]
    told = f"costs {once['cold start, seconds']:.0f} s once and runs {once['speed']:.2f} times as fast" if once else "does not work here"
    ever = once and once["images until it pays"] < float("inf")
    pays = f"; it pays after {once['images until it pays']:.0f} images" if ever else "; it never pays" if once else ""
    return "\n".join([*lines, "", f"`torch.compile` {told}{pays}. It is not used.", ""])


def main() -> None:
    enlist()
    torch.manual_seed(0)
    ours, peer = network("unet", OURS), network("diffusers", PEER)
    peak = peaks()
    frozen = {
        "question": "what share of the measured peak does the network reach, and how many images a second, beside diffusers' U-Net",
        "command": "python -m benchmarks.network",
        "kind": hardware.kind(),
        "precision": hardware.precision(),
        "peak": peak,
        "inference": inference(ours, peer, peak),
        "training": training(),
        "changes": changes(ours),
        "compile": compiled(ours),
        "machine": machine(f"torch {torch.__version__}"),
    }
    freeze(f"network_{kind().lower()}", frozen, as_table(frozen))


if __name__ == "__main__":
    main()
