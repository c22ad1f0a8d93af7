"""Setup of all tests: one thread per pytest worker.

More threads than cores make a test about ten times slower.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported
