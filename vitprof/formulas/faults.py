"""Errors in code of mixers of other packages, and the line at which their author finds them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from inspect import unwrap
from traceback import walk_tb
from types import FrameType
from typing import Any

_LONGEST = 300  # characters of another author's message


def said(error: BaseException) -> str:
    """Return the class of an error and its message in one line, for a sentence."""
    message = " ".join(str(error).split()).rstrip(".")
    if len(message) > _LONGEST:
        message = f"{message[:_LONGEST]} ..."
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def line_of(error: BaseException, packages: Collection[str]) -> str:
    """Return `file:line` of the innermost frame in the given packages; empty if there is none."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    places = [f"{frame.f_code.co_filename}:{line}" for frame, line in frames(error, packages)]
    return places[0] if places else ""


def frames(error: BaseException, packages: Collection[str]) -> Iterator[tuple[FrameType, int]]:
    """Yield the frames of an error, and of what caused it, in the given packages; innermost first.

    Args:
        error: the error.
        packages: names of top-level packages.
    """
    one: BaseException | None = error
    while one is not None:
        for frame, line in reversed([*walk_tb(one.__traceback__)]):
            if str(frame.f_globals.get("__name__")).partition(".")[0] in packages:
                yield frame, line
        one = one.__cause__ or one.__context__


def place_of(function: Callable[..., Any]) -> str:
    """Return `file:line` at which a function or method begins; empty if it is none of Python."""
    code = getattr(unwrap(function), "__code__", None)
    return "" if code is None else f"{code.co_filename}:{code.co_firstlineno}"
