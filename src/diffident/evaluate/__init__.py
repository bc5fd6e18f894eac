"""How well scores rank and maps point, and what declining wins, with intervals; the null scores and cheap baselines that stand beside every figure."""

from .nulls import BASELINES, NULLS
from .pixels import aupro, pixel_auroc, pixel_intervals
from .ranking import Interval, auroc, average_precision, fpr_at, interval
from .realism import realism
from .selective import Sparsification, augrc, aurc, coverage_at, excess_aurc, removed_at, risk_at, risk_coverage, sparsification

__all__ = [
    "BASELINES",
    "NULLS",
    "Interval",
    "Sparsification",
    "augrc",
    "aupro",
    "aurc",
    "auroc",
    "average_precision",
    "coverage_at",
    "excess_aurc",
    "fpr_at",
    "interval",
    "pixel_auroc",
    "pixel_intervals",
    "realism",
    "removed_at",
    "risk_at",
    "risk_coverage",
    "sparsification",
]
