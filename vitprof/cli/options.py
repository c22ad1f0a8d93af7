"""Options shared by commands, made from the declarations of models and mixers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from fractions import Fraction
from inspect import Parameter
from typing import Annotated, Any

import typer

from vitprof.cli.completion import one_of, presets, several_of
from vitprof.cli.gathering import gathering, parameter
from vitprof.cli.help import (
    MODEL,
    OPTIONS_OF_MIXERS,
    OPTIONS_OF_MODELS,
    OUTPUT,
    SIDE_BY_SIDE,
    help_of,
)
from vitprof.cli.module_options import module_options
from vitprof.cli.output import Destination, destination
from vitprof.cli.streams import emit
from vitprof.counters import EXTRAS, KNOWN, NAMES, TOOLS
from vitprof.errors import SpecError
from vitprof.formats import ANY, Format
from vitprof.formulas.hybrid import MIXER_AT
from vitprof.formulas.layer import Measure
from vitprof.formulas.mixers import MIXERS
from vitprof.formulas.models import MODELS
from vitprof.report.counts import known_columns
from vitprof.report.groups import BY
from vitprof.report.units import UNITS
from vitprof.request.workload import BATCH
from vitprof.values.options import Choice, Flag, Option, Options, plain

Words = Mapping[str, Any]  # keyword arguments of a public function of vitprof


def takes_request(command: Callable[..., None], *, argument: bool = True) -> Callable[..., None]:
    """Add every option of every model, mixer and module, gathered as the command's `request`.

    Args:
        command: the command.
        argument: True to add the argument NAME too; False if the command reads it.
    """
    models = {**_named(), **module_options(), **_sizes(MODELS, OPTIONS_OF_MODELS)}
    if not argument:
        del models["argument"]
    mixers = _sizes(MIXERS, OPTIONS_OF_MIXERS)
    shared = {**models, **{name: one for name, one in mixers.items() if name not in models}}
    return gathering(command, "request", shared, read_request)


def read_request(given: dict[str, Any]) -> Words:
    """Return the request, with what the argument names as its preset or its module.

    Raises:
        SpecError: an option names another one.
    """
    if "mixer_at" in given:
        given["mixer_at"] = "; ".join(given["mixer_at"])
    argument = given.pop("argument", None)
    if argument is None:
        return given
    option = "module" if ":" in argument else "preset"
    if given.setdefault(option, argument) != argument:
        raise SpecError(
            f"{argument} and --{option} {given[option]} name two models; give one of them"
        )
    return given


def takes_destination(
    known: tuple[Format, ...] = ANY,
    *,
    brief: bool = False,
    units: bool = False,
    several: bool = False,
    gather: Callable[[dict[str, Any]], object] | None = None,
    output: str = "output file, replaced when the new one is complete",
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that adds `--format` and `--output`, gathered as `to`.

    Args:
        known: formats that the command supports.
        brief: True to add `--brief` too, for a report that says under which conditions it holds.
        units: True to add `--units` too, for a report with counts.
        several: True if `--output` may repeat.
        gather: makes `to` from what is given; None for the checked destination.
        output: help of `--output`.
    """
    options = {
        "format": parameter(
            "format",
            str,
            typer.Option(
                help=f"output format: {', '.join(known)}",
                metavar="NAME",
                show_default="by the suffix of --output, else table",
                autocompletion=one_of(known),
                rich_help_panel=OUTPUT,
            ),
        ),
        "output": parameter(
            "output",
            list[str] if several else str,
            typer.Option(
                help=output,
                metavar="FILE",
                rich_help_panel=OUTPUT,
            ),
        ),
    }

    if brief:
        options["brief"] = parameter(
            "brief",
            bool,
            typer.Option(
                "--brief",
                help="leave out sizes, settings, versions and the convention",
                rich_help_panel=OUTPUT,
            ),
        )

    if units:
        options["units"] = parameter(
            "units",
            str,
            typer.Option(
                help=f"{UNITS.help}: {', '.join(UNITS.names)}",
                metavar="NAME",
                show_default="exact counts",
                autocompletion=one_of(UNITS.names),
                rich_help_panel=OUTPUT,
            ),
        )

    def checked(given: dict[str, Any]) -> Destination:
        wanted = (given.get("format"), given.get("output"), known)
        brief = given.get("brief", False)
        return destination(*wanted, brief=brief, units=given.get("units"))

    return lambda command: gathering(command, "to", options, gather or checked)


def _print_all_help(context: typer.Context, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        emit(help_of(context.command, context, full=True))
        raise typer.Exit


def _named() -> dict[str, Parameter]:
    return {
        "help_all": parameter(
            "help_all",
            bool,
            typer.Option(
                "--help-all",
                callback=_print_all_help,
                is_eager=True,
                help="describe every option, and exit",
            ),
        ),
        "argument": parameter(
            "argument",
            str,
            typer.Argument(
                help="preset, as in --preset, or reference of a module, as in --module",
                metavar="NAME",
                show_default=False,
                autocompletion=one_of(presets),
            ),
        ),
        "preset": parameter(
            "preset",
            str,
            typer.Option(
                help="published configuration to start from; other options override it; vitprof "
                "presets lists them",
                metavar="NAME",
                autocompletion=one_of(presets),
                rich_help_panel=MODEL,
            ),
        ),
        "model": parameter(
            "model",
            str,
            typer.Option(
                help=f"model to build: {', '.join(MODELS)}",
                metavar="NAME",
                show_default="that of --preset; layer with --tokens; else mae",
                autocompletion=one_of(MODELS),
                rich_help_panel=MODEL,
            ),
        ),
        "mixer": parameter(
            "mixer",
            str,
            typer.Option(
                help="token mixer of every block, or several that the blocks have in turn, such as "
                "attn+linear; vitprof mixers lists them",
                metavar="NAME",
                show_default="that of --preset; else attn",
                autocompletion=one_of(MIXERS),
                rich_help_panel=MODEL,
            ),
        ),
        "mixer_at": parameter(
            "mixer_at",
            list[str],
            typer.Option(
                help=MIXER_AT.help,
                metavar=MIXER_AT.metavar,
                rich_help_panel=MODEL,
            ),
        ),
    }


def _sizes(owners: Mapping[str, type[Options]], panel: str) -> dict[str, Parameter]:
    parameters: dict[str, Parameter] = {}
    for owner in owners.values():
        for name, option in owner.declared().items():
            parameters.setdefault(name, _size(name, option, owners, panel))
    return parameters


def _size(name: str, option: Option, owners: Mapping[str, type[Options]], panel: str) -> Parameter:
    names = f": {', '.join(option.names)}" if isinstance(option, Choice) else ""
    info = typer.Option(
        help=option.help + names,
        metavar=option.metavar,
        show_default=_defaults(name, owners),
        autocompletion=one_of(option.names) if isinstance(option, Choice) else None,
        rich_help_panel=panel,
    )
    return parameter(name, bool if isinstance(option, Flag) else str, info)


def _defaults(name: str, owners: Mapping[str, type[Options]]) -> str:
    """Return the default of each model or mixer: `mae 128; classifier, layer 64`."""
    by_value: dict[str, list[str]] = {}
    for owner, options in owners.items():
        for default in (field.default for field in fields(options) if field.name == name):
            shown = str(plain(default) if isinstance(default, Fraction | tuple) else default)
            by_value.setdefault(shown, []).append(owner)
    return "; ".join(f"{', '.join(names)} {value}" for value, names in by_value.items())


Counters = Annotated[
    str,
    typer.Option(
        help=f"counts to show, separated by commas: {', '.join(NAMES)}; analytic is the formulas "
        f"and alone imports no tool; {', '.join(EXTRAS)} are installed as extras; all is every one",
        metavar="NAMES",
        show_default=",".join(NAMES),
        autocompletion=several_of(KNOWN),
        rich_help_panel=OUTPUT,
    ),
]
Batch = Annotated[str | None, typer.Option(help=BATCH.help, metavar="N", show_default="1")]
Device = Annotated[
    str,
    typer.Option(
        help="device of the model that the tools read: meta, on which no kernel runs, or cpu",
        metavar="NAME",
        autocompletion=one_of(("meta", "cpu")),
    ),
]
Train = Annotated[bool, typer.Option("--train/--eval", help="train or eval mode of the model")]
Grad = Annotated[bool, typer.Option("--grad/--no-grad", help="enable or disable gradients")]
Force = Annotated[
    bool, typer.Option("--force", help="let a tool execute even a very large model on the CPU")
]
Why = Annotated[
    bool,
    typer.Option(
        "--why", help="list the causes of every difference, layer by layer", rich_help_panel=OUTPUT
    ),
]
Fold = Annotated[
    bool | None,
    typer.Option(
        "--fold/--full",
        help="show equal blocks in one row, or each in its own row",
        show_default="fold; full for csv, json and parquet",
        rich_help_panel=OUTPUT,
    ),
]
Levels = Annotated[
    str | None,
    typer.Option(
        help="levels of layers to show",
        metavar="N",
        show_default="all",
        rich_help_panel=OUTPUT,
    ),
]
_COLUMNS = known_columns(Measure.MACS, TOOLS)
_COLUMNS_OF_ALL = known_columns(Measure.MACS, {**TOOLS, **EXTRAS})
_OF_TRAINING = [name for name in known_columns(Measure.TRAINING, TOOLS) if name not in _COLUMNS]
Columns = Annotated[
    str | None,
    typer.Option(
        help=f"columns to show, in their order, separated by commas: {', '.join(_COLUMNS)} and "
        "other tools that --counters names; with --by type that word, layers, count, share and the "
        f"tools; with --by kind elements, too; of macs --training {', '.join(_OF_TRAINING)}, too",
        metavar="NAMES",
        show_default="the usual ones",
        autocompletion=several_of([*_COLUMNS_OF_ALL, *_OF_TRAINING]),
        rich_help_panel=OUTPUT,
    ),
]
By = Annotated[
    str | None,
    typer.Option(
        help=BY.help,
        metavar="NAME",
        show_default="layers",
        autocompletion=one_of(BY.names),
        rich_help_panel=OUTPUT,
    ),
]
USUAL_COUNTERS = ",".join(NAMES)


Mixers = Annotated[
    str | None,
    typer.Option(
        help="mixers to compare, separated by commas; vitprof mixers lists them",
        metavar="NAMES",
        show_default="that of --mixer",
        autocompletion=several_of(MIXERS),
        rich_help_panel=SIDE_BY_SIDE,
    ),
]
Presets = Annotated[
    str | None,
    typer.Option(
        help="published configurations to compare, separated by commas; vitprof presets lists them",
        metavar="NAMES",
        autocompletion=several_of(presets),
        rich_help_panel=SIDE_BY_SIDE,
    ),
]
Modules = Annotated[
    str | None,
    typer.Option(
        help="modules of other libraries or of your own to compare, separated by commas, such as "
        "timm:deit_small_patch16_224,torchvision:swin_t",
        metavar="REFERENCES",
        rich_help_panel=SIDE_BY_SIDE,
    ),
]


def split_names(names: str) -> list[str]:
    """Return the names in a comma-separated list."""
    return [name.strip() for name in names.split(",") if name.strip()]


def split_columns(columns: str | None) -> list[str] | None:
    """Return the names in a comma-separated list of columns; None if there is no list."""
    return None if columns is None else split_names(columns)


def side_by_side(
    mixers: str | None, presets: str | None = None, modules: str | None = None
) -> Words:
    """Return the given mixers, presets and modules as keyword arguments of a public function."""
    given = {"mixers": mixers, "presets": presets, "modules": modules}
    return {name: split_names(names) for name, names in given.items() if names is not None}
