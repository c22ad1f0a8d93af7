"""Memory that the kernels of norms take for themselves."""

from __future__ import annotations

from vitprof.cuda.gpus import Gpu

_MANY_ROWS = 65_536


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
