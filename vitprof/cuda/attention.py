"""Fused attention: the kernel that runs, what it saves, and the buffers of its backward pass.

Choice of the kernel: `sdp_utils.cpp`, `sdp_utils_cpp.h`. Memory-efficient kernel:
`kernel_forward.h`, `kernel_backward.h` (`workspace_size`), `attention_backward.cu`. Flash:
`flash_api.cpp` (`mha_bwd`). cuDNN: `MHA.cpp`; cuDNN chooses its workspace, and the formula here
is equal to the byte to the one that was measured, on an H100 with 2.11. Batches above 65,535:
see `check_images`.
"""

from __future__ import annotations

from enum import Enum

from vitprof.cuda.platform import Platform
from vitprof.errors import SpecError

MOST_IMAGES = 65_535  # of a launch
MASK_UNIT = 16  # keys: a mask of the memory-efficient kernel is padded to a multiple


class Kernel(Enum):
    """Kernel of fused attention."""

    CUDNN = "cudnn"
    FLASH = "flash"
    EFFICIENT = "efficient"


_CALLED = {
    Kernel.CUDNN: "cuDNN's kernel",
    Kernel.FLASH: "the flash kernel",
    Kernel.EFFICIENT: "the memory-efficient kernel",
}


class TooManyImagesError(SpecError):
    """A batch that a kernel of fused attention does not take in one launch.

    Attributes:
        limit: what the kernel takes, in a sentence without the batch.
    """

    def __init__(self, limit: str, images: int) -> None:
        super().__init__(f"{images:,} images are too many: {limit}; give a smaller batch")
        self.limit = limit


def kernel_of(platform: Platform, *, bits: int, head_dim: int, mask: str = "none") -> Kernel:
    """Return the kernel that `scaled_dot_product_attention` runs.

    cuDNN comes first on compute capability 9 and 10, measured with PyTorch 2.11; before, and on
    other GPUs, flash, then the memory-efficient one. Flash and cuDNN take only 16 bits, flash
    from compute capability 8 on.

    Args:
        platform: GPU and version of PyTorch.
        bits: bits of an element.
        head_dim: channels of a head, of queries, keys and values.
        mask: `none`, `fixed`, which flash does not take, or `trained`, which cuDNN does not either.
    """
    major = platform.gpu.capability[0]
    by_cudnn = major in (9, 10) and platform.torch >= (2, 11)
    if bits == 16 and by_cudnn and head_dim % 8 == 0 and head_dim <= 128 and mask != "trained":
        return Kernel.CUDNN
    if bits == 16 and major >= 8 and head_dim <= 256 and mask == "none":
        return Kernel.FLASH
    return Kernel.EFFICIENT


def check_images(kernel: Kernel, platform: Platform, images: int) -> None:
    """Raise TooManyImagesError for more than 65,535 images, the first axis of the queries.

    The images are the third dimension of the grid of the memory-efficient kernel (`getBlocksGrid`
    in `kernel_forward.h` and `kernel_backward.h`) and the second of the flash kernel's
    (`flash_fwd_launch_template.h`, `flash_bwd_launch_template.h`), and CUDA allows 65,535 in
    either; cuDNN refuses more, too (PyTorch's pull request 181235). From 2.8 on, PyTorch runs the
    memory-efficient kernel in parts (pull requests 154029 and 154663). Read from source.
    """
    if images <= MOST_IMAGES:
        return
    limit = f"{_CALLED[kernel]} of fused attention takes at most {MOST_IMAGES:,} images"
    if kernel is Kernel.EFFICIENT and platform.torch >= (2, 8):
        limit += ", and the memory of the parts in which PyTorch runs more is not predicted"
    raise TooManyImagesError(limit, images)


def log_sum_rows(kernel: Kernel, queries: int) -> int:
    """Return rows per head of the fp32 log-sum-exp: the efficient kernel pads to 32."""
    return _up(queries, 32) if kernel is Kernel.EFFICIENT else queries


def random_states(kernel: Kernel) -> list[int]:
    """Return bytes of each random state that a kernel saves, with or without dropout."""
    return {Kernel.CUDNN: [8, 8], Kernel.FLASH: [16, 8], Kernel.EFFICIENT: []}[kernel]


def backward_scratch(
    kernel: Kernel, *, heads: int, queries: int, head_dim: int, bits: int
) -> list[int]:
    """Return bytes of each buffer that the backward pass takes beside its gradients, all at once.

    Args:
        kernel: kernel of the forward pass.
        heads: heads of all images, B × h.
        queries: N.
        head_dim: d.
        bits: bits of an element.
    """
    row = 4 * heads * queries
    if kernel is Kernel.CUDNN:
        return [row, row * head_dim]
    if kernel is Kernel.FLASH:
        rows = _up(queries, 128)
        return [4 * heads * rows, 4 * heads * rows * _up(head_dim, 32 if head_dim <= 128 else 64)]
    across, down = _tile(head_dim, bits)
    tiles = -(-queries // across) * -(-head_dim // down)
    return [row, heads * 4 * _up(tiles * (across * down + 4), 4)]


def _tile(head_dim: int, bits: int) -> tuple[int, int]:
    """Return queries and keys per tile of the memory-efficient kernel's backward pass."""
    if head_dim <= 64:
        return 64, 64
    if bits == 16:
        return (128, 128) if head_dim <= 128 else (128, 64)
    return 64, 64


def _up(size: int, unit: int) -> int:
    return -(-size // unit) * unit
