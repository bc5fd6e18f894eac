"""Places compared with known-good ones: exact models, asked about items as they are."""

from __future__ import annotations

from .. import levels as grids
from ..walks import Clean
from ._recipe import Reading, Recipe, keep

#: Ask at each place of what a frozen network sees how far the item lies from what is usual there; calibrated place by place.
INSPECTION = keep(
    Recipe(
        "inspection",
        (Reading(Clean(grids.exploding([0.1**0.5])), "residual"),),
        space="features",
        combine="places",
        network="positions",
        vary=("auto",),
        source="a Gaussian per position as in Defard et al. 2021 (PaDiM, 2011.08785), read as the residual of its exact denoiser",
    )
)

#: The distance of each place to the nearest patch of known-good items.
MEMORY = keep(
    Recipe(
        "memory",
        (Reading(Clean(grids.exploding([0.01])), "residual"),),
        space="features",
        combine="highest",
        network="patches",
        housing={"blocks": (6, 13), "sizes": (256,), "grid": 32, "style": 0.0},
        source="Roth et al. 2022 (PatchCore, 2106.08265)",
    )
)

#: The same as inspection with one Gaussian for all places: for surfaces that look alike all over, and large pictures in tiles of their own pixels.
TEXTURE = keep(
    Recipe(
        "texture",
        (Reading(Clean(grids.exploding([0.3**0.5])), "residual"),),
        space="features",
        combine="highest",
        network="texture",
        housing={"blocks": (3, 6), "sizes": (256,), "grid": 32, "style": 0.0},
        source="one Gaussian for all places of an early block, after Defard et al. 2021 (PaDiM, 2011.08785)",
    )
)

#: Mahalanobis' distance of each place to what is usual there.
MAHALANOBIS = keep(
    Recipe(
        "mahalanobis",
        (Reading(Clean(grids.exploding([0.1, 1e4])), "mahalanobis"),),
        space="features",
        combine="highest",
        network="positions",
        housing={"blocks": (6, 13), "sizes": (256,), "grid": 32, "style": 0.0},
        source="Defard et al. 2021 (PaDiM, 2011.08785)",
    )
)

#: The distance to the nearest known-good item, pixel by pixel.
KNN = keep(
    Recipe("knn", (Reading(Clean(grids.exploding([0.001])), "residual"),), combine="ranks", network="none", source="nearest neighbours, Cover and Hart 1967")
)

#: What the principal components of known-good items leave unexplained.
PCA = keep(Recipe("pca", (Reading(Clean(grids.exploding([0.001])), "residual"),), combine="ranks", network="pca", source="Jackson and Mudholkar 1979"))
