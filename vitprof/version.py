"""The versions of vitprof and of what it works with."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from contextlib import suppress

__version__ = "0.1.0"


def versions(packages: Iterable[str] = ()) -> dict[str, str]:
    """The versions of vitprof, Python and those of the packages that are there."""
    found = {"vitprof": __version__, "python": platform.python_version()}
    if packages:
        from importlib.metadata import PackageNotFoundError, version

        for package in dict.fromkeys(packages):
            with suppress(PackageNotFoundError):
                found[package] = version(package)
    return found
