"""Text charts within a document."""

from __future__ import annotations

from collections.abc import Iterator

from vitprof.report.document import Charts


def drawn(element: Charts, width: int = 80, *, colour: bool = False) -> Iterator[str]:
    """Yield the text chart of each measure that has one, at most `width` characters wide."""
    from vitprof.formats.drawing.chart import chart

    for measure in element.curves.measures:
        text = chart(element.curves, measure, width, colour=colour, scales=element.scales)
        if text:
            yield text
