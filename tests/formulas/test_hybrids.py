"""Several mixers in the blocks of one model: in turn, and at single places."""

from __future__ import annotations

from itertools import islice

import pytest
from combinations import cases, described, differences

from vitprof import cli
from vitprof.errors import SpecError
from vitprof.formulas.hybrid import Hybrid
from vitprof.formulas.layer import Measure
from vitprof.formulas.mixers import MIXERS, find_mixer
from vitprof.formulas.model import Model
from vitprof.modules.build import build
from vitprof.request.specs import specify, spelled

SMALL = {"image_size": 12, "patch_size": 4, "dim": 8, "heads": 2, "depth": 5}


def mixers(model: Model) -> list[str]:
    """Return the mixer of each block."""
    return [kind.block.mixer.name for stage in model.stages for kind in stage.in_order()]


def test_mixers_in_turn() -> None:
    model = specify("classifier", mixer="attn+linear+pool", options={**SMALL, "pool": "mean"})
    assert mixers(model) == ["attn", "linear", "pool", "attn", "linear"]


def test_mixers_at_places() -> None:
    options = {**SMALL, "mixer_at": "1,3-=linear; 0=hydra"}
    assert mixers(specify("classifier", options=options)) == [
        *("hydra", "linear", "attn", "linear", "linear")
    ]
    every_second = {**SMALL, "mixer_at": "1-:2=linear"}
    assert mixers(specify("classifier", options=every_second)) == [
        *("attn", "linear", "attn", "linear", "attn")
    ]


def test_mixers_of_stages_and_of_a_decoder() -> None:
    pyramid = specify(
        "pyramid", mixer="pool", options={"mixer_at": "stages.1.blocks.1=conv; stages.2-3=attn"}
    )
    assert mixers(pyramid) == [*["pool"] * 3, "conv", *["attn"] * 8]
    mae = specify(
        "mae", options={"depth": 2, "decoder_depth": 3, "mixer_at": "decoder_blocks=linear"}
    )
    assert mixers(mae) == [*["attn"] * 2, *["linear"] * 3]


def test_counts_add_up_block_by_block() -> None:
    """Parameters and MACs of a hybrid are those of each of its blocks."""
    hybrid = specify("classifier", mixer="lambda+attn", options=SMALL)
    alone = {name: specify("classifier", mixer=name, options=SMALL) for name in ("lambda", "attn")}
    for measure in (Measure.PARAMS, Measure.MACS):
        of_one = {}
        for name, model in alone.items():
            block = model.formula(3).at("blocks.0")
            assert block is not None
            of_one[name] = block.of_one(measure)
        around = alone["attn"].formula(3).of_one(measure) - 5 * of_one["attn"]
        expected = around + 3 * of_one["lambda"] + 2 * of_one["attn"]
        assert hybrid.formula(3).of_one(measure) == expected


def test_equal_blocks_are_one_row() -> None:
    model = specify("classifier", options={**SMALL, "depth": 9, "mixer_at": "2,5,8=linear"})
    paths = [node.path for node in model.formula().walk(fold=True)]
    assert "blocks.2,5,8.mixer.qkv" in paths
    assert "blocks.0-1,3-4,6-7.mixer.qkv" in paths
    every = [node.path for node in model.formula().walk(fold=False) if node.level == 2]
    assert [path for path in every if path.startswith("blocks.")] == [
        f"blocks.{number}" for number in range(9)
    ]
    assert {path for path, _ in build(model).named_modules()} >= {*every}


def test_the_program_has_the_tree_of_the_formula() -> None:
    options = {**SMALL, "rope": "axial", "mixer_at": "1,2=linear"}
    model = specify("classifier", options=options)
    for fold in (True, False):
        assert [node.path for node in model.program(2).tree().walk(fold=fold)] == [
            node.path for node in model.formula(2).walk(fold=fold)
        ]


def test_a_model_is_named_and_found_again() -> None:
    options = {**SMALL, "mixer_at": "2=window; 0=linformer", "projection": 3, "window": 1}
    model = specify("classifier", mixer="attention+hydra", options={**options, "pool": "mean"})
    words = model.words()
    assert (words["mixer"], words["mixer_at"]) == ("attn+hydra", "2=window; 0=linformer")
    again = {name: value for name, value in words.items() if name not in ("model", "mixer")}
    assert specify("classifier", mixer=str(words["mixer"]), options=again) == model
    assert spelled(model)[:8] == [
        *("--model", "classifier", "--mixer", "attn+hydra"),
        *("--image-size", "12", "--dim", "8"),
    ]
    assert "--mixer-at" in spelled(model)


def test_one_mixer_is_no_hybrid() -> None:
    assert not isinstance(specify("classifier", mixer="attn+attn").mixer, Hybrid)
    same = specify("classifier", options={"mixer_at": "1=attn"})
    assert same == specify("classifier")


def test_a_class_is_the_mixer_itself() -> None:
    hybrid = type(specify("classifier", mixer="attn+linear").mixer)
    for mixer in (*MIXERS.values(), hybrid):
        assert find_mixer(mixer) is mixer


def test_memory_is_the_traces() -> None:
    drawn = (case for case in cases(5) if isinstance(case[0].mixer, Hybrid))
    for case in islice(drawn, 6):
        assert not differences(case), described(case)


OF_BLOCKS = "give some of those of classifier, blocks.0-4"


@pytest.mark.parametrize(
    ("mixer", "options", "sentence"),
    [
        ("attn", {"mixer_at": "5=linear"}, f"mixer at blocks.5=linear names no block; {OF_BLOCKS}"),
        (
            "attn",
            {"mixer_at": "1,7=linear"},
            f"mixer at blocks.7=linear names no block; {OF_BLOCKS}",
        ),
        (
            "attn",
            {"mixer_at": "stages.1=linear"},
            f"mixer at stages.1=linear names no block; {OF_BLOCKS}",
        ),
        (
            "attn",
            {"mixer_at": "1=linear; 0-2=pool"},
            "mixer at names block blocks.1 twice, by 1 and 0-2; leave it out of one",
        ),
        (
            "attn",
            {"mixer_at": "0-=linear"},
            "no block has the mixer attn: the blocks of classifier are blocks.0-4; leave it out, "
            "or give more blocks",
        ),
        (
            "attn",
            {"mixer_at": "linear"},
            "mixer at linear cannot be read; give places and a name, such as 2,5,8=linear or "
            "stages.2-3=attn, with semicolons between",
        ),
    ],
)
def test_places_that_are_refused(mixer: str, options: dict[str, object], sentence: str) -> None:
    with pytest.raises(SpecError) as error:
        specify("classifier", mixer=mixer, options={**SMALL, **options, "pool": "mean"})
    assert str(error.value) == sentence


def test_a_single_block_has_one_mixer(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(["params", "--tokens", "50", "--mixer", "attn+linear"])
    assert exit_.value.code == 2
    assert capsys.readouterr().err == (
        "vitprof: layer is a single block, and attn and linear are several mixers; give one of "
        "them, or a model of several blocks\n"
    )
