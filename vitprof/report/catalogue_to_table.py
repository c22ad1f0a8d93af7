"""A catalogue for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from vitprof.options import pairs
from vitprof.report.catalogue import SYMBOLS, Catalogue, Portrait
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


def portrait_to_table(portrait: Portrait) -> Iterator[RenderableType]:
    """The equations, the options, the formulas, and what each tool makes of it."""
    entry = portrait.entry
    yield Text.assemble((entry.name, "bold"), f"  {entry.summary}")
    yield ""
    yield from _paragraphs(portrait.equations)
    lines = {
        "params": entry.params,
        "MACs": entry.macs,
        **{
            f"--{name.replace('_', '-')}": f"{portrait.explained[name]}; {default} by default"
            for name, default in entry.options.items()
        },
        "grid": "needs one: patches of an image, and no class token"
        if portrait.needs_grid
        else "needs none",
        **portrait.readings,
    }
    if portrait.spec:
        lines["read in"] = pairs(portrait.spec)
    yield grid(lines)
    yield ""
    yield Text(SYMBOLS, style="dim")


def _paragraphs(text: str) -> Iterator[Text]:
    """Prose without its line breaks, and equations with theirs."""
    for paragraph in text.split("\n\n"):
        lines = paragraph.splitlines()
        prose = not any(line.startswith(" ") or "  " in line for line in lines)
        yield Text(" ".join(lines) if prose else paragraph)
        yield Text()
