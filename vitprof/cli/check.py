"""`vitprof check`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from vitprof.api.check import check as run_check
from vitprof.cli.options import Words, takes_destination, takes_request
from vitprof.cli.output import Destination, is_there, progress, write
from vitprof.cli.streams import tell
from vitprof.errors import OutputError, SpecError
from vitprof.expectations.file import first_cases
from vitprof.formats import ANY, Format
from vitprof.formats.junit import workflow_commands
from vitprof.request.specs import subject
from vitprof.request.workload import BATCH

EXAMPLE = "vitprof check examples/report.toml"


@takes_request
@takes_destination((*ANY, Format.JUNIT))
def check(
    *,
    request: Words,
    to: Destination,
    file: Annotated[str, typer.Argument(help="TOML file with the expected counts", metavar="FILE")],
    summary: Annotated[
        bool, typer.Option("--summary", help="show only the expectations that fail")
    ] = False,
    first: Annotated[
        bool, typer.Option("--write", help="write FILE with the counts by formula, for review")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="let --write replace FILE")] = False,
    batch: Annotated[
        str | None, typer.Option(help=f"{BATCH.help}, for --write", metavar="N")
    ] = None,
    trust: Annotated[
        bool,
        typer.Option(
            "--trust",
            help="run code that FILE names, package.module:factory or file.py:factory",
        ),
    ] = False,
) -> None:
    """Check models against hand-derived counts and budgets, for CI.

    Exit codes: 0 if all expectations hold, 1 if one does not, 2 if FILE is invalid.
    """
    path = Path(file)
    if first:
        if to != Destination(Format.TABLE, None) or summary:
            raise SpecError("--write makes a TOML file; leave out --format, --output and --summary")
        if trust:
            raise SpecError(
                "--trust is for a FILE that is read, and --write takes the module of the command "
                "line; leave out --trust"
            )
        if is_there(path) and not force:
            raise OutputError(f"{path} exists and is not overwritten; give --force to replace it")
        images = BATCH.read("batch", 1 if batch is None else batch)
        options = dict(request)
        model, mixer = options.pop("model", None), options.pop("mixer", None)
        spec, _ = subject(model, mixer=mixer, options=options)
        write(path, first_cases(spec, images, request))
        return
    if request or batch is not None or force:
        raise SpecError(
            "FILE, of which there is one, gives the models and their options; give a preset, "
            "options of a model, --batch and --force only with --write"
        )
    with progress() as say:
        report = run_check(path, trust=trust, say=say)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in workflow_commands(report):
            tell(line)
    to.show(report.only_failures() if summary else report)
