"""What a comparison says, cell by cell, the same in a terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from vitprof.bytes import show_bytes
from vitprof.errors import listing
from vitprof.options import pairs
from vitprof.report.bench_to_table import show_seconds
from vitprof.report.comparison import Comparison, Side
from vitprof.report.quantities import QUANTITIES, Amount


def title(comparison: Comparison) -> str:
    """What is compared."""
    names = listing((side.name for side in comparison.sides), "and")
    model = comparison.spec.get("model")
    inside = "" if model is None else f" in {model}"
    return f"Comparison of {names}{inside}, batch {comparison.workload['batch']}"


def heading(comparison: Comparison, measure: str) -> str:
    """What heads a measure's column."""
    within = "" if comparison.budget_bytes is None else f" in {show_bytes(comparison.budget_bytes)}"
    return QUANTITIES[measure].title + (within if measure == "batch" else "")


def cells(comparison: Comparison, side: Side, measure: str) -> tuple[str, str]:
    """An amount, and its ratio to the first model's, which has none."""
    ratio = None if side is comparison.sides[0] else side.ratios[measure]
    return _shown(side.amounts[measure], measure), "" if ratio is None else _times(ratio)


def _shown(amount: Amount, measure: str) -> str:
    if isinstance(amount, float):
        return show_seconds(amount)
    return show_bytes(amount) if measure == "memory" else f"{amount:,}"


def _times(ratio: float) -> str:
    return f"×{ratio:,.2f}" if ratio >= 0.1 else f"×{ratio:.2g}"


def layer_lines(comparison: Comparison, measure: str) -> Iterator[tuple[str, str, list[str]]]:
    """Path, label below the layer that it is in, and counts of the layers that differ."""
    above: list[str] = []
    for layer in comparison.differences:
        counts = layer.counts[measure].values()
        if len({*counts}) == 1:
            continue
        while above and not layer.path.startswith(f"{above[-1]}."):
            above.pop()
        name = layer.path.removeprefix(f"{above[-1]}." if above else "")
        label = "  " * len(above) + name
        yield layer.path, label, ["" if count is None else f"{count:,}" for count in counts]
        above.append(layer.path)


def facts(comparison: Comparison) -> dict[str, str]:
    """The conditions that the amounts depend on."""
    own = {side.name: pairs(comparison.own(side)) for side in comparison.sides}
    lines = {"ratios": f"× is over {comparison.sides[0].name}", "spec": pairs(comparison.spec)}
    lines |= {name: text for name, text in own.items() if text and text != f"mixer {name}"}
    lines["workload"] = pairs(comparison.workload)
    if comparison.protocol:
        lines |= {"conditions": pairs(comparison.conditions), "protocol": comparison.protocol}
    if comparison.unsettled:
        lines["unsettled"] = "interquartile range over median: " + ", ".join(
            f"{name} {spread:.0%}" for name, spread in comparison.unsettled.items()
        )
    lines |= {f"{name}, no crossover": why for name, why in comparison.unsearched.items()}
    on_grid = dict.fromkeys(one.name for one in comparison.crossovers if one.squares)
    if on_grid:
        lines["crossovers"] = (
            f"of {listing(on_grid, 'and')} at square numbers of tokens alone, where there is a grid"
        )
    return lines | {"versions": pairs(comparison.versions), "convention": comparison.convention}
