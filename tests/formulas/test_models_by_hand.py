"""Options of the models: counts by hand."""

from __future__ import annotations

from collections import Counter

import pytest
from cases import for_each
from variants import SIZES, Options

import vitprof
from vitprof.formulas.model import Model
from vitprof.request.specs import specify, specify_loosely
from vitprof.testing import assert_macs, assert_params

B, N, D, h, H = 5, 7, 12, 3, 30  # images, tokens, channels, heads, and channels of the MLP
ATTENTION = D * 3 * D + 3 * D + D * D + D
MLP = D * H + H + H * D + D
LAYER = 2 * D + ATTENTION + 2 * D + MLP


def sized(model: str, turned: Options) -> Model:
    """Return a model of the sizes of these tests, on which some of them may have no effect."""
    return specify_loosely(model, options={**SIZES[model], **turned})


@pytest.mark.parametrize(
    ("turned", "params"),
    [
        ({}, 2 * D + ATTENTION + 2 * D + (D * H + H + H * D + D)),
        ({"mlp": "gated"}, 2 * D + ATTENTION + 2 * D + (D * 2 * H + 2 * H + H * D + D)),
        ({"mlp": "linear"}, 2 * D + ATTENTION + 2 * D + (D * D + D)),
        ({"mlp": "none"}, 2 * D + ATTENTION),
        ({"norm": "rms"}, D + ATTENTION + D + MLP),
        ({"norm": "rms", "mlp": "none"}, D + ATTENTION),
        ({"norm": "affine"}, 2 * D + ATTENTION + 2 * D + MLP),
        # Its running mean and variance are not parameters.
        ({"norm": "batch"}, 2 * D + ATTENTION + 2 * D + MLP),
        ({"layer_scale": True}, LAYER + 2 * D),
        ({"layer_scale": True, "mlp": "none"}, 2 * D + ATTENTION + D),
        ({"activation": "silu"}, LAYER),
    ],
    ids=str,
)
def test_parameters_of_a_layer(turned: Options, params: int) -> None:
    assert_params(sized("layer", turned), params)


MIXING = B * N * D * 3 * D + 2 * (B * h * N * N * (D // h)) + B * N * D * D


@pytest.mark.parametrize(
    ("turned", "mlp"),
    [
        ({}, {"mlp": B * N * D * H + B * N * H * D}),
        ({"mlp": "gated"}, {"mlp.fc1": B * N * D * 2 * H, "mlp.fc2": B * N * H * D}),
        ({"mlp": "linear"}, {"mlp.fc1": B * N * D * D}),
        ({"mlp": "none"}, {}),
        (
            {"norm": "rms", "layer_scale": True},
            {"mlp.fc1": B * N * D * H, "mlp.fc2": B * N * H * D},
        ),
    ],
    ids=str,
)
def test_macs_of_a_layer(turned: Options, mlp: dict[str, int]) -> None:
    expected = {"mixer": MIXING, **mlp, "macs": MIXING + sum(mlp.values())}
    assert_macs(sized("layer", turned), expected, batch=B)


@pytest.mark.parametrize(
    ("turned", "more"),
    [
        ({"mlp": "gated"}, {"multiply": B * N * H, "bias": B * N * H}),
        ({"mlp": "linear"}, {"silu": B * N * (D - H), "bias": -B * N * H}),
        (
            {"mlp": "none"},
            {"silu": -B * N * H, "bias": -B * N * (H + D), "layer_norm": -B * N * D}
            | {"add": -B * N * D},
        ),
        ({"norm": "rms"}, {"layer_norm": -2 * B * N * D, "rms_norm": 2 * B * N * D}),
        ({"norm": "affine"}, {"layer_norm": -2 * B * N * D, "affine": 2 * B * N * D}),
        ({"norm": "batch"}, {"layer_norm": -2 * B * N * D, "batch_norm": 2 * B * N * D}),
        ({"layer_scale": True}, {"layer_scale": 2 * B * N * D}),
        ({"dropout": "0.1"}, {"dropout": B * N * (D + H + D)}),
        (
            {"dropout": "0.1", "mlp": "gated"},
            {"dropout": B * N * (D + H + D)} | {"multiply": B * N * H, "bias": B * N * H},
        ),
        ({"drop_path": "0.1"}, {"drop path": 2 * B * N * D}),
        ({"activation": "relu"}, {"silu": -B * N * H, "relu": B * N * H}),
    ],
    ids=str,
)
def test_elements_that_are_not_counted(turned: Options, more: dict[str, int]) -> None:
    def not_counted(turned: Options) -> Counter[str]:
        model = sized("layer", {"activation": "silu", **turned})
        return Counter(vitprof.macs(model, batch=B, counters=["analytic"]).not_counted)

    found = not_counted(turned)
    found.subtract(not_counted({}))
    assert {kind: amount for kind, amount in found.items() if amount} == more


n = 4 * 4  # patches of a square image
p, C, K = 3, 2, 7  # side of a patch, channels, classes
PIXELS = p * p * C
HEAD = D * K + K
# The embedding of patches, two blocks, the norm and the head; the class token, and positions.
CLASSIFIER = (PIXELS * D + D) + 2 * LAYER + 2 * D + HEAD + D + (n + 1) * D


@for_each(
    "turned, params",
    [
        ({}, CLASSIFIER),
        # A token, its position, and its head.
        ({"distillation": True}, CLASSIFIER + D + D + D * K + K),
        ({"distillation": True, "pos_embed_token": False}, CLASSIFIER + D - D + D * K + K),
        ({"distillation": True, "head": False}, CLASSIFIER + D + D - HEAD),
        ({"pool": "mean"}, CLASSIFIER - D - D),
        ({"pool": "mean", "pos_embed_token": False}, CLASSIFIER - D - D),
        ({"pool": "none", "head": False}, CLASSIFIER - D - D - HEAD),
        ({"head": False}, CLASSIFIER - HEAD),
        ({"pos_embed": "none"}, CLASSIFIER - (n + 1) * D),
        ({"pos_embed": "fixed"}, CLASSIFIER),
        ({"pos_embed_token": False}, CLASSIFIER - (n + 1) * D + n * D),
        ({"image_width": 18}, CLASSIFIER - (n + 1) * D + (4 * 6 + 1) * D),
        ({"image_width": 12}, CLASSIFIER),
        ({"patch_bias": False}, CLASSIFIER - D),
        ({"final_norm": False}, CLASSIFIER - 2 * D),
        ({"norm": "rms"}, CLASSIFIER - 2 * 2 * D - D),
        ({"layer_scale": True}, CLASSIFIER + 2 * 2 * D),
        ({"mlp": "none"}, CLASSIFIER - 2 * (2 * D + MLP)),
    ],
)
def test_parameters_of_a_classifier(turned: Options, params: int) -> None:
    assert_params(sized("classifier", turned), params)


@pytest.mark.parametrize(
    ("turned", "raw", "fixed"),
    [
        ({}, D + (n + 1) * D, 0),
        ({"pos_embed": "fixed"}, D + (n + 1) * D, (n + 1) * D),
        ({"pos_embed": "fixed", "pos_embed_token": False}, D + n * D, n * D),
        ({"pos_embed": "fixed", "pool": "mean"}, n * D, n * D),
        ({"pos_embed": "none"}, D, 0),
        ({"distillation": True}, D + D + (n + 2) * D, 0),
        ({"distillation": True, "pos_embed": "fixed"}, D + D + (n + 2) * D, (n + 2) * D),
    ],
    ids=str,
)
def test_tokens_and_positions_of_a_classifier(turned: Options, raw: int, fixed: int) -> None:
    expected = {"tokens_and_positions": raw, "fixed": fixed}
    assert_params(sized("classifier", turned), expected)


def block_macs(tokens: int, dim: int = D, hidden: int = H) -> int:
    """Return the MACs of attention and MLP for B images; all heads together have dim channels."""
    attention = B * tokens * dim * 3 * dim + 2 * B * tokens * tokens * dim + B * tokens * dim * dim
    return attention + B * tokens * dim * hidden + B * tokens * hidden * dim


@pytest.mark.parametrize(
    ("turned", "patches", "tokens", "heads"),
    [
        ({}, n, n + 1, B * D * K),
        ({"image_width": 18}, 4 * 6, 4 * 6 + 1, B * D * K),
        ({"image_width": 6}, 4 * 2, 4 * 2 + 1, B * D * K),
        ({"distillation": True}, n, n + 2, 2 * B * D * K),
        ({"distillation": True, "head": False}, n, n + 2, 0),
        ({"pool": "mean"}, n, n, B * D * K),
        ({"pool": "none", "head": False, "image_width": 18}, 4 * 6, 4 * 6, 0),
        ({"patch_bias": False, "pos_embed": "none", "final_norm": False}, n, n + 1, B * D * K),
    ],
    ids=str,
)
def test_macs_of_a_classifier(turned: Options, patches: int, tokens: int, heads: int) -> None:
    embedding = B * patches * PIXELS * D
    expected = {
        "patch_embed.proj": embedding,
        "blocks.0": block_macs(tokens),
        "blocks.1": block_macs(tokens),
        "macs": embedding + 2 * block_macs(tokens) + heads,
    }
    assert_macs(sized("classifier", turned), expected, batch=B)


E, E_H = 20, 50  # channels of the decoder, and of its MLP
DECODER = 2 * E + (E * 3 * E + 3 * E + E * E + E) + 2 * E + (E * E_H + E_H + E_H * E + E)
# Embedding, block and norm; what the decoder begins with, its block, norm, and prediction;
# the class token and the mask token; both tables of positions.
MAE_LAYERS = (
    *((PIXELS * D + D), LAYER, 2 * D),
    *((D * E + E), DECODER, 2 * E, (E * PIXELS + PIXELS)),
)
MAE = sum(MAE_LAYERS) + D + E + (n + 1) * (D + E)


@pytest.mark.parametrize(
    ("turned", "params", "fixed"),
    [
        ({}, MAE, (n + 1) * (D + E)),
        ({"pos_embed": "learned"}, MAE, 0),
        ({"pos_embed": "none"}, sum(MAE_LAYERS) + D + E, 0),
        ({"pos_embed_token": False}, MAE - D - E, n * (D + E)),
        ({"class_token": False}, sum(MAE_LAYERS) + E + n * (D + E), n * (D + E)),
        ({"class_token": False, "pos_embed": "none"}, sum(MAE_LAYERS) + E, 0),
        ({"class_token": False, "pos_embed_token": False}, MAE - D - D - E, n * (D + E)),
        ({"image_width": 18}, MAE + (4 * 6 - 4 * 4) * (D + E), (4 * 6 + 1) * (D + E)),
        ({"patch_bias": False}, MAE - D, (n + 1) * (D + E)),
        ({"final_norm": False}, MAE - 2 * D - 2 * E, (n + 1) * (D + E)),
        ({"norm": "rms"}, MAE - 3 * D - 3 * E, (n + 1) * (D + E)),
        ({"layer_scale": True}, MAE + 2 * D + 2 * E, (n + 1) * (D + E)),
        (
            {"mlp": "gated"},
            MAE + (D * H + H) + (E * E_H + E_H),  # as much again before each activation
            (n + 1) * (D + E),
        ),
    ],
    ids=str,
)
def test_parameters_of_a_masked_autoencoder(turned: Options, params: int, fixed: int) -> None:
    expected = {"all": params, "fixed": fixed, "trainable": params - fixed}
    assert_params(sized("mae", turned), expected)


@pytest.mark.parametrize(
    ("turned", "patches", "kept", "token"),
    [
        # Six tenths of the patches are kept, rounded down.
        ({}, n, 9, 1),
        ({"class_token": False}, n, 9, 0),
        ({"image_width": 18}, 4 * 6, 14, 1),
        ({"image_width": 18, "class_token": False}, 4 * 6, 14, 0),
        ({"pos_embed": "none", "patch_bias": False, "final_norm": False}, n, 9, 1),
    ],
    ids=str,
)
def test_macs_of_a_masked_autoencoder(turned: Options, patches: int, kept: int, token: int) -> None:
    seen, all_of_them = kept + token, patches + token
    parts = {
        "patch_embed.proj": B * patches * p * p * C * D,
        "blocks.0": block_macs(seen),
        "decoder_embed": B * seen * D * E,
        "decoder_blocks.0": block_macs(all_of_them, E, E_H),
        "decoder_pred": B * all_of_them * E * PIXELS,
    }
    assert_macs(sized("mae", turned), {**parts, "macs": sum(parts.values())}, batch=B)


RESIDUALS = 2 * B * (9 + 1) * D + 2 * B * (n + 1) * E


@pytest.mark.parametrize(
    ("model", "turned", "sums"),
    [
        # Positions of every patch and of the class token, and residuals of each block.
        ("mae", {}, B * n * D + D + B * (n + 1) * E + RESIDUALS),
        ("mae", {"pos_embed_token": False}, B * n * D + B * n * E + RESIDUALS),
        ("mae", {"pos_embed": "none"}, RESIDUALS),
        (
            "mae",
            {"class_token": False},
            B * n * D + B * n * E + 2 * B * 9 * D + 2 * B * n * E,
        ),
        ("mae", {"class_token": False, "pos_embed": "none"}, 2 * B * 9 * D + 2 * B * n * E),
        ("classifier", {}, B * (n + 1) * D + 4 * B * (n + 1) * D),
        ("classifier", {"pos_embed_token": False}, B * n * D + 4 * B * (n + 1) * D),
        ("classifier", {"pos_embed": "none"}, 4 * B * (n + 1) * D),
        ("classifier", {"pool": "mean"}, B * n * D + 4 * B * n * D),
        # The logits of both heads are added up.
        ("classifier", {"distillation": True}, B * (n + 2) * D + 4 * B * (n + 2) * D + B * K),
    ],
    ids=str,
)
def test_sums_that_are_not_counted(model: str, turned: Options, sums: int) -> None:
    report = vitprof.macs(sized(model, turned), batch=B, counters=["analytic"])
    assert report.not_counted["add"] == sums


@pytest.mark.parametrize(
    ("turned", "tokens"),
    [
        ({}, 1),
        ({"final_norm_tokens": "all"}, n + 1),
        ({"distillation": True}, 2),
        ({"distillation": True, "final_norm_tokens": "all"}, n + 2),
        ({"pool": "mean"}, n),
        ({"pool": "mean", "final_norm_tokens": "all"}, n),
    ],
    ids=str,
)
def test_tokens_that_the_final_norm_reads(turned: Options, tokens: int) -> None:
    """The blocks' norms read two times two times all tokens."""
    model = sized("classifier", turned)
    report = vitprof.macs(model, batch=B, counters=["analytic"])
    blocks = 2 * 2 * B * model.stages[0].block.sizes.tokens.value * D
    assert report.not_counted["layer_norm"] == blocks + B * tokens * D


@pytest.mark.parametrize("model", ["classifier", "mae"])
def test_an_image_has_a_height_and_a_width(model: str) -> None:
    square = specify(model, options=SIZES[model])
    assert square.input_shape(B) == (B, C, 12, 12)
    oblong = specify(model, options={**SIZES[model], "image_width": 18})
    assert oblong.input_shape(B) == (B, C, 12, 18)


@pytest.mark.parametrize(
    ("block", "norms", "scales", "sums"),
    [
        *[("pre", 2, 2, 2), ("post", 2, 2, 2), ("parallel", 1, 2, 2)],
        *[("single", 2, 1, 1), ("conv", 2, 1, 1)],
    ],
)
def test_what_an_arrangement_holds_and_adds(block: str, norms: int, scales: int, sums: int) -> None:
    """In addition to attention and an MLP of 4 D, a norm has 2 D parameters, a scale D."""
    rest = 3 * D * D + 3 * D + D * D + D + 2 * 4 * D * D + 4 * D + D
    options: Options = {"tokens": N, "dim": D, "heads": h, "block": block, "layer_scale": True}
    assert_params("layer", rest + norms * 2 * D + scales * D, **options)
    report = vitprof.macs("layer", counters=["analytic"], **options)
    assert report.not_counted["add"] == sums * N * D
    assert report.not_counted["layer_norm"] == norms * N * D
