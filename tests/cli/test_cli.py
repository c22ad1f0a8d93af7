"""Command line: its output, its error sentences, and its files."""

from __future__ import annotations

import csv
import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib import import_module
from io import StringIO
from pathlib import Path
from shlex import split
from typing import IO
from xml.etree import ElementTree

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from vitprof.cli import COMMANDS, Commands, app, run
from vitprof.formats import ANY, Format
from vitprof.formulas.mixers import MIXERS
from vitprof.formulas.models import MODELS
from vitprof.values.options import Flag, Option
from vitprof.version import __version__

HOME = Path(__file__).parents[2]
Capture = pytest.CaptureFixture[str]

OPTIONS: dict[str, Option] = {
    name: option
    for owner in (*MODELS.values(), *MIXERS.values())
    for name, option in owner.declared().items()
}


def flag_of(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def is_a_sentence(said: str) -> bool:
    return said.startswith("vitprof: ") and said.endswith("\n") and len(said.splitlines()) == 1


def refused(capsys: Capture, *words: str | Path) -> str:
    """Run a command line that is refused; return its error sentence."""
    code = run([str(word) for word in words])
    out, err = capsys.readouterr()
    assert is_a_sentence(err), err
    assert (code, out) == (2, "")
    return err


def printed(capsys: Capture, *words: str | Path) -> str:
    """Run a command line that succeeds; return its output."""
    code = run([str(word) for word in words])
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    return out


def in_a_process(
    *words: str, stdout: int | IO[str] = subprocess.PIPE
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vitprof", *words],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=10,
        check=False,
    )


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        # Unknown names, with the nearest known one.
        ("parms", "'parms'.*did you mean params"),
        ("params --mixer lamda", "'lamda'.*did you mean lambda"),
        ("params --mixer softmax", "'softmax'.*known are attn, .*lambda.*linear.* and .*"),
        ("macs --model clasifier", "'clasifier'.*did you mean classifier"),
        ("params --model ''", "no model ''"),
        ("params --mixer ''", "no mixer ''"),
        ("params --counters analytic,trchinfo", "'trchinfo'.*did you mean torchinfo"),
        ("params --counters ,", "no counter is named.*analytic, torchinfo, .* and all"),
        ("params --format jsn", "'jsn'.*did you mean json"),
        ("mixers --format jsn", "'jsn'.*did you mean json"),
        ("models --format cvs", "no format 'cvs'; did you mean csv"),
        ("models --format xml", "known are table, .* csv, json and parquet"),
        ("models --format junit", "no format 'junit'"),
        ("presets --format parquet", r"to the terminal; give --output FILE\.parquet"),
        ("params --decoder-dims 64", "--decoder-dims.*--decoder-dim"),
        ("params --dim", "--dim.*argument"),
        ("params default", "no preset 'default'; vitprof presets lists"),
        ("params deit-s default", r"\(default\)"),
        ("--verbose", "--verbose"),
        # Values that are not numbers, too small, or too large.
        ("params --dim 0", "dim 0 .*from 1 to"),
        ("params --dim -8", "dim -8 .*from 1 to"),
        ("params --dim=-8", "dim -8 .*from 1 to"),
        ("params --dim 64.0", r"dim 64\.0 is not a whole number"),
        ("params --dim large", "dim large is not a whole number"),
        ("params --dim nan", "dim nan is not a whole number"),
        ("params --dim 1_000_001", "dim 1_000_001 is out of range"),
        (f"params --dim 1{'0' * 40}", "dim 10{40} is out of range"),
        # Python itself refuses to read an int of so many digits.
        (f"params --dim {'9' * 5000}", "is not a whole number"),
        ("params --depth 10001", "depth 10001 .*from 1 to 10000"),
        ("macs --batch 0", "batch 0 .*from 1 to"),
        ("macs --batch two", "batch two is not a whole number"),
        ("params --levels 0", "levels 0 .*from 1 to"),
        ("params --levels all", "levels all is not a whole number"),
        ("macs --tokens 0", "tokens 0 .*from 1 to"),
        ("params --mixer lambda --receptive-field 8", "receptive field 8 is even.*odd"),
        # Ratios.
        ("params --mask-ratio 1", "mask ratio 1 .*from 0 to below 1"),
        ("params --mask-ratio -0.1", r"mask ratio -0\.1 .*from 0 to below 1"),
        ("params --mask-ratio half", "mask ratio half is not a number"),
        ("params --mask-ratio nan", "mask ratio nan is not a number"),
        ("params --mask-ratio 1/0", "mask ratio 1/0 is not a number"),
        ("params --mlp-ratio 0", "mlp ratio 0 is out of range"),
        ("params --mlp-ratio 0.001 --dim 8", r"mlp ratio 0\.001 .*at least 1/8"),
        # Sizes that do not fit together, with those that would.
        ("params --dim 100", "dim 100 .*8 heads.*1, 2, 4, 5, 10, 20, 25, 50 or 100"),
        ("params --decoder-heads 7", "decoder dim 512 .*7 decoder heads.*1, 2, 4, 8"),
        ("params --image-size 30", "image size 30 .*patch size 8.*1, 2, 3, 5, 6, 10, 15 or 30"),
        ("params --dim 6 --heads 2", "dim 6 .*by 4.*4 or 8"),
        # Options of another model or mixer.
        (
            "params --mixer lambda --fused",
            "fused is an option of attn and sra, not of mae with lambda",
        ),
        ("params --key-depth 8", "key depth is an option of lambda, not of mae with attn"),
        ("params --classes 7", "classes is an option of classifier and pyramid, not of mae"),
        ("params --model layer --depth 2", "depth is an option of mae and classifier"),
        ("params --model mae --tokens 50", "tokens of mae follow from image size and patch size"),
        ("macs --model classifier --tokens 50", "tokens of classifier follow from image size"),
        ("params --batch 3", "--batch"),
        (
            "params --activation tanh",
            "activation can be gelu, relu, silu, quick-gelu, squared-relu or star-relu, not 'tanh'",
        ),
        # Memory and GPUs.
        ("memory --gpu a100", "'a100' is the name of several GPUs; give a100-40 or a100-80$"),
        ("batch-size --gpu rtx6000", "give quadrortx6000, rtx6000ada or rtxpro6000$"),
        ("gpus v100", "give v100-16 or v100-32$"),
        ("gpus h10", r"no GPU 'h10'; did you mean h100, h100-nvl or h100-pcie\? vitprof gpus "),
        ("memory --memory 24", "memory '24' is 24 bytes without a unit; give one, such as 24GiB"),
        ("batch-size --memory 24", "24 bytes without a unit; give one, such as 24GiB or 24B$"),
        ("memory --gpu h100 --memory 1GiB", "both name the memory; give one of the two$"),
        ("memory --torch 2.11", "give --gpu with it, or leave it out$"),
        ("batch-size --gpu h100 --torch 1.11", "give a version from 1.12 to 2.13$"),
        ("memory --workspace 3MiB", "there is no option '--workspace'"),
        ("memory --context 3MiB", "there is no option '--context'"),
        # Files.
        ("params --output report.xls", r"'report\.xls'.*\.csv.*--format"),
        ("params --output report", "'report'.*--format"),
        ("params --output report.xml", r"'report\.xml'.*end it in \.txt, .*\.parquet.*--format"),
    ],
)
def test_bad_request(capsys: Capture, line: str, sentence: str) -> None:
    command = split(line)
    # Nothing heavy is loaded for a request that is refused.
    counts = {"params", "macs"} & {*command} and "--counters" not in command
    analytic = ["--counters=analytic"] if counts else []
    assert re.search(sentence, refused(capsys, *command[:1], *analytic, *command[1:]))


@pytest.mark.parametrize("ratio", ["1e-5000", "1e5000", "1e-999999999", "1e999999999"])
def test_ratio_of_a_million_digits(ratio: str) -> None:
    # In a separate process, which can be killed if it computes a million digits.
    ended = in_a_process("params", "--counters=analytic", "--mask-ratio", ratio)
    assert is_a_sentence(ended.stderr)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert f"mask ratio {ratio}" in ended.stderr


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("gone/report.csv", "no directory .*gone; create it first"),
        ("there.csv/report.csv", r"no directory .*there\.csv"),
        ("", "is a directory"),
        ("loop.csv", r"loop\.csv"),
        (f"{'long' * 100}.csv", r"long\.csv.*file name too long"),
    ],
)
def test_file_that_cannot_be(capsys: Capture, tmp_path: Path, name: str, sentence: str) -> None:
    (tmp_path / "there.csv").touch()
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    before = sorted(tmp_path.iterdir())
    said = refused(capsys, "params", "--counters=analytic", "--output", tmp_path / name)
    assert re.search(f"cannot write .*{sentence}", said)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_directory_that_is_closed(capsys: Capture, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    file = tmp_path / "report.csv"
    said = refused(capsys, "params", "--counters=analytic", "--output", file)
    assert f"cannot write {file}: permission denied" in said


# Longer than a buffer, which fails at once, and shorter, which fails at the end.
LONG_AND_SHORT = [["params", "--counters=analytic", "--full"], ["mixers", "--format=json"]]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("words", LONG_AND_SHORT)
def test_no_space_left_on_stdout(words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        ended = in_a_process(*words, stdout=full)
    assert ended.stderr == "vitprof: cannot write to stdout: no space left on device\n"
    assert ended.returncode == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_no_space_left_in_a_file(capsys: Capture) -> None:
    words = ("params", "--counters=analytic", "--format=csv", "--output=/dev/full")
    assert "cannot write /dev/full: no space left on device" in refused(capsys, *words)


@pytest.mark.parametrize("words", LONG_AND_SHORT)
def test_reader_that_leaves(words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    ended = in_a_process(*words, stdout=writer)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (0, "")


# Depths are few, so that a report stays short; those beyond the bounds are refused.
SIZES = st.integers(1, 9).map(str) | st.sampled_from(
    ["0", "-1", "12", "64", "96", "128", "1000000", "1000001", "9" * 20, "9" * 5000]
)
JUNK = st.text(st.characters(exclude_characters="\0"), max_size=4) | st.sampled_from(
    ["", "--", "--dim", "1.5", "½", "٣", "0x10", "1_0", " 8 ", "nan", "-inf", "None", "[red]"]
)
RATIOS = st.sampled_from(["0", "0.5", "0.999999", "1", "2.7", "1/3", "-0.5", "1e-9", "1e9"])
VALUES = st.one_of(SIZES, SIZES, RATIOS, JUNK)
NAMES = {
    "--model": st.sampled_from([*MODELS, "vit"]),
    "--mixer": st.sampled_from([*MIXERS, "attention", "lamda"]),
    "--activation": st.sampled_from(["gelu", "relu", "tanh"]),
}


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """Draw a command with options of all models and mixers, most of them in bounds."""
    named = [flag_of(name) for name, option in OPTIONS.items() if not isinstance(option, Flag)]
    valued = [*named, "--model", "--mixer", "--batch", "--levels"]
    words = [draw(st.sampled_from(["params", "macs"])), "--counters=analytic"]
    for option in draw(st.lists(st.sampled_from(valued), max_size=5, unique=True)):
        value = draw(NAMES.get(option, VALUES))
        words += draw(st.sampled_from([[option, value], [f"{option}={value}"]]))
    words += draw(st.lists(st.sampled_from(["--fused", "--no-fused", "--fold", "--full"])))
    return words + draw(st.lists(JUNK, max_size=1))


def parse(text: str, format: Format) -> None:
    """Raise unless the text is a report of counts in this format."""
    if format is Format.JSON:
        report = json.loads(text)
        counts = [row["count"] for row in report["rows"]]
        assert sum(counts) == report["totals"]["all" if report["command"] == "params" else "macs"]
    elif format is Format.CSV:
        header, *rows = csv.reader(StringIO(text), strict=True)
        assert all(len(row) == len(header) and row[-1].isdecimal() for row in rows)
    elif format is Format.MARKDOWN:
        cells = [line.count("|") for line in text.splitlines() if line.startswith("|")]
        assert len(cells) > 2
        assert len(set(cells)) == 1
    elif format is Format.HTML:
        cells = [len(row) for row in ElementTree.fromstring(text).iter("tr")]
        assert len(cells) > 2
        assert len(set(cells)) == 1
    elif format is Format.LATEX:
        lines = [line for line in text.splitlines() if line.endswith(r" \\")]
        assert len(lines) > 2
        assert len({len(re.findall(r"(?<!\\)&", line)) for line in lines}) == 1
        assert text.replace(r"\{", "").count("{") == text.replace(r"\}", "").count("}")
    else:
        assert format is Format.TABLE
        assert text.startswith(("Parameters of ", "Multiply-accumulates of "))
        assert "─" in text


ON_STDOUT = [known for known in ANY if known is not Format.PARQUET]


@pytest.mark.parametrize("format", ON_STDOUT)
@settings(max_examples=15, deadline=None, derandomize=True, database=None)
@given(words=command_lines())
def test_any_command_line_is_met_or_refused(format: Format, words: list[str]) -> None:
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run([*words[:1], f"--format={format}", *words[1:]])
    if code == 0:
        assert err.getvalue() == ""
        parse(out.getvalue(), format)
    else:
        assert is_a_sentence(err.getvalue())
        assert (code, out.getvalue()) == (2, "")


def test_version(capsys: Capture) -> None:
    assert printed(capsys, "--version") == f"vitprof {__version__}\n"
    ended = in_a_process("--version")
    assert (ended.returncode, ended.stdout) == (0, f"vitprof {__version__}\n")


def commands() -> Commands:
    group = typer.main.get_command(app)
    assert isinstance(group, Commands)
    return group


def example_of(command: str) -> list[str]:
    """Return the arguments of the example below a command's help."""
    module = import_module(f"vitprof.cli.{command.replace('-', '_')}")
    program, *words = split(module.EXAMPLE)
    assert (program, words[0]) == ("vitprof", command)
    return words


@pytest.mark.parametrize("command", COMMANDS)
def test_example_stands_in_the_help(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    shown = printed(capsys, command, "--help")
    assert f"\n  Example: vitprof {' '.join(example_of(command))}\n" in shown
    _, *words = example_of(command)
    assert commands().get_command(None, command).make_context(command, words).params


@pytest.mark.parametrize("command", ["memory", "batch-size", "compare", "sweep", "bench"])
def test_gpu_is_an_option_wherever_memory_or_time_is(command: str) -> None:
    found = commands().get_command(None, command)
    assert {"--gpu", "--memory", "--torch"} <= {
        flag for option in found.params for flag in option.opts
    }


# Left out: bench, which measures for a dozen seconds, and check, which the docs run.
@pytest.mark.parametrize(
    "command", [command for command in COMMANDS if command not in ("bench", "check")]
)
def test_example_runs(capsys: Capture, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.chdir(HOME)
    assert len(printed(capsys, *example_of(command)).splitlines()) > 2


EXPECTATIONS = """
[[expect]]
name = "layer"
spec = { model = "layer", dim = 8, heads = 2 }

[expect.params]
all = "2*8 + 3*(8*8 + 8) + 8*8 + 8 + 2*8 + 8*32 + 32 + 32*8 + 8"
"""
LINES = {
    "params": "--counters=analytic --dim=8 --model=layer",
    "macs": "--counters=analytic --tokens=50",
    "explain": "--counters=analytic --tokens=50",
    "memory": "--no-trace --tokens=50",
    "time": "--gpu=h100 --tokens=50",
    "compare": "--mixers=attn,linear --tokens=50 --up-to=64",
    "sweep": "--mixers=attn,linear --tokens=64,128",
    "batch-size": "--memory=1GiB --no-trace --tokens=50",
    "check": "expectations.toml",
    "models": "",
    "mixers": "",
    "presets": "",
    "gpus": "",
}


@pytest.mark.parametrize("command", LINES)
def test_every_command_has_every_format(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Each command also writes to a file what it prints. For bench see `test_bench.py`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    Path("expectations.toml").write_text(EXPECTATIONS, encoding="utf-8")
    words = [command, *split(LINES[command])]
    known = [*ON_STDOUT, *([Format.JUNIT] if command == "check" else [])]
    texts = {name: printed(capsys, *words, "--format", name) for name in known}
    assert len({*texts.values()}) == len(known)
    for name, text in [*texts.items()][len(command) % 2 :: 2]:  # each format with half of them
        assert printed(capsys, *words, "--format", name, "--output=report") == ""
        assert Path("report").read_text(encoding="utf-8") == text
    said = json.loads(texts[Format.JSON])
    assert (said["schema"], said["command"]) == ("vitprof/2", command)
    header, *rows = csv.reader(StringIO(texts[Format.CSV]), strict=True)
    assert len(rows) > 0
    assert {len(row) for row in rows} == {len(header)}
    assert len(ElementTree.fromstring(texts[Format.HTML])) > 1
    # A Parquet file holds the rows of the CSV, and all of the JSON.
    printed(capsys, *words, "--output=report.parquet")
    table = parquet.read_table("report.parquet")
    assert (table.column_names, table.num_rows) == (header, len(rows))
    assert json.loads(table.schema.metadata[b"vitprof"]) == said


def test_brackets_do_not_end_a_label_of_latex(capsys: Capture) -> None:
    r"""The label of `\item[[1]]` would be `[1`."""
    lines = printed(capsys, "presets", "--format=latex").splitlines()
    items = [line.split() for line in lines if line.startswith(r"  \item[{[")]
    assert len(items) > 9
    assert [item for item, *_ in items] == [
        rf"\item[{{[{number}]}}]" for number in range(1, len(items) + 1)
    ]


def test_pipe_is_as_wide_as_the_report_needs(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A given width is kept; no name and no number is cut."""
    words = ("macs", "--counters=analytic", "--tokens=50")
    rows = json.loads(printed(capsys, *words, "--format=json"))["rows"]
    monkeypatch.delenv("COLUMNS", raising=False)
    wide = printed(capsys, *words).splitlines()
    names = [row["path"].rpartition(".")[2] for row in rows]  # indented below their part
    for row, name in zip(rows, names, strict=True):
        (line,) = (line for line in wide if line.split()[:1] == [name])
        assert row["formula"] in line
        assert line.endswith(f"{row['count']:,}")
    monkeypatch.setenv("COLUMNS", "40")
    narrow = printed(capsys, *words)
    assert max(map(len, narrow.splitlines())) <= 40 < max(map(len, wide))
    assert {*names} <= {*narrow.split()}
    assert {f"{row['count']:,}" for row in rows} <= {*narrow.split()}


def test_no_arguments_help(capsys: Capture) -> None:
    assert printed(capsys) == printed(capsys, "--help")


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help(capsys: Capture, monkeypatch: pytest.MonkeyPatch, command: str | None) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    group = commands()
    shown = printed(capsys, *([command] if command else []), "--help")
    for parameter in (group.get_command(None, command) if command else group).params:
        assert parameter.help  # type: ignore[attr-defined]
        assert all(flag in shown for flag in parameter.opts)
    assert command is not None or all(name in shown for name in COMMANDS)


def test_sizes_of_all_models_and_mixers_are_options(capsys: Capture) -> None:
    for command in ("params", "macs"):
        shown = printed(capsys, command, "--help")
        assert [name for name in OPTIONS if flag_of(name) not in shown] == []


def test_tokens_name_the_layer(capsys: Capture) -> None:
    given = ("--counters=analytic", "--tokens=50", "--format=json")
    assert json.loads(printed(capsys, "macs", *given))["spec"]["model"] == "layer"


def test_attention_has_two_names(capsys: Capture) -> None:
    given = ("params", "--counters=analytic", "--mixer")
    assert printed(capsys, *given, "attention") == printed(capsys, *given, "attn")


@pytest.mark.parametrize(
    ("format", "by_default"),
    [
        *((people, True) for people in ("table", "markdown", "latex", "html")),
        *((program, False) for program in ("csv", "json")),
    ],
)
def test_people_see_blocks_folded(capsys: Capture, format: str, by_default: bool) -> None:
    given = ("params", "--counters=analytic", "--depth=3", "--format", format)
    for words, fold in (((), by_default), (("--fold",), True), (("--full",), False)):
        assert ("blocks.0-2" in printed(capsys, *given, *words)) is fold


SUFFIXES = {
    "report.csv": Format.CSV,
    "report.json": Format.JSON,
    "report.md": Format.MARKDOWN,
    "REPORT.MARKDOWN": Format.MARKDOWN,
    "report.tex": Format.LATEX,
    "report.html": Format.HTML,
    "report.txt": Format.TABLE,
}


@pytest.mark.parametrize("name", SUFFIXES)
def test_suffix_chooses_the_format(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("COLUMNS", "160")  # a table's width in a file
    file = tmp_path / name
    assert printed(capsys, "params", "--counters=analytic", "--output", file) == ""
    on_stdout = printed(capsys, "params", "--counters=analytic", "--format", SUFFIXES[name])
    assert file.read_text(encoding="utf-8") == on_stdout


def test_format_outweighs_the_suffix(capsys: Capture, tmp_path: Path) -> None:
    file = tmp_path / "report.csv"
    printed(capsys, "params", "--counters=analytic", "--format=json", "--output", file)
    assert json.loads(file.read_text(encoding="utf-8"))["command"] == "params"


def test_table_in_a_file_is_as_wide_as_it_likes(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    file = tmp_path / "report.txt"
    printed(capsys, "macs", "--counters=analytic", "--tokens=50", "--output", file)
    assert "B × heads × N × (head dim × N)" in file.read_text(encoding="utf-8")


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Make every write beyond `size` bytes of a file fail, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_file_is_replaced_whole_or_not_at_all(capsys: Capture, tmp_path: Path) -> None:
    file = tmp_path / "report.csv"
    file.write_text("as it was")
    words = ("params", "--counters=analytic", "--output", file)
    with files_of_at_most(100):
        said = refused(capsys, *words)
    assert f"cannot write {file}: file too large" in said
    assert file.read_text() == "as it was"
    assert [*tmp_path.iterdir()] == [file]
    printed(capsys, *words)
    assert file.read_text(encoding="utf-8").startswith("path,type,")
    assert [*tmp_path.iterdir()] == [file]


def test_half_a_file_is_not_left(capsys: Capture, tmp_path: Path) -> None:
    with files_of_at_most(100):
        refused(capsys, "params", "--counters=analytic", "--output", tmp_path / "report.csv")
    assert [*tmp_path.iterdir()] == []


def test_permissions(capsys: Capture, tmp_path: Path) -> None:
    old, new, ordinary = (tmp_path / f"{name}.csv" for name in ("old", "new", "ordinary"))
    for file in (old, ordinary):
        file.touch()
    old.chmod(0o640)
    for file in (old, new):
        printed(capsys, "params", "--counters=analytic", "--output", file)
    assert old.stat().st_mode & 0o777 == 0o640
    assert new.stat().st_mode == ordinary.stat().st_mode


def test_link_stays_a_link(capsys: Capture, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere/report.csv", tmp_path / "link.csv"
    target.write_text("as it was")
    link.symlink_to(target)
    printed(capsys, "params", "--counters=analytic", "--output", link)
    assert link.readlink() == target
    assert target.read_text(encoding="utf-8").startswith("path,type,")


def test_catalogues(capsys: Capture) -> None:
    for command, names in (("models", MODELS), ("mixers", MIXERS)):
        table = printed(capsys, command)
        entries = json.loads(printed(capsys, command, "--format=json"))["entries"]
        assert [entry["name"] for entry in entries] == [*names]
        for entry in entries:
            assert entry["summary"]
            assert entry["source"]
            assert entry["name"] in table
        for owner, entry in zip(names.values(), entries, strict=True):
            assert entry["options"].keys() == owner.declared().keys()
