"""Where a report goes: to the terminal, or to a file, whole or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import NamedTemporaryFile

import typer

from vitprof.cli.exits import UNMET
from vitprof.errors import OutputError, SpecError
from vitprof.formats import ANY, Format, find_format, plain, render
from vitprof.progress import Say
from vitprof.report.base import Report


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a report goes, and how it is written down; checked before any work is done."""

    format: Format
    path: Path | None

    def show(self, report: Report, *, unmet: int = UNMET) -> None:
        """Print the report, or write it to the file.

        Args:
            report: what was found out.
            unmet: exit code if that does not hold.

        Raises:
            OutputError: the file cannot be written; one that was there is as it was.
            typer.Exit: what was found out does not hold.
        """
        if self.path is not None:
            self.write(report)
        elif self.format is Format.TABLE:
            print_table(report)
        else:
            content = render(report, self.format)
            assert isinstance(content, str)
            emit(content)
        if report.complaint:
            if self.path is not None or not self.format.for_people:
                sys.stderr.write(f"vitprof: {report.complaint}\n")
            raise typer.Exit(unmet)

    def write(self, report: Report) -> None:
        """Write the report to the file.

        Raises:
            OutputError: the file cannot be written; one that was there is as it was.
        """
        assert self.path is not None
        write(self.path, render(report, self.format))


def destination(
    format: str | None, output: str | None, known: tuple[Format, ...] = ANY
) -> Destination:
    """Where `--format` and `--output` send a report.

    Args:
        format: name of one.
        output: name of a file.
        known: formats that the command has.

    Raises:
        SpecError: there is no such format, or it cannot be written here.
        OutputError: there is no such directory.
    """
    path = None if output is None else Path(output)
    if path is not None:
        try:
            if path.is_dir() or not path.parent.is_dir():
                raise OutputError(f"cannot write {path}: {_obstacle(path)}")
        except OSError as error:
            raise _cannot_write(path, error) from error
    found = find_format(format, output, known)
    if found is Format.PARQUET:
        if path is None:
            raise SpecError("parquet is no text for a terminal; give --output FILE.parquet with it")
        if find_spec("pyarrow") is None:
            raise SpecError(
                "parquet needs pyarrow, which is not installed; pip install vitprof[parquet], or "
                "write .csv"
            )
    return Destination(found, path)


def print_table(report: Report) -> None:
    """Print to the terminal as wide as it is; to a pipe as wide as the report needs."""
    if sys.stdout.isatty():
        from rich.console import Console

        Console().print(report)
        return
    columns = os.environ.get("COLUMNS", "")
    emit(plain(report, int(columns) if columns.isdecimal() and int(columns) else None))


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
