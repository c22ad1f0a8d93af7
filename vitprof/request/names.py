"""Names that users give: what they name, and what else a name that is not found could be."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from vitprof.captured.libraries import find_names
from vitprof.cuda.gpus import find_gpu
from vitprof.errors import SpecError, UnknownNameError, listing
from vitprof.formulas.mixers import MIXERS
from vitprof.formulas.models import MODELS
from vitprof.text import quoted

N = TypeVar("N")
T = TypeVar("T")

_WITH_MODELS = ("timm", "torchvision")
_MODEL_OF_A_LIBRARY = re.compile(r"(?=.*[\d_])[a-z]\w*(\.\w+)?", re.ASCII)


def named(find: Callable[[N], T], name: N) -> T:
    """Return what `find` finds by a name.

    Raises:
        SpecError: it finds nothing; if the name is one of another kind, or of a model of a
            library, the sentence says so.
    """
    try:
        return find(name)
    except UnknownNameError as error:
        raise of_another_kind(error) or error from None


def of_another_kind(error: UnknownNameError) -> SpecError | None:
    """Return the error that says what a name is that was taken for something else, if anything."""
    kind, name = error.kind, error.name
    for other, way in _ways(name):
        if other != kind:
            return SpecError(f"{quoted(name)} is a {other}, not a {kind}; {way}")
    if kind in ("model", "preset", "command") and _MODEL_OF_A_LIBRARY.fullmatch(name):
        found = [place for place in _WITH_MODELS if _has(place, name.partition(".")[0])]
        if found:
            references = listing(f"--module {place}:{name}" for place in found)
            return SpecError(
                f"there is no {kind} {quoted(name)}, but {listing(found, 'and')} "
                f"{'have' if len(found) > 1 else 'has'} a model of this name; give {references}"
            )
    return None


def _ways(name: str) -> list[tuple[str, str]]:
    """Return each kind that has this name, with the way to give it."""
    from vitprof.published import find_preset

    ways = []
    if _finds(find_preset, name):
        preset = find_preset(name).name
        ways.append(("preset", f"give --preset {name}, or see vitprof presets {preset}"))
    if name in MODELS:
        ways.append(("model", f"give --model {name}, or see vitprof models"))
    if any(name in (mixer.name, *mixer.aliases) for mixer in MIXERS.values()):
        ways.append(("mixer", f"give --mixer {name}, or see vitprof mixers {name}"))
    if _finds(find_gpu, name):
        ways.append(("GPU", f"give --gpu {name}, or see vitprof gpus {name}"))
    return ways


def _finds(find: Callable[[str], object], name: str) -> bool:
    try:
        find(name)
    except SpecError:
        return False
    return True


def _has(place: str, name: str) -> bool:
    """Return True if a library is installed and has a model of this name."""
    return _finds(find_names, f"{place}:{name}")
