"""Measured speeds as a table for a terminal: a column a mixer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from vitprof.bytes import show_bytes
from vitprof.options import pairs

if TYPE_CHECKING:
    from rich.console import RenderableType

    from vitprof.report.bench import Benchmark, Measured, Speed

_MIB = 2**20
_NOTHING = "n/a"


def bench_to_table(benchmark: Benchmark) -> Iterator[RenderableType]:
    """What was measured of each mixer, and below it the conditions."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from vitprof.report.grid import grid

    device = benchmark.conditions["device"]
    batch = benchmark.workload["batch"]
    yield Text(f"Speed of {benchmark.model}, batch {batch}, on {device}", style="bold")
    yield ""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("", overflow="fold")
    for measured in benchmark.mixers:
        table.add_column(measured.mixer, justify="right", overflow="fold")
    table.add_row("params", *(f"{measured.params:,}" for measured in benchmark.mixers))
    table.add_row("forward MACs", *(f"{measured.macs:,}" for measured in benchmark.mixers))
    sizes = (show_bytes(measured.peak_bytes) for measured in benchmark.mixers)
    table.add_row("training memory, predicted", *sizes)
    if benchmark.budget_bytes is not None:
        batches = (f"{measured.largest or 0:,}" for measured in benchmark.mixers)
        table.add_row(f"largest batch in {show_bytes(benchmark.budget_bytes)}", *batches)
    for phase in benchmark.mixers[0].speeds:
        table.add_section()
        columns = [_cells(measured, phase, benchmark) for measured in benchmark.mixers]
        table.add_row(phase, style="bold")
        for name in columns[0]:
            table.add_row(f"  {name}", *(cells[name] for cells in columns))
    yield table
    yield ""
    yield grid(_facts(benchmark))


def _cells(measured: Measured, phase: str, benchmark: Benchmark) -> dict[str, str]:
    speed = measured.speeds[phase]
    lower, median, upper = speed.timing.quartiles
    cells = {
        "median": show_seconds(median),
        "lower quartile": show_seconds(lower),
        "upper quartile": show_seconds(upper),
        "images/s": _figure(speed.images_per_second),
    }
    if len(benchmark.mixers) > 1:
        cells[f"over {benchmark.mixers[0].mixer}"] = f"{speed.ratio:.2f}"
    if speed.macs_per_second is not None and speed.share is not None:
        cells["GMAC/s"] = _figure(speed.macs_per_second / 1e9)
        cells["of matrix product"] = f"{speed.share:.1%}"
    return cells | {"peak memory": _memory(speed)}


def _memory(speed: Speed) -> str:
    return _NOTHING if speed.peak_bytes is None else f"{_figure(speed.peak_bytes / _MIB)} MiB"


def show_seconds(time: float) -> str:
    """A time in the unit that suits it."""
    unit, number = ("s", time) if time >= 1 else ("ms", 1e3 * time)
    if number < 0.1:
        unit, number = "µs", 1e6 * time
    return f"{_figure(number)} {unit}"


def _figure(number: float) -> str:
    return f"{number:,.{2 if number < 10 else 1 if number < 100 else 0}f}"


def _facts(benchmark: Benchmark) -> dict[str, str]:
    side, peak = benchmark.peak.side, benchmark.peak.macs_per_second / 1e9
    facts = {
        "matrix product": f"{_figure(peak)} GMAC/s, of {side:,} × {side:,} matrices in "
        f"{benchmark.workload['dtype']}, measured in the same run"
    }
    facts |= {f"{name}, n/a": reason for name, reason in benchmark.unavailable.items()}
    if benchmark.unsettled:
        facts["unsettled"] = "interquartile range over median: " + "; ".join(
            f"{name} {spread:.0%}" for name, spread in benchmark.unsettled.items()
        )
    return facts | {
        **_specs(benchmark),
        "workload": pairs(benchmark.workload),
        "conditions": pairs(benchmark.conditions),
        "versions": pairs(benchmark.versions),
        "protocol": benchmark.protocol,
    }


def _specs(benchmark: Benchmark) -> dict[str, str]:
    """What all the models have in common, and what each has of its own."""
    specs = [measured.spec.items() for measured in benchmark.mixers]
    shared = {name: value for name, value in specs[0] if all((name, value) in s for s in specs)}
    own = {
        measured.mixer: {n: v for n, v in measured.spec.items() if n not in {*shared, "mixer"}}
        for measured in benchmark.mixers
    }
    return {"spec": pairs(shared), **{name: pairs(spec) for name, spec in own.items() if spec}}
