"""What a search for the largest batch found, as plain data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from vitprof.batch_size.search import MARGIN_PERCENT, Search
from vitprof.options import Value, plain
from vitprof.report.search_table import search_to_table
from vitprof.report.to_json import SCHEMA

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from vitprof.batch_size.trial import Device


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSize:
    """The largest batch by trial, with the conditions under which it holds.

    Attributes:
        spec: model, mixer, and every size.
        workload: how the model was trained or run.
        device: where.
        versions: of every package that had a part in it.
        convention: what a peak is and what fits, in a sentence.
        search: every trial, and what follows from them.
    """

    spec: Mapping[str, Value]
    workload: Mapping[str, Value]
    device: Device
    versions: Mapping[str, str]
    convention: str
    search: Search

    @property
    def largest(self) -> int | None:
        """The largest batch that was tried and fitted; None where none did."""
        return self.search.largest

    @property
    def margin(self) -> str:
        """What is recommended, in a sentence."""
        return f"{MARGIN_PERCENT} % of the largest that fitted, rounded down, and 1 at least"

    def to_json(self) -> str:
        """The search for other programs; sizes of memory are bytes, times are seconds."""
        search = self.search
        document = {
            "schema": SCHEMA,
            "command": "batch-size",
            "spec": {name: plain(value) for name, value in self.spec.items()},
            "workload": {name: plain(value) for name, value in self.workload.items()},
            "device": asdict(self.device),
            "versions": dict(self.versions),
            "convention": self.convention,
            "strategy": search.strategy,
            "start": search.start,
            "max_batch": search.most,
            "budget_bytes": search.budget_bytes,
            "largest": search.largest,
            "recommended": search.recommended,
            "margin": self.margin,
            "stopped": search.stopped,
            "why": search.why,
            "trials": [asdict(trial) for trial in search.trials],
        }
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from search_to_table(self)
