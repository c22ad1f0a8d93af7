"""Published counts, exactly, by formula.

The sources are a report on MAE token mixers and a report on a Fashion-MNIST classifier. Every
expected value is written as its derivation, next to the number that the report prints.
"""

from __future__ import annotations

import pytest

from vitprof.formulas.layer import Layer, Measure
from vitprof.formulas.model import Model
from vitprof.formulas.op import Op
from vitprof.formulas.totals import totals
from vitprof.request.specs import specify
from vitprof.values.size import Size

# A report on MAE token mixers trains two versions of one model.
LARGE_DECODER: dict[str, object] = {}  # the defaults
SMALL_DECODER: dict[str, object] = {"patch_size": 16, "decoder_dim": 128, "decoder_heads": 8}


def params(model: Model) -> dict[str, int]:
    """Return parameters by path; equal blocks are folded into one row, which counts one of them."""
    return {
        node.path: node.item.of_one(Measure.PARAMS)
        if isinstance(node.item, Layer)
        else node.item.params.value
        for node in model.formula().walk(fold=True)
    }


def macs(model: Model, batch: int) -> dict[str, Size]:
    """Return multiply-accumulates and formula by path, for every op that has any."""
    return {
        node.path: node.item.macs
        for node in model.formula(batch).walk(fold=True)
        if isinstance(node.item, Op) and node.item.macs.value
    }


def layer_params(model: Model) -> int:
    """Return the sum over layers as in the report's tables, without tokens and positions."""
    return totals(model.formula(), Measure.PARAMS)["layers"]


def mae(mixer: str, options: dict[str, object]) -> Model:
    return specify("mae", mixer=mixer, options=options)


ATTENTION_128 = 128 * (3 * 128) + 3 * 128 + 128 * 128 + 128
ATTENTION_512 = 512 * (3 * 512) + 3 * 512 + 512 * 512 + 512

# h·k + k + v with k = 16: queries of every head, one key, one value for all.
LAMBDA_128 = {
    "qkv": 128 * (8 * 16 + 16 + 16) + (8 * 16 + 16 + 16),
    "norm_q": 2 * 8 * 16,
    "norm_v": 2 * 16,
    "position_lambdas": 16 * 81 + 16,
}
LAMBDA_512 = {
    "qkv": 512 * (16 * 16 + 16 + 32) + (16 * 16 + 16 + 32),
    "norm_q": 2 * 16 * 16,
    "norm_v": 2 * 32,
    "position_lambdas": 16 * 81 + 16,
}

MIXER_PARAMS = {
    "attn": (ATTENTION_128, ATTENTION_512),
    "lambda": (sum(LAMBDA_128.values()), sum(LAMBDA_512.values())),
    # φ(x) = elu(x) + 1 in place of the softmax has no parameters.
    "linear": (ATTENTION_128, ATTENTION_512),
}

MLP_128 = 128 * 512 + 512 + 512 * 128 + 128
MLP_512 = 512 * 2048 + 2048 + 2048 * 512 + 512


def test_the_derivations_are_what_the_report_prints() -> None:
    assert (ATTENTION_128, ATTENTION_512) == (66_048, 1_050_624)
    assert list(LAMBDA_128.values()) == [20_640, 256, 32, 1_312]
    assert list(LAMBDA_512.values()) == [155_952, 512, 64, 1_312]
    assert MIXER_PARAMS["lambda"] == (22_240, 157_840)
    assert (MLP_128, MLP_512) == (131_712, 2_099_712)


@pytest.mark.parametrize("mixer", MIXER_PARAMS)
def test_mae_table_of_the_large_decoder(mixer: str) -> None:
    counted = params(mae(mixer, LARGE_DECODER))
    narrow, wide = MIXER_PARAMS[mixer]
    expected = {
        "patch_embed.proj": 8 * 8 * 1 * 128 + 128,
        "blocks.0-11.norm1": 2 * 128,
        "blocks.0-11.mixer": narrow,
        "blocks.0-11.norm2": 2 * 128,
        "blocks.0-11.mlp": MLP_128,
        "norm": 2 * 128,
        "decoder_embed": 128 * 512 + 512,
        "decoder_blocks.0-7.norm1": 2 * 512,
        "decoder_blocks.0-7.mixer": wide,
        "decoder_blocks.0-7.norm2": 2 * 512,
        "decoder_blocks.0-7.mlp": MLP_512,
        "decoder_norm": 2 * 512,
        "decoder_pred": 512 * 64 + 64,
    }
    assert {path: counted[path] for path in expected} == expected


@pytest.mark.parametrize(
    ("mixer", "printed"),
    # Over the first table the report repeats the lambda total; the table adds up to this.
    [("attn", 27_706_816), ("lambda", 20_038_848), ("linear", 27_706_816)],
)
def test_mae_layers_of_the_large_decoder(mixer: str, printed: int) -> None:
    narrow, wide = MIXER_PARAMS[mixer]
    expected = (
        (8 * 8 * 1 * 128 + 128)
        + 12 * (2 * 128 + narrow + 2 * 128 + MLP_128)
        + 2 * 128
        + (128 * 512 + 512)
        + 8 * (2 * 512 + wide + 2 * 512 + MLP_512)
        + 2 * 512
        + (512 * 64 + 64)
    )
    assert layer_params(mae(mixer, LARGE_DECODER)) == expected == printed


@pytest.mark.parametrize(
    ("mixer", "printed"), [("attn", 4_048_384), ("lambda", 3_172_224), ("linear", 4_048_384)]
)
def test_mae_layers_of_the_small_decoder(mixer: str, printed: int) -> None:
    narrow, _ = MIXER_PARAMS[mixer]
    expected = (
        (16 * 16 * 1 * 128 + 128)
        + (12 + 8) * (2 * 128 + narrow + 2 * 128 + MLP_128)
        + 2 * 128
        + (128 * 128 + 128)
        + 2 * 128
        + (128 * 256 + 256)
    )
    assert layer_params(mae(mixer, SMALL_DECODER)) == expected == printed


def test_mae_tokens_and_positions_come_on_top_of_the_layers() -> None:
    model = mae("attn", LARGE_DECODER)
    expected = {
        "cls_token": 128,
        "pos_embed": (32 * 32 + 1) * 128,
        "mask_token": 512,
        "decoder_pos_embed": (32 * 32 + 1) * 512,
    }
    counted = params(model)
    assert {path: counted[path] for path in expected} == expected
    assert sum(expected.values()) == 656_640
    assert totals(model.formula(), Measure.PARAMS) == {
        "layers": 27_706_816,
        "tokens_and_positions": 656_640,
        "all": 27_706_816 + 656_640,
        "trainable": 27_706_816 + 128 + 512,
        "fixed": (32 * 32 + 1) * (128 + 512),
    }


@pytest.mark.parametrize(
    ("stage", "parts"), [("blocks.0-11", LAMBDA_128), ("decoder_blocks.0-7", LAMBDA_512)]
)
def test_lambda_layer_by_parts(stage: str, parts: dict[str, int]) -> None:
    counted = params(mae("lambda", LARGE_DECODER))
    assert {part: counted[f"{stage}.mixer.{part}"] for part in parts} == parts


@pytest.mark.parametrize(
    ("stage", "n", "D", "h"),
    # The encoder sees a quarter of the 32 × 32 patches, and the class token.
    [
        ("blocks.0-11", 32 * 32 // 4 + 1, 128, 8),
        ("decoder_blocks.0-7", 32 * 32 + 1, 512, 16),
    ],
)
def test_lambda_layer_multiplies(stage: str, n: int, D: int, h: int) -> None:
    k, v = 16, D // h
    expected = {
        "qkv": n * D * (h * k + k + v),
        "content_lambda": k * n * v,
        "content_output": n * h * k * v,
        "position_lambdas": n * v * k * 81,
        "position_output": n * h * k * v,
    }
    counted = macs(mae("lambda", LARGE_DECODER), batch=1)
    assert {part: counted[f"{stage}.mixer.{part}"].value for part in expected} == expected


def test_classifier_parameters() -> None:
    counted = params(specify("classifier"))
    layer = {
        "norm1": 64 + 64,
        "mixer.qkv": 64 * 192 + 192,
        "mixer.fc_out": 64 * 64 + 64,
        "norm2": 64 + 64,
        "mlp.fc1": 64 * 256 + 256,
        "mlp.fc2": 256 * 64 + 64,
    }
    assert {part: counted[f"blocks.0-3.{part}"] for part in layer} == layer
    assert counted["blocks.0-3"] == sum(layer.values()) == 49_984
    around = {
        "cls_token": 64,
        "pos_embed": (7 * 7 + 1) * 64,
        "patch_embed.proj": 16 * 64 + 64,
        "blocks": 4 * 49_984,
        "norm": 2 * 64,
        "head": 64 * 10 + 10,
    }
    assert {path: counted[path] for path in around} == around
    assert counted[""] == sum(around.values())


# A report on a Fashion-MNIST classifier, one encoder layer at batch 100 and 50 tokens.
ENCODER_LAYER_MACS = {
    "mixer.qkv": ("B × N × in × out", "100 × 50 × 64 × 192", 61_440_000),
    "mixer.scores": ("B × heads × N × (head dim × N)", "100 × 4 × 50 × (16 × 50)", 16_000_000),
    "mixer.output": ("B × heads × N × (N × head dim)", "100 × 4 × 50 × (50 × 16)", 16_000_000),
    "mixer.fc_out": ("B × N × in × out", "100 × 50 × 64 × 64", 20_480_000),
    "mlp.fc1": ("B × N × in × out", "100 × 50 × 64 × 256", 81_920_000),
    "mlp.fc2": ("B × N × in × out", "100 × 50 × 256 × 64", 81_920_000),
}


@pytest.mark.parametrize(("model", "prefix"), [("layer", ""), ("classifier", "blocks.0-3.")])
def test_encoder_layer_row_by_row(model: str, prefix: str) -> None:
    counted = {
        path.removeprefix(prefix): (size.formula, size.numbers, size.value)
        for path, size in macs(specify(model), batch=100).items()
        if path.startswith(prefix)
    }
    assert counted == ENCODER_LAYER_MACS


def test_encoder_layer_totals() -> None:
    layer = specify("layer").formula(batch=100)
    assert layer.total(Measure.MACS) == 277_760_000
    assert layer.total(Measure.PARAMS) == 49_984


def test_encoder_layer_lists_what_it_does_not_count() -> None:
    tokens, scores = 100 * 50, 100 * 4 * 50 * 50
    assert specify("layer").formula(batch=100).uncounted() == {
        "layer_norm": 2 * tokens * 64,
        "bias": tokens * (192 + 64 + 256 + 64),
        "scale": tokens * 64,
        "softmax": scores,
        "relu": tokens * 256,
        "add": 2 * tokens * 64,
    }


def test_the_fused_spelling_costs_the_same() -> None:
    fused = specify("layer", options={"fused": True}).formula(batch=100)
    assert fused.total(Measure.MACS) == 277_760_000
    assert fused.total(Measure.PARAMS) == 49_984
