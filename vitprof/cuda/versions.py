"""Versions of PyTorch, as far as the memory rules of a GPU depend on them."""

from __future__ import annotations

from vitprof.errors import SpecError
from vitprof.text import quoted

Version = tuple[int, int]

OLDEST, NEWEST = (1, 12), (2, 13)


def read_version(text: str) -> Version:
    """Return the version of PyTorch from text such as `2.11`; a patch level is ignored.

    Raises:
        SpecError: the text is no version, or one whose rules are not known.
    """
    parts = text.partition("+")[0].split(".")
    if len(parts) < 2 or not all(part.isdecimal() for part in parts[:2]):
        raise SpecError(f"torch {quoted(text)} is no version; give one such as {spell(NEWEST)}")
    version = (int(parts[0]), int(parts[1]))
    if not OLDEST <= version <= NEWEST:
        raise SpecError(
            f"the rules of torch {text} are not known; give a version from {spell(OLDEST)} to "
            f"{spell(NEWEST)}"
        )
    return version


def first_version(capability: tuple[int, int]) -> Version:
    """Return the first version with kernels for a compute capability, as far as that is known.

    Blackwell came with CUDA 12.8 in PyTorch 2.7, by its release notes.
    """
    return (2, 7) if capability[0] >= 10 else OLDEST


def spell(version: Version) -> str:
    """Return a version as text: `2.13`."""
    return f"{version[0]}.{version[1]}"
