"""A predicted largest batch, as plain data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vitprof.options import Value, plain
from vitprof.report.search_table import prediction_to_table
from vitprof.report.to_json import SCHEMA

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

CONVENTION = (
    "the peak is the most that the tensors of a step hold at once, traced without data; what "
    "a card adds (rounding, fragmentation, library workspaces, the CUDA context) is not in it"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The largest batch without a device, with the conditions under which it holds.

    Attributes:
        spec: model, mixer, and every size.
        workload: how the model would be trained or run.
        versions: of every package that had a part in it.
        budget_bytes: the memory that a step may take.
        batch: the largest that fits; 0 where not even one image does.
        peak_bytes: peak of a step at that batch; 0 where there is none.
        next_peak_bytes: peak of a step with one image more, over the budget.
    """

    spec: Mapping[str, Value]
    workload: Mapping[str, Value]
    versions: Mapping[str, str]
    budget_bytes: int
    batch: int
    peak_bytes: int
    next_peak_bytes: int

    def to_json(self) -> str:
        """The prediction for other programs; sizes of memory are bytes."""
        document = {
            "schema": SCHEMA,
            "command": "batch-size",
            "spec": {name: plain(value) for name, value in self.spec.items()},
            "workload": {name: plain(value) for name, value in self.workload.items()},
            "versions": dict(self.versions),
            "convention": CONVENTION,
            "budget_bytes": self.budget_bytes,
            "predicted": self.batch,
            "peak_bytes": self.peak_bytes,
            "next_peak_bytes": self.next_peak_bytes,
        }
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from prediction_to_table(self, CONVENTION)
