"""The hook of pre-commit and the action of GitHub: their options exist, and their scripts run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import check_files
import pytest
import yaml
from check_files import LAYER, Patch, checked
from commands import Capture

nowhere_in_particular = check_files.nowhere_in_particular

ROOT = Path(__file__).parents[2]
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
(HOOK,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
STEPS = {step["name"]: step for step in ACTION["runs"]["steps"] if "name" in step}
HOLDS = f"{LAYER}[expect.params]\nnorm1 = 30\n"
FAILS = f"{LAYER}[expect.params]\nnorm1 = 31\n"
FAILURE = "params norm1: expected 31, found 30 (−1); 2 × D = 2 × 15"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: Patch) -> Path:
    """Work in a folder with check files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checks").mkdir()
    (tmp_path / "checks/a 1.toml").write_text(HOLDS, encoding="utf-8")
    (tmp_path / "checks/b.toml").write_text(FAILS, encoding="utf-8")
    return tmp_path


def test_the_hook_runs(capsys: Capture) -> None:
    """pre-commit appends the names of the files that match."""
    command, name, *words = shlex.split(HOOK["entry"])
    assert (command, name, HOOK["id"], HOOK["language"]) == (
        *("vitprof", "check", "vitprof-check"),
        "python",
    )
    names = ["checks/a 1.toml", "checks/b.toml"]
    assert all(re.search(HOOK["files"], name) for name in (*names, "sub/checks/x/y.toml"))
    assert not re.search(HOOK["files"], "pyproject.toml")
    code, out, err = checked(capsys, *words, *names)
    assert (code, err) == (1, "")
    assert out.splitlines()[0] == f"checks/b.toml:4: {FAILURE}"


def run_step(folder: Path, name: str, **given: str) -> subprocess.CompletedProcess[str]:
    """Run the script of a step with its inputs, as a runner does, in a folder with a stub of pip.

    The stub notes its words; `vitprof` is the one that is tested.
    """
    step = STEPS[name]
    temporary = folder / "temp"
    (temporary / "vitprof/bin").mkdir(parents=True, exist_ok=True)
    for stub, line in {
        "python": 'echo "python $@" >>"$RUNNER_TEMP/said"',
        "vitprof/bin/pip": 'printf "%s|" pip "$@" >>"$RUNNER_TEMP/said"',
        "vitprof/bin/vitprof": f'exec {shlex.quote(sys.executable)} -m vitprof "$@"',
    }.items():
        (temporary / stub).write_text(f"#!/bin/bash\n{line}\n", encoding="utf-8")
        (temporary / stub).chmod(0o755)
    inputs = {key: value["default"] for key, value in ACTION["inputs"].items()} | given
    context = {f"inputs.{key}": value for key, value in inputs.items()}
    context["github.action_path"] = str(ROOT)
    own = {
        key: re.sub(r"\$\{\{ (\S+) \}\}", lambda found: context[found[1]], value)
        for key, value in step["env"].items()
    }
    runner = {
        "RUNNER_TEMP": str(temporary),
        "GITHUB_ACTIONS": "true",
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
        "GITHUB_OUTPUT": str(folder / "output"),
        "PATH": f"{temporary}:{os.environ['PATH']}",
    }
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
        env={**os.environ, **runner, **own},
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def test_the_action_reports_what_fails(folder: Path) -> None:
    ended = run_step(folder, "Check", files="checks/*.toml\n\n", report="it.xml")
    assert ended.returncode == 1
    assert f"::error file=checks/b.toml,line=4,title=layer with attn::{FAILURE}" in ended.stderr
    assert f"checks/b.toml:4: {FAILURE}" in ended.stdout
    assert FAILURE in (folder / "summary.md").read_text(encoding="utf-8")
    assert (folder / "output").read_text(encoding="utf-8") == "report=it.xml\n"
    root = ElementTree.parse(folder / "it.xml").getroot()
    assert root.attrib == {"tests": "2", "failures": "1"}


def test_the_action_ends_as_the_check_does(folder: Path) -> None:
    ended = run_step(folder, "Check", files="checks/a 1.toml")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert (folder / "vitprof.xml").exists()
    summary = (folder / "summary.md").read_text(encoding="utf-8")
    ended = run_step(folder, "Check", files="checks/a 1.toml\nchecks/none.toml", trust="true")
    assert ended.returncode == 2
    assert "cannot read checks/none.toml" in ended.stderr
    assert (folder / "summary.md").read_text(encoding="utf-8") == summary


def test_the_action_installs_its_checkout(folder: Path) -> None:
    run_step(folder, "Install", packages="timm -e .", **{"pip-options": "--pre"}).check_returncode()
    said = (folder / "temp/said").read_text(encoding="utf-8")
    wanted = ["pip", "install", "-q", "-c", f"{ROOT}/constraints.txt", "--pre", str(ROOT), "timm"]
    assert said == f"python -m venv {folder}/temp/vitprof\n{'|'.join([*wanted, '-e', '.'])}|"


def test_inputs_reach_scripts_as_variables_alone() -> None:
    """Text of an input in a script would be run."""
    for step in STEPS.values():
        assert "${{" not in step["run"]
    used = {name for step in ACTION["runs"]["steps"] for name in str(step).split("inputs.")[1:]}
    assert {re.match(r"[\w-]+", name)[0] for name in used} == {*ACTION["inputs"]}  # type: ignore[index]
