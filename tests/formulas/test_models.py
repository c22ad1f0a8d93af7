"""Options of the models: formulas against torch, counts by hand, and naive references.

Each option of a model is changed alone, and some together. Sizes are unequal, so that swapped
axes fail; an image that is not square has 4 rows of 6 patches.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import pytest
import torch
from against_modules import CHECKS
from combinations import Levels, differences, levels
from reconciled import broken, check_adds_up, macs, read
from spellings import SPELLINGS, Spelling

import vitprof
from vitprof.allocation.step import memory
from vitprof.counters import TOOLS
from vitprof.counters.convention import Setting
from vitprof.counters.reading import Reading
from vitprof.counters.reconcile import reconcile_macs
from vitprof.errors import SpecError
from vitprof.formulas.block import BLOCKS as ARRANGEMENTS
from vitprof.formulas.block import NORMS, BlockOptions
from vitprof.formulas.layer import Measure
from vitprof.formulas.mixers import MIXERS
from vitprof.formulas.model import Model
from vitprof.formulas.models import MODELS
from vitprof.request.specs import specify
from vitprof.request.workload import Workload
from vitprof.running.step import Step
from vitprof.testing import assert_macs, assert_params
from vitprof.values.options import Choice, Flag, Whole

Options = dict[str, Any]


# Variants: each option changed, and some that meet in a formula changed together.

IMAGE: Options = {"image_size": 12, "patch_size": 3, "channels": 2}
TOKEN: Options = {"dim": 12, "heads": 3, "mlp_ratio": "2.5"}
SIZES: dict[str, Options] = {
    "mae": {**IMAGE, **TOKEN, "depth": 1, "mask_ratio": "0.4"}
    | {"decoder_dim": 20, "decoder_heads": 5, "decoder_depth": 1},
    "classifier": {**IMAGE, **TOKEN, "depth": 2, "classes": 7},
    "layer": {**TOKEN, "tokens": 7},
}
# Values of sizes that are off by default, and options that a choice requires.
GIVEN: Options = {"image_width": 18}
BESIDE: dict[tuple[str, object], Options] = {("pool", "none"): {"head": False}}

BLOCKS: list[Options] = [
    {"norm": "affine", "mlp": "gated", "layer_scale": True, "activation": "silu"},
    {"norm": "rms", "mlp": "gated", "layer_scale": True},
    {"norm": "batch", "mlp": "linear", "layer_scale": True},
    {"norm": "rms", "mlp": "none", "layer_scale": True},
]
DROPS: Options = {"dropout": "0.1", "drop_path": "0.2"}
TOGETHER: dict[str, list[Options]] = {
    "mae": [
        BLOCKS[0],
        DROPS,
        *({"class_token": False, "pos_embed": kind} for kind in ("learned", "none")),
        {"class_token": False, "final_norm": False, "patch_bias": False},
        {"class_token": False, "mask_ratio": "0"},
        {"class_token": False, "norm": "batch"},
        {"pos_embed": "learned", "pos_embed_token": False},
        {"pos_embed": "learned", "image_width": 18},
        {"pos_embed": "none", "patch_bias": False},
    ],
    "classifier": [
        BLOCKS[1],
        DROPS,
        {"final_norm_tokens": "all", "norm": "batch"},
        {"final_norm_tokens": "all", "distillation": True},
        {"final_norm_tokens": "all", "distillation": True, "head": False, "final_norm": False},
        {"final_norm_tokens": "all", "pool": "mean"},
        *({"distillation": True, "norm": norm} for norm in ("rms", "affine", "batch")),
        *({"pool": "mean", "norm": norm} for norm in ("rms", "affine", "batch")),
        {"distillation": True, "head": False},
        {"distillation": True, "final_norm": False},
        {"distillation": True, "pos_embed_token": False},
        {"distillation": True, "pos_embed": "fixed"},
        {"distillation": True, "pos_embed": "none", "image_width": 18},
        {"pool": "mean", "head": False},
        {"pool": "mean", "final_norm": False},
        {"pool": "mean", "pos_embed": "fixed", "image_width": 18},
        {"pool": "none", "head": False, "final_norm": False},
        {"pos_embed": "fixed", "pos_embed_token": False},
    ],
    "layer": [
        *BLOCKS,
        *({name: rate} for name, rate in DROPS.items()),
        *({"mlp": mlp, **DROPS} for mlp in ("gated", "linear", "none")),
        *({"block": block, **DROPS} for block in ARRANGEMENTS),
        *({"block": block, "layer_scale": True} for block in ARRANGEMENTS),
        *({"block": block, "mlp": "none"} for block in ARRANGEMENTS),
        *({"block": block, "mlp": "linear", "norm": "batch"} for block in ARRANGEMENTS),
        *({"block": block, "mlp": "gated", "norm": "rms"} for block in ARRANGEMENTS),
    ],
}


class Variant(NamedTuple):
    """A model with some of its options changed from the defaults."""

    model: str
    turned: tuple[tuple[str, Any], ...]

    def __str__(self) -> str:
        return "-".join((self.model, *(f"{name}={value}" for name, value in self.turned)))


def alone(model: str) -> Iterator[Options]:
    """Yield each option of a model changed, except sizes; options of a block only for the layer.

    The norm option is tested in every model, since it is also the norm before the head.
    """
    usual = specify(model)
    of_blocks = BlockOptions.declared().keys() - {"norm"}
    for name, option in usual.declared().items():
        if model != "layer" and name in of_blocks:
            continue
        others: tuple[object, ...] = ()
        if isinstance(option, Flag):
            others = (False, True)
        elif isinstance(option, Choice):
            others = option.names
        elif isinstance(option, Whole) and not option.minimum:
            others = (GIVEN[name],)
        for other in others:
            if other != getattr(usual, name):
                yield {name: other, **BESIDE.get((name, other), {})}


VARIANTS = [
    Variant(model, tuple(turned.items()))
    for model in MODELS
    for turned in (*alone(model), *TOGETHER[model])
]
every_variant = pytest.mark.parametrize("variant", VARIANTS, ids=str)


@cache
def spec(variant: Variant) -> Model:
    return specify(variant.model, options={**SIZES[variant.model], **dict(variant.turned)})


def test_every_option_that_is_no_size_is_turned() -> None:
    assert {model for model, turned in VARIANTS if "norm" in dict(turned)} == {*MODELS}
    for name in ("mlp", "block", "activation", "layer_scale", *DROPS):
        assert "layer" in {model for model, turned in VARIANTS if name in dict(turned)}
    for name in ("image_width", "patch_bias", "pos_embed", "pos_embed_token", "final_norm"):
        assert {model for model, turned in VARIANTS if name in dict(turned)} == {
            "mae",
            "classifier",
        }
    for name in ("pool", "distillation", "head", "final_norm_tokens"):
        assert {model for model, turned in VARIANTS if name in dict(turned)} == {"classifier"}
    assert {model for model, turned in VARIANTS if "class_token" in dict(turned)} == {"mae"}


@every_variant
def test_the_formulas_are_the_modules(variant: Variant) -> None:
    assert len(CHECKS) == 8
    for check in CHECKS:
        check(spec(variant))


@every_variant
def test_a_step_trains_all_that_is_trained(variant: Variant) -> None:
    torch.manual_seed(0)
    step = Step(spec(variant), Workload(batch=3, device="cpu"), device="cpu")
    before = {name: p.detach().clone() for name, p in step.module.named_parameters()}
    assert all(parameter.grad is None for parameter in step.module.parameters())
    step()
    for name, parameter in step.module.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
        if not parameter.requires_grad:
            assert torch.equal(parameter, before[name]), name
    assert {name for name, p in step.module.named_parameters() if not p.requires_grad} == {
        node.path
        for node in spec(variant).formula().walk(fold=False)
        if node.path.endswith("pos_embed") and dict(spec(variant).values())["pos_embed"] == "fixed"
    }


# Memory, in every phase, as a trace of the real step finds it.

AUTOCAST: Options = {"dtype": "bf16", "autocast": True}
WORKLOADS: list[Options] = [
    {},
    {"device": "cpu"},
    AUTOCAST,
    {**AUTOCAST, "device": "cpu"},
    {"checkpoint": True},
    {"dtype": "bf16", "device": "cpu"},
    {"inference": True},
    {"dtype": "bf16"},
    {**AUTOCAST, "inference": True},
    {"inference": True, "device": "cpu"},
    {**AUTOCAST, "checkpoint": True, "device": "cpu"},
]
DROPPED = [variant for variant in VARIANTS if DROPS.keys() & dict(variant.turned).keys()]


def assert_traced(model: Model, how: Options) -> None:
    assert differences((model, Workload(batch=3, optimizer="sgd", **how))) == []


# An MLP alone is the same in a layer, which is quick to trace; one in three of the others.
BEYOND_MLPS = [
    variant
    for variant in VARIANTS
    if variant.model == "layer" or {*dict(variant.turned)} - {"mlp", "activation"}
]


@pytest.mark.parametrize(("place", "variant"), [*enumerate(BEYOND_MLPS)][::3], ids=str)
def test_memory_is_as_traced(place: int, variant: Variant) -> None:
    assert_traced(spec(variant), WORKLOADS[place % len(WORKLOADS)])


@pytest.mark.parametrize("how", WORKLOADS, ids=str)
def test_dropout_is_as_traced(how: Options) -> None:
    for variant in DROPPED:
        if variant.model == "layer":
            assert_traced(spec(variant), how)


def test_blocks_that_read_another_dtype_than_the_first_are_as_traced() -> None:
    """The first block reads the fp32 sum with the positions, the others a 2-byte norm output."""
    turned = (("block", "conv"), ("norm", "batch"), ("mlp", "linear"), ("depth", 5))
    assert_traced(spec(Variant("classifier", turned)), AUTOCAST)


# Without positions the patches are two bytes wide in mixed precision, and so is the residual.
@pytest.mark.parametrize("norm", NORMS)
def test_norms_of_two_bytes_are_as_traced(norm: str) -> None:
    turned = (("pool", "mean"), ("pos_embed", "none"), ("norm", norm))
    assert_traced(spec(Variant("classifier", turned)), AUTOCAST)


FINE = {  # options that change a few bytes of the backward pass
    "the gradient of a bias that a norm adds is there before that of its product": (
        Variant("layer", (("norm", "affine"), ("mlp_ratio", "0.1"))),
        {},
    ),
    "a factor that was made again is let go before its gradient is added up": (
        Variant("layer", (("layer_scale", True), ("mlp_ratio", "1"))),
        {"checkpoint": True},
    ),
    "what is made again of an input that wants no gradient is not kept": (
        Variant("layer", (("norm", "rms"),)),
        {"checkpoint": True, "device": "cpu"},
    ),
}


@pytest.mark.parametrize(("variant", "how"), FINE.values(), ids=FINE)
def test_backward_is_as_traced(variant: Variant, how: Options) -> None:
    assert_traced(spec(variant), how)


ON_GRID = [one for one in SPELLINGS if one.on_grid and one.model == "classifier"]


@pytest.mark.parametrize(("place", "spelling"), list(enumerate(ON_GRID)), ids=str)
def test_a_grid_need_not_be_square(place: int, spelling: Spelling) -> None:
    model = spelling.specify({"image_size": 9, "image_width": 18, "patch_size": 3})
    for check in CHECKS:
        check(model)
    assert_traced(model, WORKLOADS[place % len(WORKLOADS)])


# Readings of the tools.

# Evaluation as it is asked for by default, and training with gradients, on a CPU.
SETTINGS = [Setting(), Setting(device="cpu", train=True, grad=True)]


@pytest.mark.parametrize(("place", "variant"), list(enumerate(VARIANTS)), ids=str)
def test_every_reading_is_explained(place: int, variant: Variant) -> None:
    weighed = vitprof.params(spec(variant))
    check_adds_up(weighed)
    assert weighed.counters == dict.fromkeys(TOOLS, weighed.total)
    for setting in SETTINGS if variant.model == "layer" else SETTINGS[place % 2 :][:1]:
        check_adds_up(macs(spec(variant), 3, setting))


@pytest.mark.parametrize("setting", SETTINGS, ids=["eval", "train"])
@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize(
    ("turned", "kind"),
    [
        ({"norm": "rms"}, "rms_norm"),
        ({"norm": "affine"}, "affine"),
        ({"norm": "batch"}, "batch_norm"),
        ({"layer_scale": True}, "layer_scale"),
    ],
    ids=str,
)
def test_no_coefficient_can_be_another(
    turned: Options, kind: str, tool: str, setting: Setting
) -> None:
    model = spec(Variant("layer", tuple(turned.items())))
    tree, reading = model.formula(3), read(model, setting)[tool]
    convention = TOOLS[tool].convention(setting)
    assert isinstance(reading, Reading)
    assert reconcile_macs(tree, convention, reading).explained
    wrong = [other for of, _, other in broken(tree, convention) if of == kind]
    assert wrong
    for other in wrong:
        assert not reconcile_macs(tree, other, reading).explained


def added(turned: Options, tool: str, setting: Setting) -> int:
    """Return by how much a tool's reading of a layer of three images exceeds the MACs."""
    report = macs(spec(Variant("layer", tuple(turned.items()))), 3, setting, [tool])
    return report.counters[tool] - report.total


def test_what_the_tools_add_for_a_norm() -> None:
    evaluated, trained = SETTINGS
    elements = 3 * 7 * 12
    # fvcore has no rule for a root mean square, a product or a sum.
    assert added({"norm": "layer"}, "fvcore", evaluated) == 2 * 5 * elements
    assert added({"norm": "rms"}, "fvcore", evaluated) == 0
    assert added({"norm": "affine"}, "fvcore", evaluated) == 0
    assert added({"norm": "batch"}, "fvcore", evaluated) == 2 * 2 * elements
    assert added({"norm": "batch"}, "fvcore", trained) == 2 * 5 * elements
    assert added({"norm": "batch"}, "torch", trained) == 0
    # torchinfo multiplies weights and biases with the images; a scale's gain has another name.
    base = added({"norm": "layer"}, "torchinfo", evaluated)
    assert added({"norm": "rms"}, "torchinfo", evaluated) == base - 2 * 3 * 12
    assert added({"norm": "affine"}, "torchinfo", evaluated) == base
    assert added({"layer_scale": True}, "torchinfo", evaluated) == base


# Counts by hand.

B, N, D, h, H = 5, 7, 12, 3, 30  # images, tokens, channels, heads, and channels of the MLP
ATTENTION = D * 3 * D + 3 * D + D * D + D
MLP = D * H + H + H * D + D
LAYER = 2 * D + ATTENTION + 2 * D + MLP


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
    assert_params("layer", params, **SIZES["layer"], **turned)


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
    assert_macs("layer", expected, batch=B, **SIZES["layer"], **turned)


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
        options = {**SIZES["layer"], "activation": "silu", **turned}
        return Counter(vitprof.macs("layer", batch=B, counters=["analytic"], **options).not_counted)

    found = not_counted(turned)
    found.subtract(not_counted({}))
    assert {kind: amount for kind, amount in found.items() if amount} == more


n, wide = 4 * 4, 4 * 6  # patches of a square image, and of one that is not
p, C, K = 3, 2, 7  # side of a patch, channels, classes
PIXELS = p * p * C
HEAD = D * K + K
# The embedding of patches, two blocks, the norm and the head; the class token, and positions.
CLASSIFIER = (PIXELS * D + D) + 2 * LAYER + 2 * D + HEAD + D + (n + 1) * D


@pytest.mark.parametrize(
    ("turned", "params"),
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
    ids=str,
)
def test_parameters_of_a_classifier(turned: Options, params: int) -> None:
    assert_params("classifier", params, **SIZES["classifier"], **turned)


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
    assert_params("classifier", expected, **SIZES["classifier"], **turned)


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
    assert_macs("classifier", expected, batch=B, **SIZES["classifier"], **turned)


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
    assert_params("mae", expected, **SIZES["mae"], **turned)


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
    assert_macs("mae", {**parts, "macs": sum(parts.values())}, batch=B, **SIZES["mae"], **turned)


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
    options = {**SIZES[model], **turned}
    report = vitprof.macs(model, batch=B, counters=["analytic"], **options)
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
    model = specify("classifier", options={**SIZES["classifier"], **turned})
    report = vitprof.macs(model, batch=B, counters=["analytic"])
    blocks = 2 * 2 * B * model.stages[0].block.sizes.tokens.value * D
    assert report.not_counted["layer_norm"] == blocks + B * tokens * D


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_dropout_costs_nothing_in_inference(device: str) -> None:
    def held(turned: Options) -> Levels:
        model = specify("layer", options={**SIZES["layer"], **turned})
        return levels((model, Workload(batch=B, device=device, inference=True)))

    for name, rate in DROPS.items():
        assert held({name: rate}) == held({})


@pytest.mark.parametrize("model", ["classifier", "mae"])
def test_an_image_has_a_height_and_a_width(model: str) -> None:
    square = specify(model, options=SIZES[model])
    assert square.input_shape(B) == (B, C, 12, 12)
    oblong = specify(model, options={**SIZES[model], "image_width": 18})
    assert oblong.input_shape(B) == (B, C, 12, 18)


# What a layer of fp32 keeps for its backward pass, by hand, against one of LayerNorms and GELU:
# each norm keeps its input, that the residual has too, and two statistics of each token.
KEPT = 4 * B * N


@pytest.mark.parametrize(
    ("turned", "device", "more"),
    [
        # One statistic of each token; on a CPU the product with it too, for the gain, and no
        # statistic of what the layer is given, which wants no gradient.
        ({"norm": "rms"}, "cuda", 2 * KEPT - 4 * KEPT),
        ({"norm": "rms"}, "cpu", 2 * KEPT * D + KEPT - 4 * KEPT),
        ({"norm": "affine"}, "cuda", -4 * KEPT),
        ({"norm": "batch"}, "cpu", 2 * 2 * 4 * D - 4 * KEPT),
        # What it multiplies, which nobody else needs.
        ({"layer_scale": True}, "cuda", 2 * KEPT * D),
        # A mask of one byte an element after attention, activation and output; on a CPU factors.
        # The second linear layer keeps what is left of the activation, and GELU its input.
        ({"dropout": "0.1"}, "cuda", B * N * (D + H + D)),
        ({"dropout": "0.1"}, "cpu", KEPT * (D + H + D)),
        # ReLU keeps its output.
        ({"dropout": "0.1", "activation": "relu"}, "cuda", B * N * (D + H + D)),
        ({"dropout": "0.1", "mlp": "none"}, "cuda", B * N * D - KEPT * (D + D + 2) - KEPT * 2 * H),
        # A factor of each sample and branch.
        ({"drop_path": "0.1"}, "cuda", 2 * 4 * B),
        ({"drop_path": "0.1"}, "cpu", 2 * 4 * B),
        # Both halves, the gate's activation, and the product; in place of H before and after.
        ({"mlp": "gated"}, "cuda", KEPT * (2 * H + H + H) - KEPT * (H + H)),
        ({"mlp": "gated", "activation": "relu"}, "cuda", KEPT * (2 * H + H + H) - KEPT * (H + H)),
        # What the activation reads; its output is only added.
        ({"mlp": "linear"}, "cuda", KEPT * D - KEPT * (H + H)),
        ({"mlp": "linear", "activation": "relu"}, "cuda", KEPT * D - KEPT * (H + H)),
        # Norm, its input, output and statistics, and the MLP.
        ({"mlp": "none"}, "cuda", -KEPT * (D + D + 2) - KEPT * (H + H)),
    ],
    ids=str,
)
def test_a_layer_keeps(turned: Options, device: str, more: int) -> None:
    def kept(turned: Options) -> int:
        options = {**SIZES["layer"], "activation": "gelu", **turned}
        return memory(
            specify("layer", options=options), Workload(batch=B, device=device)
        ).kept_bytes

    assert kept(turned) - kept({}) == more


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


# Refused options.


@pytest.mark.parametrize(
    ("model", "options", "sentence"),
    [
        (
            "classifier",
            {"distillation": True, "pool": "mean"},
            "distillation needs a class token, and pool mean has none; give pool token with it",
        ),
        (
            "classifier",
            {"distillation": True, "pool": "none", "head": False},
            "distillation needs a class token, and pool none has none; give pool token with it",
        ),
        (
            "classifier",
            {"pool": "none"},
            "pool none returns all patches, which the head cannot classify; give --no-head with it",
        ),
        (
            "classifier",
            {"image_width": 14},
            "image width 14 is not divisible by patch size 4; patch size can be 1, 2, 7 or 14",
        ),
        (
            "mae",
            {"image_width": 4},
            "image width 4 is not divisible by patch size 8; patch size can be 1, 2 or 4",
        ),
        (
            "classifier",
            {"pos_embed": "fixed", "dim": 30, "heads": 6},
            "dim 30 is not divisible by 4, which sines and cosines of two axes need; "
            "with these heads dim can be 24 or 36",
        ),
        (
            "classifier",
            {"pos_embed": "fixed", "dim": 2, "heads": 1},
            "dim 2 is not divisible by 4, which sines and cosines of two axes need; "
            "with these heads dim can be 4",
        ),
        (
            "mae",
            {"decoder_dim": 30, "decoder_heads": 5},
            "decoder dim 30 is not divisible by 4, which sines and cosines of two axes need; "
            "with these heads decoder dim can be 20 or 40",
        ),
        (
            "mae",
            {"class_token": False, "mask_ratio": "0.99", "image_size": 32},
            "mask ratio 0.99 leaves the encoder none of 16 patches, and there is no class token; "
            "lower it, or give --class-token",
        ),
        *(
            (
                "layer",
                {"mlp": mlp, "mlp_ratio": "0.01"},
                "mlp ratio 0.01 gives the MLP of dim 64 no hidden channel; "
                "give a ratio of at least 1/64",
            )
            for mlp in ("plain", "gated")
        ),
        *(
            ("layer", {name: rate}, f"{label} {rate} is out of range; give {bounds}")
            for name, label in (("dropout", "dropout"), ("drop_path", "drop path"))
            for rate in ("1", "-0.1")
            for bounds in ("a number from 0 to below 1",)
        ),
        ("layer", {"norm": "group"}, "norm can be layer, rms, affine or batch, not 'group'"),
        ("mae", {"mlp": "deep"}, "mlp can be plain, gated, linear or none, not 'deep'"),
        ("layer", {"activation": "tanh"}, "activation can be gelu, relu or silu, not 'tanh'"),
        ("mae", {"pos_embed": "sin"}, "pos embed can be learned, fixed or none, not 'sin'"),
        ("classifier", {"pool": "cls"}, "pool can be token, mean or none, not 'cls'"),
        (
            "classifier",
            {"class_token": False},
            "class token is an option of mae, not of classifier with attn",
        ),
    ],
)
def test_what_does_not_fit_is_refused(model: str, options: Options, sentence: str) -> None:
    with pytest.raises(SpecError) as refusal:
        specify(model, options=options)
    assert str(refusal.value) == sentence


def test_patch_sizes_that_a_refusal_suggests_are_taken() -> None:
    with pytest.raises(SpecError, match="not divisible by") as refusal:
        specify("classifier", options={"image_size": 28, "image_width": 30})
    suggested = re.findall(r"\d+", str(refusal.value).partition("can be")[2])
    assert suggested
    for patch_size in suggested:
        options = {"image_size": 28, "image_width": 30, "patch_size": patch_size}
        specify("classifier", options=options)


@pytest.mark.parametrize(
    ("model", "options"),
    [
        *(("layer", {"mlp": mlp, "mlp_ratio": "0.01"}) for mlp in ("linear", "none")),
        *(("layer", {"mlp": mlp, "mlp_ratio": "1/64"}) for mlp in ("plain", "gated")),
        ("classifier", {"pool": "none", "head": False}),
        # Without a table of sines and cosines, any width is allowed.
        *(("mae", {"pos_embed": kind, "dim": 30, "heads": 3}) for kind in ("learned", "none")),
        ("classifier", {"dim": 30, "heads": 3}),
        # One patch is enough, or a class token alone.
        ("mae", {"class_token": False, "mask_ratio": "15/16", "image_size": 32}),
        ("mae", {"mask_ratio": "0.99", "image_size": 32}),
    ],
    ids=str,
)
def test_what_fits_is_taken(model: str, options: Options) -> None:
    assert specify(model, options=options).formula().total(Measure.MACS) > 0


def test_options_of_models_and_mixers_have_names_of_their_own() -> None:
    """The command line takes options of models and mixers in one list."""
    of_models = {name for model in MODELS.values() for name in model.declared()}
    of_mixers = {name for mixer in MIXERS.values() for name in mixer.declared()}
    assert of_models & of_mixers == set()
