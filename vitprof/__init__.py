"""Parameters, MACs and memory of vision transformers by formula, compared with other tools.

>>> import vitprof
>>> vitprof.params("mae", mixer="lambda", counters=["analytic"]).totals["layers"]
20038848
>>> vitprof.macs("layer", batch=100, tokens=50, counters=["analytic"]).total
277760000
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from vitprof import formats as formats  # adds the renderers to Report
from vitprof.errors import OutputError, SpecError, VitprofError
from vitprof.version import __version__

if TYPE_CHECKING:
    from vitprof.api.batch_size import batch_size
    from vitprof.api.bench import bench
    from vitprof.api.catalogue import mixers, models
    from vitprof.api.check import check
    from vitprof.api.compare import compare
    from vitprof.api.counts import macs, params
    from vitprof.api.explain import explain
    from vitprof.api.gpus import gpus
    from vitprof.api.match import match
    from vitprof.api.memory import memory
    from vitprof.api.presets import presets
    from vitprof.api.sweep import sweep
    from vitprof.api.time import time
    from vitprof.report.base import Report
    from vitprof.request.specs import specify
    from vitprof.request.workload import Workload

__all__ = [
    "OutputError",
    "Report",
    "SpecError",
    "VitprofError",
    "Workload",
    "__version__",
    "batch_size",
    "bench",
    "check",
    "compare",
    "explain",
    "gpus",
    "macs",
    "match",
    "memory",
    "mixers",
    "models",
    "params",
    "presets",
    "specify",
    "sweep",
    "time",
]

_MODULES = {
    "Report": "report.base",
    "Workload": "request.workload",
    "batch_size": "api.batch_size",
    "bench": "api.bench",
    "check": "api.check",
    "compare": "api.compare",
    "explain": "api.explain",
    "gpus": "api.gpus",
    "macs": "api.counts",
    "match": "api.match",
    "memory": "api.memory",
    "mixers": "api.catalogue",
    "models": "api.catalogue",
    "params": "api.counts",
    "presets": "api.presets",
    "specify": "request.specs",
    "sweep": "api.sweep",
    "time": "api.time",
}


def __getattr__(name: str) -> object:
    """Import a public name at its first use, so that a command imports only what it needs."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
