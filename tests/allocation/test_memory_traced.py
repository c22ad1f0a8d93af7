"""Memory of a step by formula and by a trace: equal after every allocation, in every phase.

The trace is independent of the formula: PyTorch runs the real step on fake tensors. The
differences between the trace and eager PyTorch are in `vitprof.allocation.departures`, which
these tests leave out.
"""

from __future__ import annotations

from itertools import islice

import pytest
from combinations import (
    PLATFORMS,
    Case,
    case_of,
    cases,
    described,
    differences,
    differences_on,
    on_gpus,
)

from vitprof.allocation.step import peaks
from vitprof.cuda.platform import Platform
from vitprof.errors import SpecError
from vitprof.request.workload import DEVICES, KERNELS, OPTIMIZERS
from vitprof.running.trace import trace

SAMPLE, ON_GPUS = 10, 6
SEED = 20


@pytest.mark.parametrize("case", [*islice(cases(SEED), SAMPLE)], ids=described)
def test_random_combination(case: Case) -> None:
    assert differences(case) == []


@pytest.mark.parametrize(
    ("case", "platform"),
    [
        pytest.param(case, platform, id=f"{platform.gpu.names[0]}; {described(case)}")
        for case, platform in islice(on_gpus(SEED), ON_GPUS)
    ],
)
def test_random_combination_on_a_named_gpu(case: Case, platform: Platform) -> None:
    """Compare the peaks of each phase, and what each kernel reads, writes and multiplies."""
    assert differences_on(case, platform) == []


BARE = {"model": "layer", "tokens": 196, "dim": 384, "heads": 6, "batch": 8}
# Small inputs for which formulas need strides: triples of mixer, block and norm, dtype or
# checkpointing; and a batch of 1.
TRIPLES: list[dict[str, object]] = [
    {"mixer": "token-linear", "block": "conv", "norm": "batch"},
    {
        **{"mixer": "filter", "block": "single", "norm": "rms"},
        **{"dtype": "fp16", "autocast": True, "inference": True},
    },
    {"mixer": "token-linear", "mlp": "none", "norm": "rms", "dtype": "bf16", "autocast": True},
    {"mixer": "fourier", "block": "conv", "checkpoint": True, "activation": "gelu"},
    {"mixer": "pool", "block": "conv", "checkpoint": True, "activation": "gelu"},
    {
        **{"mixer": "filter", "block": "conv", "activation": "gelu"},
        **{"checkpoint": True, "dtype": "fp16"},
    },
    {"mixer": "filter", "block": "post", "dtype": "bf16"},
]
# A first block, one between and a last one.
THREE: dict[str, object] = {"model": "classifier", "depth": 3, "batch": 1}
OTHERS: list[dict[str, object]] = [
    {
        **{"mixer": "attn", "class_token": False, "norm": "rms", "depth": 3, "decoder_depth": 3},
        **{"device": "cpu", "dtype": "bf16"},
    },
    {**THREE, "mixer": "performer", "image_size": 256, "patch_size": 16},
    {**THREE, "mixer": "linformer", "image_size": 36, "patch_size": 1},
    {**THREE, "mixer": "hydra", "image_size": 96, "patch_size": 16},
]
# Small models for combinations that random ones have found.
TINY: dict[str, object] = {
    **{"model": "classifier", "image_size": 4, "patch_size": 2, "dim": 4, "heads": 1, "depth": 1},
}
PYRAMID: dict[str, object] = {
    **{"model": "pyramid", "depths": [1], "widths": [4], "stage_heads": [1]},
    **{"image_size": 4, "patch_size": 1, "batch": 1},
}
# A class token that goes through the MLP of a layer of its own.
ALONE: dict[str, object] = {"pool": "class", "class_token": False}
FOUND: list[dict[str, object]] = [
    # Transforms take their axes by strides, and the gradient of a real part is contiguous.
    {**PYRAMID, "mixer": "fourier", "block": "single", "norm": "batch"},
    {
        **{**TINY, "mixer": "fourier", "branches": 2, "norm": "group", "dtype": "bf16"},
        **{"class_token": False, "pool": "mean"},
    },
    # Fake tensors select the gradient of a softplus by its input, whose layout comes first.
    {"model": "layer", "mixer": "gla", "tokens": 5, "dim": 4, "heads": 2, "causal": True},
]
DEEP: list[dict[str, object]] = [
    {"model": "classifier", "depth": 9, "image_size": 6, "patch_size": 3, "fused": True},
    {"model": "mae", "depth": 5, "decoder_depth": 4, "image_size": 16, "mixer": "lambda"},
    # Which variable holds what a head or a branch reads shows where it is cast or not kept.
    {
        **{"model": "classifier", "image_size": 6, "patch_size": 3, "depth": 1, "head_hidden": 5},
        **{"device": "cuda", "dtype": "bf16", "autocast": True},
    },
    *(
        {
            **{"model": "layer", "tokens": 9, "layer_scale": True, "drop_path": "0.2"},
            **{"checkpoint": True, "branches": branches},
        }
        for branches in (1, 2)
    ),
    {
        **{"model": "mae", "image_size": 6, "patch_size": 2, "frames": 4, "tubelet": 2, "depth": 1},
        **{"predict_kept": False, "class_token": False, "decoder_depth": 1, "device": "cuda"},
    },
    {
        **{"model": "classifier", "image_size": 7, "patch_size": 3, "patch_stride": 2, "depth": 1},
        **{"frames": 2, "pool": "both", "head_norm": True, "branches": 2, "block": "res-post"},
        **{"layer_scale": True, "norm": "batch"},
    },
    # The peak is in the loss: 7 × 7 × 5 pixels a patch, and a few channels.
    {
        **{"model": "mae", "image_size": 14, "patch_size": 7, "channels": 5, "depth": 1},
        **{"dim": 8, "heads": 2, "decoder_dim": 4, "decoder_heads": 1, "decoder_depth": 1},
    },
]


@pytest.mark.parametrize(
    "words",
    [*({**BARE, **words} for words in TRIPLES), *OTHERS, *DEEP, *FOUND],
    ids=lambda words: "-".join(map(str, words.values())),
)
def test_combination(words: dict[str, object]) -> None:
    assert differences(case_of(words)) == []


FOUND_ON_GPUS: list[dict[str, object]] = [
    # Views of a video's patches, in the order in which the host makes them.
    {
        **{"model": "mae", "image_size": 4, "patch_size": 2, "frames": 2, "tubelet": 1},
        **{"dim": 4, "heads": 1, "depth": 1},
        **{"decoder_dim": 4, "decoder_heads": 1, "decoder_depth": 1},
    },
    # A GPU takes the gradient's layout for that of a softplus's input.
    {"model": "layer", "mixer": "gla", "tokens": 5, "dim": 4, "heads": 2, "causal": True},
]


@pytest.mark.parametrize("words", FOUND_ON_GPUS, ids=lambda words: "-".join(map(str, words)))
def test_combination_on_a_named_gpu(words: dict[str, object]) -> None:
    assert differences_on(case_of({**words, "device": "cuda"}), PLATFORMS[0]) == []


@pytest.mark.parametrize(
    ("norm", "sentence"),
    [
        ("batch", r" has a single value of each channel to normalise, .* a batch of 2 or more"),
        ("group", r" has a single value to normalise, .* a batch of 2 or more"),
    ],
)
def test_norm_of_a_single_value(norm: str, sentence: str) -> None:
    """Refuse what `F.batch_norm` and `F.group_norm` refuse (`_verify_batch_size`)."""
    case = case_of({**TINY, "batch": 1, "norm": norm, "mlp_norm": True, "mlp_hidden": 1, **ALONE})
    with pytest.raises(SpecError, match=sentence):
        peaks(*case)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        trace(*case)


GRADIENTS: list[dict[str, object]] = [
    {"keep_gradients": True},
    {"accumulate": 2},
    {"accumulate": 3, "keep_gradients": True, "ddp": "buckets"},
    {"ddp": "buckets"},
    {"ddp": "view"},
    {"ddp": "view", "accumulate": 2},
    {"clip": True},
    {"clip": True, "kernel": "loop", "dtype": "bf16"},
    {"clip": True, "kernel": "loop", "optimizer": "lamb", "dtype": "fp16", "autocast": True},
]


@pytest.mark.parametrize("words", GRADIENTS, ids=lambda words: "-".join(map(str, words)))
def test_gradients(words: dict[str, object]) -> None:
    """At batches and on devices in turn; at 1, some gradients are views of larger tensors."""
    place = GRADIENTS.index(words)
    batch, device = 1 + place % 2, DEVICES[place // 2 % len(DEVICES)]
    own = {"model": "classifier", "depth": 2, "image_size": 6, "patch_size": 3, "mixer": "lambda"}
    assert differences(case_of({**own, **words, "device": device, "batch": batch})) == []


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizers(optimizer: str, kernel: str) -> None:
    if optimizer == "lamb" and kernel != "loop":
        return
    mixer = ("lambda", "attn", "gmlp")[KERNELS.index(kernel)]
    words = {"model": "layer", "mixer": mixer, "optimizer": optimizer, "kernel": kernel}
    assert differences(case_of(words)) == []
