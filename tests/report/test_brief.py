"""Brief reports: the same figures and verdicts without the lines on conditions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from commands import Capture, printed, said
from reports import REPORTS, every_report, report_of

from vitprof.cli import COMMANDS, Commands, run
from vitprof.cli.output import Destination
from vitprof.formats import Format
from vitprof.report.document import Element, Facts, Heading
from vitprof.report.module import ModuleFacts

CONDITIONS = {
    *("spec", "workload", "conditions", "protocol", "versions", "convention", "reproduce"),
}
WITHOUT = {"check", "models", "mixers", "presets", "gpus"}
LAYER = ("--model=layer", "--tokens=7")


@every_report
def test_only_conditions_are_left_out(name: str) -> None:
    whole, brief = report_of(name), report_of(name).brief()
    assert brief.to_json() == whole.to_json()
    assert brief.to_csv() == whole.to_csv()
    assert (brief.command, brief.complaint) == (whole.command, whole.complaint)
    expected: list[Element] = []
    for element in whole.document():
        if isinstance(element, Facts) and element.conditions:
            left = {n: line for n, line in element.lines.items() if n not in element.conditions}
            assert {*element.conditions} <= {*element.lines} | {*CONDITIONS, "budget", "both"}
            assert CONDITIONS & {*left} == set()
            if left:
                expected.append(Facts(left))
            elif expected[-1] == Heading("Conditions", level=2):  # a section of nothing else
                expected.pop()
        else:
            expected.append(element)
    for element, shown in zip(expected, brief.document(), strict=True):
        assert type(shown) is type(element)
        assert shown == element or not isinstance(shown, (Facts, Heading))


@pytest.mark.parametrize("name", ["macs", "memory", "batch-size", "batch-size-tried", "bench"])
def test_verdicts_and_warnings_are_kept(name: str) -> None:
    words = {
        "macs": ("torchinfo ", "not counted "),
        "memory": ("peak ", "phases ", "trace "),
        "batch-size": ("largest ", "budget ", "formula "),
        "batch-size-tried": ("largest ", "recommended ", "stopped "),
        "bench": ("matrix product ", "memory, n/a "),
    }
    lines = str(report_of(name).brief()).splitlines()
    for word in words[name]:
        assert any(line.startswith(word) for line in lines), word
    assert not any(line.startswith(tuple(f"{one} " for one in CONDITIONS)) for line in lines)


def test_a_kernel_that_is_not_counted_is_a_warning() -> None:
    report: Any = report_of("macs")
    facts = ModuleFacts(names={}, unknown={"x::y": {"block": 2}})
    assert "x::y ×2 in block" in str(replace(report, module=facts).brief())


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_whose_reports_have_conditions(command: str) -> None:
    flags = {flag for one in Commands().get_command(None, command).params for flag in one.opts}
    assert ("--brief" in flags) is (command not in WITHOUT)
    conditions = [
        element
        for name in REPORTS
        if name.startswith(command)
        for element in report_of(name).document()
        if isinstance(element, Facts) and element.conditions
    ]
    assert bool(conditions) is (command not in WITHOUT) or command == "match"


@pytest.mark.parametrize("format", ["table", "markdown", "latex", "html"])
def test_formats_of_people(capsys: Capture, tmp_path: Path, format: str) -> None:
    words = ("macs", *LAYER, "--counters=analytic", "--format", format)
    whole, brief = printed(capsys, *words), printed(capsys, *words, "--brief")
    assert "versions" in whole
    assert "versions" not in brief
    assert "not counted" in brief
    file = tmp_path / "report"
    assert printed(capsys, *words, "--brief", "--output", str(file)) == ""
    assert file.read_text(encoding="utf-8") == brief or format == "table"


def test_a_file_that_is_written_before_the_end(tmp_path: Path) -> None:
    """A sweep writes its file as it goes on."""
    to = Destination(Format.MARKDOWN, tmp_path / "a.md", brief=True)
    to.write(report_of("sweep"))
    assert "versions" not in (tmp_path / "a.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("words", [("--format=json",), ("--format=csv",), ("--output=a.json",)])
def test_data_are_whole(capsys: Capture, words: tuple[str, ...]) -> None:
    chosen = words[0].rpartition("=")[2].rpartition(".")[2]
    assert said(capsys, "macs", *LAYER, "--brief", *words) == (
        f"--brief leaves out conditions, which are data in {chosen}; leave it out, or give "
        "--format table, markdown, latex or html"
    )


def test_a_brief_report_fails_like_the_whole(capsys: Capture) -> None:
    """Exit code and complaint are those of the report: a batch that does not fit."""
    words = ("batch-size", *LAYER, "--memory=1KiB", "--no-trace")
    assert [run(words), run((*words, "--brief"))] == [1, 1]
    out, _ = capsys.readouterr()
    assert out.count("versions ") == 1
