"""Docstrings of the package: each begins with a verb or a plain noun phrase."""

from __future__ import annotations

import ast
from pathlib import Path

import vitprof

ROOT = Path(vitprof.__file__).parent
CLAUSES = {
    *("What", "Whether", "Where", "Why", "How", "If", "Who", "Which", "All", "That", "When"),
}
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def test_no_docstring_begins_as_a_clause() -> None:
    found = []
    for path in ROOT.rglob("*.py"):
        place = path.relative_to(ROOT)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = ast.get_docstring(node) if isinstance(node, Documented) else None
            if text and text.split()[0].rstrip(",:") in CLAUSES:
                found.append(f"{place}: {text.splitlines()[0]}")
    assert found == []
