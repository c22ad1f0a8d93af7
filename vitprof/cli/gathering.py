"""Groups of options: a parameter of a command that is gathered from several options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import Parameter, Signature, signature
from typing import Annotated, Any

from vitprof.docstrings import docstring


def gathering(
    command: Callable[..., None],
    name: str,
    options: Mapping[str, Parameter],
    gather: Callable[[dict[str, Any]], object],
) -> Callable[..., None]:
    """Replace a command's parameter by command-line options.

    Args:
        command: the command.
        name: name of the replaced parameter.
        options: options that replace it; each is None by default.
        gather: makes the parameter's value from the given options.
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

    parameters = {**own, **options}
    run.__signature__ = Signature(list(parameters.values()))  # type: ignore[attr-defined]
    run.__annotations__ = {option: item.annotation for option, item in parameters.items()}
    run.__name__, run.__doc__ = command.__name__, docstring(command)
    return run


def parameter(name: str, type_: Any, info: Any) -> Parameter:
    """Return an option of the command line that is None by default."""
    return Parameter(
        name,
        Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[type_ | None, info],
    )
