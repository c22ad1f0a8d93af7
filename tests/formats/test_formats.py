"""Every report in every format: the output is parsed and compared with the report."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from importlib import import_module
from io import BytesIO, StringIO
from itertools import takewhile
from pkgutil import iter_modules
from typing import Any, NamedTuple, NoReturn
from xml.etree import ElementTree

import pandas
import pytest
import torch
from pandas.testing import assert_frame_equal
from pyarrow import parquet
from rich.console import Console

import vitprof
from vitprof.counters import TOOLS
from vitprof.expectations.expectations import Outcome
from vitprof.formats import ANY, Format, render
from vitprof.formats.table import plain
from vitprof.formulas.mixers import MIXERS
from vitprof.formulas.models import MODELS
from vitprof.measuring.search import Search, Stopped, Trial
from vitprof.measuring.timing import MatrixProduct, Timing
from vitprof.measuring.trials import Device
from vitprof.report import base
from vitprof.report.base import Report
from vitprof.report.batch_size import TriedBatch
from vitprof.report.bench import Benchmark, MeasuredModel, Speed
from vitprof.report.check import CaseResult, Check
from vitprof.report.counts import Counts, Row
from vitprof.report.document import (
    EVERY,
    Cell,
    Column,
    Document,
    Equations,
    Facts,
    Heading,
    Kind,
    Label,
    Marked,
    Records,
    Sentence,
    Table,
)
from vitprof.report.document import Row as TableRow
from vitprof.request.budget import Budget
from vitprof.values.amounts import Bytes, Seconds, Signed, Times
from vitprof.values.size import Size

Record = dict[str, Any]

SMALL: dict[str, dict[str, Any]] = {
    "mae": {"image_size": 24, "patch_size": 4, "channels": 3, "dim": 24, "depth": 3, "heads": 3}
    | {"decoder_dim": 20, "decoder_depth": 2, "decoder_heads": 5, "mask_ratio": "0.3"},
    "classifier": {"dim": 33, "depth": 3, "heads": 3, "mlp_ratio": "2.7"},
    "layer": {"tokens": 7, "dim": 15, "heads": 3},
}
MEASURES: dict[str, Callable[..., Counts]] = {"params": vitprof.params, "macs": vitprof.macs}


@cache
def profile(command: str, model: str, mixer: str, fold: bool) -> Counts:
    return MEASURES[command](model, mixer=mixer, fold=fold, **SMALL[model])


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Run on one thread: at small sizes more threads only wait."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def printed(report: Report, width: int) -> str:
    text = StringIO()
    Console(file=text, width=width, color_system=None).print(report)
    return text.getvalue()


# Every report of the project


def tried() -> TriedBatch:
    failed = Trial(batch=512, fits=False, reason="CUDA out of memory: tried <1 GiB> & failed")
    trials = (
        failed,
        Trial(batch=256, fits=True, peak_bytes=3 * 2**30, seconds=0.25),
        Trial(batch=384, fits=False, peak_bytes=5 * 2**30, seconds=0.5, reason="over the budget"),
    )
    return TriedBatch(
        spec={"model": "layer", "mixer": "attn"},
        workload={"dtype": "fp32"},
        device=Device(type="cuda", name="A GPU", memory_bytes=4 * 2**30),
        versions={"vitprof": "0"},
        convention="a peak is what is held at once",
        search=Search(
            strategy="bisect",
            start=512,
            most=65_536,
            budget_bytes=4 * 2**30,
            trials=trials,
            stopped=Stopped.INTERRUPTED,
        ),
    )


def benchmark() -> Benchmark:
    def speed(*samples: float, macs: int | None) -> Speed:
        timing = Timing(samples)
        return Speed(
            timing=timing, images=8, macs=macs, first=0.01, peak=1e12, peak_bytes=900 * 2**20
        )

    return Benchmark(
        model="classifier",
        workload={"batch": 8, "dtype": "fp32"},
        conditions={"device": "x86_64 with AVX2", "threads": "1"},
        versions={"vitprof": "0"},
        protocol="in turns",
        bound=0.05,
        peak=MatrixProduct(side=512, seconds=0.001),
        budget=Budget(bytes=24 * 2**30),
        models=tuple(
            MeasuredModel(
                name=mixer,
                spec={"model": "classifier", "mixer": mixer, "dim": 64},
                params=1_234_567 * times,
                macs=9_876_543_210 * times,
                peak_bytes=3 * 2**30 * times,
                largest=4_096 // times,
                speeds={
                    "forward": speed(0.01, 0.011, 0.02, macs=9_876_543_210 * times),
                    "training step": speed(1.5, 1.6, 1.7, macs=None),
                },
            )
            for mixer, times in (("attn", 1), ("token-linear", 2))
        ),
        unavailable={"memory": "PyTorch keeps no peak on the CPU"},
    )


def checked() -> Check:
    def outcome(what: str, relation: str, expected: int | str, found: int | str) -> Outcome:
        holds = expected == found
        formula = "" if isinstance(found, str) else "D × (D + 1) = 64 × (64 + 1)"
        return Outcome(
            what=what,
            relation=relation,
            expected=expected,
            found=found,
            formula=formula,
            holds=holds,
        )

    cases = (
        CaseResult(
            name="the <b>R&D</b> model_1",
            line=1,
            outcomes=(
                outcome("params blocks.0.mixer.fc_out", "=", 4_160, 4_160),
                outcome("macs blocks.0-11", "<=", 1_234_567_890, 1_334_567_890),
            ),
        ),
        CaseResult(
            name="another",
            line=9,
            outcomes=(outcome("macs fvcore reconciled", "=", "explained", "+1 UNEXPLAINED"),),
        ),
    )
    return Check(file="expected|sizes.toml", cases=cases)


TWO: dict[str, Any] = {"dim": 33, "depth": 2, "heads": 3, "image_size": 8, "patch_size": 4}
REPORTS: dict[str, Callable[[], Report]] = {
    "params": lambda: profile("params", "mae", "lambda", True),
    "macs": lambda: profile("macs", "classifier", "lambda", False),
    "macs-why": lambda: vitprof.macs("layer", why=True, **SMALL["layer"]),
    "why": lambda: profile("macs", "classifier", "lambda", True).why(),
    "memory": lambda: vitprof.memory("classifier", batch=9_999, fold=True, trace=False, **TWO),
    "memory-gpu": lambda: vitprof.memory(
        "classifier", batch=9_999, gpu="1080ti", fold=True, trace=False, **TWO
    ),
    "memory-lacks": lambda: vitprof.memory(
        "classifier", batch=9_999, memory="1GiB", fold=True, trace=False, **TWO
    ),
    "memory-trace": lambda: vitprof.memory("layer", batch=1_000, **SMALL["layer"]),
    "batch-size": lambda: vitprof.batch_size(memory="1GiB", trace=False, **SMALL["mae"]),
    "batch-size-gpu": lambda: vitprof.batch_size(gpu="rtx3090", trace=False, **SMALL["mae"]),
    "batch-size-capped": lambda: vitprof.batch_size(
        gpu="rtx3090", max_batch=1_234, trace=False, **SMALL["mae"]
    ),
    "batch-size-tried": tried,
    "bench": benchmark,
    "compare": lambda: vitprof.compare(
        *("classifier",), mixers=["attn", "lambda"], layers=True, memory="8GiB", up_to=16, **TWO
    ),
    "sweep": lambda: replace(
        vitprof.sweep(
            *("layer",),
            mixers=["attn", "linear"],
            measures=("params", "macs", "memory"),
            tokens=(64, 128),
            dim=(32, 50),  # which 4 heads do not divide
        ),
        charts=True,
    ),
    "check": checked,
    "presets": vitprof.presets,
    "preset": lambda: vitprof.presets("deit-s"),
    "mixers": vitprof.mixers,
    "mixer": lambda: vitprof.mixers("lambda", counters=["torch"]),
    "models": vitprof.models,
    "gpus": vitprof.gpus,
    "gpu": lambda: vitprof.gpus("rtx3090"),
}
every_report = pytest.mark.parametrize("name", REPORTS)


@cache
def report_of(name: str) -> Report:
    return REPORTS[name]()


def kinds_of(kind: type) -> set[str]:
    """Return the names of all subclasses of a class."""
    below: list[type] = kind.__subclasses__()
    return {f"{one.__module__}.{one.__name__}" for one in below}.union(*map(kinds_of, below))


def test_no_report_of_the_project_is_missing() -> None:
    package = import_module("vitprof.report")
    for module in iter_modules(package.__path__, "vitprof.report."):
        import_module(module.name)
    reports = [report_of(name) for name in REPORTS]
    there = {name for name in kinds_of(Report) if name.startswith("vitprof.")}
    assert len(there) >= 12
    assert {f"{type(one).__module__}.{type(one).__name__}" for one in reports} == there
    assert {report.command for report in reports} == {
        *("params", "macs", "memory", "batch-size", "bench", "compare", "sweep", "check"),
        *("presets", "mixers", "models", "gpus"),
    }


@every_report
def test_equal_requests_have_equal_reports(name: str) -> None:
    report, again = report_of(name), REPORTS[name]()
    assert again == report
    assert again.to_json() == report.to_json()
    others = [other for other in REPORTS if other != name]
    assert all(report != report_of(other) for other in others)


@cache
def document_of(name: str) -> tuple[Document, list[Table]]:
    document = report_of(name).document()
    return document, [element for element in document if isinstance(element, Table)]


@cache
def plain_of(name: str, width: int | None) -> str:
    return plain(report_of(name), width)


def words_of(cell: Cell, kind: Kind) -> str:
    """Return a cell as plain text."""
    if isinstance(cell, Marked):
        return words_of(cell.cell, kind)
    if isinstance(cell, Label):
        return cell.path
    if isinstance(cell, Size):
        closed = cell.name or cell.operator
        return (cell.numbers if kind is Kind.NUMBERS else cell.formula) if closed else ""
    return f"{cell:,}" if type(cell) in (int, float) else "" if cell is None else str(cell)


def label_of(cell: Cell, kind: Kind, indent: str = "  ") -> str:
    """Return a cell as plain text; a row's name is relative to its parent's, and indented."""
    if not isinstance(cell, Label):
        return words_of(cell, kind)
    folded = f" ×{cell.repeat}" if "-" in cell.name and cell.repeat > 1 else ""
    return f"{indent * cell.level}{cell.name}{folded}"


def rows_of(table: Table) -> list[TableRow]:
    return [*table.rows, *table.totals]


def is_strong(row: TableRow, cell: Cell) -> bool:
    return row.strong or isinstance(cell, Marked)


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


def unmarked(words: str) -> str:
    r"""Return Markdown as rendered: `\_` is an underscore, `**` nothing."""
    return re.sub(r"\\([\\`*\[\]<|_])", r"\1", re.sub(r"(?<!\\)\*\*", "", words))


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
    for element in document:
        if isinstance(element, Facts):
            for title, line in element.lines.items():
                assert f"- {title}: {line}" in readable
        elif isinstance(element, Heading):
            assert f"{element.text} {element.remark}".rstrip() in readable
        elif isinstance(element, Sentence):
            assert element.text in readable
        elif isinstance(element, Equations):
            assert f"```text\n{element.text}\n```" in text


LATEX = {
    **{r"\textbackslash{}": "\\", r"\textasciitilde{}": "~", r"\textasciicircum{}": "^"},
    **{r"\times": "×", r"\geq": "≥", r"\leq": "≤", r"\sqrt{}": "√", r"\mu": "µ"},
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


def with_separators(words: str) -> str:
    return re.sub(r"\d+", lambda number: f"{int(number[0]):,}", words)


@every_report
def test_latex(name: str) -> None:
    document, tables = document_of(name)
    text = report_of(name).to_latex()
    assert text.startswith("% needs \\usepackage{booktabs}\n")
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
                if column.kind in (Kind.FORMULA, Kind.NUMBERS) and wanted:
                    assert re.fullmatch(r"\$[^$]+\$", words.removeprefix(r"\textbf{").rstrip("}"))
                    assert "," not in words.replace("{,}", "")
    readable = [typeset(line) for line in text.splitlines()]
    for element in document:
        if isinstance(element, Facts):
            for title, line in element.lines.items():
                assert f"  \\item[{{{title}}}] {line}" in readable
        elif isinstance(element, Heading):
            assert f"\\paragraph{{{element.text}}} {element.remark}".rstrip() in readable
        elif isinstance(element, Sentence):
            assert element.text in readable
        elif isinstance(element, Equations):
            assert f"\\begin{{verbatim}}\n{element.text}\n\\end{{verbatim}}" in text


@every_report
def test_html(name: str) -> None:
    document, tables = document_of(name)
    text = report_of(name).to_html()
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
    for element in document:
        if isinstance(element, Facts):
            for title, line in element.lines.items():
                assert f"{title}: {line}" in paragraphs
        elif isinstance(element, Heading):
            assert f"{element.text} {element.remark}".rstrip() in paragraphs
        elif isinstance(element, Sentence):
            assert element.text in paragraphs
        elif isinstance(element, Equations):
            assert element.text in [part.text for part in page.findall("pre")]


@every_report
def test_csv_is_the_frame(name: str) -> None:
    report = report_of(name)
    text, frame, records = report.to_csv(), report.to_frame(), report.records()
    header, *rows = csv.reader(StringIO(text), strict=True)
    assert tuple(header) == records.columns
    assert len(set(header)) == len(header)
    assert rows == [["" if c is None else str(c) for c in row] for row in records.rows]
    assert frame.to_csv(index=False) == text
    loaded = pandas.read_csv(StringIO(text), keep_default_na=False, dtype=str)
    assert [*loaded.columns] == [*frame.columns] == header
    dtypes = {bool: "boolean", int: "Int64", float: "Float64", str: "object"}
    for column, cells in zip(header, zip(*records.rows, strict=True), strict=bool(rows)):
        kinds = {type(cell) for cell in cells if cell is not None}
        if len(kinds) == 1:
            assert frame[column].dtype == dtypes[kinds.pop()]
    exact = frame.astype(object).where(frame.notna(), None)
    assert [*exact.itertuples(index=False, name=None)] == [*records.rows]


@every_report
def test_json_is_the_contract_of_all(name: str) -> None:
    report = report_of(name)

    def refuse(constant: str) -> NoReturn:
        raise AssertionError(f"{constant} is no JSON")

    text = report.to_json()
    assert text.endswith("}\n")
    document = json.loads(text, parse_constant=refuse)
    assert [*document][:2] == ["schema", "command"]
    assert (document.pop("schema"), document.pop("command")) == ("vitprof/2", report.command)
    assert base.SCHEMA == "vitprof/2"
    assert document == json.loads(json.dumps(report.data()))
    assert document


@every_report
def test_parquet_is_the_records_and_all_of_the_json(name: str) -> None:
    report = report_of(name)
    data = render(report, Format.PARQUET)
    assert isinstance(data, bytes)
    table, records = parquet.read_table(BytesIO(data)), report.records()
    assert tuple(table.column_names) == records.columns
    rows = [tuple(row.values()) for row in table.to_pylist()]
    for row, wanted in zip(rows, records.rows, strict=True):
        for found, cell in zip(row, wanted, strict=True):
            mixed = type(cell) is int and isinstance(found, str)  # in a column that holds words
            assert found == (str(cell) if mixed else cell)
            assert mixed or isinstance(found, (Decimal, type(cell)))
    assert json.loads(table.schema.metadata[b"vitprof"]) == json.loads(report.to_json())


def test_formats_have_their_methods() -> None:
    report = report_of("params")
    methods = [report.to_markdown, report.to_latex, report.to_html, report.to_csv, report.to_json]
    texts = [render(report, one) for one in ANY if one not in (Format.TABLE, Format.PARQUET)]
    assert [method() for method in methods] == texts
    assert len({*texts}) == 5


# A report of all that there is to say


@dataclass(frozen=True)
class Example(Report):
    """A report with one of each element, and with the special characters of the formats."""

    command = "example"

    def document(self) -> Document:
        B, N = Size(1_000, "B"), Size(7, "head dim")
        columns = (
            Column("a_layer", part=EVERY, key=True),
            Column("remark", Kind.TEXT),
            Column("formula", Kind.FORMULA),
            Column("numbers", Kind.NUMBERS),
            Column("count", Kind.NUMBER),
        )
        rows = (
            TableRow((Label("b.0-1", "b.0-1", repeat=2), "50% & |more|", None, None, 14_000), True),
            TableRow((Label("fc_1", "b.0-1.fc_1", 1), "<x>", B * (N - 1), B * (N - 1), 6_000)),
            TableRow((Label("act", "b.0-1.act", 1), "", Size(8), Size(8), Marked(8_000))),
        )
        return (
            Heading("An *example*", "of #1"),
            Table(columns, rows, (TableRow(("all", *[None] * 3, Bytes(2**30))),), "A_title"),
            Facts({"[1]": "a ~ b^2, {x} --why"}),
            Sentence("It holds.", strong=True),
            Sentence("So far."),
            Equations("y = x W_q < 1\n\n    W  D x D"),
        )

    def records(self) -> Records:
        return Records(("path", "count"), (("b.0-1.fc_1", 6_000), ('a "b", c', None)))

    def data(self) -> dict[str, object]:
        return {"counts": [6_000, None], "name": "µ"}


EXAMPLE: dict[Format, str] = {
    Format.TABLE: """\
An *example*  of #1

A_title
a_layer   remark        formula             numbers            count
────────────────────────────────────────────────────────────────────
b.0-1 ×2  50% & |more|                                        14,000
  fc_1    <x>           B × (head dim - 1)  1000 × (7 - 1)     6,000
  act                                                          8,000

all                                                         1.00 GiB

[1]  a ~ b^2, {x} --why

It holds.
So far.

y = x W_q < 1

    W  D x D
""",
    Format.MARKDOWN: r"""**An \*example\*** of #1

A_title

| a_layer    | remark             | formula            | numbers        |      count |
|:-----------|:-------------------|:-------------------|:---------------|-----------:|
| **b.0-1**  | **50% & \|more\|** |                    |                | **14,000** |
| b.0-1.fc_1 | \<x>               | B × (head dim - 1) | 1000 × (7 - 1) |      6,000 |
| b.0-1.act  |                    |                    |                |  **8,000** |
| all        |                    |                    |                |   1.00 GiB |

- \[1\]: a ~ b^2, {x} --why

**It holds.**

So far.

```text
y = x W_q < 1

    W  D x D
```
""",
    Format.LATEX: r"""% needs \usepackage{booktabs}
\paragraph{An *example*} of \#1

A\_title

\begin{tabular}{llllr}
\toprule
a\_layer & remark & formula & numbers & count \\
\midrule
\textbf{b.0-1 $\times$2} & \textbf{50\% \& $|$more$|$} &  &  & \textbf{14,000} \\
\quad fc\_1 & $<$x$>$ & $B \times (\mathit{head\ dim} - 1)$ & $1{,}000 \times (7 - 1)$ & 6,000 \\
\quad act &  &  &  & \textbf{8,000} \\
\midrule
all &  &  &  & 1.00 GiB \\
\bottomrule
\end{tabular}

\begin{description}
  \item[{[1]}] a \textasciitilde{} b\textasciicircum{}2, \{x\} -{}-why
\end{description}

\textbf{It holds.}

So far.

\begin{verbatim}
y = x W_q < 1

    W  D x D
\end{verbatim}
""",
    Format.CSV: """\
path,count
b.0-1.fc_1,6000
"a ""b"", c",
""",
    Format.JSON: """\
{
  "schema": "vitprof/2",
  "command": "example",
  "counts": [
    6000,
    null
  ],
  "name": "µ"
}
""",
}
LEFT, RIGHT = '<td style="text-align: left">', '<td style="text-align: right">'
EXAMPLE_HTML = f"""\
<div class="vitprof">
<p><b>An *example*</b> of #1</p>
<table><caption>A_title</caption>
<tr>HEADER</tr>
<tr>{LEFT}<b>b.0-1 ×2</b></td>{LEFT}<b>50% &amp; |more|</b></td>{LEFT}</td>{LEFT}</td>\
{RIGHT}<b>14,000</b></td></tr>
<tr>{LEFT}&#8195;fc_1</td>{LEFT}&lt;x&gt;</td>{LEFT}<i>B</i> × (<i>head dim</i> − 1)</td>\
{LEFT}1,000 × (7 − 1)</td>{RIGHT}6,000</td></tr>
<tr>{LEFT}&#8195;act</td>{LEFT}</td>{LEFT}</td>{LEFT}</td>{RIGHT}<b>8,000</b></td></tr>
<tr>{LEFT}all</td>{LEFT}</td>{LEFT}</td>{LEFT}</td>{RIGHT}1.00 GiB</td></tr>
</table>
<p><b>[1]</b>: a ~ b^2, {{x}} --why</p>
<p><b>It holds.</b></p>
<p>So far.</p>
<pre>y = x W_q &lt; 1

    W  D x D</pre>
</div>
"""


@pytest.mark.parametrize("format", EXAMPLE)
def test_example_to_the_letter(format: Format) -> None:
    assert render(Example(), format) == EXAMPLE[format]


def test_example_in_html_to_the_letter() -> None:
    html = Example().to_html()
    assert re.sub("<tr><th.*</th></tr>", "<tr>HEADER</tr>", html) == EXAMPLE_HTML


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        (Bytes(2**20 - 1), "1,048,575 bytes"),
        (Bytes(2**20), "1.0 MiB"),
        (Bytes(1536 * 2**30), "1,536.00 GiB"),
        (Signed(-3_200), "−3,200"),
        (Signed(0), "+0"),
        (Seconds(0.02), "20.0 ms"),
        (Seconds(0.000_02), "20.0 µs"),
        (Seconds(12.345), "12.3 s"),
        (Times(0.5), "×0.50"),
        (Times(0.0123), "×0.012"),
        (Times(1234.5), "×1,234.50"),
    ],
)
def test_amounts_bear_their_units(amount: object, words: str) -> None:
    assert str(amount) == words


# Counts: rows of layers beside what the tools say

SPELLED = [
    pytest.param((command, model, mixer, fold), id="-".join((command, model, mixer, how)))
    for command in MEASURES
    for model in MODELS
    for mixer in ("attn", "lambda")
    for fold, how in ((False, "full"), (True, "fold"))
    if not (fold and model == "layer")  # of which there is one
]
ALL_COUNTS = pytest.mark.parametrize("report", SPELLED, indirect=True)


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Counts:
    return profile(*request.param)


@pytest.fixture(scope="module")
def default_mae() -> Counts:
    return wide("folded")


def record(row: Row) -> Record:
    """Return a row without its path, with the tools as further columns."""
    names = ("path", "type", "repeat", "formula", "numbers", "each", "count")
    return {name: getattr(row, name) for name in names} | dict(row.counters)


def typed(cells: dict[str, str]) -> Record:
    """Convert cells of text to values; an empty count is None."""
    words = {"path", "type", "formula", "numbers"}
    return {
        name: cell if name in words else int(cell.replace(",", "")) if cell else None
        for name, cell in cells.items()
    }


def from_csv(report: Counts) -> list[Record]:
    reader = csv.DictReader(StringIO(report.to_csv()), strict=True)
    return [typed(cells) for cells in reader]


def from_json(report: Counts) -> list[Record]:
    rows = json.loads(report.to_json())["rows"]
    return [row | row.pop("counters") for row in rows]


def from_parquet(report: Counts) -> list[Record]:
    data = render(report, Format.PARQUET)
    assert isinstance(data, bytes)
    rows: list[Record] = parquet.read_table(BytesIO(data)).to_pylist()
    return rows


def from_frame(report: Counts) -> list[Record]:
    frame = report.to_frame().astype(object)
    records: list[Any] = frame.where(frame.notna(), None).to_dict("records")
    return records


READERS = [from_csv, from_json, from_frame, from_parquet]


def for_people(report: Counts) -> list[dict[str, str]]:
    """Return the rows by path and the totals, formatted for people."""
    folded = any(row.repeat > 1 for row in report.tree)
    lines: list[dict[str, object]] = []
    for row in report.tree:
        texts = {"layer": row.path, "type": row.type, "formula": row.formula}
        figures = {"of one": row.each, "count": row.count, **row.counters}
        lines.append({**texts, "numbers": row.numbers, **figures})
    for name, count in report.totals.items():
        tools = report.counters if name == report.headline else {}
        lines.append({"layer": name.replace("_", " "), "count": count, **tools})
    columns = ["layer", "type", "formula", "numbers", "of one", "count", *report.counters]
    if not folded:
        columns.remove("of one")

    def words(cell: object) -> str:
        return f"{cell:,}" if isinstance(cell, int) else str(cell or "")

    return [{name: words(line.get(name)) for name in columns} for line in lines]


class Printed(NamedTuple):
    """A parsed table: the cells of its rows and of its totals, by column."""

    rows: list[dict[str, str]]
    totals: list[dict[str, str]]


_COLUMN = re.compile(rf"of one|count|{'|'.join(TOOLS)}|layer|type|formula|numbers")
_LEFT = {"layer", "type", "formula", "numbers"}  # these come first; the others are figures


def cells_of(line: str, columns: list[re.Match[str]]) -> dict[str, str]:
    """Split a line into cells: figures end with their headers, texts start with theirs."""
    cells, rest = {}, line.ljust(columns[-1].end())
    for column in reversed([column for column in columns if column[0] not in _LEFT]):
        cells[column[0]] = rest[: column.end()].split(" ")[-1]
        rest = rest[: column.end() - len(cells[column[0]])]
    end = None
    for column in reversed([column for column in columns if column[0] in _LEFT]):
        cells[column[0]] = rest[column.start() : end].rstrip()
        end = column.start()
    return cells


def tables(text: str) -> Iterator[Printed]:
    """Return the tables with counts in a text."""
    lines = [line.rstrip() for line in text.splitlines()]
    for place, line in enumerate(lines):
        columns = [*_COLUMN.finditer(lines[place - 1])]
        figures = {column[0] for column in columns} & {"count", *TOOLS}
        if not re.fullmatch("─+", line) or not figures:
            continue
        table = Printed([], [])
        body = iter(lines[place + 1 :])
        for section in table:
            for cells in (cells_of(row, columns) for row in takewhile(bool, body)):
                if any(cells[name] for name in figures):
                    section.append(cells)
                    continue
                for name in cells.keys() & _LEFT:  # what did not fit into the line above
                    section[-1][name] = f"{section[-1][name]} {cells[name]}".rstrip()
        yield table


def with_paths(rows: list[dict[str, str]]) -> Iterator[Record]:
    """Return the rows of a table by path; a label has only the last part of the path."""
    parents: list[str] = []
    for cells in rows:
        label = cells.pop("layer")
        name = label.strip().partition(" ×")[0]
        parents = [*parents[: (len(label) - len(label.lstrip())) // 2], name]
        yield typed({"path": ".".join(parents), **cells})


@ALL_COUNTS
def test_rows_add_up(report: Counts) -> None:
    headline = "all" if report.command == "params" else "macs"
    assert sum(row.count for row in report.rows) == report.totals[headline] == report.total
    for tool, total in report.counters.items():
        assert sum(row.counters[tool] or 0 for row in report.rows) == total
    assert report.counters.keys() == TOOLS.keys()


@ALL_COUNTS
@pytest.mark.parametrize("reader", READERS)
def test_formats_agree(report: Counts, reader: Callable[[Counts], list[Record]]) -> None:
    assert reader(report) == [record(row) for row in report.rows]


@ALL_COUNTS
def test_table_agrees(report: Counts) -> None:
    (table,) = tables(printed(report, 1_000))
    shown = [*with_paths(table.rows)]
    folded = any(row.repeat > 1 for row in report.tree)
    unsaid = {"repeat", *(() if folded else ("each",))}
    wanted = [
        {name: value for name, value in record(row).items() if name not in unsaid}
        for row in report.tree
    ]
    each = {"of one": "each"}
    assert [{each.get(name, name): row[name] for name in row} for row in shown] == wanted
    assert [(row["layer"], row["count"]) for row in table.totals] == [
        (name.replace("_", " "), f"{count:,}") for name, count in report.totals.items()
    ]
    said = {tool: f"{total:,}" for tool, total in report.counters.items()}
    headlines = [row for row in table.totals if row["layer"] == report.headline]
    assert [{tool: row[tool] for tool in said} for row in headlines] == [said]


@ALL_COUNTS
def test_markdown_agrees(report: Counts) -> None:
    lines = [line for line in report.to_markdown().splitlines() if line[0:1] == "|"]
    header, _, *rows = [
        [unmarked(cell.strip()) for cell in line.split("|")[1:-1]] for line in lines
    ]
    assert [dict(zip(header, row, strict=True)) for row in rows] == for_people(report)


@ALL_COUNTS
def test_html_agrees(report: Counts) -> None:
    page = ElementTree.fromstring(report.to_html())
    header, *rows = [["".join(cell.itertext()) for cell in row] for row in page.iter("tr")]
    found, parents = [], list[str]()
    for label, *cells in rows:
        name = label.lstrip("\N{EM SPACE}")
        parents = [*parents[: len(label) - len(name)], name.partition(" ×")[0]]
        found.append(dict(zip(header, [".".join(parents), *cells], strict=True)))
    wanted = [
        {**row, "numbers": with_separators(row["numbers"])}
        | {"formula": row["formula"].replace(" - ", " − ")}
        for row in for_people(report)
    ]
    assert found == wanted


@ALL_COUNTS
def test_csv_loads_in_pandas(report: Counts) -> None:
    text, frame = report.to_csv(), report.to_frame()
    assert frame.to_csv(index=False) == text
    loaded = pandas.read_csv(StringIO(text))
    # A layer without a closed form has an empty one, which pandas takes for a missing value.
    assert_frame_equal(loaded.fillna({"formula": "", "numbers": ""}), frame, check_dtype=False)


@ALL_COUNTS
def test_json_is_the_contract(report: Counts) -> None:
    document = json.loads(report.to_json())
    assert document["schema"] == "vitprof/2"
    assert document["command"] == report.command
    wanted = {"spec", "versions", "convention", "totals", "counters", "unavailable", "rows"}
    assert document.keys() >= wanted
    assert document["totals"] == dict(report.totals)
    assert document["counters"] == dict(report.counters)
    model, mixer = document["spec"]["model"], document["spec"]["mixer"]
    assert document["spec"].keys() >= {*MODELS[model].declared(), *MIXERS[mixer].declared()}
    assert document["versions"].keys() >= {"vitprof", "python", "torch", "torchinfo", "fvcore"}
    assert ("not_counted" in document) is (report.command == "macs")
    keys = {"path", "type", "repeat", "formula", "numbers", "count", "counters"}
    assert all(row.keys() >= keys for row in document["rows"])
    counts = [row["count"] for row in document["rows"]]
    readings = [count for row in document["rows"] for count in row["counters"].values()]
    counted = [*counts, *readings, *document["totals"].values(), *document["counters"].values()]
    assert {type(count) for count in counted} == {int}


def test_default_mae(default_mae: Counts) -> None:
    attention_free = {
        width: (width + 1) * (heads * 16 + 16 + width // heads)  # queries, a key, a value
        + 2 * heads * 16
        + 2 * (width // heads)
        + (9 * 9 + 1) * 16
        for width, heads in ((128, 8), (512, 16))
    }
    block = {
        width: 2 * (2 * width) + mixer + width * 4 * width + 4 * width + 4 * width * width + width
        for width, mixer in attention_free.items()
    }
    layers = (8 * 8 + 1) * 128 + 12 * block[128] + 2 * 128
    layers += (128 + 1) * 512 + 8 * block[512] + 2 * 512 + (512 + 1) * 64
    positions = (32 * 32 + 1) * (128 + 512)
    tokens = 128 + 512
    totals = {
        "layers": layers,
        "tokens_and_positions": tokens + positions,
        "all": layers + tokens + positions,
        "trainable": layers + tokens,
        "fixed": positions,
    }
    assert [*totals.values()][:3] == [20_038_848, 656_640, 20_695_488]  # as the issue has them
    document = json.loads(default_mae.to_json())
    assert document["totals"] == totals
    assert document["counters"] == dict.fromkeys(TOOLS, totals["all"])


def test_folded_and_full(default_mae: Counts) -> None:
    text = printed(default_mae, 160)
    assert "\nblocks.0-11 ×12 " in text
    assert "\ndecoder_blocks.0-7 ×8 " in text
    (norm,) = [row for row in default_mae.rows if row.path == "blocks.0-11.norm1"]
    assert (norm.repeat, norm.each, norm.count) == (12, 2 * 128, 12 * 2 * 128)
    full = vitprof.params("mae", mixer="lambda", counters=["analytic"])
    paths = [row.path for row in full.rows]
    assert [f"blocks.{i}.norm1" in paths for i in range(13)] == [True] * 12 + [False]
    assert {row.repeat for row in full.rows} == {1}
    assert "×12" not in printed(full, 160)


@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("levels", [1, 2, 3, 4, 9])
def test_levels(levels: int, fold: bool) -> None:
    report = vitprof.macs(
        *("classifier",), levels=levels, fold=fold, counters=["torch"], **SMALL["classifier"]
    )
    assert sum(row.count for row in report.rows) == report.total
    assert sum(row.counters["torch"] or 0 for row in report.rows) == report.total
    # The deepest is a part of a mixer, `blocks.0.mixer.qkv`.
    assert max(len(row.path.split(".")) for row in report.tree) == min(levels, 4)
    for reader in READERS:
        assert reader(report) == [record(row) for row in report.rows]


WIDE: dict[str, Callable[[], Counts]] = {
    "folded": lambda: vitprof.params("mae", mixer="lambda", fold=True),
    "full": lambda: profile("macs", "classifier", "lambda", False),
    "batch": lambda: vitprof.macs("layer", batch=100, tokens=50),
    "absurd": lambda: vitprof.macs(
        "layer", batch=10**6, tokens=10**5, dim=10**4, counters=["analytic"]
    ),
}


@cache
def wide(name: str) -> Counts:
    return WIDE[name]()


@pytest.mark.parametrize("width", [40, 100, 240])
@pytest.mark.parametrize("name", WIDE)
def test_no_width_cuts_a_figure(name: str, width: int) -> None:
    report = wide(name)
    text = printed(report, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert "\x1b" not in text
    columns = {"count": [f"{row.count:,}" for row in report.tree]} | {
        tool: [f"{row.counters[tool]:,}" for row in report.tree] for tool in report.counters
    }
    if any(row.repeat > 1 for row in report.tree):
        assert {f"{row.each:,}" for row in report.tree} <= {*re.findall(r"[\d,]+", text)}
    labels = [f"{row.name}×{row.repeat}" if "-" in row.name else row.name for row in report.tree]
    shown = [*tables(text)]
    tools = [name for table in shown for name in table.rows[0] if name in report.counters]
    assert sorted(tools) == sorted(report.counters)
    for table in shown:
        assert ["".join(row["layer"].split()) for row in table.rows] == labels
        for name in ("count", *report.counters):
            if name in table.rows[0]:
                assert [row[name] for row in table.rows] == columns[name]
        if "count" in table.rows[0]:
            below = [row["count"] for row in table.totals]
            assert below == [f"{count:,}" for count in report.totals.values()]
    assert any("count" in table.rows[0] for table in shown)
    for tool, total in report.counters.items():
        said = [row[tool] for table in shown for row in table.totals if row.get(tool)]
        assert said == [f"{total:,}"]


@pytest.mark.parametrize(
    ("model", "sizes", "tools"),
    [
        ("layer", {"batch": 10**6, "tokens": 10**5, "dim": 10**4}, ["torch"]),  # 27 characters
        ("layer", {"batch": 10**9, "tokens": 10**7, "dim": 10**6}, ["analytic"]),  # 39
        ("classifier", {"batch": 10**9, "image_size": 2**16, "mixer": "lambda"}, ["analytic"]),
    ],
)
def test_figures_as_wide_as_the_screen(model: str, sizes: dict[str, Any], tools: list[str]) -> None:
    """A column of figures may leave no room for another column or for a whole name."""
    report = vitprof.macs(model, counters=tools, **sizes)
    text = printed(report, 40)
    assert max(map(len, text.splitlines())) <= 40
    assert "…" not in text
    said = [count for row in report.tree for count in (row.count, *row.counters.values())]
    below = [*report.totals.values(), *report.counters.values()]
    figures = Counter(f"{count:,}" for count in (*said, *below))
    assert figures <= Counter(re.findall(r"\d+(?:,\d{3})*", text))


def test_counts_beyond_64_bits() -> None:
    report = vitprof.macs("layer", batch=10**6, tokens=10**5, dim=10**4, counters=["torch"])
    B, N, D = 10**6, 10**5, 10**4
    assert report.total == report.counters["torch"] == B * (12 * N * D**2 + 2 * N**2 * D) > 2**64
    for reader in READERS:
        assert reader(report) == [record(row) for row in report.rows]


def test_silent_tool() -> None:
    """A row without a tool's figure differs from a row with a figure of zero."""
    report = profile("macs", "layer", "attn", False)
    first, second, *rest = report.tree
    unsaid, zero = ({**row.counters, "torch": said} for row, said in ((first, None), (second, 0)))
    tree = (replace(first, counters=unsaid), replace(second, counters=zero), *rest)
    report = replace(report, tree=tree)
    for reader in READERS:
        assert reader(report) == [record(row) for row in report.rows]
    (table,) = tables(printed(report, 1_000))
    assert [row["torch"] for row in table.rows[:2]] == ["", "0"]


@pytest.mark.parametrize("width", [60, 160])
def test_causes_stand_beside_their_amounts(width: int) -> None:
    report = profile("macs", "classifier", "lambda", True)
    lines = [line.split() for line in plain(report.why(), width).splitlines()]
    causes = [cause for one in report.differences.values() for cause in one.causes]
    pairs = [pair for cause in causes for pair in cause.paths.items()]
    assert len(pairs) > 10
    for path, amount in pairs:
        assert [path, f"{amount:+,}".replace("-", "−")] in [line[-2:] for line in lines]


REASON = "no <rule> for R&D|"


@pytest.fixture
def unavailable(monkeypatch: pytest.MonkeyPatch) -> Counts:
    """Return a report without a reading of fvcore."""

    def refuse(module: object, *inputs: object) -> NoReturn:
        raise RuntimeError(REASON)

    monkeypatch.setitem(TOOLS, "fvcore", replace(TOOLS["fvcore"], macs=refuse))
    report = vitprof.macs("layer", **SMALL["layer"])
    assert report.counters.keys() == TOOLS.keys() - {"fvcore"}
    assert REASON in report.unavailable["fvcore"]
    return report


def test_unavailable_in_a_table(unavailable: Counts) -> None:
    for width in (40, 80, 160):
        text = printed(unavailable, width)
        (table,) = [table for table in tables(text) if "fvcore" in table.rows[0]]
        assert {row["fvcore"] for row in table.rows} == {"n/a"}
        assert [row["fvcore"] for row in table.totals] == ["n/a", ""]
        assert REASON in " ".join(text.split())


def test_unavailable_in_json(unavailable: Counts) -> None:
    document = json.loads(unavailable.to_json())
    assert document["unavailable"] == dict(unavailable.unavailable)
    assert "fvcore" not in document["counters"]


def test_unavailable_in_markdown(unavailable: Counts) -> None:
    lines = map(unmarked, unavailable.to_markdown().splitlines())
    (line,) = [line for line in lines if REASON in line]
    assert line.startswith("- fvcore, n/a: ")


def test_unavailable_in_html(unavailable: Counts) -> None:
    html = unavailable.to_html()
    assert "<rule>" not in html
    page = ElementTree.fromstring(f"<body>{html}</body>")
    (line,) = [text for p in page.iter("p") if REASON in (text := "".join(p.itertext()))]
    assert line.startswith("fvcore, n/a: ")


def test_unavailable_in_csv(unavailable: Counts) -> None:
    frame = pandas.read_csv(StringIO(unavailable.to_csv()))
    assert_frame_equal(
        frame.fillna({"formula": "", "numbers": ""}), unavailable.to_frame(), check_dtype=False
    )


def test_table_file_is_what_a_console_prints(default_mae: Counts) -> None:
    on_console = [line.rstrip() for line in printed(default_mae, 160).splitlines()]
    assert render(default_mae, Format.TABLE).splitlines() == on_console


def test_colours_change_no_letter(default_mae: Counts) -> None:
    text = StringIO()
    Console(file=text, width=160, force_terminal=True, color_system="standard").print(default_mae)
    assert "\x1b[" in text.getvalue()
    assert re.sub(r"\x1b\[[0-9;]*m", "", text.getvalue()) == printed(default_mae, 160)
