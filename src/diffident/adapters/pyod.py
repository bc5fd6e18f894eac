"""PyOD: an outlier detector of its contract, for tables in which outliers are among the rows. Importing this needs PyOD.

from diffident.adapters.pyod import DiffusionOD
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from ..calibration import Calibration, combiner
from ..errors import InvalidSetting, MissingPackage
from ..recipes import Recipe
from ..recipes import recipe as recipe_of
from . import _rows

try:
    from pyod.models.base import BaseDetector  # pyright: ignore[reportMissingImports]
except ImportError as error:
    raise MissingPackage(f"PyOD's contract needs pyod: pip install 'diffident[pyod]' ({error})") from error


class DiffusionOD(BaseDetector):
    """Outliers among the rows of a table, by PyOD's contract: larger scores are stranger, 1 is an outlier and 0 is none.

    ``decision_scores_``, and with them ``labels_`` and ``threshold_``, are of rows that were held out: the table is parted in
    ``folds``, and each part is scored by a model that learned from the others. ``decision_function`` asks a model that learned
    from all rows. So ``fit`` learns folds + 1 times.

    ``contamination`` is the share of outliers in the table, and nothing is promised about it. For known-good rows and a stated
    rate of false alarms take :class:`diffident.adapters.sklearn.DiffusionOutlier`, which gives p-values.

    Args:
        contamination: the share of outliers in the table, above 0 and at most .5; or what PyOD takes in its place.
        recipe, network, images_seen, width, precision: see :class:`diffident.adapters.sklearn.DiffusionOutlier`.
        folds: in how many parts each is scored by a model of the others, 2 or more.
        random_state: a whole number; of the folds and of all that is random in learning.

    Raises, on ``fit``:
        InvalidSetting, UnknownName: settings out of range, or no such recipe or network.
        ValueError: fewer than 2 rows, or what is not a table of finite numbers.

    >>> rng = np.random.default_rng(0)
    >>> table = np.concatenate([rng.normal(size=(95, 3)), rng.normal(size=(5, 3)) * 6])
    >>> found = DiffusionOD(contamination=0.05).fit(table)
    >>> int(found.labels_.sum()), int(found.labels_[95:].sum())
    (5, 5)
    """

    def __init__(
        self,
        contamination: Any = 0.1,
        recipe: str | Recipe = "reconstruction",
        network: str = "none",
        folds: int = 5,
        images_seen: int = 50_000,
        width: int = 64,
        precision: str = "auto",
        random_state: int = 0,
    ) -> None:
        super().__init__(contamination=contamination)
        self.recipe = recipe
        self.network = network
        self.folds = folds
        self.images_seen = images_seen
        self.width = width
        self.precision = precision
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> DiffusionOD:
        """Learn from the rows (n, columns) and score each of them by a model that did not see it; ``y`` is ignored."""
        if self.folds < 2:
            raise InvalidSetting(f"folds are 2 or more, so that each row is scored by a model of the others; got {self.folds}")
        table = check_array(X, dtype="float64", ensure_min_samples=2)
        self.n_features_in_ = table.shape[1]
        self._set_n_classes(y)
        learn = partial(
            _rows.learned,
            recipe=self.recipe,
            network=self.network,
            images_seen=self.images_seen,
            width=self.width,
            precision=self.precision,
            seed=self.random_state,
        )
        known, self.scorer_ = _rows.held_out_in_turn(table, self.folds, self.random_state, learn)
        self.calibration_ = Calibration(known, combiner(recipe_of(self.recipe).combine))
        self.decision_scores_ = _rows.beside_the_others(self.calibration_)
        self._process_decision_scores()
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """How strange each row is, (n,): raw, never clipped; larger is stranger."""
        check_is_fitted(self, ["decision_scores_", "threshold_", "labels_"])
        table = check_array(X, dtype="float64")
        if table.shape[1] != self.n_features_in_:
            raise ValueError(f"X has {table.shape[1]} features, but DiffusionOD is expecting {self.n_features_in_} features as input")
        return _rows.strangeness(self.calibration_, self.scorer_(table))
