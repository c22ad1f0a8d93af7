"""A memory report as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from tabulate import tabulate

from vitprof.report.memory import MemoryReport
from vitprof.report.memory_lines import facts


def memory_to_markdown(report: MemoryReport) -> str:
    """What each layer keeps, what is held at the peak, and the conditions as a list."""
    kept = [
        (row.path, row.type, row.formula, row.numbers, f"{row.each:,}", f"{row.count:,}")
        for row in report.rows
    ]
    held = [
        (held.kind, held.path, held.formula, held.numbers, f"{held.bytes:,}")
        for held in report.held
    ]
    below = [f"- {name}: {text}" for name, text in facts(report).items()]
    tables = [
        _tabulate(kept, ("kept", "type", "formula", "numbers", "each", "bytes")),
        _tabulate(held, ("held", "layer", "formula", "numbers", "bytes")),
    ]
    return "\n".join([tables[0], "", tables[1], "", *below]) + "\n"


def _tabulate(cells: Sequence[tuple[str, ...]], names: tuple[str, ...]) -> str:
    align = ["right" if name in ("each", "bytes") else "left" for name in names]
    return tabulate(cells, names, tablefmt="github", colalign=align, disable_numparse=True)
