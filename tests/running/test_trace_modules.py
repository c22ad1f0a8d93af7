"""Traces of any module: paths, kinds, what is saved, the loss, checkpointing."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from types import SimpleNamespace

import pytest
import torch
from any_module import AnyModule, of_function
from combinations import Case, cases, described
from h100 import H100
from torch import Tensor, nn

from vitprof.allocation.departures import TRACED
from vitprof.allocation.on_gpu import on_gpu
from vitprof.allocation.step import memory
from vitprof.errors import SpecError
from vitprof.request.specs import specify
from vitprof.request.workload import Workload
from vitprof.running.on_gpu import traced_on_gpu
from vitprof.running.trace import trace

FP32 = 4
IMAGES, TOKENS, WIDTH = 2, 7, 12


class Classifier(nn.Module):
    """Two linear layers, the second of which is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(WIDTH, 20), nn.GELU(), nn.Linear(20, WIDTH))
        self.head = nn.Linear(WIDTH, 5)
        self.scale = torch.ones(WIDTH)  # a plain attribute

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head((self.body(x) * self.scale).mean(1))
        return logits


CLASSIFIER = AnyModule(make=Classifier, shapes=((TOKENS, WIDTH),), classifies=True)
WEIGHTS = 12 * 20 + 20 + 20 * 12 + 12 + 12 * 5 + 5


def some_cases() -> list[Case]:
    """Draw cases without checkpointing, under which a trace does not see what is saved again."""
    return [*islice((case for case in cases(9) if not case[1].checkpoint), 3)]


@pytest.mark.parametrize("case", some_cases(), ids=described)
def test_kinds_and_saved_bytes_are_the_formulas(case: Case) -> None:
    found, traced = memory(*case, departures=TRACED), trace(*case)
    for phase, peak in found.peaks.items():
        assert traced.peaks[phase].bytes == traced.by_phase[phase]
        assert traced.peaks[phase].by_kind == peak.by_kind
    assert sum(traced.saved.values()) == found.kept_bytes


def test_saved_bytes_by_path() -> None:
    """Check what each layer saves first; inputs, weights and the plain attribute do not count."""
    traced = trace(CLASSIFIER, Workload(batch=IMAGES))
    assert traced.saved == {
        "body.1": FP32 * IMAGES * TOKENS * 20,  # the activation's input
        "body.2": FP32 * IMAGES * TOKENS * 20,  # and its output
        "head": FP32 * IMAGES * WIDTH,
        "loss": FP32 * (IMAGES * 5 + 1),  # the log-softmax, and the weight of all labels
    }


def test_held_at_the_peak_adds_up_by_kind() -> None:
    traced = trace(CLASSIFIER, Workload(batch=IMAGES), platform=H100)
    by_kind = traced.peaks[traced.phase].by_kind
    for kind, held in by_kind.items():
        assert sum(one.bytes for one in traced.held if one.kind == kind) == held
    assert by_kind["parameters"] == FP32 * WEIGHTS
    assert by_kind["optimizer"] == 2 * FP32 * WEIGHTS  # counts of steps lie on the CPU
    assert by_kind["buffers"] == FP32 * WIDTH  # the plain attribute
    assert by_kind["inputs"] == FP32 * IMAGES * TOKENS * WIDTH + 8 * IMAGES
    weights = [one for one in traced.held if one.at == "body.0" and one.kind == "parameters"]
    assert [(one.shape, one.dtype) for one in weights] == [
        ((20, 12), "float32"),
        ((20,), "float32"),
    ]


class Wide(nn.Module):
    """Layers of which one dominates, forward and backward."""

    def __init__(self) -> None:
        super().__init__()
        self.narrow = nn.Linear(8, 8)
        self.wide = nn.Sequential(nn.Linear(8, 4096), nn.ReLU(), nn.Linear(4096, 8))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.narrow(self.wide(self.narrow(x)))
        return y


def test_the_path_of_a_peak() -> None:
    """Check that the peak lies at the wide layers, in the backward pass by their functions."""
    traced = trace(AnyModule(make=Wide, shapes=((64, 8),)), Workload(batch=3, optimizer="sgd"))
    assert traced.peaks["forward"].at.startswith("wide.")
    assert traced.peaks["backward"].at.startswith("wide.")
    assert traced.peaks["optimizer"].at == "sgd"


def test_hooks_are_gone_after_a_trace() -> None:
    trace(CLASSIFIER, Workload(batch=1))
    hooks = torch.nn.modules.module
    assert not hooks._global_forward_pre_hooks
    assert not hooks._global_forward_hooks


# The loss


def test_losses_of_outputs() -> None:
    rows = (TOKENS, WIDTH)
    own = of_function(lambda x: SimpleNamespace(loss=x.square().sum()), rows)
    first = of_function(lambda x: (x.square().sum(), x), rows)
    mean = of_function(lambda x: {"x": [x.square()]}, rows)
    workload = Workload(batch=1, inference=True)
    tensor = FP32 * TOKENS * WIDTH
    for model in (own, first, mean):  # input, square, label, loss
        assert trace(model, workload).peak_bytes == 2 * tensor + 8 + FP32
    by_caller = trace(mean, workload, loss=lambda output: output["x"][0].exp().sum())
    assert by_caller.peak_bytes == 3 * tensor + 8 + FP32  # the exponential too


def test_an_output_without_numbers_is_refused() -> None:
    nothing = of_function(lambda x: "words", (TOKENS, WIDTH))
    with pytest.raises(SpecError, match="returns no tensor of which a loss could be"):
        trace(nothing, Workload(batch=1, inference=True))


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(10, WIDTH)

    def forward(self, *, places: Tensor) -> Tensor:
        y: Tensor = self.table(places)
        return y


def test_inputs_by_name() -> None:
    model = AnyModule(make=Named, shapes=(), named={"places": (TOKENS,)})
    traced = trace(model, Workload(batch=IMAGES))
    assert traced.peaks["forward"].by_kind["inputs"] == 8 * IMAGES * TOKENS + 8 * IMAGES


# Checkpointing


class Switched(Classifier):
    """A module with a switch of timm."""

    recomputes = False

    def set_grad_checkpointing(self, enable: bool) -> None:
        self.recomputes = enable

    def forward(self, x: Tensor) -> Tensor:
        if not self.recomputes:
            return super().forward(x)
        made = torch.utils.checkpoint.checkpoint(super().forward, x, use_reentrant=False)
        assert isinstance(made, Tensor)
        return made


@pytest.mark.parametrize("platform", [None, H100])
def test_a_module_that_checkpoints_itself(platform: object) -> None:
    model = replace(CLASSIFIER, make=Switched)
    on = H100 if platform else None
    kept, again = (
        trace(model, Workload(batch=IMAGES, checkpoint=checkpoint), platform=on)
        for checkpoint in (False, True)
    )
    assert again.peaks["forward"].by_kind["saved"] < kept.peaks["forward"].by_kind["saved"]
    assert again.by_phase["forward"] < kept.by_phase["forward"]


def test_a_module_without_checkpointing_is_refused() -> None:
    with pytest.raises(SpecError, match="which turn checkpointing on; leave out checkpoint"):
        trace(CLASSIFIER, Workload(batch=1, checkpoint=True))


# What is not known, and what is odd


class Odd(nn.Module):
    """Functions that a trace has to get through: none of them is named in it."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.2, inplace=True)
        self.up = nn.ConvTranspose2d(4, 4, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(self.norm(x)).relu_()
        x = self.up(x) + x.new_zeros(0, 3).sum()
        pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
        x = torch.view_as_real(pairs * pairs).flatten(-2)
        x = torch.fft.irfft2(torch.fft.rfft2(x)).to(x.dtype)
        if torch.all(x == x):
            x = x * torch.rand_like(x)
        values, places = x.max(-1)
        x = x.sort(-1).values.cumsum(-1) + values.unsqueeze(-1) + places.unsqueeze(-1)
        return x.std(-1) + x.amax(-1) + x.prod(-1) + x.logsumexp(-1)


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("platform", [None, H100])
def test_odd_functions(platform: object, dtype: str) -> None:
    model = AnyModule(make=Odd, shapes=((4, 6, 6),))
    workload = Workload(batch=3, dtype=dtype, autocast=dtype != "fp32")
    assert trace(model, workload, platform=H100 if platform else None).peak_bytes > 0


# A process on a GPU


@pytest.mark.parametrize(
    ("mixer", "words", "workload"),
    [
        ("attn", {"fused": True}, Workload(batch=3, dtype="bf16", autocast=True)),
        (
            "window",
            {"norm": "batch", "pool": "mean", "window": 4},
            Workload(batch=2, inference=True),
        ),
        ("filter", {"pool": "mean"}, Workload(batch=2, optimizer="lamb", kernel="loop", clip=True)),
        ("xca", {"pool": "mean"}, Workload(batch=2, accumulate=3, keep_gradients=True)),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_process_by_trace_is_the_process_by_formula(
    mixer: str, words: dict[str, object], workload: Workload
) -> None:
    sizes = {"image_size": 64, "patch_size": 8, "dim": 48, "heads": 4, "depth": 3}
    model = specify("classifier", mixer=mixer, options={**sizes, **words})
    assert traced_on_gpu(model, workload, H100) == on_gpu(model, workload, H100)


def test_a_convolution_is_named_with_its_range() -> None:
    """Check the range of x + dy + w for a convolution where the memory peaks."""
    model = AnyModule(make=lambda: nn.Conv2d(3, 64, 3, padding=1), shapes=((3, 64, 64),))
    found = traced_on_gpu(model, Workload(batch=2, optimizer="sgd"), H100)
    elements = 2 * 3 * 64 * 64 + 2 * 64 * 64 * 64 + 64 * 3 * 3 * 3
    assert 0 < found.workspace <= FP32 * elements
    assert found.allocated.keys() == {"forward", "backward", "optimizer"}
