"""How well scores rank and maps point, with intervals, and the null scores and cheap baselines that stand beside every figure."""

from .nulls import BASELINES, NULLS
from .pixels import aupro, pixel_auroc, pixel_intervals
from .ranking import Interval, auroc, average_precision, fpr_at, interval
from .realism import realism

__all__ = ["BASELINES", "NULLS", "Interval", "aupro", "auroc", "average_precision", "fpr_at", "interval", "pixel_auroc", "pixel_intervals", "realism"]
