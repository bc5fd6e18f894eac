"""Published methods, written down as data, a file for each family. Papers' names live here and in reference lines only."""

from ._recipe import Reading, Recipe, recipe, recipe_from
from .controls import HAAR_ENERGIES, TRIVIAL
from .inside import ACTIVATIONS, ACTIVATIONS_TOLD, ZERO_SHOT, activations, zero_shot
from .inspection import INSPECTION, KNN, MAHALANOBIS, MEMORY, PCA, TEXTURE
from .introspection import INTROSPECTION, INTROSPECTION_OUTSIDE, INTROSPECTION_PATH
from .paths import (
    DIFFPATH,
    DIFFPATH_1D,
    DIFFPATH_V2,
    EIGEN,
    INPUT_COMPLEXITY,
    INVERSION,
    LIKELIHOOD,
    MSMA,
    SCOPED,
    TYPICALITY,
    diffpath_v2,
    eigen,
)
from .reconstruction import CONDITIONED, CONDITIONED_PIXELS, DEVIATION, MASK, MULTI_START, PARTIAL, RECONSTRUCTION, WAVELET_SEMANTIC, wavelet_semantic

__all__ = [
    "ACTIVATIONS",
    "ACTIVATIONS_TOLD",
    "CONDITIONED",
    "CONDITIONED_PIXELS",
    "DEVIATION",
    "DIFFPATH",
    "DIFFPATH_1D",
    "DIFFPATH_V2",
    "EIGEN",
    "HAAR_ENERGIES",
    "INPUT_COMPLEXITY",
    "INSPECTION",
    "INTROSPECTION",
    "INTROSPECTION_OUTSIDE",
    "INTROSPECTION_PATH",
    "INVERSION",
    "KNN",
    "LIKELIHOOD",
    "MAHALANOBIS",
    "MASK",
    "MEMORY",
    "MSMA",
    "MULTI_START",
    "PARTIAL",
    "PCA",
    "RECONSTRUCTION",
    "SCOPED",
    "TEXTURE",
    "TRIVIAL",
    "TYPICALITY",
    "WAVELET_SEMANTIC",
    "ZERO_SHOT",
    "Reading",
    "Recipe",
    "activations",
    "diffpath_v2",
    "eigen",
    "recipe",
    "recipe_from",
    "wavelet_semantic",
    "zero_shot",
]
