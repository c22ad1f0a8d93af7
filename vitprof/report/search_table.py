"""A search for the largest batch, and a prediction of it, for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from vitprof.bytes import show_bytes
from vitprof.options import pairs
from vitprof.report.records import subject

if TYPE_CHECKING:
    from rich.console import RenderableType

    from vitprof.batch_size.search import Trial
    from vitprof.report.prediction import Fit, Prediction
    from vitprof.report.search import BatchSize


def search_to_table(report: BatchSize) -> Iterator[RenderableType]:
    """The trials in the order in which they were made, and below them what was found."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from vitprof.report.grid import grid

    spec = report.spec
    title = f"Largest batch of {subject(spec)}, by trial"
    yield Text(title, style="bold")
    yield ""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("batch", "fits", "peak", "step, s"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("why not", overflow="fold")
    for trial in report.search.trials:
        table.add_row(*_cells(trial), style="bold" if trial.batch == report.largest else None)
    yield table
    yield ""
    yield grid(_facts(report))


def prediction_to_table(report: Prediction, convention: str) -> Iterator[RenderableType]:
    """What fits and what does not any more, and the conditions."""
    from rich.text import Text

    from vitprof.report.grid import grid

    spec = report.spec
    yield Text(f"Largest batch of {subject(spec)}, predicted", style="bold")
    yield ""
    lines = {
        "largest": f"{report.largest.batch:,}" if report.largest else "none",
        "budget": show_bytes(report.budget_bytes),
        "formula": _both(report, lambda fit: fit.peak_bytes),
    }
    if report.confirmed is not None:
        says = "the same by its rules" if report.confirmed else "OTHERWISE"
        lines["trace"] = f"{says}: {_both(report, lambda fit: fit.traced_bytes or 0)}"
    if report.next.card is not None:
        fits = f"{report.on_card:,} fits; " if report.on_card else ""
        lines["on a card"] = fits + _both(report, lambda fit: fit.card.total if fit.card else 0)
    yield grid(
        {
            **lines,
            "workload": pairs(report.workload),
            "spec": pairs(report.spec),
            "versions": pairs(report.versions),
            "convention": convention,
        }
    )


def _both(report: Prediction, size: Callable[[Fit], int]) -> str:
    fits = (
        f"{report.largest.batch:,} takes {show_bytes(size(report.largest))}, "
        if report.largest
        else ""
    )
    return f"{fits}{report.next.batch:,} would take {show_bytes(size(report.next))}"


def _cells(trial: Trial) -> tuple[str, ...]:
    return (
        f"{trial.batch:,}",
        "OK" if trial.fits else "NG",
        "" if trial.peak_bytes is None else show_bytes(trial.peak_bytes),
        "" if trial.seconds is None else f"{trial.seconds:.3f}",
        trial.reason,
    )


def _facts(report: BatchSize) -> dict[str, str]:
    search, device = report.search, report.device
    return {
        "largest": "none" if search.largest is None else f"{search.largest:,}",
        "recommended": f"{'none' if search.recommended is None else f'{search.recommended:,}'}"
        f" ({report.margin})",
        "stopped": search.why,
        "budget": show_bytes(search.budget_bytes),
        "device": f"{device.type} {device.name}".rstrip(),
        "strategy": f"{search.strategy} from {search.start:,}, up to {search.most:,}",
        "workload": pairs(report.workload),
        "spec": pairs(report.spec),
        "versions": pairs(report.versions),
        "convention": report.convention,
    }
