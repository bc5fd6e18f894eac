"""How to learn: all settings in one place, what can be learned, and what is meant where something is left open."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from . import registry
from .denoiser import Empirical, StoredDenoiser
from .errors import InvalidSetting
from .gallery import KEEP
from .networks import NETWORKS
from .optimise import Schedule
from .patches import Patches
from .positions import Positions
from .recipes import Recipe
from .recipes import recipe as recipe_of
from .spaces import Space
from .texture import Texture
from .tiles import Tiles
from .variations import AUTO, VARIATIONS

#: Exact denoisers, ready at once: made of the elements of known-good items in a space.
EXACT: dict[str, Callable[[Tensor, Space, int], StoredDenoiser]] = {
    "none": lambda elements, space, seed: Empirical(elements),
    "positions": lambda elements, space, seed: Positions.fitted(elements, space.groups),
    "texture": lambda elements, space, seed: Texture.fitted(elements, space.groups),
    "patches": lambda elements, space, seed: Patches.fitted(elements, seed=seed),
    "pca": lambda elements, space, seed: Positions.fitted(elements.flatten(1), rank=max(1, min(len(elements) // 4, 64)), shrinkage=0.0).flat(),
}

#: what can be learned: a network, or one of these
LEARNED = (*EXACT, *NETWORKS)

#: Those that take every position alike.
PLACELESS = ("texture", "patches")

#: Those that know each position of an item, of which a tile has none of its own.
PLACED = ("positions",)

#: Pixels of all tiles that are learned from: of an exact denoiser, and of a network.
LOOKED_AT = {True: 1 << 24, False: 1 << 25}

#: Features of a network that is trained on the items themselves.
OWN = "own"

#: What tells kinds of items apart.
FOLDER = "folder"


@dataclass(frozen=True)
class Training:
    """How to learn; the flags of ``diffident train`` mirror these.

    Attributes:
        network: what is learned: ``unet`` or ``mlp``, or what is known exactly and at once: ``positions``, a Gaussian at each position;
            ``texture``, one Gaussian for all positions; ``patches``, a memory of patches; ``pca``, one Gaussian of few axes; ``none``,
            the items themselves. None: what the recipe wants.
        size: height and width to which items are brought, one number for a square; None lets the items and the space decide.
        channels: 1 or 3; None lets the items decide.
        share: of the items held out to calibrate; at least 99 items where that is at most half.
        seed: of the split, and of all that is random in learning.
        modality: of the items.
        keep: of so many references a small copy is kept in the folder, to be looked at beside a strange item.
        space: where the diffusion lives, unless the recipe says it: ``pixels``, ``haar`` or ``features``.
        images_seen: items shown to the network in all.
        width: channels of the network on its finest grid, a multiple of 32; coarser grids have one and a half and two times as many.
        prepare: what is done to items before they enter the space, in this order: ``equalise``, ``photometry``, ``registration``, or ``auto``, which
            takes registration if it makes known-good items more alike. None: what the recipe wants.
        vary: known-good items are learned from once more, changed: ``mirror``, ``upside-down``, ``half-turn``, or ``auto``, which takes
            what known-good items do not tell from themselves. Exact denoisers only. None: what the recipe wants.
        features: of which network: ``mobilenet_v2``, ``timm:NAME``, a file of weights (.npz, .safetensors), or ``own``: those of a
            diffusion network that is first trained on the items themselves. None: what the recipe wants.
        kinds: ``folder`` where the first folder of an item says of what kind of thing it is one, each calibrated by itself, and learned
            by itself too unless a network learns them all; empty where there are no kinds.
        tile: side of the tiles in which items are judged at their own size, in pixels, instead of being brought to one: 64, 128, 192, 256,
            384, 512, 768 or 1024. For large pictures of surfaces that look alike all over. None judges items whole.
        batch, rate, every: see :class:`diffident.optimise.Schedule`.
        precision: ``auto`` (the best of this machine; of features single), ``fp32`` or ``bf16``.

    Raises:
        InvalidSetting: a setting outside its range.
    """

    network: str | None = None
    size: int | tuple[int, int] | None = None
    channels: int | None = None
    share: float = 0.25
    seed: int = 0
    modality: str = "image"
    keep: int = KEEP
    space: str = "pixels"
    images_seen: int = 50_000
    width: int = 64
    batch: int = 64
    rate: float = 0.04
    every: float = 30.0
    precision: str = "auto"
    prepare: tuple[str, ...] | None = None
    vary: tuple[str, ...] | None = None
    features: str | None = None
    kinds: str = ""
    tile: int | None = None

    def __post_init__(self) -> None:
        if self.network is not None and self.network not in LEARNED:
            raise InvalidSetting(f"no network called {self.network!r}; there are: {', '.join(LEARNED)}")
        unknown = [name for name in self.prepare or () if name not in (AUTO, *registry.names("steps"))]
        if unknown:
            raise InvalidSetting(f"no step called {unknown[0]!r}; there are: {', '.join((AUTO, *registry.names('steps')))}")
        strange = [name for name in self.vary or () if name not in (AUTO, *VARIATIONS)]
        if strange:
            raise InvalidSetting(f"no variation called {strange[0]!r}; there are: {', '.join((AUTO, *VARIATIONS))}")
        if self.kinds not in ("", FOLDER):
            raise InvalidSetting(f"kinds are told apart by {FOLDER!r}, the first folder of each item, or not at all; got {self.kinds!r}")
        if not 0 < self.share < 1:
            raise InvalidSetting(f"the share held out to calibrate lies between 0 and 1; got {self.share:g}")
        if self.width < 32 or self.width % 32:
            raise InvalidSetting(f"the width of a network is a multiple of 32, 32 or more; got {self.width}")
        if self.tile is not None:
            self._require_tiles(Tiles(self.tile))
        if self.network not in EXACT or self.features == OWN:
            self.schedule  # noqa: B018 - refuses settings before the work

    def _require_tiles(self, tiles: Tiles) -> None:
        """Refuse, before the work, what tiles cannot be learned with."""
        said = f"tiles of {tiles.side} pixels are judged at their own size"
        if self.size is not None or self.prepare:
            raise InvalidSetting(f"{said} and as they are; leave out the size and what prepares them (--size, --prepare), or the tile (--tile)")
        if self.network in PLACED:
            raise InvalidSetting(
                f"{said} and show any part of an item, so no position is usual for anything; take the network 'texture' or 'patches' (--network)"
            )

    @property
    def tiles(self) -> Tiles | None:
        """How items are cut."""
        return None if self.tile is None else Tiles(self.tile)

    def tiles_of(self, items: int, drawn: int) -> int:
        """How many tiles of an item are learned from, where there are so many items, so that all of them fit into memory.

        Of more items than there is room for tiles some give none: ``drawn`` is a large number of the item's own that decides.

        >>> Training(tile=1024, network="texture").tiles_of(4, 0), Training(tile=1024, network="texture").tiles_of(32, 17)
        (4, 0)
        """
        room = LOOKED_AT[self.network in EXACT] // (self.tile or 1) ** 2
        return room // items if items <= room else int(drawn % items < room)

    def settled(self, asked: Recipe) -> Training:
        """The same with what the recipe wants, where nothing else was asked for.

        Raises:
            InvalidSetting: variations for a network, which is trained on the items alone; with a tile, a recipe without maps.
        """
        if self.tile is not None:
            asked = asked.highest()
        prepare = asked.prepare if self.prepare is None else self.prepare
        network = self.network or asked.network
        vary = (asked.vary if network in EXACT else ()) if self.vary is None else self.vary
        if self.features == OWN and asked.space not in ("", "features"):
            raise InvalidSetting(
                f"features 'own' (--features) are for recipes that live in 'features', and {asked.name!r} lives in {asked.space!r}; leave one of them out"
            )
        if self.vary and network not in EXACT:
            raise InvalidSetting(f"variations (--vary) are for what is known at once ({', '.join(EXACT)}), and {network!r} is trained; leave it out")
        return replace(self, network=network, space=asked.space or self.space, prepare=prepare, vary=vary)

    @property
    def schedule(self) -> Schedule:
        """How the network descends."""
        return Schedule(self.images_seen, self.batch, self.rate, every=self.every, seed=self.seed, precision=self.precision)

    @property
    def descends(self) -> bool:
        """Whether a network is trained."""
        return self.network not in EXACT or self.features == OWN

    def shaped(self, shape: Sequence[int], network: str) -> dict[str, Any]:
        """The settings of a network of that kind for items of that shape."""
        if network == "mlp":
            return {"shape": list(shape), "width": 4 * self.width, "blocks": 3}
        if len(shape) not in (2, 3):
            raise InvalidSetting(f"a U-Net takes items (channels, length) or (channels, height, width); got {tuple(shape)}. Give network='mlp'")
        widths = [self.width, -(-3 * self.width // 64) * 32, 2 * self.width]
        return {"channels": shape[0], "dims": len(shape) - 1, "widths": widths, "blocks": 2, "patch": _patch(max(shape[1:])), "head": 32}


def _patch(side: int) -> int:
    """The finest grid has some sixteen to forty positions a side: finer costs time, coarser loses detail."""
    return next(patch for most, patch in ((15, 1), (47, 2), (160, 4), (4096, 8)) if side <= most)


def suited(recipe: str | Recipe | None, network: str | None, tile: int | None = None) -> Recipe:
    """The recipe that is meant where none is named: ``inspection``, in tiles ``texture``, or ``reconstruction`` with a network that is named.

    Raises:
        InvalidSetting: a recipe that says nothing of items that are given.
    """
    found = recipe_of(recipe or ("reconstruction" if network not in (None, "texture") else "texture" if tile or network else "inspection"))
    found.require_given()
    return found.highest() if tile else found
