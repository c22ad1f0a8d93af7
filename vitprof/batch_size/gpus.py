"""Named cards, and the memory that each has by its data sheet."""

from __future__ import annotations

from vitprof.bytes import read_bytes
from vitprof.errors import SpecError, unknown

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


def read_budget(memory: str | None, gpu: str | None) -> int:
    """The bytes of a size of memory, or of a named card's.

    Raises:
        SpecError: both are given, or the one that is cannot be read.
    """
    if gpu is None:
        return read_bytes("memory", memory or "")
    if memory is not None:
        raise SpecError("--memory and --gpu both name the memory; give one of the two")
    return find_gpu(gpu)


def find_gpu(name: str) -> int:
    """The memory in bytes of the card called `name`; case, blanks and hyphens are free.

    Raises:
        SpecError: no card of that name is known.
    """
    for known, memory in GPUS.items():
        if _plain(known) == _plain(name):
            return memory
    raise unknown("card", name.lower(), GPUS)


def _plain(name: str) -> str:
    return "".join(name.lower().split()).replace("-", "").replace("_", "")
