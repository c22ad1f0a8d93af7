"""vitprof: what a vision transformer costs, on paper and beside what the tools say.

>>> import vitprof
>>> vitprof.params("mae", mixer="lambda", counters=["analytic"]).totals["layers"]
20038848
>>> vitprof.macs("layer", batch=100, tokens=50, counters=["analytic"]).total
277760000
"""

from __future__ import annotations

from vitprof.errors import OutputError, SpecError, VitprofError
from vitprof.profile import macs, params
from vitprof.report.report import Report, Row
from vitprof.specs import specify
from vitprof.version import __version__

__all__ = [
    "OutputError",
    "Report",
    "Row",
    "SpecError",
    "VitprofError",
    "__version__",
    "macs",
    "params",
    "specify",
]
