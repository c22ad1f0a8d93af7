"""Mixers of other packages: by the entry point `vitprof.mixers`, or as `package.module:Name`."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

from vitprof.errors import SpecError
from vitprof.formulas.mixer import Mixer

GROUP = "vitprof.mixers"


def entry_points() -> dict[str, str]:
    """Return the mixers that other packages register: name -> `package.module:Name`."""
    from importlib.metadata import entry_points as installed

    return {entry.name: entry.value for entry in installed(group=GROUP)}


def load_mixer(reference: str) -> type[Mixer]:
    """Import the mixer `package.module:Name`, installed or in the working directory.

    Raises:
        SpecError: the name cannot be imported, or is not a mixer.
    """
    module_name, _, name = reference.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        mixer = getattr(import_module(module_name), name)
    except Exception as error:  # a module of another package can raise anything
        raise SpecError(
            f"the mixer {reference!r} cannot be imported, {type(error).__name__}: {error}; "
            "give package.module:Name of a class that can be imported from here"
        ) from error
    if not (isinstance(mixer, type) and issubclass(mixer, Mixer)):
        raise SpecError(
            f"{reference!r} is not a mixer; give a class that is derived from "
            "vitprof.formulas.mixer.Mixer"
        )
    missing = [part for part in ("name", "summary", "source", "module") if not hasattr(mixer, part)]
    if missing:
        raise SpecError(
            f"the mixer {reference!r} has no class attribute {missing[0]}; add it, as "
            "vitprof.formulas.mixer.Mixer describes"
        )
    return mixer
