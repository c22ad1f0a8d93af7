"""Imports: the modules that each command loads, in separate processes."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from inspect import isclass, isfunction
from itertools import cycle
from pkgutil import iter_modules
from typing import get_args

import pytest

import vitprof
from vitprof.cli import COMMANDS

HEAVY = {
    *("torch", "torchinfo", "fvcore", "pandas", "numpy", "sympy", "tabulate"),
    *("matplotlib", "plotext", "timm", "torchvision", "transformers"),
}


def loaded(code: str, *words: str) -> set[str]:
    """Run code in a new process; return the modules that it loaded, and their packages."""
    code += "\nimport sys; print(*sys.modules, file=sys.stderr)"
    ended = subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(ended.stderr.split())


def test_library() -> None:
    names = loaded("import vitprof")
    assert names & (HEAVY | {"rich", "typer"}) == set()
    ours = {name.split(".")[1] for name in names if name.startswith("vitprof.")}
    assert {"errors", "formats", "report", "version"} <= ours
    assert (
        ours & {"allocation", "api", "cli", "counters", "formulas", "modules", "request"} == set()
    )
    # Every report can show itself; a renderer is loaded when it is first used.
    assert {name for name in names if name.startswith("vitprof.formats.")} == set()


def test_functions() -> None:
    names = loaded(
        "import vitprof\n"
        "report = vitprof.macs('mae', mixer='lambda', counters=['analytic'])\n"
        "report.rows, report.total"
    )
    assert "vitprof.api.counts" in names
    # What other functions need is loaded when they are called.
    assert {"vitprof.api.memory", "vitprof.api.sweep", "vitprof.formats.table"} & names == set()
    assert names & HEAVY == set()
    assert "vitprof.modules" not in names


RENDERERS = {
    "csv": "vitprof.formats.csv",
    "json": "vitprof.formats.json",
    "html": "vitprof.formats.html",
    "latex": "vitprof.formats.latex",
    "table": "vitprof.formats.table",
}


@pytest.mark.parametrize(("command", "format"), [*zip(cycle(["params", "macs"]), RENDERERS)])
def test_analytic_command(command: str, format: str) -> None:
    names = loaded(
        "import sys; from vitprof.cli import run; assert run(sys.argv[1:]) == 0",
        *(command, "--counters", "analytic", "--format", format),
    )
    # One renderer is loaded: that of the format.
    assert {*RENDERERS.values(), "vitprof.formats.frame"} & names == {RENDERERS[format]}
    assert names & HEAVY == set()
    assert ("rich.table" in names) is (format == "table")
    # Other commands are loaded when they are called.
    assert {"vitprof.cli.models", "vitprof.cli.mixers"} & names == set()


def test_refusal() -> None:
    names = loaded("from vitprof.cli import run; assert run(['params', '--dim', '7']) == 2")
    assert names & (HEAVY | {"rich.table"}) == set()


FUNCTIONS = {
    *(
        "params",
        "macs",
        "explain",
        "memory",
        "compare",
        "match",
        "sweep",
        "bench",
        "batch_size",
        "check",
    ),
    *("models", "mixers", "presets", "gpus", "time"),
}


def test_public_names() -> None:
    assert dir(vitprof) == vitprof.__all__ == sorted(vitprof.__all__)
    offered = {name: getattr(vitprof, name) for name in vitprof.__all__}
    assert {name for name, value in offered.items() if isfunction(value)} == FUNCTIONS | {"specify"}
    assert {command.replace("-", "_") for command in COMMANDS} == FUNCTIONS
    classes = {"Report", "Workload", "VitprofError", "SpecError", "OutputError"}
    assert {name for name, value in offered.items() if isclass(value)} == classes
    assert {*offered} == FUNCTIONS | classes | {"specify", "__version__"}
    assert all(value.__doc__ for value in offered.values())


def test_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'vitprof' has no attribute 'footprint'"):
        vitprof.footprint  # noqa: B018


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_function_gives_a_report(function: str) -> None:
    called = getattr(vitprof, function)
    given = eval(called.__annotations__["return"], called.__globals__)
    reports = get_args(given) or (given,)
    assert all(issubclass(report, vitprof.Report) for report in reports)


def test_no_module_has_the_name_of_a_function() -> None:
    """The import of such a module would replace the function."""
    modules = {module.name for module in iter_modules(vitprof.__path__)}
    assert {"api", "cli", "errors", "report"} <= modules
    assert modules & {*vitprof.__all__} == set()


def test_functions_stay_whatever_is_imported() -> None:
    """Functions also stay after the import of modules of the same name in vitprof.api and cli."""
    names = sorted(FUNCTIONS)
    code = (
        "import sys; from importlib import import_module; import vitprof\n"
        "for name in sys.argv[1:]:\n"
        "    import_module(f'vitprof.cli.{name}')\n"
        "    assert callable(getattr(vitprof, name)), name\n"
        "    assert getattr(vitprof, name).__module__.startswith('vitprof.api.'), name"
    )
    assert {f"vitprof.cli.{name}" for name in names} <= loaded(code, *names)


def test_version_is_the_installed_one() -> None:
    assert vitprof.__version__ == version("vitprof")
