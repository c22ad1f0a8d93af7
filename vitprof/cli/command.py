"""A command of the command line, in which an option that takes one value is given once."""

from __future__ import annotations

from collections import Counter
from typing import Any

from typer.core import TyperCommand

from vitprof.errors import SpecError


class Command(TyperCommand):
    """A command that refuses an option given twice, of which Click would silently keep the last."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words of a command line.

        Raises:
            SpecError: an option that takes one value is given several times.
        """
        _, _, given = self.make_parser(ctx).parse_args(args=[*args])
        for option, times in Counter(given).items():
            if times > 1 and not option.multiple and not option.is_eager:
                name = "/".join([*option.opts, *option.secondary_opts])
                raise SpecError(f"{name} is given {times} times and has one value; give it once")
        return super().parse_args(ctx, args)
