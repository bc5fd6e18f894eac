"""Ways to noise and pulls on the way: how an item moves, where it lands, how probable that makes it."""

from __future__ import annotations

from .. import levels as grids
from ..errors import InvalidSetting
from ..statistics.score_error import WEIGHTS
from ..walks import Clean, Encode, Forward, Renoise
from ._recipe import Reading, Recipe, keep

#: The six numbers of a path to noise.
DIFFPATH = keep(Recipe("diffpath", (Reading(Encode(), "path_speed"), Reading(Encode(), "path_curvature")), source="Heng et al. 2024, 2405.11881"))

#: The one number of the same paper.
DIFFPATH_1D = keep(Recipe("diffpath-1d", (Reading(Encode(), "path_curvature", {"powers": (2,)}),), combine="ranks", source="Heng et al. 2024, 2405.11881"))

#: The norms of the score of the clean item at ten claimed levels.
MSMA = keep(Recipe("msma", (Reading(Clean(), "score_norm"),), source="Mahmood et al. 2021, 2010.13132"))

#: Five steps to noise: where the item lands, and how probable that makes it.
INVERSION = keep(
    Recipe(
        "inversion",
        tuple(Reading(Encode(grids.cosine(5), clip=False), name) for name in ("landing", "likelihood")),
        source="Sakai & Hasegawa 2025 (InvAD, 2504.05662); Song et al. 2021, 2011.13456",
    )
)


def diffpath_v2(variant: str = "forward", weight: str = "one-minus-ssim", squared: bool = False, window: int = 7, steps: int = 10) -> Recipe:
    """Score errors along the way, weighted by structural similarity, and their change: six signed sums. Every choice is a switch.

    Args:
        variant: ``forward`` noises the item to each level with one noise, which is the truth; ``path`` encodes it and takes the noise at the end for the truth.
        weight: ``one-minus-ssim``, ``noise-ssim``, ``exp`` or ``none``: see ``diffident.statistics.score_error``.
        squared: whether the error map is squared.
        window: places along a side of the window of SSIM, odd.
        steps: levels of the cosine schedule, two or more.

    Raises:
        InvalidSetting: another variant or weight, an even window, or less than two steps.

    >>> diffpath_v2().cost, diffpath_v2("path", "none", steps=5).cost
    (Cost(evaluations=10, products=0), Cost(evaluations=5, products=0))
    """
    truths = {"forward": "added", "path": "terminal"}
    if variant not in truths or weight not in WEIGHTS or window < 1 or window % 2 == 0 or steps < 2:
        raise InvalidSetting(
            f"a variant is {' or '.join(truths)}, a weight {', '.join(WEIGHTS)}, the window odd, and steps are two or more; "
            f"got {variant!r}, {weight!r}, window={window}, steps={steps}"
        )
    grid = grids.cosine(steps)
    settings = {"truth": truths[variant], "weight": weight, "squared": squared, "window": window}
    reading = Reading(Forward(grid) if variant == "forward" else Encode(grid), "score_error", settings)
    source = "after the abstract and accounts of DiffPathV2 (2507.22692), whose formulas are not public"
    return Recipe("diffpath-v2", (reading,), "" if weight in ("none", "noise-ssim") else "pixels", source=source)


#: The likeliest reading of what is known of it.
DIFFPATH_V2 = keep(diffpath_v2())

_DDPM = grids.linear(1000)

#: The squared score beside its divergence, at the first and the 300th of a thousand levels.
SCOPED = keep(
    Recipe(
        "scoped",
        (Reading(Renoise(grids.Levels((_DDPM.alpha[0], _DDPM.alpha[299]), (_DDPM.sigma[0], _DDPM.sigma[299]))), "fisher_ratio"),),
        combine="ranks",
        source="SCOPED (2510.01456), after an account of it; ranks in place of a density for each level",
    )
)


def eigen(k: int = 1, draws: int = 1, iterations: int = 5, step: float = 1.0) -> Recipe:
    """The largest eigenvalues of the posterior covariance at five levels. Cost: 5 draws (1 + 2 k iterations) evaluations.

    Args:
        k: eigenvalues that are summed.
        draws: of noise at each level.
        iterations: of the subspace iteration, never stopped early.
        step: of the central differences.

    Raises:
        InvalidSetting: less than one of the first three, or no step.

    >>> eigen().cost, eigen(k=3, draws=20, iterations=50).cost
    (Cost(evaluations=55, products=0), Cost(evaluations=30100, products=0))
    """
    levels = [grids.part(_DDPM, t, t) for t in (100, 150, 200, 250, 300)]
    walk = Renoise(grids.Levels(tuple(one.alpha[0] for one in levels), tuple(one.sigma[0] for one in levels)), repeats=draws)
    reading = Reading(walk, "posterior_eigenvalues", {"k": k, "iterations": iterations, "step": step})
    source = "Shoushtari et al. 2025 (EigenScore, 2510.07206), with iterations that are never stopped early and ranks in place of a sum"
    return Recipe("eigen", (reading,), combine="ranks", source=source)


#: One eigenvalue, one draw: on the paper's own average no worse than three.
EIGEN = keep(eigen())

_TO_NOISE = Encode(grids.cosine(20), clip=False)

#: How many bits the item takes, by the change of variables along the probability-flow ODE.
LIKELIHOOD = keep(Recipe("likelihood", (Reading(_TO_NOISE, "bits_per_dimension"),), combine="ranks", source="Song et al. 2021 (2011.13456), in 20 steps"))

#: The same without what the item's own complexity explains.
INPUT_COMPLEXITY = keep(
    Recipe("input-complexity", (Reading(_TO_NOISE, "input_complexity"),), "pixels", "ranks", "Serra et al. 2020 (1909.11480), with PNG and a diffusion model")
)

#: How far the likelihood lies from the usual one, either way.
TYPICALITY = keep(Recipe("typicality", (Reading(_TO_NOISE, "likelihood"),), source="Nalisnick et al. 2019 (1906.02994), of one item"))
