"""Completion of words: what a shell's script is told, and that nothing else is said."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from shutil import which

import pytest
from commands import Capture
from hypothesis import given, settings
from hypothesis import strategies as st

from vitprof.cli import COMMANDS, run
from vitprof.cuda.gpus import gpus
from vitprof.formats import ANY, Format
from vitprof.formulas.mixers import MIXERS
from vitprof.formulas.models import MODELS
from vitprof.published import PRESETS
from vitprof.report.quantities import QUANTITIES

POOL = MODELS["classifier"].declared()["pool"]
_DECODER = ("decoder-heads", "decoder-mlp-hidden", "decoder-output")
HEAVY = {"torch", "numpy", "pandas", "sympy", "rich.table", "matplotlib", "timm"}


def completed(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, *words: str, code: int = 0
) -> list[str]:
    """Return what completes the last word in bash, without its words of other lines."""
    monkeypatch.setenv("_VITPROF_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "\n".join(("vitprof", *words)))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    assert run([]) == code
    out, err = capsys.readouterr()
    assert err == ""
    return out.split()


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("|", [*COMMANDS]),
        ("pa|", ["params"]),
        ("params |", [*PRESETS]),
        ("params deit-s|", ["deit-s", "deit-s-distilled"]),
        ("macs --preset vit_small_patch16_2|", ["vit_small_patch16_224"]),
        ("compare --presets deit-s,deit-b|", ["deit-s,deit-b", "deit-s,deit-b-distilled"]),
        ("params --model |", [*MODELS]),
        ("macs --mixer |", [*MIXERS]),
        ("macs --mixer = la|", ["lambda"]),
        ("macs --mixer =|", [*MIXERS]),
        ("compare --mixers attn,l|", ["attn,lambda", "attn,linear", "attn,linformer"]),
        ("sweep --mixers attn,attn|", []),
        (
            "params --counters fvcore,to|",
            ["fvcore,torchinfo", "fvcore,torch", "fvcore,torchprofile"],
        ),
        ("memory --gpu rtx309|", ["rtx3090", "rtx3090ti"]),
        ("memory --dtype |", ["fp32", "bf16", "fp16", "bf16-autocast", "fp16-autocast"]),
        ("memory --dtype fp32,bf16-|", ["fp32,bf16-autocast"]),
        ("memory --optimizer ad|", ["adam", "adamw"]),
        ("bench --ddp v|", ["view"]),
        ("params --pool |", POOL.bounds().replace(" or ", ", ").split(", ")),
        ("params --positions local|", ["local", "local-2d"]),
        ("sweep --y |", [*QUANTITIES]),
        ("match --by pa|", ["params"]),
        ("match --vary de|", ["depth", "decoder-dim", "decoder-depth", *_DECODER]),
        ("compare --along key|", ["key-depth"]),
        ("batch-size --strategy |", ["bisect", "predict"]),
        ("macs --device |", ["meta", "cpu"]),
        ("params --format |", [*ANY]),
        ("check --format ju|", [Format.JUNIT]),
        ("mixers lam|", ["lambda"]),
        ("models |", [*MODELS]),
        ("presets resmlp-|", [name for name in PRESETS if name.startswith("resmlp-")]),
        ("gpus |", [name for gpu in gpus() for name in gpu.names]),
        ("--show-completion |", ["bash", "zsh", "fish", "powershell"]),
        ("check some|", []),  # a file, which the shell completes
        ("params --output |", []),
        ("params --dim |", []),
        ("params --brief --bri|", []),  # given already
        ("params --dim 3 --dim 4 --bri|", ["--brief"]),
        ("params --help-|", ["--help-all"]),
        ("params --mixer lambda --k|", ["--key-depth"]),
        ("params --mixer attn --k|", ["--kv-heads", "--key-bias"]),
        (
            "compare --mixers attn,conv --k|",
            ["--kernel", "--keep-gradients", "--kv-heads", "--key-bias"],
        ),
        ("params --k|", ["--kv-heads", "--key-bias", "--key-depth", "--kernel-size"]),
        (
            "params --mixer none-such --k|",
            ["--kv-heads", "--key-bias", "--key-depth", "--kernel-size"],
        ),
        ("params --no-fu|", ["--no-fused"]),
        ("params --model layer --de|", []),
        ("params --model mae --dep|", ["--depth"]),
    ],
)
def test_words(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, line: str, names: list[str]
) -> None:
    words = line.removesuffix("|").split(" ")
    found = completed(capsys, monkeypatch, *words)
    if line.startswith("compare --mixers attn,conv"):
        assert {*names, "--kernel-size"} == {*found}
    else:
        assert found == [str(name) for name in names]


@pytest.mark.parametrize(
    "words", [("nonesuch", "--"), ("params", '"open'), ("--bogus", "pa"), ("params", "--", "-")]
)
def test_what_cannot_be_completed_is_silent(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("_VITPROF_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "\n".join(("vitprof", *words)))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    assert run([]) in (0, 1)
    assert capsys.readouterr().err == ""


WORDS = st.sampled_from(
    [
        *COMMANDS,
        *("--mixer", "--mixers", "--preset", "--gpu", "--format", "--dim", "--fused", "--y"),
        *("=", "--", "-", "", "la", "attn,", "deit-s", "7", "'", '"', "timm", ":", "--dim=3", "\\"),
        *("file.py:X", "--mixer=none.such:X", "$HOME", "é", "--help", "--version", "-h"),
    ]
)


@settings(max_examples=30, deadline=None)
@given(words=st.lists(WORDS, max_size=6), place=st.integers(-1, 8), shell=st.integers(0, 2))
def test_any_words_are_silent(words: list[str], place: int, shell: int) -> None:
    """Combine words, places and shells: nothing on stderr, no exception, no help text."""
    with pytest.MonkeyPatch.context() as patch, redirect_stderr(StringIO()) as err:
        patch.setenv("_VITPROF_COMPLETE", f"complete_{('bash', 'zsh', 'fish')[shell]}")
        patch.setenv("_TYPER_COMPLETE_ARGS", " ".join(["vitprof", *words]))
        patch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
        if shell == 0:
            patch.setenv("COMP_WORDS", "\n".join(["vitprof", *words]))
            patch.setenv("COMP_CWORD", str(place))
        with redirect_stdout(StringIO()) as out:
            assert run([]) in (0, 1)
    assert err.getvalue() == ""
    assert "Usage" not in out.getvalue()


@pytest.mark.parametrize("mixer", ["--mixer own:X", "--mixer=own:X", "--mixers attn,own:X"])
def test_no_code_is_run(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mixer: str
) -> None:
    (tmp_path / "own.py").write_text("import sys; sys.own_code_was_run = True")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("_VITPROF_COMPLETE", "complete_zsh")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", f"vitprof compare {mixer} --di")
    assert run([]) == 0
    out, err = capsys.readouterr()
    assert ("--dim" in out, err) == (True, "")
    assert not hasattr(sys, "own_code_was_run")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells(capsys: Capture, monkeypatch: pytest.MonkeyPatch, shell: str) -> None:
    monkeypatch.setenv("_VITPROF_COMPLETE", f"complete_{shell}")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "vitprof params --mixer lambda --key")
    assert run([]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    shown = {"fish": "--key-depth\n", "zsh": "_arguments '*: :((\"--key-depth\"))'\n"}
    assert out == shown[shell]


PROGRAM = """
import sys
from vitprof.cli import run
try:
    sys.exit(run(sys.argv[1:]))
finally:
    print(*sys.modules, file=sys.stderr)
"""


@pytest.mark.skipif(which("bash") is None, reason="no bash here")
def test_the_script_in_bash(tmp_path: Path) -> None:
    """Call the function of the script as bash does, and import nothing heavy."""
    command = tmp_path / "vitprof"
    command.write_text(f"#!{sys.executable}\n{PROGRAM}")
    command.chmod(0o755)
    script = (
        'eval "$(vitprof --show-completion bash)"\n'
        "COMP_WORDS=(vitprof params --mixer = li); COMP_CWORD=4; _vitprof_completion vitprof\n"
        'echo "${COMPREPLY[@]}"'
    )
    path = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    ended = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=True, env=path
    )
    assert ended.stdout == "linear linformer\n"
    loaded = set(ended.stderr.split())
    assert "vitprof.cli.params" in loaded
    assert loaded & {*HEAVY, "rich"} == set()
