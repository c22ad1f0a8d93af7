"""Where a report goes: to the terminal, or to a file, whole or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING

import typer

from vitprof.counters.read import Say
from vitprof.errors import OutputError, unknown
from vitprof.report.formats import Document, Format, Shown, find_format, render

if TYPE_CHECKING:
    from rich.console import ConsoleRenderable

    from vitprof.report.catalogue import Catalogue, Portrait
    from vitprof.report.presets import PresetList, PresetPortrait


UNMET = 1  # exit code: what was asked for was found out, and does not hold


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a report goes, and how it is written down; checked before any work is done."""

    format: Format
    path: Path | None

    def show(self, document: Document, *appendices: Shown) -> None:
        """Print the document, or write it to the file, for people with its appendices.

        Raises:
            OutputError: the file cannot be written; one that was there is as it was.
            typer.Exit: what was found out does not hold.
        """
        if self.path is not None:
            write(self.path, render(document, self.format, *appendices))
        elif self.format is Format.TABLE:
            print_table(document, *appendices)
        else:
            emit(render(document, self.format, *appendices))
        if document.complaint:
            if self.path is not None or not self.format.for_people:
                sys.stderr.write(f"vitprof: {document.complaint}\n")
            raise typer.Exit(UNMET)


def destination(format: str | None, output: str | None) -> Destination:
    """Where `--format` and `--output` send a report.

    Raises:
        SpecError: there is no such format.
        OutputError: there is no such directory.
    """
    path = None if output is None else Path(output)
    if path is not None:
        try:
            if path.is_dir() or not path.parent.is_dir():
                raise OutputError(f"cannot write {path}: {_obstacle(path)}")
        except OSError as error:
            raise _cannot_write(path, error) from error
    return Destination(find_format(format, output), path)


def show_catalogue(
    catalogue: Catalogue | Portrait | PresetList | PresetPortrait, format: str
) -> None:
    """Print the catalogue as a table or as JSON.

    Raises:
        SpecError: there is no such format for a catalogue.
    """
    if format == Format.JSON:
        emit(catalogue.to_json())
    elif format == Format.TABLE:
        print_table(catalogue)
    else:
        raise unknown("format of a list", format, (Format.TABLE, Format.JSON))


def print_table(*renderables: ConsoleRenderable) -> None:
    """Print to the terminal; without trailing blanks where there is none."""
    from rich.console import Console

    if sys.stdout.isatty():
        Console().print(*renderables, sep="\n")
        return
    text = StringIO()
    Console(file=text).print(*renderables, sep="\n")
    emit("".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines()))


class ReaderGoneError(Exception):
    """Whoever read stdout has seen enough and closed it."""


def emit(text: str) -> None:
    """Write data to stdout, now.

    Raises:
        ReaderGoneError: nobody reads it any more.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise ReaderGoneError from None


@contextmanager
def progress() -> Iterator[Say]:
    """Say on stderr what is being done, where a person is watching."""
    if not sys.stderr.isatty():
        yield lambda message: None
        return
    from rich.console import Console

    with Console(stderr=True).status("starting") as status:
        yield lambda message: status.update(message)


def write(path: Path, content: str | bytes) -> None:
    """Replace the file by a new one only once that is complete."""
    data = content.encode() if isinstance(content, str) else content
    try:
        if path.exists() and not path.is_file():  # a pipe or a device takes what it is given
            path.write_bytes(data)
        else:
            _replace(path.resolve(), data)
    except (OSError, RuntimeError) as error:  # RuntimeError: links that lead in a circle
        raise _cannot_write(path, error) from error


def _replace(target: Path, data: bytes) -> None:
    with NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
        new = Path(file.name)
        try:
            file.write(data)
            file.close()
            new.chmod(_mode(target))
            new.replace(target)
        except BaseException:
            new.unlink(missing_ok=True)
            raise


def _mode(target: Path) -> int:
    """The permissions of the file that is there, else those that a new file gets."""
    if target.exists():
        return target.stat().st_mode & 0o7777
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask


def _cannot_write(path: Path, error: OSError | RuntimeError) -> OutputError:
    strerror = error.strerror if isinstance(error, OSError) else None
    return OutputError(
        f"cannot write {path}: {(strerror or str(error)).lower()}; give another file"
    )


def _obstacle(path: Path) -> str:
    if path.is_dir():
        return "it is a directory; give the name of a file in it"
    return f"there is no directory {path.parent}; create it first"
