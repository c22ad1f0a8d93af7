"""What holds for all tests: one thread for each of the workers, which share the cores.

Threads that wait for those of another worker make a test take ten times as long.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported
