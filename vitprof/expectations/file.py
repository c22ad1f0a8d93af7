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

[[expect]]
spec = { module = "timm:deit_tiny_patch16_224", arg = ["img_size=384"], batch = 2 }
max_macs = 10_000_000_000

A file is data: code of a package or a file, `package.module:X` or `file.py:X`, is run only if the
reader of the file trusts it.
"""

from __future__ import annotations

import json
import re
import tomllib
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from vitprof.captured.reference import LIBRARIES, read_reference
from vitprof.captured.subject import CapturedModel
from vitprof.errors import SpecError, VitprofError, listing, unknown
from vitprof.expectations.expectations import (
    Expectation,
    Known,
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
from vitprof.request.specs import described, subject
from vitprof.request.workload import BATCH
from vitprof.subject import Configurable
from vitprof.text import quoted
from vitprof.values.arithmetic import derive
from vitprof.values.options import Flag

_TOKEN = re.compile(r"""(?P<word>"(?:[^"\\]|\\.)*"|'[^']*'|[\w-]+)|\S""")
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
        spec: the model, or the module.
        batch: images at a time, for the MACs.
        expectations: counts that must hold.
        reconciled: True if every tool's reading must be explained.
    """

    name: str
    line: int
    spec: Model | CapturedModel
    batch: int
    expectations: tuple[Expectation, ...]
    reconciled: bool

    def evaluate(self) -> list[Outcome]:
        """Compare the model's counts by formula with the expectations."""
        outcomes = []
        for measure in Measure:
            own = [one for one in self.expectations if one.measure is measure]
            if own:
                outcomes += evaluate(self.spec.tree(measure, self.batch), own)
        return outcomes


def read_cases(path: Path, *, trusted: bool = False) -> list[Case]:
    """Read the cases of a file.

    Args:
        path: the file.
        trusted: True if code that the file names may be run.

    Raises:
        CheckFileError: the file cannot be read, is not TOML, has a wrong key or value, or names
            code that is not trusted.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors put a mark in front
        document = tomllib.loads(text)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CheckFileError(f"cannot read {path}: {reason}; give a TOML file") from error
    except ValueError as error:
        raise CheckFileError(f"{path} is not TOML: {error}") from error
    except RecursionError as error:
        raise CheckFileError(f"{path} nests tables or lists too deep; write them flat") from error
    lines = text.split("\n")
    place = _Place(path, lines, _keys_by_line(lines), 1, len(lines))
    for key in document:
        with place.at(key):
            _known(key, ("expect",))
    starts = [line for line, words in enumerate(lines, 1) if _HEADER.match(words)]
    if not document:
        raise CheckFileError(f"{path} has no [[expect]] table; write one for each model")
    with place.at("expect"):
        tables = document["expect"]
        if not isinstance(tables, list) or len(tables) != len(starts):
            raise SpecError(
                "the expectations of each model must be a table that begins with a line [[expect]]"
            )
    ends = [start - 1 for start in starts[1:]] + [len(lines)]
    return [
        _case(replace(place, start=start, end=end), table, trusted=trusted)
        for start, end, table in zip(starts, ends, tables, strict=True)
    ]


def first_cases(
    spec: Model | CapturedModel, batch: int, request: Mapping[str, object] | None = None
) -> str:
    """Return the text of a file that expects the counts of `spec` by formula, for review.

    Args:
        spec: the model, or the module.
        batch: images at a time.
        request: names and words that `spec` was made from; the file repeats references.

    Raises:
        SpecError: the module cannot be captured.
    """
    request = request or {}
    trees = {measure: spec.tree(measure, batch) for measure in Measure}
    uncounted = trees[Measure.MACS].unknown()
    options = _spelled(spec, batch, request)
    sizes = ", ".join(f"{name} = {_toml(value)}" for name, value in options.items())
    lines = [
        "# Counts with their derivations, as vitprof's formulas have them: review each line.",
        "",
        "[[expect]]",
        f"name = {_toml(_title(spec))}",
        f"spec = {{ {sizes} }}",
        f"reconciled = false # no rule counts {listing(uncounted, 'and')}"
        if uncounted
        else "reconciled = true",
    ]
    for measure, tree in trees.items():
        lines += ["", f"[expect.{measure.value}]"]
        written = {name: f"{name} = {count:_}" for name, count in totals(tree, measure).items()}
        for node in tree.walk(fold=True):
            size = measure.of(node.item) if isinstance(node.item, Op) else None
            if size is not None and size.value:
                numbers = f"{node.repeat} * ({size.numbers})" if node.repeat > 1 else size.numbers
                derivation = _derivation(numbers, size.value * node.repeat)
                written.setdefault(node.path, f"{_toml(node.path)} = {derivation}")
        lines += written.values()
    if code := _code(options):
        lines += ["", f"# Checking this file runs code of {_toml(code)}, which needs --trust."]
    return "\n".join(lines) + "\n"


def expecting(models: Mapping[str, Configurable], batch: int, head: Iterable[str] = ()) -> str:
    """Return the text of a file that expects the parameters and MACs of models.

    Args:
        models: models and modules by name.
        batch: images at a time.
        head: lines of a comment at the start.

    Raises:
        SpecError: a model cannot be named in a file.
    """
    lines = [f"# {line}" for line in head]
    codes = []
    for name, model in models.items():
        spec = {**model.words(), "batch": batch}
        codes.append(_code(spec))
        sizes = ", ".join(f"{option} = {_toml(value)}" for option, value in spec.items())
        lines += ["", "[[expect]]", f"name = {_toml(name)}", f"spec = {{ {sizes} }}"]
        for measure in Measure:
            headline = HEADLINES[measure]
            count = totals(model.tree(measure, batch), measure)[headline]
            lines += ["", f"[expect.{measure.value}]", f"{headline} = {count:_}"]
    for code in dict.fromkeys(filter(None, codes)):
        lines += ["", f"# Reading this file runs code of {_toml(code)}, which needs --trust."]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class _Place:
    """A table of the file, or the whole file, in which errors are located.

    Attributes:
        path: the file.
        lines: all lines of the file.
        keys: lines of the file at which a key stands, by key.
        start: first line of the table, from 1.
        end: last line of the table.
    """

    path: Path
    lines: list[str]
    keys: Mapping[str, list[int]]
    start: int
    end: int

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
        own = enumerate(self.lines[self.start - 1 : self.end], self.start)
        starts = (line + 1 for line, words in own if heading.match(words))
        return replace(self, start=next(starts, self.start))

    def _line(self, key: str) -> int:
        lines = self.keys.get(key, [])
        first = bisect_left(lines, self.start)
        found = lines[first : first + 1]
        return found[0] if found and found[0] <= self.end else self.start


def _keys_by_line(lines: list[str]) -> dict[str, list[int]]:
    """Return the lines, from 1, at which each key stands."""
    found: dict[str, list[int]] = {}
    for number, line in enumerate(lines, 1):
        for key in _keys(line):
            found.setdefault(key, []).append(number)
    return found


def _keys(line: str) -> Iterator[str]:
    """Yield the keys of a line of TOML: words and text in quotes with = or a dot behind."""
    ends = "]=." if line.lstrip().startswith("[") else "=."
    before, word = "", ""
    for token in _TOKEN.finditer(line):
        sign, within = token[0], token["word"]
        if sign == "#":
            return
        if word and sign in ends:
            yield _unquoted(word)
        word = within if within and before in "[{,." else ""
        before = "word" if within else sign


def _unquoted(word: str) -> str:
    with suppress(tomllib.TOMLDecodeError):
        if word[0] in "\"'":
            return str(tomllib.loads(f"key = {word}")["key"]) if "\\" in word else word[1:-1]
    return word


def _case(place: _Place, table: Mapping[str, object], *, trusted: bool) -> Case:
    for key in table:
        with place.at(key):
            _known(key, _KEYS)
    with place.at("spec"):
        options = dict(_table(table, "spec"))
    with place.at("batch"):
        batch = BATCH.read("batch", options.pop("batch", 1))
    with place.at("reconciled"):
        reconciled = _RECONCILED.read("reconciled", table.get("reconciled", False))
    exact_of = {}
    for measure in Measure:
        with place.at(measure.value):
            exact_of[measure] = _table(table, measure.value)
    wanted = {
        measure
        for measure, exact in exact_of.items()
        if exact or f"max_{measure.value}" in table or reconciled
    }
    spec, named_at = _spec(place, options, trusted=trusted)
    with place.at("name"):
        name = _name(dict(table), "name") or _title(spec)
    expectations = []
    for measure, exact in exact_of.items():
        known: Mapping[str, Known] = {}
        if measure in wanted:
            with place.at(named_at):
                known = counts(spec.tree(measure, batch), measure)
        section = place.within(measure.value)
        for key, value in exact.items():
            with section.at(key) as line:
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


def _spec(
    place: _Place, options: dict[str, object], *, trusted: bool
) -> tuple[Model | CapturedModel, str]:
    """Return the model or the module, and the key of the line that names it."""
    named = {}
    for key in ("model", "mixer", "module"):
        with place.at(key):
            named[key] = _name(options, key)
    model, mixer, module = named.values()
    if module is not None:
        options["module"] = module
    key = "module" if module is not None else "mixer" if mixer and ":" in mixer else "spec"
    with place.at(key):
        found, _ = subject(model, mixer=mixer, options=options, called=False, trusted=trusted)
    return found, key


def _title(spec: Model | CapturedModel) -> str:
    return spec.variant if isinstance(spec, CapturedModel) else described(spec.conditions())


def _name(options: dict[str, object], key: str) -> str | None:
    value = options.pop(key, None)
    if value is None or isinstance(value, str):
        return value
    raise SpecError(f"{key} is a name in quotes, not {quoted(value)}")


def _known(key: str, keys: tuple[str, ...]) -> None:
    if key not in keys:
        raise unknown("key", key, keys)


def _table(table: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = table.get(key, {})
    if not isinstance(value, dict):
        raise SpecError(f"{key} is a table of names and values, not {quoted(value)}")
    return value


def _derivation(numbers: str, count: int) -> str:
    """Return a formula with numbers as a derivation, or the count if none says the same."""
    text = numbers.replace("×", "*").replace(" / ", " // ")
    with suppress(SpecError):
        if derive(text) == count:
            return _toml(text)
    return f"{count:_}"


def _spelled(
    spec: Model | CapturedModel, batch: int, request: Mapping[str, object]
) -> dict[str, object]:
    """Return the table that asks for a model or a module in a file."""
    if isinstance(spec, CapturedModel):
        words = {name: request[name] for name in ("module", "arg", "input") if request.get(name)}
        return {**words, "batch": batch}
    return {**spec.words(), "batch": batch}


def _code(spec: Mapping[str, object]) -> str:
    """Return the place of the code that a spec names; empty if it names none."""
    module, mixer = spec.get("module"), str(spec.get("mixer", ""))
    if module is None:
        return mixer.rpartition(":")[0]
    place = read_reference(module).place
    return "" if place in LIBRARIES else place


def _toml(value: object) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # which JSON allows
