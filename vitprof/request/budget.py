"""Memory budget of a step: an amount, or a GPU with the PyTorch that runs on it."""

from __future__ import annotations

from dataclasses import dataclass

from vitprof.cuda.gpus import find_gpu
from vitprof.cuda.platform import Platform
from vitprof.cuda.versions import NEWEST, first_version, read_version, spell
from vitprof.errors import SpecError
from vitprof.request.names import named
from vitprof.request.workload import Workload
from vitprof.values.amounts import Bytes
from vitprof.values.bytes import read_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Memory that a step may take.

    Attributes:
        bytes: size; of a GPU, the memory that its driver reports to a process.
        platform: the GPU and the version of PyTorch; None for an amount of memory alone, which
            the tensors of a step may fill.
    """

    bytes: int
    platform: Platform | None = None

    @property
    def name(self) -> str:
        """Name for a sentence: `24.00 GiB`, `GeForce RTX 3090, 24.00 GiB`."""
        if self.platform is None:
            return str(Bytes(self.bytes))
        return f"{self.platform.gpu.name}, {Bytes(self.bytes)}"

    @property
    def title(self) -> str:
        """The end of a title: `in 24.00 GiB`, `on GeForce RTX 3090`."""
        return f"in {self.name}" if self.platform is None else f"on {self.platform.gpu.name}"


def read_platform(gpu: str | None, torch: str | None) -> Platform | None:
    """Return the GPU of a name with a version of PyTorch; None without a GPU.

    Raises:
        SpecError: there is no such GPU, there are several, or the rules of that version are not
            known; or a version is given without a GPU.
    """
    if gpu is None:
        if torch is not None:
            raise SpecError(
                f"torch {torch} says which version runs on a GPU; give --gpu with it, or leave "
                "it out"
            )
        return None
    found = named(find_gpu, gpu)
    version = NEWEST if torch is None else read_version(torch)
    first = first_version(found.capability)
    if version < first:
        raise SpecError(
            f"torch {torch} has no kernels for {found.name}; give {spell(first)} or a later one"
        )
    return Platform(gpu=found, torch=version)


def read_budget(
    memory: str | int | None, gpu: str | None, torch: str | None = None
) -> Budget | None:
    """Return the memory of a size, or of a named GPU; None if neither is given.

    Raises:
        SpecError: both are given, or what is given cannot be read.
    """
    if memory is not None and gpu is not None:
        raise SpecError("memory and gpu both name the memory; give one of the two")
    platform = read_platform(gpu, torch)
    if platform is not None:
        return Budget(bytes=platform.gpu.memory_bytes, platform=platform)
    if memory is None:
        return None
    if isinstance(memory, int):
        memory = f"{memory} B"
    return Budget(bytes=read_bytes("memory", memory))


def check_device(budget: Budget | None, workload: Workload) -> None:
    """Check that a workload runs on the GPU of a budget, if it has one.

    Raises:
        SpecError: it runs on the CPU.
    """
    if budget is not None and budget.platform is not None and workload.device == "cpu":
        raise SpecError(
            f"the step of the CPU takes no memory of {budget.platform.gpu.name}; leave out device "
            "or gpu"
        )


def budget_record(budget: Budget | None) -> dict[str, int | str]:
    """Return the fields of a report: the bytes, and GPU and PyTorch version if it names one."""
    if budget is None:
        return {}
    if budget.platform is None:
        return {"budget_bytes": budget.bytes}
    platform = budget.platform
    own = {"gpu": platform.gpu.name, "torch": spell(platform.torch)}
    return {"budget_bytes": budget.bytes, **own}


def platform_of(device: str) -> Platform | None:
    """Return the platform of a device by its own name, with the newest rules; None if unknown."""
    try:
        return Platform(gpu=named(find_gpu, device))
    except SpecError:
        return None
