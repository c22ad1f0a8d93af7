"""Platform: a GPU and the version of PyTorch on it, which decide which kernels run."""

from __future__ import annotations

from dataclasses import dataclass

from vitprof.cuda.gpus import Gpu
from vitprof.cuda.versions import NEWEST, Version

_MIB = 1024**2
_HOPPER, _BLACKWELL = 9, (10, 12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """GPU and version of PyTorch.

    Attributes:
        gpu: facts on the GPU.
        torch: major and minor version of PyTorch.
    """

    gpu: Gpu
    torch: Version = NEWEST

    @property
    def capacity(self) -> int:
        """Bytes that PyTorch may reserve: the GPU's memory without the CUDA context."""
        return self.gpu.memory_bytes - self.gpu.context_bytes

    @property
    def cublas_workspace(self) -> int:
        """Bytes that cuBLAS allocates through PyTorch for each handle and stream, and keeps.

        `CublasHandlePool.cpp`: 8,519,680 (`:4096:2:16:8`) since PyTorch 2.0, 32 MiB on compute
        capability 9, and from 2.12 on, read from source, on 10 and 12 too. Two of 32 MiB were
        measured on an H100 with 2.11. Before 2.0 cuBLAS does not
        allocate through PyTorch.
        """
        major = self.gpu.capability[0]
        if self.torch < (2, 0):
            return 0
        if major == _HOPPER or (major in _BLACKWELL and self.torch >= (2, 12)):
            return 32 * _MIB
        return 8_519_680
