"""Memory of a step by formula, against bytes derived by hand.

A block saves, in tensors of B × N × D fp32 elements: the inputs of both norms, and the norms'
outputs for the layers after them, 4 in total; and the MLP's hidden tensors.
`KEPT_BY_MIXER` has the bytes of each mixer.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import cache
from itertools import product
from typing import Any

import pytest
import torch
from cases import for_each
from spellings import MIXER_SIZES, defined, needed_options, variants

from vitprof.allocation.autograd import Tensor
from vitprof.allocation.eager import Eager
from vitprof.allocation.kernels import elementwise, places, reductions, views
from vitprof.allocation.rules import RULES, Rule
from vitprof.allocation.step import Memory, follow, memory, peak_bytes
from vitprof.allocation.timeline import BYTES, KINDS, Timeline
from vitprof.api import memory as footprint
from vitprof.errors import FormulaError
from vitprof.formulas.layer import Measure
from vitprof.formulas.mixers import MIXERS
from vitprof.formulas.model import Model
from vitprof.formulas.op import BatchNorm, Elementwise, LayerNorm, Op
from vitprof.formulas.work import Work
from vitprof.request.specs import specify_loosely
from vitprof.request.workload import KERNELS, Workload
from vitprof.values.options import Value
from vitprof.values.size import Size

SIZES: dict[str, dict[str, object]] = {
    "layer": {"tokens": 11, "dim": 18, "heads": 3, "mlp_ratio": "5"},
    "classifier": {
        "image_size": 12,
        "patch_size": 3,
        "channels": 2,
        "dim": 30,
        "heads": 3,
        "mlp_ratio": "4",
        "classes": 7,
        "depth": 3,
    },
    "mae": {
        "image_size": 15,
        "patch_size": 3,
        "channels": 2,
        "dim": 20,
        "heads": 5,
        "depth": 3,
        "decoder_dim": 24,
        "decoder_heads": 3,
        "decoder_depth": 1,
    },
}
k, r = 5, 3  # channels of a query in the lambda layer, and the side of its kernel
NUMBERS = {**MIXER_SIZES, "key_depth": k, "receptive_field": r, "window": 1}


def spelled(name: str, value: Value) -> str:
    if isinstance(value, bool):
        return name if value else f"no_{name}"
    return str(value)


SPELLINGS = {  # attn, attn-fused, ...
    "-".join((mixer, *(spelled(*option) for option in variant))): (mixer, variant)
    for mixer in MIXERS
    for variant in variants(MIXERS[mixer])
}
STEPS: dict[str, dict[str, object]] = {
    "fp32": {},
    "bf16": {"dtype": "bf16"},
    "fp16": {"dtype": "fp16"},
    "autocast": {"dtype": "bf16", "autocast": True},
    "autocast-fp16": {"dtype": "fp16", "autocast": True},
    "checkpoint": {"checkpoint": True},
    "checkpoint-autocast": {"checkpoint": True, "dtype": "bf16", "autocast": True},
    "inference": {"inference": True},
    "inference-autocast": {"inference": True, "dtype": "bf16", "autocast": True},
}
DEVICES = ("cpu", "cuda")
THOROUGHLY = ("attn", "lambda")


def steps_of(spelling: str, *among: str) -> list[str]:
    """Return the workloads that a spelling is tested with: all for some spellings, else one."""
    names = list(among or STEPS)
    if spelling in THOROUGHLY:
        return names
    return [names[[*SPELLINGS].index(spelling) % len(names)]]


def pairs(*among: str) -> list[tuple[str, str]]:
    return [(spelling, how) for spelling in SPELLINGS for how in steps_of(spelling, *among)]


@cache
def spec(model: str, spelling: str, **options: object) -> Model:
    mixer, variant = SPELLINGS[spelling]
    known = MIXERS[mixer].declared()
    own = {
        **SIZES[model],
        **{name: value for name, value in NUMBERS.items() if name in known},
        **needed_options(model, mixer, variant),
        **({"image_size": 9} if "landmarks" in known and model != "layer" else {}),
        **dict(variant),
        **options,
    }
    if "reduction" in known and model == "classifier":  # divides the grid
        own["reduction"] = int(str(own["image_size"])) // int(str(own["patch_size"]))
    return specify_loosely(model, mixer=mixer, options=own)


def models_of(spelling: str) -> list[str]:
    return [model for model in SIZES if defined(model, *SPELLINGS[spelling])]


def step(batch: int, **how: Any) -> Workload:
    return Workload(batch=batch, **how)


B, N, D, h = 4, 10, 18, 3
d, H = D // h, 5 * D  # channels of a head, and of the MLP
v = D // h  # channels of a value in the lambda layer
E = 4  # bytes of an fp32
HALF = 2  # and of a bf16

# 3 × 3 patches and the class token are N tokens.
CLASSIFIER: dict[str, object] = {"image_size": 9, "dim": D, "heads": h, "mlp_ratio": "5"}
LAYER: dict[str, object] = {"tokens": N, "dim": D, "heads": h, "mlp_ratio": "5"}

NUMBER = 8  # bytes of a scalar operand, which is a tensor on a CPU

# Beside norms, residuals and MLP, on a CPU; each tensor in the order in which it is made.
KEPT_BY_MIXER = {
    # 1/sqrt(d); Q, K and V with the strides that their products read, the weights, and the input
    # of fc_out.
    "attn": NUMBER + E * B * N * (D + D + D) + E * B * h * N * N + E * B * N * D,
    # Q, K and V as views of one tensor, the output, and a log-sum-exp for each query.
    "attn-fused": E * B * N * 3 * D + E * B * N * D + E * B * h * N,
    # The inputs of both ELUs, which hold Q and K; φ(K) and V for their product; φ(Q) and
    # the sum of φ(K) for the normaliser; φ(Q) once more and the product for the output; both
    # operands of the division; the input of fc_out.
    "linear": E * B * N * (3 * D)
    + E * B * N * (D + D)
    + E * B * N * D
    + E * B * h * d
    + E * B * N * D
    + E * B * h * d * d
    + E * B * N * (D + h)
    + E * B * N * D,
    # The inputs of both norms, each a view of one tensor, their outputs, and mean and deviation
    # of each channel; the softmax; the content; the positions of each token, for which the
    # convolution reads values that are saved already.
    "lambda": E * B * N * (h * k + k + v)
    + E * B * N * (h * k + v)
    + 2 * E * (h * k + v)
    + E * B * N * k
    + E * B * k * v
    + E * B * N * k * v,
}
# X and LN(X), twice; mean and deviation, twice; the inputs of the activation and of fc2, which
# for a ReLU are one tensor, since it saves its output.
NORMS = E * B * N * (D + D + D + D) + E * B * N * 2 * 2
MLP = {"gelu": E * B * N * (H + H), "relu": E * B * N * H}


def width_of(spelling: str) -> int:
    """Return D, or a width whose heads rotary positions can turn."""
    return 4 * h if any(name == "rope" for name, _ in SPELLINGS[spelling][1]) else D


def kept_by_a_block(spelling: str, activation: str, **how: Any) -> set[int]:
    """Return bytes that one more block saves, at depths 1, 2, 3 and 7; one value if all agree."""

    def kept(depth: int) -> int:
        sizes = {**CLASSIFIER, "dim": width_of(spelling)}
        options = {**sizes, "depth": depth, "activation": activation}
        return memory(spec("classifier", spelling, **options), step(B, **how)).kept_bytes

    one, two, three, four, seven, eight = map(kept, (1, 2, 3, 4, 7, 8))
    return {two - one, three - two, four - three, eight - seven}


@pytest.mark.parametrize("activation", MLP)
@pytest.mark.parametrize("spelling", KEPT_BY_MIXER)
def test_block_keeps(spelling: str, activation: str) -> None:
    expected = NORMS + MLP[activation] + KEPT_BY_MIXER[spelling]
    assert kept_by_a_block(spelling, activation, device="cpu") == {expected}


@pytest.mark.parametrize(
    ("dtype", "element", "beside"),
    # Efficient attention rounds the queries of its log-sum-exp up to 32s, flash does not;
    # 2 and 3 states of random numbers are int64s.
    [("fp32", E, E * B * h * 32 + 2 * 8), ("bf16", HALF, E * B * h * N + 3 * 8)],
)
def test_fused_attention_on_a_gpu_keeps(dtype: str, element: int, beside: int) -> None:
    tensors = element * B * N * (4 * D + (H + H) + 3 * D + D)
    statistics = E * B * N * 2 * 2  # of norms, which a GPU has in fp32
    kept = kept_by_a_block("attn-fused", "gelu", dtype=dtype)
    assert kept == {tensors + statistics + beside}


def test_norms_of_two_bytes_keep_their_statistics_in_two_on_a_cpu() -> None:
    tensors = HALF * B * N * (4 * D + (H + H) + 4 * D) + HALF * B * h * N * N + NUMBER
    kept = kept_by_a_block("attn", "gelu", dtype="bf16", device="cpu")
    assert kept == {tensors + HALF * B * N * 2 * 2}


@pytest.mark.parametrize("device", DEVICES)
def test_mixed_precision_keeps(device: str) -> None:
    # Both X stay in fp32; inputs of contractions are bf16, and so is a copy of each weight.
    residuals = E * B * N * (D + D) + E * B * N * 2 * 2
    read = HALF * B * N * ((D + D) + (H + H) + 3 * D + D)
    weights = HALF * (D * 3 * D + D * D + D * H + H * D)
    # A GPU makes the softmax in fp32, and a copy of it for the product.
    softmax = (E + HALF if device == "cuda" else HALF) * B * h * N * N
    kept = kept_by_a_block("attn", "gelu", dtype="bf16", autocast=True, device=device)
    assert kept == {residuals + read + weights + softmax + (NUMBER if device == "cpu" else 0)}


@for_each("spelling", SPELLINGS)
def test_checkpoint_keeps_the_input_of_a_block(spelling: str) -> None:
    class_token = spec("classifier", spelling).values()["pool"] == "token"
    tokens = N if class_token else N - 1
    width = width_of(spelling)
    assert kept_by_a_block(spelling, "gelu", checkpoint=True) == {E * B * tokens * width}


@for_each("spelling", SPELLINGS)
def test_inference_keeps_nothing(spelling: str) -> None:
    found = memory(spec("layer", spelling), step(B, inference=True))
    assert (found.kept, found.kept_bytes) == ({}, 0)
    assert [*found.peaks] == ["forward"]


def test_each_layer_keeps_what_it_is_the_first_to_keep() -> None:
    kept = memory(spec("layer", "attn", **LAYER), step(B)).kept
    assert {path: size.value for path, size in kept.items()} == {
        "norm1": E * B * N * 2,  # the input was there before
        "mixer.qkv": E * B * N * D,
        "mixer.scores": E * B * N * (D + D),
        "mixer.weights": E * B * h * N * N,
        "mixer.output": E * B * N * D,
        "mixer.fc_out": E * B * N * D,
        "norm2": E * B * N * D + E * B * N * 2,
        "mlp.fc1": E * B * N * D,
        "mlp.act": E * B * N * H,
    }
    assert kept["norm2"].formula == "B × N × D × 4 + B × N × 4 × 2"
    assert kept["norm2"].numbers == f"4 × 10 × {D} × 4 + 4 × 10 × 4 × 2"


@pytest.mark.parametrize("landmarks", [1, 2, 5, N])
def test_landmarks_of_nystrom_keep_no_input(landmarks: int) -> None:
    """Check that a mean saves nothing."""
    kept = memory(spec("layer", "nystrom", **LAYER, landmarks=landmarks), step(B)).kept
    assert "mixer.landmarks" not in kept
    assert kept["mixer.qkv"].value == E * B * N * D


def test_loss_of_a_classifier_keeps() -> None:
    found = memory(spec("classifier", "attn", classes=7), step(B))
    # The logarithm of the softmax, and the sum of the labels' weights.
    assert found.kept["loss"].value == E * B * 7 + E


def test_loss_of_a_masked_autoencoder_keeps() -> None:
    found = memory(spec("mae", "attn"), step(B))
    patches, pixels = 5 * 5, 3 * 3 * 2
    # The mask, the differences, and the number of dropped patches, in each image's order.
    assert found.kept["loss"].value == E * B * patches + E * B * patches * pixels + E


def alone(op: Op, of: str, **how: Any) -> tuple[str, dict[str, int]]:
    """Return the dtype of an op's output for an input dtype, and the bytes that it allocates."""
    timeline = Timeline()
    eager = Eager(timeline, step(B, **how))
    x = eager.hold(eager.input(op.shape, of))
    with timeline.phase("forward"):
        y = eager.hold(RULES[op.work](eager, op, x))
        eager.drop(y)
    return y.dtype, timeline.peaks()["forward"].by_kind


def test_norm_of_a_batch_finds_statistics_in_training_alone() -> None:
    norm = BatchNorm("norm", Size(N), Size(D))
    training = alone(norm, "fp32", device="cuda")[1]
    assert (training["temporaries"], training["saved"]) == (E * N * D + 2 * E * D, 0)
    inference = alone(norm, "fp32", device="cuda", inference=True)[1]
    assert (inference["temporaries"], inference["saved"]) == (E * N * D, 0)
    # The kernel of a CPU takes three buffers of the channels, and two in inference.
    training = alone(norm, "fp32", device="cpu")[1]
    assert training["temporaries"] == E * N * D + 2 * E * D + 3 * E * D
    inference = alone(norm, "fp32", device="cpu", inference=True)[1]
    assert inference["temporaries"] == E * N * D + 2 * E * D


@pytest.mark.parametrize(
    ("op", "beside"),
    [
        # Of each row, mean and deviation, in the dtype of the gain.
        (LayerNorm("norm", (Size(N),), Size(D)), 2 * E * N),
        (Elementwise("weights", Work.SOFTMAX, (Size(N), Size(D))), 0),
    ],
)
def test_autocast_on_a_gpu_computes_some_ops_in_fp32(op: Op, beside: int) -> None:
    how: dict[str, Any] = {"dtype": "bf16", "autocast": True, "inference": True}
    written = {"cuda": E * N * D + E * N * D, "cpu": HALF * N * D}  # a copy of x, and y
    for device, taken in written.items():
        dtype, kinds = alone(op, "bf16", device=device, **how)
        assert dtype == ("fp32" if device == "cuda" else "bf16")
        assert kinds["temporaries"] == taken + beside


def test_elements_have_the_bytes_that_torch_gives_them() -> None:
    names = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
    torchs = {name: getattr(torch, names.get(name, name)) for name in BYTES}
    assert {name: dtype.itemsize for name, dtype in torchs.items()} == BYTES


rows, columns, few = Size(N), Size(D), Size(5)
MOVES: dict[str, tuple[Callable[[Eager, Tensor], Tensor], int]] = {
    # Elements of the gradients of N × D parameters: of the output, and those that it takes to
    # bring that back to N × D.
    "reshape": (lambda m, x: views.reshape(m, x, (Size(N * D),)), N * D),
    "transpose": (lambda m, x: views.transpose(m, x, 0, 1), N * D + N * D),
    "transpose, copied": (
        lambda m, x: views.reshape(m, views.transpose(m, x, 0, 1), (Size(N * D),)),
        N * D + N * D,
    ),
    "unsqueeze": (lambda m, x: views.unsqueeze(m, x, 0), N * D),
    "expand": (
        lambda m, x: views.expand(m, views.unsqueeze(m, x, 0), (Size(B), rows, columns)),
        B * N * D + N * D,
    ),
    "narrow": (lambda m, x: views.narrow(m, x, (few, columns)), 5 * D + N * D),
    "cat": (lambda m, x: views.cat(m, [x, x], (Size(2 * N), columns)), 2 * N * D + N * D),
    "pad": (lambda m, x: views.pad(m, x, (Size(N + 2), columns)), (N + 2) * D + N * D),
    "gather": (
        lambda m, x: places.gather(m, x, m.hold(places.argsort(m, m.new((few, columns), "fp32")))),
        5 * D + N * D,
    ),
}


@pytest.mark.parametrize("move", MOVES)
def test_gradient_of_a_move(move: str) -> None:
    moved, numbers = MOVES[move]
    timeline = Timeline()
    m = Eager(timeline, step(B))
    x = m.hold(m.parameter((rows, columns)))
    y = m.hold(moved(m, x))
    loss = m.hold(reductions.mean(m, y, (), tuple(range(len(y.sizes)))))
    m.drop(y)
    with timeline.phase("backward"):
        m.backward(loss)
    m.drop(loss)
    begin, end = timeline.phases["backward"]
    levels = timeline.levels()
    assert max(levels[begin:end]) - levels[begin] == E + E * numbers  # the loss's own first


# Trained tensors in the order of the module's: weights and biases of each layer.
MIXER_TENSORS = {
    "attn": [D * 3 * D, 3 * D, D * D, D],
    "lambda": [
        *(D * (h * k + k + v), h * k + k + v),
        *(h * k, h * k, v, v),
        *(k * r * r, k),
    ],
}
MIXER_TENSORS |= {"attn-fused": MIXER_TENSORS["attn"], "linear": MIXER_TENSORS["attn"]}
RUNNING = {"lambda": 2 * (h * k + v) * E + 2 * 8}  # means, deviations; two counts of batches


def tensors_of(spelling: str) -> list[int]:
    return [D, D, *MIXER_TENSORS[spelling], D, D, D * H, H, H * D, D]


@for_each("spelling", KEPT_BY_MIXER)
@for_each(
    "optimizer, moments, counted",
    [("sgd", 0, False), ("momentum", 1, False), ("adam", 2, True), ("adamw", 2, True)],
)
@pytest.mark.parametrize("kernel", KERNELS)
def test_step_of_the_optimizer_holds(
    spelling: str, optimizer: str, moments: int, counted: bool, kernel: str
) -> None:
    tensors = tensors_of(spelling)
    P = sum(tensors)
    # The root of the second moment: of all tensors, or of one while the one before is there,
    # twice during the division; none in the fused kernel.
    roots = {
        "foreach": P,
        "fused": 0,
        "loop": max(before + 2 * one for before, one in zip([0, *tensors], tensors, strict=False)),
    }
    found = memory(spec("layer", spelling, **LAYER), step(B, optimizer=optimizer, kernel=kernel))
    peak = found.peaks["optimizer"]
    assert peak.at == optimizer
    assert peak.by_kind == {
        "parameters": E * P,
        "buffers": RUNNING.get(spelling, 0),
        "gradients": E * P,
        # Counts of steps are in the CPU's memory, except for the fused kernel.
        "optimizer": moments * E * P + (E * len(tensors) if counted and kernel == "fused" else 0),
        "inputs": E * B * N * D + 8 * B,
        "saved": 0,
        "temporaries": E * roots[kernel] if moments == 2 else 0,
    }
    assert found.peaks["forward"].by_kind["gradients"] == 0


@pytest.mark.parametrize(
    ("how", "before", "after"),
    [
        # Copies of the trained parameters that are there in the forward pass, and at the end.
        ({}, 0, 1),
        ({"keep_gradients": True}, 1, 1),
        ({"accumulate": 2}, 1, 1),
        ({"accumulate": 5, "keep_gradients": True}, 1, 1),
        ({"ddp": "buckets"}, 1, 2),
        ({"ddp": "buckets", "accumulate": 2}, 2, 2),
        ({"ddp": "view"}, 1, 1),
        ({"ddp": "view", "accumulate": 2}, 1, 1),
    ],
)
def test_gradients_that_are_there(how: dict[str, Any], before: int, after: int) -> None:
    P = sum(tensors_of("attn"))
    found = memory(spec("layer", "attn", **LAYER), step(B, optimizer="sgd", **how))
    held = {phase: peak.by_kind["gradients"] for phase, peak in found.peaks.items()}
    assert (held["forward"], held["optimizer"]) == (before * E * P, after * E * P)
    assert (held["backward"] == before * E * P) == (before == after)


def test_kept_gradient_holds_what_it_is_a_view_of() -> None:
    # Of one image, the class token's gradient is a row of a tensor of all 1 + 4 tokens.
    sizes: dict[str, object] = {"image_size": 8, "patch_size": 4, "dim": 6, "heads": 3}
    model = spec("classifier", "attn", **sizes)
    trained = model.formula().total(Measure.PARAMS)

    def kept(batch: int) -> int:
        peak = memory(model, step(batch, keep_gradients=True)).peaks["forward"]
        return peak.by_kind["gradients"]

    assert kept(2) == E * trained
    assert kept(1) == E * (trained + 4 * 6)


def test_clipping_holds_norms() -> None:
    # The norm of each tensor, all of them stacked, and the total norm.
    T = len(tensors_of("attn"))
    model = spec("layer", "attn", **LAYER)
    for kernel in KERNELS:
        workload = step(B, optimizer="sgd", kernel=kernel, clip=True)
        peak = memory(model, workload).peaks["optimizer"]
        assert (peak.at, peak.by_kind["temporaries"]) == ("clip", E * (T + T + 1))


def test_update_of_lamb_holds() -> None:
    # The denominator and the step of the largest tensor; both norms, the mask of norms above 0,
    # their ratio, 1, and the one of the two that is selected.
    model = spec("layer", "attn", **LAYER)
    peak = memory(model, step(B, optimizer="lamb", kernel="loop")).peaks["optimizer"]
    assert peak.by_kind["optimizer"] == 2 * E * sum(tensors_of("attn"))
    largest = max(tensors_of("attn"))
    assert peak.by_kind["temporaries"] == E * (2 * largest + 2) + 1 + E * 3


def test_loop_goes_through_parameters_before_layers() -> None:
    # 2 × 2 patches of 3 × 4 × 4 values: while their weights are updated, the root of the
    # table of positions, which a model has before its layers, is still there.
    sizes: dict[str, object] = {"image_size": 8, "patch_size": 4, "channels": 3, "dim": 6}
    model = spec("classifier", "attn", **sizes, mlp_ratio="0.5")
    peak = memory(model, step(B, kernel="loop")).peaks["optimizer"]
    assert peak.by_kind["temporaries"] == E * (5 * 6 + 2 * (3 * 4 * 4) * 6)


def test_fixed_positions_of_a_masked_autoencoder_are_not_trained() -> None:
    model = spec("mae", "attn")
    fixed = 26 * 20 + 26 * 24  # a table for 5 × 5 patches and the class token, twice
    trained = model.formula().total(Measure.PARAMS) - fixed
    peak = memory(model, step(B, optimizer="momentum")).peaks["optimizer"]
    assert peak.by_kind["gradients"] == peak.by_kind["optimizer"] == E * trained
    assert peak.by_kind["parameters"] == E * (trained + fixed)


def test_weights_of_two_bytes_have_gradients_and_moments_of_two() -> None:
    P = sum(tensors_of("attn"))
    model = spec("layer", "attn", **LAYER)
    kinds = memory(model, step(B, dtype="bf16")).peaks["optimizer"].by_kind
    assert (kinds["parameters"], kinds["gradients"]) == (HALF * P, HALF * P)
    assert kinds["optimizer"] == 2 * HALF * P
    mixed = memory(model, step(B, dtype="bf16", autocast=True)).peaks["optimizer"].by_kind
    assert (mixed["parameters"], mixed["gradients"]) == (E * P, E * P)


@pytest.mark.parametrize(
    ("spelling", "at_once"),
    [
        # In fc_out: LN(X), QKV, scaled Q, the weights, the output and its copy, fc_out's own.
        ("attn", E * B * N * (D + 3 * D + D + D + D + D) + E * B * h * N * N),
        # LN(X), QKV, φ(Q), φ(K), K V, the normaliser, the quotient, its copy, fc_out's own.
        (
            "linear",
            E * B * N * (D + 3 * D + D + D + D + D + D) + E * B * h * d * d + E * B * h * N,
        ),
    ],
)
def test_inference_peak(spelling: str, at_once: int) -> None:
    model = spec("layer", spelling, **{**LAYER, "mlp_ratio": "2"})
    found = memory(model, step(B, inference=True))
    assert (found.phase, found.peak.at) == ("forward", "mixer.fc_out")
    parameters = model.formula().total(Measure.PARAMS)
    assert found.peak.bytes == E * parameters + E * B * N * D + 8 * B + at_once


def test_training_peak_of_attention() -> None:
    # Backward through fc2, whose input is ReLU's output; few tokens, a wide MLP.
    model = spec("layer", "attn", **LAYER)
    found = memory(model, step(B, optimizer="sgd", device="cpu"))
    assert (found.phase, found.peak.at) == ("backward", "mlp.act")
    assert found.peak.by_kind == {
        "parameters": E * sum(tensors_of("attn")),
        "buffers": 0,
        "gradients": E * (H * D + D),  # fc2's
        "optimizer": 0,
        "inputs": E * B * N * D + 8 * B,
        # All that is saved except the input, which is there before the step.
        "saved": NORMS - E * B * N * D + MLP["relu"] + KEPT_BY_MIXER["attn"],
        # The loss and its gradient; that of the output, of fc2's input and of fc1's output.
        "temporaries": E + E + E * B * N * D + E * B * N * H + E * B * N * H,
    }


# Parts


@for_each("spelling", SPELLINGS)
def test_parts_add_up(spelling: str) -> None:
    for turn, (model, name) in enumerate(product(models_of(spelling), steps_of(spelling))):
        workload = step((1, 3)[turn % 2], **STEPS[name])
        found = memory(spec(model, spelling), workload)
        for peak in found.peaks.values():
            assert sum(peak.by_kind.values()) == peak.bytes
            assert [*peak.by_kind] == [*KINDS]
            assert min(peak.by_kind.values()) >= 0
        assert "" not in found.kept
        assert found.peak.bytes == max(peak.bytes for peak in found.peaks.values())
        held = dict.fromkeys(KINDS, 0)
        for entry in found.held:
            held[entry.kind] += entry.size.value
        assert held == found.peak.by_kind
        assert peak_bytes(spec(model, spelling), workload) == found.peak.bytes


HOW = ["fp32", "autocast", "checkpoint", "inference"]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("model", SIZES)
def test_rows_add_up(model: str, how: str) -> None:
    turn = [*SIZES].index(model) + HOW.index(how)  # each spelling half of the models and steps
    for place, spelling in enumerate(SPELLINGS):
        if model not in models_of(spelling) or (place + turn) % 2:
            continue
        fold = place // 2 % 2 == 0
        report = footprint.memory(
            spec(model, spelling), workload=step(3, **STEPS[how]), trace=False, fold=fold
        )
        assert sum(row.count for row in report.rows) == report.kept
        assert all(
            row.each * row.repeat == row.count
            for row in report.rows
            if "inverse" not in row.path  # of an iteration, the first reads another dtype
        )
        assert sum(held.bytes for held in report.held) == report.peak.bytes
        assert report.kept == memory(spec(model, spelling), step(3, **STEPS[how])).kept_bytes


# Batch and depth


@for_each("spelling", SPELLINGS)
def test_memory_is_affine_in_the_batch(spelling: str) -> None:
    for place, name in enumerate(steps_of(spelling)):
        how = STEPS[name]
        models = models_of(spelling)
        model = spec(models[place % len(models)], spelling)

        def held(batch: int, model: Model = model, how: dict[str, object] = how) -> list[int]:
            found = memory(model, step(batch, **how))
            return [found.kept_bytes, *by_phase(found).values()]

        # Saved bytes are affine from 2 on; a peak is as long as the same tensors make it.
        kept = [held(batch)[0] for batch in (2, 3, 4, 11)]
        assert kept[3] - kept[0] == 3 * 3 * (kept[1] - kept[0])
        assert kept[2] - kept[1] == kept[1] - kept[0]
        low, middle, high = held(100), held(170), held(240)
        assert [b - a for a, b in zip(low, middle, strict=True)] == [
            b - a for a, b in zip(middle, high, strict=True)
        ]


def summed(timeline: Timeline) -> dict[str, dict[str, int]]:
    return {name: peak.by_kind for name, peak in timeline.peaks().items()}


def by_phase(found: Memory) -> dict[str, int]:
    return {name: peak.bytes for name, peak in found.peaks.items()}


@for_each("spelling", SPELLINGS)
@pytest.mark.parametrize("model", ["classifier", "mae"])
def test_middle_blocks_are_like_the_others(model: str, spelling: str) -> None:
    cases = []
    if model not in models_of(spelling):
        return
    for place, name in enumerate(steps_of(spelling)):
        how = STEPS[name]
        depth = (3, 4, 7)[place % 3]
        deep: dict[str, object] = {"decoder_depth": 8 - depth} if model == "mae" else {}
        workload = step(3, device=DEVICES[place % 2], **how)
        cases.append((spec(model, spelling, depth=depth, **deep), workload))
    for case in cases:
        quick, slow = (follow(*case, every=every)[0].eager.timeline for every in (False, True))
        assert summed(quick) == summed(slow)


@for_each("spelling", SPELLINGS)
def test_forty_blocks_lie_on_the_line_of_few(spelling: str) -> None:
    four, five, forty = (
        by_phase(memory(spec("classifier", spelling, depth=depth), step(3))) for depth in (4, 5, 40)
    )
    assert forty == {name: four[name] + 36 * (five[name] - four[name]) for name in four}


@for_each("how", STEPS)
def test_a_step_leaves_nothing_to_the_garbage_collector(how: str) -> None:
    """Cycles of functions and tensors would take a fifth of the time to find."""
    cases = [(spec("mae", spelling), step(3, **STEPS[how])) for spelling in ("attn", "lambda")]
    gc.collect()
    gc.disable()
    try:
        for case in cases:
            peak_bytes(*case)
        assert gc.collect() == 0
    finally:
        gc.enable()


# Sentences of the report


def test_peak_is_named() -> None:
    found = memory(spec("layer", "attn", tokens=97, mlp_ratio="1"), step(3))
    assert (found.phase, found.peak.at) == ("backward", "mixer.weights")
    assert found.peak == found.peaks["backward"]
    small = memory(spec("classifier", "attn"), step(1))
    assert (small.phase, small.peak.at) == ("optimizer", "adamw")
    deep = memory(spec("classifier", "attn", depth=5), step(9, inference=True))
    assert deep.peak.at.startswith("blocks.")


def test_op_without_a_rule_is_named() -> None:
    some: dict[Work, Rule] = {
        work: rule for work, rule in RULES.items() if work is not Work.SOFTMAX
    }
    said = (
        "^mixer attn, op mixer.weights: there is no memory rule for the work 'softmax', the "
        "nearest is .*; docs/mixers.md lists all"
    )
    with pytest.raises(FormulaError, match=said):
        memory(spec("layer", "attn"), step(2), rules=some)
    memory(spec("layer", "linear"), step(2), rules=some)  # which has no softmax
    without: dict[Work, Rule] = {}
    with pytest.raises(FormulaError, match=r"^the model, op norm1: .* 'layer_norm', the nearest"):
        memory(spec("layer", "attn"), step(2), rules=without)


def softmax_that_keeps_its_input(m: Eager, op: Op, x: Tensor) -> Tensor:
    return elementwise.keeps_input(m, x)


def test_rules_can_be_given() -> None:
    model, workload = spec("layer", "attn", **LAYER), step(B)
    usual = memory(model, workload)
    rules: dict[Work, Rule] = {**RULES, Work.SOFTMAX: softmax_that_keeps_its_input}
    found = memory(model, workload, rules=rules)
    # The product saves the output of the softmax as before, and the softmax the scores too.
    assert found.kept_bytes == usual.kept_bytes + E * B * h * N * N
    assert found.kept["mixer.weights"].value == E * B * h * N * N
    assert found.kept["mixer.output"].value == E * B * h * N * N + E * B * N * D
