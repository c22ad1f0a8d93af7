"""Chosen columns, and totals by type, kind and depth: the same in every format and unit."""

from __future__ import annotations

import csv
import json
from collections import Counter, OrderedDict
from dataclasses import replace
from fractions import Fraction
from functools import cache
from io import StringIO
from xml.etree import ElementTree

import pytest
from commands import Capture, said
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from rendered import unmarked
from reports import MEASURES, SMALL, printed
from torch import Tensor, nn

import vitprof
from vitprof.counters import TOOLS
from vitprof.formulas.layer import Measure
from vitprof.formulas.op import Op
from vitprof.report.base import Report
from vitprof.report.counts import Counts, known_columns
from vitprof.report.document import Table
from vitprof.report.units import UNITS
from vitprof.request.specs import specify

SHOWN = {"of-one": "each", "layer": "path"}  # by a chosen name, where programs have another


@cache
def counts(command: str, model: str, mixer: str, fold: bool | None, by: str | None) -> Counts:
    return MEASURES[command](model, mixer=mixer, fold=fold, by=by, **SMALL[model])


def table_of(report: Report) -> Table:
    return next(element for element in report.document() if isinstance(element, Table))


@st.composite
def views(draw: st.DrawFn) -> tuple[Counts, list[str]]:
    """Draw a report with some of its columns in any order."""
    command = draw(st.sampled_from(sorted(MEASURES)))
    by = draw(st.sampled_from([None, "type", "kind", "depth"]))
    model = draw(st.sampled_from(["mae", "classifier"]))
    fold = draw(st.sampled_from([None, True, False]))
    report = counts(command, model, draw(st.sampled_from(["attn", "lambda"])), fold, by)
    known = known_columns(Measure(command), TOOLS, by or "")
    columns = draw(st.lists(st.sampled_from(known), min_size=1, unique=True))
    return replace(report, columns=tuple(columns)), columns


# No shrinking: each example is a report of three tools.
drawn = settings(max_examples=8, deadline=None, derandomize=True, phases=[Phase.generate])


@drawn
@given(views(), st.sampled_from([None, *UNITS.names]))
def test_formats_agree(view: tuple[Counts, list[str]], unit: str | None) -> None:
    report, columns = view
    header, *rows = csv.reader(StringIO(report.to_csv()))
    names = [SHOWN.get(name, name).replace("-", "_") for name in columns]
    assert header == names
    frame = report.to_frame()
    assert [*frame.columns] == names
    listed = json.loads(report.to_json())["groups" if report.by else "rows"]
    in_json = [{**row, **row.pop("counters")} for row in listed]
    assert [[text(row.get(name)) for name in names] for row in in_json] == rows
    assert frame.to_csv(index=False) == report.to_csv()
    shown = report if unit is None else report.in_units(unit)
    table = table_of(shown)
    titles = [column.title for column in table.columns]
    head, *lines = html_rows(shown)
    assert head == titles
    latex = [line for line in shown.to_latex().splitlines() if " & " in line or r" \\" in line]
    assert len(latex) == 1 + len(lines)
    assert all(line.count(" & ") == len(columns) - 1 for line in latex)
    marked = [line for line in shown.to_markdown().splitlines() if line[0:1] == "|"]
    in_markdown = [[unmarked(cell.strip()) for cell in row.split("|")[1:-1]] for row in marked]
    assert in_markdown[0] == titles
    figures = [
        place for place, name in enumerate(columns) if name in ("count", "share", *report.tools)
    ]
    for markdown, html in zip(in_markdown[2:], lines, strict=True):
        assert [markdown[place] for place in figures] == [html[place] for place in figures]
    text_lines = printed(shown, 1_000).splitlines()
    for row in lines:
        wanted = [row[place] for place in figures if row[place]]
        assert any(set(wanted) <= {*line.split()} for line in text_lines)


def text(value: object) -> str:
    return "" if value is None else str(value)


def html_rows(report: Report) -> list[list[str]]:
    page = ElementTree.fromstring(report.to_html())
    (found, *_) = page.iter("table")
    return [["".join(cell.itertext()) for cell in row] for row in found.iter("tr")]


@drawn
@given(views())
def test_shares_and_totals(view: tuple[Counts, list[str]]) -> None:
    report, _ = view
    of = report.groups or report.rows
    assert sum(one.count for one in of) == report.total
    for tool, total in report.counters.items():
        assert sum(one.counters[tool] or 0 for one in of) == total
    rows = replace(report, columns=("count", "share")).records().rows
    assert sum(Fraction(int(count or 0), report.total) for count, _ in rows) == 1
    assert all(share == int(count or 0) / report.total for count, share in rows)


@pytest.mark.parametrize("command", MEASURES)
@pytest.mark.parametrize("model", ["mae", "classifier", "layer"])
def test_groups_are_sums_of_ops(command: str, model: str) -> None:
    measure = Measure(command)
    tree = specify(model, mixer="lambda", options=SMALL[model]).formula()
    wanted = {by: Counter[str]() for by in ("type", "kind", "depth")}
    for node in tree.walk(fold=False):
        op = node.item
        if isinstance(op, Op):
            wanted["type"][op.type] += measure.of(op).value
            wanted["kind"][op.work.value.replace("_", " ")] += measure.of(op).value
            wanted["depth"][part(node.path)] += measure.of(op).value
    for by, sums in wanted.items():
        report = counts(command, model, "lambda", False, by)
        assert {one.name: one.count for one in report.groups if one.count} == +sums


def part(path: str) -> str:
    """Return the path of the block around a path; of what is in no block, its first part."""
    first, *others = path.split(".")
    return f"{first}.{others[0]}" if others and others[0].isdigit() else first


def test_elements_by_kind() -> None:
    report = counts("macs", "classifier", "lambda", False, "kind")
    found = {one.name: one.elements for one in report.groups if one.elements}
    assert found == {kind.replace("_", " "): n for kind, n in report.not_counted.items()}


def test_a_function_belongs_to_the_module_that_calls_it() -> None:
    attention = nn.MultiheadAttention(12, 3, batch_first=True)
    report = vitprof.macs(attention, [(2, 5, 12)] * 3, by="type", counters=["analytic"])
    assert {one.name: one.count for one in report.groups if one.count} == {
        "MultiheadAttention": 2 * 5 * 12 * 36 + 2 * 5 * 12 * 12,
        "MatMul": 2 * (2 * 3 * 5 * 5 * 4),
    }


class Towers(nn.Module):
    """Numbered blocks in a container, and a product in its own forward."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(6, 8)
        blocks = {f"block_{n}": nn.Sequential(nn.Linear(8, 8), nn.GELU()) for n in range(2)}
        self.body = nn.Sequential(OrderedDict({**blocks, "norm": nn.LayerNorm(8)}))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(self.stem(x))
        return y @ y.transpose(1, 2)


def test_what_a_tool_says_of_a_whole_module() -> None:
    layer = nn.TransformerEncoderLayer(12, 4, 24, batch_first=True)
    for module, shape in ((layer, (2, 5, 12)), (Towers(), (2, 5, 6))):
        for by in ("type", "kind", "depth"):
            report = vitprof.macs(module, shape, by=by)
            assert sum(group.count for group in report.groups) == report.total
            for tool, total in report.counters.items():
                assert sum(group.counters[tool] or 0 for group in report.groups) == total
    names = [group.name for group in report.groups]
    assert names == ["stem", "body.block_0", "body.block_1", "body.norm", "matmul", "whole modules"]
    product = 2 * 5 * 8 * 5  # in the model's own forward
    assert report.groups[-1].counters == {"torchinfo": None, "fvcore": product, "torch": product}


def test_columns_from_python() -> None:
    columns = ["layer", "output_numbers", "of-one", "torch"]
    report = vitprof.macs("layer", columns=columns, **SMALL["layer"])
    assert report.records().columns == ("path", "output_numbers", "each", "torch")
    assert [column.title for column in table_of(report).columns] == [
        *("layer", "output, numbers", "of one", "torch")
    ]


REFUSED = {
    "--columns=layer,size": "there is no column 'size'; known are layer, type, ",
    "--columns=layer,count,layer": "the column layer is named twice; name it once",
    "--columns=,": "there are no columns to show; name some of layer, type, ",
    "--columns=fvcore": "there is no column 'fvcore'; known are ",
    "--by=size": "by can be type, kind or depth, not 'size'",
    "--by=type --levels=2": "by type sums the layers of all levels; leave out levels",
    "--by=type --columns=layer": "there is no column 'layer'; did you mean layers? ",
    "--by=kind --columns=elements": "there is no column 'elements'; known are kind, layers, ",
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_is_refused(capsys: Capture, words: str) -> None:
    sentence = said(capsys, "params", "--counters=torch", *words.split())
    assert sentence.startswith(REFUSED[words])
