"""Mixers of other packages: by the entry point `vitprof.mixers`, or as `package.module:Name`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from contextlib import redirect_stdout
from dataclasses import dataclass, fields
from functools import reduce
from importlib import import_module
from pathlib import Path
from typing import Any

from vitprof.errors import SpecError, VitprofError
from vitprof.formulas.faults import frames, line_of, said
from vitprof.formulas.mixer import Mixer

GROUP = "vitprof.mixers"
NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*([_-][A-Za-z0-9]+)*")  # of a mixer

_REFERENCE = re.compile(r"\w+(\.\w+)*:\w+")
_TEXTS = ("name", "summary", "source", "module")
# By which a mixer was found: it need not be where the class is defined.
_REFERENCES: dict[type[Mixer], str] = {}


@dataclass(frozen=True, slots=True)
class Registration:
    """Entry point that registers a mixer.

    Attributes:
        name: name of the mixer.
        reference: `package.module:Name` of its class.
        package: the package that registers it.
        rival: another package that registers the same name; empty if there is none.
    """

    name: str
    reference: str
    package: str
    rival: str = ""

    def __str__(self) -> str:
        return f"the mixer {self.name} of package {self.package}, {self.reference!r},"


def entry_points() -> dict[str, Registration]:
    """Return the mixers that other packages register, by name."""
    from importlib.metadata import entry_points as installed

    found: dict[str, Registration] = {}
    for entry in installed(group=GROUP):
        package = "unknown" if entry.dist is None else str(entry.dist.name)
        first = found.get(entry.name)
        found[entry.name] = Registration(
            entry.name, entry.value, package, first.package if first is not None else ""
        )
    return found


def load_registered(entry: Registration) -> type[Mixer]:
    """Import the mixer of an entry point.

    Raises:
        SpecError: it cannot be imported, is not a mixer, or is not called as the entry point.
    """
    if entry.rival:
        raise SpecError(
            f"the packages {entry.rival} and {entry.package} both register a mixer {entry.name}; "
            "uninstall one of them, or give package.module:Name"
        )
    mixer = load_mixer(entry.reference, str(entry))
    if mixer.name != entry.name:
        raise SpecError(
            f"{entry} is called {mixer.name}; give the entry point in pyproject.toml that name"
        )
    return mixer


def load_mixer(reference: str, whose: str = "") -> type[Mixer]:
    """Import the mixer `package.module:Name`, installed or in the working directory.

    Args:
        reference: the reference.
        whose: beginning of an error sentence; empty for one that names the reference.

    Raises:
        SpecError: the name cannot be imported, or is not a mixer.
    """
    whose = whose or f"the mixer {reference!r}"
    module_name, _, name = reference.partition(":")
    try:
        if str(Path.cwd()) not in sys.path:
            sys.path.append(str(Path.cwd()))
        with redirect_stdout(sys.stderr):
            mixer: Any = reduce(getattr, name.split("."), import_module(module_name))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a module of another package can raise anything, also exit
        line = line_of(error, {module_name.partition(".")[0]})
        way_out = (
            f"mend it at {line}"
            if line
            else "give package.module:Name of a class that can be imported from here"
        )
        raise SpecError(f"{whose} cannot be imported, {said(error)}; {way_out}") from error
    check_mixer(mixer, whose)
    found: type[Mixer] = mixer
    _REFERENCES[found] = reference
    return found


def check_mixer(mixer: Any, whose: str) -> None:
    """Check that a class is a mixer that can be counted, whatever its author wrote.

    Raises:
        SpecError: it is not; the sentence begins with `whose`.
    """
    if not (isinstance(mixer, type) and issubclass(mixer, Mixer)):
        raise SpecError(
            f"{whose} is not a mixer; give a class that is derived from "
            "vitprof.formulas.mixer.Mixer"
        )
    for part in _TEXTS:
        text = getattr(mixer, part, None)
        if text is None:
            raise SpecError(
                f"{whose} has no class attribute {part}; add it, as vitprof.formulas.mixer.Mixer "
                "describes"
            )
        if not (isinstance(text, str) and text.strip()):
            raise SpecError(f"{whose} has {part} = {text!r}; give a text in quotes")
    if not (isinstance(mixer.aliases, tuple) and all(isinstance(a, str) for a in mixer.aliases)):
        raise SpecError(f"{whose} has aliases = {mixer.aliases!r}; give texts, as ('other',)")
    for name in (mixer.name, *mixer.aliases):
        if not NAME.fullmatch(name):
            raise SpecError(
                f"{whose} has the name {name!r}; give letters and digits, with - or _ between them"
            )
    if not _REFERENCE.fullmatch(mixer.module):
        raise SpecError(
            f"{whose} has module = {mixer.module!r}; give package.module:Class of its torch module"
        )
    if not _is_frozen(mixer):
        raise SpecError(
            f"{whose} is no frozen dataclass; write @dataclass(frozen=True, kw_only=True) above it"
        )
    _check_options(mixer, whose)
    if mixer.forward is Mixer.forward:
        raise SpecError(
            f"{whose} has no forward; write it, as vitprof.formulas.mixer.Mixer describes"
        )
    try:
        mixer()
    except Exception as error:
        line = line_of(error, {mixer.__module__.partition(".")[0]})
        raise SpecError(
            f"{whose} cannot be made with its defaults, {said(error)}; mend {line or 'its options'}"
        ) from error


def _is_frozen(mixer: type[Mixer]) -> bool:
    """True if the class is a frozen dataclass itself, and not only what it is derived from."""
    parameters = vars(mixer).get("__dataclass_params__")
    return bool(parameters is not None and parameters.frozen and "__slots__" not in vars(mixer))


def _check_options(mixer: type[Mixer], whose: str) -> None:
    for field in fields(mixer):
        option = field.metadata.get("option")
        if option is None:
            raise SpecError(
                f"{whose} has a field {field.name} that is no option; declare it by whole, ratio, "
                "choice or flag of vitprof.values.options"
            )
        if hasattr(Mixer, field.name):
            raise SpecError(
                f"{whose} has an option {field.name}, which is a part of every mixer; rename it"
            )
        try:
            option.read(field.name, field.default)
        except SpecError as error:
            raise SpecError(f"{whose} has a default that is refused: {error}") from error


def is_own(mixer: type[Mixer]) -> bool:
    """Return True if a mixer is one of vitprof's."""
    return mixer.__module__.partition(".")[0] == "vitprof"


def name_of(mixer: type[Mixer]) -> str:
    """Return what finds a mixer again: its name if it is registered, else its reference."""
    if mixer.turns:
        return "+".join(map(name_of, mixer.turns))
    entry = None if is_own(mixer) else entry_points().get(mixer.name)
    if is_own(mixer) or (entry is not None and _is_at(entry.reference, mixer)):
        return mixer.name
    return _REFERENCES.get(mixer) or f"{mixer.__module__}:{mixer.__qualname__}"


def check_can_be_found(mixer: type[Mixer]) -> None:
    """Check that another process finds a mixer by its name or reference.

    Raises:
        SpecError: it does not.
    """
    for part in mixer.parts():
        name = name_of(part)
        if ":" in name and (name.startswith("__main__:") or not _is_at(name, part)):
            raise SpecError(
                f"the mixer {name!r} cannot be imported by another process or from a file; define "
                "it in a module, outside of functions"
            )


def describe(mixer: type[Mixer]) -> str:
    """Return a mixer of another package with what names it, for a sentence."""
    name = name_of(mixer)
    if ":" in name:
        return f"the mixer {name!r}"
    entry = None if is_own(mixer) else entry_points().get(name)
    return f"the mixer {name}" if entry is None else str(entry)


def explain(error: BaseException, mixers: Iterable[type[Mixer]]) -> str:
    """Return the sentence for an error in the code of a mixer of another package.

    Args:
        error: any error.
        mixers: the mixers whose code may have run; those of vitprof are ignored.

    Returns:
        The sentence, which names the mixer, file and line; empty if no line of theirs is in it.
    """
    packages = {mixer: _packages(mixer) for mixer in mixers if not is_own(mixer)}
    found = [*frames(error, {name for names in packages.values() for name in names})]
    if not found:
        return ""
    frame, line = found[0]
    place = f"{frame.f_code.co_filename}:{line}"
    within = str(frame.f_globals["__name__"]).partition(".")[0]
    near = [mixer for mixer, names in packages.items() if within in names]
    called = {
        name for frame, _ in found if (made := frame.f_locals.get("self")) for name in _names(made)
    }
    running = [mixer for mixer in near if called & {mixer.module, _place(mixer)}]
    whose = describe((running or near)[0]).rstrip(",")
    if isinstance(error, VitprofError):
        return f"{error} ({place})" if whose in str(error) else f"{error} ({whose}, {place})"
    return f"{whose} raises {said(error)}; mend it at {place}"


def _packages(mixer: type[Mixer]) -> set[str]:
    """Return the top-level packages of a mixer's class, of what it is derived from and of its
    torch module.
    """
    classes = {one.__module__ for one in mixer.__mro__ if issubclass(one, Mixer)}
    names = {name.partition(".")[0] for name in (*classes, mixer.module.partition(":")[0])}
    return names - {"vitprof"}


def _names(made: object) -> set[str]:
    return {_place(one) for one in type(made).__mro__}


def _place(made: type) -> str:
    return f"{made.__module__}:{made.__qualname__}"


def _is_at(reference: str, mixer: type[Mixer]) -> bool:
    module_name, _, name = reference.partition(":")
    found: Any = sys.modules.get(module_name)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found is mixer
