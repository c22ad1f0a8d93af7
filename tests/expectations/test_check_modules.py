"""Modules of any origin in check files, and code that only a trusted file may run."""

from __future__ import annotations

import importlib.util
import json
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import check_files
import pytest
import threads
from check_files import Patch, Write, checked, refused, slips
from commands import Capture

import vitprof
from vitprof.cli import run
from vitprof.expectations.file import read_cases
from vitprof.expectations.lines import CheckFileError
from vitprof.formulas.mixers import MIXERS

one_thread = threads.one_thread
nowhere_in_particular = check_files.nowhere_in_particular
write = check_files.write

NET = """\
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from vitprof.formulas.mixers.identity import Identity

(Path(__file__).parent / "was-run").touch()


class Net(nn.Module):
    def __init__(self, width=5, bias=True, gain=None):
        super().__init__()
        self.first = nn.Linear(7, width, bias=bias)
        self.second = nn.Linear(width, 3)

    def forward(self, x):
        return self.second(self.first(x).relu())


class Solves(Net):
    def forward(self, x):
        inverse = torch.linalg.inv(x.new_ones(4, 4))
        return super().forward(x) * inverse.sum()


def line(widths):
    return nn.Sequential(*(nn.Linear(*pair) for pair in zip(widths, widths[1:])))


@dataclass(frozen=True, kw_only=True)
class Own(Identity):
    name = "own"
"""
CODE = [
    # what the spec says, and the place of its code
    ('module = "net.py:Net", input = "7"', "net.py"),
    ('module = "./net.py:Net", input = "7"', "./net.py"),
    ('module = "some_net:Net", input = "7"', "some_net"),
    ('model = "layer", tokens = 7, mixer = "some_net:Own"', "some_net"),
    ('model = "classifier", dim = 8, depth = 2, mixer = "attn+some_net:Own"', "some_net"),
    ('model = "classifier", dim = 8, depth = 2, mixer_at = "1=some_net:Own"', "some_net"),
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: Patch) -> Iterator[Path]:
    """Work in a folder with a file of modules, and forget what was imported from there."""
    for name in ("net.py", "some_net.py"):
        (tmp_path / name).write_text(NET, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    known = dict(MIXERS)
    yield tmp_path
    sys.modules.pop("some_net", None)
    MIXERS.clear()
    MIXERS.update(known)


def spec_of(words: str, rest: str) -> str:
    return f"[[expect]]\nspec = {{ {words} }}\n{rest}\n"


@pytest.mark.parametrize(
    "words",
    [
        'arg = ["width=11", "bias=false"], input = ["7"]',
        'arg = { width = 11, bias = false }, input = "7"',
        'arg = { "width" = "11", bias = false }, input = { x = "7" }',
    ],
)
def test_a_module_has_its_arguments_and_its_inputs(
    capsys: Capture, write: Write, words: str
) -> None:
    """7 features, 11 wide without a bias, 3 outputs, and 13 rows at a time."""
    file = write(
        f"""\
[[expect]]
spec = {{ module = "net.py:Net", {words}, batch = 13 }}
max_params = "7*11 + 11*3 + 3"
max_macs = "13 * (7*11 + 11*3)"

[expect.params]
first = "7*11"
second = "11*3 + 3"
layers = "7*11 + 11*3 + 3"

[expect.macs]
first = "13 * 7*11"
second = "13 * 11*3 + 1"
"""
    )
    code, out, err = checked(capsys, file, "--trust")
    assert (code, err) == (1, "")
    assert out.splitlines()[0] == "net.py:Net"
    *_, failure, summary = out.splitlines()
    assert failure.startswith(f"{file}:13: macs second: expected 430, found 429 (−1)")
    assert failure.endswith("13 × 11 × 3")
    assert summary == "6 of 7 expectations hold, 1 do not"


def test_an_argument_that_is_a_list(capsys: Capture, write: Write) -> None:
    file = write(
        """\
[[expect]]
spec = { module = "net.py:line", arg = { widths = [7, 11, 3] }, input = "7" }

[expect.macs]
macs = "7*11 + 11*3"
"0" = "7*11"
"1" = "11*3"
"""
    )
    assert checked(capsys, file, "--trust", "--summary") == (0, "3 of 3 expectations hold\n", "")


def test_parameters_alone_need_no_inputs(capsys: Capture, write: Write) -> None:
    words = 'module = "net.py:Net"'
    file = write(spec_of(words, 'max_params = "7*5 + 5 + 5*3 + 3"'))
    assert checked(capsys, file, "--trust", "--summary") == (0, "1 of 1 expectations hold\n", "")
    for rest in ("max_macs = 100", "reconciled = true", "[expect.macs]\nmacs = 50"):
        said = refused(capsys, write(spec_of(words, rest)), "--trust")
        assert f"{file}, line 2: nothing says what net.py:Net is called with" in said


@pytest.mark.parametrize(("words", "place"), CODE)
@pytest.mark.parametrize(
    "rest", ["max_params = 99_999", "max_macs = 9_999_999", "reconciled = true"]
)
def test_a_file_runs_no_code_unless_it_is_trusted(
    capsys: Capture, write: Write, folder: Path, words: str, place: str, rest: str
) -> None:
    file = write(spec_of(words, rest))
    commands = (["check", str(file)], ["check", str(file), "--summary", "--format=json"])
    for command in (*commands, ["compare", f"--specs={file}"]):
        assert run(command) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith(f"vitprof: {file}, line 2: ")
        assert err.count("\n") == 1
        assert f"would run code of {place}, and a file of models is only data" in err
        assert "add --trust if you trust that code" in err
    with pytest.raises(CheckFileError, match="add --trust"):
        vitprof.check(file)
    assert not (folder / "was-run").exists()
    assert "some_net" not in sys.modules
    code, _, err = checked(capsys, file, "--trust")
    assert (code, err) == (0, "")
    assert (folder / "was-run").exists()
    assert vitprof.check(file, trust=True).complaint == ""


def test_the_line_is_that_of_the_name(capsys: Capture, write: Write) -> None:
    text = '[[expect]]\nmax_params = 1\n[expect.spec]\nbatch = 2\n{} = "some_net:Net"\n'
    for key in ("module", "mixer"):
        file = write(text.format(key))
        assert refused(capsys, file).startswith(f"vitprof: {file}, line 5: ")


def test_a_comparison_trusts_a_file_too(capsys: Capture, write: Write) -> None:
    of = (
        '[[expect]]\nname = "{0}"\nspec = {{ model = "layer", tokens = 7, mixer = "{0}" }}\n'
        "max_params = 0\n"
    )
    file = write(of.format("some_net:Own") + of.format("attn"))
    assert run(["compare", f"--specs={file}", "--trust", "--format=json"]) == 0
    sides = json.loads(capsys.readouterr().out)["models"]
    assert [side["spec"]["mixer"] for side in sides] == ["some_net:Own", "attn"]
    assert run(["compare", "--mixers=attn,pool", "--trust"]) == 2
    assert "--trust is for a file that is read; give --specs FILE" in capsys.readouterr().err


REFUSED = [
    ("module = 3", "module is a name in quotes, not 3"),
    ('module = "net.py"', "module 'net.py' does not say where it comes from"),
    ('module = "none.py:Net"', "there is no file of Python none.py"),
    ('module = "net.py:Nest"', "there is no 'Nest' in net.py; did you mean Net?"),
    ('module = "net.py:Net", model = "layer"', "model is an option of vitprof's own models"),
    ('module = "net.py:Net", mixer = "attn"', "mixer is an option of vitprof's own models"),
    ('module = "net.py:Net", dim = 7', "dim is an option of vitprof's own models"),
    ('module = "net.py:Net", batch = 0', "batch 0 is out of range"),
    ('module = "net.py:Net", input = "7xa"', "input '7xa' has no length 'a'"),
    ('module = "net.py:Net", input = 7', "input is words in a list, such as"),
    ('module = "net.py:Net", arg = [7]', "arg is words in a list, such as ['width=64'], not [7]"),
    ('module = "net.py:Net", arg = ["width"]', "argument 'width' is not KEY=VALUE"),
    (
        'module = "net.py:Net", input = "7", arg = { more.width = 3 }',
        "unexpected keyword argument 'more.width'",
    ),
    ('module = "net.py:Net", arg = { width = 2026-01-01 }', "arg width is a number, text, true, "),
    ('module = "net.py:Net", arg = { gain = [{ a = 1 }] }', "or a list of them, not [{'a': 1}]"),
    ('module = "net.py:Net", input = "8"', "net.py:Net raises RuntimeError"),
    ('arg = ["width=11"]', "arg is of a module; give --module, or leave it out"),
]


@pytest.mark.parametrize(("words", "sentence"), REFUSED)
def test_a_spec_that_is_none(capsys: Capture, write: Write, words: str, sentence: str) -> None:
    file = write(spec_of(words, "reconciled = true"))
    said = refused(capsys, file, "--trust")
    assert said.startswith(f"vitprof: {file}, line 2: ")
    assert sentence in said


def test_layers_of_a_module_are_known_by_measure(capsys: Capture, write: Write) -> None:
    for measure in ("params", "macs"):
        rest = f"[expect.{measure}]\nfist = 1"
        file = write(spec_of('module = "net.py:Net", input = "7"', rest))
        said = refused(capsys, file, "--trust")
        assert f"line 4: there is no total or layer 'fist' in the {measure} of this model" in said
        assert "did you mean first?" in said


def test_a_module_is_reconciled(capsys: Capture, write: Write) -> None:
    file = write(spec_of('module = "net.py:Net", input = "7", batch = 3', "reconciled = true"))
    code, out, err = checked(capsys, file, "--trust", "--format=json")
    assert (code, err) == (0, "")
    (case,) = json.loads(out)["cases"]
    found = [(outcome["what"], outcome["found"]) for outcome in case["outcomes"]]
    tools = ("torchinfo", "fvcore", "torch")
    reconciled = [
        f"{measure} {tool} reconciled" for measure in ("params", "macs") for tool in tools
    ]
    assert found == [*((what, "explained") for what in reconciled), ("macs kernels counted", "all")]


def test_a_kernel_without_a_rule_fails_by_name(capsys: Capture, write: Write) -> None:
    words = 'module = "net.py:Solves", input = "7"'
    code, out, err = checked(capsys, write(spec_of(words, "reconciled = true")), "--trust")
    assert (code, err) == (1, "")
    *_, failure, summary = out.splitlines()
    kernel = "aten::linalg_inv_ex ×1 in the model"
    assert f":1: macs kernels counted: expected all, found all but {kernel}" in failure
    assert summary == "6 of 7 expectations hold, 1 do not"
    file = write(spec_of(words, "max_macs = 50"))
    assert checked(capsys, file, "--trust", "--summary")[0] == 0


def first_file(capsys: Capture, folder: Path, *words: str) -> Path:
    file = folder / "first.toml"
    assert checked(capsys, "--write", file, *words) == (0, "", "")
    return file


def test_a_first_file_of_a_module(capsys: Capture, folder: Path) -> None:
    """Every number of the file is derived, and each digit of it matters."""
    words = ("--module=net.py:Net", "--arg=width=11", "--arg", "gain=[1, 2]", "--input=7")
    file = first_file(capsys, folder, *words, "--batch=13")
    text = file.read_text(encoding="utf-8")
    (table,) = tomllib.loads(text)["expect"]
    params, macs = 7 * 11 + 11 + 11 * 3 + 3, 13 * (7 * 11 + 11 * 3)
    no_others = {"tokens_and_positions": 0, "fixed": 0}
    assert table == {
        "name": "net.py:Net",
        "spec": {
            **{"module": "net.py:Net", "arg": ["width=11", "gain=[1, 2]"], "input": ["7"]},
            "batch": 13,
        },
        "reconciled": True,
        "params": {
            **{**dict.fromkeys(("layers", "all", "trainable"), params), **no_others},
            **{"first": "7 * 11 + 11", "second": "11 * 3 + 3"},
        },
        "macs": {
            **{"macs": macs, "flops": 2 * macs},
            **{"first": "13 * 7 * 11", "second": "13 * 11 * 3"},
        },
    }
    last = '# Checking this file runs code of "net.py", which needs --trust.'
    assert text.splitlines()[-1] == last
    assert "--trust" in refused(capsys, file)
    (case,) = read_cases(file, trusted=True)
    wrong = tuple(slip for it in case.expectations for slip in slips(it))
    assert not any(outcome.holds for outcome in replace(case, expectations=wrong).evaluate())
    holds = "18 of 18 expectations hold\n"  # 7 parameters, 4 MACs, 2 × 3 tools, and kernels
    assert checked(capsys, file, "--trust", "--summary") == (0, holds, "")


def test_a_first_file_with_a_mixer_of_ones_own(capsys: Capture, folder: Path) -> None:
    """The mixer is named by its place, as whoever reads the file has to find it."""
    file = first_file(capsys, folder, "--model=layer", "--tokens=7", "--mixer=some_net:Own")
    text = file.read_text(encoding="utf-8")
    assert tomllib.loads(text)["expect"][0]["spec"]["mixer"] == "some_net:Own"
    assert text.splitlines()[-1].endswith('code of "some_net", which needs --trust.')
    assert checked(capsys, file, "--trust")[0] == 0


def test_a_first_file_with_a_mixer_of_ones_own_in_some_blocks(
    capsys: Capture, folder: Path
) -> None:
    words = ["--model=classifier", "--dim=8", "--depth=3"]
    file = first_file(capsys, folder, *words, "--mixer-at=1=some_net:Own")
    text = file.read_text(encoding="utf-8")
    assert tomllib.loads(text)["expect"][0]["spec"]["mixer_at"] == "1=some_net:Own"
    assert text.splitlines()[-1].endswith('code of "some_net", which needs --trust.')
    assert checked(capsys, file, "--trust")[0] == 0


def test_a_first_file_of_what_no_rule_counts(capsys: Capture, folder: Path) -> None:
    """Such a file is green, and says in the file what is not counted."""
    file = first_file(capsys, folder, "--module=net.py:Solves", "--input=7")
    text = file.read_text(encoding="utf-8")
    assert "\nreconciled = false # no rule counts aten::linalg_inv_ex\n" in text
    assert checked(capsys, file, "--trust")[0] == 0


def test_a_first_file_needs_no_trust(capsys: Capture, folder: Path) -> None:
    file = folder / "first.toml"
    said = refused(capsys, "--write", file, "--trust", "--module=net.py:Net", "--input=7")
    assert "--trust is for a FILE that is read" in said
    assert "nothing says what" in refused(capsys, "--write", file, "--module=net.py:Net")
    assert not file.exists()


def has(library: str) -> pytest.MarkDecorator:
    missing = importlib.util.find_spec(library) is None
    return pytest.mark.skipif(missing, reason=f"{library} is not installed")


@has("timm")
def test_a_vision_transformer_of_timm(capsys: Capture, write: Write) -> None:
    """ViT-Ti/16 at 32 x 48: 2 x 3 patches and a class token, width 192, 3 heads of 64, MLP 768."""
    block = "192*576 + 576 + 192*192 + 192 + 192*768 + 768 + 768*192 + 192 + 2 * 2*192"
    linear = "7 * (192*576 + 192*192 + 192*768 + 768*192)"
    file = write(
        f"""\
[[expect]]
spec = {{ module = "timm:vit_tiny_patch16_224", arg = {{ img_size = [32, 48] }}, batch = 5 }}
reconciled = true

[expect.params]
tokens_and_positions = "192 + 7*192"
all = "16*16*3*192 + 192 + 192 + 7*192 + 12 * ({block}) + 2*192 + 192*1000 + 1000"
"blocks.0-11.attn.qkv" = "12 * (192*576 + 576)"
"blocks.7.mlp.fc1" = "192*768 + 768"

[expect.macs]
macs = "5 * (6 * 16*16*3*192 + 12 * ({linear} + 2 * 3*7*7*64) + 192*1000)"
"patch_embed.proj" = "5 * 2*3 * 16*16*3*192"
"blocks.11.attn.scaled_dot_product_attention" = "5 * 2 * 3*7*7*64"
"blocks.11" = "5 * ({linear} + 2 * 3*7*7*64)"
head = "5 * 192*1000"
"""
    )
    number = 4 + 5 + 2 * 3 + 1
    summary = f"{number} of {number} expectations hold\n"
    assert checked(capsys, file, "--summary") == (0, summary, "")


@has("timm")
def test_a_first_file_of_a_library(capsys: Capture, folder: Path) -> None:
    words = ("--module=timm:vit_tiny_patch16_224", "--arg=img_size=(32,48)", "--arg=depth=2")
    file = first_file(capsys, folder, *words)
    text = file.read_text(encoding="utf-8")
    assert "--trust" not in text
    (table,) = tomllib.loads(text)["expect"]
    assert table["params"]["blocks.0-1.attn.qkv"] == "2 * (192 * 576 + 576)"
    assert table["macs"]["blocks.0-1.attn.qkv"] == "2 * (1 * 7 * 192 * 576)"
    file.write_text(text.replace("reconciled = true\n", ""), encoding="utf-8")
    assert checked(capsys, file, "--summary")[0] == 0


@has("torchvision")
def test_a_convolutional_network_of_torchvision(capsys: Capture, write: Write) -> None:
    """ResNet-18 at 224: stages of 64 to 512 channels at 56 to 7, two blocks of 3 x 3 each."""
    first = "7*7*3*64"
    stages = {64: "4 * 9*64*64"}
    for width in (128, 256, 512):
        half = width // 2
        stages[width] = f"9*{half}*{width} + 3 * 9*{width}*{width} + {half}*{width}"
    norms = " + ".join(["2*64", "4 * 2*64", *(f"5 * 2*{width}" for width in (128, 256, 512))])
    weights = " + ".join(stages.values())
    macs = " + ".join(
        f"{side}*{side} * ({words})"
        for side, words in zip((56, 28, 14, 7), stages.values(), strict=True)
    )
    file = write(
        f"""\
[[expect]]
spec = {{ module = "torchvision:resnet18" }}
max_params = 12_000_000

[expect.params]
all = "{first} + {weights} + {norms} + 512*1000 + 1000"
fc = "512*1000 + 1000"
"layer2.0.downsample.0" = "64*128"

[expect.macs]
macs = "112*112 * {first} + {macs} + 512*1000"
"layer4.1.conv2" = "7*7 * 9*512*512"
"""
    )
    assert checked(capsys, file, "--summary") == (0, "6 of 6 expectations hold\n", "")
