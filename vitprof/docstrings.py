"""Docstrings that are shown: equations of mixers, help of commands."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from textwrap import dedent
from types import ModuleType
from typing import Any


def docstring(of: ModuleType | Callable[..., Any]) -> str:
    """The docstring of a module or a function; read from its source where Python runs with -OO.

    Empty where there is none.
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
