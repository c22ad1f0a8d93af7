"""Exit codes."""

from __future__ import annotations

UNMET = 1  # what was asked for was found out, and does not hold
BAD_REQUEST = 2
INTERRUPTED = 130
