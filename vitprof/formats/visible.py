"""Documents in which every text is visible, whoever wrote it."""

from __future__ import annotations

from dataclasses import replace

from vitprof.report.base import Report
from vitprof.report.document import (
    Cell,
    Charts,
    Derivation,
    Document,
    Element,
    Equations,
    Facts,
    Heading,
    Label,
    Marked,
    Row,
    Sentence,
    Step,
    Table,
)
from vitprof.text import visible


def visible_document(report: Report) -> Document:
    """Return the document of a report, with escapes for what prints as nothing visible."""
    return tuple(map(_element, report.document()))


def _element(element: Element) -> Element:
    if isinstance(element, Heading):
        return replace(element, text=visible(element.text), remark=visible(element.remark))
    if isinstance(element, Table):
        return Table(
            tuple(replace(column, title=visible(column.title)) for column in element.columns),
            tuple(map(_row, element.rows)),
            tuple(map(_row, element.totals)),
            visible(element.title),
        )
    if isinstance(element, Facts):
        lines = {visible(name): visible(line) for name, line in element.lines.items()}
        return Facts(lines, tuple(map(visible, element.conditions)))
    if isinstance(element, Sentence):
        return replace(element, text=visible(element.text))
    if isinstance(element, Equations):
        return Equations("\n".join(map(visible, element.text.split("\n"))))
    if isinstance(element, Derivation):
        return replace(element, steps=tuple(map(_step, element.steps)))
    assert isinstance(element, Charts)  # whose words are made visible where they are drawn
    return element


def _step(step: Step) -> Step:
    return replace(step, name=visible(step.name), words=visible(step.words))


def _row(row: Row) -> Row:
    return replace(row, cells=tuple(map(_cell, row.cells)))


def _cell(cell: Cell) -> Cell:
    if isinstance(cell, str):
        return visible(cell)
    if isinstance(cell, Label):
        return replace(cell, name=visible(cell.name), path=visible(cell.path))
    if isinstance(cell, Marked) and isinstance(cell.cell, str):
        return Marked(visible(cell.cell))
    return cell
