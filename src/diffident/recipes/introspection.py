"""By what a model may recognise its own failed samples: the way on which each came about, and what the model says of it once it is finished."""

from __future__ import annotations

from .. import levels as grids
from ..walks import Clean, Renoise, Sampled
from ._recipe import Reading, Recipe, keep

#: Windows of noise level, sigma / alpha: while details, forms, and the whole are decided. Fixed before anything was looked at.
WINDOWS = ((0.03, 0.15), (0.15, 0.6), (0.6, 3.0))

#: What is read in every window.
WINDOWED = ("indecision", "clip_fraction", "path_energy", "path_curvature", "secant")

#: The level that is told, or put on, when a finished sample is shown again.
TOLD = 0.2


def _of_the_way() -> tuple[Reading, ...]:
    """No evaluation."""
    own = {"path_curvature": {"powers": (2,)}}
    windowed = [
        Reading(Sampled(), name, {"low": low, "high": high, **own.get(name, {})}, f"{name} {low:g} to {high:g}") for name in WINDOWED for low, high in WINDOWS
    ]
    return (*windowed, Reading(Sampled(), "last_jump"))


def _of_the_finished() -> tuple[Reading, ...]:
    """Two evaluations: one that shows the sample clean, one with noise on it."""
    told, noised = Clean(grids.angular([TOLD])), Renoise(grids.angular([TOLD]))
    inside = Reading(told, "activations", {"stream": "finest", "cells": 3}, "finest")
    return (inside, Reading(told, "residual", name="told residual"), Reading(noised, "residual", name="noised residual"))


#: The sample's own way alone: nothing is asked.
INTROSPECTION_PATH = keep(Recipe("introspection-path", _of_the_way(), combine="ranks", source="our own, after Aithal et al. 2024 (2406.09358)"))

#: The same, and what the network sees in the finished sample.
INTROSPECTION = keep(
    Recipe(
        "introspection",
        (*_of_the_way(), *_of_the_finished()),
        combine="fusion",
        source="our own, after Aithal et al. 2024 (2406.09358) and the pooling of CFS (2605.11014)",
    )
)

#: The same for denoisers that answer without a network, so that nothing is seen inside.
INTROSPECTION_OUTSIDE = keep(
    Recipe(
        "introspection-outside",
        (*_of_the_way(), *_of_the_finished()[1:]),
        combine="fusion",
        source="our own, after Aithal et al. 2024 (2406.09358)",
    )
)
