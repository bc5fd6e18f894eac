"""Pictures and pages of what was judged: heat maps, film strips, one self-contained HTML page. Pillow and text, nothing drawn elsewhere."""

from __future__ import annotations

from .explanation import Explanation, explain
from .page import report

__all__ = ["Explanation", "explain", "report"]
