"""Write reports to the terminal or to a file, which is replaced only when complete."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import NamedTemporaryFile

import typer

from vitprof.cli.exits import UNMET
from vitprof.cli.streams import complain, emit
from vitprof.errors import OutputError, SpecError, listing
from vitprof.formats import (
    ANY,
    Format,
    columns,
    find_format,
    plain,
    render,
    show_on_terminal,
)
from vitprof.progress import Say
from vitprof.report.base import Report
from vitprof.report.units import UNITS
from vitprof.text import visible


@dataclass(frozen=True, slots=True)
class Destination:
    """Format and file of a report, checked before any work is done.

    Attributes:
        format: output format.
        path: output file; None for the terminal.
        brief: True to leave out the conditions of the figures.
        units: unit of the counts that people read; None for exact ones.
    """

    format: Format
    path: Path | None
    brief: bool = False
    units: str | None = None

    def show(self, report: Report, *, unmet: int = UNMET) -> None:
        """Print the report, or write it to the file.

        Args:
            report: the report.
            unmet: exit code if the report does not hold.

        Raises:
            OutputError: the file cannot be written; an existing file is unchanged.
            typer.Exit: the report does not hold.
        """
        report = self._shown(report)
        if self.path is not None:
            self._write(report)
        elif self.format is Format.TABLE:
            print_table(report)
        else:
            content = render(report, self.format)
            assert isinstance(content, str)
            emit(content, "utf-8")
        if report.complaint:
            if self.path is not None or not self.format.for_people:
                complain(report.complaint)
            raise typer.Exit(unmet)

    def write(self, report: Report) -> None:
        """Write the report to the file.

        Raises:
            OutputError: the file cannot be written; an existing file is unchanged.
        """
        self._write(self._shown(report))

    def _shown(self, report: Report) -> Report:
        """Return the report as it is to be shown."""
        shown = report.brief() if self.brief else report
        return shown if self.units is None else shown.in_units(self.units)

    def _write(self, report: Report) -> None:
        assert self.path is not None
        write(self.path, render(report, self.format))


def destination(
    format: str | None,
    output: str | None,
    known: tuple[Format, ...] = ANY,
    *,
    brief: bool = False,
    units: str | None = None,
) -> Destination:
    """Return the checked destination for `--format`, `--output`, `--brief` and `--units`.

    Args:
        format: name of a format; None to use the suffix of the file.
        output: name of a file; None for the terminal.
        known: formats that the command supports.
        brief: True to leave out the conditions of the figures.
        units: unit of the counts; None for exact ones.

    Raises:
        SpecError: the format or the unit is unknown, or the format needs a file or a package
            that is missing, or is one of programs and should be brief or in units.
        OutputError: the directory of the file does not exist, or the file is a directory.
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
            raise SpecError("parquet cannot be printed to the terminal; give --output FILE.parquet")
        if find_spec("pyarrow") is None:
            raise SpecError(
                "parquet needs pyarrow, which is not installed; run pip install vitprof[parquet], "
                "or write .csv"
            )
    people = listing(one for one in known if one.for_people)
    if units is not None:
        UNITS.read("units", units)
        if not found.for_people:
            raise SpecError(
                f"--units {units} rounds counts, which are exact in {found}; leave it out, or give "
                f"--format {people}"
            )
    if brief and not found.for_people:
        raise SpecError(
            f"--brief leaves out conditions, which are data in {found}; leave it out, or give "
            f"--format {people}"
        )
    return Destination(found, path, brief, units)


def check_distinct(files: Iterable[str | Path], options: str) -> None:
    """Check that no two files of one command are the same.

    Args:
        files: files that the command writes.
        options: options that name them, for the error sentence.

    Raises:
        SpecError: two are one file.
    """
    paths = [Path(file).resolve() for file in files]
    for path in paths:
        if paths.count(path) > 1:
            raise SpecError(
                f"{path.name} would be written twice, and the second would replace the first; give "
                f"each {options} a file of its own"
            )


def print_table(report: Report) -> None:
    """Print a report, wrapped to the terminal or COLUMNS; to a pipe without a limit."""
    width = columns()
    if width is not None and sys.stdout.isatty():
        show_on_terminal(report, width)
    else:
        emit(plain(report, width))


@contextmanager
def progress() -> Iterator[Say]:
    """Show progress messages on stderr if it is a terminal."""
    if not sys.stderr.isatty():
        yield lambda message: None
        return
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status("starting") as status:
        yield lambda message: status.update(Text(visible(message)))


def is_there(path: Path) -> bool:
    """True if a file to be written exists.

    Raises:
        OutputError: a file of this name cannot be.
    """
    try:
        return path.exists()
    except OSError as error:
        raise _cannot_write(path, error) from error


def write(path: Path, content: str | bytes) -> None:
    """Write a file; an existing one is replaced only when the new one is complete.

    Raises:
        OutputError: the file cannot be written.
    """
    try:
        data = content.encode() if isinstance(content, str) else content
    except UnicodeEncodeError as error:  # a file's name in bytes that are no text
        raise OutputError(
            f"cannot write {path}: UTF-8 lacks the character {visible(error.object[error.start])} "
            "of a name; rename what has that name"
        ) from error
    try:
        if path.exists() and not path.is_file():  # a pipe or a device cannot be replaced
            path.write_bytes(data)
        else:
            _replace(path.resolve(), data)
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links; a null in the name
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
    """Return the permissions of the existing file, else those of a new one."""
    if target.exists():
        return target.stat().st_mode & 0o7777
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask


def _cannot_write(path: Path, error: Exception) -> OutputError:
    strerror = error.strerror if isinstance(error, OSError) else None
    return OutputError(
        f"cannot write {path}: {(strerror or str(error)).lower()}; give another file"
    )


def _obstacle(path: Path) -> str:
    if path.is_dir():
        return "it is a directory; give the name of a file in it"
    return f"there is no directory {path.parent}; create it first"
