"""Settings of a figure: its size, caption and scales, on the command line and in Python."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import combinations, pairwise
from math import dist
from pathlib import Path
from random import Random
from struct import unpack
from typing import Any
from xml.etree import ElementTree

import pytest
from commands import Capture, refused
from figures import check_words, composed, curves, rings, words
from PIL import Image
from sweeps import THREE, TOKENS, crossover, make

import vitprof
from vitprof.cli import run
from vitprof.errors import SpecError
from vitprof.formats.drawing.drawing import Drawing, read_drawing
from vitprof.formats.drawing.scale import BYTES, COUNT, Unit, scale_of_measure
from vitprof.formats.drawing.size import Size, read_size
from vitprof.report.curves import AxisScale, Crossover, Scales
from vitprof.report.sweep import Sweep

SMALL = ("sweep", "--model=layer", "--tokens=8:64:x2", "--mixers=attn,linear")
NAMES = ("attn", "lambda", "linear", "performer", "linformer", "hydra", "xca", "aft")


def settings(**given: Any) -> Drawing:
    return read_drawing(
        **{"size": None, "caption": True, "x_scale": None, "y_scale": None, **given}
    )


@pytest.mark.parametrize(
    ("given", "size"),
    [
        ("3.3x2.5", (3.3, 2.5)),
        ("3.5", (3.5, 0)),
        ("10X6in", (10, 6)),
        ("84x60mm", (84 / 25.4, 60 / 25.4)),
        ("8.4x6 cm", (8.4 / 2.54, 6 / 2.54)),
    ],
)
def test_sizes(given: str, size: tuple[float, float]) -> None:
    assert read_size(given) == Size(*size)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("", "'' is not a width and a height in inches"),
        ("3.3*2.5", "is not a width and a height"),
        ("3.3x", "is not a width and a height"),
        ("-3x2", "is not a width and a height"),
        ("1e3x2", "is not a width and a height"),
        ("nanx2", "is not a width and a height"),
        ("250x180pt", "is not a width and a height"),
        ("0x2", "has a side of 0"),
        ("3x0", "has a side of 0"),
        ("31x2", "is above 30 inches"),
        ("3x" + "9" * 400, "is not a width and a height"),
    ],
)
def test_no_sizes(given: str, sentence: str) -> None:
    with pytest.raises(SpecError, match=re.escape(sentence)):
        read_size(given)


@pytest.mark.parametrize(
    ("size", "sentence"),
    [
        # Above 10 + 7 + 25.6 points of margins and titles, a panel is 44 points high: 1.21 inches.
        ("3.3x1", "3.3x1 inches has no room for 1 panel with 3 curves; give 3.3x1.3 or more"),
        ("1x1", "1x1 inches has no room for 1 panel with 3 curves"),
        (".5", "0.5 inches has no room for 1 panel with 3 curves"),
    ],
)
def test_a_size_without_room_is_refused_with_one_that_has(size: str, sentence: str) -> None:
    with pytest.raises(SpecError, match=re.escape(sentence)) as refusal:
        THREE.to_figure("png", measures=["macs"], size=size)
    least = re.findall(r"give ([0-9.x]+) or more", str(refusal.value))
    assert THREE.to_figure("png", measures=["macs"], size=least[0])


@pytest.mark.parametrize("caption", [True, False])
def test_the_size_is_that_without_the_caption(caption: bool) -> None:
    data = THREE.to_figure("png", size="4x2.5", caption=caption)
    wide, high = unpack(">II", data[16:24])
    assert wide == 4 * 300
    assert (high > 2.5 * 300) if caption else (high == 2.5 * 300)


def test_text_is_larger_in_a_larger_figure() -> None:
    large, small = (
        {
            text.get_text(): text.get_fontsize()
            for text in words(composed(THREE, settings(size=size)))
        }
        for size in ("14x7", "3.3x2.5")
    )
    assert small["attn"] == small["64"] == 7
    assert large["attn"] == large["64"] == 7 * 1.75


def test_text_is_as_in_a_column_where_a_long_legend_has_no_room_else() -> None:
    names = tuple(f"performer{number}" for number in range(32))
    sweep = make(lambda m, c, at: at["tokens"], axes={"tokens": TOKENS}, curves=names)
    sizes = {text.get_fontsize() for text in words(composed(sweep, settings(size="5x4")))}
    assert sizes == {7, 8}


@pytest.mark.parametrize("format", ["png", "svg", "pdf", "html"])
def test_conditions_are_in_the_file_without_a_caption(format: str, tmp_path: Path) -> None:
    condition = "Model layer, dim 128, heads 8, activation gelu. Batch 1"
    data = THREE.to_figure(format, measures=["macs"], caption=False)
    if format == "png":
        (tmp_path / "a.png").write_bytes(data)
        with Image.open(tmp_path / "a.png") as image:
            said = str(image.info["Description"])
            assert image.info["Title"] == "MACs of a forward pass over tokens"
    elif format == "pdf":
        found = re.search(rb"/Subject \((.*?)(?<!\\)\)", data, re.S)
        assert found is not None
        said = " ".join(found[1].decode("latin-1").replace("\\\n", "").split())
    else:
        text = data.decode()
        said = re.findall("<desc>(.*?)</desc>", text)[0]
        assert condition not in text.partition("</desc>")[2].partition("</svg>")[0]
    assert said.startswith(condition)
    assert "401: lambda below attn" in said


def test_a_description_is_text(tmp_path: Path) -> None:
    sweep = replace(THREE, spec={"model": "</desc><script>&"})
    root = ElementTree.fromstring(sweep.to_figure("svg", caption=False))
    assert "Model </desc><script>&." in str(root.findtext("{http://www.w3.org/2000/svg}desc"))


def test_scales_are_those_that_are_wanted() -> None:
    for x in AxisScale:
        for y in AxisScale:
            for axes in composed(THREE, Drawing(scales=Scales(x=x, y=y))).axes:
                assert (axes.get_xscale(), axes.get_yscale()) == (x, y)
                for axis in (axes.xaxis, axes.yaxis):
                    assert sum(bool(label.get_text()) for label in axis.get_ticklabels()) >= 2


def test_a_narrow_range_on_a_logarithmic_scale_has_ticks() -> None:
    sweep = make(
        lambda measure, curve, place: 1100 + place["dim"],
        axes={"dim": (110, 120, 130)},
        curves=("attn",),
    )
    (axes,) = composed(sweep, settings(x_scale="log", y_scale="log")).axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert sum(bool(label.get_text()) for label in axes.yaxis.get_ticklabels()) >= 2


@pytest.mark.parametrize("unit", [COUNT, BYTES])
@pytest.mark.parametrize("most", [2, 3, 5, 7])
def test_ticks_of_a_logarithmic_scale_have_room(unit: Unit, most: int) -> None:
    for low in (1, 3, 70, 4500):
        for ratio in (1, 1.01, 1.3, 3, 9, 25, 900, 10**9):
            scale = scale_of_measure([low, low * ratio], unit, most, AxisScale.LOG)
            assert scale.ticks
            places = [scale.place(tick) for tick in scale.ticks]
            assert all(0 <= place <= 1 for place in places)
            # Those of decades and powers of two are even, and not more than there is room for.
            least = 0.7 / most
            assert all(b - a > least for a, b in pairwise(places)), (low, ratio, scale.ticks)


def test_a_logarithmic_scale_leaves_out_zero_and_says_so() -> None:
    sweep = make(
        lambda measure, curve, place: place["tokens"] * (curve == "attn"),
        axes={"tokens": TOKENS},
        curves=("attn", "identity"),
    )
    drawn = composed(sweep, settings(y_scale="log"))
    assert [line.get_label() for line in curves(drawn.axes[0])] == ["attn"]
    assert b"scale cannot show: identity at 9. Made by" in sweep.to_figure(y_scale="log")
    assert len(curves(composed(sweep, settings(y_scale="linear")).axes[0])) == 2
    text = str(replace(sweep, charts=True, scales=Scales(y=AxisScale.LOG)))
    assert "MACs of a forward pass, log scale, without values of 0\n" in text
    none = make(lambda *_: 0, axes={"tokens": TOKENS}, curves=("identity",))
    with pytest.raises(SpecError, match="values at two points"):
        none.to_figure(y_scale="log")


def test_crossovers_that_lie_together_have_one_ring() -> None:
    ats = (400, 401, 404, 410, 4000)
    found = tuple(
        crossover("macs", at, 1000 * 500 * at, cheaper=cheaper)
        for at in ats
        for cheaper in ("lambda", "linear")
    )
    figure = composed(replace(THREE, crossovers=found, measures=("macs",)))
    assert len(rings(figure.axes[0])) == 2
    assert {"400–410", "4,000"} < {text.get_text() for text in words(figure)}
    check_words(figure)


def crossing(random: Random, names: tuple[str, ...], measures: tuple[str, ...]) -> Sweep:
    """Return a sweep of random power laws that cross near one place; some points are missing."""
    laws = {
        (measure, name): (random.uniform(0.5, 2), random.choice([0.9, 1, 1.1, 1.5, 2]))
        for measure in measures
        for name in names
    }
    gaps = {(random.choice(names), random.choice(TOKENS[1:])) for _ in range(2)}

    def cost(measure: str, name: str, place: Any) -> int | None:
        factor, power = laws[measure, name]
        gone = (name, place["tokens"]) in gaps
        return None if gone else int(10**6 * factor * (place["tokens"] / 1000) ** power)

    found: list[Crossover] = []
    for measure in measures:
        for one, other in combinations(names, 2):
            (a, p), (b, q) = laws[measure, one], laws[measure, other]
            at = int(1000 * (a / b) ** (1 / (q - p))) if p != q else 0
            if TOKENS[0] < at < TOKENS[-1]:
                cheaper, than = (one, other) if p < q else (other, one)
                value = int(10**6 * a * (at / 1000) ** p)
                found.append(crossover(measure, at, value, cheaper=cheaper, than=than))
    return make(
        cost,
        axes={"tokens": TOKENS},
        curves=names,
        measures=measures,
        crossovers=tuple(found),
    )


@pytest.mark.parametrize("seed", range(8))
def test_any_combination_of_settings(seed: int) -> None:
    random = Random(seed)
    names = NAMES[: random.randint(1, 8)]
    measures = ("macs", "memory", "params")[: random.randint(1, 3)]
    sweep = crossing(random, names, measures)
    drawing = settings(
        size=random.choice([None, "3.3", "7", "3.3x2.5", "3.5x4", "7x2.4", "10x6", "84x84mm"]),
        caption=random.random() < 0.5,
        x_scale=random.choice([None, *AxisScale]),
        y_scale=random.choice([None, *AxisScale]),
    )
    try:
        figure = composed(sweep, drawing)
    except SpecError:  # no room
        drawing = replace(drawing, size=Size(10, 6))
        figure = composed(sweep, drawing)
    check_words(figure)
    assert [axes.get_label() for axes in figure.axes] == [*measures]
    for axes in figure.axes:
        assert len(curves(axes)) == len(names)
        assert axes.bbox.width >= 70
        assert axes.bbox.height >= 43.9
        apart = [dist(*pair) for pair in combinations(rings(axes), 2)]
        assert all(distance > 7 for distance in apart)  # rings of 3.6 points
        for low, high in pairwise(
            sorted(label.get_position()[0] for label in axes.get_xticklabels())
        ):
            assert low < high
    if not drawing.caption and drawing.size.height:
        assert figure.get_size_inches() == pytest.approx((drawing.size.width, drawing.size.height))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--figure-size=3x2"], "--figure-size has no effect without a figure; add --plot FILE"),
        (["--no-caption"], "--no-caption has no effect without a figure; add --plot FILE"),
        (["--x-scale=log", "--format=csv"], "--x-scale has no effect without a chart or a figure"),
        (["--y-scale=log", "--no-chart"], "--y-scale has no effect without a chart or a figure"),
        (["--y-scale=cubic"], "no scale of the y axis 'cubic'; known are linear and log"),
        (["--figure-size=big"], "figure size 'big' is not a width and a height"),
        (["--dropout=0,0.1,0.2", "--tokens=8", "--x-scale=log"], "dropout 0 has no place on a log"),
    ],
)
def test_settings_without_effect_are_refused(
    capsys: Capture, options: list[str], sentence: str
) -> None:
    words = [word for word in SMALL if word.partition("=")[0] not in " ".join(options)]
    assert sentence in refused(capsys, *words, *options)


@pytest.mark.parametrize(
    "second", ["b.bmp", "none/b.png", "--figure-size=3.3x1"], ids=["suffix", "directory", "size"]
)
def test_nothing_is_written_if_one_figure_is_refused(
    capsys: Capture, tmp_path: Path, second: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        pytest.fail("computed before the files were checked")

    monkeypatch.setattr("vitprof.api.sweep._by_formula", never)
    other = second if second.startswith("--") else f"--plot={tmp_path / second}"
    refused(capsys, *SMALL, f"--plot={tmp_path / 'a.svg'}", other)
    assert not [*tmp_path.iterdir()]


def test_figures_are_the_same_in_python(capsys: Capture, tmp_path: Path) -> None:
    given = ("--figure-size=3.3x2.5", "--no-caption", "--x-scale=linear", "--y-scale=log")
    files = [tmp_path / f"a.{suffix}" for suffix in ("svg", "png", "pdf")]
    assert run([*SMALL, *given, *(f"--plot={file}" for file in files)]) == 0
    capsys.readouterr()
    sweep = vitprof.sweep("layer", tokens="8:64:x2", mixers=["attn", "linear"])
    for file in files:
        assert file.read_bytes() == sweep.to_figure(
            file.suffix[1:], size="3.3x2.5", caption=False, x_scale="linear", y_scale="log"
        )
    with pytest.raises(SpecError, match="no format of a figure 'jpg'"):
        sweep.to_figure("jpg")
    with pytest.raises(SpecError, match="begin above 0"):
        vitprof.sweep("layer", dropout=(0, 0.1, 0.2)).to_figure(x_scale="log")
    with pytest.raises(SpecError, match="no measure 'time'"):
        sweep.to_figure(measures=["time"])
