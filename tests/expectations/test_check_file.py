"""Check files that cannot be read or are refused, with the line that is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import check_files
import pytest
from check_files import LAYER, Write, refused
from commands import Capture

from vitprof.expectations import lines
from vitprof.expectations.file import read_cases

nowhere_in_particular = check_files.nowhere_in_particular
write = check_files.write

REFUSED = [
    # text, its line that is wrong, and what is said of it
    ("", None, r"no \[\[expect\]\]"),
    ("# nothing\n", None, r"no \[\[expect\]\]"),
    ("[[expect]\n", 1, "not TOML"),
    (f"{LAYER}norm1 =\n", 3, "not TOML"),
    (f"{LAYER}max_macs = 1\nmax_macs = 1\n", 4, "not TOML"),
    (f"{LAYER}a = {'[' * 5000}\n", None, "nests tables or lists too deep"),
    (f"{LAYER}max_macs = {'9' * 5000}\n", None, "not TOML"),
    # Types.
    ("expect = 3\n", 1, "expect"),
    ("\nexpect = [3]\n", 2, "expect"),
    ("# one\n[expect]\n", 2, r"\[\[expect\]\]"),
    ("[[expect]]\nspec = 3\n", 2, "spec is a table of names and values, not 3"),
    ("[[expect]]\nspec = [1]\n", 2, "spec is a table"),
    ("[[expect]]\nspec = { model = 3 }\n", 2, "model is a name in quotes, not 3"),
    ('[[expect]]\nspec = { mixer = ["attn"] }\n', 2, "mixer is a name in quotes"),
    ('[[expect]]\nspec = { batch = "x" }\n', 2, "batch x is not a whole number"),
    ("[[expect]]\nspec = { batch = 1.5 }\n", 2, r"batch 1\.5 is not a whole number"),
    ("[[expect]]\nspec = { batch = true }\n", 2, "batch True is not a whole number"),
    ("[[expect]]\nspec = { batch = 0 }\n", 2, "batch 0 is out of range"),
    ("[[expect]]\nspec = { dim = 64.0 }\n", 2, r"dim 64\.0 is not a whole number"),
    ("[[expect]]\nspec = { mlp_ratio = true }\n", 2, "mlp ratio True is not a number"),
    ('[[expect]]\nspec = { fused = "yes" }\n', 2, "fused is on or off"),
    ("[[expect]]\nspec = { activation = [1] }\n", 2, r"activation can be gelu, .*, not \[1\]"),
    (f'{LAYER}reconciled = "yes"\n', 3, "reconciled is true, false or a list.*not 'yes'"),
    (f"{LAYER}reconciled = 1\n", 3, "reconciled is true, false or a list.*not 1"),
    (f"{LAYER}params = 3\n", 3, "params is a table of names and values, not 3"),
    (f"{LAYER}macs = [1]\n", 3, "macs is a table"),
    (f"{LAYER}name = 3\n", 3, "name is"),
    (f"{LAYER}name = ['a']\n", 3, "name is"),
    # Keys.
    (f"title = 'x'\n{LAYER}", 1, "no key 'title'.*known are expect"),
    (f"# one\n{LAYER}{LAYER}[extra]\n", 6, "no key 'extra'"),
    (f"{LAYER}max_mac = 1\n", 3, "no key 'max_mac'.*did you mean max_macs"),
    (f"{LAYER}\n[expect.parms]\nall = 1\n", 4, "no key 'parms'.*did you mean params"),
    ("[[expect]]\nspec = { dims = 1 }\n", 2, "no option of mae.*'dims'.*did you mean dim"),
    (
        f"{LAYER}max_macs = 1\n[[expect]]\nspec = {{ tokens = 5, depth = 2 }}\n",
        5,
        "depth is an option of mae",
    ),
    ('[[expect]]\n[expect.spec]\nmodel = "layr"\n', 2, "no model 'layr'.*did you mean layer"),
    ('[[expect]]\nspec = { mixer = "lamda" }\n', 2, "no mixer 'lamda'.*did you mean lambda"),
    ("[[expect]]\nspec = { dim = 60, heads = 7 }\n", 2, "dim 60 is not divisible by 7 heads"),
    # Layers.
    (f"{LAYER}[expect.params]\nall = 2850\nnorm3 = 1\n", 5, "'norm3'.*did you mean norm"),
    (f"{LAYER}[expect.macs]\n'mixer.qvk' = 1\n", 4, "'mixer.qvk'.*did you mean mixer.qkv"),
    (f"{LAYER}params = {{ al = 1 }}\n", 3, "no total or layer 'al'.*did you mean all"),
    (f"{LAYER}[expect.macs]\nall = 1\n", 4, "no total or layer 'all' in the macs"),
    # Counts.
    (f"{LAYER}max_params = true\n", 3, "True is not a count"),
    (f"{LAYER}max_params = 1.0\n", 3, r"1\.0 is not a count"),
    (f"{LAYER}[expect.params]\nall = [1]\n", 4, r"\[1\] is not a count"),
    (f"{LAYER}[expect.params]\nall = {{ a = 1 }}\n", 4, "is not a count"),
    (f"{LAYER}[expect.params]\nall = 2026-01-01\n", 4, "is not a count"),
    (f"{LAYER}[expect.params]\nall = \"__import__('os')\"\n", 4, "is not a derivation"),
    (f"{LAYER}[expect.params]\nnorm1 = 30\nall = '1/2'\n", 5, "'1/2' is not a derivation"),
    (f"{LAYER}[expect.params]\nall = 0x{'f' * 5000}\n", 4, "whole number"),
    # An expectation that expects nothing would hold for ever.
    (f"{LAYER}name = 'nothing'\n", 1, "expects nothing"),
    (f"{LAYER}reconciled = false\n[expect.params]\n", 1, "expects nothing"),
    # Keys in quotes, with dots, and text that looks like a key.
    (f"{LAYER}[expect.params]\n'a # b' = 1\n", 4, "no total or layer 'a # b'"),
    (f'{LAYER}[expect.params]\n"\\u0061.\\"b" = 1\n', 4, "no total or layer 'a.\"b'"),
    (f"{LAYER}params.norm3 = 1\n", 3, "'norm3'"),
    (f"{LAYER}name = 'a, norm3 = 1'\n[expect.params]\n  norm3= 1\n", 5, "'norm3'"),
    (f"{LAYER}macs = {{ head = 1 }} # a, params = 1\nparams = 3\n", 4, "params is a table"),
    # U+2028 ends a line of text, but none of TOML.
    (f"{LAYER}name = 'a\u2028b'\nmax_mac = 1\n", 4, "no key 'max_mac'"),
]


@pytest.mark.parametrize(("text", "line", "sentence"), REFUSED, ids=range(len(REFUSED)))
def test_a_file_that_is_none(
    capsys: Capture, write: Write, text: str, line: int | None, sentence: str
) -> None:
    file = write(text)
    said = refused(capsys, file)
    assert said.startswith(f"vitprof: {file}")
    assert re.search(sentence, said), said
    if line is not None:
        assert re.findall(r"line (\d+)", said) == [str(line)], said


def test_a_byte_order_mark_is_read_over(capsys: Capture, write: Write) -> None:
    file = write(f"\ufeff{LAYER}max_macs = 1\nmax_mac = 1\n")
    assert re.search("line 4: there is no key 'max_mac'", refused(capsys, file))


def test_each_line_is_looked_at_once(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time to read a file grows with its lines, not with its lines times its keys."""
    looked: list[str] = []
    keys = lines._keys

    def counted(line: str) -> Iterator[str]:
        looked.append(line)
        return keys(line)

    monkeypatch.setattr(lines, "_keys", counted)
    layers = "".join(f"'blocks.{n}.norm1' = 256\n" for n in range(50))
    text = f"[[expect]]\nspec = {{ depth = 50 }}\n[expect.params]\n{layers}"
    (case,) = read_cases(write(text))
    assert [one.line for one in case.expectations] == [*range(4, 54)]
    assert looked == text.split("\n")


def test_files_that_cannot_be_read(capsys: Capture, tmp_path: Path) -> None:
    there_is_none = tmp_path / "none.toml"
    said = refused(capsys, there_is_none)
    assert f"cannot read {there_is_none}: no such file" in said
    assert f"cannot read {tmp_path}: is a directory" in refused(capsys, tmp_path)
    latin = tmp_path / "latin.toml"
    latin.write_bytes('[[expect]]\nname = "é"\n'.encode("latin-1"))
    assert f"{latin} is not TOML" in refused(capsys, latin)
