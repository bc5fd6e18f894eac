"""The meta-anomaly head: many signals of one sample to the odds that it is a failure, learned with signs that cannot turn."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import DamagedModel, ForeignScores, TooFewReferences, WrongShape
from ..scores import Scores
from .fusion import _Group, _label

#: How strongly weights are held to what they were, in units of one labelled sample.
HELD = 1.0

#: Beyond so many deviations a voice grows with their logarithm alone: one signal that explodes does not outshout what all others know.
LOUD = 8.0


@dataclass(frozen=True, eq=False)
class Head:
    """Signals of a sample to one number, larger is more likely a failure: log odds once it was taught with labels.

    Each *signal* (the columns of one reading) speaks with one voice, in deviations of what known-good samples say:

    * one column: ``v = (x - median) / spread`` on the side its tail names (``both``: distance from the median), spread from the quartiles;
    * several: the log Mahalanobis distance with the shrinkage of Ledoit and Wolf, as in :class:`diffident.calibration.fusion.Fusion`.

    Beyond 8 deviations a voice grows with the logarithm of what is more.

    Then ``score = bias + sum_j w_j v_j`` with ``w_j >= 0``. Weights are found by the log loss, a proper scoring rule, held to where they
    stood before as by one more labelled sample. They cannot be negative: a head that is taught with fakes of its own model's
    making finds that fakes are *too* smooth or *too* certain and turns signs round, which fails on real failures.

    Attributes:
        columns: of the numbers it reads, in order.
        tails: of each column.
        known: per signal, what known-good samples say, (n_j, k_j). Signals need not be measured on the same samples.
        weights: of each signal, (g,), 0 or more.
        bias: log odds of a failure where every voice is silent; 0 for a head that was not taught.
        labelled: with how many labelled samples it was taught.
        reads: fingerprint of the recipe whose numbers it reads; empty if nobody said.

    Raises:
        WrongShape: parts that do not fit together.
        TooFewReferences: a signal with fewer than two known-good samples.
    """

    columns: tuple[str, ...]
    tails: tuple[str, ...]
    known: tuple[np.ndarray, ...]
    weights: np.ndarray
    bias: float = 0.0
    labelled: int = 0
    reads: str = ""

    def __post_init__(self) -> None:
        widths = tuple(len(list(run)) for _, run in itertools.groupby(self.columns, _label))
        if widths != tuple(one.shape[1] for one in self.known) or len(self.tails) != len(self.columns) or self.weights.shape != (len(widths),):
            raise WrongShape(
                f"a head of signals with {widths} columns needs as many tables, tails and weights; got tables of "
                f"{tuple(one.shape[1] for one in self.known)}, {len(self.tails)} tails and weights {self.weights.shape}"
            )
        if few := [label for label, one in zip(self.signals, self.known, strict=True) if len(one) < 2]:
            raise TooFewReferences(f"what is ordinary for {', '.join(few)} was seen on fewer than two samples; give more known-good ones")

    @staticmethod
    def of(*known_good: Scores) -> Head:
        """A head that was not taught: all signals weigh the same.

        Args:
            known_good: scores of known-good samples, with some of the columns each, in the order in which they are read; a sample without a finite
                number in a signal says nothing of that signal.

        >>> rows = dict(columns=("a", "b"), tails=("upper", "upper"), says=("odd", "uneven"), fingerprint="f")
        >>> good = Scores(tuple(map(str, range(99))), values=np.random.default_rng(0).normal(size=(99, 2)), **rows)
        >>> head = Head.of(good)
        >>> head.score(np.array([[0.5, 0.5], [4.0, 4.0]])).round().tolist()
        [0.0, 4.0]
        """
        columns, tails, known = (), (), []
        for scores in known_good:
            columns, tails = columns + scores.columns, tails + scores.tails
            at = 0
            for _, run in itertools.groupby(scores.columns, _label):
                width = len(list(run))
                rows = scores.values[:, at : at + width]
                known.append(np.ascontiguousarray(rows[np.isfinite(rows).all(axis=1)]))
                at += width
        return Head(columns, tails, tuple(known), np.full(len(known), 1.0 / max(len(known), 1)))

    @cached_property
    def signals(self) -> tuple[str, ...]:
        """Names of the signals, (g,)."""
        return tuple(label for label, _ in itertools.groupby(self.columns, _label))

    def require(self, columns: Sequence[str]) -> None:
        """Refuse numbers of other columns.

        Raises:
            ForeignScores: they are.
        """
        if tuple(columns) != self.columns:
            raise ForeignScores(
                f"this head reads {', '.join(self.signals)} and was given {', '.join(dict.fromkeys(map(_label, columns)))}; "
                "take the recipe that it was made with"
            )

    def voices(self, values: np.ndarray) -> np.ndarray:
        """What each signal says, (n, k) to (n, g), in deviations of known-good samples; NaN where a number is not finite."""
        values = np.asarray(values, dtype=np.float64)
        if values.ndim != 2 or values.shape[1] != len(self.columns):
            raise WrongShape(f"a head of {len(self.columns)} columns was given {values.shape}")
        cuts = np.cumsum([one.shape[1] for one in self.known])[:-1]
        parts, tails = np.split(values, cuts, axis=1), np.split(np.array(self.tails), cuts)
        found = np.full((len(values), len(self.known)), np.nan)
        for j, (known, part, tail) in enumerate(zip(self.known, parts, tails, strict=True)):
            rows = np.isfinite(part).all(axis=1)
            if rows.any():
                said = _alone(known[:, 0], part[rows, 0], tail[0]) if known.shape[1] == 1 else _Group(known, part[rows]).beside()
                found[rows, j] = np.sign(said) * (np.minimum(np.abs(said), LOUD) + np.log1p(np.maximum(np.abs(said) - LOUD, 0.0)))
        return found

    def score(self, values: np.ndarray) -> np.ndarray:
        """Log odds of a failure, (n, k) to (n,); larger is stranger."""
        return self.bias + np.sum(np.ascontiguousarray(self.voices(values) * self.weights), axis=1)  # row by row: a product would round with its batch

    def taught(self, values: np.ndarray, bad: np.ndarray, held: float = HELD) -> Head:
        """The head after labelled samples: new, this one stays as it is.

        Minimises ``sum_i log loss(bad_i, bias + w . v_i) + held / 2 |w - w_before|^2`` over ``w >= 0`` and the bias.

        Args:
            values: (n, k), finite.
            bad: (n,), true for a failure.
            held: how strongly weights are held to what they were.

        Raises:
            TooFewReferences: no failure, or no good sample, among the labelled.
        """
        bad = np.asarray(bad, dtype=bool)
        voices = self.voices(values)
        rows = np.isfinite(voices).all(axis=1)
        voices, bad = voices[rows], bad[rows]
        if bad.all() or not bad.any():
            raise TooFewReferences(f"of {len(bad)} labelled samples {int(bad.sum())} are failures; a head is taught with good ones and failures")
        weights, bias = _fitted(voices, bad, self.weights, held)
        return replace(self, weights=weights, bias=bias, labelled=self.labelled + len(bad))

    def to_config(self) -> dict[str, Any]:
        """All but the tables, for JSON."""
        return {
            "columns": list(self.columns),
            "tails": list(self.tails),
            "weights": self.weights.tolist(),
            "bias": self.bias,
            "labelled": self.labelled,
            "reads": self.reads,
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """The tables by name."""
        return {f"known.{i}": one for i, one in enumerate(self.known)}

    @staticmethod
    def from_config(config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Head:
        """Read back what :meth:`to_config` and :meth:`arrays` wrote.

        Raises:
            DamagedModel: a part is missing.
        """
        try:
            known = tuple(np.asarray(arrays[f"known.{i}"], dtype=np.float64) for i in range(len(config["weights"])))
            said = (
                tuple(config["columns"]),
                tuple(config["tails"]),
                known,
                np.array(config["weights"]),
                float(config["bias"]),
                int(config["labelled"]),
                str(config.get("reads", "")),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedModel(f"a head is described incompletely ({type(error).__name__}: {error}); teach it again") from error
        return Head(*said)


def _alone(known: np.ndarray, values: np.ndarray, tail: str) -> np.ndarray:
    """One column, in deviations told by the quartiles of what is known."""
    low, middle, high = np.quantile(known, (0.25, 0.5, 0.75))
    spread = (high - low) / 1.349 or known.std() or max(abs(middle), 1.0) * 1e-9
    with np.errstate(over="ignore"):
        away = (values - middle) / spread
    return {"upper": away, "lower": -away, "both": np.abs(away)}[tail]


def _fitted(voices: np.ndarray, bad: np.ndarray, before: np.ndarray, held: float) -> tuple[np.ndarray, float]:
    from scipy.optimize import minimize  # here: it takes a second to import

    target, count = bad.astype(np.float64), len(before)

    def loss(at: np.ndarray) -> tuple[float, np.ndarray]:
        odds = voices @ at[:count] + at[count]
        off = 1 / (1 + np.exp(-odds)) - target
        value = np.sum(np.logaddexp(0.0, odds) - target * odds) + held / 2 * np.sum((at[:count] - before) ** 2)
        return float(value), np.append(voices.T @ off + held * (at[:count] - before), off.sum())

    share = target.mean()
    start = np.append(before, np.log(share / (1 - share)))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0.0, None)] * count + [(None, None)], options={"maxiter": 500})
    return np.maximum(found.x[:count], 0.0), float(found.x[count])
