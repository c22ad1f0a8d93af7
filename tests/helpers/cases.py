"""Many cases in one test, where a test of its own for each costs more than what it checks."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

import pytest


def for_each(
    names: str, cases: Iterable[Any], *, ids: Callable[[Any], str] = str
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Run a test on every case, as `pytest.mark.parametrize` does, but as one test.

    All cases are run; a failure shows each one that failed. What a fixture gives is the same for
    all of them, and the first case that skips skips the rest.

    Args:
        names: name of the argument that a case is for, or several with commas.
        cases: a value for each test, or a tuple with a value for each name.
        ids: returns what a failure calls a case.

    Raises:
        BaseExceptionGroup: some cases fail.
    """
    own = [name.strip() for name in names.split(",")]
    given = list(cases)
    assert given

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @wraps(test)
        def run(**fixtures: Any) -> None:
            failed: list[BaseException] = []
            for case in given:
                values = case if len(own) > 1 else (case,)
                try:
                    test(**fixtures, **dict(zip(own, values, strict=True)))
                except (Exception, pytest.fail.Exception) as error:
                    error.add_note(f"case {names} = {ids(case)}")
                    failed.append(error)
            if failed:
                raise BaseExceptionGroup(f"{len(failed)} of {len(given)} cases", failed)

        signature = inspect.signature(test)
        rest = [each for name, each in signature.parameters.items() if name not in own]
        run.__signature__ = signature.replace(parameters=rest)  # type: ignore[attr-defined]
        return run

    return decorate
