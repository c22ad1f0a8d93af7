"""What stands below a memory report's tables, the same in a terminal and in Markdown."""

from __future__ import annotations

from vitprof.bytes import show_bytes
from vitprof.options import pairs
from vitprof.report.memory import Card, MemoryReport
from vitprof.report.records import subject


def title(report: MemoryReport) -> str:
    """What the report is of."""
    step = "inference" if report.workload["inference"] else "a training step"
    spec = report.spec
    batch = report.workload["batch"]
    return f"Memory of {step} of {subject(spec)}, batch {batch}"


def facts(report: MemoryReport) -> dict[str, str]:
    """The peaks, what a trace and a card say, and the conditions."""
    lines = {
        "peak": f"{show_bytes(report.peak.bytes)}, {_place(report)}",
        "phases": ", ".join(
            f"{name} {show_bytes(peak.bytes)}" for name, peak in report.phases.items()
        ),
        "trace": _trace(report),
    }
    if report.card is not None:
        lines["on a card"] = _card(report.card)
    return lines | {
        "workload": pairs(report.workload),
        "spec": pairs(report.spec),
        "versions": pairs(report.versions),
        "convention": report.convention,
    }


def _place(report: MemoryReport) -> str:
    if report.phase == "optimizer":
        return "in the step of the optimizer"
    return f"in the {report.phase} pass, at {report.peak.layer}"


def _trace(report: MemoryReport) -> str:
    beside = report.beside
    if beside is None:
        return "none; --trace runs a real step on fake tensors"
    if beside.complaint:
        return beside.complaint
    apart, held = beside.apart[report.phase], show_bytes(beside.traced[report.phase])
    if not apart:
        return f"{held} on fake tensors, the same to the byte"
    more = sum(apart.values())
    why = ", and ".join(
        f"{sentence} ({amount:+,})" if len(apart) > 1 else sentence
        for sentence, amount in apart.items()
    )
    return (
        f"{held} on fake tensors, by formula the same to the byte; eager PyTorch holds "
        f"{abs(more):,} bytes {'more' if more > 0 else 'less'}, since {why}"
    )


def _card(card: Card) -> str:
    return (
        f"{show_bytes(card.total)}: segments {show_bytes(card.reserved)} for tensors of "
        f"{show_bytes(card.allocated)} in blocks of 512 bytes, cuBLAS workspaces "
        f"{show_bytes(card.workspaces)}, CUDA context {show_bytes(card.context)}"
    )
