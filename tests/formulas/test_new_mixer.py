"""`vitprof mixers --new`: a package that works as it is."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest
from commands import Capture, refused
from packages import NAME, PLACE, forgetting, write

import vitprof
from vitprof.api.new_mixer import new_mixer
from vitprof.cli import run
from vitprof.errors import SpecError
from vitprof.formulas.mixers import MIXERS, find_mixer
from vitprof.formulas.plugins import name_of


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    with forgetting("swish", "my_mixer"):
        yield


def test_what_is_written_passes_its_own_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    assert run(["mixers", "--new", "my-mixer", "--output", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    folder = tmp_path / "my-mixer"
    files = [str(path) for path in folder.rglob("*") if path.is_file()]
    assert sorted(out.splitlines()) == sorted(files)
    assert len(files) == 5
    first, *_, last = err.removeprefix("vitprof: written; next: ").rstrip().split(", ")
    assert shlex.split(first) == ["pip", "install", "-e", f"{folder}[test]"]
    assert shlex.split(last) == ["and", "pytest", str(folder)]
    for place in (folder, folder / "tests"):
        monkeypatch.syspath_prepend(str(place))
    tests = vars(import_module("test_my_mixer"))
    monkeypatch.delitem(sys.modules, "test_my_mixer")
    written: list[Callable[[], None]] = [
        test for name, test in tests.items() if name.startswith("test_")
    ]
    assert len(written) == 3
    for test in written:
        test()


def test_it_is_installed_under_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """The reading of the entry point that pip makes of pyproject.toml."""
    write(tmp_path, monkeypatch)
    assert f'{NAME} = "{PLACE}"' in (tmp_path / "pyproject.toml").read_text(encoding="utf-8")
    assert run(["mixers", NAME, "--counters=analytic"]) == 0
    assert "--swish-rank" in capsys.readouterr().out
    assert name_of(find_mixer(NAME)) == NAME
    macs = vitprof.macs("layer", mixer=NAME, tokens=7, dim=6, heads=1, mlp="none")
    assert macs.total == 2 * 7 * 6 * 32
    assert all(difference.explained for difference in macs.differences.values())


@pytest.mark.parametrize(
    ("name", "class_name"),
    [("my-mixer", "MyMixer"), ("gate", "GateMixer"), ("mixer", "MixerMixer"), ("a2_b", "A2BMixer")],
)
def test_the_class_is_called_a_mixer_once(name: str, class_name: str) -> None:
    texts = new_mixer(name)
    assert f"class {class_name}(Mixer):" in texts[f"{name.replace('-', '_')}/formula.py"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("attn", "there is a mixer attn already; give another name"),
        ("token_mlp", "there is a mixer token_mlp already"),
        ("json", "there is a package json already"),
        ("3d", "'3d' is no name for a mixer and its package; give lower-case letters"),
        ("class", "'class' is no name for"),
        ("../up", "'../up' is no name for"),
        ("a b", "'a b' is no name for"),
        ("", "'' is no name for"),
        ("Swish", "'Swish' is no name for"),
        ("x-", "'x-' is no name for"),
    ],
)
def test_names_that_are_refused(name: str, sentence: str, tmp_path: Path, capsys: Capture) -> None:
    assert sentence in refused(capsys, "mixers", "--new", name, "--output", str(tmp_path))
    assert not [*tmp_path.iterdir()]


def test_nothing_is_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-mixer").mkdir()
    said = refused(capsys, "mixers", "--new", "my-mixer")
    assert said == (
        "vitprof: my-mixer exists and is not overwritten; give another name, or --output DIR\n"
    )
    assert not [*(tmp_path / "my-mixer").iterdir()]
    assert "no directory nowhere" in refused(capsys, "mixers", "--new=m", "--output=nowhere")
    for others in (["attn"], ["--format=json"], ["--counters=analytic"]):
        said = refused(capsys, "mixers", "--new=my-mixer", *others)
        assert "--new writes a package; leave out all else but --output DIR" in said


# References


def test_a_reference_travels_with_the_spec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Read again after the mixer is forgotten, as by another process."""
    write(tmp_path, monkeypatch, registered="")
    words = ["--model=layer", "--tokens=7", "--mixer", PLACE]
    spec = vitprof.specify("layer", mixer=PLACE, options={"tokens": 7})
    assert spec.conditions()["mixer"] == spec.words()["mixer"] == PLACE
    assert spec.variant == NAME
    file, times = str(tmp_path / "check.toml"), str(tmp_path / "times.json")
    assert run(["check", file, "--write", *words]) == 0
    with Path(file).open("a", encoding="utf-8") as more:
        more.write('[[expect]]\nspec = { model = "layer", tokens = 7 }\nmax_params = 1_000_000\n')
    quickly = ["--spread=9", "--budget=1"]
    swept = ["sweep", *words[1:], "--dim=64,72", "--measure", "--output", times, *quickly]
    assert run(swept) == 0
    capsys.readouterr()
    MIXERS.pop(NAME)
    said = refused(capsys, "check", file)
    assert f"the mixer {PLACE} would run code of swish.formula" in said
    assert said.endswith("add --trust if you trust that code\n")
    assert NAME not in MIXERS
    assert "--trust" in refused(capsys, "compare", "--specs", file)
    assert run(["check", file, "--trust"]) == 0
    MIXERS.pop(NAME)
    assert run(["compare", "--specs", file, "--trust"]) == 0
    MIXERS.pop(NAME)
    assert run([*swept, "--resume"]) == 0


def test_trials_find_a_mixer_by_its_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    write(tmp_path, monkeypatch, registered="")
    words = ["--model=layer", "--tokens=7", "--mixer", PLACE, "--max-batch=1"]
    assert run(["batch-size", "--device=cpu", "--limit=1GiB", *words]) == 0
    assert f"mixer {PLACE}" in capsys.readouterr().out


def test_a_class_is_a_mixer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, monkeypatch, registered="")
    mixer = import_module("swish.formula").SwishMixer
    by_class = vitprof.macs("layer", mixer=mixer, tokens=7, counters=["analytic"])
    by_name = vitprof.macs("layer", mixer=PLACE, tokens=7, counters=["analytic"])
    assert (by_class.total, by_class.spec) == (by_name.total, by_name.spec)
    assert by_class.spec["mixer"] == PLACE
    compared = vitprof.compare("layer", mixers=["attn", mixer], tokens=7)
    assert [side.name for side in compared.sides] == ["attn", NAME]


def test_a_class_that_is_defined_anew_takes_the_place_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, monkeypatch, registered="")
    first = find_mixer(PLACE)
    for name in [name for name in sys.modules if name.partition(".")[0] == "swish"]:
        del sys.modules[name]
    again = import_module("swish.formula").SwishMixer
    assert again is not first
    assert find_mixer(again) is again is find_mixer(NAME)


def test_a_class_that_nothing_can_import_has_no_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, monkeypatch, registered="")
    mixer = import_module("swish.formula").SwishMixer
    mixer.__qualname__ = "f.<locals>.SwishMixer"
    spec = vitprof.specify("layer", mixer=mixer, options={"tokens": 7})
    assert vitprof.macs(spec, counters=["analytic"]).total
    with pytest.raises(SpecError, match="cannot be imported by another process or from a file"):
        spec.words()


@pytest.mark.parametrize("mixer", [3, MIXERS["attn"](), int])
def test_what_is_no_mixer(mixer: object) -> None:
    with pytest.raises(SpecError, match="is not a mixer; give a class that is derived from"):
        vitprof.macs("layer", mixer=mixer, tokens=7)  # type: ignore[arg-type]
