"""Table of GPUs, by the names that users type."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import Any

from vitprof.errors import SpecError, listing, unknown
from vitprof.text import quoted

_GIB = 1024**3
# Names that several GPUs share: a user who types one is asked to choose.
_AMBIGUOUS = {
    "a100": ("a100-40", "a100-80"),
    "a100pcie": ("a100-pcie-40gb", "a100-pcie-80gb"),
    "v100": ("v100-16", "v100-32"),
    "v100pcie": ("v100-pcie-16gb", "v100-pcie-32gb"),
    "rtx6000": ("quadrortx6000", "rtx6000ada", "rtxpro6000"),
    "6000": ("quadrortx6000", "rtx6000ada", "rtxpro6000"),
    "4060ti": ("rtx4060ti-8", "rtx4060ti-16"),
    "rtx4060ti": ("rtx4060ti-8", "rtx4060ti-16"),
    "3080": ("rtx3080-10", "rtx3080-12"),
    "rtx3080": ("rtx3080-10", "rtx3080-12"),
}
# Memory that a driver keeps if it is not known what it shows: GiB of GDDR, a share of HBM.
_KEPT_OF_GDDR, _KEPT_OF_HBM = 0.45, 0.015
# Used if the context is not known: the largest that was measured, on an H100.
_CONTEXT = 927_793_152


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """GPU by its data sheet and by what a driver shows.

    Attributes:
        name: full name.
        names: names that users type.
        architecture: such as `Hopper`.
        capability: compute capability, major and minor.
        memory: GiB of the data sheet.
        multiprocessors: streaming multiprocessors.
        threads: most resident threads per multiprocessor.
        bandwidth: memory bandwidth in GB/s.
        peaks: TFLOP/s of dense products by dtype.
        measured_peaks: measured TFLOP/s of dense products by dtype.
        shown: GiB that a driver shows a process; None if not known.
        shown_by: source of `shown`.
        context: bytes of the CUDA context with the kernels of a step; None if not measured.
        context_by: source of `context`.
        ecc: `on` if error correction takes a sixteenth of the memory by default.
        hbm: True if the memory is HBM.
        sources: sources of the figures.
        sure: how many sources agree.
    """

    name: str
    names: tuple[str, ...]
    architecture: str
    capability: tuple[int, int]
    memory: float
    multiprocessors: int
    threads: int
    bandwidth: float
    peaks: Mapping[str, float]
    measured_peaks: Mapping[str, float] = field(default_factory=dict)
    shown: float | None = None
    shown_by: str = ""
    context: int | None = None
    context_by: str = ""
    ecc: str = ""
    hbm: bool = False
    sources: tuple[str, ...] = ()
    sure: str = ""

    @property
    def memory_bytes(self) -> int:
        """Bytes that a driver shows a process; estimated from the data sheet if not known."""
        if self.shown is not None:
            return int(self.shown * _GIB)
        nominal = self.memory * 15 / 16 if self.ecc == "on" else self.memory
        kept = _KEPT_OF_HBM * nominal if self.hbm else _KEPT_OF_GDDR
        return int((nominal - kept) * _GIB)

    @property
    def memory_source(self) -> str:
        """Source of `memory_bytes`."""
        return self.shown_by or "estimated: the data sheet less what drivers of others keep"

    @property
    def context_bytes(self) -> int:
        """Bytes of the CUDA context with the kernels of a step loaded; an H100's if not known."""
        return _CONTEXT if self.context is None else self.context

    @property
    def context_source(self) -> str:
        """Source of `context_bytes`."""
        return self.context_by or "not measured: the largest that an H100 showed"


@cache
def gpus() -> tuple[Gpu, ...]:
    """Return every GPU of the table."""
    table = tomllib.loads(files(__package__).joinpath("gpus.toml").read_text(encoding="utf-8"))
    return tuple(_gpu(row) for row in table["gpu"])


def _gpu(row: dict[str, Any]) -> Gpu:
    major, minor = row["capability"].split(".")
    lists = {name: tuple(row[name]) for name in ("names", "sources")}
    return Gpu(**{**row, **lists, "capability": (int(major), int(minor))})


def find_gpu(name: str) -> Gpu:
    """Return the GPU of this name; case, blanks, hyphens and underscores do not matter.

    Raises:
        SpecError: no GPU has this name, or several do.
    """
    if not isinstance(name, str):
        raise SpecError(f"gpu is a name in quotes, not {quoted(name)}; vitprof gpus lists them")
    plain = _plain(name).removeprefix("nvidia")
    for known in gpus():
        if plain in map(_plain, (known.name, *known.names)):
            return known
    for several, choices in _AMBIGUOUS.items():
        if plain == several:
            raise SpecError(f"{quoted(name)} is the name of several GPUs; give {listing(choices)}")
    names = {one: known.name for known in gpus() for one in known.names}
    raise unknown("GPU", name, names, lists=f"vitprof gpus lists {len(gpus())}")


def find_gpus(pattern: str) -> tuple[Gpu, ...]:
    """Return the GPUs of which a name matches a pattern such as `a100*`.

    Raises:
        SpecError: none matches.
    """
    plain = _plain(pattern)
    found = tuple(
        gpu
        for gpu in gpus()
        if any(fnmatchcase(_plain(name), plain) for name in (gpu.name, *gpu.names))
    )
    if not found:
        raise SpecError(
            f"none of the {len(gpus())} GPUs matches {quoted(pattern)}; give * for any text, as in "
            "'a100*'"
        )
    return found


def _plain(name: str) -> str:
    return "".join(sign for sign in name.lower() if sign not in " -_")
