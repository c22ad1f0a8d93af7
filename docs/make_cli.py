"""Write docs/cli.md, the reference of the command line: python docs/make_cli.py"""

from __future__ import annotations

from pathlib import Path

from typer.cli import get_docs_for_click
from typer.main import get_command

from vitprof.cli import app

PAGE = Path(__file__).parent / "cli.md"


def reference() -> str:
    """Return the help of every command in Markdown."""
    command = get_command(app)
    context = command.context_class(command, info_name="vitprof")
    pages = get_docs_for_click(obj=command, ctx=context, name="vitprof", title="Command line")
    return "\n".join(line.rstrip() for line in pages.strip().splitlines()) + "\n"


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
