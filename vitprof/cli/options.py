"""The options that commands share, made from the declarations of models and mixers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from inspect import Parameter, Signature, signature
from typing import Annotated, Any

import typer

from vitprof.candidates import Candidate, of_presets, with_mixers
from vitprof.counters import NAMES
from vitprof.docstrings import docstring
from vitprof.errors import SpecError
from vitprof.formulas.mixers import MIXERS
from vitprof.formulas.model import Model
from vitprof.formulas.models import MODELS
from vitprof.options import Choice, Flag, Option, Options
from vitprof.report.formats import Format
from vitprof.specs import specify

_MODELS, _MIXERS, _OUTPUT = "Model", "Options of one mixer", "Output"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The model that was asked for on the command line, in words."""

    model: str | None
    mixer: str | None
    options: Mapping[str, object]

    def specify(self) -> Model:
        """The model itself.

        Raises:
            SpecError: there is no such model.
        """
        return specify(self.model, mixer=self.mixer, options=self.options)

    def candidates(self, mixers: str | None, presets: str | None = None) -> list[Candidate]:
        """What is laid side by side: of `--mixers`, `--presets`, or the one mixer.

        Raises:
            SpecError: there is no such model, mixer or preset, or they are named in two ways.
        """
        if mixers is not None and presets is not None:
            raise SpecError(
                "--mixers and --presets each say what is laid side by side; give one of the two"
            )
        if mixers is not None and self.mixer is not None:
            raise SpecError("--mixer is one, --mixers are several; give one of the two")
        if presets is not None:
            if self.model is not None or "preset" in self.options:
                raise SpecError("--presets name the models; leave out --model and --preset")
            return of_presets(split_names(presets), self.mixer)
        own = None if self.mixer is None else [self.mixer]
        named = own if mixers is None else split_names(mixers)
        return with_mixers(self.model, named, self.options)


def takes_request(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command every option of every model and mixer, gathered as its `request`."""

    def gather(given: dict[str, Any]) -> Request:
        model, mixer = given.pop("model", None), given.pop("mixer", None)
        return Request(model=model, mixer=mixer, options=given)

    shared = {**_named(), **_sizes(MODELS, _MODELS), **_sizes(MIXERS, _MIXERS)}
    return gathering(command, "request", shared, gather)


def gathering(
    command: Callable[..., None],
    name: str,
    options: Mapping[str, Parameter],
    gather: Callable[[dict[str, Any]], object],
) -> Callable[..., None]:
    """Replace a command's parameter by command-line options.

    Args:
        command: the command.
        name: the parameter that is replaced.
        options: what replaces it, None by default.
        gather: makes the parameter's value from those options that were given.
    """
    own = {
        own_name: parameter
        for own_name, parameter in signature(command, eval_str=True).parameters.items()
        if own_name != name
    }

    def run(**values: Any) -> None:
        popped = {option: values.pop(option) for option in options}
        given = {option: value for option, value in popped.items() if value is not None}
        command(**{name: gather(given)}, **values)

    parameters = {**options, **own}
    run.__signature__ = Signature(list(parameters.values()))  # type: ignore[attr-defined]
    run.__annotations__ = {option: item.annotation for option, item in parameters.items()}
    run.__name__, run.__doc__ = command.__name__, docstring(command)
    return run


def _named() -> dict[str, Parameter]:
    return {
        "preset": parameter(
            "preset",
            str,
            typer.Option(
                help="published configuration to start from, which any option changes: "
                "vitprof presets lists them",
                metavar="NAME",
                show_default="none",
                rich_help_panel=_MODELS,
            ),
        ),
        "model": parameter(
            "model",
            str,
            typer.Option(
                help=f"what to build: {', '.join(MODELS)}",
                metavar="NAME",
                show_default="the preset's; mae; layer where --tokens is given",
                rich_help_panel=_MODELS,
            ),
        ),
        "mixer": parameter(
            "mixer",
            str,
            typer.Option(
                help=f"token mixer of every block: {', '.join(MIXERS)}",
                metavar="NAME",
                show_default="the preset's; attn",
                rich_help_panel=_MODELS,
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
        rich_help_panel=panel,
    )
    return parameter(name, bool if isinstance(option, Flag) else str, info)


def _defaults(name: str, owners: Mapping[str, type[Options]]) -> str:
    """What each owner takes by default, in a line: `mae 128; classifier, layer 64`."""
    by_value: dict[str, list[str]] = {}
    for owner, options in owners.items():
        for default in (field.default for field in fields(options) if field.name == name):
            shown = f"{float(default):g}" if isinstance(default, Fraction) else str(default)
            by_value.setdefault(shown, []).append(owner)
    return "; ".join(f"{', '.join(names)} {value}" for value, names in by_value.items())


def parameter(name: str, type_: type, info: Any) -> Parameter:
    """An option of the command line that is None where it is not given."""
    return Parameter(
        name,
        Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[type_ | None, info],
    )


Counters = Annotated[
    str,
    typer.Option(
        help=f"columns, separated by commas: {', '.join(NAMES)}; analytic alone loads no tool",
        metavar="NAMES",
        rich_help_panel=_OUTPUT,
    ),
]
Why = Annotated[
    bool,
    typer.Option(
        "--why", help="list the causes of every difference, layer by layer", rich_help_panel=_OUTPUT
    ),
]
Fold = Annotated[
    bool | None,
    typer.Option(
        "--fold/--full",
        help="give equal blocks one row, or each its own",
        show_default="fold for people, full for csv and json",
        rich_help_panel=_OUTPUT,
    ),
]
Levels = Annotated[
    str | None,
    typer.Option(
        help="how deep below the model the rows go",
        metavar="N",
        show_default="all",
        rich_help_panel=_OUTPUT,
    ),
]
FormatName = Annotated[
    str | None,
    typer.Option(
        "--format",
        help=f"how to write it down: {', '.join(Format)}",
        metavar="NAME",
        show_default="by the suffix of --output, else table",
        rich_help_panel=_OUTPUT,
    ),
]
ListFormat = Annotated[
    str,
    typer.Option("--format", help="how to write it down: table, json", metavar="NAME"),
]
Output = Annotated[
    str | None,
    typer.Option(
        help="file to write, replaced only whole", metavar="FILE", rich_help_panel=_OUTPUT
    ),
]
ALL_COUNTERS = ",".join(NAMES)


def split_names(names: str) -> list[str]:
    """The names in a comma-separated word."""
    return [name.strip() for name in names.split(",") if name.strip()]
