"""Named GPUs, and the memory that each has by its data sheet."""

from __future__ import annotations

from vitprof.errors import SpecError, unknown
from vitprof.values.bytes import read_bytes

_GIB = 1024**3

# The data sheets say GB and mean GiB of chips. A driver shows somewhat less: what error
# correction and the firmware keep for themselves is not subtracted here.
GPUS: dict[str, int] = {
    name: gib * _GIB
    for name, gib in {
        "gtx1080ti": 11,
        "rtx2080ti": 11,
        "rtx3060": 12,
        "rtx3080": 10,
        "rtx3090": 24,
        "rtx4080": 16,
        "rtx4090": 24,
        "rtx5090": 32,
        "titanrtx": 24,
        "rtxa6000": 48,
        "p100": 16,
        "t4": 16,
        "v100-16": 16,
        "v100-32": 32,
        "a10": 24,
        "a100-40": 40,
        "a100-80": 80,
        "l4": 24,
        "l40s": 48,
        "h100": 80,
        "h200": 141,
        "b200": 180,
    }.items()
}


def read_budget(memory: str | None, gpu: str | None) -> int | None:
    """The bytes of a size of memory, or of a named GPU's; None where neither is given.

    Raises:
        SpecError: both are given, or the one that is cannot be read.
    """
    if memory is not None and gpu is not None:
        raise SpecError("memory and gpu both name the memory; give one of the two")
    if gpu is not None:
        return find_gpu(gpu)
    return None if memory is None else read_bytes("memory", memory)


def find_gpu(name: str) -> int:
    """The memory in bytes of the GPU called `name`; case, blanks and hyphens are free.

    Raises:
        SpecError: no GPU of that name is known.
    """
    for known, memory in GPUS.items():
        if _plain(known) == _plain(name):
            return memory
    raise unknown("GPU", name.lower(), GPUS)


def _plain(name: str) -> str:
    return "".join(name.lower().split()).replace("-", "").replace("_", "")
