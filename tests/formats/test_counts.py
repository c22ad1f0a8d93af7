"""Counts: rows of layers beside what the tools say, the same in every format."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from xml.etree import ElementTree

import counted
import pandas
import pytest
import threads
from counted import READERS, Record, for_people, record, tables, with_paths
from pandas.testing import assert_frame_equal
from rendered import unmarked, with_separators
from reports import MEASURES, SMALL, printed, profile

import vitprof
from vitprof.counters import TOOLS
from vitprof.formulas.mixers import MIXERS
from vitprof.formulas.models import MODELS
from vitprof.report.counts import Counts

one_thread = threads.one_thread
default_mae = counted.default_mae

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
    assert "\nblocks.0-11 ×12 " in printed(full, 160)  # what people read is folded
    full = vitprof.params("mae", mixer="lambda", counters=["analytic"], fold=False)
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
    report = replace(report, tree=tree, folded=tree)
    for reader in READERS:
        assert reader(report) == [record(row) for row in report.rows]
    (table,) = tables(printed(report, 1_000))
    assert [row["torch"] for row in table.rows[:2]] == ["", "0"]
