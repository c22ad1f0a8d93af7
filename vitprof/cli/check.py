"""`vitprof check`."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from vitprof.api.check import check as run_check
from vitprof.cli.options import Words, read_request, takes_destination, takes_request
from vitprof.cli.output import Destination, check_distinct, destination, is_there, progress, write
from vitprof.cli.streams import tell
from vitprof.errors import OutputError, SpecError
from vitprof.expectations.first_file import first_cases
from vitprof.expectations.update import updated
from vitprof.formats import ANY, Format
from vitprof.formats.junit import workflow_commands
from vitprof.report.check import Check
from vitprof.request.specs import subject
from vitprof.request.workload import BATCH

EXAMPLE = "vitprof check examples/report.toml"


_FORMATS = (*ANY, Format.JUNIT)


def _destinations(given: dict[str, Any]) -> tuple[Destination, ...]:
    """Return the checked destinations for `--format` and each `--output`.

    Raises:
        SpecError: two outputs are one file, or a format is given for several.
        OutputError: the directory of a file does not exist, or a file is a directory.
    """
    name, outputs = given.get("format"), given.get("output") or [None]
    if name is not None and len(outputs) > 1:
        raise SpecError(
            f"--format {name} is that of one file, and --output is given {len(outputs)} times; "
            "leave it out, and end each file in the suffix of its format"
        )
    found = tuple(destination(name, output, _FORMATS) for output in outputs)
    check_distinct([one.path for one in found if one.path is not None], "--output")
    return found


@partial(takes_request, argument=False)
@takes_destination(
    _FORMATS,
    several=True,
    gather=_destinations,
    output="output file, replaced when the new one is complete; may repeat, for several formats",
)
def check(
    *,
    request: Words,
    to: tuple[Destination, ...],
    files: Annotated[
        list[str],
        typer.Argument(
            help="TOML files with the expected counts, or patterns, 'checks/*.toml'; with --write "
            "one file, and a preset or the reference of a module after it",
            metavar="FILE...",
        ),
    ],
    summary: Annotated[
        bool, typer.Option("--summary", help="show only the expectations that fail")
    ] = False,
    first: Annotated[
        bool, typer.Option("--write", help="write FILE with the counts by formula, for review")
    ] = False,
    update: Annotated[
        bool,
        typer.Option(
            "--update",
            help="replace the exact counts in FILE that do not hold by those found; bounds, "
            "derivations that hold, comments and layout stay",
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="let --write replace FILE")] = False,
    batch: Annotated[
        str | None, typer.Option(help=f"{BATCH.help}, for --write", metavar="N")
    ] = None,
    training: Annotated[
        bool,
        typer.Option("--training", help="let --write expect the MACs of a training step, too"),
    ] = False,
    trust: Annotated[
        bool,
        typer.Option(
            "--trust",
            help="run code that FILE names, package.module:factory or file.py:factory",
        ),
    ] = False,
) -> None:
    """Check models against hand-derived counts and budgets, for CI.

    Exit codes: 0 if all expectations hold, 1 if one does not, 2 if a FILE is invalid.
    """
    if first:
        if to != (Destination(Format.TABLE, None),) or summary or update:
            raise SpecError(
                "--write makes a TOML file; leave out --format, --output, --summary and --update"
            )
        if trust:
            raise SpecError(
                "--trust is for a FILE that is read, and --write takes the module of the command "
                "line; leave out --trust"
            )
        _write_first(files, request, batch, force=force, training=training)
        return
    if request or batch is not None or force or training:
        raise SpecError(
            "the files give the models and their options; give a preset, options of a model, "
            "--batch, --training and --force only with --write"
        )
    with progress() as say:
        report = run_check(*files, trust=trust, say=say)
    if update:
        report = _update(report)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in workflow_commands(report):
            tell(line)
    report = report.only_failures() if summary else report
    *others, last = to
    for one in others:
        one.write(report)
    last.show(report)


def _write_first(
    names: list[str], request: Words, batch: str | None, *, force: bool, training: bool
) -> None:
    """Write a first file; after its name may stand that of a preset or a module.

    Raises:
        SpecError: the model cannot be had, or more is named.
        OutputError: the file is there, or cannot be written.
    """
    path, *models = Path(names[0]), *names[1:]
    if len(models) > 1:
        raise SpecError(
            f"--write makes one file of one model, and {len(names)} names are given; give FILE and "
            "at most one preset or module"
        )
    if models:
        request = read_request({**request, "argument": models[0]})
    if is_there(path) and not force:
        raise OutputError(f"{path} exists and is not overwritten; give --force to replace it")
    images = BATCH.read("batch", 1 if batch is None else batch)
    options = dict(request)
    model, mixer = options.pop("model", None), options.pop("mixer", None)
    with progress() as say:
        say("counting")
        spec, _ = subject(model, mixer=mixer, options=options)
        write(path, first_cases(spec, images, request, training=training))


def _update(report: Check) -> Check:
    """Write the counts found to the files, tell what changes, and return what then holds.

    Raises:
        CheckFileError: a file has changed since it was checked; none is updated.
        OutputError: a file cannot be written.
    """
    made = {
        file: updated(Path(file), [case.outcomes for case in report.cases if case.file == file])
        for file in report.files
    }
    for file, (text, changes) in made.items():
        if changes:
            write(Path(file), text)
        for one in changes:
            tell(f"{file}:{one.outcome.line}: {one.outcome.what} was {one.old}, is {one.new}")
    return report.updated()
