"""The histogram of p-values, as a drawing that a page can hold."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..calibration import needed

WIDTH, HEIGHT, LEFT, BELOW, ABOVE = 640, 250, 60, 52, 34
BARS = 20


def histogram(p: Sequence[float], level: float, references: int) -> str:
    """p-values in twenty bars, the region in which items are flagged marked, and the height that good items alone would give.

    Args:
        p: of every item that was judged; at least one.
        level: at which an item is flagged by itself; NaN when the batch is decided about as a whole, and no region is marked.
        references: p comes in steps of 1 / (references + 1).
    """
    counts = np.histogram(np.asarray(p), bins=BARS, range=(0, 1 + 1e-9))[0]
    top, flat = max(int(counts.max()), 1), len(p) / BARS
    scale = (HEIGHT - BELOW - ABOVE) / max(top, flat)
    floor, step = float(HEIGHT - BELOW), (WIDTH - LEFT - 8) / BARS
    bars = "".join(_bar(i, int(count), floor, step, scale) for i, count in enumerate(counts))
    axis = "".join(_tick(x, LEFT + x * BARS * step, floor) for x in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0))
    high = f'<text x="{LEFT - 8}" y="{floor - top * scale + 4:.1f}" text-anchor="end">{top}</text><text x="{LEFT - 8}" y="{floor}" text-anchor="end">0</text>'
    name = f'<text x="{LEFT + BARS * step / 2:.1f}" y="{HEIGHT - 4}" text-anchor="middle">p-value (small is strange)</text>'
    words = f"Histogram of {len(p)} p-values: {int(counts[0])} lie between 0 and 0.05, where {flat:.3g} would if all items were good."
    marks = _region(level, floor, step) + _flat(flat, floor, scale)
    drawn = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{words}">{bars}{marks}{axis}{high}{name}</svg>'
    return f"<figure class=chart>{drawn}<figcaption>{_caption(counts, flat, level, references)}</figcaption></figure>\n"


def _caption(counts: np.ndarray, flat: float, level: float, references: int) -> str:
    shaded = "" if math.isnan(level) else f"Items in the red region, up to p = {level:g}, are flagged. "
    steps = f" With {references} references p comes in steps of {1 / (references + 1):.2g}." if references < needed(1 / BARS) * 10 else ""
    return (
        f"{shaded}If every item were good, the bars would be level at the dashed line, give or take chance; a tall first bar "
        f"({int(counts[0])} items where {flat:.3g} would stand) is what strange items look like. If instead most p-values are small, look first whether "
        f"the good items themselves have changed.{steps}"
    )


def _bar(i: int, count: int, floor: float, step: float, scale: float) -> str:
    title = f"<title>{count} from {i / BARS:g} to {(i + 1) / BARS:g}</title>"
    return f'<rect class="bar" x="{LEFT + i * step + 1:.1f}" y="{floor - count * scale:.1f}" width="{step - 2:.1f}" height="{count * scale:.1f}">{title}</rect>'


def _region(level: float, floor: float, step: float) -> str:
    if math.isnan(level):
        return ""
    wide = max(level * BARS * step, 2)
    words = f'<text class="red" x="{LEFT}" y="{ABOVE - 14}">flagged: p up to {level:g}</text>'
    return f'{words}<rect class="region" x="{LEFT}" y="{ABOVE - 8}" width="{wide:.1f}" height="{floor - ABOVE + 8}"/>'


def _flat(flat: float, floor: float, scale: float) -> str:
    y = floor - flat * scale
    words = f'<text x="{WIDTH - 8}" y="{y - 6:.1f}" text-anchor="end">if all were good</text>'
    return f'<line class="flat" x1="{LEFT}" x2="{WIDTH - 8}" y1="{y:.1f}" y2="{y:.1f}"/>{words}'


def _tick(value: float, x: float, floor: float) -> str:
    return f'<text x="{x:.1f}" y="{floor + 20}" text-anchor="middle">{value:g}</text>'
