"""What the model's own network holds while it looks at an item: one question or a few, and no reconstruction."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .. import levels as grids
from ..errors import InvalidSetting
from ..walks import Clean, Renoise, Unasked, Walk
from ._recipe import Reading, Recipe, keep

#: Log signal-to-noise 5.
FAINT = math.exp(-2.5)


def activations(streams: Sequence[str] = ("deepest", "finest"), ratio: float = FAINT, clean: bool = False) -> Recipe:
    """Mean and deviation of each channel of some streams of the network at one level, noised to it or clean and only told it. One evaluation.

    Args:
        streams: of the network, by name.
        ratio: sigma / alpha of the level.
        clean: whether the item is shown without noise.

    Raises:
        InvalidSetting: no streams, one twice, or a ratio not above 0.

    >>> activations().cost, activations(("down1", "deepest"), 1.0, clean=True).watches
    (Cost(evaluations=1, products=0), ('down1', 'deepest'))
    """
    walk = Clean(grids.angular([ratio])) if clean else Renoise(grids.angular([ratio]))
    readings = tuple(Reading(walk, "activations", {"stream": stream}, stream) for stream in streams)
    source = "CFS (2605.11014), with a full covariance in place of its diagonal one"
    return Recipe("activations-told" if clean else "activations", readings, source=source + (" and without noise" if clean else ""))


#: A low level, log signal-to-noise 5, one stream on the way down and one on the way up.
ACTIVATIONS = keep(activations())

#: The clean item under a high level that is only claimed: the network looks for what it would keep.
ACTIVATIONS_TOLD = keep(activations(ratio=1.0, clean=True))


def zero_shot(
    streams: Sequence[str] = ("down0", "up1", "finest"), noised: Sequence[float] = (FAINT,), told: Sequence[float] = (), trivial: bool = True
) -> Recipe:
    """What a network that was trained on other things sees in an item: activations of some of its streams, fused with three plain numbers.

    Each stream at each level is a group of its own, and so are the three numbers of the picture: ``fusion`` lets each speak with one voice.
    One evaluation for each level. The defaults were chosen on known-good pictures and outliers made of them, which could not tell many settings
    apart; under a high, false level (``told``) the network looks for the structure that it would keep under heavy noise.

    Args:
        streams: of the network, by name: of the finest grid on both ways, and a block on the way up.
        noised: sigma / alpha of the levels to which the item is noised.
        told: sigma / alpha of the levels that are only claimed, of the clean item.
        trivial: whether mean, deviation and Laplacian energy of the picture join; they cost nothing.

    Raises:
        InvalidSetting: no streams or no levels, one of them twice, or a level not above 0.

    >>> zero_shot().cost, zero_shot(("down1", "deepest"), noised=(), told=(0.5, 1.0, 2.0)).cost
    (Cost(evaluations=1, products=0), Cost(evaluations=3, products=0))
    """
    if not streams or not (noised or told) or not all(level > 0 for level in (*noised, *told)):
        raise InvalidSetting(
            f"zero-shot needs a stream or more and levels above 0; got streams {tuple(streams)}, noised to {tuple(noised)} and told {tuple(told)}"
        )
    walks: dict[str, Walk] = {f"noised to {level:.3g}": Renoise(grids.angular([level])) for level in noised}
    walks |= {f"told {level:.3g}": Clean(grids.angular([level])) for level in told}
    readings = [Reading(walk, "activations", {"stream": stream}, f"{stream} {said}") for said, walk in walks.items() for stream in streams]
    readings += [Reading(Unasked(), "trivial")] if trivial else []
    return Recipe("zero-shot", tuple(readings), combine="fusion", source="our own, after the pooling of CFS (2605.11014)")


#: For a model that was trained on something else.
ZERO_SHOT = keep(zero_shot())
