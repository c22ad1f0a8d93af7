"""Models of stages: sizes by stage, what is between two stages, and group norm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close

import vitprof
from vitprof import cli
from vitprof.errors import SpecError
from vitprof.formulas.layer import Measure
from vitprof.formulas.models.pyramid import Pyramid
from vitprof.modules.build import build
from vitprof.modules.models.pyramid import Pyramid as PyramidModule
from vitprof.modules.parts.norms import TokenGroupNorm
from vitprof.request.specs import specify, spelled

SMALL: dict[str, Any] = {
    **{"image_size": 12, "image_width": 20, "patch_size": 2, "channels": 3, "classes": 7},
    **{"depths": (2, 3), "widths": (6, 10), "stage_heads": (3, 2), "mlp_ratio": 2},
}

OF_DEPTH = "a whole number from 1 to 10000 for each stage, with commas between"
OF_KERNEL = "does not fit a stride of 2; give 2, or a larger odd number for an overlap"


def built(**options: object) -> PyramidModule:
    module = build(specify("pyramid", mixer="identity", options={**SMALL, **options}))
    assert isinstance(module, PyramidModule)
    return module


def test_tokens_grid_and_sizes_follow_through_the_stages() -> None:
    first, second = specify("pyramid", options=SMALL).stages
    for stage, N, D, h, d, grid in (
        (first, 6 * 10, 6, 3, 2, (6, 10)),
        (second, 3 * 5, 10, 2, 5, (3, 5)),
    ):
        sizes = stage.block.sizes
        assert (sizes.tokens.value, sizes.dim.value, sizes.heads.value) == (N, D, h)
        assert sizes.head_dim.value == d
        assert sizes.grid is not None
        assert tuple(side.value for side in sizes.grid) == grid
        assert stage.block.hidden == 2 * D


def test_counts_by_hand() -> None:
    """Overlapping patches, blocks of pooling and an MLP, a linear merging, norm and head."""
    model = specify(
        "pyramid",
        mixer="pool",
        options={**SMALL, "norm": "group", "merge": "concat", "stem_kernel": 5, "stem_norm": True},
    )

    def block(D: int) -> int:
        return 2 * 2 * D + (D * 2 * D + 2 * D) + (2 * D * D + D)

    stem = 5 * 5 * 3 * 6 + 6 + 2 * 6
    merging = 2 * 4 * 6 + 4 * 6 * 10
    head = 2 * 10 + 10 * 7 + 7
    params = stem + 2 * block(6) + merging + 3 * block(10) + head
    assert model.formula().total(Measure.PARAMS) == params
    macs = 60 * 5 * 5 * 3 * 6 + 2 * 60 * 2 * 6 * 2 * 6 + 15 * 4 * 6 * 10 + 3 * 15 * 2 * 10 * 2 * 10
    assert model.formula(4).total(Measure.MACS) == 4 * (macs + 10 * 7)


@torch.no_grad()
def test_patch_merging_puts_four_tokens_together() -> None:
    """Liu et al. 2021, section 3.1: tokens of 2 x 2 places, side by side."""
    merging: Any = built(merge="concat").stages[1].get_submodule("downsample")
    x = torch.randn(2, 60, 6)
    merged = merging(x)
    for image in range(2):
        for row in range(3):
            for column in range(5):
                four = [
                    x[image, (2 * row + down) * 10 + 2 * column + right]
                    for right in range(2)
                    for down in range(2)
                ]
                expected = merging.reduction(merging.norm(torch.cat(four)))
                assert_close(merged[image, row * 5 + column], expected)


@pytest.mark.parametrize("kernel", [2, 3, 5])
@torch.no_grad()
def test_a_convolution_between_stages_reads_the_grid(kernel: int) -> None:
    merging: Any = (
        built(merge_kernel=kernel, merge_norm="before").stages[1].get_submodule("downsample")
    )
    x = torch.randn(1, 60, 6)
    made, normalised = merging(x), merging.norm_before(x).reshape(6, 10, 6)
    weight, bias, before = merging.conv.weight, merging.conv.bias, (kernel - 1) // 2
    for row in range(3):
        for column in range(5):
            y = bias.clone()
            for u in range(kernel):
                for v in range(kernel):
                    i, j = 2 * row + u - before, 2 * column + v - before
                    if 0 <= i < 6 and 0 <= j < 10:
                        y += weight[:, :, u, v] @ normalised[i, j]
            assert_close(made[0, row * 5 + column], y)


@pytest.mark.parametrize("place", ["none", "before", "after", "both"])
@torch.no_grad()
def test_a_mean_between_stages_is_of_four_tokens(place: str) -> None:
    merging: Any = built(merge="pool", merge_norm=place).stages[1].get_submodule("downsample")
    before, after = place in ("before", "both"), place in ("after", "both")
    assert isinstance(merging.norm_before, torch.nn.LayerNorm) == before
    assert isinstance(merging.norm_after, torch.nn.LayerNorm) == after
    x = torch.randn(2, 60, 6)
    merged, normalised = merging(x), merging.norm_before(x).reshape(2, 6, 10, 6)
    for row in range(3):
        for column in range(5):
            four = normalised[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            y = merging.norm_after(merging.proj(four.sum((1, 2)) / 4))
            assert_close(merged[:, row * 5 + column], y)


def test_stages_differ_in_the_ratio_of_their_mlp_and_in_their_residual_scale() -> None:
    options = {**SMALL, "mlp_ratio": 4, "mlp_ratios": (3, 5)}
    options |= {"res_scale": True, "res_scale_from": 2}
    first, second = specify("pyramid", options=options).stages
    assert (first.block.hidden, second.block.hidden) == (3 * 6, 5 * 10)
    module = built(**options)
    scaled = [name for name, _ in module.named_modules() if name.rpartition(".")[2] == "rs1"]
    assert scaled == [f"stages.1.blocks.{block}.rs1" for block in range(3)]
    alike = specify("pyramid", options={**options, "mlp_ratios": 5}).stages
    assert [stage.block.hidden for stage in alike] == [5 * 6, 5 * 10]


def test_norms_outside_of_the_blocks_and_biases() -> None:
    """Yu et al. 2022, PoolFormerV2: gains only, but before the head."""
    module = built(
        norm="group", norm_bias=False, outer_norm="layer", stem_norm=True, merge_norm="before"
    )
    norms = {
        name: (type(part).__name__, part.bias is not None)
        for name, part in module.named_modules()
        if isinstance(part, torch.nn.LayerNorm | TokenGroupNorm)
    }
    assert norms.pop("stem.norm") == ("LayerNorm", False)
    assert norms.pop("stages.1.downsample.norm_before") == ("LayerNorm", False)
    assert norms.pop("norm") == ("LayerNorm", True)
    assert {*norms.values()} == {("TokenGroupNorm", False)}


@pytest.mark.parametrize("shape", [(3, 7, 5), (3, 5)])
@torch.no_grad()
def test_a_group_norm_is_over_all_of_an_image(shape: tuple[int, ...]) -> None:
    """Wu and He 2018, Group Normalization, eqs. 1 and 6, with one group."""
    norm, x = TokenGroupNorm(5), torch.randn(shape)
    norm.weight.normal_()
    norm.bias.normal_()
    for image, normalised in zip(x, norm(x), strict=True):
        mean = image.mean()
        deviation = ((image - mean).square().mean() + 1e-5).sqrt()
        assert_close(normalised, (image - mean) / deviation * norm.weight + norm.bias)


@pytest.mark.parametrize("value", [(2, 3), [2, 3], "2,3", " 2 , 3 ", ["2", 3]])
def test_numbers_of_stages_are_read(value: object) -> None:
    model = specify("pyramid", options={**SMALL, "depths": value})
    assert isinstance(model, Pyramid)
    assert model.depths == (2, 3)
    assert model.words()["depths"] == "2,3"
    assert model == specify("pyramid", options=SMALL)


def test_a_single_stage() -> None:
    model = specify("pyramid", options={"depths": 2, "widths": "8", "stage_heads": [1]})
    paths = [node.path for node in model.formula().walk(fold=True) if node.level == 3]
    assert paths == ["stages.0.blocks"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"depths": (2, 0)}, f"depths 2,0 has 0 for stage 2; give {OF_DEPTH}"),
        ({"depths": "2,,3"}, f"depths 2,,3 has '' for stage 2; give {OF_DEPTH}"),
        ({"depths": True}, f"depths True has True for stage 1; give {OF_DEPTH}"),
        ({"depths": 10_001}, f"depths 10001 has 10001 for stage 1; give {OF_DEPTH}"),
        (
            {"depths": ()},
            f"depths '' is of 0 stages, and there are at least 1 and at most 16; give {OF_DEPTH}",
        ),
        (
            {"depths": (1, 2, 3)},
            "the stages have to be as many in each option, and depths 3, widths 2 and stage heads "
            "2 differ; give one number of each for every stage",
        ),
        (
            {"stage_heads": (3, 4)},
            "width 10 of stage 2 is not divisible by 4 heads; heads can be 1, 2, 5 or 10",
        ),
        (
            {"image_width": 18},
            "image width 18 is not divisible by 4, which patch size 2 and 2 stages make; give 16 "
            "or 20",
        ),
        (
            {"mlp_ratios": "2,0"},
            "mlp ratios 2,0 are not one number from 1 on for each of 2 stages; give as many, or "
            "one for all stages",
        ),
        (
            {"res_scale": True, "res_scale_from": 3},
            "res scale from 3 is no stage of 2; give a number from 1 to 2",
        ),
        (
            {"pre_logits": "squared-relu"},
            "pre logits squared-relu follows a layer before the head, and head hidden 0 has none; "
            "give head hidden with it",
        ),
        ({"stem_kernel": 4}, f"stem kernel 4 {OF_KERNEL}"),
        ({"merge_kernel": 6}, f"merge kernel 6 {OF_KERNEL}"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(SpecError) as refusal:
        specify("pyramid", options={**SMALL, **options})
    assert str(refusal.value) == sentence


def test_the_command_line_of_a_model() -> None:
    words = spelled(specify("pyramid", options=SMALL))
    assert words[words.index("--depths") + 1] == "2,3"
    assert words[words.index("--widths") + 1] == "6,10"


def test_an_image_size_is_swept_and_numbers_of_stages_are_not() -> None:
    own = {name: value for name, value in SMALL.items() if name != "image_width"}
    swept = vitprof.sweep("pyramid", measures=["macs"], **{**own, "image_size": "4:12:+2"})
    assert swept.axes == {"image_size": (4, 6, 8, 10, 12)}
    macs = [point.values["macs"] for point in swept.points]
    expected = [
        specify("pyramid", options={**own, "image_size": size}).formula().total(Measure.MACS)
        for size in (4, 8, 12)
    ]
    assert macs == [expected[0], None, expected[1], None, expected[2]]
    with pytest.raises(SpecError, match=r"^depths is no number and cannot be varied; give it one"):
        vitprof.match(reference="layer", model="pyramid", vary="depths=1:2")


def test_a_check_file_has_a_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = specify("pyramid", options=SMALL)
    macs = model.formula().total(Measure.MACS)
    (tmp_path / "a.toml").write_text(
        '[[expect]]\nspec = { model = "pyramid", depths = [2, 3], widths = "6,10", '
        "image_size = 12, image_width = 20, patch_size = 2, classes = 7, "
        "stage_heads = [3, 2], mlp_ratio = 2 }\n"
        f"[expect.macs]\nmacs = {macs}\n",
        encoding="utf-8",
    )
    assert cli.run(["check", str(tmp_path / "a.toml")]) == 0, capsys.readouterr()
