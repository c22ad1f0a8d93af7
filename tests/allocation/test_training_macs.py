"""MACs of a training step: each contraction once more for each operand that wants a gradient."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Any

import pytest
import torch
from combinations import cases
from packages import forgetting
from torch.utils.flop_counter import sdpa_backward_flop_count

import vitprof
from vitprof.errors import FormulaError
from vitprof.formulas.layer import Measure
from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.mixers import MIXERS
from vitprof.formulas.op import Pass
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.report.counts import Counts

B, N, D, H = 3, 49, 48, 4  # a layer on a grid of 7 x 7
d = D // H
TOKENS = B * N
LAYER: dict[str, Any] = {"tokens": N, "dim": D, "heads": H, "batch": B}
MLP = 2 * TOKENS * D * 4 * D
SCORES = B * H * N * N * d


def trained(model: str = "layer", **options: Any) -> Counts:
    report = vitprof.macs(model, training=True, counters=["torch"], **options)
    assert report.explained
    return report


def parts(report: Counts) -> list[int]:
    return [report.totals[part.value] for part in Pass]


def test_attention() -> None:
    report = trained(mixer="attn", **LAYER)
    weights = TOKENS * D * (3 * D) + TOKENS * D * D + MLP  # qkv, fc_out and MLP
    assert parts(report) == [weights + 2 * SCORES, weights + 4 * SCORES, weights, 0]
    assert (report.totals["forward"], report.total) == (4_755_744, 14_267_232)
    assert report.counters == {"torch": report.total}


@pytest.mark.parametrize(
    ("mixer", "forward", "both"),
    [("lambda", 5_898_816, 17_696_448), ("linear", 4_240_656, 12_721_968)],
)
def test_without_fixed_operands_it_is_three_times_the_forward_pass(
    mixer: str, forward: int, both: int
) -> None:
    report = trained(mixer=mixer, **LAYER)
    assert (report.totals["forward"], report.total) == (forward, both)
    assert both == 3 * forward


def test_formulas_of_a_row() -> None:
    report = trained(mixer="attn", **LAYER)
    rows = {row.path: row for row in report.rows}
    qkv, scores = rows["mixer.qkv"], rows["mixer.scores"]
    assert qkv.formula == "3 × (B × N × in × out)"
    assert qkv.numbers == "3 × (3 × 49 × 48 × 144)"
    assert [size.formula for size in qkv.part_sizes.values()] == [*3 * ["B × N × in × out"], "0"]
    assert scores.part_sizes["backward_by_input"].formula == (
        "2 × (B × heads × N × (head dim × N))"
    )
    assert [*scores.parts.values()] == [SCORES, 2 * SCORES, 0, 0]
    assert sum(row.count for row in report.rows) == report.total


def test_random_features_want_no_gradient() -> None:
    report = trained(mixer="performer", features=64, **LAYER)
    projected = 2 * B * H * N * d * 64  # of queries and keys
    assert report.total == 3 * report.totals["forward"] - projected == 3 * 5_908_224 - 903_168


def test_first_layer_wants_no_gradient_of_the_image() -> None:
    report = trained("classifier", mixer="attn", channels=3, dim=48, depth=3, batch=2)
    embedding = 2 * 7 * 7 * (3 * 4 * 4) * 48
    assert report.total == 3 * report.totals["forward"] - embedding
    assert [*report.rows[0].parts.values()] == [embedding, 0, embedding, 0]


def test_first_layer_after_a_norm_without_one_before_the_mixer() -> None:
    options: dict[str, Any] = {"mixer": "attn", "mlp": "none", **LAYER}
    assert parts(trained(block="post", **options))[1] == 4 * SCORES + TOKENS * D * D
    before = TOKENS * D * 3 * D  # the gain of its norm is trained, and stands before qkv
    assert parts(trained(block="pre", **options))[1] == before + 4 * SCORES + TOKENS * D * D


def test_grouped_convolution_is_counted_dense_by_the_tool() -> None:
    report = trained(mixer="conv", kernel_size=9, **LAYER)
    kernel = TOKENS * 9 * 9 * D
    assert report.total == 3 * (kernel + MLP) == 9_843_120
    (cause,) = report.differences["torch"].causes
    assert "grouped convolutions" in cause.cause
    assert cause.amount == kernel * (D - 1) == 26_862_192
    assert cause.paths == {"mixer.conv": cause.amount}
    assert report.counters["torch"] == 36_705_312


def test_fused_attention_computes_its_scores_again() -> None:
    fused, explicit = trained(fused=True, **LAYER), trained(**LAYER)
    assert parts(fused)[:3] == parts(explicit)[:3]
    assert parts(fused)[3] == SCORES
    assert fused.totals["without_recomputation"] == explicit.total == fused.counters["torch"]
    heads = torch.Size([B, H, N, d])  # for the kernels of a GPU it counts these, too
    flops = sdpa_backward_flop_count(heads, heads, heads, heads)  # type: ignore[no-untyped-call]
    assert flops == 2 * 5 * SCORES
    on_cpu = trained(fused=True, device="cpu", **LAYER)
    (cause,) = on_cpu.differences["torch"].causes
    assert -cause.amount == 7 * SCORES  # 2 forward, 4 for gradients, and the scores again


@pytest.mark.parametrize(
    ("options", "last"),
    [
        ({}, "fc2"),  # nothing after it saves what it returns
        ({"mixer": "lambda"}, "fc2"),
        ({"layer_scale": True}, ""),  # its gain's gradient is made of it
        ({"norm": "batch", "block": "post"}, ""),
        ({"mlp": "none"}, "fc_out"),
    ],
)
def test_recomputation_stops_once_all_is_there(options: dict[str, Any], last: str) -> None:
    size: dict[str, Any] = {"channels": 3, "dim": 48, "depth": 3, "batch": 2, **options}
    plain = trained("classifier", **size)
    again = trained("classifier", checkpoint=True, **size)
    rows = [row for row in again.rows if row.path.startswith("blocks.")]
    for row in rows:
        recomputed = 0 if row.path.rpartition(".")[2] == last else row.parts["forward"]
        assert row.parts["recomputed"] == recomputed
    assert again.totals["without_recomputation"] == plain.total
    assert again.total == plain.total + sum(row.parts["recomputed"] for row in rows)


def test_checkpointed_fused_attention_is_computed_again_whole() -> None:
    options: dict[str, Any] = {"depth": 1, "fused": True, "batch": 2}
    rows = {row.path: row for row in trained("classifier", checkpoint=True, **options).rows}
    attend = rows["blocks.0.mixer.attend"]
    assert 2 * attend.parts["recomputed"] == 3 * attend.parts["forward"]


def test_equal_blocks_are_equal_in_depth() -> None:
    for depth in (1, 2, 7):
        report = vitprof.macs(
            "classifier", training=True, checkpoint=True, depth=depth, counters=["analytic"]
        )
        one = vitprof.macs("classifier", training=True, checkpoint=True, depth=1, levels=2)
        blocks = next(row for row in one.tree if row.path.startswith("blocks"))
        assert report.total - one.total == (depth - 1) * blocks.count


@pytest.mark.parametrize("mixer", MIXERS)
def test_each_mixer(mixer: str) -> None:
    own = {**LAYER, **({"reduction": 7} if mixer == "sra" else {})}
    report = trained(mixer=mixer, **own)
    assert report.totals["forward"] == vitprof.macs("layer", mixer=mixer, **own).total


def test_random_combinations() -> None:
    # All options of models, mixers and blocks, at odd sizes, half of them checkpointed.
    for model, workload in islice(cases(seed=19), 16):
        if workload.inference:
            continue
        report = vitprof.macs(
            model,
            training=True,
            batch=workload.batch,
            checkpoint=workload.checkpoint,
            counters=["torch"],
        )
        assert report.explained, (model, workload, report.differences)
        assert report.totals["forward"] == model.formula(workload.batch).total(Measure.MACS)


@dataclass(frozen=True, kw_only=True)
class Twice(Mixer):
    """Two products of one name, the second with a parameter."""

    name = "twice"
    summary = "two products of one name"
    source = "none"
    module = "vitprof.modules.mixers.identity:Identity"

    def forward(self, run: Run, x: Tensor, sizes: MixerSizes) -> Tensor:
        y = run.matmul("product", x, run.buffer("fixed", sizes.dim, sizes.dim))
        return run.matmul("product", y, run.parameter("trained", sizes.dim, sizes.dim))


def test_a_name_with_several_numbers_of_gradients_is_refused() -> None:
    with forgetting(), pytest.raises(FormulaError, match=r"op mixer\.product is called 2 times"):
        vitprof.macs("layer", mixer=Twice, training=True, counters=["analytic"])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"training": True, "train": True}, "train has no effect with training"),
        ({"training": True, "grad": True}, "grad has no effect with training"),
        ({"checkpoint": True}, "checkpoint has no effect with a forward pass alone"),
        (
            {"training": True, "counters": ["analytic"], "device": "cpu"},
            "device cpu has no effect with counters analytic",
        ),
    ],
)
def test_options_without_effect_are_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(vitprof.SpecError, match=sentence):
        vitprof.macs("layer", **options)


def test_tools_that_read_no_training_step_say_so() -> None:
    report = vitprof.macs("layer", training=True, counters=["fvcore", "torch"], **LAYER)
    assert report.unavailable == {"fvcore": "counts forward passes only"}
    assert report.counters == {"torch": report.total}
    usual = vitprof.macs("layer", training=True, **LAYER)
    assert (usual.unavailable, [*usual.counters]) == ({}, ["torch"])


def test_totals_by_kind_have_the_parts() -> None:
    report = trained(by="kind", **LAYER)
    kinds = {group.name: group for group in report.groups}
    assert [*kinds["matmul"].parts.values()] == [2 * SCORES, 4 * SCORES, 0, 0]
    assert sum(group.count for group in report.groups) == report.total
