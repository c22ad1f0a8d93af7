"""Buffers of a reduction: partial results of thread blocks that share one output.

Rules of PyTorch's `aten/src/ATen/native/cuda/Reduce.cuh` (2.13): `setReduceConfig`,
`set_block_dimension`, `get_output_vec_size`, `global_memory_size`, `semaphore_size`; and of
`TensorIterator.cpp`: `reorder_dimensions`, `coalesce_dimensions`, `can_use_32bit_indexing`.
Measured on an H100 with PyTorch 2.11: eight sums over rows, equal to the byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from vitprof.cuda.gpus import Gpu

_THREADS = 512  # of a block (`MAX_NUM_THREADS` of a reduction)
_WARP = 32
_BLOCKS_FOR_WAVES = 16  # the fewest values that a thread should reduce
_MOST_INDEX = 2**31 - 1


@dataclass(frozen=True, slots=True)
class _Axis:
    """Axis of the iteration: length, and strides in bytes.

    Attributes:
        size: length.
        out: stride of the result; 0 if the axis is reduced.
        into: stride of the input.
    """

    size: int
    out: int
    into: int


def widths(kind: str, element: int) -> tuple[int, int]:
    """Return bytes of a partial result, and values that a thread reads at once.

    `ReduceSumProdKernel.cu`, `ReduceMomentKernel.cu`, `ReduceNormKernel.cu`,
    `ReduceMinValuesKernel.cu`, `ReduceArgMaxKernel.cu`.

    Args:
        kind: `sum`, `mean`, `norm`, `extreme` (without its place), `place` of an extreme, or
            `deviation`.
        element: bytes of an element of the input.
    """
    if kind == "sum":
        return max(4, element), 8 if element == 2 else 4
    if kind == "extreme":
        return element, 4
    if kind == "place":
        return 16, 4
    if kind == "deviation":
        return 16, 2
    return max(4, element), 4


def scratch(
    shape: Sequence[int],
    strides: Sequence[int],
    dims: Sequence[int],
    *,
    element: int,
    gpu: Gpu,
    result: int | None = None,
    accumulator: int = 4,
    vector: int = 4,
) -> list[int]:
    """Return bytes of each buffer that a reduction allocates beside its result, by piece.

    Args:
        shape: shape of the input.
        strides: strides of the input, in elements.
        dims: axes that are reduced.
        element: bytes of an element of the input.
        gpu: GPU, whose multiprocessors and threads decide how many blocks share an output.
        result: bytes of an element of the result; None for that of the input.
        accumulator: bytes of a partial result: 4 for sums, means and norms, also of 16 bits.
        vector: values that a thread reads at once along a contiguous reduced axis.

    Returns:
        A buffer and its semaphores for each piece of at most 2^31 - 1 elements and bytes; empty
        if no output is shared by several blocks.
    """
    kept = [1 if dim in dims else size for dim, size in enumerate(shape)]
    width = element if result is None else result
    axes = []
    for dim, size in enumerate(shape):
        out = 0 if dim in dims else prod(kept[dim + 1 :]) * width
        if size != 1:
            axes.append(_Axis(size, out, strides[dim] * element))
    return [
        size
        for piece in _pieces(axes, width, element)
        for size in _shared(piece, element, accumulator, vector, gpu)
    ]


def _pieces(axes: list[_Axis], width: int, element: int) -> list[list[_Axis]]:
    """Return the iteration halved along its largest extent until 32 bits can index each piece."""
    elements = prod(axis.size for axis in axes)
    extents = [
        sum((axis.size - 1) * stride for axis, stride in zip(axes, some, strict=True))
        for some in ([axis.out for axis in axes], [axis.into for axis in axes])
    ]
    if elements <= _MOST_INDEX and max(extents, default=0) <= _MOST_INDEX:
        return [axes]
    place = max(range(len(axes)), key=lambda n: (axes[n].size - 1) * max(axes[n].out, axes[n].into))
    axis = axes[place]
    first = axis.size // 2
    found = []
    for size in (first, axis.size - first):
        part = [*axes[:place], _Axis(size, axis.out, axis.into), *axes[place + 1 :]]
        found += _pieces(part, width, element)
    return found


def _shared(
    axes: list[_Axis], element: int, accumulator: int, vector: int, gpu: Gpu
) -> tuple[int, ...]:
    axes = _merged(sorted(axes, key=lambda axis: (axis.out != 0, axis.out, axis.into, axis.size)))
    reduced = [axis for axis in axes if not axis.out]
    if not reduced:
        return ()
    number = len(reduced)
    inputs = prod(axis.size for axis in reduced)
    outputs = prod(axis.size for axis in axes[number:])
    along = number == len(axes) or axes[0].into < axes[number].into  # the innermost axis is reduced
    first, second = (inputs, outputs) if along else (outputs, inputs)
    together = 1  # outputs of a thread
    if axes[0 if along else number].into == element:
        if along and first >= 128 and number == 1:
            first //= vector
        elif not along:
            together = _outputs_of_a_thread(axes, number, element)
            first //= together
    most = _THREADS // together
    width = min(_power(first, most), _WARP)
    height = min(_power(second, most), most // width)
    width = min(_power(first, most), most // height)
    step_in, step_out = (width, 1) if along else (1, width)
    values = -(-inputs // step_in)
    across = values >= min(16 * height, 256)  # rows of threads share an output
    if across:
        step_in *= height
    else:
        step_out *= height
    values = -(-inputs // step_in)
    grid = -(-(outputs // together) // step_out)
    target = gpu.multiprocessors * (gpu.threads // (width * height))
    if not across or values < 256 or grid > target:
        return ()
    blocks = max(min(-(-target // grid), -(-values // _BLOCKS_FOR_WAVES)), -(-values // 256))
    if blocks <= 1:
        return ()
    return accumulator * outputs * blocks * (1 if along else width * together), 4 * grid


def _merged(axes: list[_Axis]) -> list[_Axis]:
    """Merge neighbouring axes that are contiguous with each other in input and result."""
    merged: list[_Axis] = []
    for axis in axes:
        if merged:
            last = merged[-1]
            if (axis.out, axis.into) == (last.size * last.out, last.size * last.into):
                merged[-1] = _Axis(last.size * axis.size, last.out, last.into)
                continue
        merged.append(axis)
    return merged


def _outputs_of_a_thread(axes: list[_Axis], number: int, element: int) -> int:
    """Return outputs per thread: 4, or fewer if their number or a stride is no multiple of 4."""
    together = 4
    while together > 1 and (
        axes[number].size % together
        or any(
            axis.into // element % together for place, axis in enumerate(axes) if place != number
        )
    ):
        together //= 2
    return together


def _power(number: int, most: int) -> int:
    """Return the greatest power of two that is at most `number`, and at most `most`."""
    return min(1 << max(0, number.bit_length() - 1), most)
