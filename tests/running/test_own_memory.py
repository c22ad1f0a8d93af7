"""Buffers of kernels that a trace for a named GPU books, and what it does as eager PyTorch does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from h100 import H100
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from vitprof.cuda.reductions import scratch
from vitprof.running.ledger import Ledger

FP32, INT64 = 4, 8


def booked(function: Callable[..., object], *shapes: tuple[int, ...]) -> list[int]:
    """Return bytes of the buffers that kernels take in a function of new tensors."""
    ledger = Ledger(on_gpu=True, platform=H100)
    with FakeTensorMode(), ledger, ledger.around():
        function(*(torch.zeros(shape, requires_grad=True) for shape in shapes))
    return [one.bytes for one in ledger.bookings if one.dtype == "uint8"]


def backward(function: Callable[..., Tensor]) -> Callable[..., None]:
    def run(*inputs: Tensor) -> None:
        y = function(*inputs)
        torch.autograd.backward(y, torch.zeros_like(y, memory_format=torch.preserve_format))

    return run


ROWS, COLUMNS = 2048, 256
SUM = scratch((ROWS, COLUMNS), (COLUMNS, 1), (0,), element=FP32, gpu=H100.gpu)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.sum(0),
        lambda x: x.mean(0),
        lambda x: x.norm(dim=0),
        lambda x: x.amax(0),
        lambda x: x.view(32, 64, COLUMNS).sum((0, 1)),
        lambda x: torch.sum(x, dim=0, keepdim=True),
    ],
)
def test_reductions(function: Callable[[Tensor], Tensor]) -> None:
    assert len(SUM) == 2
    assert booked(function, (ROWS, COLUMNS)) == SUM


def test_a_reduction_along_all_axes_and_of_nothing() -> None:
    everything = scratch((ROWS, COLUMNS), (COLUMNS, 1), (0, 1), element=FP32, gpu=H100.gpu)
    assert booked(lambda x: x.sum(), (ROWS, COLUMNS)) == everything
    assert booked(lambda x: x.sum(), (0, 3)) == []
    assert booked(lambda x: x.sum(), ()) == []


def test_an_extreme_with_its_place() -> None:
    """Check four times the bytes of a sum: a value and an int64 in 16 bytes."""
    assert booked(lambda x: x.max(0), (ROWS, COLUMNS)) == [4 * SUM[0], SUM[1]]


def test_the_gradient_of_a_bias() -> None:
    found = booked(backward(F.linear), (ROWS, 5), (COLUMNS, 5), (COLUMNS,))
    assert found == SUM


def test_the_gradient_of_a_convolutions_bias() -> None:
    """Check the sum over images and pixels; a gradient with its channels innermost is copied."""
    shapes = ((8, 3, 16, 16), (COLUMNS, 3, 1, 1), (COLUMNS,))

    def by_channels(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return F.conv2d(x, weight, bias).flatten(2).transpose(1, 2)

    images = FP32 * 8 * COLUMNS * 256
    assert booked(backward(F.conv2d), *shapes) == []
    assert booked(
        lambda *all: torch.autograd.backward(by_channels(*all), torch.zeros(8, 256, COLUMNS)),
        *shapes,
    ) == [images, *SUM]


def test_softmax() -> None:
    """Check the product of gradient and output, and copies of what is not contiguous."""
    size = FP32 * 5 * 7
    assert booked(backward(lambda x: x.softmax(-1)), (5, 7)) == [size]
    assert booked(backward(lambda x: F.log_softmax(x, -1)), (5, 7)) == []
    assert booked(lambda x: x.t().softmax(-1), (5, 7)) == [size]


def test_layer_norm_of_what_is_not_contiguous() -> None:
    """Check a copy of the input forward, and of input and gradient backward."""
    size = FP32 * 5 * 7
    assert booked(lambda x: F.layer_norm(x, (7,)), (5, 7)) == []
    assert booked(lambda x: F.layer_norm(x.t(), (5,)), (5, 7)) == [size]

    def both(x: Tensor) -> None:
        torch.autograd.backward(F.layer_norm(x.t(), (5,)), torch.zeros(5, 7).t())

    assert booked(both, (5, 7)) == [size] * 3


def test_layer_norm_of_many_rows() -> None:
    """Check two matrices of partial sums at a time, each with the buffers of its sum."""
    rows, columns = 65_537, 64
    partial = -(-rows // 32)
    of_one = scratch((partial, columns), (columns, 1), (0,), element=FP32, gpu=H100.gpu)
    found = booked(
        backward(lambda x, w, b: F.layer_norm(x, (columns,), w, b)),
        *((rows, columns), (columns,), (columns,)),
    )
    assert found == [FP32 * partial * columns, FP32 * partial * columns, *of_one] * 2


def test_group_norm() -> None:
    shapes = ((3, 20, 7), (20,), (20,))
    found = booked(backward(lambda x, w, b: F.group_norm(x, 5, w, b)), *shapes)
    assert found == [FP32 * 3 * 20] * 2 + [FP32 * 3 * 20] * 3 + [FP32 * 3 * 5] * 2


def test_an_inverse_transform_clones_its_input() -> None:
    assert booked(lambda x: torch.fft.irfft(torch.fft.rfft(x)), (5, 6)) == [8 * 5 * 4]


def test_norms_together() -> None:
    def norms(*inputs: Tensor) -> None:
        with torch.no_grad():
            torch._foreach_norm([*inputs])

    assert booked(norms, (65_537,), (3,)) == [FP32 * 2 * 2]


# As eager PyTorch


def made(function: Callable[..., object], *shapes: tuple[int, ...]) -> tuple[list[int], int]:
    """Return bytes of all that a function allocates, and the most that is held at once."""
    ledger = Ledger(on_gpu=True, platform=H100)
    with FakeTensorMode(), ledger, ledger.around():
        inputs = [torch.zeros(shape, requires_grad=True) for shape in shapes]
        number = len(ledger.bookings)
        with ledger.phase("forward"):
            function(*inputs)
    return [one.bytes for one in ledger.bookings[number:]], max(ledger.levels["forward"])


def test_gradients_that_meet_are_added_in_place() -> None:
    """Check no sum of the two gradients of x, but one where something else holds the first."""
    size = FP32 * 5 * 7
    found, _ = made(lambda x: torch.autograd.backward((x.exp() + x.sin()).sum()), (5, 7))
    # Forward three tensors and a number; backward a number, and the cosine and two gradients.
    assert sorted(found) == [FP32, FP32, *[size] * 6]
    held, _ = made(lambda x: torch.autograd.backward((x * 1 + x).sum()), (5, 7))
    assert held.count(size) == 2 + 2  # x's gradient is the sum's, expanded and held: a new tensor


def test_a_bias_is_added_in_place() -> None:
    found, _ = made(lambda x, w, b: F.linear(x.transpose(1, 2), w, b), (2, 5, 3), (4, 5), (4,))
    assert found == [FP32 * 2 * 5 * 3, FP32 * 2 * 3 * 4]  # the input is made a matrix


def test_indices_scatter_in_place() -> None:
    """Check that the gradient of what was indexed is one tensor, not two."""
    found, _ = made(lambda x: torch.autograd.backward(x[torch.zeros(3).long()].sum()), (5, 7))
    assert found.count(FP32 * 5 * 7) == 1


def test_a_batch_norm_makes_no_gradient_that_nobody_wants() -> None:
    def norm(x: Tensor, weight: Tensor, bias: Tensor) -> None:
        y = F.batch_norm(x.detach(), None, None, weight, bias, training=True)
        torch.autograd.backward(y, y.detach())

    found, _ = made(norm, (6, 5, 7), (5,), (5,))
    assert found.count(FP32 * 6 * 5 * 7) == 1


@pytest.mark.parametrize(
    ("axes", "shape"), [((0, 2, 1), (1, 1, 6)), ((1, 0, 2), (6, 1)), ((1, 0, 2), (2, 3, 1))]
)
def test_axes_of_length_1_lie_as_they_do_without_fake_tensors(
    axes: tuple[int, ...], shape: tuple[int, ...]
) -> None:
    real = torch.zeros(1, 6, 1).permute(axes).view(shape)
    found = []
    for mode in (Ledger(on_gpu=True), Ledger(on_gpu=True, platform=H100)):
        with FakeTensorMode(), mode:
            x = torch.zeros(1, 6, 1).permute(axes)
            viewed = x.view(shape)
            assert viewed.untyped_storage()._cdata == x.untyped_storage()._cdata
            found.append(viewed.stride())
    assert found[0] != real.stride()  # else there is nothing to undo
    assert found[1] == real.stride()
