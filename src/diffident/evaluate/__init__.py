"""How well scores rank, with intervals, and the null scores and cheap baselines that stand beside every figure."""

from .nulls import BASELINES, NULLS
from .ranking import Interval, auroc, average_precision, fpr_at, interval

__all__ = ["BASELINES", "NULLS", "Interval", "auroc", "average_precision", "fpr_at", "interval"]
