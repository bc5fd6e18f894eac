"""Noise put on and taken off, parts hidden and filled in: what comes back is compared with what was there."""

from __future__ import annotations

from .. import levels as grids
from ..walks import Compare, Descend, Inpaint, Reconstruct, Renoise, Restore, Walk
from ._recipe import Reading, Recipe, keep

#: Noise the item at several levels, ask what was there, and see how far the answer lies from the item.
RECONSTRUCTION = keep(
    Recipe(
        "reconstruction",
        (Reading(Renoise(grids.angular([0.1, 0.3, 1.0])), "residual"),),
        combine="ranks",
        source="Graham et al. 2023, 2211.07740, without its sampling chain",
    )
)

#: Noise the item half way, walk it back to the data, and compare.
PARTIAL = keep(
    Recipe(
        "partial",
        (Reading(Reconstruct(start=0.5, steps=5), "residual", {"last": True}),),
        combine="ranks",
        source="Wyatt et al. 2022 (AnoDDPM), with Gaussian noise",
    )
)


def _compared(walk: Walk, *statistics: str) -> tuple[Reading, ...]:
    """Statistics of the last answer of a walk, compared from inside with the item."""
    return tuple(Reading(Compare(walk), name, {"last": True} if name == "residual" else {}) for name in statistics)


#: Noise the item a quarter of the way, walk it back drawn toward itself, and compare in pixels.
CONDITIONED_PIXELS = keep(
    Recipe(
        "conditioned-pixels",
        (Reading(Descend(), "residual", {"last": True}),),
        combine="ranks",
        source="Mousakhan et al. 2023 (DDAD, 2305.15956), its map of pixels; pull 1 for all, where the paper chose 0 to 11 by category",
    )
)

#: The same, compared from inside too: needs a network.
CONDITIONED = keep(
    Recipe(
        "conditioned",
        _compared(Descend(), "residual", "semantic"),
        combine="ranks",
        source="Mousakhan et al. 2023 (DDAD, 2305.15956), with the activations of the denoiser's own network, not of a pretrained one",
    )
)

#: Take the item for a noisy one, restore it, and see what had to go, in pixels and from inside: needs a network.
DEVIATION = keep(
    Recipe(
        "deviation",
        _compared(Restore(), "deviation"),
        combine="ranks",
        source="He et al. 2025 (DeCo-Diff, CVPR), its inference, with a denoiser that was not trained for it",
    )
)

#: Hide every other square, fill it in from the rest, change sides.
MASK = keep(
    Recipe(
        "mask",
        (Reading(Inpaint(), "residual", {"last": True}),),
        combine="ranks",
        source="Liu et al. 2023 (LMD, 2302.10326), once, with squared error",
    )
)

#: From five starting points of one schedule back to the data.
MULTI_START = keep(
    Recipe(
        "multi-start",
        tuple(
            Reading(Descend(grids.part(grids.scaled_linear(20), 1, start), pull=0.0, eta=0.0), "residual", {"last": True}, f"residual from {start} of 20")
            for start in (4, 8, 12, 16, 20)
        ),
        source="Graham et al. 2023 (DDPM-OOD, 2211.07740), with DDIM steps on a fifth of its levels and squared error alone",
    )
)


def wavelet_semantic(starts: tuple[float, ...] = (0.16, 0.33, 0.51), bands: int = 4, semantic: bool = True, space: str = "haar") -> Recipe:
    """Reconstructions from several starts: the error in each wavelet band, and the discrepancy seen from inside.

    Each ingredient can be left out for an ablation; attention is the network's own setting (``head=0``).

    Args:
        starts: sigma / alpha at which reconstructions begin, five steps each; one for a single scale.
        bands: into which the channels are cut: 4 in haar of one level, 1 for the plain residual, as in pixels.
        semantic: whether activations are compared; without, no network is needed.
        space: in which the model must live; ``pixels`` leaves wavelets out.

    >>> wavelet_semantic().cost, wavelet_semantic(starts=(0.33,), bands=1, semantic=False, space="pixels").cost
    (Cost(evaluations=21, products=0), Cost(evaluations=5, products=0))
    """
    readings = []
    for start in starts:
        walk = Compare(Reconstruct(start)) if semantic else Reconstruct(start)
        readings += [Reading(walk, "band_residual", {"band": b, "bands": bands, "last": True}, f"band {b + 1} from {start}") for b in range(bands)]
        readings += [Reading(walk, "semantic", {}, f"semantic from {start}")] if semantic else []
    source = "Chen 2025, 2505.05137, whose formulas are not public: a design after its abstract"
    return Recipe("wavelet-semantic", tuple(readings), space, "gaussian", source)


#: The whole of it. Starts are a tenth, a fifth and three tenths of the cosine schedule.
WAVELET_SEMANTIC = keep(wavelet_semantic())
