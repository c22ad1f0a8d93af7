"""Memory that the kernels of norms take for themselves."""

from __future__ import annotations

from collections.abc import Sequence

from vitprof.cuda.gpus import Gpu

_MANY_ROWS = 65_536
_CHUNK = 65_536  # elements that a block of `foreach_tensor_norm_cuda` reduces (`kChunkSize`)
_FP32 = 4


def layer_norm_partials(gpu: Gpu, rows: int, columns: int) -> int:
    """Return rows of partial sums of the gradients of gain and bias, each; 0 if there are none.

    `layer_norm_kernel.cu`, `LaunchGammaBetaBackwardCUDAKernel`, read from source and not
    measured above 65,536 rows; measured below, where there are none.

    Args:
        gpu: GPU, whose number of multiprocessors decides.
        rows: tokens of all images.
        columns: channels.
    """
    across = -(-columns // 32)
    if rows <= _MANY_ROWS or 2 * across >= gpu.multiprocessors:
        return 0
    return min(32_768 // across, -(-rows // 32))


def group_norm_scratch(images: int, channels: int) -> list[int]:
    """Return bytes of the factor and the term of each channel of a group norm with a gain.

    `group_norm_kernel.cu`, `GroupNormKernelImplInternal`, read from source.
    """
    return [_FP32 * images * channels] * 2


def group_norm_backward_scratch(images: int, channels: int, inner: int, groups: int) -> list[int]:
    """Return bytes of each buffer of a group norm's backward pass.

    `group_norm_kernel.cu`, `GroupNormBackwardKernelImplInternal`, read from source.

    Args:
        images: images of the batch.
        channels: channels of an image.
        inner: elements of a channel.
        groups: groups of channels.
    """
    of_groups = [_FP32 * images * groups] * 2
    return [*[_FP32 * images * channels] * 3, *of_groups] if inner > 1 else of_groups


def foreach_norm_partials(numbers: Sequence[int]) -> int:
    """Return bytes of the partial norms of tensors of these numbers of elements, in fp32.

    `ForeachReduceOp.cu`, `foreach_tensor_norm_cuda`, read from source.
    """
    chunks = max(-(-number // _CHUNK) for number in numbers)
    return _FP32 * len(numbers) * chunks
