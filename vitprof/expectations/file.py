"""Files of expectations: TOML with an `[[expect]]` table for each model.

[[expect]]
name = "the lambda layer"                # for the reader
spec = { model = "mae", mixer = "lambda" }
max_params = 21_000_000                  # budgets
reconciled = true                        # every difference of a tool explained

[expect.params]                          # exact: totals by name, layers by path
layers = 20_038_848
"blocks.0.mixer.qkv" = "128*160 + 160"   # a derivation, in whole numbers

[expect.macs]
"blocks.0-11.mixer.qkv" = "12 * 257*128*160"
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from vitprof.errors import SpecError, VitprofError, unknown
from vitprof.expectations.expectations import (
    Expectation,
    Outcome,
    Relation,
    counts,
    evaluate,
    expect,
    find,
)
from vitprof.formulas.layer import Measure
from vitprof.formulas.model import Model
from vitprof.formulas.op import Op
from vitprof.formulas.totals import HEADLINES, totals
from vitprof.request.specs import described, specify
from vitprof.request.workload import BATCH
from vitprof.values.options import Flag, plain

_HEADER = re.compile(r"\s*\[\[\s*expect\s*\]\]")
_RECONCILED = Flag("true if every tool's reading must be explained")
_KEYS = ("name", "spec", "params", "macs", "max_params", "max_macs", "reconciled")


class CheckFileError(VitprofError):
    """A file cannot be read as expectations; the message names the line if there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A model with its expectations.

    Attributes:
        name: name in the file, or a title made from the model's options.
        line: line in the file at which it begins.
        spec: the model.
        batch: images at a time, for the MACs.
        expectations: counts that must hold.
        reconciled: True if every tool's reading must be explained.
    """

    name: str
    line: int
    spec: Model
    batch: int
    expectations: tuple[Expectation, ...]
    reconciled: bool

    def evaluate(self) -> list[Outcome]:
        """Compare the model's counts by formula with the expectations."""
        return evaluate(self.spec.formula(self.batch), list(self.expectations))


def read_cases(path: Path) -> list[Case]:
    """Read the cases of a file.

    Raises:
        CheckFileError: the file cannot be read, is not TOML, or has a wrong key or value.
    """
    try:
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CheckFileError(f"cannot read {path}: {reason}; give a TOML file") from error
    except (ValueError, RecursionError) as error:
        raise CheckFileError(f"{path} is not TOML: {error}") from error
    place = _Place(path, text.split("\n"), 1, whole=True)
    for key in document:
        with place.at(key):
            _known(key, ("expect",))
    starts = [line for line, words in enumerate(place.lines, 1) if _HEADER.match(words)]
    if not document:
        raise CheckFileError(f"{path} has no [[expect]] table; write one for each model")
    with place.at("expect"):
        tables = document["expect"]
        if not isinstance(tables, list) or len(tables) != len(starts):
            raise SpecError(
                "the expectations of each model must be a table that begins with a line [[expect]]"
            )
    return [
        _case(replace(place, start=start, whole=False), table)
        for start, table in zip(starts, tables, strict=True)
    ]


def first_cases(spec: Model, batch: int) -> str:
    """Return the text of a file that expects the counts of `spec` by formula, for review."""
    tree = spec.formula(batch)
    options = {**spec.conditions(), "batch": batch}
    sizes = ", ".join(f"{name} = {_toml(plain(value))}" for name, value in options.items())
    lines = [
        "# Counts with their derivations, as vitprof's formulas have them: review each line.",
        "",
        "[[expect]]",
        f'name = "{described(spec.conditions())}"',
        f"spec = {{ {sizes} }}",
        "reconciled = true",
    ]
    for measure in Measure:
        lines += ["", f"[expect.{measure.value}]"]
        lines += [f"{name} = {count:_}" for name, count in totals(tree, measure).items()]
        for node in tree.walk(fold=True):
            if isinstance(node.item, Op) and measure.of(node.item).value:
                numbers = measure.of(node.item).numbers.replace("×", "*").replace(" / ", " // ")
                derivation = f"{node.repeat} * ({numbers})" if node.repeat > 1 else numbers
                lines.append(f'"{node.path}" = "{derivation}"')
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class _Place:
    """A table of the file, or the whole file, in which errors are located."""

    path: Path
    lines: list[str]
    start: int
    whole: bool = False

    @contextmanager
    def at(self, key: str) -> Iterator[int]:
        """Yield the line of `key`; turn a SpecError of the body into a CheckFileError."""
        line = self._line(key)
        try:
            yield line
        except SpecError as error:
            raise CheckFileError(f"{self.path}, line {line}: {error}") from error

    def within(self, section: str) -> _Place:
        """Return the part of the table that begins with `[expect.section]`."""
        heading = re.compile(rf"\s*\[\s*expect\.{section}\s*\]")
        starts = (line + 1 for line, words in self._own() if heading.match(words))
        return replace(self, start=next(starts, self.start))

    def _line(self, key: str) -> int:
        name = re.compile(rf"(?:^|[\[{{,.])\s*[\"']?{re.escape(key)}[\"']?\s*[]=.]")
        found = (line for line, words in self._own() if name.search(words.partition("#")[0]))
        return next(found, self.start)

    def _own(self) -> Iterator[tuple[int, str]]:
        for line, words in enumerate(self.lines[self.start - 1 :], self.start):
            if line > self.start and _HEADER.match(words) and not self.whole:
                return
            yield line, words


def _case(place: _Place, table: Mapping[str, object]) -> Case:
    for key in table:
        with place.at(key):
            _known(key, _KEYS)
    with place.at("spec"):
        options = dict(_table(table, "spec"))
    with place.at("batch"):
        batch = BATCH.read("batch", options.pop("batch", 1))
    spec = _spec(place, options)
    with place.at("name"):
        name = _name(dict(table), "name") or described(spec.conditions())
    with place.at("reconciled"):
        reconciled = _RECONCILED.read("reconciled", table.get("reconciled", False))
    tree = spec.formula(batch)
    expectations = []
    for measure in Measure:
        known = counts(tree, measure)
        with place.at(measure.value):
            exact = _table(table, measure.value)
        for key, value in exact.items():
            with place.within(measure.value).at(key) as line:
                find(known, measure, key)
                expectations.append(expect(measure, key, value, line=line))
        budget = f"max_{measure.value}"
        if budget in table:
            with place.at(budget) as line:
                headline, most = HEADLINES[measure], table[budget]
                expectations.append(expect(measure, headline, most, Relation.AT_MOST, line=line))
    if not expectations and not reconciled:
        with place.at("expect"):
            raise SpecError("the table expects nothing; give params, macs, budgets or reconciled")
    return Case(
        name=name,
        line=place.start,
        spec=spec,
        batch=batch,
        expectations=tuple(expectations),
        reconciled=reconciled,
    )


def _spec(place: _Place, options: dict[str, object]) -> Model:
    with place.at("model"):
        model = _name(options, "model")
    with place.at("mixer"):
        mixer = _name(options, "mixer")
    with place.at("spec"):
        return specify(model, mixer=mixer, options=options)


def _name(options: dict[str, object], key: str) -> str | None:
    value = options.pop(key, None)
    if value is None or isinstance(value, str):
        return value
    raise SpecError(f"{key} is a name in quotes, not {value!r}")


def _known(key: str, keys: tuple[str, ...]) -> None:
    if key not in keys:
        raise unknown("key", key, keys)


def _table(table: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = table.get(key, {})
    if not isinstance(value, dict):
        raise SpecError(f"{key} is a table of names and values, not {value!r}")
    return value


def _toml(value: int | float | str | bool) -> str:
    return json.dumps(value)
