"""The histogram of p-values, as a drawing that a page can hold."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

WIDTH, HEIGHT, LEFT, BELOW, ABOVE = 640, 250, 60, 52, 34
MOST = 20

#: Of the drawing: from p = 0 to p = 1, and the line on which bars stand.
ACROSS, FLOOR = WIDTH - LEFT - 8, HEIGHT - BELOW


def binned(p: Sequence[float], references: int) -> tuple[np.ndarray, np.ndarray]:
    """Counts of p-values, and the edges between bars.

    With n references p is one of 1 / (n + 1), 2 / (n + 1), ..., 1. Each bar takes equally many of these, up to twenty bars, and the
    last what remains: other edges would make bars uneven that ought to be level.

    >>> counts, edges = binned([0.25, 0.5, 1.0, 1.0], 3)
    >>> counts.tolist(), edges.tolist()
    ([1, 1, 0, 2], [0.0, 0.25, 0.5, 0.75, 1.0])
    """
    steps = references + 1
    each = math.ceil(steps / MOST)
    edges = np.append(np.arange(steps // each) * each, steps)
    places = np.rint(np.asarray(p, dtype=np.float64) * steps).astype(int)
    return np.histogram(places, bins=edges + 0.5)[0], edges / steps


def histogram(p: Sequence[float], level: float, references: int) -> str:
    """p-values in bars, the region in which items are flagged marked, and the height that good items alone would give.

    Args:
        p: of every item that was judged; at least one.
        level: at which an item is flagged by itself; NaN when the batch is decided about as a whole, and no region is marked.
        references: p comes in steps of 1 / (references + 1).
    """
    counts, edges = binned(p, references)
    flat = len(p) * float(edges[1])
    heights = counts * edges[1] / np.diff(edges)  # a wider last bar is as much lower, so that level stays level
    top = max(float(heights.max()), flat)
    bars = "".join(_bar(int(count), edges[i], edges[i + 1], float(heights[i]) / top) for i, count in enumerate(counts))
    marks = _region(level) + _flat(flat / top)
    axis = "".join(f'<text x="{_x(x):.1f}" y="{FLOOR + 20}" text-anchor="middle">{x:g}</text>' for x in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0))
    high = f'<text x="{LEFT - 8}" y="{ABOVE + 4}" text-anchor="end">{top:.3g}</text><text x="{LEFT - 8}" y="{FLOOR}" text-anchor="end">0</text>'
    name = f'<text x="{_x(0.5):.1f}" y="{HEIGHT - 4}" text-anchor="middle">p-value (small is strange)</text>'
    words = f"Histogram of {len(p)} p-values: {int(counts[0])} lie between 0 and {edges[1]:.2g}, where {flat:.3g} would if all items were good."
    drawn = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{words}">{bars}{marks}{axis}{high}{name}</svg>'
    return f"<figure class=chart>{drawn}<figcaption>{_caption(int(counts[0]), flat, level, references)}</figcaption></figure>\n"


def _caption(first: int, flat: float, level: float, references: int) -> str:
    region = "" if math.isnan(level) else f"Items in the red region, up to p = {level:g}, are flagged. "
    return (
        f"{region}If every item were good, the bars would be level at the dashed line, give or take chance; a tall first bar "
        f"(here {first}, where {flat:.3g} would stand) is what strange items look like. If instead most p-values are small, look first whether "
        f"the good items themselves have changed. With {references} references p comes in steps of {1 / (references + 1):.2g}."
    )


def _x(p: float) -> float:
    return LEFT + float(p) * ACROSS


def _bar(count: int, start: float, end: float, share: float) -> str:
    high = share * (FLOOR - ABOVE)
    title = f"<title>{count} above {start:.3g} and up to {end:.3g}</title>"
    return f'<rect class="bar" x="{_x(start) + 1:.1f}" y="{FLOOR - high:.1f}" width="{_x(end) - _x(start) - 2:.1f}" height="{high:.1f}">{title}</rect>'


def _region(level: float) -> str:
    if math.isnan(level):
        return ""
    words = f'<text class="red" x="{LEFT}" y="{ABOVE - 14}">flagged: p up to {level:g}</text>'
    return f'{words}<rect class="region" x="{LEFT}" y="{ABOVE - 8}" width="{max(level * ACROSS, 2):.1f}" height="{FLOOR - ABOVE + 8}"/>'


def _flat(share: float) -> str:
    y = FLOOR - share * (FLOOR - ABOVE)
    words = f'<text x="{WIDTH - 8}" y="{y - 6:.1f}" text-anchor="end">if all were good</text>'
    return f'<line class="flat" x1="{LEFT}" x2="{WIDTH - 8}" y1="{y:.1f}" y2="{y:.1f}"/>{words}'
