"""The raw numbers of many items, with one fingerprint: a table that is saved, cached, merged and judged again later."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .errors import DamagedModel, ForeignScores, NewerFormat, OutputError, WrongShape

FORMAT = 1

#: What there is one of for each item.
ROWS = ("names", "digests", "vitals", "problems", "kinds")

#: What else there may be a row of for each item, as arrays.
ARRAYS = ("maps", "sizes")


@dataclass(frozen=True, eq=False)
class Scores:
    """Statistics of ``n`` items in ``k`` named columns. Rows of unreadable items are NaN and say why.

    Attributes:
        names: of the items, (n,).
        columns: of the numbers, (k,), for example ``residual[1]``.
        values: (n, k) float64, raw: never clipped, never normalised.
        tails: per column, where strangeness lies: ``upper`` (larger is stranger), ``lower`` or ``both``.
        says: per column, the plain words for an extreme value, for a verdict's sentence.
        fingerprint: of the model and the recipe; scores with different ones are never compared.
        digests: sha256 of each item's content, (n,); empty for an unreadable file. These three may be left out of scores
            that another tool has made.
        vitals: per item, what was measured before scoring (size, contrast, ...): what detector depth is read from.
        problems: per item, empty or why it could not be read.
        maps: (n, bands, *grid) float32, where each item is strange, for recipes that combine maps; None for others. Of items that are
            judged in tiles the highest place alone.
        kinds: per item, what kind of thing it is, (n,); empty where there are none, or where it is of none that the model knows.
        sizes: (n, axes) float64, of items that are judged at their own size, in pixels; None where all are brought to one size.
    """

    names: tuple[str, ...]
    columns: tuple[str, ...]
    values: np.ndarray
    tails: tuple[str, ...]
    says: tuple[str, ...]
    fingerprint: str
    digests: tuple[str, ...] = ()
    vitals: tuple[dict[str, float], ...] = ()
    problems: tuple[str, ...] = ()
    maps: np.ndarray | None = None
    kinds: tuple[str, ...] = ()
    sizes: np.ndarray | None = None

    def __post_init__(self) -> None:
        values = np.array(self.values, dtype=np.float64, order="C")
        values.setflags(write=False)
        object.__setattr__(self, "values", values)
        for name, nothing in (("digests", ""), ("vitals", {}), ("problems", ""), ("kinds", "")):
            object.__setattr__(self, name, getattr(self, name) or (nothing,) * len(self.names))
        if self.maps is not None and (self.maps.ndim < 3 or len(self.maps) != len(values)):
            raise WrongShape(f"maps are (items, bands, *grid), one for each row; got {self.maps.shape} for {len(values)} rows")
        if self.sizes is not None and (self.sizes.ndim != 2 or len(self.sizes) != len(values)):
            raise WrongShape(f"sizes are (items, axes), one row for each; got {self.sizes.shape} for {len(values)} rows")
        rows, columns = {len(getattr(self, name)) for name in ROWS}, {len(self.columns), len(self.tails), len(self.says)}
        if values.ndim != 2 or rows != {values.shape[0]} or columns != {values.shape[1]}:
            raise WrongShape(
                f"scores need one row per item and one column per statistic; values are {values.shape}, "
                f"rows named {sorted(rows)}, columns named {sorted(columns)}"
            )

    def __len__(self) -> int:
        return len(self.names)

    @property
    def readable(self) -> np.ndarray:
        """Which rows hold finite numbers throughout, (n,) bool."""
        return np.isfinite(self.values).all(axis=1) & np.array([not p for p in self.problems], dtype=bool)

    def select(self, rows: Sequence[int] | np.ndarray) -> Scores:
        """The rows of that order (indices) or where a mask is true."""
        index = np.arange(len(self))[np.asarray(rows)].tolist() if len(rows) else []

        def pick(of: tuple) -> tuple:
            return tuple(of[i] for i in index)

        picked = {name: pick(getattr(self, name)) for name in ROWS}
        arrays = {name: None if (of := getattr(self, name)) is None else of[index] for name in ARRAYS}
        return replace(self, values=self.values[index], **arrays, **picked)

    @staticmethod
    def merge(parts: Sequence[Scores]) -> Scores:
        """One table from several, in order: of chunks, or of many machines.

        Raises:
            ForeignScores: parts of different models or recipes.
            WrongShape: no parts at all, or some with maps and some without.
        """
        if not parts:
            raise WrongShape("cannot merge no scores; give at least one table")
        for part in parts[1:]:
            part.require(parts[0].fingerprint, "these scores")
            if part.columns != parts[0].columns:
                raise WrongShape(f"cannot merge scores with columns {part.columns} and {parts[0].columns}; score all items with one recipe")

        maps = [part.maps for part in parts if part.maps is not None]
        if maps and (len(maps) < len(parts) or len({one.shape[1:] for one in maps}) > 1):
            raise WrongShape("cannot merge scores whose maps differ, or of which some have none; score all items with one recipe")

        def chain(of: str) -> tuple:
            return tuple(x for part in parts for x in getattr(part, of))

        rows = {name: chain(name) for name in ROWS}
        sizes = [part.sizes for part in parts if part.sizes is not None]
        arrays = {"maps": np.concatenate(maps) if maps else None, "sizes": np.concatenate(sizes) if sizes else None}
        return replace(parts[0], values=np.concatenate([part.values for part in parts]), **arrays, **rows)

    def require(self, fingerprint: str, of: str) -> None:
        """Refuse unless these scores come from the model and recipe of that fingerprint.

        Raises:
            ForeignScores: they do not.
        """
        if self.fingerprint != fingerprint:
            raise ForeignScores(
                f"scores with fingerprint {self.fingerprint[:12]} cannot be compared with {of} ({fingerprint[:12]}): "
                "another model or recipe made them; score the items again with this one"
            )

    def save(self, path: str | Path) -> None:
        """Write one ``.safetensors`` file.

        Raises:
            OutputError: the file cannot be written.
        """
        from safetensors.numpy import save

        keep = {name: getattr(self, name) for name in ("columns", "tails", "says", "fingerprint", *ROWS)}
        try:
            arrays = {name: getattr(self, name) for name in ("values", *ARRAYS)}
            tensors = {name: np.ascontiguousarray(of) for name, of in arrays.items() if of is not None}
            Path(path).write_bytes(save(tensors, {"scores": json.dumps({"format": FORMAT, **keep})}))
        except OSError as error:
            raise OutputError(f"cannot write scores to {path}: {error.strerror or error}; choose another place or make room") from error

    @staticmethod
    def load(path: str | Path) -> Scores:
        """Read what :meth:`save` wrote.

        Raises:
            DamagedModel: the file is missing, cut short or not scores.
            NewerFormat: a later version wrote it.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(str(path), framework="numpy") as file:
                kept = json.loads(file.metadata()["scores"])
                values = file.get_tensor("values")
                arrays: dict[str, Any] = {name: file.get_tensor(name) for name in file.keys() if name in ARRAYS}  # noqa: SIM118 - it is no mapping
                if kept["format"] > FORMAT:
                    said = f"{path} has format {kept['format']} and this version of Diffident reads up to {FORMAT}"
                    raise NewerFormat(f"{said}; upgrade with: pip install -U diffident")
            kept.setdefault("kinds", ())  # of an earlier version, which knew none
            rows: dict[str, Any] = {name: tuple(kept[name]) for name in ("columns", "tails", "says", *ROWS)}
            return Scores(values=values, fingerprint=kept["fingerprint"], **arrays, **rows)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise DamagedModel(f"{path} does not hold readable scores ({type(error).__name__}: {error}); score the items again") from error
