"""An option that takes one value is given once; one that takes several writes all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from commands import Capture, refused

from vitprof.cli import COMMANDS, Commands, run

SWEEP = ("sweep", "--model=layer", "--tokens=4,8", "--y=macs", "--no-chart")


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("params", "--dim", "64", "--dim=64"), "--dim"),
        (("params", "--head", "--no-head"), "--head/--no-head"),
        (("macs", "--format=csv", "--format", "json", "--format=csv"), "--format"),
        (("memory", "--inference", "--inference"), "--inference"),
        (("sweep", "--tokens=8:64:x2", "--tokens=128"), "--tokens"),
    ],
)
def test_one_value(capsys: Capture, words: tuple[str, ...], name: str) -> None:
    times = sum(word.partition("=")[0] in name.split("/") for word in words)
    sentence = f"vitprof: {name} is given {times} times and has one value; give it once\n"
    assert refused(capsys, *words) == sentence


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_every_command(capsys: Capture, command: str) -> None:
    found = Commands().get_command(None, command)
    options: list[Any] = [one for one in found.params if one.param_type_name == "option"]
    several = {one.name for one in options if one.multiple}
    assert several <= {
        "arg",
        "input",
        "mixer_at",
        "plot",
        "vary",
        *(["output"] if command == "check" else []),
    }
    once = [one for one in options if not one.multiple and not one.is_eager]
    place = [*COMMANDS].index(command)
    for one in once[place % 4 :: 4]:  # most options are those of other commands too
        words = [one.opts[0]] * 2 if one.is_flag else [f"{one.opts[0]}=1"] * 2
        assert "is given 2 times" in refused(capsys, command, *words)


def test_several_plots(capsys: Capture, tmp_path: Path) -> None:
    figures = [tmp_path / "a.svg", tmp_path / "b.html"]
    assert run([*SWEEP, *(f"--plot={figure}" for figure in figures)]) == 0
    capsys.readouterr()
    assert "<svg" in figures[0].read_text(encoding="utf-8")
    assert "<html" in figures[1].read_text(encoding="utf-8")


@pytest.mark.parametrize("other", ["--plot", "--output"])
def test_one_file_for_two(capsys: Capture, tmp_path: Path, other: str) -> None:
    file = tmp_path / "a.html"
    again = f"{tmp_path}/../{tmp_path.name}/a.html"
    said = refused(capsys, *SWEEP, f"--plot={file}", f"{other}={again}")
    assert "a.html would be written twice" in said
    assert not file.exists()
