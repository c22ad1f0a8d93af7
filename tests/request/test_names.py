"""Names: the nearest known ones, names of another kind, and the argument that names a model."""

from __future__ import annotations

import json
import random
import re

import pytest
from cases import for_each

import vitprof
from vitprof import cli
from vitprof.cuda.gpus import gpus
from vitprof.errors import SpecError, near, unknown
from vitprof.formulas.mixers import MIXERS
from vitprof.published import PRESETS

GPUS = [name for one in gpus() for name in one.names]


@pytest.mark.parametrize(
    ("name", "known", "found"),
    [
        # Names that begin with it, before what is nearer by edits.
        ("a100", ["a10", "a100-40", "p100", "a100-80"], ["a100-40", "a100-80"]),
        ("v100", ["p100", "v100-16", "h100", "teslav100"], ["v100-16"]),
        ("mix", ["remix", "mixer"], ["mixer"]),
        # Names that begin alike up to the first number, which is whole.
        ("a100x", ["a10", "p100", "a100-40", "a1000"], ["a100-40"]),
        # Names that contain it, names with its numbers, and names with many of its letters.
        ("3090", ["rtx3090", "rtx3090ti", "3080"], ["rtx3090", "rtx3090ti"]),
        ("geforce-3090", ["rtx3090", "gtx1080", "geforce-3080"], ["rtx3090"]),
        ("lamda", ["lambda", "linear"], ["lambda"]),
        # The same name in other case and punctuation is the only one.
        ("ViT B/16", ["vit-b-16", "vit-b-16-x"], ["vit-b-16"]),
        ("vit", ["vit-a", "vit-b", "vit-c", "vit-d"], ["vit-a", "vit-b", "vit-c"]),
        ("", ["a", ""], [""]),
        ("", ["a", "b"], []),
        ("zzz", ["a", "b"], []),
    ],
)
def test_nearest_names(name: str, known: list[str], found: list[str]) -> None:
    assert near(name, known) == found


def test_one_name_of_a_thing_is_enough() -> None:
    things = {"h100": 1, "h100-80": 1, "h100-nvl": 2, "h200": 3}
    assert near("h10", things) == ["h100", "h100-nvl"]


@for_each("seed", range(50))
def test_what_is_written_after_a_name_does_not_change_its_family(seed: int) -> None:
    """Letters after a name of a GPU: what is offered begins as the name does."""
    drawn = random.Random(seed)
    name = drawn.choice([name for name in GPUS if re.fullmatch(r"[a-z]*\d+", name)])
    offered = near(name + "".join(drawn.choices("xyzq", k=3)), GPUS)
    assert offered
    assert all(one.startswith(name) and not one[len(name) :][:1].isdigit() for one in offered)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("params --model deit-s", "'deit-s' is a preset, not a model; give --preset deit-s, or "),
        ("params --mixer deit-s", "'deit-s' is a preset, not a mixer; give --preset deit-s, or "),
        ("bench --mixers attn,deit-s", "'deit-s' is a preset, not a mixer"),
        ("mixers vit_b_16", "give --preset vit_b_16, or see vitprof presets vit-b-16"),
        ("deit-s", "'deit-s' is a preset, not a command; give --preset deit-s, or see vitprof "),
        (
            "params lambda",
            "'lambda' is a mixer, not a preset; give --mixer lambda, or see vitprof ",
        ),
        ("compare --presets deit-s,layer", "'layer' is a model, not a preset; give --model layer"),
        ("memory --gpu deit-s", "'deit-s' is a preset, not a GPU"),
        ("gpus gfnet", "'gfnet' is a mixer, not a GPU; give --mixer gfnet, or see vitprof mixers "),
        ("params rtx3090", "'rtx3090' is a GPU, not a preset; give --gpu rtx3090, or see vitprof "),
        (
            "params --preset resnet50",
            "give --module timm:resnet50 or --module torchvision:resnet50",
        ),
        (
            "macs crossvit_9_240",
            "but timm has a model of this name; give --module timm:crossvit",
        ),
        ("params --model vit_large_patch32_224", "give --module timm:vit_large_patch32_224"),
        ("params resnt50", "there is no preset 'resnt50'; vitprof presets lists all of them"),
        ("params deit-s --preset deit-b", "deit-s and --preset deit-b name two models; give one"),
        ("macs timm:resnet18 --module timm:resnet50", "timm:resnet18 and --module timm:resnet50"),
        ("macs timm:resnet18 --preset deit-s", "preset is an option of vitprof's own models"),
    ],
)
def test_names_of_another_kind(
    words: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(words.split()) == 2
    out, err = capsys.readouterr()
    assert not out
    assert sentence in err
    assert err.count("\n") == 1


def test_names_of_another_kind_in_python() -> None:
    with pytest.raises(SpecError, match="'deit-s' is a preset, not a model"):
        vitprof.params("deit-s")


def test_no_name_of_a_preset_is_one_of_another_kind() -> None:
    assert not PRESETS.keys() & {*GPUS, *MIXERS, "mae", "classifier", "layer"}


@pytest.mark.parametrize(
    "command",
    [
        "params {} --mixer lambda --counters analytic",
        "macs {} --batch 3 --counters analytic",
        "memory {} --no-trace",
        "sweep {} --mixers attn,linear --image-size 32,64",
    ],
)
def test_the_argument_is_the_option(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = []
    for spelling in ("deit-ti", "--preset deit-ti", "deit_tiny_patch16_224"):
        words = [*command.format(spelling).split(), "--format", "json"]
        assert cli.run(words) == 0
        said.append(json.loads(capsys.readouterr().out))
    assert said[0] == said[1] == said[2]


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_a_command_that_has_the_option_has_the_argument(command: str) -> None:
    names = [item.name for item in cli.Commands().get_command(None, command).params]
    assert ("preset" in names) == ("argument" in names) or command in (
        "presets",
        "check",  # whose arguments are files
    )


def test_the_argument_is_a_module(capsys: pytest.CaptureFixture[str]) -> None:
    """A linear layer of 10 times 3 products; a colon makes the argument a reference."""
    words = ["macs", "torch.nn:Linear", "--arg=in_features=10", "--arg=out_features=3"]
    assert cli.run([*words, "--input=10", "--counters=analytic", "--format=json"]) == 0
    assert json.loads(capsys.readouterr().out)["totals"]["macs"] == 10 * 3


def test_a_check_file_of_an_argument(
    tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path_factory.mktemp("checks") / "first.toml"
    assert cli.run(["check", str(file), "vit_b_16", "--write"]) == 0
    assert 'preset = "vit-b-16"' in file.read_text(encoding="utf-8")


def test_two_names_of_a_preset_are_one_model() -> None:
    compared = vitprof.compare(presets=["vit_b_16", "vit-b-16", "deit-b"])
    assert [side.name for side in compared.sides] == ["vit-b-16", "deit-b"]


def test_of_many_known_names_the_first_are_listed() -> None:
    """Hundreds of layers are no sentence."""
    names = [f"n{number}" for number in range(32)]
    first = ", ".join(names[:29])
    assert str(unknown("layer", "?", names[:30])).endswith(f"known are {first} and n29")
    assert str(unknown("layer", "?", names)).endswith(f"known are {first}, n29 and 2 more")
