"""What guarding costs beside making samples, and what giving hopeless ones up half-way saves.

    python -m benchmarks.guard

The base model makes pictures by DDIM, with and without a guard, in turn. What is given up, and what of it
would have failed, is counted on eight modes on a ring, whose exact denoiser falls between modes when it hurries.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

import diffident as dd
from benchmarks._common import freeze, machine, table
from diffident import levels
from diffident.denoiser import GaussianMixture
from diffident.generators.own import OwnGenerator
from diffident.guard import Guard
from diffident.modalities.row import Row
from diffident.model import Model
from diffident.requests import requests, seeds_of
from diffident.walks import Sample

NAME, STEPS, TURNS, MADE = "guard", (20, 50), 3, 32
SPREAD, SAMPLES = 0.02, 2_000
RECIPES = ("introspection", "introspection-path")


def costs() -> list[dict[str, Any]]:
    """Seconds for a chunk of samples, guarded and not, in turn."""
    model, rows = dd.load("base"), []
    for steps in STEPS:
        sampler = Sample("ddim", levels.cosine(steps))
        plain = OwnGenerator(model, sampler)
        guards = {name: fitted(Guard(model, dd.Release(withhold=0.1), name, sampler=sampler)) for name in RECIPES}
        spent: dict[str, list[float]] = {name: [] for name in ("unguarded", *RECIPES)}
        for turn in range(TURNS):
            for name in spent:
                start = time.perf_counter()
                if name == "unguarded":
                    list(plain.attempts(requests(n=MADE), [seeds_of(turn, i, 1)[0] for i in range(MADE)]))
                else:
                    list(guards[name].generate(n=MADE, seed=turn))
                spent[name].append(time.perf_counter() - start)
        for name in RECIPES:
            ratios = np.array(spent[name]) / np.array(spent["unguarded"])
            more = guards[name].introspection.recipe.cost.evaluations
            rows.append({"steps": steps, "recipe": name, "evaluations more": more, "time over unguarded": float(np.median(ratios)) - 1})
    return rows


def fitted(guard: Guard) -> Guard:
    return guard.fit(guard.trial(n=64))


def ring() -> GaussianMixture:
    at = torch.arange(8) * torch.pi / 4
    return GaussianMixture(0.8 * torch.stack([at.cos(), at.sin()], dim=1)[:, None], torch.full((8,), SPREAD**2))


def fails(items: np.ndarray, world: GaussianMixture) -> np.ndarray:
    return np.linalg.norm(items.reshape(-1, 1, 2) - world.means.numpy()[None], axis=2).min(axis=1) > 6 * SPREAD


def saved() -> list[dict[str, Any]]:
    """Of samples in sixteen steps, what is given up, what of it would have failed, and evaluations saved."""
    world, rows = ring(), []
    model = Model(world, Row((0.0, 0.0), (1 / 3, 1 / 3)), name="ring")
    sampler = Sample("ddim", levels.cosine(16))
    for share in (0.5, 0.75):
        guard = Guard(model, dd.Release(risk=0.05, early=0.01, share=share), sampler=sampler)
        plain = OwnGenerator(model, sampler)
        seeds = [seeds_of(1, i, 1)[0] for i in range(SAMPLES)]
        trial, bad = guard.trial(n=SAMPLES, seed=0), fails(outputs(plain, [seeds_of(0, i, 1, "trial")[0] for i in range(SAMPLES)]), world)
        guard.fit(trial, bad)
        truth = fails(outputs(plain, seeds), world)
        given_up = np.array([bool(one.attempts) and one.attempts[-1].abandoned for one in guard.generate(n=SAMPLES, seed=1)])
        left = 1 - share
        rows.append(
            {
                "looked at after": share,
                "failures": float(truth.mean()),
                "failures given up": float(given_up[truth].mean()),
                "good given up": float(given_up[~truth].mean()),
                "evaluations saved": float(given_up.mean() * left),
            }
        )
    return rows


def outputs(generator: OwnGenerator, seeds: list[int]) -> np.ndarray:
    made = sorted(generator.attempts(requests(n=len(seeds)), seeds), key=lambda one: one.index)
    return np.stack([one.output for one in made]).reshape(-1, 2)


def main() -> None:
    spent, less = costs(), saved()
    lines = [
        "# What a guard costs, and what giving up saves",
        "",
        f"{MADE} pictures of 32 x 32 by the base model, DDIM; median of {TURNS} turns, guarded and unguarded in turn.",
        "",
        *table(spent, ("steps", "recipe", "evaluations more", "time over unguarded"), ".3f"),
        "",
        f"Eight modes on a ring, exact denoiser, DDIM in 16 steps; failures lie beyond 6 deviations of every mode; {SAMPLES} samples teach and calibrate,",
        f"{SAMPLES} fresh ones are counted. Release(risk=0.05, early=0.01).",
        "",
        *table(less, ("looked at after", "failures", "failures given up", "good given up", "evaluations saved"), ".3f"),
        "",
        machine(),
    ]
    freeze(NAME, {"costs": spent, "saved": less}, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
