"""Rows as flat records, the same in CSV, DataFrame, Markdown and HTML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from vitprof.options import label_of, pairs
from vitprof.report.verdict import verdict

if TYPE_CHECKING:
    from vitprof.report.report import Report, Row

Cell = str | int | None


def subject(spec: Mapping[str, object]) -> str:
    """The model that the conditions are those of, in words for a title."""
    own = f"{spec['model']} with {spec['mixer']}"
    return f"{spec['preset']}, {own}" if "preset" in spec else own


def header(report: Report) -> list[str]:
    """The columns: the row's own, then one a tool, empty where it cannot run."""
    own = ["path", "type", "repeat", "formula", "numbers", "each", "count"]
    return [*own, *report.counters, *report.unavailable]


def record(report: Report, row: Row) -> list[Cell]:
    """One row's cells, in the order of `header`."""
    own: list[Cell] = [
        row.path,
        row.type,
        row.repeat,
        row.formula,
        row.numbers,
        row.each,
        row.count,
    ]
    return own + [row.counters.get(tool) for tool in (*report.counters, *report.unavailable)]


def facts(report: Report) -> dict[str, str]:
    """What stands below a table: totals, what is in none of them, and the conditions."""
    lines: dict[str, str] = {}
    lines |= {tool: verdict(difference) for tool, difference in report.differences.items()}
    if report.not_counted:
        lines["not counted"] = _counts(report.not_counted) + " (elements)"
    if report.fft_flops:
        lines["not counted"] += f"; fft {report.fft_flops:,} FLOPs by 5 n ⌈log2 n⌉ a transform"
    lines |= {f"{tool}, n/a": reason for tool, reason in report.unavailable.items()}
    lines |= {f"{tool} says": note for tool, note in report.notes.items()}
    lines["spec"] = pairs(report.spec)
    lines["conditions"] = pairs(report.conditions)
    lines["versions"] = pairs(report.versions)
    lines["convention"] = report.convention
    return lines


def totals(report: Report) -> list[tuple[str, int]]:
    """The totals by name, as in a sentence."""
    return [(label_of(name), count) for name, count in report.totals.items()]


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{label_of(name)} {count:,}" for name, count in counts.items())
