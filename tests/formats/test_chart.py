"""Scales, their ticks, and the chart in a terminal."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from html import unescape
from io import StringIO

import pytest
from rich.console import Console
from sweeps import THREE, TOKENS, make, quadratic_and_linear

from vitprof.formats.drawing.chart import chart
from vitprof.formats.drawing.curves import curves_of, option_of
from vitprof.formats.drawing.scale import (
    BYTES,
    COUNT,
    SECONDS,
    Unit,
    is_by_factor,
    is_wide,
    scale_of_measure,
    scale_of_option,
)

GIB = 2**30
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def test_a_range_of_more_than_thirty_is_logarithmic() -> None:
    assert not is_wide([10, 300])
    assert is_wide([10, 301])
    assert not is_wide([0, 1, 1000])  # zero is nowhere on such a scale
    assert scale_of_measure([10, 301], COUNT, 6).logarithmic
    assert not scale_of_measure([10, 300], COUNT, 6).logarithmic


def test_an_option_swept_by_a_factor_is_logarithmic() -> None:
    assert is_by_factor([64, 128, 256])
    assert not is_by_factor([64, 128])
    assert not is_by_factor([64, 128, 192])
    assert scale_of_option([64, 128, 256], 6).logarithmic
    assert not scale_of_option([64, 128, 192], 6).logarithmic


@pytest.mark.parametrize(
    ("most", "ticks"),
    [
        (9, ["64", "128", "256", "512", "1,024", "2,048", "4,096", "8,192", "16,384"]),
        (6, ["64", "256", "1,024", "4,096", "16,384"]),
        (4, ["64", "512", "4,096"]),
    ],
)
def test_ticks_of_an_option_are_its_values(most: int, ticks: list[str]) -> None:
    scale = scale_of_option(TOKENS, most)
    assert list(scale.ticks.values()) == ticks
    assert {*scale.ticks, *scale.minor} == {*TOKENS}


def test_ticks_of_many_values_are_round() -> None:
    scale = scale_of_option(range(501, 1502), 6)
    assert list(scale.ticks.values()) == ["600", "800", "1,000", "1,200", "1,400"]


@pytest.mark.parametrize(
    ("values", "unit", "ticks"),
    [
        ([5e6, 7e10], COUNT, ["10 M", "100 M", "1 G", "10 G", "100 G"]),
        ([2e3, 90e3], COUNT, ["2 k", "5 k", "10 k", "20 k", "50 k", "100 k"]),
        (
            [GIB // 256, 20 * GIB],
            BYTES,
            ["4 MiB", "16 MiB", "64 MiB", "256 MiB", "1 GiB", "4 GiB", "16 GiB"],
        ),
        ([0.002, 0.4], SECONDS, ["3 ms", "10 ms", "30 ms", "100 ms", "300 ms"]),
        # Linear: from zero where the largest is more than twice the least, else where they are.
        ([10e6, 22e6], COUNT, ["0", "5 M", "10 M", "15 M", "20 M"]),
        ([20e6, 22e6], COUNT, ["20 M", "20.5 M", "21 M", "21.5 M", "22 M"]),
        (
            [GIB, 3 * GIB],
            BYTES,
            ["0 bytes", "512 MiB", "1 GiB", "1.5 GiB", "2 GiB", "2.5 GiB", "3 GiB"],
        ),
    ],
)
def test_ticks_of_a_measure_bear_its_unit(
    values: list[float], unit: Unit, ticks: list[str]
) -> None:
    scale = scale_of_measure(values, unit, 7)
    assert list(scale.ticks.values()) == ticks
    assert all(0 <= scale.place(tick) <= 1 for tick in (*scale.ticks, *scale.minor))
    assert all(0 < scale.place(value) < 1 for value in values)


@pytest.mark.parametrize("value", [0, 7, 10**30])
def test_equal_values_have_an_axis(value: int) -> None:
    scale = scale_of_measure([value, value], COUNT, 6)
    assert scale.low < scale.high
    assert 0 <= scale.place(value) <= 1
    assert 2 <= len(scale.ticks) <= 6


def test_curves_go_along_the_option_of_most_values() -> None:
    assert option_of({"dim": (64, 128), "tokens": (16, 32, 64)}) == "tokens"
    assert option_of({"dim": (64,), "pool": ("mean", "token")}) is None
    assert option_of({"mask_ratio": (0.25, "1/3")}) == "mask_ratio"


def test_other_options_make_other_curves() -> None:
    sweep = make(
        lambda measure, curve, place: place["tokens"] * place["dim"],
        axes={"tokens": (3, 5, 7), "dim": (64, 128), "depth": (2,)},
        curves=("attn", "pool"),
    )
    curves = curves_of(sweep, "macs")
    assert [curve.name for curve in curves] == [
        "attn, dim 64",
        "attn, dim 128",
        "pool, dim 64",
        "pool, dim 128",
    ]
    assert list(curves[3].points) == [(3, 3 * 128), (5, 5 * 128), (7, 7 * 128)]
    assert [(curve.of, curve.variant) for curve in curves] == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_labels_name_the_unit() -> None:
    pixels = replace(THREE, units={"image_size": "pixels", "tokens": "tokens"})
    assert pixels.label_of_option("image_size") == "image size (pixels)"
    assert pixels.label_of_option("tokens") == "tokens"
    assert pixels.label_of_option("mlp_ratio") == "mlp ratio"
    assert THREE.label_of_measure("memory") == "peak memory of a training step"
    forward = make(
        quadratic_and_linear, axes={"tokens": TOKENS}, curves=("attn",), measures=("memory",)
    )
    forward = replace(forward, workload={"inference": True})
    assert forward.label_of_measure("memory") == "peak memory of a forward pass"


@pytest.mark.parametrize("width", [40, 80, 133])
def test_a_chart_fits_and_can_be_read_without_colour(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "61")  # what the terminal says matters not
    text = chart(THREE, "memory", width, colour=False)
    lines = text.splitlines()
    assert 0.9 * width < max(map(len, lines)) <= width
    assert not any(line != line.rstrip() for line in lines)
    assert "\x1b" not in text
    assert text.replace("\n", " ").startswith("peak memory of a training step, log scale ")
    assert lines[-2].strip() == "tokens, log scale"
    assert lines[-1] == "o attn   x lambda   + linear"
    panel = "\n".join(lines[1:-2])
    assert "8 GiB┤" in panel
    assert ("16,384" in panel) is (width > 40)
    # A mark at each point; 500 N and 400 N are so close that some lie under the other's.
    assert panel.count("+") == 8
    assert 6 <= panel.count("o") <= 9
    assert 2 <= panel.count("x") <= 9


def test_a_point_without_a_value_is_not_there() -> None:
    def only(measure: str, curve: str, place: Mapping[str, int]) -> int | None:
        return None if place["tokens"] in TOKENS[1::2] else place["tokens"] * 7

    sweep = make(only, axes={"tokens": TOKENS}, curves=("attn",))
    panel = "".join(chart(sweep, "macs", 80, colour=False).splitlines()[1:-2])
    assert panel.count("o") == 5
    assert not re.search("[\u2801-\u28ff]", panel)  # no dots of a line through what is not there
    assert curves_of(sweep, "macs")[0].runs[:2] == [[(64, 448)], [(256, 1792)]]


def test_colour_changes_nothing_else() -> None:
    coloured = chart(THREE, "macs", 80, colour=True)
    assert coloured.count("\x1b[38;5;") > 20
    plain = [line.rstrip() for line in ESCAPE.sub("", coloured).splitlines()]
    assert plain == chart(THREE, "macs", 80, colour=False).splitlines()
    # Each mixer has its own, in the key as in the panel.
    key = coloured.splitlines()[-1]
    assert len({*re.findall(r"\x1b\[38;5;(\d+)m", key)}) == 3


def test_no_curve_no_chart() -> None:
    one = make(quadratic_and_linear, axes={"tokens": (64,)}, curves=("attn",))
    assert chart(one, "macs", 80, colour=False) == ""
    gone = make(lambda *_: None, axes={"tokens": TOKENS}, curves=("attn",))
    assert chart(gone, "macs", 80, colour=False) == ""
    for dims, drawn in ((32, True), (33, False)):
        axes = {"tokens": tuple(range(1, 99)), "dim": tuple(range(dims))}
        sweep = make(lambda *_, **__: 7, axes=axes, curves=("attn",))
        assert bool(chart(sweep, "macs", 80, colour=False)) is drawn


def test_charts_stand_below_the_tables_of_a_report() -> None:
    charts = [chart(THREE, measure, 80, colour=False) for measure in ("macs", "memory")]
    report = replace(THREE, charts=True)
    blocks = "\n\n".join(f"```text\n{drawn}```" for drawn in charts)
    assert report.to_markdown() == f"{THREE.to_markdown()}\n{blocks}\n"
    below = report.to_html().removeprefix(THREE.to_html().removesuffix("</div>\n"))
    assert [unescape(pre) for pre in re.findall("<pre>(.*?)</pre>", below, re.S)] == charts
    assert "┤" not in THREE.to_html()
    # LaTeX takes the figure from its own file, and programs take the points.
    assert report.to_latex() == THREE.to_latex()
    assert report.to_json() == THREE.to_json()


def test_charts_are_as_wide_as_a_console_and_no_wider_than_a_file() -> None:
    report = replace(THREE, charts=True)
    for width, drawn in ((80, 80), (160, 160), (1000, 160)):
        stream = StringIO()
        Console(file=stream, width=width, color_system=None).print(report)
        lines = [line.rstrip() for line in stream.getvalue().splitlines()]
        chart_lines = chart(THREE, "macs", drawn, colour=False).splitlines()
        begin = lines.index("MACs of a forward pass, log scale")
        assert lines[begin : begin + len(chart_lines)] == chart_lines


def test_counts_beyond_64_bits_have_a_place() -> None:
    sweep = make(lambda m, c, at: 10**30 * at["tokens"], axes={"tokens": TOKENS}, curves=("attn",))
    assert "1e+" in chart(sweep, "macs", 80, colour=False)
