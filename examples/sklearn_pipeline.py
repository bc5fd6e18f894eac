"""A scikit-learn pipeline whose alarms keep their word: fitted on good rows of a table, asked about others. Run: python examples/sklearn_pipeline.py

The step before learns nothing from the rows. One that does, such as PCA, also learns from those that calibrate, and then the
rate is no longer exact: fit such a step on rows of its own.
"""

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from diffident.adapters.sklearn import DiffusionOutlier


def main() -> None:
    rows, benign = load_breast_cancer(return_X_y=True)
    good, strange = rows[benign == 1], rows[benign == 0]  # nobody tells it about malignant ones
    malignant = np.repeat([False, True], [100, len(strange)])
    told = []
    for seed in range(20):  # what is promised is an average over tables: one by itself does better or worse by chance
        good = np.random.default_rng(seed).permutation(good)
        pipe = make_pipeline(FunctionTransformer(np.log1p), DiffusionOutlier(flag=0.05)).fit(good[100:])
        incoming = np.concatenate([good[:100], strange])
        flagged = pipe.predict(incoming) < 0
        p = pipe[-1].p_values(pipe[:-1].transform(incoming))  # what -1 does not say: how strange
        area = roc_auc_score(malignant, -pipe.score_samples(incoming))
        told.append((flagged[~malignant].mean(), flagged[malignant].mean(), (p[~malignant] <= 0.01).mean(), (p[malignant] <= 0.01).mean(), area))

    labelled, caught, sure, surely, area = np.mean(told, axis=0)
    print(f"labelled -1: {labelled:.3f} of the good rows, {caught:.3f} of the malignant (asked: {pipe[-1].level_})")
    print(f"p <= 0.01: {sure:.3f} of the good rows, {surely:.3f} of the malignant")
    print(f"AUROC: {area:.3f}; {len(pipe[-1].held_out_)} rows held out of {len(good) - 100}, {pipe[-1].n_features_in_} columns")


if __name__ == "__main__":
    main()
