"""What can be read off an item without asking a model: whatever asks one has to beat it."""

from __future__ import annotations

from ..walks import Unasked
from ._recipe import Reading, Recipe, keep

#: How bright, how contrasty, how sharp.
TRIVIAL = keep(Recipe("trivial", (Reading(Unasked(), "trivial"),), source="a control: Mahalanobis' distance in mean, deviation, Laplacian energy"))

#: How much detail at each scale, in each direction.
HAAR_ENERGIES = keep(Recipe("haar-energies", (Reading(Unasked(), "haar_energies"),), source="a control: Mahalanobis' distance in log band energies"))
