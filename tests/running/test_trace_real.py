"""Peak memory of modules of others by a trace and by PyTorch's allocator on the CPU.

Kernels of the CPU take a few numbers of their own, which are no tensors: up to 96 bytes. Modules
with convolutions differ by the workspaces of oneDNN, which is off here, or by copies of the native
kernels; they are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest
from allocated import allocated, plain_kernels
from any_module import AnyModule
from torch import nn

from vitprof.request.workload import Workload
from vitprof.running.trace import trace

OF_KERNELS = 96  # bytes
WORKLOAD = Workload(batch=2, device="cpu")


def encoder() -> AnyModule:
    def make() -> nn.Module:
        layer = nn.TransformerEncoderLayer(24, 3, 48, batch_first=True)
        return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    return AnyModule(make=make, shapes=((11, 24),))


def vit() -> AnyModule:
    transformers: Any = import_module("transformers")  # takes seconds

    config = transformers.ViTConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=48,
        image_size=32, patch_size=8,
    )  # fmt: skip
    return AnyModule(
        make=lambda: transformers.ViTModel(config, add_pooling_layer=False), shapes=((3, 32, 32),)
    )


def gpt2() -> AnyModule:
    transformers: Any = import_module("transformers")  # takes seconds

    config = transformers.GPT2Config(
        n_embd=24, n_layer=2, n_head=3, vocab_size=50, n_positions=16, attn_implementation="eager"
    )
    return AnyModule(
        make=lambda: transformers.GPT2LMHeadModel(config),
        shapes=((11, "tokens"),),
        named={"labels": (11,)},
    )


@pytest.fixture(autouse=True)
def plain() -> Iterator[None]:
    with plain_kernels():
        yield


@pytest.mark.parametrize("make", [encoder, vit, gpt2], ids=lambda make: make.__name__)
def test_peaks_are_the_allocators(make: Callable[[], AnyModule]) -> None:
    found = trace(make(), WORKLOAD).by_phase
    measured = allocated(replace(make(), on_meta=False), WORKLOAD)
    apart = {phase: peak - found[phase] for phase, peak in measured.items()}
    assert max(map(abs, apart.values())) <= OF_KERNELS, apart
