"""Docstrings shown to the user: equations of mixers, help of commands."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from textwrap import dedent
from types import ModuleType
from typing import Any


def docstring(of: ModuleType | Callable[..., Any]) -> str:
    """Return the docstring of a module or a function; empty if there is none.

    It is read from the source code if Python runs with -OO, which drops docstrings.
    """
    if of.__doc__ is None:
        try:
            tree = ast.parse(dedent(inspect.getsource(of)))
        except (OSError, TypeError):
            return ""
        node = tree if isinstance(of, ModuleType) else tree.body[0]
        assert isinstance(node, ast.Module | ast.FunctionDef)
        return ast.get_docstring(node) or ""
    return inspect.cleandoc(of.__doc__)
