"""Models side by side as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from tabulate import tabulate

from vitprof.report.comparison import Comparison
from vitprof.report.comparison_lines import cells, facts, heading, layer_lines, title
from vitprof.report.quantities import QUANTITIES


def comparison_to_markdown(comparison: Comparison) -> str:
    """The models, the layers that differ, and crossovers and conditions as lists."""
    headings = [heading(comparison, measure) for measure in comparison.measures]
    names = [side.name for side in comparison.sides]
    amounts = [
        [
            side.name,
            *(
                " ".join(filter(None, cells(comparison, side, measure)))
                for measure in comparison.measures
            ),
        ]
        for side in comparison.sides
    ]
    parts = [title(comparison), _tabulate(amounts, ["", *headings])]
    for measure in comparison.differences[0].counts if comparison.differences else ():
        layers = [[path, *counts] for path, _, counts in layer_lines(comparison, measure)]
        parts.append(_tabulate(layers, [QUANTITIES[measure].title, *names]))
    if comparison.crossovers:
        parts.append("\n".join(f"- {one.sentence}" for one in comparison.crossovers))
    parts.append("\n".join(f"- {name}: {text}" for name, text in facts(comparison).items()))
    return "\n\n".join(parts) + "\n"


def _tabulate(rows: Sequence[Sequence[str]], names: Sequence[str]) -> str:
    align = ["left", *["right"] * (len(names) - 1)]
    return tabulate(rows, names, tablefmt="github", colalign=align, disable_numparse=True)
