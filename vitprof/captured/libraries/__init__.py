"""Libraries of modules, a file each, and a user's own code; to add a library, name it here."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from vitprof.captured.libraries.base import InLibrary
from vitprof.captured.libraries.code import Code
from vitprof.captured.libraries.timm import Timm
from vitprof.captured.libraries.torchvision import Torchvision
from vitprof.captured.libraries.transformers import Transformers
from vitprof.captured.reference import LIBRARIES, read_arguments, read_inputs, read_reference
from vitprof.captured.source import Source
from vitprof.errors import SpecError, unknown
from vitprof.text import quoted

_LIBRARIES: dict[str, type[InLibrary]] = {
    "timm": Timm,
    "torchvision": Torchvision,
    "transformers": Transformers,
}
assert _LIBRARIES.keys() == LIBRARIES.keys()


def find_source(
    reference: str,
    *,
    args: Sequence[str] = (),
    inputs: Sequence[str] = (),
    trusted: bool = False,
    called: bool = True,
) -> Source:
    """Return the source of the module that a reference names.

    Args:
        reference: `timm:NAME`, `torchvision:NAME`, `transformers:CLASS`,
            `transformers:PATH/config.json`, `package.module:factory` or `file.py:factory`.
        args: arguments of the factory, each `KEY=VALUE`.
        inputs: what the module is called with, each `[NAME=]SHAPE[:DTYPE]`; by default what the
            library knows of it.
        trusted: True if the reference comes from the user, so that code of a package or a file
            may be run; False if it was read in a file.
        called: True if the module is called, so that its inputs have to be known.

    Raises:
        SpecError: a text cannot be read, a library or a name is not there, or code is named that
            is not trusted.
    """
    found = read_reference(reference)
    arguments, given = read_arguments(args), read_inputs(inputs)
    library = _LIBRARIES.get(found.place)
    if library is None and not trusted:
        raise SpecError(
            f"{found} would run code of {found.place}, and a file of models is only data; add "
            "--trust if you trust that code"
        )
    kind: type[InLibrary] | type[Code] = library or Code
    source = kind(place=found.place, name=found.name, arguments=arguments, given=given)
    if called:
        source.inputs  # noqa: B018  # raises if nothing says what they are
    return source


def find_names(pattern: str) -> list[tuple[str, str]]:
    """Return reference and input of the models that a pattern such as `timm:deit*` matches.

    The input is empty if finding it would take long.

    Raises:
        SpecError: the library is unknown or not installed, or no name of it matches.
    """
    place, _, wanted = pattern.partition(":")
    if place not in _LIBRARIES:
        raise unknown("library", place, _LIBRARIES)
    library = _LIBRARIES[place]
    names = library.names()
    matching = [name for name in names if fnmatchcase(name, wanted or "*")]
    if not matching:
        raise SpecError(
            f"none of the {len(names):,} models of {place} matches {quoted(wanted)}; give * for "
            f"any text, as in '{place}:*'"
        )
    return [(f"{place}:{name}", library.image_of(name)) for name in matching]
