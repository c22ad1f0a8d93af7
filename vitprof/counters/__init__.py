"""Tools whose counts are compared with the formulas, one file per tool.

A tool is imported when it first reads a module, not with this package.
"""

from __future__ import annotations

from collections.abc import Iterable

from vitprof.counters.flop_counter_mode import TORCH
from vitprof.counters.fvcore import FVCORE
from vitprof.counters.reading import Tool
from vitprof.counters.torchinfo import TORCHINFO
from vitprof.errors import SpecError, listing, unknown

ANALYTIC = "analytic"
TOOLS: dict[str, Tool] = {tool.name: tool for tool in (TORCHINFO, FVCORE, TORCH)}
NAMES = (ANALYTIC, *TOOLS)


def find_tools(names: Iterable[str]) -> list[Tool]:
    """Return the tools with these names, in the order of `TOOLS`.

    `analytic` names the formulas: it is accepted, and adds no tool.

    Raises:
        SpecError: a name is unknown, or no name is given.
    """
    chosen = set(names)
    if not chosen:
        raise SpecError(f"no counter is named; choose from {listing(NAMES, 'and')}")
    for name in sorted(chosen - set(NAMES)):
        raise unknown("counter", name, NAMES)
    return [tool for name, tool in TOOLS.items() if name in chosen]
