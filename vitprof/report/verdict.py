"""Explain in words why a tool's total differs from the count."""

from __future__ import annotations

from collections.abc import Mapping

from vitprof.counters.reconcile import Difference
from vitprof.values.amounts import Signed


def verdict(difference: Difference) -> str:
    """Return the difference of a tool's total from the count and its causes, in one line."""
    apart = Signed(difference.reading - difference.count)
    if difference.explained and len(difference.causes) == 1:
        return f"{apart}: {difference.causes[0].cause}"
    parts = [f"{Signed(cause.amount)} {cause.cause}" for cause in difference.causes]
    if difference.unexplained:
        parts.append(f"{Signed(difference.unexplained)} UNEXPLAINED")
    if difference.mismatches:
        first, number = difference.innermost[0], len(difference.innermost)
        parts.append(
            f"UNEXPLAINED in {number} module{'s' * (number > 1)}: {first.path or 'the model'} "
            f"reads {first.reading:,}, predicted {first.predicted:,}"
        )
    return f"{apart}: {', '.join(parts)}" if parts else "agrees with the count"


def why(differences: Mapping[str, Difference]) -> list[tuple[str, str, str, Signed | None]]:
    """Return each cause, in total and by path, as (tool, cause, path, amount)."""
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
