"""Comparisons in every format."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from io import StringIO
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import comparisons
import pytest
from commands import Capture, document, printed
from comparisons import NAMES, SHORT, table
from pyarrow import parquet

from vitprof.report.compare import Comparison

report = comparisons.report


def test_table(report: Comparison) -> None:
    lines = table(report, 160)
    cells = [re.split(r"  +", line.strip()) for line in lines]
    assert lines[0] == "Comparison of linear, attn, lambda and pool in layer, batch 1"
    heads = ["parameters", "MACs", "peak memory", "largest batch on H100 SXM5 80GB"]
    assert cells[2] == [*heads, "time on the GPU"]
    by_name = {side.name: side.amounts for side in report.sides}
    (row,) = (row for row in cells if row[0] == "lambda" and "×" in row[-1])
    own, first = by_name["lambda"], by_name["linear"]
    assert row[1:3] == [f"{own['params']:,}", f"×{own['params'] / first['params']:.2f}"]
    (row_of_first,) = (row for row in cells if row[:2] == ["linear", f"{first['params']:,}"])
    assert "×" not in "".join(row_of_first)
    assert row[3:5] == [f"{own['macs']:,}", f"×{own['macs'] / first['macs']:.2f}"]
    for crossing in report.crossovers:
        assert crossing.sentence in lines
    assert any(line.startswith("lambda ") and "key depth 16" in line for line in lines)


@pytest.mark.parametrize("width", [30, 60, 80, 120])
def test_narrow_table_cuts_no_figure(report: Comparison, width: int) -> None:
    lines = table(report, width)
    assert max(map(len, lines)) <= width
    text = "".join("".join(line.split()) for line in lines)
    assert "…" not in text
    for side in report.sides:
        assert f"{side.amounts['macs']:,}" in text


def test_a_tables_parts_say_all(report: Comparison) -> None:
    narrow = table(report, 40)
    headings = [line.split() for line in narrow if "that differ" in line]
    assert headings[0][:3] == ["parameters", "that", "differ"]
    assert sum(line.startswith("lambda  ") and "×" in line for line in narrow) > 1
    # A part leaves out the layers that none of its models has.
    starts = [place for place, line in enumerate(narrow) if "that differ" in line]
    rows = [row for start in starts for row in narrow[start + 2 : narrow.index("", start)]]
    assert len(starts) > 2
    assert all(re.search(r"\d", row) for row in rows)


def test_csv(report: Comparison) -> None:
    rows = list(csv.DictReader(StringIO(report.to_csv()), strict=True))
    whole = [row for row in rows if not row["path"]]
    assert [row["name"] for row in whole] == ["linear", *NAMES]
    for row, side in zip(whole, report.sides, strict=True):
        amounts = {name: type(value)(row[name]) for name, value in side.amounts.items()}
        assert (amounts, [*amounts]) == (side.amounts, [*report.measures])
        assert float(row["macs_ratio"]) == side.ratios["macs"]
        assert (row["model"], row["mixer"]) == ("layer", side.name)
    (scores,) = (row for row in rows if row["path"] == "mixer.scores")
    assert (scores["name"], scores["macs"], scores["params"]) == ("attn", str(49 * 49 * 12), "")


def test_markdown(report: Comparison) -> None:
    text = report.to_markdown()
    heads = [line for line, rule in pairwise(text.splitlines()) if rule.startswith("|:-")]
    titles = ["", "parameters that differ", "MACs that differ"]
    assert [re.split(r" *\| *", head)[1] for head in heads] == titles
    assert "| mixer.position_lambdas |" in text
    paragraphs = text.split("\n\n")
    assert len(report.crossovers) == 9  # of three mixers in three measures
    for crossing in report.crossovers:
        assert crossing.sentence in paragraphs
    assert "- spec: model layer, " in text


# Beside the 1,260 of the rest: 4 12² + 4 12 of attn; of lambda 3 heads of 16 queries, 16 keys and
# 4 values with biases, two norms, and 81 positions of 16 with a bias.
PARAMS = {
    "attn": 4 * 144 + 48 + 1_260,
    "lambda": 12 * 68 + 68 + 2 * 48 + 2 * 4 + 81 * 16 + 16 + 1_260,
}


def test_html(report: Comparison) -> None:
    page = ElementTree.fromstring(report.to_html())
    amounts, params, macs = page.iter("table")
    heads, *rows = [["".join(cell.itertext()) for cell in row] for row in amounts.iter("tr")]
    batch = "largest batch on H100 SXM5 80GB"
    assert heads[1::2] == ["parameters", "MACs", "peak memory", batch, "time on the GPU"]
    assert [row[0] for row in rows] == ["linear", *NAMES]
    assert rows[1][1:3] == [f"{PARAMS['attn']:,}", "×1.00"]
    assert [table.findtext("tr/th") for table in (params, macs)] == [
        "parameters that differ",
        "MACs that differ",
    ]
    paragraphs = ["".join(line.itertext()) for line in page.iter("p")]
    assert {crossing.sentence for crossing in report.crossovers} <= {*paragraphs}


def test_latex(report: Comparison) -> None:
    text = report.to_latex()
    assert f"\nattn & {PARAMS['attn']:,} & $\\times$1.00 & " in text
    assert f"\n\\quad position\\_lambdas &  &  & {1_312:,} &  \\\\\n" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 3


@pytest.mark.parametrize(
    ("suffix", "format", "start"),
    [
        ("txt", "table", "Comparison of attn, lambda and pool in layer"),
        ("md", "markdown", "**Comparison of attn, lambda and pool in layer"),
        ("tex", "latex", "% needs \\usepackage{booktabs}\n\\paragraph{Comparison of attn"),
        ("html", "html", '<div class="vitprof">\n<p><b>Comparison of attn'),
        ("csv", "csv", "name,model,mixer,path,params,params_ratio,macs,macs_ratio,"),
        ("json", "json", '{\n  "schema": "vitprof/2",\n  "command": "compare"'),
    ],
)
def test_output_file(
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    suffix: str,
    format: str,
    start: str,
) -> None:
    monkeypatch.setenv("COLUMNS", "160")  # which a table in a file has
    file = tmp_path / f"mixers.{suffix}"
    assert printed(capsys, *SHORT, f"--output={file}") == ""
    text = file.read_text(encoding="utf-8")
    assert text.startswith(start)
    assert text == printed(capsys, *SHORT, f"--format={format}")


def test_parquet(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "mixers.parquet"
    assert printed(capsys, *SHORT, "--layers", f"--output={file}") == ""
    table = parquet.read_table(file)
    rows = table.to_pylist()
    whole = {row["name"]: row for row in rows if not row["path"]}
    assert {name: whole[name]["params"] for name in PARAMS} == PARAMS
    assert whole["lambda"]["params_ratio"] == PARAMS["lambda"] / PARAMS["attn"]
    (scores,) = (row for row in rows if row["path"] == "mixer.scores")
    assert (scores["name"], scores["macs"], scores["params"]) == ("attn", 49 * 49 * 12, None)
    about = json.loads(table.schema.metadata[b"vitprof"])
    assert about == document(capsys, *SHORT, "--layers")


def test_no_colour_where_none_is_wanted() -> None:
    made = subprocess.run(
        [sys.executable, "-m", "vitprof", *SHORT, "--layers"],
        capture_output=True,
        check=True,
        timeout=60,
        env={"NO_COLOR": "1", "COLUMNS": "80", "PATH": ""},
    )
    assert b"\x1b" not in made.stdout
    assert max(map(len, made.stdout.decode().splitlines())) <= 80


def test_modules_as_csv(capsys: Capture) -> None:
    """A linear layer from 10 to 3 channels, and one that returns its input."""
    modules = "torch.nn:Linear,torch.nn:Identity"
    words = ("compare", f"--modules={modules}", "--inference", "--format=csv")
    arguments = ("--arg=in_features=10", "--arg=out_features=3", "--input=10")
    rows = csv.DictReader(StringIO(printed(capsys, *words, *arguments)))
    found = [(row["model"], row["mixer"], row["params"], row["macs"]) for row in rows]
    assert found == [
        ("torch.nn:Linear", "", str(10 * 3 + 3), str(10 * 3)),
        ("torch.nn:Identity", "", "0", "0"),
    ]
