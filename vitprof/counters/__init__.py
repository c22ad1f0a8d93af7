"""The tools that are laid beside the formulas, one file each.

Importing this package imports no tool; reading a module does.
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
    """Return the tools of these names, in the order of the columns.

    `analytic` names the formulas, which are always there.

    Raises:
        SpecError: a name is unknown, or none is given.
    """
    chosen = set(names)
    if not chosen:
        raise SpecError(f"no counter is named; choose from {listing(NAMES, 'and')}")
    for name in sorted(chosen - set(NAMES)):
        raise unknown("counter", name, NAMES)
    return [tool for name, tool in TOOLS.items() if name in chosen]
