"""Tools that are extras of vitprof, for tests over those that are installed."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from vitprof.counters import EXTRAS


def needs(tool: str) -> pytest.MarkDecorator:
    """Return a mark that skips a test if an extra is not installed."""
    extra = EXTRAS[tool]
    return pytest.mark.skipif(
        find_spec(extra.package) is None,
        reason=f"{tool} is not installed; pip install 'vitprof[{extra.extra}]'",
    )


every_extra = pytest.mark.parametrize(
    "tool", [pytest.param(one, marks=needs(one)) for one in EXTRAS]
)


def found() -> list[str]:
    """Return the names of the extras that are installed."""
    return [name for name, tool in EXTRAS.items() if find_spec(tool.package) is not None]


def installed() -> list[str]:
    """Return the names of the extras that are installed; skip the test if none is."""
    names = found()
    if not names:
        pytest.skip("no extra tool is installed; pip install -e '.[dev]'")
    return names
