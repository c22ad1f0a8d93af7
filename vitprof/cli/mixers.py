"""`vitprof mixers`."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from shutil import rmtree
from typing import Annotated

import typer

from vitprof.api import catalogue
from vitprof.api.new_mixer import new_mixer
from vitprof.cli.completion import one_of
from vitprof.cli.options import USUAL_COUNTERS, Counters, Words, split_names, takes_destination
from vitprof.cli.output import destination, progress, write
from vitprof.cli.streams import complain, emit
from vitprof.errors import OutputError, SpecError
from vitprof.formulas.mixers import MIXERS
from vitprof.report.catalogue import Catalogue

EXAMPLE = "vitprof mixers lambda"


@takes_destination(gather=dict, output="output file, or with --new the folder that it writes into")
def mixers(
    *,
    to: Words,
    mixer: Annotated[
        str | None,
        typer.Argument(
            help="mixer to show, with its equations, its options and the count of each tool",
            metavar="NAME",
            show_default="list all",
            autocompletion=one_of(MIXERS),
        ),
    ] = None,
    counters: Counters = USUAL_COUNTERS,
    new: Annotated[
        str | None,
        typer.Option(
            "--new",
            help="write a package with a mixer of this name, to start from: formula, torch module, "
            "entry point and test",
            metavar="NAME",
        ),
    ] = None,
) -> None:
    """List the mixers with their formulas and sources, or show one in detail."""
    if new is not None:
        if mixer is not None or "format" in to or counters != USUAL_COUNTERS:
            raise SpecError("--new writes a package; leave out all else but --output DIR")
        _write_package(new, Path(to.get("output", ".")))
        return
    where = destination(to.get("format"), to.get("output"))
    with progress() as say:
        report = catalogue.mixers(mixer, counters=split_names(counters), say=say)
    if isinstance(report, Catalogue):
        for sentence in report.left_out:
            complain(f"left out: {sentence}")
    where.show(report)


def _write_package(name: str, parent: Path) -> None:
    """Write the package of a new mixer into a folder of its name, whole or not at all.

    Raises:
        SpecError: the name cannot be that of a mixer.
        OutputError: the folder is there already, or cannot be written.
    """
    texts, folder = new_mixer(name), parent / name
    if folder.exists() or folder.is_symlink():
        raise OutputError(
            f"{folder} exists and is not overwritten; give another name, or --output DIR"
        )
    if not parent.is_dir():
        raise OutputError(f"cannot write {folder}: there is no directory {parent}; create it first")
    try:
        folder.mkdir()
        try:
            for place, text in texts.items():
                (folder / place).parent.mkdir(exist_ok=True)
                write(folder / place, text)
        except BaseException:
            rmtree(folder)
            raise
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise OutputError(f"cannot write {folder}: {reason}; give another --output") from error
    emit("".join(f"{folder / place}\n" for place in texts))
    complain(
        f"written; next: pip install -e {quote(f'{folder}[test]')}, then vitprof mixers {name}, "
        f"vitprof macs --mixer {name}, and pytest {quote(str(folder))}"
    )
