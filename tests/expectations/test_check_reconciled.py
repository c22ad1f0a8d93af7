"""`reconciled` in a check file: tools that agree, break, or are missing."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from dataclasses import replace
from typing import Any, NoReturn

import check_files
import pytest
import threads
from check_files import LAYER, Patch, Write, checked, refused
from commands import Capture

from vitprof.counters import TOOLS, find_tools
from vitprof.counters.reading import Reading

one_thread = threads.one_thread
nowhere_in_particular = check_files.nowhere_in_particular
write = check_files.write

RECONCILED = f"{LAYER}reconciled = true\n"
every_tool = pytest.mark.parametrize("tool", TOOLS)


def test_every_tool_is_reconciled(capsys: Capture, write: Write) -> None:
    code, out, err = checked(capsys, write(RECONCILED), "--format=json")
    assert (code, err) == (0, "")
    ((*outcomes,),) = (case["outcomes"] for case in json.loads(out)["cases"])
    assert [outcome["what"] for outcome in outcomes] == [
        f"{command} {tool} reconciled" for command in ("params", "macs") for tool in TOOLS
    ]
    assert {outcome["found"] for outcome in outcomes} == {"explained"}


@every_tool
def test_a_reading_that_is_not_explained_fails(
    capsys: Capture, monkeypatch: Patch, write: Write, tool: str
) -> None:
    counter = TOOLS[tool]

    def doctored(*given: Any) -> Reading:
        reading = counter.macs(*given)
        return replace(reading, total=reading.total + 5)

    monkeypatch.setitem(TOOLS, tool, replace(counter, macs=doctored))
    file = write(RECONCILED)
    code, out, err = checked(capsys, file)
    assert (code, err) == (1, "")
    (failure,) = (line for line in out.splitlines() if line.startswith(str(file)))
    assert failure.startswith(f"{file}:1: macs {tool} reconciled: expected explained, found ")
    assert failure.endswith("+5 UNEXPLAINED")


@pytest.mark.parametrize("reason", ["it broke", "[/b] [red] out of [1, 2]"])
@every_tool
def test_a_tool_that_breaks_fails(
    capsys: Capture, monkeypatch: Patch, write: Write, tool: str, reason: str
) -> None:
    def breaks(*given: object) -> NoReturn:
        raise RuntimeError(reason)

    monkeypatch.setitem(TOOLS, tool, replace(TOOLS[tool], macs=breaks))
    code, out, err = checked(capsys, write(RECONCILED))
    assert (code, err) == (1, "")
    assert out.count(f"n/a: raises RuntimeError: {reason}") == 2  # in the table and below it
    assert out.splitlines()[-1] == "5 of 6 expectations hold, 1 do not"


@pytest.mark.parametrize("tool", [tool for tool in TOOLS if tool != "torch"])
def test_a_tool_that_is_not_installed_does_not_fail(
    capsys: Capture, monkeypatch: Patch, write: Write, tool: str
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == tool]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, tool, None)
    find = importlib.metadata.version

    def version(package: str) -> str:
        if package == tool:
            raise importlib.metadata.PackageNotFoundError(tool)
        return find(package)

    monkeypatch.setattr(importlib.metadata, "version", version)
    code, out, err = checked(capsys, write(RECONCILED))
    assert (code, err) == (0, "")
    assert out.count("n/a: cannot be imported") == 2
    assert out.splitlines()[-1] == "6 of 6 expectations hold"


def test_a_model_too_large_to_run_is_not_passed_over(capsys: Capture, write: Write) -> None:
    large = '[[expect]]\nspec = { model = "layer", mixer = "lambda", tokens = 1_000_000 }\n'
    code, out, err = checked(capsys, write(f"{large}reconciled = true\n"))
    assert (code, err) == (1, "")
    assert "macs fvcore reconciled: expected explained, found n/a: has to execute" in out


@pytest.mark.parametrize("names", [["fvcore"], ["thop", "torchprofile", "torch"], ["all"]])
def test_named_counters_are_reconciled(capsys: Capture, write: Write, names: list[str]) -> None:
    file = write(f"{LAYER}reconciled = {json.dumps(names)}\n")
    code, out, err = checked(capsys, file, "--format=json")
    assert (code, err) == (0, "")
    ((*outcomes,),) = (case["outcomes"] for case in json.loads(out)["cases"])
    tools = {tool.name for tool in find_tools(names)}
    assert {outcome["what"] for outcome in outcomes} == {
        f"{command} {tool} reconciled" for command in ("params", "macs") for tool in tools
    }
    # One that is not installed, or counts no parameters, is said to, and does not fail.
    found = {outcome["found"].partition(",")[0] for outcome in outcomes}
    assert found <= {"explained", "n/a: not installed", "n/a: counts no parameters"}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ('["fvcor"]', "line 3: there is no counter 'fvcor'; did you mean fvcore?"),
        ("[]", "line 3: no counter is named; choose from analytic, torchinfo,"),
        ("[1]", "line 3: there is no counter '1'"),
        ('"fvcore"', "line 3: reconciled is true, false or a list of counters, not 'fvcore'"),
        ("1", "line 3: reconciled is true, false or a list of counters, not 1"),
    ],
)
def test_a_counter_that_is_none(capsys: Capture, write: Write, value: str, said: str) -> None:
    assert said in refused(capsys, write(f"{LAYER}reconciled = {value}\n"))
