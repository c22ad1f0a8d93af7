"""Every report as a table: no name, figure or word is lost at any width."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache

import pytest
import threads
from rendered import label_of, rows_of, words_of
from reports import document_of, every_report, report_of

from vitprof.formats.table import plain
from vitprof.report.document import EVERY, Equations, Facts, Heading, Kind, Sentence

one_thread = threads.one_thread


@cache
def plain_of(name: str, width: int | None) -> str:
    return plain(report_of(name), width)


def occurrences(words: str, text: str) -> int:
    return len(re.findall(rf"(?<!\S){re.escape(words)}(?!\S)", text))


@pytest.mark.parametrize("width", [60, 80, 160])
@every_report
def test_table_cuts_no_name_and_no_figure(name: str, width: int) -> None:
    """The lines of each row begin with its name and contain its figures.

    Labels that are repeated in every part of a table are in them too: a batch, a path.
    """
    _, tables = document_of(name)
    text = plain_of(name, width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    assert "…" not in text
    assert not any(line.endswith(" ") for line in lines)
    for table in tables:
        wanted: Counter[tuple[str, tuple[str, ...], str]] = Counter()
        first = table.columns[0].kind
        for row in rows_of(table):
            label = label_of(row.cells[0], first)
            cells = [*zip(row.cells, table.columns, strict=True)][1:]
            names = [words_of(cell, column.kind) for cell, column in cells if column.part == EVERY]
            keys = tuple(name for name in names if name)
            wanted[label, (), ""] += 1
            for cell, column in cells:
                words = words_of(cell, column.kind)
                if column.kind in (Kind.NAME, Kind.NUMBER) and words:
                    wanted[label, keys, words] += 1
        own = [line.lstrip() if first is Kind.NUMBER else line for line in lines]
        for (label, keys, words), number in wanted.items():
            behind = [line[len(label) :] for line in own if f"{line} ".startswith(f"{label} ")]
            behind = [line for line in behind if all(occurrences(key, line) for key in keys)]
            found = sum(occurrences(words, line) for line in behind) if words else len(behind)
            assert found >= number, (label, keys, words)


@pytest.mark.parametrize("width", [60, 80, 160])
@every_report
def test_table_leaves_no_word_out(name: str, width: int) -> None:
    """Formulas and sentences are wrapped between words, and no word is lost."""
    document, tables = document_of(name)
    words = plain_of(name, width).split()
    cells = [column.title for table in tables for column in table.columns]
    for table in tables:
        for row in rows_of(table):
            some = zip(row.cells, table.columns, strict=True)
            cells += [label_of(cell, column.kind) for cell, column in some]
    assert Counter(word for cell in cells for word in cell.split()) <= Counter(words)
    letters = "".join(words)
    for element in document:
        if isinstance(element, Facts):
            said = [title + line for title, line in element.lines.items()]
        elif isinstance(element, Heading):
            said = [element.text + element.remark]
        else:
            said = [element.text] if isinstance(element, Sentence | Equations) else []
        assert all("".join(line.split()) in letters for line in said)


@every_report
def test_table_of_any_width_has_a_line_a_row(name: str) -> None:
    _, tables = document_of(name)
    lines = iter(plain_of(name, None).splitlines())
    for table in tables:
        titles = [word for column in table.columns for word in column.title.split()]
        assert titles in map(str.split, lines)
        for row in rows_of(table):
            cells = zip(row.cells, table.columns, strict=True)
            words = [word for cell, column in cells for word in label_of(cell, column.kind).split()]
            assert words in map(str.split, lines)  # goes on behind the line before


@pytest.mark.parametrize("width", [80, 160])
@every_report
def test_str_is_a_table_as_wide_as_the_terminal(
    name: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without empty lines at its end: `print` ends the line."""
    monkeypatch.setenv("COLUMNS", str(width))
    assert str(report_of(name)) == plain_of(name, width).rstrip("\n")
