"""Options that name a module of another library or of your own, and say how it is called."""

from __future__ import annotations

from inspect import Parameter
from typing import Any

import typer

from vitprof.cli.gathering import parameter
from vitprof.cli.help import MODULE


def module_options() -> dict[str, Parameter]:
    """Return `--module`, and `--arg` and `--input`, which may repeat."""
    return {
        "module": _option(
            "module",
            str,
            "REFERENCE",
            "module in place of a model: timm:NAME, torchvision:NAME, transformers:CLASS, "
            "transformers:PATH/config.json, package.module:factory or file.py:factory, whose code "
            "is run; vitprof models 'timm:deit*' lists",
        ),
        "arg": _option(
            "arg",
            list[str],
            "KEY=VALUE",
            "argument of the module, such as img_size=384; may repeat",
        ),
        "input": _option(
            "input",
            list[str],
            "[NAME=]SHAPE[:DTYPE]",
            "tensor that the module is called with, such as 3x224x224 or tokens=50:int64, fp32 "
            "unless said; the batch comes in front, or where B stands, and :fixed is without one; "
            "may repeat",
        ),
    }


def _option(name: str, type_: Any, metavar: str, text: str) -> Parameter:
    info = typer.Option(f"--{name}", help=text, metavar=metavar, rich_help_panel=MODULE)
    return parameter(name, type_, info)
