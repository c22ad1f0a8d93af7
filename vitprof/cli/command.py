"""A command of the command line: how its words are read, its help, and what completes them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from typer.core import TyperCommand
from typer.exceptions import TyperException

from vitprof.cli.completion import fitting, undescribed
from vitprof.cli.help import help_of
from vitprof.errors import SpecError, unknown


class Command(TyperCommand):
    """A command that refuses an option given twice, of which Click would silently keep the last."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        formatter.write(help_of(self, ctx))

    def get_help_option(self, ctx: Any) -> Any:
        """Return `--help`."""
        return told_how_to_help(super().get_help_option(ctx))

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Return the options that begin with `incomplete` and that what is named has."""
        items = undescribed(super().shell_complete(ctx, incomplete))
        known = {
            flag
            for one in fitting(self.get_params(ctx), ctx.params)
            for flag in (*one.opts, *one.secondary_opts)
        }
        return [item for item in items if item.value in known]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words of a command line.

        Raises:
            SpecError: an option that takes one value is given several times.
        """
        if ctx.resilient_parsing:  # the words of a line that is being written
            return super().parse_args(ctx, args)
        try:
            _, _, given = self.make_parser(ctx).parse_args(args=[*args])
        except TyperException as error:  # that of a missing value does not say of which command
            error.ctx = ctx  # type: ignore[attr-defined]
            raise
        for option, times in Counter(given).items():
            if times > 1 and not option.multiple and not option.is_eager:
                name = "/".join([*option.opts, *option.secondary_opts])
                raise SpecError(f"{name} is given {times} times and has one value; give it once")
        return super().parse_args(ctx, args)


def told_how_to_help(option: Any) -> Any:
    """Return Typer's option for help, described as the others are."""
    option.help = "show this help and exit"
    return option


def refusal(error: TyperException) -> str:
    """Return the sentence on words that are no command line."""
    context: Any = getattr(error, "ctx", None)
    path = "vitprof" if context is None else context.command_path
    if context is not None and hasattr(error, "possibilities"):  # an option that there is not
        options = context.command.get_params(context)
        flags = [flag for one in options for flag in (*one.opts, *one.secondary_opts)]
        name: str = error.option_name  # type: ignore[attr-defined]
        return str(unknown("option", name, flags, lists=f"{path} --help lists them"))
    return f"{error.format_message().rstrip('.')}; see {path} --help"
