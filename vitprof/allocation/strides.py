"""Strides of tensors by PyTorch's rules, on integers.

Each function has the rule of one of PyTorch's, named in it. Shapes and strides are tuples of
ints, strides in elements. In `vitprof.allocation` the strides of views, copies and results of
elementwise kernels decide which lines of a forward pass allocate.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

Ints = tuple[int, ...]

_KEPT = 4096  # results in the cache, of the latest shapes


@lru_cache(_KEPT)
def contiguous(shape: Ints) -> Ints:
    """Return the strides of a contiguous tensor."""
    strides = []
    step = 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


@lru_cache(_KEPT)
def is_contiguous(shape: Ints, strides: Ints) -> bool:
    """Return True if a tensor is contiguous; an axis of length 1 may have any stride."""
    step = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size != 1:
            if stride != step:
                return False
            step *= size
    return True


@lru_cache(_KEPT)
def is_channels_last(shape: Ints, strides: Ints) -> bool:
    """Return True if images (B, C, rows, columns) are dense with their channels innermost."""
    if len(shape) != 4:
        return False
    step = 1
    for axis in (1, 3, 2, 0):
        if shape[axis] != 1:
            if strides[axis] != step:
                return False
            step *= shape[axis]
    return True


@lru_cache(_KEPT)
def suggests_channels_last(shape: Ints, strides: Ints) -> bool:
    """Return True if convolutions take images (of 4 or 5 axes) for channels-last ones.

    `is_channels_last_strides_2d_s4` and `_3d_s5` of c10/core/MemoryFormat.h.
    """
    if len(shape) not in (4, 5) or strides[1] == 0:
        return False
    least = 0
    for axis in (1, *range(len(shape) - 1, 1, -1), 0):
        if shape[axis] == 0 or strides[axis] < least:
            return False
        if axis == 0 and least == strides[1]:  # of one channel and one row: the usual order
            return False
        least = strides[axis] * (shape[axis] if shape[axis] > 1 else 1)
    return True


def channels_last(shape: Ints) -> Ints:
    """Return the strides of images of 4 or 5 axes with their channels innermost."""
    strides = [0] * len(shape)
    step = 1
    for axis in (1, *range(len(shape) - 1, 1, -1), 0):
        strides[axis] = step
        step *= shape[axis]
    return tuple(strides)


@lru_cache(_KEPT)
def is_in_format(shape: Ints, strides: Ints, *, last: bool) -> bool:
    """Return True if images are contiguous, or dense with their channels innermost if `last`."""
    wanted = channels_last(shape) if last else contiguous(shape)
    return all(
        size == 1 or own == other for size, own, other in zip(shape, strides, wanted, strict=True)
    )


@lru_cache(_KEPT)
def is_dense(shape: Ints, strides: Ints) -> bool:
    """Return True if the elements fill one range of memory, each once, in any order of the axes.

    `compute_non_overlapping_and_dense` of c10/core/Contiguity.h.
    """
    step = 1
    axes = [(stride, size) for size, stride in zip(shape, strides, strict=True) if size != 1]
    for stride, size in sorted(axes):
        if stride != step:
            return False
        step *= size
    return True


def dense(shape: Ints, strides: Sequence[Ints]) -> Ints:
    """Return the strides of a new tensor that keeps the order of the axes of others.

    Axes are sorted by the strides of the first operand that orders two of them; a stride
    of 0 orders nothing, and of equal strides the longer axis is the outer one.
    (`TensorIteratorBase::reorder_dimensions`, `infer_dense_strides`.)
    """
    return _dense(shape, tuple(strides))


@lru_cache(_KEPT)
def _dense(shape: Ints, operands: tuple[Ints, ...]) -> Ints:
    order = list(reversed(range(len(shape))))  # from the innermost axis outward

    def compare(one: int, other: int) -> int:
        for strides in operands:
            inner, outer = strides[one], strides[other]
            if inner == 0 or outer == 0:
                continue
            if inner != outer:
                return -1 if inner < outer else 1
            if shape[one] > shape[other]:
                return 1
        return 0

    for start in range(1, len(order)):
        moving = start
        for place in reversed(range(start)):
            found = compare(order[place], order[moving])
            if found > 0:
                order[place], order[moving] = order[moving], order[place]
                moving = place
            elif found < 0:
                break
    made = [0] * len(shape)
    step = 1
    for axis in order:
        made[axis] = step
        step *= shape[axis]
    return tuple(made)


@lru_cache(_KEPT)
def elementwise(shape: Ints, operands: tuple[tuple[Ints, Ints], ...]) -> Ints:
    """Return the strides of an elementwise result of tensors, each a shape and its strides.

    All contiguous, all channels-last, all alike and dense, or by the order of their axes
    (`TensorIteratorBase::compute_fast_setup_type`, `reorder_dimensions`).
    """
    if all(own == shape for own, _ in operands):
        if all(is_contiguous(*operand) for operand in operands):
            return contiguous(shape)
        if all(is_channels_last(*operand) for operand in operands):
            return channels_last(shape)
        first = operands[0][1]
        if all(strides == first for _, strides in operands) and is_dense(shape, first):
            return first
    return _dense(shape, tuple(broadcast(shape, *operand) for operand in operands))


@lru_cache(_KEPT)
def broadcast(shape: Ints, own: Ints, strides: Ints) -> Ints:
    """Return the strides of a tensor that is expanded to a shape."""
    new = len(shape) - len(own)
    return (0,) * new + tuple(
        0 if length == 1 and size != 1 else stride
        for size, length, stride in zip(shape[new:], own, strides, strict=True)
    )


@lru_cache(_KEPT)
def view(shape: Ints, strides: Ints, to: Ints) -> Ints | None:
    """Return the strides of a view of a tensor with another shape; None if that takes a copy.

    `computeStride_impl` of aten/src/ATen/TensorUtils.cpp.
    """
    if not shape:
        return (1,) * len(to)
    if 0 in shape:
        return strides if shape == to else contiguous(to)
    made = [0] * len(to)
    place = len(to) - 1
    base, own, seen = strides[-1], 1, 1
    for axis in reversed(range(len(shape))):
        own *= shape[axis]
        # Axes that are contiguous with each other count as one.
        if axis and (shape[axis - 1] == 1 or strides[axis - 1] == own * base):
            continue
        while place >= 0 and (seen < own or to[place] == 1):
            made[place] = seen * base
            seen *= to[place]
            place -= 1
        if seen != own:
            return None
        if axis:
            base, own, seen = strides[axis - 1], 1, 1
    return tuple(made) if place == -1 else None


@lru_cache(_KEPT)
def fake_view(shape: Ints, strides: Ints, to: Ints) -> Ints:
    """Return the strides of a view of a fake tensor, which differ on axes of length 1.

    `_reshape_view_helper` of torch/_refs/__init__.py; only for shapes that `view` allows.
    """
    if not shape:
        return (1,) * len(to)
    if 0 in shape:
        return contiguous(to)
    if is_contiguous(shape, strides):
        if len(to) == 1 and len(shape) > 1:
            return (1,)
        if len(to) == 2 and len(shape) == 1:
            return (to[1], 1)
    sizes, steps = [*shape], [*strides]
    for axis, length in enumerate(to):
        if axis >= len(sizes):
            sizes.append(1)
            steps.append(steps[-1])
        elif length != sizes[axis]:
            end, whole = axis, sizes[axis]
            while whole % length:
                end += 1
                whole *= sizes[end]
            longer = [steps[one] for one in range(axis, end) if sizes[one] != 1]
            step = min([steps[end], *longer])
            sizes[axis : end + 1], steps[axis : end + 1] = [whole], [step]
            if whole != length:
                sizes[axis : axis + 1] = [length, whole // length]
                steps[axis : axis + 1] = [step * (whole // length), step]
    return tuple(steps[: len(to)])
