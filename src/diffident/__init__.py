"""Diffident asks a diffusion model how strange something is, and turns the answer into a decision whose error rate is known.

Importing this package imports nothing heavy; each public name is fetched when it is first used.
"""

from __future__ import annotations

import importlib
from importlib.metadata import version as _version

_HOMES = {
    "Detector": "detector",
    "DiffidentError": "errors",
    "Guard": "guard",
    "Model": "model",
    "Policy": "verdict",
    "Reading": "recipes",
    "Recipe": "recipes",
    "Release": "release",
    "Request": "requests",
    "Scorer": "scorer",
    "Scores": "scores",
    "Training": "settings",
    "Verdict": "verdict",
    "Verdicts": "verdict",
    "load": "store",
    "record": "pipelines.recording",
    "save": "store",
    "train": "learning",
    "train_head": "teaching",
    "training": "learning",
}

__version__ = _version("diffident")
__all__ = [
    "Detector",
    "DiffidentError",
    "Guard",
    "Model",
    "Policy",
    "Reading",
    "Recipe",
    "Release",
    "Request",
    "Scorer",
    "Scores",
    "Training",
    "Verdict",
    "Verdicts",
    "load",
    "record",
    "save",
    "train",
    "train_head",
    "training",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'diffident' has no attribute {name!r}")
    thing = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = thing
    return thing


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
