"""Files of expectations: TOML with an `[[expect]]` table for each model.

[[expect]]
name = "the lambda layer"                # for the reader
spec = { model = "mae", mixer = "lambda" }
max_params = "21M"                       # budgets: 21,000,000
reconciled = true                        # every difference of a tool explained; or of ["thop"]

[expect.params]                          # exact: totals by name, layers by path
layers = 20_038_848
"blocks.0.mixer.qkv" = "128*160 + 160"   # a derivation, in whole numbers

[expect.macs]
"blocks.0-11.mixer.qkv" = "12 * 257*128*160"

[[expect]]
spec = { module = "timm:deit_tiny_patch16_224", arg = ["img_size=384"], batch = 2 }
max_macs = "10G"
max_training_macs = "30G"                # of forward and backward pass; also [expect.training_macs]

[[expect]]                               # memory of a step, with the options of `vitprof memory`
spec = { preset = "deit-s", batch = 64, dtype = "bf16", autocast = true, gpu = "h100" }
max_memory = "24GiB"
min_batch = 256                          # the largest batch that fits is no smaller

A file is data: code of a package or a file, `package.module:X` or `file.py:X`, is run only if the
reader of the file trusts it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vitprof.captured.subject import CapturedModel
from vitprof.counters import NAMES, find_tools
from vitprof.errors import SpecError, unknown
from vitprof.expectations.expectations import (
    Expectation,
    Known,
    Outcome,
    Relation,
    StepMeasure,
    counts,
    evaluate,
    expect,
    find,
    outcome,
)
from vitprof.expectations.lines import CheckFileError, Place, keys_by_line, located
from vitprof.expectations.subjects import title_of, tree_of
from vitprof.formulas.layer import OF_FORWARD, Measure
from vitprof.formulas.model import Model
from vitprof.formulas.totals import HEADLINES
from vitprof.request.budget import Budget, check_device, read_budget
from vitprof.request.specs import subject
from vitprof.request.workload import Workload
from vitprof.sweeps import memory as step_needs
from vitprof.text import quoted

_HEADER = re.compile(r"\s*\[\[\s*expect\s*\]\]")
_OF_TRAINING = ("training_macs", "max_training_macs")
_COUNTS = ("params", "macs", "max_params", "max_macs", *_OF_TRAINING)
_OF_STEP = ("memory", "max_memory", "min_batch")
_KEYS = ("name", "spec", *_COUNTS, *_OF_STEP, "reconciled")
_STEP, _DEVICE = tuple(Workload.declared()), ("memory", "gpu", "torch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A model with its expectations.

    Attributes:
        path: the file.
        name: name in the file, or a title made from the model's options.
        line: line in the file at which it begins.
        spec: the model, or the module.
        workload: settings of its step; the batch is that of the MACs, too.
        budget: memory, or a GPU, that the step has to fit; None without one.
        expectations: counts that must hold.
        reconciled: names of the counters whose reading must be explained; empty for none.
    """

    path: Path
    name: str
    line: int
    spec: Model | CapturedModel
    workload: Workload
    budget: Budget | None
    expectations: tuple[Expectation, ...]
    reconciled: tuple[str, ...]

    @property
    def batch(self) -> int:
        """Images at a time."""
        return self.workload.batch

    def expects(self, measure: Measure | StepMeasure) -> bool:
        """Return True if a count of this measure is expected."""
        return any(one.measure is measure for one in self.expectations)

    def evaluate(self) -> list[Outcome]:
        """Compare the model's counts and the memory of its step with the expectations.

        Raises:
            CheckFileError: the step cannot be run.
        """
        outcomes = []
        for measure in Measure:
            own = [one for one in self.expectations if one.measure is measure]
            if own:
                outcomes += evaluate(tree_of(self.spec, measure, self.workload), own)
        for step in (one for one in self.expectations if isinstance(one.measure, StepMeasure)):
            with located(self.path, step.line):
                outcomes.append(outcome(step, Known(self._of_step(step.measure, step.key))))
        return outcomes

    def _of_step(self, measure: Measure | StepMeasure, key: str) -> int:
        """Return bytes of the step, or the largest batch that fits."""
        if measure is StepMeasure.BATCH:
            assert self.budget is not None
            return step_needs.largest(self.spec, self.workload, self.budget)
        if key in _ON_GPU:
            assert self.budget is not None
            assert self.budget.platform is not None
            found = step_needs.on_platform(self.spec, self.workload, self.budget.platform)
            context = self.budget.platform.gpu.context_bytes if key == "total" else 0
            return found.reserved + context
        phases = step_needs.by_phase(self.spec, self.workload)
        return max(phases.values()) if key == "peak" else phases[key]


def read_cases(path: Path, *, trusted: bool = False, expecting: bool = True) -> list[Case]:
    """Read the cases of a file.

    Args:
        path: the file.
        trusted: True if code that the file names may be run.
        expecting: False if a model that expects nothing is a case too.

    Raises:
        CheckFileError: the file cannot be read, is not TOML, has a wrong key or value, names code
            that is not trusted, or has a model that expects nothing.
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
    place = Place(path, lines, keys_by_line(lines), 1, len(lines))
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
        _case(replace(place, start=start, end=end), table, trusted=trusted, expecting=expecting)
        for start, end, table in zip(starts, ends, tables, strict=True)
    ]


def _case(place: Place, table: Mapping[str, object], *, trusted: bool, expecting: bool) -> Case:
    for key in table:
        with place.at(key):
            _known(key, _KEYS)
    with place.at("spec"):
        options = dict(_table(table, "spec"))
    given = {name: options.pop(name) for name in (*_STEP, *_DEVICE) if name in options}
    workload, budget = _step(place, given, table)
    with place.at("reconciled"):
        reconciled = _counters(table.get("reconciled", False))
    exact_of = {}
    for measure in Measure:
        with place.at(measure.value):
            exact_of[measure] = _table(table, measure.value)
    wanted = {
        measure
        for measure, exact in exact_of.items()
        if exact or f"max_{measure.value}" in table or (reconciled and measure in OF_FORWARD)
    }
    if Measure.TRAINING in wanted and workload.inference:
        with place.at("inference"):
            raise SpecError("training_macs is of a training step; leave out inference")
    spec, named_at = _spec(place, options, trusted=trusted)
    if isinstance(spec, CapturedModel) and "dtype" not in given and _expects_step(table):
        with place.at(named_at):
            workload = replace(workload, dtype=spec.dtype or workload.dtype)
    with place.at("name"):
        name = _name(dict(table), "name") or title_of(spec)
    expectations = []
    for measure, exact in exact_of.items():
        known: Mapping[str, Known] = {}
        if measure in wanted:
            with place.at(named_at):
                known = counts(tree_of(spec, measure, workload), measure)
        section = place.within(measure.value)
        for key, value in exact.items():
            with section.at(key) as line:
                find(known, measure, key)
                at = (measure.value, key)
                expectations.append(expect(measure, key, value, line=line, place=at))
        bound = f"max_{measure.value}"
        if bound in table:
            with place.at(bound) as line:
                expectations.append(
                    expect(
                        *(measure, HEADLINES[measure], table[bound], Relation.AT_MOST),
                        line=line,
                        place=(bound,),
                    )
                )
    expectations += _of_step(place, table, workload, budget)
    if expecting and not expectations and not reconciled:
        with place.at("expect"):
            raise SpecError(
                "the table expects nothing; give params, macs, training_macs, memory, budgets or "
                "reconciled"
            )
    return Case(
        path=place.path,
        name=name,
        line=place.start,
        spec=spec,
        workload=workload,
        budget=budget,
        expectations=tuple(expectations),
        reconciled=reconciled,
    )


def _counters(given: object) -> tuple[str, ...]:
    """Return the counters of `reconciled`: the usual ones for true, none for false, or a list.

    Raises:
        SpecError: it is neither, or a name is unknown.
    """
    if isinstance(given, list):
        names = tuple(map(str, given))
        find_tools(names)
        return names
    if not isinstance(given, bool):
        raise SpecError(
            f"reconciled is true, false or a list of counters, not {quoted(given)}; give "
            '["torchinfo", "fvcore"], for example'
        )
    return NAMES if given else ()


_ON_GPU = ("reserved", "total")  # of PyTorch's allocator; with the CUDA context


def _expects_step(table: Mapping[str, object]) -> bool:
    return not table.keys().isdisjoint(_OF_STEP)


def _step(
    place: Place, given: Mapping[str, object], table: Mapping[str, object]
) -> tuple[Workload, Budget | None]:
    """Return the step that a spec asks for, and the memory that it has to fit."""
    of_step = _expects_step(table)
    needed = {
        "memory": "min_batch" in table,
        "torch": "gpu" in given,
        "batch": True,
        "checkpoint": of_step or not table.keys().isdisjoint(_OF_TRAINING),
    }
    for name, value in given.items():
        with place.at(name):
            if not needed.get(name, of_step):
                use = {
                    "memory": "min_batch",
                    "torch": "gpu",
                    "checkpoint": "training_macs, memory, max_memory or min_batch",
                }.get(name)
                wanted = use or "memory, max_memory or min_batch"
                raise SpecError(f"{name} has no effect here; add {wanted}, or leave it out")
            if name in _STEP:
                Workload.declared()[name].read(name, value)
            elif not isinstance(value, str):
                raise SpecError(f"{name} is given in quotes, not as {quoted(value)}")
    step: dict[str, Any] = {name: value for name, value in given.items() if name in _STEP}
    with place.at("spec"):
        workload = Workload(**step)
    with place.at("gpu" if "gpu" in given else "memory"):
        budget = read_budget(*(_name({**given}, name) for name in _DEVICE))
        check_device(budget, workload)
    return workload, budget


def _of_step(
    place: Place, table: Mapping[str, object], workload: Workload, budget: Budget | None
) -> Iterator[Expectation]:
    """Yield what is expected of the memory of a step and of the batch."""
    on_gpu = budget is not None and budget.platform is not None
    phases = ("forward",) if workload.inference else ("forward", "backward", "optimizer")
    known = {name: Known(0) for name in ("peak", *phases, *(_ON_GPU if on_gpu else ()))}
    with place.at("memory"):
        exact = _table(table, "memory")
    section = place.within("memory")
    for key, value in exact.items():
        with section.at(key) as line:
            find(known, StepMeasure.MEMORY, key)
            yield expect(StepMeasure.MEMORY, key, value, line=line, place=("memory", key))
    if "max_memory" in table:
        with place.at("max_memory") as line:
            yield expect(
                *(StepMeasure.MEMORY, "total" if on_gpu else "peak", table["max_memory"]),
                Relation.AT_MOST,
                line=line,
                place=("max_memory",),
            )
    if "min_batch" in table:
        with place.at("min_batch") as line:
            if budget is None:
                raise SpecError(
                    'min_batch is of a memory; give gpu or memory in spec, such as memory = "24GiB"'
                )
            yield expect(
                *(StepMeasure.BATCH, "largest", table["min_batch"]),
                Relation.AT_LEAST,
                line=line,
                place=("min_batch",),
            )


def _spec(
    place: Place, options: dict[str, object], *, trusted: bool
) -> tuple[Model | CapturedModel, str]:
    """Return the model or the module, and the key of the line that names it."""
    named = {}
    for key in ("model", "mixer", "module"):
        with place.at(key):
            named[key] = _name(options, key)
    model, mixer, module = named.values()
    if module is not None:
        options["module"] = module
    given = {"module": module, "mixer": mixer, "mixer_at": options.get("mixer_at")}
    key = next((key for key, words in given.items() if words and ":" in str(words)), "spec")
    with place.at(key):
        found, _ = subject(model, mixer=mixer, options=options, called=False, trusted=trusted)
    return found, key


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
