"""The counts that a report on a Fashion-MNIST classifier states, reproduced.

The report counts one encoder layer of a vision transformer by hand: its parameters, and
its multiply-accumulates on 100 images of 50 tokens (7 × 7 patches and a class token).

    python examples/report_classifier.py
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table

import vitprof
from vitprof.report.counts import Counts

PARAMETERS = {
    "norm1": 128,
    "mixer.qkv": 12_480,
    "mixer.fc_out": 4_160,
    "norm2": 128,
    "mlp.fc1": 16_640,
    "mlp.fc2": 16_448,
}
MACS = {
    "mixer.qkv": 61_440_000,
    "mixer.scores": 16_000_000,
    "mixer.output": 16_000_000,
    "mixer.fc_out": 20_480_000,
    "mlp.fc1": 81_920_000,
    "mlp.fc2": 81_920_000,
}


def compare(title: str, report: Counts, rows: Mapping[str, int], total: int) -> bool:
    """Print the figures side by side; every row that counts anything must be stated."""
    counted = {row.path: row for row in report.rows if row.count}
    table = Table(
        Column("figure", no_wrap=True),
        Column("report", no_wrap=True, justify="right"),
        Column("vitprof", no_wrap=True, justify="right"),
        "equal",
        "derivation",
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for path, row in counted.items():
        table.add_row(*cells(path, rows[path], row.count), f"{row.formula}\n= {row.numbers}")
    table.add_row(*cells("total", total, report.total), "the sum of the rows")
    Console(highlight=False).print(title, "", table, "", sep="\n")
    found = {path: row.count for path, row in counted.items()}
    return found == rows and report.total == sum(rows.values()) == total


def cells(figure: str, stated: int, found: int) -> tuple[str, str, str, str]:
    return figure, f"{stated:,}", f"{found:,}", "yes" if found == stated else "NO"


def main() -> int:
    """Compare all figures; 0 if all are equal, else 1."""
    parameters = vitprof.params("layer", dim=64, heads=4, mlp_ratio=4, counters=["analytic"])
    macs = vitprof.macs(
        "layer", batch=100, tokens=50, dim=64, heads=4, mlp_ratio=4, counters=["analytic"]
    )
    equal = [
        compare("Parameters of one encoder layer", parameters, PARAMETERS, 49_984),
        compare("Multiply-accumulates of one encoder layer", macs, MACS, 277_760_000),
    ]
    return 0 if all(equal) else 1


if __name__ == "__main__":
    sys.exit(main())
