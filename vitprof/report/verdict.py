"""Sentences on why a tool's total is what it is."""

from __future__ import annotations

from collections.abc import Mapping

from vitprof.counters.reconcile import Difference
from vitprof.values.amounts import Signed


def verdict(difference: Difference) -> str:
    """How far a reading is from the count, and for which causes, in a line."""
    apart = Signed(difference.reading - difference.count)
    if difference.explained and len(difference.causes) == 1:
        return f"{apart}: {difference.causes[0].cause}"
    parts = [f"{Signed(cause.amount)} {cause.cause}" for cause in difference.causes]
    if difference.unexplained:
        parts.append(f"{Signed(difference.unexplained)} UNEXPLAINED")
    if difference.mismatches:
        first, number = difference.mismatches[0], len(difference.mismatches)
        parts.append(
            f"UNEXPLAINED in {number} module{'s' * (number > 1)}: {first.path or 'the model'} "
            f"reads {first.reading:,}, predicted {first.predicted:,}"
        )
    return f"{apart}: {', '.join(parts)}" if parts else "agrees with the count"


def why(differences: Mapping[str, Difference]) -> list[tuple[str, str, str, Signed | None]]:
    """Each cause with its amount, and path by path: (tool, cause, path, amount)."""
    lines: list[tuple[str, str, str, Signed | None]] = []
    for tool, difference in differences.items():
        for cause in difference.causes:
            lines.append((tool, cause.cause, "", Signed(cause.amount)))
            lines += [("", "", path, Signed(amount)) for path, amount in cause.paths.items()]
        if difference.unexplained:
            lines.append((tool, "UNEXPLAINED", "", Signed(difference.unexplained)))
        lines += [
            (tool, "UNEXPLAINED", mismatch.path, Signed(mismatch.reading - mismatch.predicted))
            for mismatch in difference.mismatches
        ]
    return lines or [("", "every tool agrees with the count", "", None)]
