"""What becomes of AUROC when items are drawn again, and intervals in words: for tables that compare methods on the same draws."""

from __future__ import annotations

import numpy as np


def drawn_auroc(labels: np.ndarray, scores: np.ndarray, times: np.ndarray) -> np.ndarray:
    """AUROC of each draw, (repeats,): the share of pairs that are in order, ties by half.

    Args:
        labels: (n,), 1 = strange, 0 = good.
        scores: (n,), larger is stranger.
        times: (repeats, n), how often each item is drawn.
    """
    good, strange = scores[labels == 0], scores[labels == 1]
    order = (strange[:, None] > good[None]) + 0.5 * (strange[:, None] == good[None])
    often, seldom = times[:, labels == 1].astype(float), times[:, labels == 0].astype(float)
    return np.einsum("rs,sg,rg->r", often, order, seldom, optimize=True) / (often.sum(1) * seldom.sum(1))


def ends(drawn: np.ndarray) -> str:
    """The central 95 % of a figure over its draws, (repeats,), in words."""
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"{low:.3f} to {high:.3f}"
