"""Exit codes."""

from __future__ import annotations

UNMET = 1  # the command ran, and its result does not hold
BAD_REQUEST = 2  # the request is invalid or cannot be carried out
INTERRUPTED = 130  # by Ctrl-C
