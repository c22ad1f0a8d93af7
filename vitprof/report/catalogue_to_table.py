"""A catalogue for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from vitprof.report.catalogue import Catalogue
from vitprof.report.grid import grid


def catalogue_to_table(catalogue: Catalogue) -> Iterator[RenderableType]:
    """Each entry's name and summary, and below them its formulas, options and source."""
    for entry in catalogue.entries:
        options = [f"--{name.replace('_', '-')} {value}" for name, value in entry.options.items()]
        lines = {
            "  params": entry.params,
            "  MACs": entry.macs,
            "  options": ", ".join(options) or "none of its own",
            "  source": entry.source,
        }
        if entry.aliases:
            lines["  also"] = ", ".join(entry.aliases)
        yield Text.assemble((entry.name, "bold"), f"  {entry.summary}")
        yield grid(lines)
        yield ""
    yield Text(catalogue.symbols, style="dim")
