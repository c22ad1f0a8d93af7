"""Setup of all tests: one thread per pytest worker, torchvision beside a CPU build of torch, speed.

More threads than cores make a test about ten times slower.
"""

from __future__ import annotations

import gc
import os
import sys
from functools import cache
from pathlib import Path
from runpy import run_path

import typer.main
from typer.utils import get_params_from_function

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

# Processes that a test starts find it by the variable; this one has begun without it.
BESIDE = Path(__file__).parent / "helpers" / "beside_cpu_torch"
before = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
if str(BESIDE) not in before:
    os.environ["PYTHONPATH"] = os.pathsep.join([str(BESIDE), *before])
if not any(type(finder).__name__ == "_Operators" for finder in sys.meta_path):
    run_path(str(BESIDE / "sitecustomize.py"))

# Typer reads the signature of a command at each run, which takes a tenth of the time.
vars(typer.main)["get_params_from_function"] = cache(get_params_from_function)


def pytest_collection_finish() -> None:
    """Leave what is loaded and collected out of later garbage collections, and make these rare.

    Those of all generations take a tenth of the time: imports of tests leave millions of objects.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 100)
