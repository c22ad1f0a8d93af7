"""Mixers of other packages: installed, or named by module and class."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from vitprof.cli import COMMANDS, run
from vitprof.cli.plugins import load_mixers
from vitprof.errors import SpecError
from vitprof.formulas.mixers import MIXERS, find_mixer
from vitprof.formulas.plugins import load_mixer
from vitprof.request.specs import specify
from vitprof.request.workload import Workload
from vitprof.running.step import Step

HOME = Path(__file__).parents[2]
EXAMPLE = HOME / "examples" / "external_attention"
PLACE = "external_attention.formula:ExternalAttention"
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the example package alone, without a network."""
    target = tmp_path_factory.mktemp("installed")
    source = tmp_path_factory.mktemp("source") / "package"
    subprocess.run(["cp", "-r", EXAMPLE, source], check=True)  # a build leaves files behind
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    alone = ["--no-index", "--no-deps", "--no-build-isolation", "--target", str(target)]
    subprocess.run([*pip, *alone, str(source)], check=True)
    return target


def vitprof(words: str, *, path: Path, cwd: Path = HOME) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vitprof", *words.split()],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(HOME), str(path)))},
        check=False,
    )


def document(words: str, *, path: Path, cwd: Path = HOME) -> dict[str, Any]:
    done = vitprof(f"{words} --format json", path=path, cwd=cwd)
    assert (done.returncode, done.stderr) == (0, "")
    made: dict[str, Any] = json.loads(done.stdout)
    return made


def test_an_installed_mixer_has_all_that_ours_have(installed: Path, tmp_path: Path) -> None:
    """Width 24, 7 tokens, 5 units of memory: 24*5 weights of keys, and as many of values."""
    sizes = "--model layer --tokens 7 --dim 24 --heads 3 --mixer external --memory-units 5"
    params = document(f"params --counters analytic {sizes}", path=installed, cwd=tmp_path)
    rows = {row["path"]: row["count"] for row in params["rows"]}
    assert (rows["mixer.keys"], rows["mixer.values"]) == (24 * 5, 5 * 24)
    macs = document(f"macs --batch 3 {sizes}", path=installed, cwd=tmp_path)
    rows = {row["path"]: row["count"] for row in macs["rows"]}
    assert (rows["mixer.keys"], rows["mixer.values"]) == (3 * 7 * 24 * 5, 3 * 7 * 5 * 24)
    assert macs["unavailable"] == {}
    assert [d["unexplained"] for d in macs["differences"].values()] == [0, 0, 0]
    memory = document(f"memory --batch 3 --no-trace {sizes}", path=installed, cwd=tmp_path)
    kept = {row["path"]: row["bytes"] for row in memory["rows"]}
    # The softmax's output; the quotient is the second linear layer's input, with the sums.
    assert kept["mixer.softmax"] == 3 * 7 * 5 * 4
    assert kept["mixer.normalisation"] == 3 * 7 * 4


def test_an_installed_mixer_is_listed_and_shown(installed: Path) -> None:
    listed = document("mixers", path=installed)["entries"]
    assert [entry["name"] for entry in listed] == [*MIXERS, "external"]
    shown = document("mixers external --counters analytic", path=installed)
    assert (shown["entry"]["params"], shown["entry"]["macs"]) == ("2 × D × S", "2 × B × D × N × S")
    assert "A = softmax(X M_k^T)" in shown["equations"]
    assert shown["explained"] == {
        "memory_units": "units of the learned memory (a whole number from 1 to 1000000)"
    }


def test_its_options_are_in_the_help_once_it_is_named(installed: Path) -> None:
    named = vitprof("macs --mixer external --help", path=installed).stdout
    assert "--memory-units" in named
    assert "--memory-units" not in vitprof("macs --help", path=installed).stdout


def test_its_options_are_completed_once_it_is_named(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_VITPROF_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "vitprof params --mixer external --mem")
    monkeypatch.setenv("COMP_CWORD", "4")
    done = vitprof("", path=installed)
    assert (done.stdout, done.stderr) == ("--memory-units\n", "")


def test_a_mixer_named_by_its_place() -> None:
    """Run from the directory of the package, without an installation."""
    words = f"params --model layer --tokens 7 --mixer {PLACE} --counters analytic"
    made = document(f"{words} --memory-units 5", path=HOME, cwd=EXAMPLE)
    assert (made["spec"]["mixer"], made["spec"]["memory_units"]) == (PLACE, 5)


# Within this process, where what is loaded has to be forgotten again.


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = dict(MIXERS)
    monkeypatch.syspath_prepend(str(EXAMPLE))
    yield
    MIXERS.clear()
    MIXERS.update(before)


@pytest.mark.usefixtures("beside")
@pytest.mark.parametrize("option", ["--mixer {}", "--mixer={}", "--mixers attn,{}", "--mixers={}"])
def test_it_is_met_wherever_it_is_named(option: str) -> None:
    """The mixer is loaded before a command's options are declared, once per process."""
    assert "external" not in MIXERS
    load_mixers(["bench", *option.format(PLACE).split(), "--memory-units", "5"], COMMANDS)
    assert [*MIXERS][-1] == "external"


@pytest.mark.usefixtures("beside")
def test_a_model_with_it_learns() -> None:
    torch.manual_seed(0)
    spec = specify("layer", mixer=PLACE, options={"tokens": 7, "dim": 24, "heads": 3})
    step = Step(spec, Workload(device="cpu", batch=2), device="cpu")
    before = step.forward().item()
    for _ in range(5):
        step()
    assert step.forward().item() < before


@pytest.mark.usefixtures("beside")
def test_it_is_known_by_its_name_from_then_on() -> None:
    found = find_mixer(PLACE)
    assert find_mixer("external") is find_mixer(PLACE) is found


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("nowhere:Mixer", "'nowhere:Mixer' cannot be imported, ModuleNotFoundError: No module"),
        ("json:Nothing", "'json:Nothing' cannot be imported, AttributeError: .*has no attribute"),
        (":X", "':X' cannot be imported, ValueError: Empty module name; give package.module:Name"),
        ("json:JSONDecoder", "'json:JSONDecoder' is not a mixer; give a class that is derived"),
        ("json:dumps", "'json:dumps' is not a mixer"),
        (
            "vitprof.formulas.mixer:Mixer",
            "'vitprof.formulas.mixer:Mixer' has no class attribute name",
        ),
    ],
)
def test_what_is_no_mixer(reference: str, sentence: str, capsys: Capture) -> None:
    with pytest.raises(SpecError, match=sentence):
        load_mixer(reference)
    assert run(["params", "--mixer", reference]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("vitprof: ")


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


def test_a_module_that_breaks(tmp_path: Path) -> None:
    write(tmp_path, {"broken_mixer.py": "1 / 0\n"})
    done = vitprof("params --mixer broken_mixer:X", path=tmp_path, cwd=tmp_path)
    assert done.returncode == 2
    assert "'broken_mixer:X' cannot be imported, ZeroDivisionError: division by zero" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_name_that_is_taken(tmp_path: Path) -> None:
    text = (EXAMPLE / "external_attention" / "formula.py").read_text(encoding="utf-8")
    write(tmp_path, {"taken_mixer.py": text.replace('name = "external"', 'name = "attn"')})
    done = vitprof("params --mixer taken_mixer:ExternalAttention", path=tmp_path, cwd=tmp_path)
    assert done.returncode == 2
    assert "is called attn, as another mixer is" in done.stderr
