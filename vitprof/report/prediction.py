"""A predicted largest batch, as plain data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from vitprof.options import Value, plain
from vitprof.report.search_table import prediction_to_table
from vitprof.report.to_json import SCHEMA

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from vitprof.report.memory import Card

CONVENTION = (
    "the peak is the most that the tensors of a step hold at once, by formula; what a card "
    "adds (fragmentation, library workspaces, the CUDA context) is not in it"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What a step of a batch takes.

    Attributes:
        batch: images.
        peak_bytes: by formula.
        traced_bytes: as a trace says; None where there is none.
        agrees: whether the formula, read as the trace runs, says the same in each phase.
        card: what a card holds of it; None where nothing was traced.
    """

    batch: int
    peak_bytes: int
    traced_bytes: int | None
    agrees: bool | None
    card: Card | None

    def record(self) -> dict[str, object]:
        """All of it by name, in bytes."""
        return {**asdict(self), "card": self.card and self.card.record()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The largest batch without a device, with the conditions under which it holds.

    Attributes:
        spec: model, mixer, and every size.
        workload: how the model would be trained or run.
        versions: of every package that had a part in it.
        budget_bytes: the memory that a step may take.
        largest: what the largest batch that fits takes; None where not even one image fits.
        next: what one image more takes, which is over the budget.
        on_card: the largest batch with all that a card adds; None where nothing was traced.
    """

    spec: Mapping[str, Value]
    workload: Mapping[str, Value]
    versions: Mapping[str, str]
    budget_bytes: int
    largest: Fit | None
    next: Fit
    on_card: int | None

    @property
    def confirmed(self) -> bool | None:
        """If the formula agrees with a trace of both batches; None without one."""
        if self.next.agrees is None:
            return None
        return self.next.agrees and (self.largest is None or self.largest.agrees is True)

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
            "predicted": self.largest.batch if self.largest else 0,
            "confirmed": self.confirmed,
            "on_card": self.on_card,
            "largest": self.largest.record() if self.largest else None,
            "next": self.next.record(),
        }
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from prediction_to_table(self, CONVENTION)
