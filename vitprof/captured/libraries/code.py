"""Modules of a user's own code: `package.module:factory` and `file.py:factory`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from vitprof.captured.libraries.base import Named, attempt, on_path
from vitprof.captured.reference import LIBRARIES
from vitprof.errors import SpecError, guess, near
from vitprof.text import quoted


@dataclass(frozen=True, kw_only=True)
class Code(Named):
    """A module that a function or class in a file or a package makes.

    Raises:
        SpecError: the code cannot be imported, or there is no such function or class in it.
    """

    def __post_init__(self) -> None:
        self._factory  # noqa: B018  # raises if there is none

    def make(self) -> object:
        return self._factory(**self.arguments)

    @property
    def _is_file(self) -> bool:
        return self.place.endswith(".py") or "/" in self.place

    @cached_property
    def _factory(self) -> Any:
        module = self._from_file if self._is_file else self._from_package()
        if not hasattr(module, self.name):
            names = [name for name, value in vars(module).items() if callable(value)]
            raise SpecError(
                f"there is no {quoted(self.name)} in {self.place}; {guess(self.name, names)}give a "
                "function or class of it that returns a torch.nn.Module"
            )
        factory = getattr(module, self.name)
        from torch import nn

        if isinstance(factory, nn.Module) or not callable(factory):
            raise SpecError(
                f"{self.reference} is of type {type(factory).__name__} and makes nothing; give a "
                "function or class that returns a torch.nn.Module"
            )
        return factory

    def _from_package(self) -> ModuleType:
        """Import a module of a package, installed or in the working directory."""
        if str(Path.cwd()) not in sys.path:
            sys.path.append(str(Path.cwd()))
        libraries = near(self.place, LIBRARIES)
        return attempt(
            f"{self.reference} cannot be imported",
            lambda: import_module(self.place),
            f"did you mean {libraries[0]}:{self.name}?"
            if libraries
            else "give package.module:factory that can be imported from here",
        )

    @cached_property
    def _from_file(self) -> ModuleType:
        path = Path(self.place)
        try:
            missing = not path.is_file() or path.suffix != ".py"
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise SpecError(f"cannot read {path}: {reason}; give a file of Python") from error
        if missing:
            raise SpecError(f"there is no file of Python {self.place}; give one, file.py:factory")
        # A name that no import statement can spell.
        spec = spec_from_file_location(f"vitprof:{path.resolve()}", path)
        assert spec is not None
        assert spec.loader is not None
        module, run = module_from_spec(spec), spec.loader.exec_module
        with _in_file(module):
            attempt(
                f"{self.reference} cannot be imported",
                lambda: run(module),
                "give a file that runs without an error",
            )
        return module

    @contextmanager
    def at_home(self) -> Iterator[None]:
        if not self._is_file:
            yield
            return
        with _in_file(self._from_file):
            yield


@contextmanager
def _in_file(module: ModuleType) -> Iterator[None]:
    """Let a file's code find itself, as dataclasses do, and what lies beside it."""
    assert module.__file__ is not None
    with on_path(str(Path(module.__file__).resolve().parent)):
        sys.modules[module.__name__] = module
        try:
            yield
        finally:
            sys.modules.pop(module.__name__, None)
