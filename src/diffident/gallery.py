"""Known-good items kept to be looked at: what a strange one should have looked like, and how far maps of good ones go."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .errors import DamagedModel, InvalidSetting, WrongShape

#: How many are kept unless another number is asked for.
KEEP = 64

#: An ordinary position: so large a share of the positions in known-good maps lies no higher.
ORDINARY = 0.99


@dataclass(frozen=True, eq=False)
class Kept:
    """One known-good item as it is collected: its values (C, *size) in [-1, 1], and its map if the recipe has one."""

    name: str
    digest: str
    values: np.ndarray
    map: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Gallery:
    """Up to a few dozen known-good items at the model's size, in 8 bits. They lie in the detector's folder.

    Attributes:
        names: of the items, (n,).
        digests: sha256 of the content of each, (n,).
        pictures: their values, -1 as 0 and 1 as 255, (n, C, *size) uint8.
        fingerprint: of the model and recipe that made their maps; empty if there were none.
        ordinary: 99 of 100 positions of these maps lie no higher; NaN without maps.
        highest: no position of these maps lies higher; NaN without maps.

    Raises:
        WrongShape: not one name and one digest for each picture.
    """

    names: tuple[str, ...]
    digests: tuple[str, ...]
    pictures: np.ndarray
    fingerprint: str = ""
    ordinary: float = math.nan
    highest: float = math.nan

    def __post_init__(self) -> None:
        if not len(self.names) == len(self.digests) == len(self.pictures):
            raise WrongShape(f"a gallery has one name and digest per picture; got {len(self.names)}, {len(self.digests)} and {len(self.pictures)} pictures")

    @staticmethod
    def of(kept: Sequence[Kept], fingerprint: str) -> Gallery | None:
        """The gallery of items that were collected, copies once; None of none."""
        once = list({one.digest: one for one in reversed(kept)}.values())[::-1]
        if not once:
            return None
        eight = np.stack([np.rint((np.clip(one.values, -1, 1) + 1) * 127.5).astype(np.uint8) for one in once])
        made = Gallery(tuple(one.name for one in once), tuple(one.digest for one in once), eight)
        maps = [one.map for one in once if one.map is not None]
        return made.coloured(np.stack(maps), fingerprint) if maps else made

    def coloured(self, heights: np.ndarray, fingerprint: str) -> Gallery:
        """The same with the range of known-good maps, (n, *size), by which the colours of others are set."""
        return replace(self, fingerprint=fingerprint, ordinary=float(np.quantile(heights, ORDINARY)), highest=float(heights.max()))

    def __len__(self) -> int:
        return len(self.names)

    def values(self, index: int) -> np.ndarray:
        """One item as a model takes it, (C, *size) float32, to within 1/255."""
        return self.pictures[index].astype(np.float32) / 127.5 - 1

    def nearest(self, values: np.ndarray) -> int:
        """Which item is most like these values (C, *size): the smallest mean squared difference of pixels.

        The mean of each channel is taken off beforehand, so that a darker photograph of the same thing stays near.

        >>> light, dark = np.array([[[0.0, 0.5]]]), np.array([[[0.5, -0.5]]])
        >>> gallery = Gallery.of([Kept("rising", "1", light), Kept("falling", "2", dark)], "")
        >>> gallery.names[gallery.nearest(np.array([[[-1.0, -0.6]]]))]
        'rising'
        """
        return int(np.argmin([np.square(_centred(self.values(i)) - _centred(np.nan_to_num(values))).mean() for i in range(len(self))]))

    def among(self, digests: Collection[str]) -> Gallery | None:
        """What is left when only items of these contents may stay; None if nothing is."""
        rows = [i for i, digest in enumerate(self.digests) if digest in digests]
        if not rows:
            return None
        return replace(self, names=tuple(self.names[i] for i in rows), digests=tuple(self.digests[i] for i in rows), pictures=self.pictures[rows])

    def save(self, path: Path) -> None:
        """Write one ``.safetensors`` file."""
        from safetensors.numpy import save

        levels = {name: None if math.isnan(level) else level for name, level in (("ordinary", self.ordinary), ("highest", self.highest))}
        facts = {"names": self.names, "digests": self.digests, "fingerprint": self.fingerprint, **levels}
        path.write_bytes(save({"pictures": np.ascontiguousarray(self.pictures)}, {"gallery": json.dumps(facts)}))

    @staticmethod
    def load(path: Path) -> Gallery:
        """Read what :meth:`save` wrote.

        Raises:
            DamagedModel: the file does not hold known-good pictures.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(str(path), framework="numpy") as file:
                facts, pictures = json.loads(file.metadata()["gallery"]), file.get_tensor("pictures")
            levels = {name: math.nan if facts[name] is None else float(facts[name]) for name in ("ordinary", "highest")}
            return Gallery(tuple(facts["names"]), tuple(facts["digests"]), pictures, facts["fingerprint"], **levels)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, WrongShape) as error:
            raise DamagedModel(f"{path} does not hold known-good pictures ({type(error).__name__}: {error}); fit the detector again") from error


def chosen(n: int, keep: int) -> frozenset[int]:
    """Which of n items are kept: evenly spaced, so that all of a shift is seen and not its first minutes.

    Raises:
        InvalidSetting: fewer than none.

    >>> sorted(chosen(9, 3))
    [0, 4, 8]
    """
    if keep < 0:
        raise InvalidSetting(f"the number of known-good items kept to be looked at is 0 or more; got {keep}")
    return frozenset(np.linspace(0, n - 1, min(n, keep)).round().astype(int).tolist())


def spread(heights: np.ndarray, count: int = 4096) -> np.ndarray:
    """The quantiles of a map of any size, (count,), from its lowest place to its highest: as much of it as the colours need.

    >>> spread(np.arange(5.0), 3).tolist()
    [0.0, 2.0, 4.0]
    """
    return np.quantile(heights, np.linspace(0, 1, count))


def _centred(values: np.ndarray) -> np.ndarray:
    flat = values.reshape(len(values), -1)
    return flat - flat.mean(axis=1, keepdims=True)
