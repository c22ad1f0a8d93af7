"""Modules at which the counts or their sentences once broke."""

from __future__ import annotations

import logging
import re
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import vitprof
from vitprof.captured.kernels import is_known
from vitprof.errors import SpecError

OTHERS = ["torchinfo", "fvcore", "torch"]


class Does(nn.Module):
    """Module whose forward is a function of it and the inputs."""

    def __init__(self, function: Any, **own: Any) -> None:
        super().__init__()
        self.function = function
        for name, value in own.items():
            setattr(self, name, value)

    def forward(self, *inputs: Tensor) -> object:
        return self.function(self, *inputs)


def tied_leaves() -> nn.Module:
    embedding, head = nn.Embedding(11, 4), nn.Linear(4, 11, bias=False)
    head.weight = embedding.weight
    return nn.Sequential(embedding, nn.Sequential(head))


def tied_to_a_parent() -> nn.Module:
    decoder = nn.Linear(4, 11)
    return nn.Sequential(nn.Linear(4, 4), Does(None, decoder=decoder, bias=decoder.bias))


def tied_to_an_earlier_module() -> nn.Module:
    first = nn.Linear(4, 4)
    return nn.Sequential(first, Does(None, own=first.weight, last=nn.Linear(4, 3)))


@pytest.mark.parametrize(
    ("make", "count"),
    [(tied_leaves, 44), (tied_to_a_parent, 20 + 44 + 11), (tied_to_an_earlier_module, 20 + 15)],
)
def test_tied_parameters_are_explained_at_every_path(make: Any, count: int) -> None:
    report = vitprof.params(make())
    assert report.total == count
    assert report.counters["torch"] == report.counters["fvcore"] == count
    assert "UNEXPLAINED" not in str(report)


@pytest.mark.parametrize(
    ("module", "inputs", "macs"),
    [
        # Each output: of 5 and 6 numbers with a matrix, then of the 6 that are left.
        (nn.Bilinear(5, 6, 7), ((2, 5), (2, 6)), 2 * (7 * 5 * 6 + 7 * 6)),
        # Two columns more than there are axes: the squares of the norms, and ones.
        (Does(lambda _, x: torch.cdist(x, x)), (2, 40, 5), 2 * 40 * 40 * (5 + 2)),
        (
            Does(lambda _, x, y, ends: torch._grouped_mm(x, y, offs=ends)),
            (
                torch.zeros(24, 16, dtype=torch.bfloat16),
                torch.zeros(2, 16, 8, dtype=torch.bfloat16),
                torch.zeros(2, dtype=torch.int32),
            ),
            24 * 16 * 8,
        ),
        (nn.Sequential(nn.MaxPool2d(2, return_indices=True)), (2, 3, 8, 8), 0),
        (Does(lambda _, x: nn.MaxUnpool2d(2)(x, x.long())), (2, 3, 8, 8), 0),
        (Does(lambda _, x: x.clone().ge_(0).abs_().eq_(1).copysign_(x)), (2, 3), 0),
    ],
)
def test_no_kernel_of_these_is_unknown(module: nn.Module, inputs: Any, macs: int) -> None:
    report = vitprof.macs(module, inputs, counters=["analytic"])
    assert report.total == macs
    assert "unknown" not in str(report)


def test_pointwise_kernels_are_known_in_place_too() -> None:
    aten = torch.ops.aten
    assert all(map(is_known, (aten.abs_.default, aten.eq_.Scalar, aten.heaviside_.default)))
    assert not any(map(is_known, (aten.addmm_.default, aten.linalg_qr.default)))


def test_a_padding_mask_keeps_no_encoder_from_being_counted() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)
    inputs = {"src": (3, 5, 8), "src_key_padding_mask": torch.zeros(3, 5, dtype=torch.bool)}
    report = vitprof.macs(nn.TransformerEncoder(layer, 2), inputs, counters=OTHERS)
    assert report.total == 2 * 3 * 5 * (4 * 8 * 8 + 2 * 5 * 8 + 2 * 8 * 12)
    assert report.counters["torch"] == 0  # nested tensors take the fast path
    assert "UNEXPLAINED" not in str(report)


def test_torchinfo_says_why_a_forward_fails() -> None:
    class Out:
        def __init__(self, x: Tensor) -> None:
            self.x = x

    report = vitprof.macs(Does(lambda _, x: Out(x)), (2, 3), counters=["torchinfo"])
    assert "raises TypeError: Model contains a layer with an unsupported" in str(report)


def test_a_lazy_module_is_refused() -> None:
    words = "the LazyLinear has lazy parts, which have no shapes before they are called; call it"
    with pytest.raises(SpecError, match=re.escape(words)):
        vitprof.params(nn.LazyLinear(3))


def test_a_module_without_a_size_says_so_when_it_is_swept() -> None:
    words = "tokens is no size of torch.nn:Flatten that can be varied; there is none but the batch"
    with pytest.raises(SpecError, match=re.escape(words)):
        vitprof.sweep(
            modules=["torch.nn:Flatten"], input=["2x2x2x2"], tokens="8:64:+8", measures=["macs"]
        )


@pytest.mark.parametrize("context", [torch.inference_mode, torch.no_grad])
def test_the_mode_around_a_call_does_not_matter(context: Any) -> None:
    module, inputs = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True), (3, 5, 8)
    usual = vitprof.macs(module, inputs, counters=OTHERS)
    with context():
        report = vitprof.macs(module, inputs, counters=OTHERS)
        trained = vitprof.memory(module, inputs)
    assert (report.total, report.counters) == (usual.total, usual.counters)
    assert trained.peak == vitprof.memory(module, inputs).peak


def test_fast_paths_that_are_switched_off_are_not_taken() -> None:
    module = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        report = vitprof.macs(module, (3, 5, 8), counters=OTHERS)
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    assert report.counters["torch"] == report.total
    assert "UNEXPLAINED" not in str(report)


@pytest.mark.parametrize("module", [nn.Flatten(), nn.Linear(3, 3).requires_grad_(False)])
def test_a_module_that_is_not_trained_has_no_step_of_training(module: nn.Module) -> None:
    with pytest.raises(SpecError, match="has no parameter that is trained"):
        vitprof.memory(module, (2, 3))
    assert vitprof.memory(module, (2, 3), inference=True).peak


def _raise(_: nn.Module, x: Tensor) -> Tensor:
    raise ZeroDivisionError("no. 1\nand more.")


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (_raise, "Does raises ZeroDivisionError in its step of training: no. 1 and more; check"),
        (lambda _, x: x[x > 0], "Does has shapes that depend on data (aten.nonzero.default)"),
        (lambda _, x: x.relu(), "the loss of Does depends on no parameter that is trained; give"),
        (lambda one, x: one.part(x).relu().mul_(2).exp(), "has been modified by an inplace"),
    ],
)
def test_a_step_that_fails_is_a_sentence(function: Any, words: str) -> None:
    with pytest.raises(SpecError, match=re.escape(words)):
        vitprof.memory(Does(function, part=nn.Linear(3, 3)), (2, 3))


def test_what_a_forward_prints_is_no_output(capsys: pytest.CaptureFixture[str]) -> None:
    module = Does(lambda one, x: (sys.stdout.write("here"), one.part(x))[1], part=nn.Linear(3, 3))
    vitprof.macs(module, (2, 3), counters=OTHERS)
    vitprof.memory(module, (2, 3))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("function", "shape", "torch_counts"),
    [
        (lambda _, x: F.scaled_dot_product_attention(x, x, x), (2, 3, 5, 4), 0),
        (lambda _, x: F.scaled_dot_product_attention(x, x, x, dropout_p=0.5), (2, 3, 5, 4), 1),
        (lambda _, x: F.scaled_dot_product_attention(x, x, x), (6, 5, 4), 1),
    ],
)
def test_attention_that_a_cpu_takes_apart_is_counted(
    function: Any, shape: tuple[int, ...], torch_counts: int
) -> None:
    report = vitprof.macs(Does(function), shape, device="cpu", counters=OTHERS)
    assert report.total == 6 * 2 * 5 * 5 * 4
    assert report.counters["torch"] == report.total * torch_counts
    assert "UNEXPLAINED" not in str(report)


def test_the_loss_of_an_output_whose_last_tensor_is_rows() -> None:
    module = Does(lambda one, x: {"states": one.part(x), "pooled": x[:, 0]}, part=nn.Linear(3, 3))
    assert vitprof.memory(module, (2, 5, 3)).peak
    assert vitprof.memory(module, (1, 5, 3)).peak


def test_what_a_forward_logs_is_no_output(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("one of a library")

    def forward(one: Any, x: Tensor) -> Tensor:
        log.warning("here")
        result: Tensor = one.part(x)
        return result

    module = Does(forward, part=nn.Linear(3, 3))
    vitprof.macs(module, (2, 3), counters=["analytic"])
    vitprof.memory(module, (2, 3))
    assert not caplog.records
    log.warning("it is on again")
    assert caplog.records


def test_a_loss_may_hold_labels() -> None:
    labels = torch.zeros(4, dtype=torch.int64)
    held = vitprof.memory(nn.Linear(3, 2), (4, 3), loss=lambda y: F.cross_entropy(y, labels))
    usual = vitprof.memory(nn.Linear(3, 2), (4, 3))  # cross entropy against labels 0
    assert held.phases == usual.phases
    assert labels.equal(torch.zeros(4, dtype=torch.int64))


@pytest.mark.parametrize(("dtype", "size"), [(torch.bfloat16, 2), (torch.float32, 4)])
def test_memory_is_in_the_dtype_of_the_module(dtype: torch.dtype, size: int) -> None:
    module = nn.Linear(3, 2).to(dtype)
    report = vitprof.memory(module, (4, 3))
    assert report.peak.by_kind["parameters"] == (3 * 2 + 2) * size
    assert vitprof.memory(module, (4, 3), dtype="fp32").workload["dtype"] == "fp32"


@pytest.mark.parametrize("command", [vitprof.sweep, vitprof.bench])
def test_a_module_where_a_reference_is_needed_is_refused(command: Any) -> None:
    words = "model is a name here, not of type Linear; give one, or the reference of a module in"
    with pytest.raises(SpecError, match=words):
        command(nn.Linear(3, 2), mixer="attn")
