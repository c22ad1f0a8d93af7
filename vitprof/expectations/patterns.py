"""Files by name or by pattern."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from vitprof.expectations.lines import CheckFileError

_MAGIC = re.compile(r"[*?[]")


def find_files(names: Iterable[str | Path]) -> list[Path]:
    """Return the files of some names, each once; a pattern, `checks/*.toml`, is those that match.

    Raises:
        CheckFileError: no file matches a pattern.
    """
    found: dict[Path, Path] = {}
    for name in names:
        path = Path(name)
        for one in _matching(path) if _MAGIC.search(str(name)) and not path.is_file() else [path]:
            found.setdefault(one.absolute(), one)
    return list(found.values())


def _matching(pattern: Path) -> list[Path]:
    """Return the files that match a pattern, without hidden ones."""
    try:
        inside = Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor)))
        found = sorted(one for one in inside if one.is_file() and not one.name.startswith("."))
    except (OSError, ValueError) as error:
        raise CheckFileError(
            f"cannot look for {pattern}: {str(error).lower()}; give a pattern such as checks/*.toml"
        ) from error
    if not found:
        raise CheckFileError(f"no file matches {pattern}; give a TOML file, or a pattern of some")
    return found
