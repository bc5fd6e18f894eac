"""scikit-learn: an outlier detector for tables, in pipelines and grid searches, with p-values that keep their word.

from diffident.adapters.sklearn import DiffusionOutlier
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from ..calibration import Calibration, combiner, needed, smallest_p
from ..calibration.ranks import steps
from ..data import split
from ..errors import TooFewReferences
from ..recipes import recipe as recipe_of
from ..scores import Scores
from . import _rows

#: The share of ordinary rows that may be labelled -1, unless another is asked for.
FLAG = 0.05


class DiffusionOutlier(OutlierMixin, BaseEstimator):
    """Outliers among the rows of a table: rows that a diffusion model does not give back as they were.

    Fitted on known-good rows (*novelty detection*, in scikit-learn's words): part of them is learned from, the others are held
    out, and new rows are compared with those. How many are held out is what :func:`diffident.data.split` says: the share asked
    for, at least 99 where that is at most half, and half of a small table; with 2 rows 1.

    **Labels.** ``predict`` gives -1 for a row that is stranger than the k-th strangest row held out, k = floor(level (n + 1))
    with n rows held out: for a recipe of one number, such as the default, at most the share ``level_`` of good rows is labelled
    -1, averaged over tables. Where a recipe gives several numbers, each row held out is compared with the others, which keeps
    that rate nearly. **p-values** keep it exactly with any recipe: ``p_values(X) <= 0.01``. Both rest on good rows to come being
    exchangeable with those held out.

    **Not about rows of the table fitted on.** The rows learned from look more ordinary than new ones like them, so
    ``fit_predict`` says little about them; ask ``sklearn.model_selection.cross_val_predict(..., method="decision_function")``,
    or :class:`diffident.adapters.pyod.DiffusionOD`, whose ``labels_`` are of that kind. There is no ``contamination``: rows are taken to be
    good, and a few that are not make labels more cautious.

    Args:
        recipe: what is asked of the model, by name or as data.
        network: ``none`` keeps the rows as an exact denoiser, ready at once; ``mlp`` learns one.
        flag: the share of good rows that may be labelled -1. None: .05, or the lowest that fewer than 19 rows held out
            can reach, 1 / (n + 1); ``level_`` says which.
        share: of the rows held out.
        images_seen: rows shown to the network in all, each counted as often as it is shown.
        width: of the network, see :class:`diffident.Training`.
        precision: ``auto``, ``fp32`` or ``bf16``.
        random_state: of the split and of all that is random in learning.

    Attributes:
        scorer_: the model that was learned, with what is asked of it.
        calibration_: the scores of the rows held out.
        held_out_: which rows were held out, (n,) int, ascending.
        level_: the share of good rows that ``predict`` may label -1.
        offset_: ``decision_function(X) = score_samples(X) - offset_``.
        n_features_in_, feature_names_in_: as in scikit-learn.

    Raises, on ``fit``:
        TooFewReferences: a ``flag`` that the rows held out cannot reach; the message gives the number needed.
        InvalidSetting, UnknownName: settings out of range, or no such recipe or network.
        ValueError: fewer than 2 rows, or what is not a table of finite numbers.

    >>> table = np.random.default_rng(0).normal(size=(400, 3))
    >>> outlier = DiffusionOutlier().fit(table)
    >>> outlier.predict([[0.0, 0.0, 0.0], [0.0, 6.0, 0.0]])
    array([ 1, -1])
    >>> outlier.p_values([[0.0, 0.0, 0.0], [0.0, 6.0, 0.0]]).round(2)
    array([0.98, 0.01])
    """

    def __init__(  # of any type: scikit-learn wants settings kept as they come, and refused when they are used
        self,
        recipe: Any = "reconstruction",
        *,
        network: Any = "none",
        flag: Any = None,
        share: Any = 0.25,
        images_seen: Any = 50_000,
        width: Any = 64,
        precision: Any = "auto",
        random_state: Any = 0,
    ) -> None:
        self.recipe = recipe
        self.network = network
        self.flag = flag
        self.share = share
        self.images_seen = images_seen
        self.width = width
        self.precision = precision
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> DiffusionOutlier:
        """Learn from part of the rows (n, columns) and calibrate on the others; ``y`` is ignored."""
        table = np.asarray(validate_data(self, X, dtype=np.float64, ensure_min_samples=2))
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        places = range(len(table))  # not their contents: equal rows are observations of their own
        learned, held_out = split(places, list(map(str, places)), self.share, seed=seed)
        self.held_out_, self.level_ = held_out, _level(self.flag, len(held_out))
        self.scorer_ = _rows.learned(table[learned], self.recipe, self.network, self.images_seen, self.width, self.precision, seed)
        self.calibration_ = Calibration(self.scorer_(table[held_out]), combiner(recipe_of(self.recipe).combine))
        strangest = np.sort(_rows.beside_the_others(self.calibration_))
        self.offset_ = -float(strangest[-steps(len(held_out), self.level_)])
        return self

    def score_samples(self, X: Any) -> np.ndarray:
        """How ordinary each row is, (n,): minus its raw strangeness, never clipped; larger is more ordinary."""
        calibration, scores = self._asked(X)
        return -_rows.strangeness(calibration, scores)

    def decision_function(self, X: Any) -> np.ndarray:
        """The same, shifted so that rows below 0 are labelled -1, (n,)."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> np.ndarray:
        """-1 for rows that are strange and 1 for the others, (n,)."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def p_values(self, X: Any) -> np.ndarray:
        """The conformal p-value of each row, (n,): the share of rows held out, itself counted among them, that are at least as strange.

        Of good rows to come at most the share a has p <= a, for every a. Rows of the table fitted on have no p-value that means anything.
        """
        calibration, scores = self._asked(X)
        return calibration.judge(scores).p

    def _asked(self, X: Any) -> tuple[Calibration, Scores]:
        check_is_fitted(self)
        return self.calibration_, self.scorer_(validate_data(self, X, dtype=np.float64, reset=False))


def _level(flag: float | None, n: int) -> float:
    """The level that was asked for, or else what n rows held out can reach."""
    if flag is None:
        return max(FLAG, smallest_p(n))
    if n < needed(flag):
        raise TooFewReferences(
            f"cannot label rows -1 at flag={flag:g} with {n} rows held out; it takes {needed(flag)}: give more rows, a larger share, or a larger flag"
        )
    return flag
