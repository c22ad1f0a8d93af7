"""Mixers of other packages that are broken: a sentence with the package and the author's line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import Capture, printed, refused
from packages import NAME, PLACE, forgetting, write

from vitprof.cli import run
from vitprof.cli.plugins import check_options
from vitprof.errors import SpecError
from vitprof.formulas.mixers import MIXERS, find_mixer

FORMULA, MODULE = "swish/formula.py", "swish/module.py"
HEAD = "from __future__ import annotations\n"
RETURN = 'return run.linear("expand", run.multiply("gated", h, c), sizes.dim)'
READ = "h_BNR = self.reduce(x_BND)"
MADE = "y_BND: Tensor = self.expand(h_BNR * c_B1R)\n        return y_BND"
RANK = "swish_rank: int = whole(32, "
LINE = r"\S*/{}:\d+"  # of a file


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    with forgetting("swish"):
        yield


def place(file: str, words: str) -> str:
    """Return a pattern for a sentence that leads to a line of a file."""
    return words + LINE.format(re.escape(file))


# What is wrong, the text that it replaces, and what the sentence says.
LOADED = {
    "exits": (FORMULA, HEAD, HEAD + "raise SystemExit(7)\n", place(FORMULA, "SystemExit: 7; .*")),
    "raises": (FORMULA, HEAD, HEAD + "1 / 0\n", place(FORMULA, "ZeroDivisionError: .*mend it at ")),
    "cannot be read": (FORMULA, HEAD, HEAD + "def\n", place(FORMULA, "SyntaxError: .*")),
    "lacks a library": (
        *(FORMULA, HEAD, HEAD + "import no_such\n"),
        place(FORMULA, "ModuleNotFoundError: No module named 'no_such'; mend it at "),
    ),
    "no class": (FORMULA, "class SwishMixer", "class Other", "has no attribute 'SwishMixer'; give"),
    "no mixer": (FORMULA, "class SwishMixer(Mixer)", "class SwishMixer", "is not a mixer; give a"),
    "no dataclass": (FORMULA, "@dataclass(frozen=True, kw_only=True)\n", "", "no frozen dataclass"),
    "thawed": (FORMULA, "frozen=True, ", "", place(FORMULA, "inherit non-frozen .* mend it at ")),
    "with slots": (FORMULA, "frozen=True", "frozen=True, slots=True", "is no frozen dataclass"),
    "name": (FORMULA, '    name = "swish"', "    name = 3", "has name = 3; give a text in quotes"),
    "words": (FORMULA, 'name = "swish"', 'name = "swi sh"', "name 'swi sh'; give letters and"),
    "other name": (FORMULA, 'name = "swish"', 'name = "swash"', "is called swash; give the entry"),
    "taken": (FORMULA, 'name = "swish"', 'name = "attn"', "is called attn; give the entry point"),
    "summary": (
        FORMULA,
        "    summary =",
        "    summery =",
        "has no class attribute summary; add it",
    ),
    "source": (FORMULA, "    source =", "    sauce =", "has no class attribute source; add it"),
    "module": (FORMULA, "    module =", "    modul =", "has no class attribute module; add it"),
    "half": (FORMULA, '"swish.module:', '"swish.module', "has module = 'swish.moduleSwishMixer'"),
    "aliases": (FORMULA, "    source", "    aliases = 's'\n    source", "has aliases = 's'; give"),
    "forward": (FORMULA, "def forward", "def forwards", "has no forward; write it, as"),
    "no option": (FORMULA, "= whole(32, ", "= int(32) #", "field swish_rank that is no option"),
    "default": (FORMULA, "whole(32, ", "whole(0, ", "default that is refused: swish rank 0 is out"),
    "part": (FORMULA, RANK, "values: int = whole(32, ", "option values, which is a part of every"),
    "flag": (FORMULA, RANK, "fused: int = whole(32, ", "option fused, of which attn has another"),
    "size": (FORMULA, RANK, "dim: int = whole(32, ", "has an option dim, and so has vitprof"),
    "tokens": (FORMULA, RANK, "tokens: int = whole(32, ", "has an option tokens, and so has"),
    "batch": (FORMULA, RANK, "batch: int = whole(32, ", "has an option batch, and so has vitprof"),
    "output": (FORMULA, RANK, "output: int = whole(32, ", "has an option output, and so has"),
}


@pytest.mark.parametrize("fault", LOADED)
def test_what_cannot_be_loaded(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """By its name it is refused in a sentence, and all else goes on without a word."""
    file, old, new, sentence = LOADED[fault]
    write(tmp_path, monkeypatch, {file: (old, new)})
    said = refused(capsys, "params", "--mixer", NAME, "--counters=analytic")
    assert said.startswith(f"vitprof: the mixer swish of package swish-pkg, '{PLACE}', ")
    assert re.search(sentence, said), said
    printed(capsys, "params", "--mixer=attn", "--counters=analytic")


@pytest.mark.parametrize("fault", ["exits", "cannot be read", "thawed", "name", "taken"])
def test_one_that_is_broken_leaves_the_others_in_the_list(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    file, old, new, sentence = LOADED[fault]
    write(tmp_path, monkeypatch, {file: (old, new)})
    own = [*MIXERS]
    assert run(["mixers", "--format=json"]) == 0
    out, err = capsys.readouterr()
    shown = json.loads(out)
    assert [entry["name"] for entry in shown["entries"]] == own
    assert err.startswith("vitprof: left out: the mixer swish of package swish-pkg, ")
    assert re.search(sentence, err)
    assert err == f"vitprof: left out: {shown['left_out'][0]}\n"


@pytest.mark.parametrize(
    ("registered", "sentence"),
    [
        ("swish = swish.formular:SwishMixer", "No module named 'swish.formular'; give package"),
        ("swish = swish.formula:Swish", "has no attribute 'Swish'; give package.module:Name"),
        ("swish = swish.formula", "cannot be imported, AttributeError"),
        ("attn = swish.formula:SwishMixer", "'swish.formula:SwishMixer', has the name of another"),
    ],
)
def test_wrong_entry_points_are_left_out(
    registered: str,
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    write(tmp_path, monkeypatch, registered=registered)
    assert run(["mixers", "--format=csv"]) == 0
    out, err = capsys.readouterr()
    assert out.count("\n") > len(MIXERS)
    assert (err.count("\n"), sentence in err) == (1, True)
    printed(capsys, "macs", "--mixer=attn", "--counters=analytic")


def test_two_packages_with_a_mixer_of_one_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    for name in ("one", "two"):
        about = tmp_path / name / f"{name}-1.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(f"Name: {name}\nVersion: 1\n")
        (about / "entry_points.txt").write_text(f"[vitprof.mixers]\n{NAME} = {PLACE}\n")
        monkeypatch.syspath_prepend(str(tmp_path / name))
    said = refused(capsys, "params", "--mixer", NAME)
    assert "the packages two and one both register a mixer swish; uninstall one of them" in said


def test_an_interrupt_while_it_is_imported_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    write(tmp_path, monkeypatch, {FORMULA: (HEAD, HEAD + "raise KeyboardInterrupt\n")})
    assert refused(capsys, "params", "--mixer", NAME, code=130) == "vitprof: interrupted\n"


# What is loaded, and fails when it runs.
RUN = {
    "formula raises": (
        *(FORMULA, RETURN, "return x / 0"),
        place(FORMULA, r"'swish.formula:SwishMixer' raises TypeError: unsupported .*; mend it at "),
    ),
    "formula exits": (
        *(FORMULA, RETURN, "raise SystemExit(7)"),
        place(FORMULA, "raises SystemExit: 7; mend it at "),
    ),
    "formula returns nothing": (
        *(FORMULA, RETURN, "pass"),
        place(FORMULA, r"forward of mixer swish returns nothing; .*\(B 1, N 7, D 64\) \("),
    ),
    "formula returns a number": (
        *(FORMULA, RETURN, "return 3"),
        "forward of mixer swish returns an object of type int; it has to return a tensor",
    ),
    "formula returns another shape": (
        *(FORMULA, RETURN, "return c"),
        place(FORMULA, r"forward of mixer swish makes \(B 1, 1, R 32\) of .* that it is given \("),
    ),
    "unknown op": (
        *(FORMULA, "run.mean(", "run.means("),
        place(FORMULA, "mixer swish: there is no op 'means', the nearest is mean; docs/.*"),
    ),
    "unknown activation": (
        *(FORMULA, RETURN, 'return run.activation("act", "silou", x)'),
        "mixer swish, op act: there is no activation 'silou', the nearest is silu; docs/mixers.md",
    ),
    "unknown method": (
        *(FORMULA, RETURN, "return x.reshap(3)"),
        "mixer swish: there is no method of a tensor 'reshap', the nearest is reshape; docs/mixers",
    ),
    "no module": (
        *(FORMULA, "swish.module:SwishMixer", "swish.nowhere:X"),
        "has a torch module 'swish.nowhere:X' that cannot be imported, ModuleNotFoundError: No "
        "module named 'swish.nowhere'; mend the attribute module of SwishMixer",
    ),
    "no class in the module": (
        *(FORMULA, "swish.module:SwishMixer", "swish.module:X"),
        "has a torch module 'swish.module:X' that cannot be imported, AttributeError: module ",
    ),
    "module exits": (
        *(MODULE, HEAD, HEAD + "raise SystemExit(7)\n"),
        place(MODULE, "that cannot be imported, SystemExit: 7; mend "),
    ),
    "module is a function": (
        *(MODULE, "class SwishMixer(nn.Module)", "class SwishMixer(dict)"),
        "torch module 'swish.module:SwishMixer' that is no torch.nn.Module; give the class of one",
    ),
    "other arguments": (
        *(MODULE, "heads: int, ", ""),
        "that cannot be called with dim, heads and swish_rank, TypeError: .*let its constructor",
    ),
    "constructor raises": (
        *(MODULE, "super().__init__()", "super().__init__()\n        raise RuntimeError('no')"),
        place(MODULE, "SwishMixer' raises RuntimeError: no; mend it at "),
    ),
    "constructor lacks a library": (
        *(MODULE, "super().__init__()", "super().__init__()\n        import no_such"),
        place(MODULE, "raises ModuleNotFoundError: No module named 'no_such'; mend it at "),
    ),
    "forward raises": (
        *(MODULE, READ, "1 / 0"),
        place(MODULE, "SwishMixer' raises ZeroDivisionError: division by zero; mend it at "),
    ),
    "forward returns nothing": (
        *(MODULE, MADE, "pass"),
        place(MODULE, r"torch module 'swish.module:SwishMixer' that returns nothing; .* \("),
    ),
    "forward returns another shape": (
        *(MODULE, MADE, "return x_BND[:, :1]"),
        place(MODULE, r"that returns a tensor \(1, 1, 64\); .*, \(1, 7, 64\) \("),
    ),
}
TIMED = {
    "constructor raises": place(MODULE, r"on cpu: no \(the mixer 'swish.formula:SwishMixer', "),
    "forward raises": place(MODULE, "division by zero.*"),
    **{fault: RUN[fault][3] for fault in ("no module", "forward returns nothing")},
}


@pytest.mark.parametrize("fault", RUN)
def test_what_fails_when_it_runs(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """The tools' columns are not n/a: the request is in error."""
    file, old, new, sentence = RUN[fault]
    write(tmp_path, monkeypatch, {file: (old, new)}, registered="")
    words = ["--tokens=7", "--mixer", PLACE]
    said = refused(capsys, "macs", *words)
    assert re.search(sentence, said), said
    if file == MODULE or "module" in fault:  # on paper it is sound
        printed(capsys, "macs", "--counters=analytic", *words)
    if fault in TIMED:
        said = refused(capsys, "bench", *words)
        assert re.search(TIMED[fault], said), said


def test_a_forward_that_fails_leaves_the_others_in_the_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    write(tmp_path, monkeypatch, {FORMULA: (RETURN, "return x / 0")})
    own = [*MIXERS]
    assert run(["mixers", "--format=json"]) == 0
    out, err = capsys.readouterr()
    assert [entry["name"] for entry in json.loads(out)["entries"]] == own
    assert re.search(place(FORMULA, "left out: the mixer swish of package swish-pkg, .* at "), err)


def test_what_it_prints_is_no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in a process, since capsys replaces the streams after they are bound."""
    write(tmp_path, monkeypatch, {FORMULA: (HEAD, HEAD + "print('hello')\n")}, registered="")
    words = ("params", "--counters=analytic", "--format=json")
    done = subprocess.run(
        [sys.executable, "-m", "vitprof", *words, "--mixer", PLACE],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "hello\n")
    assert json.loads(done.stdout)["spec"]["mixer"] == PLACE


def test_options_are_checked_whatever_is_imported_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, monkeypatch, {FORMULA: (RANK, "gpu: int = whole(32, ")}, registered="")
    with pytest.raises(SpecError, match="has an option gpu, and so has vitprof memory itself"):
        check_options(find_mixer(PLACE), ["params", "memory"])
