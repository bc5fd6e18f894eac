"""Many numbers to one: how strange an item is beside known-good references, by all of its statistics together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np

from ..errors import InvalidSetting, TooFewReferences, WrongShape

TAILS = ("upper", "lower", "both")

#: Two strangenesses closer than this (relatively) are a tie, and a tie counts against flagging: rounding can make p larger, never smaller.
TIE = 1e-9

#: Elements worked on at once. It bounds memory only: no item's arithmetic depends on how many stand beside it.
BLOCK = 2_000_000

#: Deviations beyond this are counted as this, so that their squares stay finite.
FAR = 1e150


class Strangeness(ABC):
    """Combines the ``k`` statistics of an item into one strangeness, larger is stranger.

    Two promises: an item's numbers are bit-identical alone and in any company, and :meth:`p_values` are exactly valid:
    if the item is exchangeable with the ``n`` references, ``P(p <= a) <= a`` for every ``a``, whatever the distribution.

    Shapes: ``references`` (n, k), ``items`` (m, k), float64 and finite; ``tails`` has one word per column: ``upper``
    (larger is stranger), ``lower`` (smaller is stranger) or ``both``.
    """

    name: ClassVar[str]
    #: what of an item is combined: its ``values`` or its ``maps``
    reads: ClassVar[str] = "values"
    #: raised when the same settings give other p-values, so that old calibrations are not taken for new ones
    version: ClassVar[int] = 1

    def score(self, references: np.ndarray, items: np.ndarray, tails: tuple[str, ...]) -> np.ndarray:
        """Raw strangeness of each item beside the references alone, (m,): for ranking. Larger is stranger, never clipped.

        Raises:
            TooFewReferences: there are none.
            WrongShape: arrays, columns and tails do not fit together.
        """
        references, items = self.checked(references, items, tails)
        return self._score(references, items, tails)

    def p_values(self, references: np.ndarray, items: np.ndarray, tails: tuple[str, ...]) -> np.ndarray:
        """Full conformal p-value of each item, (m,), in {1, ..., n + 1} / (n + 1); small is strange.

        The combiner is refitted on references and item together, all n + 1 get a strangeness s from that one fit, and
        ``p = (1 + #{i: s_i >= s_item}) / (n + 1)``. Every reference serves twice, for fitting and for ranking, yet the
        p-value is exact, since the fit treats the n + 1 alike (Vovk, Gammerman, Shafer 2005, Algorithmic Learning in a
        Random World). Trust it while items to come and references are exchangeable: taken alike, from the same source.

        Raises:
            TooFewReferences: there are none.
            WrongShape: arrays, columns and tails do not fit together.
        """
        references, items = self.checked(references, items, tails)
        if not len(items):
            return np.empty(0)
        counts = [np.sum(others >= (own - TIE * np.abs(own))[:, None], axis=1) for own, others in self._refitted(references, items, tails)]
        return (1.0 + np.concatenate(counts)) / (len(references) + 1)

    def told(self, columns: Sequence[str]) -> Strangeness:
        """This combiner for columns of those names; the same unless names say what belongs together."""
        return self

    def checked(self, references: np.ndarray, items: np.ndarray, tails: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Both as float64, or a refusal.

        Raises:
            TooFewReferences, WrongShape, InvalidSetting: see :meth:`score`.
        """
        return _checked(references, items, tails)

    def to_config(self) -> dict[str, object]:
        """Name, settings and version, for JSON; ``diffident.calibration.combiner`` reads the first two back."""
        return {"name": self.name, "settings": asdict(self), "version": self.version}  # type: ignore[call-overload]

    @abstractmethod
    def _score(self, references: np.ndarray, items: np.ndarray, tails: tuple[str, ...]) -> np.ndarray: ...

    @abstractmethod
    def _refitted(self, references: np.ndarray, items: np.ndarray, tails: tuple[str, ...]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield, block by block, strangeness (b,) of the items and (b, n) of the references, each row from its own refit."""


@dataclass(frozen=True)
class Gaussian(Strangeness):
    """Mahalanobis distance: how many deviations away, once the statistics' correlations are taken into account.

    ``s = z' ((1 - w) R + w I)^-1 z`` with z the item in deviations from the mean, column by column, R the correlations
    and w the shrinkage. Every column counts in both directions, whatever its tail: an item may be suspiciously perfect.
    No column's unit matters. The first choice while columns are not wildly heavy-tailed; correct, if less sharp, even then.

    Attributes:
        shrinkage: w in [0, 1]; 1 forgets correlations. None lets the correlations decide: w is the share of their sum
            of squares that k independent columns of as many rows would show by accident, ``w = k (k - 1) / (rows sum_{i != j} r_ij^2)``,
            at least ``k / (k + 4 rows) / 4`` and at most 1 (Schaefer and Strimmer 2005, target D, with the variance of a
            correlation under independence). It is symmetric in the rows, so p-values stay exact.

    Raises:
        InvalidSetting: shrinkage outside [0, 1].

    >>> references = np.random.default_rng(0).normal(size=(99, 3))
    >>> items = np.array([[0.0, 0.0, 0.0], [5.0, -5.0, 5.0]])
    >>> Gaussian().p_values(references, items, ("upper",) * 3)
    array([1.  , 0.01])
    """

    shrinkage: float | None = None
    name: ClassVar[str] = "gaussian"

    def __post_init__(self) -> None:
        if self.shrinkage is not None and not 0.0 <= self.shrinkage <= 1.0:
            raise InvalidSetting(f"shrinkage must lie in [0, 1]; got {self.shrinkage:g}; leave it out to let the correlations decide")

    def _score(self, references: np.ndarray, items: np.ndarray, tails: tuple[str, ...]) -> np.ndarray:
        rows, away, still = _standardised(references, items)
        away = np.clip(np.where(still, away * 1e9, away), -1e-5 * FAR, 1e-5 * FAR)  # references never moved here: any move is far; whitening is 1e4 at most
        moments = rows.T @ rows / len(rows)
        whiten = self._whitening(np.where(np.eye(len(moments), dtype=bool), 1.0, moments)[None], len(rows))
        return _squared(whiten, away)

    def _refitted(self, references: np.ndarray, items: np.ndarray, tails: tuple[str, ...]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        rows, away, _ = _standardised(references, items)
        n, k = rows.shape
        moments, turned = rows.T @ rows / n, np.ascontiguousarray(rows.T)
        step = max(1, BLOCK // (n * k + k * k))
        for start in range(0, len(items), step):
            yield self._block(moments, turned, away[start : start + step])

    def _block(self, moments: np.ndarray, turned: np.ndarray, away: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # Adding one row to n moves mean and moments by rank one: mean += d / (n + 1), S -> n/(n+1) S + n/(n+1)^2 d d'.
        # The inverse cannot follow by Sherman-Morrison: the shrinkage target is the diagonal, which moves by diag(d d'),
        # of rank k. So the small (k, k) matrix is factorised anew for each item, and only the moments are updated.
        n = turned.shape[1]
        keep, move = np.sqrt(n / (n + 1)), np.sqrt(n) / (n + 1)
        deviation = np.hypot(keep * np.sqrt(np.diagonal(moments)), move * away)  # hypot: squares of far items would overflow
        unit = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 0)
        aside = move * away * unit
        correlation = keep**2 * moments * unit[:, :, None] * unit[:, None, :] + aside[:, :, None] * aside[:, None, :]
        whiten = self._whitening(np.where(np.eye(len(moments), dtype=bool), 1.0, correlation), n + 1)
        return _squared(whiten, away * unit * (n / (n + 1))), _squared_all(whiten * unit[:, None, :], turned, away / (n + 1))

    def _whitening(self, correlation: np.ndarray, rows: int) -> np.ndarray:
        """Inverse Cholesky factors (b, k, k) of the shrunken correlations."""
        k = correlation.shape[-1]
        weight = np.full(len(correlation), self.shrinkage) if self.shrinkage is not None else _accidental(correlation, rows)
        weight = np.maximum(weight, 1e-8)  # a copied column makes R singular: this much keeps it invertible
        shrunk = (1.0 - weight)[:, None, None] * correlation + weight[:, None, None] * np.eye(k)
        return np.linalg.inv(np.linalg.cholesky(shrunk))


@dataclass(frozen=True)
class Ranks(Strangeness):
    """Fisher's sum of ranks: in how small a share of the known-good items is each statistic this extreme?

    ``s = -sum_j log(share_j)``, share_j the share of references and item together that is at least as extreme as this
    one in column j, on the side its tail names (``both``: by distance from their common median, each side in units of its own
    quartile, so that either end can be the strangest of all). Heavy tails and odd shapes do not matter, direction does;
    correlations between columns are not used. With one column p is the plain conformal p-value.

    For ranking beyond the references, :meth:`score` of one column is the number itself (``lower``: negated; ``both``:
    its distance from their median, each side in units of its own quartile), and of several the sum with shares interpolated
    between references and falling off exponentially beyond the last.  Source: Fisher 1932; as conformity score, Vovk et al. 2005.

    >>> Ranks().p_values(np.arange(9.0)[:, None], np.array([[7.5], [99.0]]), ("upper",))
    array([0.2, 0.1])
    """

    name: ClassVar[str] = "ranks"

    def _score(self, references: np.ndarray, items: np.ndarray, tails: tuple[str, ...]) -> np.ndarray:
        if len(tails) == 1:
            return _signed(references[:, 0], items[:, 0], tails[0])
        return sum((_surprise(references[:, j], items[:, j], tail) for j, tail in enumerate(tails)), np.zeros(len(items)))

    def _refitted(self, references: np.ndarray, items: np.ndarray, tails: tuple[str, ...]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        n, k = references.shape
        surprise = -np.log(np.arange(1, n + 2) / (n + 1))  # by count; a table, so that equal counts are equal to the bit
        step = max(1, BLOCK // (n * k))
        for start in range(0, len(items), step):
            some = items[start : start + step]
            everyone = np.concatenate([np.broadcast_to(references, (len(some), n, k)), some[:, None]], axis=1)
            total = np.zeros((len(some), n + 1))
            for j, tail in enumerate(tails):
                total += surprise[_extreme(everyone[:, :, j], tail) - 1]
            yield total[:, -1], total[:, :-1]


@dataclass(frozen=True)
class Robust(Strangeness):
    """The Gaussian after every column's tails were drawn in: for columns whose normal values now and then lie very far out.

    ``u = asinh((x - median) / (width d))``, d the distance of the quartiles over 1.349 (one deviation, were it normal), then
    :class:`Gaussian` on u. Quartiles are those of references and item together, so p-values stay exact. Sharper than the
    Gaussian where many columns move a little in heavy tails (sums of cubes); less sharp where one light-tailed column moves far.
    Two-sided in all columns. No column's unit matters. Slower: each item draws in all references anew.

    Attributes:
        width: how many deviations stay nearly as they are, above 0.
        shrinkage: of the Gaussian.

    Raises:
        InvalidSetting: width not above 0, or shrinkage outside [0, 1].
    """

    width: float = 2.0
    shrinkage: float | None = None
    name: ClassVar[str] = "robust"

    def __post_init__(self) -> None:
        Gaussian(self.shrinkage)
        if not self.width > 0:
            raise InvalidSetting(f"width must be above 0; got {self.width:g}")

    def _score(self, references: np.ndarray, items: np.ndarray, tails: tuple[str, ...]) -> np.ndarray:
        ordered, n = np.sort(references, axis=0), len(references)
        low, middle, high = ordered[n // 4], ordered[(n - 1) // 2] / 2 + ordered[n // 2] / 2, ordered[n - 1 - n // 4]
        pressed = [self._press(rows, low, middle, high, ordered[-1] - ordered[0]) for rows in (references, items)]
        return Gaussian(self.shrinkage).score(pressed[0], pressed[1], tails)

    def _refitted(self, references: np.ndarray, items: np.ndarray, tails: tuple[str, ...]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        ordered, n = np.sort(references, axis=0), len(references) + 1
        ordered = np.concatenate([np.full_like(ordered[:1], -np.inf), ordered, np.full_like(ordered[:1], np.inf)])
        for item in items:
            # the j-th smallest (from 0) of references and item: the item, held between the references beside that place
            low, left, right, high, first, last = (np.clip(item, ordered[j], ordered[j + 1]) for j in (n // 4, (n - 1) // 2, n // 2, n - 1 - n // 4, 0, n - 1))
            pressed = self._press(np.vstack([references, item]), low, left / 2 + right / 2, high, last - first)
            yield from Gaussian(self.shrinkage)._refitted(pressed[:-1], pressed[-1:], tails)

    def _press(self, rows: np.ndarray, low: np.ndarray, middle: np.ndarray, high: np.ndarray, extent: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            unit = np.where(high > low, high - low, np.where(extent > 0, extent, 1.0)) / 1.349 * self.width
            return np.arcsinh(np.clip((rows - middle) / unit, -FAR, FAR))


def _checked(references: np.ndarray, items: np.ndarray, tails: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    references, items = np.asarray(references, dtype=np.float64), np.asarray(items, dtype=np.float64)
    if references.ndim != 2 or items.ndim != 2 or references.shape[1] != items.shape[1] or references.shape[1] != len(tails) or not tails:
        raise WrongShape(f"references (n, k), items (m, k) and k tails are needed; got {references.shape}, {items.shape} and {len(tails)} tails")
    for tail in tails:
        if tail not in TAILS:
            raise InvalidSetting(f"a tail is one of {', '.join(TAILS)}; got {tail!r}")
    if not len(references):
        raise TooFewReferences("cannot say how strange an item is with 0 reference items; give at least 19 to flag at p <= 0.05")
    if not (np.isfinite(references).all() and np.isfinite(items).all()):
        raise WrongShape("strangeness needs finite numbers; leave out the rows with NaN or infinity first")
    return references, items


def _standardised(references: np.ndarray, items: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """References and items in deviations from the references' mean, and which columns never move. Arithmetic only: no fit depends on units."""
    size = np.abs(references).max(axis=0)
    size = np.where(size > 0, size, 1.0)
    rows = references / size
    still = rows.max(axis=0) == rows.min(axis=0)
    centre = np.where(still, rows[0], rows.mean(axis=0))  # a mean of equal numbers may round away from them
    with np.errstate(over="ignore"):
        rows, items = rows - centre, items / size - centre
    for _ in range(2):  # the refit takes the mean of the rows to be zero: at a large offset the first mean is not exact
        rest = np.where(still, 0.0, rows.mean(axis=0))
        rows, items = rows - rest, items - rest
    spread = np.where(still, 1.0, np.sqrt(np.mean(rows**2, axis=0)))
    spread = np.where(spread > 0, spread, 1.0)
    with np.errstate(over="ignore"):
        away = np.clip(items / spread, -FAR, FAR)
    return rows / spread, np.where(np.abs(away) < 1 / FAR, 0.0, away), still


def _accidental(correlation: np.ndarray, rows: int) -> np.ndarray:
    """The default shrinkage of each correlation matrix, (b,)."""
    k = correlation.shape[-1]
    total = _total(_total(correlation**2)) - k
    by_accident = np.full(len(correlation), k * (k - 1) / rows)
    share = np.divide(by_accident, total, out=np.ones_like(total), where=total > by_accident)
    return np.maximum(share, k / (k + 4 * rows) / 4)


def _squared(whiten: np.ndarray, away: np.ndarray) -> np.ndarray:
    """Squared length of ``whiten @ away``, row by row, (b,)."""
    turned = np.zeros_like(away)
    for j in range(away.shape[1]):  # elementwise on purpose: a matrix product may round differently with the number of rows
        turned = turned + whiten[:, :, j] * away[:, j, None]
    return _total(turned**2)


def _squared_all(whiten: np.ndarray, turned: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Squared length of ``whiten[b] @ (turned[:, i] - shift[b])``, (b, n). One product of one shape per item: its bits are the item's own."""
    offset = np.zeros_like(shift)
    for j in range(shift.shape[1]):
        offset = offset + whiten[:, :, j] * shift[:, j, None]
    seen = np.matmul(whiten, turned)
    seen -= offset[:, :, None]
    np.square(seen, out=seen)
    return _total(seen)


def _total(numbers: np.ndarray) -> np.ndarray:
    """Sum over the second axis, term after term: numpy's own sum rounds differently when there is a single row."""
    total = numbers[:, 0].copy()
    for j in range(1, numbers.shape[1]):
        total += numbers[:, j]
    return total


def counts(references: np.ndarray, items: np.ndarray, side: int) -> np.ndarray:
    """How many of the references (n,) are at least as large (side 1) or as small (side -1) as each item (m,)."""
    ordered = np.sort(side * references)
    return len(ordered) - np.searchsorted(ordered, side * items, side="left")


def _extreme(rows: np.ndarray, tail: str) -> np.ndarray:
    """How many numbers of each row are at least as extreme as each of them, itself among them: (b, r) to (b, r)."""
    from scipy.stats import rankdata  # here: it takes a second to import

    signed = {"upper": rows, "lower": -rows, "both": rows}[tail]
    if tail == "both":
        scaled = _in_unit(rows, rows)
        signed = _folded(scaled, *_sides(scaled))
    return rankdata(-signed, method="max", axis=1).astype(np.int64)


def _signed(references: np.ndarray, items: np.ndarray, tail: str) -> np.ndarray:
    if tail == "both":
        return _folded(_in_unit(items[None], references[None]), *_sides(_in_unit(references[None], references[None])))[0]
    return items if tail == "upper" else -items


def _in_unit(rows: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Rows in units of the largest number of each row of ``of``, so that differences stay finite."""
    size = np.abs(of).max(axis=1, keepdims=True)
    with np.errstate(over="ignore"):
        return np.clip(rows / np.where(size > 0, size, 1.0), -FAR, FAR)


def _sides(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Median of each row, and how far its upper and its lower quartile lie from it, (b, 1) each; order statistics, so that no sum rounds."""
    ordered = np.sort(rows, axis=1)
    last, quarter = rows.shape[1] - 1, (rows.shape[1] - 1) // 4
    centre = (ordered[:, last // 2] + ordered[:, (last + 1) // 2]) / 2
    above, below = ordered[:, last - quarter] - centre, centre - ordered[:, quarter]
    either = np.maximum(above, below)
    either = np.where(either > 0, either, 1.0)
    return centre[:, None], np.where(above > 0, above, either)[:, None], np.where(below > 0, below, either)[:, None]


def _folded(rows: np.ndarray, centre: np.ndarray, above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Distance from the centre, each side in its own unit: a long tail is not strange for being long."""
    with np.errstate(over="ignore"):
        return np.where(rows > centre, (rows - centre) / above, (centre - rows) / below)


def _surprise(references: np.ndarray, items: np.ndarray, tail: str) -> np.ndarray:
    """-log share of one column, interpolated between references and going on in a straight line beyond the last, (m,)."""
    if tail == "both":
        return np.maximum(_surprise(references, items, "upper"), _surprise(references, items, "lower"))
    side = 1.0 if tail == "upper" else -1.0
    at, x = np.unique(side * references), side * items
    surprise = -np.log((counts(side * references, at, 1) + 1) / (len(references) + 1))
    spread = np.subtract(*np.quantile(at, (0.9, 0.5))) or max(np.abs(at).max() * 1e-9, np.finfo(float).tiny)
    with np.errstate(over="ignore"):
        return np.interp(x, at, surprise) + np.minimum(np.maximum(x - at[-1], 0.0) / spread, FAR)
