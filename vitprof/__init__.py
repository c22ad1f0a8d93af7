"""vitprof: what a vision transformer costs, on paper and beside what the tools say.

>>> import vitprof
>>> vitprof.params("mae", mixer="lambda", counters=["analytic"]).totals["layers"]
20038848
>>> vitprof.macs("layer", batch=100, tokens=50, counters=["analytic"]).total
277760000
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitprof.errors import OutputError, SpecError, VitprofError
from vitprof.profile import macs, params
from vitprof.report.report import Report, Row
from vitprof.specs import specify
from vitprof.version import __version__

if TYPE_CHECKING:
    from vitprof.comparing import compare
    from vitprof.footprint import memory
    from vitprof.sweeping import sweep

__all__ = [
    "OutputError",
    "Report",
    "Row",
    "SpecError",
    "VitprofError",
    "__version__",
    "compare",
    "macs",
    "memory",
    "params",
    "specify",
    "sweep",
]


def __getattr__(name: str) -> object:
    """Load what not every command needs when it is asked for."""
    if name == "compare":
        from vitprof.comparing import compare

        return compare
    if name == "memory":
        from vitprof.footprint import memory

        return memory
    if name == "sweep":
        from vitprof.sweeping import sweep

        return sweep
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
