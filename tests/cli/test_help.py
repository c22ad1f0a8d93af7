"""Help: what stands in it, how long and how wide it is, and the sentences that lead to it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from commands import Capture, printed, said

from vitprof.cli import COMMANDS, Commands
from vitprof.cli.help import FOLDED
from vitprof.formulas.mixers import MIXERS
from vitprof.formulas.models import MODELS

OWN = ("models", "mixers", "presets", "gpus")  # commands that take no model
WITH_MODELS = [command for command in COMMANDS if command not in OWN]


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_short_and_long_flag(capsys: Capture, command: str) -> None:
    words = [command] if command else []
    assert printed(capsys, *words, "-h") == printed(capsys, *words, "--help")


@pytest.mark.parametrize("command", COMMANDS)
def test_two_screens_at_80_columns(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = printed(capsys, command, "--help").splitlines()
    assert len(lines) <= (25 if command in OWN else 120)
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("columns", ["60", "160"])
@pytest.mark.parametrize("command", ["sweep", "memory"])
def test_lines_are_as_wide_as_they_may_be(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, command: str, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    lines = printed(capsys, command, "--help-all").splitlines()
    assert min(int(columns), 110) - 10 < max(map(len, lines)) <= min(int(columns), 110)


@pytest.mark.parametrize("command", WITH_MODELS)
def test_folded_options_are_named_and_described_on_demand(capsys: Capture, command: str) -> None:
    brief, full = printed(capsys, command, "--help"), printed(capsys, command, "--help-all")
    parameters: list[Any] = Commands().get_command(None, command).params
    options = [one for one in parameters if one.param_type_name == "option"]
    folded = [one for one in options if one.rich_help_panel in FOLDED]
    owners = (*MODELS.values(), *MIXERS.values())
    assert {name for owner in owners for name in owner.declared()} <= {one.name for one in folded}
    for one in options:
        entry = re.compile(rf"^  (-h, )?{one.opts[0]}\b(?!-)", re.M)
        assert bool(entry.search(brief)) is (one not in folded), one.name
        assert entry.search(full), one.name
        assert re.search(rf"{one.opts[0]}\b(?!-)", brief), one.name


def test_own_options_come_before_those_of_models(capsys: Capture) -> None:
    shown = printed(capsys, "sweep", "--help")
    order = [
        "Usage: ",
        "Example: ",
        "--y",
        "--gpu",
        "--format",
        "--mixers",
        "--module ",
        "--decoder-dim",
    ]
    places = [shown.index(f"  {word}" if word[0] == "-" else word) for word in order[:-1]]
    places.append(shown.index(order[-1]))
    assert places == sorted(places)


def test_help_all_tells_all_of_the_command(capsys: Capture) -> None:
    assert "Exit code 130" not in printed(capsys, "sweep", "--help")
    assert "Exit code 130" in printed(capsys, "sweep", "--help-all")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (
            "params --depht=3",
            "there is no option '--depht'; did you mean --depth or --depths? vitprof params ",
        ),
        ("--versoin", "there is no option '--versoin'; did you mean --version? vitprof --help "),
        ("presets --brief", "there is no option '--brief'; vitprof presets --help lists them"),
        ("check", "Missing argument 'FILE"),
        ("params --dim", "Option '--dim' requires an argument; see vitprof params --help"),
        ("--show-completion bahs", "there is no shell 'bahs'; did you mean bash? known are bash, "),
    ],
)
def test_words_that_are_no_command_line(capsys: Capture, line: str, sentence: str) -> None:
    assert said(capsys, *line.split()).startswith(sentence)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_with_its_options(capsys: Capture, name: str) -> None:
    shown = " ".join(printed(capsys, "models", name).split())
    for option, value in MODELS[name]().values().items():
        told = MODELS[name].declared()[option].help
        assert f"--{option.replace('_', '-')} {told} (" in shown
        assert f"; {value} by default" in shown or not isinstance(value, str | int)
