"""`vitprof models`."""

from __future__ import annotations

from vitprof.cli.options import ListFormat
from vitprof.cli.output import show_catalogue
from vitprof.formulas.models import MODELS
from vitprof.report import catalogue


def models(*, format: ListFormat = "table") -> None:
    """List the models, each with its formula for parameters and MACs and its source."""
    show_catalogue(catalogue.models(MODELS.values()), format)
