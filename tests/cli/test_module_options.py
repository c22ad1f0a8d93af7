"""`--module`, `--arg`, `--input` and `--modules`: what a command hands on."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
import typer

from vitprof.cli import app, run
from vitprof.errors import SpecError

COMMANDS = (
    "params",
    "macs",
    "explain",
    "memory",
    "time",
    "batch-size",
    "bench",
    "compare",
    "sweep",
)
# Where each command finds the function that it calls.
CALLED = {
    "params": "counts.params",
    "macs": "counts.macs",
    "explain": "api.explain",
    "memory": "report_memory",
    "time": "report_time",
    "batch-size": "find_batch",
    "bench": "measure_speeds",
    "compare": "compare_models",
    "sweep": "sweep_over",
}


def handed_on(monkeypatch: pytest.MonkeyPatch, command: str, *words: str) -> dict[str, Any]:
    """Return the keyword arguments that a command line makes."""
    given: dict[str, Any] = {}

    def keep(**keywords: Any) -> None:
        given.update(keywords)
        raise SpecError("kept")

    owner: Any = import_module(f"vitprof.cli.{command.replace('-', '_')}")
    *path, name = CALLED[command].split(".")
    for part in path:
        owner = getattr(owner, part)
    monkeypatch.setattr(owner, name, keep)
    assert run([command, *words]) == 2
    return given


@pytest.mark.parametrize("command", COMMANDS)
def test_every_request_can_name_a_module(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    words = ["--module", "timm:x", "--arg", "a=1", "--arg=b=[2, 3]", "--input=3x8x8"]
    given = handed_on(monkeypatch, command, *words, "--input", "mask=5:bool")
    assert given["module"] == "timm:x"
    assert given["arg"] == ["a=1", "b=[2, 3]"]
    assert given["input"] == ["3x8x8", "mask=5:bool"]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_request_without_a_module_says_nothing(
    monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    given = handed_on(monkeypatch, command, "--dim", "64")
    assert given["dim"] == "64"
    assert {"module", "arg", "input", "modules"} & {*given} == set()


def test_modules_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    given = handed_on(monkeypatch, "compare", "--modules", "timm:a, ./net.py:make,")
    assert given["modules"] == ["timm:a", "./net.py:make"]


def test_a_check_file_excludes_modules(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", "--specs", "x.toml", "--modules", "timm:a"]) == 2
    said = "vitprof: --modules and --specs exclude each other; give one of them\n"
    assert capsys.readouterr() == ("", said)


@pytest.mark.parametrize("command", COMMANDS)
def test_they_have_a_panel_of_their_own(command: str) -> None:
    group: Any = typer.main.get_command(app)
    found = {
        flag
        for option in group.get_command(None, command).params
        for flag in option.opts
        if getattr(option, "rich_help_panel", None) == "Any module"
    }
    assert found == {"--module", "--arg", "--input"}
