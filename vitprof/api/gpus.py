"""The GPUs that are known: from a name, or none, to a report."""

from __future__ import annotations

from vitprof.cuda.gpus import find_gpu, find_gpus
from vitprof.cuda.gpus import gpus as table
from vitprof.report.gpus import GpuDetails, Gpus
from vitprof.request.names import named
from vitprof.text import is_pattern


def gpus(name: str | None = None) -> Gpus | GpuDetails:
    """List the GPUs with their memory, multiprocessors, bandwidth and peaks, or show one.

    Args:
        name: of the GPU to show, with the source of each figure; a pattern with *, ? or [, such
            as `a100*`, lists those that match; None lists them all.

    Raises:
        SpecError: there is no GPU of this name, or there are several, or none matches.
    """
    if name is None:
        return Gpus(gpus=table())
    if is_pattern(name):
        return Gpus(gpus=find_gpus(name))
    return GpuDetails(gpu=named(find_gpu, name))
