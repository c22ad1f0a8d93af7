"""`vitprof mixers`."""

from __future__ import annotations

from vitprof.cli.options import ListFormat
from vitprof.cli.output import show_catalogue
from vitprof.formulas.mixers import MIXERS
from vitprof.report import catalogue


def mixers(*, format: ListFormat = "table") -> None:
    """List the mixers, each with its formula for parameters and MACs and its source."""
    show_catalogue(catalogue.mixers(MIXERS.values()), format)
