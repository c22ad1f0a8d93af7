"""What a step holds, on paper: against bytes derived by hand, and against a trace of it.

By hand, of one block, in numbers of B N D fp32: both norms keep their inputs, and the
layers behind them the norms' outputs, 4; the two linear layers of the MLP are hidden wide.
What each mixer adds stands in `KEPT_BY_MIXER`. The trace is another program altogether:
the real step, run by PyTorch on tensors without data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from itertools import product
from typing import Any, NamedTuple

import pytest
import torch
from spellings import MIXER_SIZES, defined, grid_options, variants

from vitprof import footprint
from vitprof.eager.account import KINDS, Account
from vitprof.eager.rules import RULES, Rule
from vitprof.eager.rules.elementwise import keeps_input
from vitprof.eager.run import Eager
from vitprof.eager.step import Memory, memory, peak_bytes
from vitprof.eager.tensor import BYTES, Tensor
from vitprof.errors import SpecError
from vitprof.formulas.layer import Measure
from vitprof.formulas.mixers import MIXERS
from vitprof.formulas.model import Model
from vitprof.formulas.op import BatchNorm, Elementwise, Inline, LayerNorm, Op, Parameter
from vitprof.formulas.size import Size
from vitprof.modules.trace import trace
from vitprof.options import Value
from vitprof.specs import specify
from vitprof.workload import KERNELS, OPTIMIZERS, Workload

SIZES: dict[str, dict[str, object]] = {
    "layer": {"tokens": 11, "dim": 21, "heads": 3, "mlp_ratio": "5"},
    "classifier": {
        "image_size": 12,
        "patch_size": 3,
        "channels": 2,
        "dim": 15,
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
    """The steps that a spelling is tested with: all of some spellings, one of the others."""
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
        **grid_options(model, mixer, variant),
        **dict(variant),
        **options,
    }
    return specify(model, mixer=mixer, options=own)


def models_of(spelling: str) -> list[str]:
    return [model for model in SIZES if defined(model, *SPELLINGS[spelling])]


def step(batch: int, **how: Any) -> Workload:
    return Workload(batch=batch, **how)


def bare(batch: int, **how: Any) -> Workload:
    """A step without the states of an optimizer, the trace of which takes half as long."""
    return step(batch, **{"optimizer": "sgd", **how})


def assert_traced(model: Model, workload: Workload) -> None:
    """Hold the formula against the trace, in every phase."""
    peaks = {name: peak.bytes for name, peak in memory(model, workload).peaks.items()}
    assert peaks == trace(model, workload).by_phase


# Against the trace


@pytest.mark.parametrize(("spelling", "how"), pairs())
def test_layer_is_as_traced(spelling: str, how: str) -> None:
    batch = 2 if [*STEPS].index(how) % 2 else 5
    assert_traced(spec("layer", spelling), bare(batch, **STEPS[how]))


# What a CPU does otherwise: its fused kernel, statistics of norms, and list of autocast.
@pytest.mark.parametrize(
    ("spelling", "how"),
    [
        *(("attn-fused", how) for how in ("fp32", "bf16", "autocast", "inference")),
        *(("attn", how) for how in ("bf16", "autocast", "checkpoint-autocast")),
        *(("lambda", how) for how in ("fp16", "inference-autocast")),
        *(("linear", how) for how in ("autocast-fp16", "checkpoint-autocast")),
    ],
)
def test_layer_on_a_cpu_is_as_traced(spelling: str, how: str) -> None:
    assert_traced(spec("layer", spelling), bare(3, device="cpu", **STEPS[how]))


@pytest.mark.parametrize("how", ["fp32", "checkpoint-autocast"])
@pytest.mark.parametrize("spelling", ["attn", "attn-fused", "lambda", "linear", "window", "xca"])
def test_one_head_is_as_traced(spelling: str, how: str) -> None:
    # Some copies become views then.
    assert_traced(spec("layer", spelling, heads=1), bare(3, device="cpu", **STEPS[how]))


@pytest.mark.parametrize(("spelling", "how"), pairs("fp32", "checkpoint-autocast"))
def test_narrow_mlp_is_as_traced(spelling: str, how: str) -> None:
    # So that the peak is in the mixer.
    narrow = spec("layer", spelling, activation="gelu", mlp_ratio="0.1")
    assert_traced(narrow, bare(3, **STEPS[how]))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizers_are_as_traced(optimizer: str, kernel: str) -> None:
    spelling = [*SPELLINGS][(OPTIMIZERS.index(optimizer) + KERNELS.index(kernel)) % len(SPELLINGS)]
    workload = step(2, optimizer=optimizer, kernel=kernel, device="cpu")
    assert_traced(spec("layer", spelling), workload)


class Case(NamedTuple):
    """A model of several blocks, and how its step is made."""

    model: str
    spelling: str
    how: str
    device: str
    depths: tuple[int, int]  # of the encoder, and of a decoder


CASES = [
    Case("classifier", "attn", "autocast", "cuda", (3, 0)),
    Case("classifier", "attn-fused", "fp32", "cpu", (1, 0)),
    Case("classifier", "lambda", "checkpoint-autocast", "cpu", (3, 0)),
    Case("classifier", "linear", "bf16", "cpu", (2, 0)),
    Case("classifier", "linear", "checkpoint", "cuda", (4, 0)),
    Case("classifier", "lambda", "inference-autocast", "cuda", (3, 0)),
    Case("mae", "attn", "checkpoint-autocast", "cuda", (1, 3)),
    Case("mae", "attn-fused", "autocast-fp16", "cuda", (2, 1)),
    Case("mae", "lambda", "fp32", "cuda", (3, 1)),
    Case("mae", "linear", "autocast", "cpu", (1, 2)),
    Case("mae", "attn", "inference", "cpu", (3, 4)),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))
def test_model_is_as_traced(case: Case) -> None:
    encoder, decoder = case.depths
    deep: dict[str, object] = {"depth": encoder}
    if case.model == "mae":
        deep["decoder_depth"] = decoder
    model = spec(case.model, case.spelling, **deep)
    assert_traced(model, bare(2 + encoder % 2, device=case.device, **STEPS[case.how]))


@pytest.mark.parametrize("how", ["fp32", "autocast", "inference"])
def test_heavy_loss_is_as_traced(how: str) -> None:
    # So that the peak is in the loss: 7 × 7 × 5 pixels a patch, and a few channels.
    sizes: dict[str, object] = {"image_size": 14, "patch_size": 7, "channels": 5, "depth": 1}
    narrow = spec("mae", "attn", **sizes, dim=8, heads=2, decoder_dim=4, decoder_heads=1)
    assert_traced(narrow, bare(5, **STEPS[how]))
    assert memory(narrow, bare(5, **STEPS[how])).peak.at == "loss"


def test_nine_blocks_are_as_traced() -> None:
    deep = spec("classifier", "attn-fused", depth=9, image_size=6)
    assert_traced(deep, step(2, **STEPS["checkpoint-autocast"]))


@pytest.mark.parametrize("model", ["layer", "classifier"])
def test_one_image_is_close_to_the_trace(model: str) -> None:
    # At batch 1 a few copies are views, not all of which are known here.
    said = peak_bytes(spec(model, "linear"), step(1))
    traced = trace(spec(model, "linear"), step(1)).peak_bytes
    assert abs(said - traced) * 100 <= traced


# By hand

B, N, D, h = 4, 10, 21, 3
d, H = D // h, 5 * D  # channels of a head, and of the MLP
v = D // h  # channels of a value in the lambda layer
E = 4  # bytes of an fp32
HALF = 2  # and of a bf16

# 3 × 3 patches and the class token are N tokens.
CLASSIFIER: dict[str, object] = {"image_size": 9, "dim": D, "heads": h, "mlp_ratio": "5"}
LAYER: dict[str, object] = {"tokens": N, "dim": D, "heads": h, "mlp_ratio": "5"}

# Beside norms, residuals and MLP; each tensor in the order in which it is made.
KEPT_BY_MIXER = {
    # Q, K and V as their products want them in memory, the weights, and what fc_out reads.
    "attn": E * B * N * (D + D + D) + E * B * h * N * N + E * B * N * D,
    # Q, K and V as views of one tensor, the output, and a log-sum-exp for each query.
    "attn-fused": E * B * N * 3 * D + E * B * N * D + E * B * h * N,
    # What both ELUs read, of which Q and K are views; φ(K) and V for their product; φ(Q) and
    # the sum of φ(K) for the normaliser; φ(Q) once more and the product for the output; both
    # sides of the division; what fc_out reads.
    "linear": E * B * N * (3 * D)
    + E * B * N * (D + D)
    + E * B * N * D
    + E * B * h * d
    + E * B * N * D
    + E * B * h * d * d
    + E * B * N * (D + h)
    + E * B * N * D,
    # What both norms read, a view of one tensor each, their outputs, and mean and deviation
    # of each channel; the softmax; the content; the positions of each token, for which the
    # convolution reads the values that are there.
    "lambda": E * B * N * (h * k + k + v)
    + E * B * N * (h * k + v)
    + 2 * E * (h * k + v)
    + E * B * N * k
    + E * B * k * v
    + E * B * N * k * v,
}
# X and LN(X), twice; mean and deviation, twice; what the activation and fc2 read, which for
# a ReLU, that keeps what it wrote, is the same.
NORMS = E * B * N * (D + D + D + D) + E * B * N * 2 * 2
MLP = {"gelu": E * B * N * (H + H), "relu": E * B * N * H}


def kept_by_a_block(spelling: str, activation: str, **how: Any) -> set[int]:
    """What a block more keeps: the second, the third, and those that are not run."""

    def kept(depth: int) -> int:
        options = {**CLASSIFIER, "depth": depth, "activation": activation}
        return memory(spec("classifier", spelling, **options), step(B, **how)).kept_bytes

    return {kept(depth + 1) - kept(depth) for depth in (1, 2, 3, 7)}


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
def test_fused_attention_on_a_card_keeps(dtype: str, element: int, beside: int) -> None:
    tensors = element * B * N * (4 * D + (H + H) + 3 * D + D)
    statistics = E * B * N * 2 * 2  # of norms, which a card has in fp32
    kept = kept_by_a_block("attn-fused", "gelu", dtype=dtype)
    assert kept == {tensors + statistics + beside}


def test_norms_of_two_bytes_keep_their_statistics_in_two_on_a_cpu() -> None:
    tensors = HALF * B * N * (4 * D + (H + H) + 4 * D) + HALF * B * h * N * N
    kept = kept_by_a_block("attn", "gelu", dtype="bf16", device="cpu")
    assert kept == {tensors + HALF * B * N * 2 * 2}


@pytest.mark.parametrize("device", DEVICES)
def test_mixed_precision_keeps(device: str) -> None:
    # Both X stay in fp32; what contractions read is bf16, and so is a copy of each weight.
    residuals = E * B * N * (D + D) + E * B * N * 2 * 2
    read = HALF * B * N * ((D + D) + (H + H) + 3 * D + D)
    weights = HALF * (D * 3 * D + D * D + D * H + H * D)
    # A card makes the softmax in fp32, and a copy of it for the product.
    softmax = (E + HALF if device == "cuda" else HALF) * B * h * N * N
    kept = kept_by_a_block("attn", "gelu", dtype="bf16", autocast=True, device=device)
    assert kept == {residuals + read + weights + softmax}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_checkpoint_keeps_the_input_of_a_block(spelling: str) -> None:
    class_token = spec("classifier", spelling, **CLASSIFIER).values()["pool"] == "token"
    tokens = N if class_token else N - 1
    assert kept_by_a_block(spelling, "gelu", checkpoint=True) == {E * B * tokens * D}


@pytest.mark.parametrize("spelling", SPELLINGS)
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
    assert kept["norm2"].numbers == "4 × 10 × 21 × 4 + 4 × 10 × 4 × 2"


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
    """The dtype of what an op writes, given one dtype, and what it allocates for that."""
    account = Account()
    eager = Eager(account, step(B, **how))
    x = eager.input(op.shape, of)
    with account.phase("forward"):
        y = eager(op, x)
    return y.dtype, account.peaks["forward"].by_kind


def test_norm_of_a_batch_finds_statistics_in_training_alone() -> None:
    norm = BatchNorm("norm", Size(N), Size(D))
    training = alone(norm, "fp32", device="cpu")[1]
    assert (training["temporaries"], training["saved"]) == (E * N * D + 2 * E * D, 0)
    inference = alone(norm, "fp32", device="cpu", inference=True)[1]
    assert (inference["temporaries"], inference["saved"]) == (E * N * D, 0)


@pytest.mark.parametrize(
    "op",
    [
        LayerNorm("norm", (Size(N),), Size(D)),
        Inline("sums", "sum", (Size(N), Size(D))),
        Elementwise("weights", "softmax", "Softmax", (Size(N), Size(D))),
    ],
)
def test_autocast_on_a_card_computes_some_ops_in_fp32(op: Op) -> None:
    how: dict[str, Any] = {"dtype": "bf16", "autocast": True, "inference": True}
    written = {"cuda": E * N * D + E * N * D, "cpu": HALF * N * D}  # a copy of x, and y
    for device, taken in written.items():
        dtype, kinds = alone(op, "bf16", device=device, **how)
        statistics = 0 if op.kind != "layer_norm" else 2 * (E if device == "cuda" else HALF) * N
        assert dtype == ("fp32" if device == "cuda" else "bf16")
        assert kinds["temporaries"] == taken + statistics


def test_elements_have_the_bytes_that_torch_gives_them() -> None:
    names = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
    torchs = {name: getattr(torch, names.get(name, name)) for name in BYTES}
    assert {name: dtype.itemsize for name, dtype in torchs.items()} == BYTES


few = Size(5)
MOVES: dict[str, tuple[Callable[[Eager, Tensor, Tensor], Tensor], int]] = {
    # The numbers of the gradient of what comes out of N and of D, and then of those two.
    "joined": (lambda run, x, y: run.joined((Size(N + D),), x, y), N + D),
    "copy": (lambda run, x, y: run.copy(x, Size(N)), N),
    "reordered": (lambda run, x, y: run.reordered(x, Size(N)), N + N),
    "single": (lambda run, x, y: run.reordered(x, Size(N), Size(1)), N),
    "expanded": (lambda run, x, y: run.expanded(x, (Size(B), Size(N))), B * N + N),
    "picked": (lambda run, x, y: run.picked(x, (few,)), few.value + N),
    "parts": (lambda run, x, y: run.joined((Size(N),), *run.parts(x, (few,), (few,))), N + N),
    # Zeros to scatter into, and what was scattered.
    "gathered": (lambda run, x, y: run.gathered(x, run.sorted(y), (few,)), few.value + N + N),
}


@pytest.mark.parametrize("move", MOVES)
def test_gradient_of_a_move(move: str) -> None:
    moved, numbers = MOVES[move]
    account = Account()
    eager = Eager(account, step(B))
    x = eager(Parameter("x", (Size(N),), trained=True))
    y = eager(Parameter("y", (Size(D),), trained=True))
    loss = eager(Inline("loss", "mean", ()), moved(eager, x, y))
    before = sum(account.by_kind.values())
    with account.phase("backward"):
        eager.backward(loss)
    assert account.peaks["backward"].bytes - before == E + E * numbers  # the loss's own first


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


@pytest.mark.parametrize("spelling", KEPT_BY_MIXER)
@pytest.mark.parametrize(
    ("optimizer", "moments", "counted"),
    [("sgd", 0, False), ("momentum", 1, False), ("adam", 2, True), ("adamw", 2, True)],
)
@pytest.mark.parametrize("kernel", KERNELS)
def test_step_of_the_optimizer_holds(
    spelling: str, optimizer: str, moments: int, counted: bool, kernel: str
) -> None:
    tensors = tensors_of(spelling)
    P = sum(tensors)
    # The root of the second moment: of all tensors, or of one while the one before is there,
    # twice while it is divided; none in the fused kernel.
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
        "optimizer": moments * E * P + (E * len(tensors) if counted else 0),
        "inputs": E * B * N * D + 8 * B,
        "saved": 0,
        "temporaries": E * roots[kernel] if moments == 2 else 0,
    }
    assert found.peaks["forward"].by_kind["gradients"] == 0


def test_loop_goes_through_parameters_before_layers() -> None:
    # 2 × 2 patches of 3 × 4 × 4 numbers: while their weights are updated, the root of the
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
    P, tensors = sum(tensors_of("attn")), len(tensors_of("attn"))
    model = spec("layer", "attn", **LAYER)
    kinds = memory(model, step(B, dtype="bf16")).peaks["optimizer"].by_kind
    assert (kinds["parameters"], kinds["gradients"]) == (HALF * P, HALF * P)
    assert kinds["optimizer"] == 2 * HALF * P + 4 * tensors  # the counts of steps stay fp32
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
    # Backward through fc2, ReLU's output being what fc2 has read; few tokens, a wide MLP.
    model = spec("layer", "attn", **LAYER)
    found = memory(model, step(B, optimizer="sgd", device="cpu"))
    assert (found.phase, found.peak.at) == ("backward", "mlp.act")
    assert found.peak.by_kind == {
        "parameters": E * sum(tensors_of("attn")),
        "buffers": 0,
        "gradients": E * (H * D + D),  # fc2's
        "optimizer": 0,
        "inputs": E * B * N * D + 8 * B,
        # All that is kept but the input, which is there anyway.
        "saved": NORMS - E * B * N * D + MLP["relu"] + KEPT_BY_MIXER["attn"],
        # The loss and its gradient; that of the output, of fc2's input and of fc1's output.
        "temporaries": E + E + E * B * N * D + E * B * N * H + E * B * N * H,
    }


# Parts


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_parts_add_up(spelling: str) -> None:
    for model, name in product(models_of(spelling), steps_of(spelling)):
        how = STEPS[name]
        for batch in (1, 3):
            found = memory(spec(model, spelling), step(batch, **how))
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
            assert peak_bytes(spec(model, spelling), step(batch, **how)) == found.peak.bytes


@pytest.mark.parametrize("how", ["fp32", "autocast", "checkpoint", "inference"])
@pytest.mark.parametrize("model", SIZES)
def test_rows_add_up(model: str, how: str) -> None:
    for place, spelling in enumerate(SPELLINGS):
        if model not in models_of(spelling):
            continue
        fold = place % 2 == 0
        report = footprint.memory(
            spec(model, spelling), step(3, **STEPS[how]), trace=False, fold=fold
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


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_memory_is_affine_in_the_batch(spelling: str) -> None:
    for place, name in enumerate(steps_of(spelling)):
        how = STEPS[name]
        models = models_of(spelling)
        model = spec(models[place % len(models)], spelling)

        def held(batch: int, model: Model = model, how: dict[str, object] = how) -> list[int]:
            found = memory(model, step(batch, **how))
            return [found.kept_bytes, *by_phase(found).values()]

        # From 2 on what is kept is; a peak is where the same tensors make it.
        kept = [held(batch)[0] for batch in (2, 3, 4, 11)]
        assert kept[3] - kept[0] == 3 * 3 * (kept[1] - kept[0])
        assert kept[2] - kept[1] == kept[1] - kept[0]
        low, middle, high = held(100), held(170), held(240)
        assert [b - a for a, b in zip(low, middle, strict=True)] == [
            b - a for a, b in zip(middle, high, strict=True)
        ]


def by_phase(found: Memory) -> dict[str, int]:
    return {name: peak.bytes for name, peak in found.peaks.items()}


class EveryBlock(Eager):
    """Runs all blocks, with none that stands for others."""

    def blocks(
        self, name: str, times: Size, type: str, forward: Callable[[Tensor], Tensor]
    ) -> Iterator[Callable[[Tensor], Tensor]]:
        def block(index: int) -> Callable[[Tensor], Tensor]:
            return lambda x: self.layer(f"{name}.{index}", type, forward, x)

        yield from map(block, range(times.value))


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("model", ["classifier", "mae"])
def test_middle_blocks_are_like_the_others(
    monkeypatch: pytest.MonkeyPatch, model: str, spelling: str
) -> None:
    cases = []
    if model not in models_of(spelling):
        return
    for place, name in enumerate(steps_of(spelling)):
        how = STEPS[name]
        depth = (3, 4, 7)[place % 3]
        deep: dict[str, object] = {"decoder_depth": 8 - depth} if model == "mae" else {}
        workload = step(3, device=DEVICES[place % 2], **how)
        cases.append((spec(model, spelling, depth=depth, **deep), workload))
    quick = [memory(*case) for case in cases]
    monkeypatch.setattr("vitprof.eager.step.Eager", EveryBlock)
    for case, found in zip(cases, quick, strict=True):
        slow = memory(*case)
        assert by_phase(found) == by_phase(slow)
        assert found.kept_bytes == slow.kept_bytes
        for name, peak in found.peaks.items():
            assert peak.by_kind["gradients"] == slow.peaks[name].by_kind["gradients"]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_forty_blocks_lie_on_the_line_of_few(spelling: str) -> None:
    four, five, forty = (
        by_phase(memory(spec("classifier", spelling, depth=depth), step(3))) for depth in (4, 5, 40)
    )
    assert forty == {name: four[name] + 36 * (five[name] - four[name]) for name in four}


# What is said of it


def test_peak_is_named() -> None:
    found = memory(spec("layer", "attn", tokens=97, mlp_ratio="1"), step(3))
    assert (found.phase, found.peak.at) == ("backward", "mixer.weights")
    assert found.peak == found.peaks["backward"]
    small = memory(spec("classifier", "attn"), step(1))
    assert (small.phase, small.peak.at) == ("optimizer", "adamw")
    deep = memory(spec("classifier", "attn", depth=5), step(9, inference=True))
    assert deep.peak.at.startswith("blocks.")


def test_op_without_a_rule_is_named() -> None:
    some = {name: rule for name, rule in RULES.items() if name != "softmax"}
    with pytest.raises(SpecError, match=r"no rule for the memory of weights, which does softmax"):
        memory(spec("layer", "attn"), step(2), rules=some)
    memory(spec("layer", "linear"), step(2), rules=some)  # which has no softmax
    without: dict[str, Rule] = {}
    with pytest.raises(SpecError, match=r"of norm1, which does layer_norm; give one by vitprof"):
        memory(spec("layer", "attn"), step(2), rules=without)


def test_rules_can_be_given() -> None:
    model, workload = spec("layer", "attn", **LAYER), step(B)
    usual = memory(model, workload)
    found = memory(model, workload, rules={**RULES, "softmax": keeps_input})
    # The product keeps the output of the softmax as before, and it the scores too.
    assert found.kept_bytes == usual.kept_bytes + E * B * h * N * N
    assert found.kept["mixer.weights"].value == E * B * h * N * N
    assert found.kept["mixer.output"].value == E * B * h * N * N + E * B * N * D
