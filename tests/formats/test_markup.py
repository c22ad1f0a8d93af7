"""Every report in Markdown, LaTeX and HTML, parsed and compared with its document."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import threads
from rendered import label_of, rows_of, unmarked, with_separators, words_of
from reports import document_of, every_report, report_of

from vitprof.report.document import (
    Axes,
    Cell,
    Derivation,
    Document,
    Equations,
    Facts,
    Heading,
    Kind,
    Marked,
    Sentence,
)
from vitprof.report.document import Row as TableRow
from vitprof.values.size import Size

one_thread = threads.one_thread


def is_strong(row: TableRow, cell: Cell) -> bool:
    return row.strong or isinstance(cell, Marked)


def lines_of(document: Document, fact: str, *headings: str) -> set[str]:
    """Return facts, headings of each level and sentences as lines of a format."""
    lines: set[str] = set()
    for element in document:
        if isinstance(element, Facts):
            lines |= {fact.format(title, line) for title, line in element.lines.items()}
        elif isinstance(element, Heading):
            heading = headings[element.level]
            said = heading.format(element.text, element.remark)
            lines.add(said.replace(" }", "}").rstrip())  # without a remark
        elif isinstance(element, Sentence):
            lines.add(element.text)
    return lines


def steps_of(document: Document) -> list[tuple[str, str]]:
    """Return the name and the words of each step of a derivation, and its value."""
    return [
        (f"{step.name}: {step.words}" if step.words else step.name, f"{step.size.value:,}")
        for element in document
        if isinstance(element, Derivation)
        for step in element.steps
    ]


def equations_of(document: Document) -> list[str]:
    return [element.text for element in document if isinstance(element, Equations)]


@every_report
def test_markdown(name: str) -> None:
    document, tables = document_of(name)
    text = report_of(name).to_markdown()
    blocks = [
        block.splitlines() for block in text.removesuffix("\n").split("\n\n") if block[0] == "|"
    ]
    assert len(blocks) == len(tables)
    for table, block in zip(tables, blocks, strict=True):
        assert len({len(line) for line in block}) == 1  # aligned for who reads the source
        cells = [[c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]] for line in block]
        header, rules, *rows = cells
        columns = table.columns
        assert [unmarked(title) for title in header] == [column.title for column in columns]
        for rule, column in zip(rules, columns, strict=True):
            assert re.fullmatch("-+:" if column.kind is Kind.NUMBER else ":-+", rule)
        for found, row in zip(rows, rows_of(table), strict=True):
            for words, cell, column in zip(found, row.cells, columns, strict=True):
                wanted = words_of(cell, column.kind)
                assert unmarked(words) == wanted
                strong = bool(wanted) and is_strong(row, cell)
                assert (words[:2] + words[-2:] == "****") is strong
    readable = [unmarked(line) for line in text.splitlines()]
    headings = [f"{'#' * level} {{}} {{}}".lstrip() for level in range(4)]
    assert lines_of(document, "- {}: {}", *headings) <= {*readable}
    for words, value in steps_of(document):
        at = [n for n, line in enumerate(readable) if f"{line}, ".startswith(f"{words}, ")]
        assert any(value in readable[n + 2].replace("{,}", ",") for n in at)
    assert all(f"```text\n{lines}\n```" in text for lines in equations_of(document))


LATEX = {
    **{r"\textbackslash{}": "\\", r"\textasciitilde{}": "~", r"\textasciicircum{}": "^"},
    **{r"\times": "×", r"\geq": "≥", r"\leq": "≤", r"\sqrt{}": "√", r"\mu": "µ"},
    **{r"\'{e}": "é"},
    **{"$^2$": "²", "$^3$": "³", "$-$": "−", "{,}": ",", "-{}-": "--"},
}


def typeset(words: str) -> str:
    """Return LaTeX as typeset, without bold."""
    words = words.replace(r"\quad ", "  ")
    words = re.sub(r"^\\textbf\{(.*)\}$", r"\1", words)
    words = re.sub(r"\\mathit\{([^{}]*)\}", r"\1", words)
    for command, sign in LATEX.items():
        words = words.replace(command, sign)
    return re.sub(r"\\([&%$#_{} ])", r"\1", re.sub(r"(?<!\\)\$", "", words))


@every_report
def test_latex(name: str) -> None:
    document, tables = document_of(name)
    text = report_of(name).to_latex()
    packages = ["booktabs", *["amsmath"] * bool(steps_of(document))]
    needs = "".join(f"% needs \\usepackage{{{package}}}\n" for package in packages)
    assert text.startswith(needs)
    assert text.count("% needs") == len(packages)
    assert text.isascii()
    found = re.findall(r"\\begin\{tabular\}\{(.*?)\}\n(.*?)\n\\end\{tabular\}", text, re.DOTALL)
    assert len(found) == len(tables) == text.count("tabular}{")
    for table, (sides, body) in zip(tables, found, strict=True):
        columns, lines = table.columns, body.splitlines()
        assert sides == "".join("r" if c.kind is Kind.NUMBER else "l" for c in columns)
        number = len(table.rows)
        rules = {0: r"\toprule", 2: r"\midrule", len(lines) - 1: r"\bottomrule"}
        rules |= {3 + number: r"\midrule"} if table.totals else {}
        assert {place: lines[place] for place in rules} == rules
        assert all(line.endswith(r" \\") for n, line in enumerate(lines) if n not in rules)
        header, *rows = [
            line.removesuffix(r" \\").split(" & ") for n, line in enumerate(lines) if n not in rules
        ]
        assert [typeset(title) for title in header] == [column.title for column in columns]
        for cells, row in zip(rows, rows_of(table), strict=True):
            for words, cell, column in zip(cells, row.cells, columns, strict=True):
                wanted = label_of(cell, column.kind)
                if column.kind is Kind.NUMBERS:
                    wanted = with_separators(wanted)
                assert typeset(words) == wanted
                assert words.startswith(r"\textbf{") is (bool(wanted) and is_strong(row, cell))
                if isinstance(cell, Axes) and wanted:
                    shapes = re.sub(r"^\\textbf\{(.*)\}$|\{,\}", r"\1", words).split(", ")
                    assert all(re.fullmatch(r"\$[^$,]+\$", shape) for shape in shapes)
                if isinstance(cell, Size) and wanted:
                    assert re.fullmatch(r"\$[^$]+\$", words.removeprefix(r"\textbf{").rstrip("}"))
                    assert "," not in words.replace("{,}", "")
    readable = [typeset(line) for line in text.splitlines()]
    headings = [f"\\{'sub' * n}section*{{{{{{}} {{}}}}}}" for n in range(3)]
    headings.insert(0, "\\paragraph{{{}}} {}")
    assert lines_of(document, "  \\item[{{{}}}] {}", *headings) <= {*readable}
    plain = [re.sub(r"\\textbf\{([^}]*)\}", r"\1", line) for line in readable]
    for words, value in steps_of(document):
        assert any(words in line for line in plain)
        assert f"= {value}" in text.replace("{,}", ",")
    for lines in equations_of(document):
        assert f"\\begin{{verbatim}}\n{lines}\n\\end{{verbatim}}" in text


@every_report
def test_html(name: str) -> None:
    document, tables = document_of(name)
    text = report_of(name).to_html()
    if name != "sweep":  # which has a figure
        assert report_of(name)._repr_html_() == text
    page = ElementTree.fromstring(text)
    assert (page.tag, page.attrib) == ("div", {"class": "vitprof"})
    for table, found in zip(tables, page.findall("table"), strict=True):
        columns = table.columns
        assert found.findtext("caption", "") == table.title
        header, *rows = found.findall("tr")
        titles = ["".join(part.itertext()) for part in header]
        assert titles == [column.title for column in columns]
        for parts, row in zip(rows, rows_of(table), strict=True):
            for cell, part, column in zip(row.cells, parts, columns, strict=True):
                side = "right" if column.kind is Kind.NUMBER else "left"
                assert part.attrib == {"style": f"text-align: {side}"}
                wanted = label_of(cell, column.kind, "\N{EM SPACE}")
                if isinstance(cell, Size):
                    wanted = wanted.replace(" - ", " − ")
                    letters = [*part.itertext()]
                    names = [italic.text for italic in part.iter("i")]
                    assert [one for one in letters if re.search("[A-Za-z]", one)] == names
                if column.kind is Kind.NUMBERS:
                    wanted = with_separators(wanted)
                assert "".join(part.itertext()) == wanted
                assert (part.find("b") is not None) is (bool(wanted) and is_strong(row, cell))
    paragraphs = ["".join(part.itertext()) for part in page.findall("p")]
    headings = ["".join(part.itertext()) for n in "123" for part in page.findall(f"h{n}")]
    assert lines_of(document, "{}: {}", *["{} {}"] * 4) <= {*paragraphs, *headings}
    for words, value in steps_of(document):
        assert any(one.startswith(words) and one.endswith(f"= {value}") for one in paragraphs)
    assert {*equations_of(document)} <= {part.text for part in page.findall("pre")}
