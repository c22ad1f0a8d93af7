"""Presets for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from vitprof.options import pairs
from vitprof.report.grid import add_row, grid
from vitprof.report.presets import PresetList, PresetPortrait
from vitprof.report.quantities import QUANTITIES


def list_to_table(presets: PresetList) -> Iterator[RenderableType]:
    """A row a preset: parameters, MACs of one image, mixer, and the number of its source."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("preset", no_wrap=True)
    for name in ("params", "MACs"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("mixer", "source"):
        table.add_column(name, no_wrap=True)
    numbers: dict[str, str] = {}
    for entry in presets.entries:
        number = numbers.setdefault(entry.source, f"[{len(numbers) + 1}]")
        counts = (f"{entry.params:,}", f"{entry.macs:,}")
        add_row(table, (entry.name, *counts, entry.mixer, number))
    yield table
    yield ""
    yield grid({number: source for source, number in numbers.items()})


def portrait_to_table(portrait: PresetPortrait) -> Iterator[RenderableType]:
    """The counts, then each published figure beside ours, then every option."""
    entry = portrait.entry
    yield Text.assemble((entry.name, "bold"), f"  {entry.model} with {entry.mixer}")
    yield grid(
        {
            "params": f"{entry.params:,}",
            "MACs": f"{entry.macs:,} for one image",
            "source": entry.source,
            **({"note": portrait.note} if portrait.note else {}),
        }
    )
    yield ""
    for figure in portrait.figures:
        verdict = "agrees" if figure.agrees else "DIFFERS"
        yield Text.assemble(
            (figure.printed, "bold"), f"  {QUANTITIES[figure.measure].title}: {verdict}"
        )
        lines = {
            "  printed in": figure.source,
            "  counts": figure.counting,
            "  by formula": f"{figure.counted:,}",
        }
        if figure.beside:
            lines["  of which"] = f"{figure.beside} is not built here"
        if figure.note:
            lines["  leaves out"] = figure.note
        yield grid(lines)
        yield ""
    yield grid({"spec": pairs(portrait.spec)})
