"""`vitprof models`."""

from __future__ import annotations

from vitprof.api import catalogue
from vitprof.cli.options import takes_destination
from vitprof.cli.output import Destination

EXAMPLE = "vitprof models --format markdown"


@takes_destination()
def models(*, to: Destination) -> None:
    """List the models, each with its source and its formulas for parameters and MACs."""
    to.show(catalogue.models())
