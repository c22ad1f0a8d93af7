"""Why a tool's total is what it is, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitprof.reconcile import Difference

if TYPE_CHECKING:
    from vitprof.report.report import Report


def verdict(difference: Difference) -> str:
    """A line: how far the reading is from the count, and for which causes."""
    apart = signed(difference.reading - difference.count)
    if difference.explained and len(difference.causes) == 1:
        return f"{apart}: {difference.causes[0].cause}"
    parts = [f"{signed(cause.amount)} {cause.cause}" for cause in difference.causes]
    if difference.unexplained:
        parts.append(f"{signed(difference.unexplained)} UNEXPLAINED")
    if difference.mismatches:
        first, number = difference.mismatches[0], len(difference.mismatches)
        parts.append(
            f"UNEXPLAINED in {number} module{'s' * (number > 1)}: {first.path or 'the model'} "
            f"reads {first.reading:,}, predicted {first.predicted:,}"
        )
    return f"{apart}: {', '.join(parts)}" if parts else "agrees with the count"


def why(report: Report) -> list[tuple[str, str, str, str]]:
    """Each cause with its amount, and path by path: (tool, cause, path, amount)."""
    lines = []
    for tool, difference in report.differences.items():
        for cause in difference.causes:
            lines.append((tool, cause.cause, "", signed(cause.amount)))
            lines += [("", "", path, signed(amount)) for path, amount in cause.paths.items()]
        if difference.unexplained:
            lines.append((tool, "UNEXPLAINED", "", signed(difference.unexplained)))
        lines += [
            (tool, "UNEXPLAINED", mismatch.path, signed(mismatch.reading - mismatch.predicted))
            for mismatch in difference.mismatches
        ]
    return lines or [("", "every tool agrees with the count", "", "")]


def signed(amount: int) -> str:
    """An amount with its sign: `+3,200,000`."""
    return f"{'−' if amount < 0 else '+'}{abs(amount):,}"
