"""Options of the models: their memory as traced, in every phase, and by hand."""

from __future__ import annotations

import pytest
from against_modules import CHECKS
from combinations import Levels, differences, levels
from spellings import SPELLINGS, Spelling
from variants import DROPS, SIZES, VARIANTS, Options, Variant, spec

from vitprof.allocation.step import memory
from vitprof.formulas.model import Model
from vitprof.formulas.parts.norms import NORMS
from vitprof.request.specs import specify_loosely
from vitprof.request.workload import Workload

B, N, D, H = 5, 7, 12, 30  # images, tokens, channels, and channels of the MLP

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
    optimizer: Options = {} if how.get("inference") else {"optimizer": "sgd"}
    assert differences((model, Workload(batch=3, **optimizer, **how))) == []


# An MLP alone is the same in a layer, which is quick to trace; one in nine of the others.
BEYOND_MLPS = [
    variant
    for variant in VARIANTS
    if variant.model == "layer" or {*dict(variant.turned)} - {"mlp", "activation"}
]


@pytest.mark.parametrize(("place", "variant"), [*enumerate(BEYOND_MLPS)][::9], ids=str)
def test_memory_is_as_traced(place: int, variant: Variant) -> None:
    assert_traced(spec(variant), WORKLOADS[place % len(WORKLOADS)])


@pytest.mark.parametrize("how", WORKLOADS[::2], ids=str)
def test_dropout_is_as_traced(how: Options) -> None:
    layers = [variant for variant in DROPPED if variant.model == "layer"]
    for variant in layers[WORKLOADS.index(how) // 2 % 3 :: 3]:  # each in every third workload
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


@pytest.mark.parametrize(("place", "spelling"), list(enumerate(ON_GRID))[::2], ids=str)
def test_a_grid_need_not_be_square(place: int, spelling: Spelling) -> None:
    model = spelling.specify({"image_size": 9, "image_width": 18, "patch_size": 3})
    for check in CHECKS:
        check(model)
    assert_traced(model, WORKLOADS[place % len(WORKLOADS)])


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_dropout_costs_nothing_in_inference(device: str) -> None:
    def held(turned: Options) -> Levels:
        model = specify_loosely("layer", options={**SIZES["layer"], **turned})
        return levels((model, Workload(batch=B, device=device, inference=True)))

    for name, rate in DROPS.items():
        assert held({name: rate}) == held({})


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
            specify_loosely("layer", options=options), Workload(batch=B, device=device)
        ).kept_bytes

    assert kept(turned) - kept({}) == more
