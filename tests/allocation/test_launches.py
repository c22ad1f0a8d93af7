"""Launches of a step: bytes and multiply-accumulates of each kernel, by hand and by a trace."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest
from combinations import PLATFORMS, Case, case_of, cases, described, moved
from h100 import H100

from vitprof.allocation.launches import (
    Kind,
    Launch,
    Product,
    attention_gradient_products,
    attention_products,
    in_memory,
)
from vitprof.allocation.step import launches
from vitprof.allocation.training import training
from vitprof.formulas.layer import Measure
from vitprof.formulas.mixers import MIXERS
from vitprof.request.workload import OPTIMIZERS
from vitprof.running.step import Step
from vitprof.running.trace import trace
from vitprof.values.size import product

B, N, D, h = 2, 9, 12, 3
LAYER: dict[str, object] = {"model": "layer", "tokens": N, "dim": D, "heads": h, "batch": B}
DTYPES: list[dict[str, object]] = [
    {"dtype": "fp32"},
    {"dtype": "bf16", "autocast": True},
    {"dtype": "fp16"},
    {"dtype": "fp16", "autocast": True, "clip": True},
    {"dtype": "bf16", "ddp": "view"},
]
PARTS: list[dict[str, object]] = [
    {"norm": "rms", "mlp": "gated", "activation": "silu"},
    {"norm": "batch", "layer_scale": True},
    {"norm": "affine", "block": "post", "dropout": "0.1"},
    {"mlp_norm": True, "drop_path": "0.2"},
]
# Options that have to fit 9 tokens in a grid of 3 by 3, and attention in one kernel.
OWN: dict[str, dict[str, object]] = {
    **{"nystrom": {"landmarks": 3}, "window": {"window": 3}, "attn": {"fused": True}},
    "sra": {"reduction": 3},
}


def words_of(mixer: str) -> dict[str, object]:
    """Return a layer of a mixer, with other dtypes, norms and optimizers from mixer to mixer."""
    place = [*MIXERS].index(mixer)
    optimizer = OPTIMIZERS[place % len(OPTIMIZERS)]
    return {
        **{**LAYER, "mixer": mixer, "optimizer": optimizer},
        **{"kernel": "loop" if optimizer == "lamb" else ("foreach", "fused", "loop")[place % 3]},
        **DTYPES[place % len(DTYPES)],
        **PARTS[place % len(PARTS)],
        **OWN.get(mixer, {}),
    }


@pytest.mark.parametrize("mixer", [*MIXERS])
def test_every_launch_of_a_mixer_is_one_that_the_trace_sees(mixer: str) -> None:
    platform = PLATFORMS[[*MIXERS].index(mixer) % len(PLATFORMS)]
    model, workload = case_of(words_of(mixer))
    traced = trace(model, workload, platform=platform).launches
    own = launches(model, workload, platform, every=True)
    assert {phase: moved(some) for phase, some in own.items()} == {
        phase: moved(some) for phase, some in traced.items()
    }


def at(path: str, words: dict[str, object], phase: str = "forward") -> list[Launch]:
    """Return the kernels of a submodule."""
    found = launches(*case_of({**LAYER, "mixer": "attn", **words}), H100)
    return [one for one in found[phase] if one.at == path and one.has_kernel]


def test_a_linear_layer_in_fp32() -> None:
    """Count fc1 of D to 2 D: operands and result once, and two products backward."""
    wide = 2 * D
    (forward,) = at("mlp.fc1", {"mlp_ratio": 2})
    x, weights, bias, y = 4 * B * N * D, 4 * D * wide, 4 * wide, 4 * B * N * wide
    product = Product(1, B * N, D, wide)
    assert forward == Launch(
        *("mlp.fc1", Kind.PRODUCT, x + weights + bias, y, (product,)), recorded=True
    )
    assert forward.macs == B * N * D * wide
    of_x, of_weights, of_bias = at("mlp.fc1", {"mlp_ratio": 2}, "backward")
    assert (of_x.read, of_x.written) == (y + weights, x)
    assert (of_weights.read, of_weights.written) == (y + x, weights)
    assert (of_bias.kind, of_bias.read, of_bias.written) == (Kind.REDUCTION, y, bias)


def test_a_linear_layer_under_autocast_casts_its_operands() -> None:
    """Count casts of fp32 bias, weights and input, in this order, and the product in 16 bits."""
    wide = 2 * D
    some = at("mlp.fc1", {"mlp_ratio": 2, "dtype": "bf16", "autocast": True})
    x, weights, y = B * N * D, D * wide, B * N * wide
    assert [(one.kind, one.read, one.written) for one in some] == [
        (Kind.COPY, 4 * wide, 2 * wide),
        (Kind.COPY, 4 * weights, 2 * weights),
        (Kind.COPY, 4 * x, 2 * x),
        (Kind.PRODUCT, 2 * (x + weights + wide), 2 * y),
    ]


def test_views_and_gradients_are_the_hosts_alone() -> None:
    """Count `t`, `view` before a product and `view` after it, and what arrives at two parameters.

    Each function that autograd records is one of its graph.
    """
    model, workload = case_of({**LAYER, "mixer": "attn"})
    found = launches(model, workload, H100)
    of_fc1 = {
        phase: [one.kind for one in some if one.at == "mlp.fc1" and not one.has_kernel]
        for phase, some in found.items()
    }
    assert of_fc1 == {
        "forward": [Kind.VIEW] * 3,
        "backward": [Kind.GRADIENT] * 2,
        "optimizer": [],
    }
    step = Step(model, workload, device="cpu")
    functions: set[object] = set()
    left = [step.forward().grad_fn]
    while left:
        node = left.pop()
        if node is not None and node not in functions:
            functions.add(node)
            left += [before for before, _ in node.next_functions]
    leaves = [node for node in functions if type(node).__name__ == "AccumulateGrad"]
    assert sum(one.recorded for one in found["forward"]) == len(functions) - len(leaves) == 48
    assert sum(one.kind is Kind.GRADIENT for one in found["backward"]) == len(leaves) == 12


def test_a_layer_norm_writes_its_statistics() -> None:
    """Count x, gain and bias, the result, and mean and deviation of each row in fp32."""
    (one,) = at("norm1", {"dtype": "bf16"})
    x, own, rows = 2 * B * N * D, 2 * D, 4 * B * N
    assert (one.kind, one.read, one.written) == (Kind.NORM, x + 2 * own, x + 2 * rows)
    # The input of the layer takes no gradient.
    (back,) = at("norm1", {"dtype": "bf16"}, "backward")
    assert (back.read, back.written) == (2 * x + own + 2 * rows, 2 * own)


def test_softmax_multiplies_into_a_tensor_of_its_own_on_its_way_back() -> None:
    scores = 4 * B * h * N * N
    assert [(one.read, one.written) for one in at("mixer.weights", {})] == [(scores, scores)]
    (back,) = at("mixer.weights", {}, "backward")
    assert (back.kind, back.read, back.written) == (Kind.SOFTMAX, 3 * scores, 2 * scores)


def test_fused_attention_computes_the_scores_again() -> None:
    words = {"fused": True, "dtype": "bf16", "dim": 24}
    (forward,) = at("mixer.attend", words)
    tensor, log_sum, states = 2 * B * N * 24, 4 * B * h * N, 16
    assert (forward.read, forward.written) == (3 * tensor, tensor + log_sum + states)
    sizes = (B * h, N, N, 24 // h, 24 // h)
    assert forward.products == attention_products(*sizes)
    (back,) = at(
        "mixer.attend", {"fused": True, "dtype": "bf16", "dim": 24, "heads": h}, "backward"
    )
    assert back.products == attention_gradient_products(*sizes)
    assert 2 * back.macs == 5 * forward.macs


def test_passes_of_an_update() -> None:
    """Count AdamW's functions of lists: weights, moments and gradients, of 21 tensors in all."""
    model, workload = case_of(LAYER)
    params = model.formula(B).total(Measure.PARAMS)
    found = launches(model, workload, H100)["optimizer"]
    assert [one.kind for one in found] == [Kind.OPTIMIZER] * 8
    assert sum(one.bytes for one in found) == 21 * 4 * params
    (fused,) = launches(*case_of({**LAYER, "optimizer": "sgd", "kernel": "fused"}), H100)[
        "optimizer"
    ]
    assert (fused.read, fused.written) == (2 * 4 * params, 4 * params)


def test_elements_in_memory() -> None:
    assert in_memory((2, 3, 5), (15, 5, 1)) == 30
    assert in_memory((2, 3, 5), (5, 0, 1)) == 10  # expanded
    assert in_memory((4, 3), (1, 1)) == 6  # windows of 3 among 6
    assert in_memory((), ()) == 1
    assert in_memory((0, 3), (3, 1)) == 0


@pytest.mark.parametrize("case", [*islice(cases(31), 16)], ids=described)
def test_launches_of_any_model(case: Case) -> None:
    """Compare those of equal blocks, their products with training's, bytes with their tensors'."""
    model, workload = case
    if workload.device == "cpu":
        return
    found, every = (launches(model, workload, H100, every=every) for every in (False, True))
    for phase, own in every.items():
        assert Counter(found[phase]) == Counter(own)
    some = [one for phase in found.values() for one in phase]
    for one in some:
        assert sum(product(part.axes).value * part.element for part in one.moved) == one.bytes
    macs = sum(one.macs for one in some)
    if workload.inference:
        assert macs == model.formula(workload.batch).total(Measure.MACS)
    else:
        tree = training(model, workload.batch, checkpoint=workload.checkpoint)
        assert macs == tree.total(Measure.TRAINING)
