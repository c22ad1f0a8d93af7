"""Tools whose counts are compared with the formulas, one file per tool.

A tool is imported when it first reads a module, not with this package. Three are installed with
vitprof and asked unless others are named; the others are extras of it.
"""

from __future__ import annotations

from collections.abc import Iterable

from vitprof.counters.calflops import CALFLOPS
from vitprof.counters.deepspeed import DEEPSPEED
from vitprof.counters.flop_counter_mode import TORCH
from vitprof.counters.fvcore import FVCORE
from vitprof.counters.ptflops import PTFLOPS
from vitprof.counters.ptflops_aten import PTFLOPS_ATEN
from vitprof.counters.reading import Tool
from vitprof.counters.thop import THOP
from vitprof.counters.torchinfo import TORCHINFO
from vitprof.counters.torchprofile import TORCHPROFILE
from vitprof.errors import SpecError, listing, unknown

ANALYTIC = "analytic"
TOOLS: dict[str, Tool] = {tool.name: tool for tool in (TORCHINFO, FVCORE, TORCH)}
EXTRAS: dict[str, Tool] = {
    tool.name: tool for tool in (THOP, TORCHPROFILE, PTFLOPS, PTFLOPS_ATEN, CALFLOPS, DEEPSPEED)
}
ALL = "all"
NAMES = (ANALYTIC, *TOOLS)
KNOWN = (*NAMES, *EXTRAS, ALL)


def find_tools(names: Iterable[str]) -> list[Tool]:
    """Return the tools with these names, in the order of `TOOLS` and `EXTRAS`.

    `analytic` names the formulas: it is accepted, and adds no tool. `all` names every tool.

    Raises:
        SpecError: a name is unknown, or no name is given.
    """
    chosen = set(names)
    if not chosen:
        raise SpecError(f"no counter is named; choose from {listing(KNOWN, 'and')}")
    for name in sorted(chosen - set(KNOWN)):
        raise unknown("counter", name, KNOWN)
    tools = {**TOOLS, **EXTRAS}
    return [tool for name, tool in tools.items() if name in chosen or ALL in chosen]
