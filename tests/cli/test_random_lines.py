"""Random command lines, good and bad: one of four ends, one sentence, and formats that agree."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from random import Random
from typing import Any

import pytest
from commands import Capture

from vitprof.cli import Commands, run
from vitprof.formulas.mixers import MIXERS
from vitprof.formulas.models import MODELS
from vitprof.published import PRESETS
from vitprof.values.options import Choice, Flag, Options, Whole

# Words of other kinds than an option takes: markup, control characters, formulas of a
# spreadsheet, other scripts, and numbers at and over every bound.
STRANGE = (
    *("", " ", "[/]", "[red]x", "\x1b[31mx", "a\nb", "\x9b31m", "\u202e", "\udcff", "=1+1", "@x"),
    *("日本語", "٣", "²", "x" * 2000, "9" * 5000, "0", "-1", "1.5", "1/3", "1/0", "1e400", "nan"),
    *("a,b", ",", "a=b", ":", "a:b", "../x", "/no/x", "--", "-", "*", "{0}", "%s", "$(id)", "\0"),
)
USUAL = {
    **{"by": ("type", "kind", "depth"), "levels": ("1", "2"), "units": ("K", "M", "G", "auto")},
    **{
        "format": ("table", "markdown", "latex", "html", "csv", "json"),
        "output": ("a.csv", "a.md"),
    },
    **{"columns": ("layer,count", "type,formula,share", "input,output"), "batch": ("1", "3")},
    **{"dtype": ("fp32", "bf16", "fp32,bf16"), "optimizer": ("sgd", "lamb"), "ddp": ("view",)},
    **{"gpu": ("h100", "rtx3090"), "memory": ("1GiB", "24GB"), "layer": ("mixer", "mlp.fc1")},
    **{"measures": ("params", "macs"), "vary": ("mlp-hidden=1:9", "dim=4,8"), "show": ("1", "3")},
    **{"reference": ("layer", "layer,dim=8,heads=2"), "y": ("params", "macs,memory")},
    **{"tokens": ("5", "2:8:x2"), "dim": ("8", "12"), "heads": ("2", "4")},
    **{"depths": ("1,1,1,1", "1,2"), "widths": ("8,8,16,16",), "stage_heads": ("1,2,1,2",)},
    **{"stem_kernel": ("7",), "merge_kernel": ("2", "3")},
}
CHEAP = {
    **dict.fromkeys(("params", "macs", "explain"), ("--counters=analytic",)),
    "memory": ("--no-trace",),
    "time": ("--gpu=h100",),
    "sweep": ("--no-chart", "--max-points=20"),
    "match": ("--max-points=20",),
    **dict.fromkeys(("check", "models", "presets", "gpus"), ()),
}
# What runs a step or code, draws a figure, or gives what `CHEAP` gives.
DEAR = ("measure", "plot", "module", "modules", "device", "trace", "counters", "chart", "help_all")
DECLARED = {
    name: option
    for owner in (*MODELS.values(), *MIXERS.values())
    for name, option in owner.declared().items()
}
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def lines(seed: int, number: int) -> Iterator[list[str]]:
    """Yield random command lines."""
    random = Random(seed)
    options = {name: Commands().get_command(None, name).params for name in CHEAP}
    for _ in range(number):
        command = random.choice([*CHEAP])
        words = [command, *CHEAP[command]]
        strange = random.choice((0, 0, 0, 0.5))
        known: list[Any] = [
            one
            for one in options[command]
            if one.param_type_name == "option" and one.name not in (*DEAR, "max_points", "help")
        ]
        owners: list[type[Options]] = []
        if any(one.name == "model" for one in known):
            if random.random() < 0.3:
                words.append(random.choice([*PRESETS]))
            else:
                model, mixer = random.choice([*MODELS]), random.choice([*MIXERS])
                words += [f"--model={model}", f"--mixer={mixer}"]
                owners = [MODELS[model], MIXERS[mixer]]
        elif command == "check":
            words.append(random.choice(("a.toml", "*.toml", *STRANGE)))
        elif random.random() < 0.5:
            words.append(random.choice(("deit-s", "layer", "h100", *STRANGE)))
        own = {name for owner in owners for name in owner.declared()}
        known = [
            one
            for one in known
            if one.name not in ("model", "mixer", "preset")
            and (one.name in own or one.name not in DECLARED)
        ]
        for one in random.sample(known, min(len(known), random.randint(0, 3))):
            words.append(word(random, one, strange))
        yield words


def word(random: Random, one: Any, strange: float) -> str:
    """Return an option with a value; a strange one with this probability."""
    if one.is_flag:
        return str(random.choice([*one.opts, *one.secondary_opts]))
    declared = DECLARED.get(one.name)
    assert not isinstance(declared, Flag)
    if random.random() < strange:
        value = random.choice(STRANGE)
    elif one.name in USUAL:
        value = random.choice(USUAL[one.name])
    elif isinstance(declared, Choice):
        value = random.choice(declared.names)
    elif isinstance(declared, Whole):
        value = str(declared.minimum + random.choice((0, 2, 4)))
    else:
        value = random.choice(("0", "0.5", "1/3", "2"))
    return f"{one.opts[0]}={value}"


def total(capsys: Capture, words: list[str], format: str) -> int:
    """Return the total of what a command line counts, by its rows in CSV or as JSON says it."""
    assert run([*words, f"--format={format}"]) == 0
    text = capsys.readouterr().out
    if format == "csv":
        return sum(int(row["count"]) for row in csv.DictReader(StringIO(text)))
    totals = json.loads(text)["totals"]
    counted = "training_macs" if "--training" in words else "macs"
    return int(totals["all" if words[0] == "params" else counted])


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Run in a folder with a check file whose texts are strange."""
    home = tmp_path_factory.mktemp("lines")
    text = '[[expect]]\nname = "[/] =1 \\u001b[1m"\nspec = { model = "layer" }\nmax_params = "9M"\n'
    (home / "a.toml").write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        yield


@pytest.mark.parametrize("seed", range(3))
def test_random_lines(capsys: Capture, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    ends = []
    for words in lines(seed, 50):
        monkeypatch.setenv("COLUMNS", str(30 + 50 * (len(words) % 3)))
        code = run(words)
        out, err = capsys.readouterr()
        ends.append(code)
        assert code in (0, 1, 2), words
        assert not CONTROL.search(out + err), words
        if code == 2:
            assert out == "", words
            assert re.fullmatch(r"vitprof: .+\n", err), words
            assert len(err) < 1100, words
        elif words[0] in ("params", "macs") and "--by" not in str(words):
            shown = ("--format", "--output", "--units", "--brief", "--columns", "--levels")
            plain = [one for one in words if not one.startswith(shown)]
            assert total(capsys, plain, "csv") == total(capsys, plain, "json"), words
        for file in Path().glob("a.*"):
            if file.suffix != ".toml":
                file.unlink()
    assert min(ends.count(0), ends.count(2)) >= 8  # neither is rare
