"""The README: its commands print what it shows, and its Python is true."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from vitprof.cli import run

README = Path(__file__).parents[1] / "README.md"
TEXT = README.read_text(encoding="utf-8")
FIRST_SH, SECOND_SH = re.findall(r"^```sh\n(.*?)^```", TEXT, re.M | re.S)
FIRST_OUTPUT = re.findall(r"^```text\n(.*?)^```", TEXT, re.M | re.S)[0]
CONSOLE = re.findall(r"^```console\n\$ (.*?)\n(.*?)^```", TEXT, re.M | re.S)
MAIN_JOB = FIRST_SH.split("&&")[-1].strip().removeprefix(".venv/bin/")


def without_versions(output: str) -> str:
    """The output without what differs between machines."""
    return re.sub(r"^versions .*\n(?: .*\n)*", "", output, flags=re.M)


@pytest.mark.parametrize(
    ("command", "shown"), [(MAIN_JOB, FIRST_OUTPUT), *CONSOLE], ids=lambda text: text[:40]
)
def test_commands_print_what_the_readme_shows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, shown: str
) -> None:
    monkeypatch.chdir(README.parent)
    monkeypatch.setenv("COLUMNS", "80")
    name, *arguments = shlex.split(command)
    assert (name, run(arguments)) == ("vitprof", 0)
    printed, said = capsys.readouterr()
    assert said == ""
    assert without_versions(printed) == without_versions(shown)


def test_two_commands_stand_before_line_25() -> None:
    before = "\n".join(TEXT.splitlines()[:25])
    assert FIRST_SH in before
    assert SECOND_SH in before
    assert "20,038,848" in FIRST_OUTPUT


def test_python_of_the_readme_is_true() -> None:
    """Each line with a comment that is a value equals it."""
    checked = 0
    for block in re.findall(r"^```python\n(.*?)^```", TEXT, re.M | re.S):
        names: dict[str, object] = {}
        for line in block.splitlines():
            code, _, comment = line.partition("#")
            if re.fullmatch(r"\s*(\d+|'.*')\s*", comment):
                assert eval(code, names) == eval(comment)
                checked += 1
            else:
                exec(code, names)
    assert checked >= 4


def test_ci_runs_the_commands_of_the_readme() -> None:
    script = (README.parent / ".ci" / "run").read_text(encoding="utf-8")
    assert "README.md" in script
    for command in (MAIN_JOB, SECOND_SH.strip()):
        assert command not in script
