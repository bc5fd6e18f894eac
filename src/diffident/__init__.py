"""Diffident asks a diffusion model how strange something is, and turns the answer into a decision whose error rate is known.

Importing this package imports nothing heavy; each public name is fetched when it is first used.
"""

from __future__ import annotations

import importlib
from importlib.metadata import version as _version

_HOMES = {
    "Detector": "detector",
    "DiffidentError": "errors",
    "Model": "model",
    "Policy": "verdict",
    "Reading": "recipes",
    "Recipe": "recipes",
    "Scorer": "scorer",
    "Scores": "scores",
    "Training": "settings",
    "Verdict": "verdict",
    "Verdicts": "verdict",
    "load": "store",
    "record": "pipelines.recording",
    "save": "store",
    "train": "learning",
    "training": "learning",
}

__version__ = _version("diffident")
__all__ = [
    "Detector",
    "DiffidentError",
    "Model",
    "Policy",
    "Reading",
    "Recipe",
    "Scorer",
    "Scores",
    "Training",
    "Verdict",
    "Verdicts",
    "load",
    "record",
    "save",
    "train",
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
