"""Write a document as text for a terminal of any width, without cutting numbers.

If a figure alone is wider than the terminal, so is its table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from io import StringIO

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from vitprof.formats.cells import text
from vitprof.formats.charts import drawn
from vitprof.formats.expressions import TEXT
from vitprof.formats.visible import visible_document
from vitprof.report.base import Report
from vitprof.report.document import (
    EVERY,
    Cell,
    Column,
    Derivation,
    Element,
    Equations,
    Facts,
    Heading,
    Kind,
    Label,
    Marked,
    Row,
    Sentence,
    Table,
)

_FORMULA_WIDTH = 38  # a longer formula is wrapped before the table is split
_NARROW_WIDTH = 12  # to which text is wrapped before the table is split
_FOLDED_WIDTH = 6  # to which names are wrapped before they are left out
_FACT_WIDTH = 24  # of the text beside the name of a fact
_ANY_WIDTH = 10_000
_WHOLE = (Kind.NAME, Kind.NUMBER)  # never wrapped
_FILE_WIDTH = 160


def render_table(report: Report) -> str:
    """Return the document as plain text for a file."""
    return plain(report, _FILE_WIDTH)


def plain(report: Report, width: int | None) -> str:
    """Return the document as plain text of `width` characters, or of no limit if that is None."""
    stream = StringIO()
    wide = _ANY_WIDTH if width is None else _wide_enough(report, width)
    console = Console(file=stream, width=wide, color_system=None)
    console.print(report)
    return "".join(f"{line.rstrip()}\n" for line in stream.getvalue().splitlines())


def show_on_terminal(report: Report, width: int) -> None:
    """Print the document to a terminal of `width` characters, in its colours."""
    Console(width=_wide_enough(report, width)).print(report)


def _wide_enough(report: Report, width: int) -> int:
    """Return `width`, or that of the widest figure if it is more."""
    tables = (element for element in report.document() if isinstance(element, Table))
    return max([width, *(_Shape(table, width).needed for table in tables)])


def show(report: Report, console: Console, options: ConsoleOptions) -> RenderResult:
    """Yield the rich renderables of a report."""
    elements = visible_document(report)
    for place, element in enumerate(elements):
        if place and not _goes_on(elements[place - 1], element):
            yield ""
        yield from _show(element, console, options)


def _goes_on(before: Element, element: Element) -> bool:
    """True if two elements have no empty line between them."""
    entry = isinstance(before, Heading) and isinstance(element, Facts)
    return entry or (isinstance(before, Sentence) and isinstance(element, Sentence))


def _show(element: Element, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
    if isinstance(element, Heading):
        remark = f"  {element.remark}" if element.remark else ""
        yield Text.assemble((element.text, "bold"), remark)
    elif isinstance(element, Table):
        yield from _tables(element, options)
    elif isinstance(element, Facts):
        yield from _facts(element, options.max_width)
    elif isinstance(element, Sentence):
        styles = {"bold": element.strong, "red": element.alarm, "dim": element.faint}
        yield Text(element.text, style=" ".join(name for name, on in styles.items() if on))
    elif isinstance(element, Equations):
        yield from _paragraphs(element.text)
    elif isinstance(element, Derivation):
        yield from _steps(element, options.max_width)
    else:
        colour = console.color_system is not None and not console.no_color
        width = min(options.max_width, _FILE_WIDTH)
        yield from (Text.from_ansi(chart) for chart in drawn(element, width, colour=colour))


def _facts(facts: Facts, width: int) -> Iterator[RenderableType]:
    """Yield a grid with a row per name, whose text wraps; or each text below its name."""
    if width - max(map(cell_len, facts.lines), default=0) < _FACT_WIDTH:
        for name, line in facts.lines.items():
            yield Text(name, style="dim")
            yield Padding(Text(line, overflow="fold"), (0, 0, 0, 2))
        return
    table = RichTable.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, line in facts.lines.items():
        table.add_row(Text(name), Text(line))
    yield table


def _paragraphs(words: str) -> Iterator[RenderableType]:
    """Yield the paragraphs; prose is rewrapped, equations keep their line breaks."""
    for place, paragraph in enumerate(words.split("\n\n")):
        lines = paragraph.splitlines()
        prose = not any(line.startswith(" ") or "  " in line for line in lines)
        if place:
            yield ""
        yield Text(" ".join(lines) if prose else paragraph)


def _steps(derivation: Derivation, width: int) -> Iterator[RenderableType]:
    if derivation.where:
        yield Text(f"where {', '.join(map(TEXT.defined, derivation.where))}")
    for step in derivation.steps:
        words = [*filter(None, [step.words]), *map(TEXT.defined, step.where)]
        style = "bold" if step.strong else ""
        yield Text.assemble((step.name, "bold"), f": {', '.join(words)}" if words else "")
        for place, (begins, line) in enumerate(TEXT.lines(step.size, width - 4)):
            sign = "  " if not place or not begins else "= "
            yield Padding(Text(f"{sign}{line}", style=style), (0, 0, 0, 2))


def _tables(table: Table, options: ConsoleOptions) -> Iterator[RenderableType]:
    """Yield one table if it fits, else one or more tables for each part of its columns."""
    if table.title:
        yield Text(table.title)
    shape = _Shape(table, options.max_width)
    for number, places in enumerate(shape.groups()):
        if number:
            yield ""
        yield shape.drawn(places)


class _Shape:
    """Layout of a table: widths of its columns, and a split if they do not fit.

    Attributes:
        table: the table.
        width: width of the terminal, in characters.
        natural: width of each column without wrapping.
        comfortable: width of each column with long formulas wrapped.
        least: smallest width of each column, wrapped between words.
    """

    def __init__(self, table: Table, width: int) -> None:
        self.table, self.width = table, width
        self.natural: list[int] = []
        self.comfortable: list[int] = []
        self.least: list[int] = []
        for place, column in enumerate(table.columns):
            rows = (*table.rows, *table.totals)
            cells = [column.title, *(_text(row.cells[place], column) for row in rows)]
            natural = max(map(cell_len, cells))
            word = max(cell_len(word) for cell in cells for word in cell.split() or [""])
            formula = column.kind in (Kind.FORMULA, Kind.NUMBERS)
            self.natural.append(natural)
            self.comfortable.append(max(word, min(natural, _FORMULA_WIDTH)) if formula else natural)
            narrow = max(word, min(natural, _NARROW_WIDTH))
            self.least.append(natural if column.kind in _WHOLE else narrow)

    def fits(self, places: Sequence[int], widths: Sequence[int], padding: int = 1) -> bool:
        """True if these columns fit, with `padding` + 1 blanks between them."""
        gaps = (1 + padding) * (len(places) - 1)
        return sum(widths[place] for place in places) + gaps <= self.width

    def groups(self) -> list[list[int]]:
        """Return the columns of each table: all in one if they fit, else split by part."""
        columns = [*enumerate(self.table.columns)]
        everything = [place for place, _ in columns]
        if self.fits(everything, self.natural) or self.fits(everything, self.comfortable):
            return [everything]
        found = []
        for part in sorted({column.part for _, column in columns if not column.key}):
            keys = [n for n, column in columns if column.key and column.part in (EVERY, part)]
            own = [n for n, column in columns if column.part == part and not column.key]
            found += [sorted(group) for group in self._shares(keys, own)]
        return found or [everything]

    def _shares(self, keys: list[int], own: list[int]) -> Iterator[list[int]]:
        if own and not self.fits([*keys, own[0]], self.least, 0):
            names = [n for n in keys if self.table.columns[n].part == EVERY]
            for n in [*keys, *own]:
                if n not in names:
                    yield [*names, n] if self._has_room(names, n) else [n]
            return
        while own:
            several = range(len(own), 1, -1)
            fitting = (n for n in several if self.fits([*keys, *own[:n]], self.least, 0))
            number = next(fitting, 1)
            yield [*keys, *own[:number]]
            own = own[number:]

    def _has_room(self, names: Sequence[int], place: int) -> bool:
        """True if a column fits beside key columns, whose names may be wrapped."""
        whole = [n for n in (*names, place) if self.table.columns[n].kind is Kind.NUMBER]
        folded = _FOLDED_WIDTH * (len(names) + 1 - len(whole))
        return sum(self.least[n] for n in whole) + folded + len(names) <= self.width

    @property
    def needed(self) -> int:
        """Least width at which no figure is cut."""
        columns = zip(self.table.columns, self.least, strict=True)
        return max((least for column, least in columns if column.kind is Kind.NUMBER), default=1)

    def drawn(self, places: Sequence[int]) -> RichTable:
        """Return the table of these columns; names wrap only if they alone are too wide."""
        for widths in (self.natural, self.comfortable):
            for padding in (1, 0):
                if self.fits(places, widths, padding):
                    return self._drawn(places, {n: widths[n] for n in places}, padding)
        padding = 1 if self.fits(places, self.least, 1) else 0
        return self._drawn(places, self._squeezed(places, padding), padding)

    def _squeezed(self, places: Sequence[int], padding: int) -> dict[int, int]:
        """Return the smallest widths, with the remaining width shared by columns that need it."""
        widths = {place: self.least[place] for place in places}
        left = self.width - (1 + padding) * (len(places) - 1) - sum(widths.values())
        while left > 0:
            wanting = [n for n in places if widths[n] < self.comfortable[n]]
            if not wanting:
                break
            for place in wanting[:left]:
                widths[place] += 1
            left -= len(wanting[:left])
        folded = [n for n in places if self.table.columns[n].kind is not Kind.NUMBER]
        while left < 0:  # wrap the names, if there are any
            widest = max(folded or places, key=lambda place: widths[place])
            if widths[widest] == 1:  # on a console narrower than `needed`
                break
            widths[widest] -= 1
            left += 1
        return widths

    def _drawn(self, places: Sequence[int], widths: Mapping[int, int], padding: int) -> RichTable:
        table = self.table
        made = RichTable(
            box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, padding, 0, 0)
        )
        for place in places:
            column = table.columns[place]
            made.add_column(
                Text(column.title),
                justify="right" if column.kind is Kind.NUMBER else "left",
                style="dim" if column.faint else None,
                overflow="fold",
                width=widths[place],
            )
        for row in table.rows:
            _add(made, table, row, places)
        if table.totals:
            made.add_section()
        for row in table.totals:
            _add(made, table, row, places)
        return made


def _add(made: RichTable, table: Table, row: Row, places: Sequence[int]) -> None:
    said = {
        place
        for place, column in enumerate(table.columns)
        if column.part != EVERY and row.cells[place] is not None
    }
    if said and not said & {*places}:
        return  # all its cells are in another part
    cells = []
    for place in places:
        cell, column = row.cells[place], table.columns[place]
        cells.append(Text(_text(cell, column), style="yellow" if isinstance(cell, Marked) else ""))
    made.add_row(*cells, style="bold red" if row.alarm else "bold" if row.strong else "")


def _text(cell: Cell, column: Column) -> str:
    if not isinstance(cell, Label):
        return text(cell, column)
    times = f" ×{cell.repeat}" if cell.folded else ""
    return "  " * cell.level + cell.name + times
