"""Write a report as JSON, with a versioned schema."""

from __future__ import annotations

import json

from vitprof.report.base import SCHEMA, Report


def render_json(report: Report) -> str:
    """Return the whole report as JSON; counts are exact integers."""
    document = {"schema": SCHEMA, "command": report.command, **report.data()}
    text = json.dumps(document, indent=2, ensure_ascii=False)
    return "".join(f"{_escaped(line)}\n" for line in text.split("\n"))


def _escaped(line: str) -> str:
    r"""Escape what prints as nothing visible, such as U+202E, in JSON's own way."""
    if line.isprintable():
        return line
    return "".join(sign if sign.isprintable() else json.dumps(sign)[1:-1] for sign in line)
