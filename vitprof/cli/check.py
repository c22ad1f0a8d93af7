"""`vitprof check`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from vitprof import profile
from vitprof.checks.file import first_cases
from vitprof.checks.run import check as run_checks
from vitprof.cli.options import Request, takes_request
from vitprof.cli.output import UNMET, emit, print_table, progress, write
from vitprof.errors import OutputError, SpecError, unknown

_FORMATS = ("table", "json", "junit")


@takes_request
def check(
    *,
    request: Request,
    file: Annotated[str, typer.Argument(help="TOML file of expectations", metavar="FILE")],
    format: Annotated[
        str, typer.Option(help=f"how to write it down: {', '.join(_FORMATS)}", metavar="NAME")
    ] = "table",
    summary: Annotated[
        bool, typer.Option("--summary", help="of a table, show only what fails")
    ] = False,
    first: Annotated[
        bool, typer.Option("--write", help="make FILE from the model's formulas, for review")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="let --write replace FILE")] = False,
    batch: Annotated[
        str | None, typer.Option(help=f"{profile.BATCH.help}, for --write", metavar="N")
    ] = None,
) -> None:
    """Hold models against hand-derived counts and budgets, for CI.

    Exits with 0 where all hold, 1 where one does not, 2 where FILE cannot be read.
    """
    path = Path(file)
    if first:
        if format != "table" or summary:
            raise SpecError("--write makes a TOML file; leave out --format and --summary")
        if path.exists() and not force:
            raise OutputError(f"{path} exists and is left as it is; --force replaces it")
        images = profile.BATCH.read("batch", 1 if batch is None else batch)
        write(path, first_cases(request.specify(), images))
        return
    if request.options or request.model or request.mixer or batch is not None or force:
        raise SpecError("model, mixer and sizes stand in FILE; give them here only with --write")
    if format not in _FORMATS:
        raise unknown("format of a check", format, _FORMATS)
    with progress() as say:
        result = run_checks(path, say=say)
    if format == "table":
        print_table(result.only_failures() if summary else result)
    else:
        emit(result.to_json() if format == "json" else result.to_junit())
    if os.environ.get("GITHUB_ACTIONS") == "true":
        sys.stderr.writelines(f"{line}\n" for line in result.annotations())
    if result.failures:
        raise typer.Exit(UNMET)
