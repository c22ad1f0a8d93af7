"""Tables of counts on a console: figures wider than it, causes, and colours."""

from __future__ import annotations

import re
from collections import Counter
from io import StringIO
from typing import Any

import counted
import pytest
import threads
from counted import WIDE, tables, wide
from reports import printed, profile
from rich.console import Console

import vitprof
from vitprof.formats import Format, render
from vitprof.formats.table import plain
from vitprof.report.counts import Counts

one_thread = threads.one_thread
default_mae = counted.default_mae


@pytest.mark.parametrize("width", [40, 100, 240])
@pytest.mark.parametrize("name", WIDE)
def test_no_width_cuts_a_figure(name: str, width: int) -> None:
    report = wide(name)
    text = printed(report, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert "\x1b" not in text
    columns = {"count": [f"{row.count:,}" for row in report.tree]} | {
        tool: [f"{row.counters[tool]:,}" for row in report.tree] for tool in report.counters
    }
    if any(row.repeat > 1 for row in report.tree):
        assert {f"{row.each:,}" for row in report.tree} <= {*re.findall(r"[\d,]+", text)}
    labels = [f"{row.name}×{row.repeat}" if "-" in row.name else row.name for row in report.tree]
    shown = [*tables(text)]
    tools = [name for table in shown for name in table.rows[0] if name in report.counters]
    assert sorted(tools) == sorted(report.counters)
    for table in shown:
        assert ["".join(row["layer"].split()) for row in table.rows] == labels
        for name in ("count", *report.counters):
            if name in table.rows[0]:
                assert [row[name] for row in table.rows] == columns[name]
        if "count" in table.rows[0]:
            below = [row["count"] for row in table.totals]
            assert below == [f"{count:,}" for count in report.totals.values()]
    assert any("count" in table.rows[0] for table in shown)
    for tool, total in report.counters.items():
        said = [row[tool] for table in shown for row in table.totals if row.get(tool)]
        assert said == [f"{total:,}"]


@pytest.mark.parametrize(
    ("model", "sizes", "tools"),
    [
        ("layer", {"batch": 10**6, "tokens": 10**5, "dim": 10**4}, ["torch"]),  # 27 characters
        ("layer", {"batch": 10**9, "tokens": 10**7, "dim": 10**6}, ["analytic"]),  # 39
        ("classifier", {"batch": 10**9, "image_size": 2**16, "mixer": "lambda"}, ["analytic"]),
    ],
)
def test_figures_as_wide_as_the_screen(model: str, sizes: dict[str, Any], tools: list[str]) -> None:
    """A column of figures may leave no room for another column or for a whole name."""
    report = vitprof.macs(model, counters=tools, fold=False, **sizes)
    text = printed(report, 40)
    assert max(map(len, text.splitlines())) <= 40
    assert "…" not in text
    said = [count for row in report.tree for count in (row.count, *row.counters.values())]
    below = [*report.totals.values(), *report.counters.values()]
    figures = Counter(f"{count:,}" for count in (*said, *below))
    assert figures <= Counter(re.findall(r"\d+(?:,\d{3})*", text))


@pytest.mark.parametrize("width", [60, 160])
def test_causes_stand_beside_their_amounts(width: int) -> None:
    report = profile("macs", "classifier", "lambda", True)
    lines = [line.split() for line in plain(report.why(), width).splitlines()]
    causes = [cause for one in report.differences.values() for cause in one.causes]
    pairs = [pair for cause in causes for pair in cause.paths.items()]
    assert len(pairs) > 10
    for path, amount in pairs:
        assert [path, f"{amount:+,}".replace("-", "−")] in [line[-2:] for line in lines]


def test_table_file_is_what_a_console_prints(default_mae: Counts) -> None:
    on_console = [line.rstrip() for line in printed(default_mae, 160).splitlines()]
    assert render(default_mae, Format.TABLE).splitlines() == on_console


def test_colours_change_no_letter(default_mae: Counts) -> None:
    text = StringIO()
    Console(file=text, width=160, force_terminal=True, color_system="standard").print(default_mae)
    assert "\x1b[" in text.getvalue()
    assert re.sub(r"\x1b\[[0-9;]*m", "", text.getvalue()) == printed(default_mae, 160)
