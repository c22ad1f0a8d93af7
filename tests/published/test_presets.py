"""Presets: the published figures are reproduced to the last digit printed."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree

import pytest
import timm
import torch
from cases import for_each
from pyarrow import parquet
from torchvision.models import get_model_weights

import vitprof
from vitprof import cli
from vitprof.errors import SpecError
from vitprof.formulas.layer import Measure
from vitprof.formulas.model import Model
from vitprof.modules.build import build
from vitprof.published import PRESETS
from vitprof.published.figures import COUNTINGS, Figure, macs, params
from vitprof.published.sources import RESMLP
from vitprof.report.presets import Presets
from vitprof.request.specs import specify
from vitprof.testing import assert_macs, assert_params

FIGURES = [(preset.name, figure) for preset in PRESETS.values() for figure in preset.figures]
# Presets without a published figure, or whose counts are tested with the report's.
WITHOUT_FIGURES = {"mae-h-14", "fnet-b-16", "poolformer-isotropic-s"} | {
    "mae-report",
    "mae-report-small",
    "classifier-report",
}


@for_each("preset, figure", FIGURES)
def test_a_published_figure_comes_out(preset: str, figure: Figure) -> None:
    model = specify(options={"preset": preset})
    assert figure.agrees(model), f"{figure.printed} against {figure.counted(model):,}"


def test_every_preset_has_a_figure_or_says_why_not() -> None:
    assert {name for name, preset in PRESETS.items() if not preset.figures} == WITHOUT_FIGURES
    assert all(PRESETS[name].note for name in WITHOUT_FIGURES)


def shallow(preset: str) -> Model:
    """Return a preset's model with one block of each mixer, or one of each stage."""
    preset_of = PRESETS[preset]
    widths, at = preset_of.options.get("widths"), preset_of.options.get("mixer_at")
    blocks: dict[str, object] = {"depth": len(preset_of.mixer.split("+"))}
    if isinstance(widths, tuple):
        blocks = {"depths": [1] * len(widths)}
    elif isinstance(at, str):
        blocks = {"depth": 2, "mixer_at": f"1={at.partition('=')[2]}"}
    return specify(options={"preset": preset, **blocks})


@for_each("preset", PRESETS)
def test_the_module_holds_the_parameters_of_the_formulas_and_takes_an_image(preset: str) -> None:
    model = shallow(preset)
    module = build(model, device="meta").eval()
    on_paper = model.formula().total(Measure.PARAMS)
    assert on_paper == sum(parameter.numel() for parameter in module.parameters())
    with torch.no_grad():
        module(torch.empty(model.input_shape(2), device="meta"))


@pytest.mark.parametrize(
    ("printed", "counted", "agrees"),
    [
        ("86,567,656", 86_567_656, True),
        ("86,567,656", 86_567_657, False),
        ("17.58 G", 17_584_999_999, True),
        ("17.58 G", 17_585_000_001, False),
        ("17.58 G", 17_574_999_999, False),
        ("7 M", 7_500_001, False),
        ("44.60 G", 44_605_000_001, False),
    ],
)
def test_a_figure_agrees_within_half_of_its_last_digit(
    printed: str, counted: int, agrees: bool
) -> None:
    figure = Figure(
        measure=Measure.PARAMS,
        printed=printed,
        source="",
        counting="parameters",
        beside=f"{counted} - 49984",  # of the encoder layer of the report
    )
    assert figure.agrees(specify("layer")) is agrees


def test_the_countings_of_one_layer_with_a_depthwise_convolution() -> None:
    """16 tokens of width 12, MLP 12 -> 48 -> 12, batch norms."""
    model = specify(
        "layer",
        mixer="conv",
        options={"tokens": 16, "dim": 12, "heads": 1, "norm": "batch", "kernel_size": 3},
    )
    tree = model.formula()
    depthwise, mlp = 16 * 9 * 12, 2 * 16 * 12 * 48
    norms = 2 * 2 * 16 * 12  # two norms, 2 an element
    assert COUNTINGS["contractions"].of(tree) == depthwise + mlp
    assert COUNTINGS["flops"].of(tree) == 2 * (depthwise + mlp)
    assert COUNTINGS["fvcore"].of(tree) == depthwise + mlp + norms
    assert COUNTINGS["fvcore, depthwise"].of(tree) == mlp + norms


def test_fvcores_count_without_the_heads() -> None:
    """A classifier with two heads of 64 inputs and 10 classes."""
    tree = specify("classifier", options={"distillation": True}).formula()
    assert COUNTINGS["fvcore, headless"].of(tree) == COUNTINGS["fvcore"].of(tree) - 2 * 64 * 10


def test_fused_attention_is_what_fvcore_does_not_see() -> None:
    """The report's encoder layer: 50 tokens of width 64, 4 heads of 16 channels."""
    tree = specify("layer").formula()
    scores = output = 4 * 50 * 16 * 50
    norms = 2 * 5 * 50 * 64
    macs = 50 * (64 * 192 + 64 * 64 + 2 * 64 * 256) + scores + output
    assert COUNTINGS["fvcore"].of(tree) == macs + norms
    assert COUNTINGS["fvcore, fused"].of(tree) == macs + norms - scores - output
    # Biases of scores are given to the kernel: products of 49 queries with 7 rows and 7 columns.
    options = {"tokens": 49, "relative": "decomposed"}
    plain, biased = (specify("layer", options=one).formula() for one in ({"tokens": 49}, options))
    more = COUNTINGS["fvcore, fused"].of(biased) - COUNTINGS["fvcore, fused"].of(plain)
    assert more == 2 * 4 * 49 * 16 * 7


def test_fvcores_count_of_timms_model_needs_no_correction() -> None:
    """Patches, 12 blocks, head; 5 an element of 25 norms, the last one of every token too."""
    n, N, D = 196, 197, 384
    block = 12 * N * D**2 + 2 * N**2 * D
    macs = n * 768 * D + 12 * block + D * 1000
    report = vitprof.macs(preset="vit-s-16", counters=["fvcore"])
    assert report.counters["fvcore"] == macs + (2 * 12 + 1) * 5 * N * D
    assert all(
        figure.beside == "0"
        for name, preset in PRESETS.items()
        if name.startswith(("vit", "deit"))
        for figure in preset.figures
    )


def test_trained_and_headless_parameters() -> None:
    mae = specify(options={"preset": "mae-report"}).formula()
    fixed = 1025 * 128 + 1025 * 512
    assert COUNTINGS["trained"].of(mae) == COUNTINGS["parameters"].of(mae) - fixed
    distilled = specify(options={"preset": "deit-ti-distilled"}).formula()
    heads = 2 * (192 * 1000 + 1000)
    assert COUNTINGS["headless"].of(distilled) == 5_910_800 - heads


@pytest.mark.parametrize(
    ("preset", "layers"),
    [("mae-report", 27_706_816), ("mae-report-small", 4_048_384)],
)
def test_the_reports_are_presets(preset: str, layers: int) -> None:
    """Compare with the sums of layers in the report's tables."""
    assert_params(None, {"layers": layers}, preset=preset)


def test_an_encoder_layer_of_the_classifiers_report() -> None:
    """49,984 parameters, and 277,760,000 MACs at batch 100, as the report has them."""
    assert_params(None, {"blocks.0": 49_984}, preset="classifier-report")
    assert_macs(None, {"blocks.0": 277_760_000}, preset="classifier-report", batch=100)


@pytest.mark.parametrize(
    ("mixer", "options", "millions", "billions"),
    [
        (None, {"norm": "layer"}, "15.4 M", "3.0 G"),
        ("identity", {}, "14.9 M", "2.8 G"),
        ("conv", {"kernel_size": 3}, "14.9 M", "2.8 G"),
        (None, {"patch_size": 14}, "15.6 M", "4.0 G"),
        (None, {"patch_size": 8}, "22.1 M", "14.0 G"),
        (None, {"preset": "resmlp-b24", "patch_size": 8}, "129.1 M", "100.2 G"),
    ],
)
def test_ablations_of_resmlp(
    mixer: str | None, options: dict[str, object], millions: str, billions: str
) -> None:
    """ResMLP, table 3: the norm, the token mixer and the patch size changed in S12 and B24."""
    model = specify(mixer=mixer, options={"preset": "resmlp-s12", **options})
    assert params(millions, RESMLP).agrees(model)
    assert macs(billions, RESMLP).agrees(model)


def test_any_option_changes_a_preset() -> None:
    """ViT-B/16 with 6 layers, each 12 D^2 + 13 D parameters, and 10 classes."""
    D, n = 768, 196
    block = 12 * D**2 + 13 * D
    rest = 16 * 16 * 3 * D + D + D + (n + 1) * D + 2 * D + D * 10 + 10
    assert_params(None, 6 * block + rest, preset="vit-b-16", depth=6, classes=10)


def test_another_mixer_takes_the_place_of_the_presets() -> None:
    mixed = specify(mixer="attn", options={"preset": "mixer-b-16"})
    assert (mixed.mixer.name, mixed.conditions()["heads"]) == ("attn", 768 // 64)
    kept = specify(mixer="conv", options={"preset": "convmixer-768-32", "kernel_size": 3})
    assert kept.mixer.values() == {"kernel_size": 3}


def test_what_was_made_from_a_preset_says_so() -> None:
    spec = specify(options={"preset": "deit-s"})
    assert list(spec.conditions().items())[:2] == [("preset", "deit-s"), ("model", "classifier")]
    assert "preset" not in specify("classifier").conditions()


@pytest.mark.parametrize(
    ("model", "options", "sentence"),
    [
        (None, {"preset": "vit-b-61"}, "there is no preset 'vit-b-61'; did you mean vit-b-16"),
        (None, {"preset": 16}, "preset is a name in quotes, not 16"),
        (
            "mae",
            {"preset": "vit-b-16"},
            "preset vit-b-16 is a classifier, not a mae; leave the model out, or take another",
        ),
        (
            None,
            {"preset": "vit-b-16", "tokens": 7},
            "the tokens of classifier follow from image size and patch size",
        ),
        (
            None,
            {"preset": "vit-b-16", "patch_size": 15},
            "image size 224 is not divisible by patch size 15",
        ),
    ],
)
def test_what_is_no_preset_is_refused(
    model: str | None, options: dict[str, object], sentence: str
) -> None:
    with pytest.raises(SpecError) as refusal:
        specify(model, options=options)
    assert str(refusal.value).startswith(sentence)


def test_presets_are_listed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.run(["presets", "--format", "json"]) == 0
    entries = json.loads(capsys.readouterr().out)["entries"]
    assert [entry["name"] for entry in entries] == list(PRESETS)
    by_name = {entry["name"]: entry for entry in entries}
    assert by_name["vit-b-16"] == {
        "name": "vit-b-16",
        "model": "classifier",
        "mixer": "attn",
        "params": 86_567_656,  # torchvision
        # Patches, 12 layers of 12 N D^2 + 2 N^2 D, and the head.
        "macs": 196 * 768 * 768 + 12 * (12 * 197 * 768**2 + 2 * 197**2 * 768) + 768 * 1000,
        "libraries": ["timm:vit_base_patch16_224", "torchvision:vit_b_16"],
        "source": PRESETS["vit-b-16"].source,
    }
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.run(["presets"]) == 0
    table = capsys.readouterr().out
    assert all(len(line) <= 80 for line in table.splitlines())
    rows = [line.split() for line in table.splitlines()]
    for entry in entries:
        (row,) = (row for row in rows if row[:1] == [entry["name"]])
        assert row[1:4] == [f"{entry['params']:,}", f"{entry['macs']:,}", entry["mixer"]]
    # A pipe is as wide as it takes: a line holds all of a source.
    monkeypatch.delenv("COLUMNS")
    assert cli.run(["presets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.partition("]")[2].strip() for line in lines if line.startswith("[")} == {
        preset.source for preset in PRESETS.values()
    }


def test_every_format_of_the_list(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")  # which a table in a file has

    def both(format: str, suffix: str) -> str:
        """Return the output in a format, after checking that a file of that suffix has the same."""
        file = tmp_path / f"presets.{suffix}"
        assert cli.run(["presets", f"--output={file}"]) == 0
        assert capsys.readouterr() == ("", "")
        assert cli.run(["presets", "--format", format]) == 0
        out = capsys.readouterr().out
        assert file.read_text(encoding="utf-8") == out
        return out

    # torchvision's parameters; MACs as above.
    params, macs = 86_567_656, 17_563_828_224
    assert re.search(f"^vit-b-16 +{params:,} +{macs:,} +attn +", both("table", "txt"), re.M)
    assert re.search(
        rf"^\| vit-b-16 +\| +{params:,} \| +{macs:,} \| attn +\| ", both("markdown", "md"), re.M
    )
    assert f"\nvit-b-16 & {params:,} & {macs:,} & attn & " in both("latex", "tex")
    page = ElementTree.fromstring(both("html", "html"))
    rows = [["".join(cell.itertext()) for cell in row] for row in page.iter("tr")]
    assert ["vit-b-16", f"{params:,}", f"{macs:,}", "attn"] in [row[:4] for row in rows]
    assert [row[0] for row in rows[1:]] == list(PRESETS)
    listed = list(csv.DictReader(StringIO(both("csv", "csv")), strict=True))
    assert [row["name"] for row in listed] == list(PRESETS)
    entries = json.loads(both("json", "json"))["entries"]
    assert {entry["name"]: entry["macs"] for entry in entries}["vit-b-16"] == macs
    (row,) = (row for row in listed if row["name"] == "vit-b-16")
    assert row == {
        **{"name": "vit-b-16", "model": "classifier", "mixer": "attn"},
        **{"params": str(params), "macs": str(macs), "source": PRESETS["vit-b-16"].source},
        "libraries": "timm:vit_base_patch16_224, torchvision:vit_b_16",
    }


def test_parquet_of_the_list_and_of_one(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "presets.parquet"
    assert cli.run(["presets", f"--output={file}"]) == 0
    table = parquet.read_table(file)
    assert table.column("name").to_pylist() == list(PRESETS)
    params = dict(zip(PRESETS, table.column("params").to_pylist(), strict=True))
    assert (params["vit-b-16"], params["mixer-b-16"]) == (86_567_656, 59_880_472)
    assert cli.run(["presets", "vit-b-16", f"--output={file}"]) == 0
    assert capsys.readouterr() == ("", "")
    agrees = parquet.read_table(file).column("agrees")
    assert agrees.to_pylist() == [True] * len(PRESETS["vit-b-16"].figures)
    frame = vitprof.presets("vit-b-16").to_frame()
    assert str(frame["agrees"].dtype) == "boolean"
    assert frame["counted"].iloc[0] == 86_567_656


def test_a_report_shows_itself_where_there_is_no_command_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import vitprof; print(vitprof.presets('deit-s'))"
    made = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        timeout=60,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", "COLUMNS": "160"},
    )
    monkeypatch.setenv("COLUMNS", "160")
    assert cli.run(["presets", "deit-s"]) == 0
    assert made.stdout.decode() == capsys.readouterr().out


def test_one_preset_is_shown_with_its_published_figures(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.run(["presets", "vit-b-16", "--format", "json"]) == 0
    portrait = json.loads(capsys.readouterr().out)
    (fused,) = (one for one in portrait["figures"] if one["printed"] == "16.87 G")
    products = 12 * 2 * 197**2 * 768
    (table,) = (one for one in portrait["figures"] if one["printed"] == "17.58 G")
    assert table["counted"] - fused["counted"] == products
    assert table["agrees"] is fused["agrees"] is True
    assert cli.run(["presets", "vit-b-16"]) == 0
    assert "16.87 G  MACs: agrees" in capsys.readouterr().out


def test_a_preset_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["params", "--preset", "mixer-b-16", "--counters", "analytic", "--levels", "1"]
    assert cli.run(words) == 0
    out = capsys.readouterr().out
    assert out.startswith("Parameters of mixer-b-16, classifier with token-mlp\n")
    assert "59,880,472" in out  # timm's mixer_b16_224


def test_an_unknown_preset_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["presets", "vit"]) == 2
    sentence = (
        "vitprof: there is no preset 'vit'; did you mean vit-s-16, vit-s-32 or vit-b-16? vitprof "
        "presets lists all of them\n"
    )
    assert capsys.readouterr() == ("", sentence)


def test_presets_by_a_pattern(capsys: pytest.CaptureFixture[str]) -> None:
    distilled = ["deit-ti-distilled", "deit-s-distilled", "deit-b-distilled"]
    by_alias = vitprof.presets("vit_?_16")
    assert isinstance(by_alias, Presets)
    assert [one.name for one in by_alias.entries] == ["vit-b-16", "vit-l-16"]
    assert cli.run(["presets", "*-distilled", "--format", "csv"]) == 0
    rows = csv.DictReader(StringIO(capsys.readouterr().out), strict=True)
    assert [row["name"] for row in rows] == distilled
    assert cli.run(["presets", "resnet*"]) == 2
    sentence = f"vitprof: none of the {len(PRESETS)} presets matches 'resnet*'; give * for any text"
    assert capsys.readouterr().err.startswith(sentence)


# Sources: what they print, and where

IN_REPOSITORY = re.compile(r"[\w-]+/[\w.-]+, \S+\.(csv|md|py|yml) at commit [0-9a-f]{40}\b")


def test_a_file_of_a_repository_is_cited_at_a_commit() -> None:
    sources = {figure.source for _, figure in FIGURES}
    files = {one for one in sources if re.search(r"/|\.(csv|md|py|yml)\b", one)}
    assert len(files) == 22
    assert all(IN_REPOSITORY.match(one) or re.match(r"\w+ \d+\.\d+\.\d+, ", one) for one in files)


@pytest.mark.parametrize(
    ("preset", "gmacs", "millions"),
    [("vit-l-32", "15.41 G", "327.90 M"), ("vit-h-14", "167.43 G", "658.75 M")],
)
def test_timms_next_table_has_a_head_of_imagenet_21k(
    preset: str, gmacs: str, millions: str
) -> None:
    """Results of timm with PyTorch 1.13 print other figures of two models, and no other."""
    model = specify(options={"preset": preset, "classes": 21_843})
    assert macs(gmacs, "", "fvcore").agrees(model)
    assert params(millions, "").agrees(model)
    assert f"{gmacs} and {millions.replace('.90', '.9')} parameters" in PRESETS[preset].note


@pytest.mark.parametrize("size", ["ti", "xs", "s", "b"])
def test_the_transforms_of_gfnet_change_no_digit(size: str) -> None:
    """Issue 3 of its repository: H × W × D × log2(H × W) a transform, of which a block has two."""
    preset = PRESETS[f"gfnet-{size}"]
    (figure,) = (one for one in preset.figures if one.measure is Measure.MACS)
    model = specify(options={"preset": preset.name})
    without = COUNTINGS["contractions"].of(model.formula())
    D, depth = int(str(preset.options["dim"])), int(str(preset.options["depth"]))
    assert figure.counted(model) == without + depth * 2 * 14 * 14 * D * 8  # 2^7 < 14 × 14 < 2^8
    assert figure.agrees(model)
    assert macs(figure.printed, "").agrees(model)


# Names of libraries

ALIASES = [
    (preset.name, reference) for preset in PRESETS.values() for reference in preset.libraries
]


def test_a_name_of_a_library_is_that_of_one_preset() -> None:
    # timm and torchvision can have the same name for the same model.
    own = {(preset, reference.partition(":")[2]) for preset, reference in ALIASES}
    names = [*PRESETS, *(name for _, name in own)]
    assert len(names) == len({name.casefold() for name in names})
    assert len(ALIASES) == 174


# Of timm, test_originals.py has the rows of all.
BUILT = [
    alias
    for place, alias in enumerate(ALIASES)
    if alias[1].startswith("torchvision:") or place % 8 == 0
]


@pytest.mark.parametrize(("preset", "reference"), BUILT, ids=[one for _, one in BUILT])
def test_a_name_of_a_library_is_the_same_model(preset: str, reference: str) -> None:
    """The library builds as many parameters; torchvision says how many, and the MACs."""
    library, _, name = reference.partition(":")
    model = specify(options={"preset": name})
    assert model == specify(options={"preset": preset})
    count = model.formula().total(Measure.PARAMS)
    if library == "timm":
        with torch.device("meta"):
            built = timm.create_model(name)
        assert count == sum(parameter.numel() for parameter in built.parameters())
    else:
        said = {(one.meta["num_params"], one.meta["_ops"]) for one in get_model_weights(name)}
        (figure,) = (
            one
            for one in PRESETS[preset].figures
            if one.source.startswith("torchvision ") and one.measure is Measure.MACS
        )
        assert (count, float(figure.printed.removesuffix(" G"))) in said


def test_a_name_with_the_tag_of_weights() -> None:
    with pytest.raises(
        SpecError, match=r"names weights.* give vit-s-16, .*--module timm:vit_small"
    ):
        specify(options={"preset": "vit_small_patch16_224.augreg_in21k"})
