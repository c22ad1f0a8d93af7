"""Sweeps in every format: on a terminal, in files, and as data."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree

import pytest
from commands import Capture, changed, printed, said

import vitprof
from vitprof.formulas.mixers import MIXERS
from vitprof.report.curves import Point
from vitprof.report.sweep import Sweep

SMALL = ("sweep", "--tokens=4:16:x2", "--mixers=attn,lambda", "--dim=8", "--heads=2")


def test_frame() -> None:
    found = vitprof.sweep(
        "layer",
        mixer="identity",
        measures=["macs", "params"],
        heads=1,
        dim="4,1000000",
        batch="1,1000000000",
    )
    frame = found.to_frame()
    assert [*frame] == ["curve", "dim", "batch", "macs", "params", "reason"]
    assert frame["params"].dtype == "Int64"
    assert frame["macs"].tolist()[-1] == 50 * 8 * 10**12 * 10**9


def test_formats(capsys: Capture) -> None:
    rows = [*csv.reader(StringIO(printed(capsys, *SMALL, "--format=csv")))]
    document = json.loads(printed(capsys, *SMALL, "--format=json"))
    assert rows[0] == ["curve", "tokens", "macs", "memory_bytes", "reason"]
    assert rows[1:] == [
        [
            point["curve"],
            *(
                str(point[where][name])
                for where, name in (("at", "tokens"), ("values", "macs"), ("values", "memory"))
            ),
            "",
        ]
        for point in document["points"]
    ]
    assert (document["schema"], document["command"]) == ("vitprof/2", "sweep")
    again = Sweep.from_json(json.dumps(document))
    assert json.loads(again.to_json()) == document
    again = replace(again, charts=True)
    assert printed(capsys, *SMALL, "--format=latex") == again.to_latex()
    html = printed(capsys, *SMALL, "--format=html")
    assert html == again.to_html()
    page = ElementTree.fromstring(html)
    tables = [[[cell.text for cell in row] for row in table.iter("tr")] for table in page]
    macs_of_attn = [f"{tokens * (12 * 8**2 + 2 * tokens * 8):,}" for tokens in (4, 8, 16)]
    assert [row[:2] for row in tables[1]] == [
        ["tokens", "attn"],
        *([tokens, macs] for tokens, macs in zip(("4", "8", "16"), macs_of_attn, strict=True)),
    ]
    assert [(chart.text or "").splitlines()[0] for chart in page.iter("pre")] == [
        "MACs of a forward pass, log scale",
        "peak memory of a training step",
    ]
    markdown = printed(capsys, *SMALL, "--format=markdown")
    macs = 4 * (12 * 8**2 + 2 * 4 * 8)
    assert f"|        4 |  {macs:,} |" in markdown
    assert "- spec: model layer," in markdown
    assert "```text\nMACs of a forward pass" in markdown
    assert markdown == again.to_markdown()


def test_a_sweep_says_the_same_in_python_and_on_the_command_line(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = vitprof.sweep(tokens="4:16:x2", mixers=["attn", "lambda"], dim=8, heads=2)
    for name, text in (
        ("csv", found.to_csv()),
        ("json", found.to_json()),
        ("markdown", found.to_markdown()),
        ("latex", found.to_latex()),
        ("html", found.to_html()),
    ):
        assert printed(capsys, *SMALL, "--no-chart", f"--format={name}") == text
    monkeypatch.setenv("COLUMNS", "160")
    assert printed(capsys, *SMALL, "--no-chart") == f"{found}\n"


@pytest.mark.parametrize("width", [80, 160])
def test_table(width: int, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    text = printed(capsys, *changed(SMALL, "--mixers=attn,lambda,pool"))
    lines = text.splitlines()
    assert lines[0] == "layer over tokens: attn, lambda, pool"
    assert max(map(len, lines)) <= width
    assert "\x1b" not in text
    assert not any(line != line.rstrip() for line in lines)
    rows = [line.split() for line in lines]
    assert ["tokens", "attn", "lambda", "pool"] in rows
    macs = 8 * (12 * 8**2 + 2 * 8 * 8)
    assert any(row[:2] == ["8", f"{macs:,}"] and row[-1] == "n/a" for row in rows)
    assert "pool, n/a   at 1 of 3 points: pool mixes neighbours" in text
    assert [*["attn", "lambda", "the", "first,", "4", "the", "first,", "4"]] in rows
    assert "MACs of a forward pass" in text
    assert "o attn   x lambda   + pool" in text
    without = printed(capsys, *SMALL, "--no-chart")
    assert "o attn" not in without


def test_no_number_is_broken(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Curves that do not fit the width are printed in further tables."""
    monkeypatch.setenv("COLUMNS", "60")
    curves = ["attn", "lambda", "linear", "performer", "xca", "hydra"]
    words = ("sweep", "--tokens=100000,200000", f"--mixers={','.join(curves)}", "--y=macs")
    text = printed(capsys, *words, "--no-chart")
    document = json.loads(printed(capsys, *words, "--format=json"))
    assert max(map(len, text.splitlines())) <= 60
    heads = [line.split() for line in text.splitlines() if line.split()[:1] == ["tokens"]]
    assert len(heads) > 1
    assert [curve for head in heads for curve in head[1:]] == curves
    cells = text.split()
    assert cells.count("200,000") == len(heads)
    for point in document["points"]:
        assert f"{point['values']['macs']:,}" in cells


def test_a_pipe_is_as_wide_as_the_curves_need(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    curves = [name for name, mixer in MIXERS.items() if not mixer().needs_grid]
    words = ("sweep", "--tokens=98,196", f"--mixers={','.join(curves)}", "--y=macs", "--no-chart")
    lines = printed(capsys, *words).splitlines()
    assert [line.split() for line in lines if line.startswith("tokens")] == [["tokens", *curves]]
    assert len(next(line for line in lines if line.startswith("tokens"))) > 160


def test_files(tmp_path: Path, capsys: Capture) -> None:
    for name, begins in (
        ("a.csv", "curve,"),
        ("a.json", "{"),
        ("a.md", "**layer over tokens: attn, lambda**"),
        ("a.txt", "layer"),
        ("a.tex", "% needs \\usepackage{booktabs}"),
        ("a.html", '<div class="vitprof">'),
    ):
        assert printed(capsys, *SMALL, f"--output={tmp_path / name}") == ""
        assert (tmp_path / name).read_text(encoding="utf-8").startswith(begins)
    figure = tmp_path / "a.svg"
    printed(capsys, *SMALL, f"--plot={figure}")
    assert "<svg" in figure.read_text(encoding="utf-8")
    assert "no directory" in said(capsys, *SMALL, f"--plot={tmp_path / 'none' / 'a.svg'}")


def test_parquet(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vitprof.cli.output.find_spec", lambda name: None)
    sentence = said(capsys, *SMALL, f"--output={tmp_path / 'a.parquet'}")
    assert sentence == (
        "parquet needs pyarrow, which is not installed; run pip install vitprof[parquet], or "
        "write .csv"
    )
    assert not [*tmp_path.iterdir()]


def test_parquet_where_pyarrow_is(tmp_path: Path, capsys: Capture) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    file = tmp_path / "a.parquet"
    words = ("sweep", "--model=layer", "--dim=8,1000000", "--batch=1,1000000000", "--heads=1,3")
    printed(capsys, *words, "--mixers=identity", "--tokens=50", "--y=macs", f"--output={file}")
    table = parquet.read_table(file)
    document = json.loads(
        printed(capsys, *words, "--mixers=identity", "--tokens=50", "--y=macs", "--format=json")
    )
    column = [None if count is None else int(count) for count in table["macs"].to_pylist()]
    assert None in column
    assert column == [point["values"]["macs"] for point in document["points"]]
    assert max(count for count in column if count is not None) > 2**63
    about = json.loads(table.schema.metadata[b"vitprof"])
    assert about["axes"] == {"heads": [1, 3], "dim": [8, 1_000_000], "batch": [1, 1_000_000_000]}


def test_point_without_a_value_is_empty() -> None:
    point = Point(curve="attn", at={"tokens": 4}, values={"macs": None}, reason="why, not")
    found = Sweep(
        spec={},
        workload={},
        versions={},
        convention="",
        axes={"tokens": (4,)},
        curves=("attn",),
        measures=("macs",),
        points=(point,),
        crossovers=(),
    )
    assert found.to_csv() == 'curve,tokens,macs,reason\nattn,4,,"why, not"\n'
