"""What is loaded when, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest

import vitprof

HEAVY = {
    *("torch", "torchinfo", "fvcore", "pandas", "numpy", "sympy", "tabulate"),
    *("matplotlib", "plotext"),
}


def loaded(code: str, *words: str) -> set[str]:
    """Run code, and return what it has loaded: modules, and their packages."""
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
    assert "vitprof.profile" in names
    assert names & (HEAVY | {"rich", "typer"}) == set()


def test_functions() -> None:
    names = loaded(
        "import vitprof\n"
        "report = vitprof.macs('mae', mixer='lambda', counters=['analytic'])\n"
        "report.rows, report.total"
    )
    assert names & HEAVY == set()
    assert "vitprof.modules" not in names


@pytest.mark.parametrize("format", ["csv", "json", "table"])
@pytest.mark.parametrize("command", ["params", "macs"])
def test_analytic_command(command: str, format: str) -> None:
    names = loaded(
        "import sys; from vitprof.cli import run; assert run(sys.argv[1:]) == 0",
        *(command, "--counters", "analytic", "--format", format),
    )
    assert "vitprof.report.formats" in names
    assert names & HEAVY == set()
    assert ("rich.table" in names) is (format == "table")
    # Other commands are loaded when they are called.
    assert {"vitprof.cli.models", "vitprof.cli.mixers"} & names == set()


def test_refusal() -> None:
    names = loaded("from vitprof.cli import run; assert run(['params', '--dim', '7']) == 2")
    assert names & (HEAVY | {"rich.table"}) == set()


def test_every_module_imports_on_its_own() -> None:
    root = Path(vitprof.__file__).parent
    files = [path.relative_to(root.parent).with_suffix("") for path in root.rglob("*.py")]
    names = [".".join(file.parts).removesuffix(".__init__") for file in files]
    names.remove("vitprof.__main__")  # that one runs
    assert {"vitprof.cli.params", "vitprof.modules.block", "vitprof.report.to_table"} <= {*names}
    # Whatever is imported, vitprof itself comes first; all else is forgotten in between.
    forget_and_import = """
import sys
from importlib import import_module
import vitprof
always = set(sys.modules)
for name in sys.argv[1:]:
    for loaded in [name for name in sys.modules if name.startswith("vitprof.")]:
        if loaded not in always:
            del sys.modules[loaded]
    import_module(name)
"""
    assert names[-1] in loaded(forget_and_import, *names)


def test_public_names() -> None:
    public = {
        name
        for name, value in vars(vitprof).items()
        if name[0] != "_" and not isinstance(value, ModuleType)
    } - {"annotations", "TYPE_CHECKING"}
    when_asked_for = {"compare", "memory", "sweep"}
    assert vitprof.__all__ == sorted(public | when_asked_for | {"__version__"})
    # What the issue promises to a notebook.
    assert {"params", "macs", "Report"} <= public
    assert all(getattr(vitprof, name).__doc__ for name in public | when_asked_for)


def test_version_is_the_installed_one() -> None:
    assert vitprof.__version__ == version("vitprof")
