"""A report as JSON, the contract for other programs."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from vitprof.options import plain
from vitprof.reconcile import Difference

if TYPE_CHECKING:
    from vitprof.report.report import Report

SCHEMA = "vitprof/1"


def to_json(report: Report) -> str:
    """The whole report; counts are exact integers, a silent tool is null."""
    document: dict[str, object] = {
        "schema": SCHEMA,
        "command": report.command,
        "spec": {name: plain(value) for name, value in report.spec.items()},
        "conditions": dict(report.conditions),
        "versions": dict(report.versions),
        "convention": report.convention,
        "totals": dict(report.totals),
    }
    if report.not_counted:
        document["not_counted"] = dict(report.not_counted)
    if report.fft_flops:
        document["fft_flops"] = report.fft_flops
    document |= {
        "counters": dict(report.counters),
        "differences": {
            name: _difference(difference) for name, difference in report.differences.items()
        },
        "unavailable": dict(report.unavailable),
        "notes": dict(report.notes),
        "rows": [
            {
                "path": row.path,
                "type": row.type,
                "repeat": row.repeat,
                "formula": row.formula,
                "numbers": row.numbers,
                "each": row.each,
                "count": row.count,
                "counters": dict(row.counters),
            }
            for row in report.rows
        ],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _difference(difference: Difference) -> dict[str, object]:
    return {
        "reading": difference.reading,
        "predicted": difference.predicted,
        "causes": [asdict(cause) for cause in difference.causes],
        "unexplained": difference.unexplained,
        "mismatches": [asdict(mismatch) for mismatch in difference.mismatches],
    }
