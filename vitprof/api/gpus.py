"""The GPUs that are known: from a name, or none, to a report."""

from __future__ import annotations

from vitprof.cuda.gpus import find_gpu
from vitprof.cuda.gpus import gpus as table
from vitprof.report.gpus import GpuDetails, Gpus
from vitprof.request.names import named


def gpus(name: str | None = None) -> Gpus | GpuDetails:
    """List the GPUs with their memory, multiprocessors, bandwidth and peaks, or show one.

    Args:
        name: of the GPU to show, with the source of each figure; None lists them all.

    Raises:
        SpecError: there is no GPU of this name, or there are several.
    """
    return Gpus(gpus=table()) if name is None else GpuDetails(gpu=named(find_gpu, name))
