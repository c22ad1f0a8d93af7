"""How fast vitprof answers, as ratios within one run, so that the machine cancels out.

    python benchmarks/speed.py --runs 15

Whole processes: the analytic command, over importing torch and over a script that asks
three tools about the same model. In one process: each tool on a model's module, which is
built beforehand, over the model's formulas, from the spec's names to the total; and the
fastest of the tools over one configuration of a million that are evaluated on arrays.
"""

from __future__ import annotations

import gc
import os
import platform
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from math import prod
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter

import torch
from rich.console import Console
from rich.progress import track
from three_tools import DEVICES, TOOLS, prepare

from vitprof import specify
from vitprof.formulas.layer import Measure
from vitprof.report.base import Report
from vitprof.report.document import EVERY, Column, Document, Facts, Kind, Records, Row, Table
from vitprof.sweeps.arrays import counts as count_arrays

Times = dict[str, list[float]]
Goal = tuple[str, float]

MACS = [sys.executable, "-m", "vitprof", "macs", "--counters", "analytic", "--format"]
COMMANDS = {f"macs, {name}": [*MACS, name] for name in ("table", "csv", "json")}
RIVALS = {
    "import torch": [sys.executable, "-c", "import torch"],
    "three tools": [sys.executable, str(Path(__file__).with_name("three_tools.py"))],
}
GOALS: dict[str, Goal] = {
    "import torch": ("<", 0.15),
    "formulas": (">", 1000),
    "arrays": (">", 10_000),
}
COLUMNS = (
    *(Column("this", part=EVERY, key=True), Column("takes", Kind.NUMBER)),
    *(Column("over this", part=EVERY, key=True), Column("takes", Kind.NUMBER)),
    *(Column("ratio", Kind.NUMBER), Column("quartiles", Kind.NUMBER)),
    *(Column("goal", Kind.NUMBER), Column("met")),
)
COUNTS = 100  # by formulas in a run, each of a width that comes once
SWEPT = {"dim": range(8, 8008, 8), "image_size": range(8, 8008, 8)}  # a million of them
ARRAYS = f"""
from pathlib import Path
from vitprof import specify
from vitprof.formulas.layer import Measure
from vitprof.sweeps.arrays import counts
counts(specify("mae"), {SWEPT!r}, Measure.MACS)
status = Path("/proc/self/status").read_text()
print(status.partition("VmHWM:")[2].split()[0])
"""
PACKAGES = ("vitprof", "typer", "rich", "torch", "torchinfo", "fvcore")


def time_processes(runs: int) -> Times:
    """Seconds of each process, all of them in turn in every run; run 0 warms up."""
    commands = COMMANDS | RIVALS
    times: Times = {name: [] for name in commands}
    for run in watched(runs, "processes"):
        for name, command in commands.items():
            start = perf_counter()
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
            if run:
                times[name].append(perf_counter() - start)
    return times


@torch.no_grad()
def time_counts(runs: int) -> Times:
    """Seconds of one count, by formulas, on arrays and by each tool in every run; run 0 warms up.

    The tools read the first of the models that the formulas count in that run.
    """
    times: Times = {name: [] for name in ("formulas", "arrays", *TOOLS)}
    model = specify("mae")
    for run in watched(runs, "counts"):
        widths = [128 + 8 * (run + (runs + 1) * count) for count in range(COUNTS)]
        modules = {name: prepare(name, widths[0]) for name in TOOLS}
        gc.collect()
        start = perf_counter()
        for dim in widths:
            specify("mae", options={"dim": dim}).formula().total(Measure.MACS)
        elapsed = {"formulas": (perf_counter() - start) / COUNTS}
        gc.collect()
        start = perf_counter()
        size = count_arrays(model, SWEPT, Measure.MACS).size
        elapsed["arrays"] = (perf_counter() - start) / size
        for name, macs in TOOLS.items():
            gc.collect()
            start = perf_counter()
            macs(*modules[name])
            elapsed[name] = perf_counter() - start
        if run:
            for name, taken in elapsed.items():
                times[name].append(taken)
    return times


def peak_of_arrays() -> int:
    """The most bytes that a process holds that evaluates the formulas on arrays."""
    command = [sys.executable, "-c", ARRAYS]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(ended.stdout) * 1024


def watched(runs: int, what: str) -> Iterable[int]:
    """Run 0 and `runs` more, with a bar where a person is watching."""
    console = Console(stderr=True)
    return track(range(runs + 1), what, console=console, disable=not console.is_terminal)


def row(times: Times, upper: str, lower: str) -> Row:
    """The times of both, and the quartiles of their ratios run by run."""
    ratios = [one / other for one, other in zip(times[upper], times[lower], strict=True)]
    low, middle, high = quantiles(ratios, method="inclusive")
    cells = (
        *(upper, seconds(median(times[upper]))),
        *(lower, seconds(median(times[lower]))),
        *(figure(middle), f"{figure(low)} to {figure(high)}"),
        *verdict(middle, GOALS.get(lower)),
    )
    return Row(cells, alarm=cells[-1] == "NO")


def verdict(ratio: float, goal: Goal | None) -> tuple[str, str]:
    """The goal, and whether the ratio meets it."""
    if goal is None:
        return "", ""
    sign, limit = goal
    met = ratio < limit if sign == "<" else ratio > limit
    return f"{sign} {limit:,}", "yes" if met else "NO"


def seconds(time: float) -> str:
    if time < 1e-6:
        return f"{time * 1e9:.0f} ns"
    if time < 0.001:
        return f"{time * 1e6:.0f} µs"
    return f"{time * 1e3:.0f} ms" if time < 1 else f"{time:.2f} s"


def figure(ratio: float) -> str:
    return f"{ratio:.3f}" if ratio < 10 else f"{ratio:,.0f}"


def conditions(runs: int, arrays: float) -> dict[str, str]:
    """The conditions of the measurement: what was measured, with what, and where."""
    devices = ", ".join(f"{tool} on {device}" for tool, device in DEVICES.items())
    return {
        "macs": "vitprof macs --counters analytic, in each format",
        "three tools": "a script that asks all three about the same model",
        "formulas": f"from spec to total, mean of {COUNTS} models that differ in width",
        "arrays": f"one of {prod(map(len, SWEPT.values())):,} configurations, which differ in "
        f"{' and '.join(SWEPT)}: {1 / arrays:,.0f} a second, in a process that holds "
        f"{peak_of_arrays() / 1e6:.0f} MB at most",
        "the tools": f"{devices}; on modules that are built beforehand",
        "runs": f"{runs} after a warm-up, all in turn in each; quartiles of the runs' ratios",
        "versions": ", ".join(f"{package} {version(package)}" for package in PACKAGES),
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} cores, {torch.get_num_threads()} threads in torch",
    }


@dataclass(frozen=True, kw_only=True)
class Speed(Report):
    """Ratios of speed, a row a pair.

    Attributes:
        tables: rows of whole processes, of tools, and of arrays.
        facts: conditions by name.
    """

    command = "speed"
    tables: tuple[tuple[Row, ...], ...]
    facts: dict[str, str]

    def document(self) -> Document:
        tables = (Table(COLUMNS, rows) for rows in self.tables)
        return (*tables, Facts(self.facts))

    def records(self) -> Records:
        names = ("this", "takes", "over", "takes_over", "ratio", "quartiles", "goal", "met")
        rows = (tuple(map(str, row.cells)) for rows in self.tables for row in rows)
        return Records(names, tuple(rows))

    def data(self) -> dict[str, object]:
        records = self.records()
        rows = [dict(zip(records.columns, row, strict=True)) for row in records.rows]
        return {"rows": rows, "conditions": self.facts}


def main() -> None:
    parser = ArgumentParser(description="Measure how fast vitprof answers, as ratios in one run.")
    parser.add_argument("--runs", type=int, default=15, help="at least 2 (default: %(default)s)")
    runs: int = parser.parse_args().runs
    if runs < 2:
        parser.error("quartiles need at least 2 runs")
    processes, counts = time_processes(runs), time_counts(runs)
    fastest = min(TOOLS, key=lambda tool: median(counts[tool]))
    speed = Speed(
        tables=(
            tuple(row(processes, command, rival) for command in COMMANDS for rival in RIVALS),
            tuple(row(counts, tool, "formulas") for tool in TOOLS),
            (row(counts, fastest, "arrays"),),
        ),
        facts=conditions(runs, median(counts["arrays"])),
    )
    print(speed)


if __name__ == "__main__":
    main()
