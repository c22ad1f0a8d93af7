"""vitprof: what a vision transformer costs, on paper and beside what the tools say."""

from __future__ import annotations

__version__ = "0.1.0"
