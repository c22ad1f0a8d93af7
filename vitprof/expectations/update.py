"""New values for exact counts of a check file that no longer hold; all else stays as it is."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from json import dumps
from pathlib import Path
from typing import Any

from vitprof.errors import SpecError
from vitprof.expectations.expectations import Outcome, Relation
from vitprof.expectations.lines import CheckFileError
from vitprof.values.arithmetic import derive

_MARK = "\ufeff"  # of byte order, which some editors put in front


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A value of a check file that is replaced.

    Attributes:
        outcome: the expectation that does not hold.
        old: the value as it is written.
        new: the value to write, which is the count found.
    """

    outcome: Outcome
    old: str
    new: str


def changeable(outcome: Outcome) -> bool:
    """True if an exact count does not hold; a bound is its author's to move."""
    return bool(outcome.place) and outcome.relation == Relation.EQUAL and not outcome.holds


def updated(path: Path, cases: Sequence[Sequence[Outcome]]) -> tuple[str, list[Change]]:
    """Return the text of a check file whose exact counts are those found, and what changes in it.

    Comments, order and layout stay, and so does every value that holds. A derivation that does not
    is replaced by that of vitprof's formula, or by the count if there is none.

    Args:
        path: the file.
        cases: outcomes of each of its models, in order.

    Raises:
        CheckFileError: the file has changed since it was checked, or cannot be written alike.
    """
    import tomlkit

    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise CheckFileError(
            f"cannot read {path}: {(error.strerror or str(error)).lower()}; nothing is updated"
        ) from error
    except UnicodeDecodeError as error:
        raise _changed(path) from error
    body = text.removeprefix(_MARK)
    try:
        wanted, document = tomllib.loads(body), tomlkit.parse(body)
    except ValueError as error:
        raise _changed(path) from error
    changes = []
    for number, outcomes in enumerate(cases):
        for outcome in filter(changeable, outcomes):
            tables: list[str | int] = ["expect", number, *outcome.place[:-1]]
            key = outcome.place[-1]
            plain, written = _at(path, wanted, tables), _at(path, document, tables)
            if not _is(plain.get(key), outcome.expected):
                raise _changed(path)
            new = _spelled(plain[key], written[key].as_string(), outcome)
            changes.append(Change(outcome=outcome, old=written[key].as_string(), new=new))
            plain[key], written[key] = tomllib.loads(f"it = {new}")["it"], tomlkit.value(new)
    made = document.as_string()
    if tomllib.loads(made) != wanted:
        raise CheckFileError(
            f"{path} is laid out in a way in which its values cannot be replaced one by one; "
            "write one value a line, or edit it by hand"
        )
    return text.removesuffix(body) + made, changes


def _at(path: Path, document: Any, keys: Sequence[str | int]) -> Any:
    try:
        for key in keys:
            document = document[key]
    except (LookupError, TypeError) as error:
        raise _changed(path) from error
    return document


def _is(value: object, expected: int | str) -> bool:
    with suppress(SpecError):
        return derive(value) == expected
    return False


def _changed(path: Path) -> CheckFileError:
    return CheckFileError(f"{path} has changed while it was checked; run the check again")


def _spelled(value: object, written: str, outcome: Outcome) -> str:
    """Return the TOML of the count found, as a derivation if it was one and there is one."""
    digits = written.strip("\"'")
    is_number = digits.replace("_", "").isdigit()
    if isinstance(value, str) and outcome.derivation and not is_number:
        return dumps(outcome.derivation)
    number = f"{outcome.found}" if digits.isdigit() and len(digits) > 3 else f"{outcome.found:_}"
    return dumps(number) if isinstance(value, str) and is_number else number
