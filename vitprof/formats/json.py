"""Write a report as JSON, with a versioned schema."""

from __future__ import annotations

import json

from vitprof.report.base import SCHEMA, Report


def render_json(report: Report) -> str:
    """Return the whole report as JSON; counts are exact integers."""
    document = {"schema": SCHEMA, "command": report.command, **report.data()}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
