"""Every format says the same: each is read back and laid beside the report."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from io import StringIO
from itertools import takewhile
from typing import Any, NamedTuple, NoReturn
from xml.etree import ElementTree

import pandas
import pytest
import torch
from pandas.testing import assert_frame_equal
from rich.console import Console

import vitprof
from vitprof.counters import COUNTERS
from vitprof.formulas.mixers import MIXERS
from vitprof.formulas.models import MODELS
from vitprof.report.formats import Format, render
from vitprof.report.report import Report, Row

Record = dict[str, Any]

SMALL: dict[str, dict[str, Any]] = {
    "mae": {"image_size": 24, "patch_size": 4, "channels": 3, "dim": 24, "depth": 3, "heads": 3}
    | {"decoder_dim": 20, "decoder_depth": 2, "decoder_heads": 5, "mask_ratio": "0.3"},
    "classifier": {"dim": 33, "depth": 3, "heads": 3, "mlp_ratio": "2.7"},
    "layer": {"tokens": 7, "dim": 15, "heads": 3},
}
MEASURES: dict[str, Callable[..., Report]] = {"params": vitprof.params, "macs": vitprof.macs}
SPELLED = [
    pytest.param((command, model, mixer, fold), id="-".join((command, model, mixer, how)))
    for command in MEASURES
    for model in MODELS
    for mixer in ("attn", "lambda")
    for fold, how in ((False, "full"), (True, "fold"))
]
ALL_REPORTS = pytest.mark.parametrize("report", SPELLED, indirect=True)


@cache
def profile(command: str, model: str, mixer: str, fold: bool) -> Report:
    return MEASURES[command](model, mixer=mixer, fold=fold, **SMALL[model])


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Small sizes: threads would spend their time on waiting for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Report:
    return profile(*request.param)


@pytest.fixture(scope="module")
def default_mae() -> Report:
    return vitprof.params("mae", mixer="lambda", fold=True)


def record(row: Row) -> Record:
    """A row without its place in the tree, the tools beside the other columns."""
    names = ("path", "type", "repeat", "formula", "numbers", "each", "count")
    return {name: getattr(row, name) for name in names} | dict(row.counters)


def typed(cells: dict[str, str]) -> Record:
    """Cells of text as the values that they stand for; an empty count is None."""
    words = {"path", "type", "formula", "numbers"}
    return {
        name: cell if name in words else int(cell.replace(",", "")) if cell else None
        for name, cell in cells.items()
    }


def from_csv(report: Report) -> list[Record]:
    reader = csv.DictReader(StringIO(render(report, Format.CSV)), strict=True)
    return [typed(cells) for cells in reader]


def from_json(report: Report) -> list[Record]:
    rows = json.loads(render(report, Format.JSON))["rows"]
    return [row | row.pop("counters") for row in rows]


def from_markdown(report: Report) -> list[Record]:
    lines = [line for line in render(report, Format.MARKDOWN).splitlines() if line[0:1] == "|"]
    header, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    return [typed(dict(zip(header, row, strict=True))) for row in rows]


def from_html(report: Report) -> list[Record]:
    page = ElementTree.fromstring(f"<body>{report._repr_html_()}</body>")
    rows = [[(cell.text or "").strip() for cell in row] for row in page.iter("tr")]
    return [typed(dict(zip(rows[0], row, strict=True))) for row in rows[1:]]


def from_frame(report: Report) -> list[Record]:
    frame = report.to_frame().astype(object)
    records: list[Any] = frame.where(frame.notna(), None).to_dict("records")
    return records


READERS = [from_csv, from_json, from_markdown, from_html, from_frame]


class Table(NamedTuple):
    """A printed table: the cells of its rows and of its totals, by column."""

    rows: list[dict[str, str]]
    totals: list[dict[str, str]]


_COLUMN = re.compile(rf"of one|count|{'|'.join(COUNTERS)}|layer|type|formula|numbers")
_LEFT = {"layer", "type", "formula", "numbers"}  # these come first; the others are figures


def printed(report: Report, width: int) -> str:
    text = StringIO()
    Console(file=text, width=width, color_system=None).print(report)
    return text.getvalue()


def cells_of(line: str, columns: list[re.Match[str]]) -> dict[str, str]:
    """A line's cells; figures end where their headers end, texts start where theirs start."""
    cells, rest = {}, line.ljust(columns[-1].end())
    for column in reversed([column for column in columns if column[0] not in _LEFT]):
        cells[column[0]] = rest[: column.end()].split(" ")[-1]
        rest = rest[: column.end() - len(cells[column[0]])]
    end = None
    for column in reversed([column for column in columns if column[0] in _LEFT]):
        cells[column[0]] = rest[column.start() : end].rstrip()
        end = column.start()
    return cells


def tables(text: str) -> Iterator[Table]:
    """The tables with counts in a text."""
    lines = [line.rstrip() for line in text.splitlines()]
    for place, line in enumerate(lines):
        columns = [*_COLUMN.finditer(lines[place - 1])]
        if not re.fullmatch("─+", line) or "count" not in [column[0] for column in columns]:
            continue
        table = Table([], [])
        body = iter(lines[place + 1 :])
        for section in table:
            for cells in (cells_of(row, columns) for row in takewhile(bool, body)):
                if cells["count"]:
                    section.append(cells)
                    continue
                for name in cells.keys() & _LEFT:  # what did not fit into the line above
                    section[-1][name] = f"{section[-1][name]} {cells[name]}".rstrip()
        yield table


def with_paths(rows: list[dict[str, str]]) -> Iterator[Record]:
    """The rows of a table, each under its path; a row's label shows only where it lies."""
    parents: list[str] = []
    for cells in rows:
        label = cells.pop("layer")
        name = label.strip().partition(" ×")[0]
        parents = [*parents[: (len(label) - len(label.lstrip())) // 2], name]
        yield typed({"path": ".".join(parents), **cells})


@ALL_REPORTS
def test_rows_add_up(report: Report) -> None:
    headline = "all" if report.command == "params" else "macs"
    assert sum(row.count for row in report.rows) == report.totals[headline] == report.total
    for tool, total in report.counters.items():
        assert sum(row.counters[tool] or 0 for row in report.rows) == total
    assert report.counters.keys() == COUNTERS.keys()


@ALL_REPORTS
@pytest.mark.parametrize("reader", READERS)
def test_formats_agree(report: Report, reader: Callable[[Report], list[Record]]) -> None:
    assert reader(report) == [record(row) for row in report.rows]


@ALL_REPORTS
def test_table_agrees(report: Report) -> None:
    (table,) = tables(printed(report, 240))
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


@ALL_REPORTS
def test_totals_stand_below_markup(report: Report) -> None:
    markdown = render(report, Format.MARKDOWN).splitlines()
    page = ElementTree.fromstring(f"<body>{report._repr_html_()}</body>")
    html = " ".join("".join(part.itertext()) for part in page.iter("p"))
    for name, count in report.totals.items():
        assert f"- {name.replace('_', ' ')}: {count:,}" in markdown
        assert f"{name.replace('_', ' ')} {count:,}" in html
    for tool, count in report.counters.items():
        assert f"- {tool} says: {count:,}" in markdown
        assert f"{tool} {count:,}" in html


@ALL_REPORTS
def test_csv_loads_in_pandas(report: Report) -> None:
    text, frame = render(report, Format.CSV), report.to_frame()
    assert frame.to_csv(index=False) == text
    loaded = pandas.read_csv(StringIO(text))
    # A layer without a closed form has an empty one, which pandas takes for a missing value.
    assert_frame_equal(loaded.fillna({"formula": "", "numbers": ""}), frame, check_dtype=False)


@ALL_REPORTS
def test_json_is_the_contract(report: Report) -> None:
    document = json.loads(render(report, Format.JSON))
    assert document["schema"] == "vitprof/1"
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


def test_default_mae(default_mae: Report) -> None:
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
    document = json.loads(render(default_mae, Format.JSON))
    assert document["totals"] == totals
    assert document["counters"] == dict.fromkeys(COUNTERS, totals["all"])


def test_folded_and_full(default_mae: Report) -> None:
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
    report = vitprof.macs("mae", levels=levels, fold=fold, counters=["torch"], **SMALL["mae"])
    assert sum(row.count for row in report.rows) == report.total
    assert sum(row.counters["torch"] or 0 for row in report.rows) == report.total
    # The deepest is a part of a mixer, `blocks.0.mixer.qkv`.
    assert max(len(row.path.split(".")) for row in report.tree) == min(levels, 4)
    for reader in READERS:
        assert reader(report) == [record(row) for row in report.rows]


WIDE: dict[str, Callable[[], Report]] = {
    "folded": lambda: vitprof.params("mae", mixer="lambda", fold=True),
    "full": lambda: profile("macs", "classifier", "lambda", False),
    "batch": lambda: vitprof.macs("layer", batch=100, tokens=50),
    "absurd": lambda: vitprof.macs(
        "layer", batch=10**6, tokens=10**5, dim=10**4, counters=["analytic"]
    ),
}


@pytest.mark.parametrize("width", [40, 80, 120, 160, 240])
@pytest.mark.parametrize("make", WIDE.values(), ids=WIDE)
def test_no_width_cuts_a_figure(make: Callable[[], Report], width: int) -> None:
    report = make()
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
        assert [row["count"] for row in table.totals] == [f"{c:,}" for c in report.totals.values()]
    for tool, total in report.counters.items():
        said = [row[tool] for table in shown for row in table.totals if row.get(tool)]
        assert said == [f"{total:,}"]


@pytest.mark.parametrize(
    ("sizes", "tools"),
    [
        ({"batch": 10**6, "tokens": 10**5, "dim": 10**4}, ["torch"]),  # two of 27 characters
        ({"batch": 10**9, "tokens": 10**7, "dim": 10**6}, ["analytic"]),  # one of 39
    ],
)
def test_figures_as_wide_as_the_screen(sizes: dict[str, Any], tools: list[str]) -> None:
    """A column of figures leaves no room for another, or for anything else."""
    report = vitprof.macs("layer", counters=tools, **sizes)
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
    """A row of which a tool says nothing is not one of which it says zero."""
    report = profile("macs", "layer", "attn", False)
    first, second, *rest = report.tree
    unsaid, zero = ({**row.counters, "torch": said} for row, said in ((first, None), (second, 0)))
    tree = (replace(first, counters=unsaid), replace(second, counters=zero), *rest)
    report = replace(report, tree=tree)
    for reader in READERS:
        assert reader(report) == [record(row) for row in report.rows]
    (table,) = tables(printed(report, 240))
    assert [row["torch"] for row in table.rows[:2]] == ["", "0"]


REASON = "no <rule> for R&D|"


@pytest.fixture
def unavailable(monkeypatch: pytest.MonkeyPatch) -> Report:
    """A report on which fvcore has nothing to say."""

    def refuse(module: object, *inputs: object) -> NoReturn:
        raise RuntimeError(REASON)

    monkeypatch.setitem(COUNTERS, "fvcore", replace(COUNTERS["fvcore"], macs=refuse))
    report = vitprof.macs("layer", **SMALL["layer"])
    assert report.counters.keys() == COUNTERS.keys() - {"fvcore"}
    assert REASON in report.unavailable["fvcore"]
    return report


def test_unavailable_in_a_table(unavailable: Report) -> None:
    for width in (40, 80, 160):
        text = printed(unavailable, width)
        (table,) = [table for table in tables(text) if "fvcore" in table.rows[0]]
        assert {row["fvcore"] for row in table.rows} == {"n/a"}
        assert [row["fvcore"] for row in table.totals] == ["n/a", ""]
        assert REASON in " ".join(text.split())


def test_unavailable_in_json(unavailable: Report) -> None:
    document = json.loads(render(unavailable, Format.JSON))
    assert document["unavailable"] == dict(unavailable.unavailable)
    assert "fvcore" not in document["counters"]


def test_unavailable_in_markdown(unavailable: Report) -> None:
    (line,) = [line for line in render(unavailable, Format.MARKDOWN).splitlines() if REASON in line]
    assert line.startswith("- fvcore, n/a: ")


def test_unavailable_in_html(unavailable: Report) -> None:
    html = unavailable._repr_html_()
    assert "<rule>" not in html
    page = ElementTree.fromstring(f"<body>{html}</body>")
    (line,) = [text for p in page.iter("p") if REASON in (text := "".join(p.itertext()))]
    assert line.startswith("fvcore, n/a: ")


def test_unavailable_in_csv(unavailable: Report) -> None:
    frame = pandas.read_csv(StringIO(render(unavailable, Format.CSV)))
    assert_frame_equal(
        frame.fillna({"formula": "", "numbers": ""}), unavailable.to_frame(), check_dtype=False
    )


def test_table_file_is_what_a_console_prints(default_mae: Report) -> None:
    on_console = [line.rstrip() for line in printed(default_mae, 160).splitlines()]
    assert render(default_mae, Format.TABLE).splitlines() == on_console


def test_colours_change_no_letter(default_mae: Report) -> None:
    text = StringIO()
    Console(file=text, width=160, force_terminal=True, color_system="standard").print(default_mae)
    assert "\x1b[" in text.getvalue()
    assert re.sub(r"\x1b\[[0-9;]*m", "", text.getvalue()) == printed(default_mae, 160)
