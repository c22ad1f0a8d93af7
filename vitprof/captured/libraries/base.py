"""A module that is looked up by its name: what all libraries share, and a user's own code."""

from __future__ import annotations

import sys
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from vitprof.captured.reference import Argument, show_arguments, spell_arguments
from vitprof.captured.source import BATCH_AXIS, Input, spell_input
from vitprof.errors import SpecError, guess
from vitprof.exclusive import exclusive
from vitprof.text import quoted
from vitprof.values.options import Value

if TYPE_CHECKING:
    from torch import nn

T = TypeVar("T")

CHANNELS = 3
_MISFIT = "torchvision::nms"  # the first operator that torchvision looks for in torch


@dataclass(frozen=True, kw_only=True)
class Named(ABC):
    """A module by its name: a `Source`.

    Attributes:
        place: where it is looked up: a library, a package's module, or a file.
        name: its name there.
        arguments: what its factory is called with, by key.
        given: inputs that the user gave; empty for those that the library knows.
    """

    place: str
    name: str
    arguments: Mapping[str, Argument]
    given: tuple[Input, ...] = ()

    @property
    def reference(self) -> str:
        return f"{self.place}:{self.name}"

    @cached_property
    def inputs(self) -> tuple[Input, ...]:
        inputs = self.given or self.known_inputs()
        if not inputs:
            raise SpecError(
                f"nothing says what {self.reference} is called with; give --input, such as "
                "--input 3x224x224"
            )
        return inputs

    @property
    def batch(self) -> None:
        return None

    def conditions(self) -> Mapping[str, Value]:
        """Return the reference, the arguments, and the version of the library."""
        said = {"arguments": show_arguments(self.arguments)} if self.arguments else {}
        return {"module": self.reference, **said, **self.versions()}

    def words(self) -> dict[str, object]:
        """Return reference, arguments and given inputs as the command line takes them."""
        return {
            "module": self.reference,
            "arg": spell_arguments(self.arguments),
            "input": [spell_input(one) for one in self.given],
        }

    def build(self) -> nn.Module:
        """Build the module anew; parameters are on the default device that the caller set.

        Raises:
            SpecError: the module cannot be built; its cause is the error of the library.
        """
        from torch import nn

        with self.at_home():
            module = attempt(
                f"{self.reference} cannot be built",
                self.make,
                "give arguments that suit it by --arg",
            )
        if not isinstance(module, nn.Module):
            raise SpecError(
                f"{self.reference} gives {_a(type(module).__name__)}, not a module; give a "
                "function or class that returns a torch.nn.Module"
            )
        return module

    def resized(self, height: int, width: int) -> Self | None:
        """Return the source for images of another size; None if that is no argument of it."""
        size = self.size_arguments(height, width)
        if size is None or size.keys() & self.arguments.keys():
            return None
        given = with_image(self.given, height, width)
        return replace(self, arguments={**self.arguments, **size}, given=given)

    @abstractmethod
    def make(self) -> object:
        """Call the factory."""

    def at_home(self) -> AbstractContextManager[None]:
        """Return a context in which the factory finds what it imports."""
        return nullcontext()

    def known_inputs(self) -> tuple[Input, ...]:
        """Return the inputs that the library knows of; none if it knows none."""
        return ()

    def size_arguments(self, height: int, width: int) -> dict[str, Argument] | None:
        """Return the arguments for images of a size; None if there are none."""
        return None

    def versions(self) -> Mapping[str, str]:
        """Return the version of the library, by its name."""
        return {}


@dataclass(frozen=True, kw_only=True)
class InLibrary(Named):
    """A module of a library that has to be installed, `place`."""

    forbidden: ClassVar[Mapping[str, str]] = {}  # arguments that would load something

    def __post_init__(self) -> None:
        """Refuse a name that the library does not have, and arguments that load files.

        Raises:
            SpecError: as said, or the library is not installed or cannot be imported.
        """
        for key in self.arguments:
            if key in self.forbidden:
                raise SpecError(
                    f"argument {key} of {self.reference} {self.forbidden[key]}, which no count "
                    "needs; leave it out"
                )
        self.look_up()

    @abstractmethod
    def look_up(self) -> None:
        """Refuse a name that the library does not have."""

    @classmethod
    @abstractmethod
    def names(cls) -> list[str]:
        """Return the names in the library."""

    @classmethod
    def image_of(cls, name: str) -> str:
        """Return the input that the library knows for a name, `3x224x224`, if that is cheap."""
        return ""

    def versions(self) -> Mapping[str, str]:
        return {self.place: version_of(self.place)}

    def unknown(self, kind: str) -> SpecError:
        """Return the error for a name that is not among those of the library."""
        names = self.names()
        return SpecError(
            f"there is no {kind} {quoted(self.name)} in {self.place} {version_of(self.place)}; "
            f"{guess(self.name, names)}vitprof models '{self.place}:*' lists {len(names):,}"
        )


def image(channels: object, *size: int, name: str = "") -> Input:
    """Return the input of images, B × channels × height × width."""
    return Input(name=name, axes=(BATCH_AXIS, whole(channels), *size))


def pair(size: object) -> tuple[int, int] | None:
    """Return height and width of a size, one number or two; None if it is neither."""
    if isinstance(size, int) and not isinstance(size, bool):
        return size, size
    if isinstance(size, tuple | list) and len(size) == 2:
        return whole(size[0]), whole(size[1])
    return None


def whole(number: object) -> int:
    """Return a length as an int.

    Raises:
        SpecError: it is none.
    """
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise SpecError(f"{quoted(number)} is not a length; give a whole number from 1")
    return number


def with_image(inputs: tuple[Input, ...], height: int, width: int) -> tuple[Input, ...]:
    """Return inputs with another size of images: the first floats with four axes or more."""
    for place, one in enumerate(inputs):
        if len(one.axes) >= 4 and one.dtype.startswith(("fp", "bf")):
            changed = replace(one, axes=(*one.axes[:-2], height, width))
            return (*inputs[:place], changed, *inputs[place + 1 :])
    return inputs


def import_library(library: str) -> Any:
    """Import a library.

    Raises:
        SpecError: it is not installed, or cannot be imported.
    """
    if find_spec(library) is None:
        raise SpecError(f"{library} is not installed; run pip install 'vitprof[{library}]'")
    return attempt(
        f"{library} cannot be imported",
        lambda: import_module(library),
        f"install versions that fit together, pip install -U 'vitprof[{library}]'",
    )


def attempt(failed: str, call: Callable[[], T], way_out: str) -> T:
    """Call code of others: what it prints goes to stderr, what it raises becomes a sentence.

    Args:
        failed: beginning of the sentence, "x cannot be built".
        call: the code.
        way_out: end of the sentence.

    Raises:
        SpecError: the code raised an error or left the program; that is the cause.
    """
    try:
        with exclusive(), redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return call()
    except SpecError:
        raise
    except (Exception, SystemExit) as error:
        if any(_MISFIT in str(one) for one in _causes(error)):
            raise _misfit() from error
        message = " ".join(str(error).split())
        said = f"{type(error).__name__}: {message}" if message else type(error).__name__
        raise SpecError(f"{failed}, {said.rstrip('.')}; {way_out}") from error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _misfit() -> SpecError:
    torch, torchvision = version_of("torch"), version_of("torchvision")
    return SpecError(
        f"torchvision {torchvision} was not built for torch {torch}, which lacks its operator "
        "torchvision::nms; install both from one index, such as pip install torch torchvision "
        "--index-url https://download.pytorch.org/whl/cpu"
    )


def version_of(library: str) -> str:
    """Return the installed version of a library."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(library)
    except PackageNotFoundError:
        return "of unknown version"


@contextmanager
def on_path(folder: str) -> Iterator[None]:
    """Put a folder in front of the places that Python imports from."""
    with exclusive():
        sys.path.insert(0, folder)
        try:
            yield
        finally:
            if folder in sys.path:
                sys.path.remove(folder)


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'AEIOUaeiou' else 'a'} {noun}"
