"""Figure of a sweep: its formats, texts, curves and their positions."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from itertools import combinations
from math import isnan
from pathlib import Path
from struct import unpack
from xml.etree import ElementTree

import matplotlib
import numpy
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from sweeps import THREE, TOKENS, crossover, make, quadratic_and_linear

from vitprof.cli import run
from vitprof.errors import SpecError
from vitprof.formats.drawing.caption import caption_of
from vitprof.formats.drawing.figure import compose, style
from vitprof.formats.drawing.labels import Box, place_label, spread
from vitprof.formats.drawing.plot import Picture, draw, find_picture
from vitprof.formulas.mixers import MIXERS
from vitprof.report.sweep import Sweep

HOME = Path(__file__).parents[2]
FIGURE = re.compile(r"^!\[[^]]+\]\((\S+\.svg)\)\n\n```bash\nvitprof (.*)\n```", re.M)

CLOSE = make(  # ends that are within 4 % of one another, and names of their own lengths
    lambda measure, curve, place: (100 + sorted(MIXERS).index(curve)) * place["tokens"] ** 2,
    axes={"tokens": TOKENS},
    curves=tuple(sorted(MIXERS)[:12]),
)
GRID = make(
    lambda measure, curve, place: place["image_size"] * place["dim"] * len(curve),
    axes={"image_size": (32, 64, 96, 128), "dim": (64, 128)},
    curves=("external-attention", "lambda"),
    measures=("params", "memory", "time"),
)
MANY_CROSSINGS = replace(
    THREE,
    crossovers=tuple(
        crossover("macs", at, 1000 * (at**2 + 100 * at))
        for at in (100, 170, 300, 330, 400, 600, 6000)
    ),
)

FALLING = make(  # where a word would stand first, to the upper left, a curve goes through
    lambda measure, curve, place: {"attn": 10**12 // place["tokens"], "lambda": 10**9}[curve],
    axes={"tokens": TOKENS},
    curves=("attn", "lambda"),
    crossovers=(crossover("macs", 1000, 10**9, cheaper="attn", than="lambda"),),
)


def composed(sweep: Sweep, measures: tuple[str, ...] = (), width: float = 0) -> Figure:
    with style():
        figure = compose(sweep, measures or sweep.measures, width)
        FigureCanvasAgg(figure).draw()  # type: ignore[no-untyped-call]
    return figure


@pytest.fixture(scope="module")
def three() -> Figure:
    return composed(THREE)


def curves(axes: Axes) -> list[Line2D]:
    return [line for line in axes.lines if not str(line.get_label()).startswith("crossover")]


def rings(axes: Axes) -> list[tuple[float, float]]:
    ringed = [line for line in axes.lines if str(line.get_label()).startswith("crossover")]
    return [point for line in ringed for point in points(line)]


def points(line: Line2D) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in numpy.asarray(line.get_xydata())]


def words(figure: Figure) -> list[Text]:
    """Return every visible text."""
    return [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]


def test_png_is_as_wide_as_a_paper() -> None:
    for measures, inches in (((), 7), (("macs",), 3.5)):
        data = draw(THREE, Picture.PNG, measures)
        assert data.startswith(b"\x89PNG\r\n\x1a\n")
        wide, high = unpack(">II", data[16:24])
        assert wide == inches * 300
        assert 0.3 < high / wide < 1.2


def test_svg_has_every_word() -> None:
    data = draw(THREE, Picture.SVG)
    root = ElementTree.fromstring(data)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("width") == "504pt"
    # The outlines of a text come with the text as a comment.
    said = [text.strip() for text in re.findall(r"<!--(.*?)-->", data.decode(), re.S)]
    assert {"tokens", "MACs of a forward pass", "peak memory of a training step"} <= {*said}
    assert {"attn", "lambda", "linear", "10 G", "1 GiB", "16,384", "401", "301"} <= {*said}
    assert "dim 128, heads 8, activation gelu. Batch 1, dtype fp32" in " ".join(said)
    assert b"<text" not in data  # the fonts of the machine have no effect


def test_pdf_embeds_true_type() -> None:
    data = draw(THREE, Picture.PDF, ("macs",))
    assert data.startswith(b"%PDF-1.")
    assert data.rstrip().endswith(b"%%EOF")
    assert b"/Type3" not in data
    assert b"/FontFile2" in data
    assert b"CreationDate" not in data


class Page(HTMLParser):
    """Parser of the tags of a page and of the cells of its table."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.cells: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        if self.lasttag in ("td", "th"):
            self.cells[-1] += data.strip()


def test_html_has_the_figure_and_the_exact_numbers() -> None:
    sweep = make(
        lambda measure, curve, place: 10**20 + place["tokens"] if place["tokens"] > 64 else None,
        axes={"tokens": TOKENS},
        curves=("<b>$\\x_1$&",),
    )
    page = Page(draw(sweep, Picture.HTML).decode())
    assert page.tags.count("svg") == 1
    assert "b" not in page.tags
    assert page.tags.count("tr") == 1 + 9
    assert page.cells[:4] == ["curve", "tokens", "macs", "reason"]
    assert page.cells[4:8] == ["<b>$\\x_1$&", "64", "", "8 heads do not divide it"]
    assert page.cells[8:12] == ["<b>$\\x_1$&", "128", "100,000,000,000,000,000,128", ""]


@pytest.mark.parametrize("picture", Picture)
def test_the_same_sweep_gives_the_same_bytes(picture: Picture) -> None:
    first = draw(THREE, picture, ("macs",))
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9, "svg.fonttype": "none"}):
        settings = dict(matplotlib.rcParams)
        assert draw(THREE, picture, ("macs",)) == first
        assert dict(matplotlib.rcParams) == settings


def test_a_figure_is_drawn_quietly_and_without_pyplot() -> None:
    """This also holds if the font cache cannot be written."""
    code = (
        "import sys, logging; sys.path.insert(0, sys.argv[1])\n"
        "from sweeps import THREE\n"
        "from vitprof.formats.drawing.plot import Picture, draw, find_picture\n"
        "find_picture('a.svg', THREE.axes, 3)\n"
        "assert 'matplotlib' not in sys.modules\n"
        "assert draw(THREE, Picture.PDF)\n"
        "assert not {'matplotlib.pyplot', 'torch', 'pandas'} & set(sys.modules)\n"
        "assert logging.getLogger('matplotlib').level == 0"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, Path(__file__).parents[1] / "helpers"],
        capture_output=True,
        text=True,
        env={"MPLCONFIGDIR": "/dev/null/nowhere", "HOME": "/dev/null"},
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_the_figure_of_the_documentation_is_what_its_command_draws(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Compare bytes, for the versions in constraints.txt; after a change run the command again."""
    pages = [HOME / "README.md", *(HOME / "docs").glob("*.md")]
    found = [(page, *figure) for page in pages for figure in FIGURE.findall(read(page))]
    ((page, shown, command),) = found
    *words, option, file = shlex.split(command)
    assert option == "--plot"
    assert (page.parent / shown).resolve() == HOME / file
    assert f"]({file})" in read(HOME / "README.md")
    assert run([*words, option, str(tmp_path / "anew.svg")]) == 0
    assert "cheaper" in capsys.readouterr().out
    anew, kept = read(tmp_path / "anew.svg"), read(HOME / file)
    assert (HOME / file).stat().st_size < 120_000
    # The words first, which say in a line what differs.
    words = re.findall("<!-- (.*?) -->", anew)
    assert words == re.findall("<!-- (.*?) -->", kept)
    # N x N x D twice, against N x D x d twice with d = 128 / 8 = 16: equal at 16 tokens.
    assert "17" in words
    assert anew == kept


def read(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def test_the_suffix_says_which_picture() -> None:
    assert find_picture("a/figure.SVG", THREE.axes, 3) is Picture.SVG
    for name in ("figure.jpg", "figure", "svg", "figure.svg.gz"):
        with pytest.raises(SpecError, match=r"end it in \.png, \.svg, \.pdf or \.html$"):
            find_picture(name, THREE.axes, 3)


def test_what_cannot_be_drawn_is_refused_at_once() -> None:
    with pytest.raises(SpecError, match=r"there is one \(tokens 64\); sweep an option over two"):
        find_picture("a.png", {"tokens": (64,)}, 3)
    find_picture("a.png", {"tokens": TOKENS, "dim": (64, 128)}, 16)
    with pytest.raises(SpecError, match="34 curves along tokens cannot be told apart"):
        find_picture("a.png", {"tokens": TOKENS, "dim": (64, 128)}, 17)
    with pytest.raises(SpecError, match="9 curves along image size cannot be told apart"):
        find_picture("a.png", {"image_size": tuple(range(32, 999, 32)), "dim": TOKENS}, 1)
    gone = make(lambda *_: None, axes={"tokens": TOKENS}, curves=("attn",))
    with pytest.raises(SpecError, match="values at two points, and macs have 0"):
        draw(gone, Picture.PNG)


def test_every_point_is_drawn_and_none_without_a_value(three: Figure) -> None:
    for axes, measure in zip(three.axes, ("macs", "memory"), strict=True):
        assert axes.get_label() == measure
        assert [line.get_label() for line in curves(axes)] == ["attn", "lambda", "linear"]
        for line in curves(axes):
            expected = [
                quadratic_and_linear(measure, str(line.get_label()), {"tokens": tokens})
                for tokens in TOKENS
            ]
            drawn = points(line)
            assert tuple(at for at, _ in drawn) == TOKENS
            assert [None if isnan(value) else value for _, value in drawn] == expected
        # All of it is within the axes, and on logarithmic ones: 256-fold across.
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
        inside = axes.get_window_extent()
        for line in curves(axes):
            for x, y in line.get_transform().transform(points(line)):
                assert isnan(y) or inside.contains(x, y)


def test_a_narrow_range_is_linear() -> None:
    sweep = make(
        lambda measure, curve, place: place["tokens"] * 3,
        axes={"tokens": (64, 128, 192)},
        curves=("attn",),
    )
    (axes,) = composed(sweep).axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "linear")
    assert axes.get_ylim()[0] == 0
    assert [label.get_text() for label in axes.get_xticklabels()] == ["64", "128", "192"]


def test_curves_differ_in_colour_and_in_grey(three: Figure) -> None:
    lines = curves(three.axes[0])
    assert len({str(line.get_color()) for line in lines}) == 3
    assert len({str(line.get_marker()) for line in lines}) == 3
    assert len({str(line._dash_pattern) for line in lines}) == 3  # type: ignore[attr-defined]
    for line in curves(three.axes[1]):
        same = next(other for other in lines if other.get_label() == line.get_label())
        assert line.get_color() == same.get_color()


def test_as_many_curves_as_are_allowed_differ() -> None:
    names = tuple(f"mixer{number}" for number in range(32))
    sweep = make(lambda m, c, at: at["tokens"], axes={"tokens": TOKENS}, curves=names)
    lines = curves(composed(sweep).axes[0])
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == 32
    eight = {"tokens": TOKENS, "dim": tuple(range(1, 9))}
    sweep = make(lambda m, c, at: at["tokens"] * at["dim"], axes=eight, curves=("attn",))
    lines = curves(composed(sweep).axes[0])
    looks = {(str(line._dash_pattern), line.get_markerfacecolor()) for line in lines}  # type: ignore[attr-defined]
    assert len(looks) == 8


@pytest.mark.parametrize("width", [0, 3.5])
@pytest.mark.parametrize("sweep", [THREE, CLOSE, GRID, MANY_CROSSINGS, FALLING])
def test_no_word_meets_another_or_leaves_the_figure(sweep: Sweep, width: float) -> None:
    figure = composed(sweep, width=width)
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    # A text's own box has the room between lines in it; ink is what may not meet.
    boxes = {text: text.get_window_extent(renderer).padded(-0.6) for text in words(figure)}
    assert len(boxes) > 10
    for text, box in boxes.items():
        assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1, text
        assert figure.bbox.y0 <= box.y0 <= box.y1 <= figure.bbox.y1, text
    for one, other in combinations(boxes, 2):
        assert not boxes[one].overlaps(boxes[other]), (one, other)
    # No curve runs through a word, and no ring lies on one.
    for axes in figure.axes:
        for line in curves(axes):
            path = line.get_path().transformed(line.get_transform())
            for text, box in boxes.items():
                assert not path.intersects_bbox(box, filled=False), (line, text)
        for x, y in axes.transData.transform(rings(axes) or [(1, 1)]):
            ring = Bbox([[x - 3, y - 3], [x + 3, y + 3]])
            assert not any(box.overlaps(ring) for box in boxes.values())


def test_names_stand_at_the_ends_of_their_curves(three: Figure) -> None:
    heights = {text.get_text(): text.get_window_extent().y0 for text in words(three)[-80:]}
    assert heights["attn"] > heights["lambda"] > heights["linear"]


def test_long_names_go_into_a_key() -> None:
    (first, *_) = composed(GRID).axes
    assert first.get_position().x1 > 0.45  # no room was left for names
    said = [text.get_text() for text in words(composed(GRID))]
    assert said.count("external-attention, dim 64") == 1  # one key for all panels
    assert composed(GRID).axes[0].get_xlabel() == ""
    assert said.count("image size (pixels)") == 3


def test_crossings_are_ringed_where_they_are(three: Figure) -> None:
    macs, memory = three.axes
    # Not where linear is the cheaper one from the start, and not where there is none.
    assert rings(macs) == [(301, 301 * 400 * 1000), (401, 401 * 500 * 1000)]
    assert rings(memory) == [(401, 401 * 500 * 4096)]
    for axes, values in ((macs, (301, 401)), (memory, (401,))):
        for at, (x, y) in zip(values, rings(axes), strict=True):
            place = axes.transData.transform((x, y))
            near = [
                text.get_window_extent()
                for text in words(three)
                if text.get_text() == str(at) and axes.bbox.overlaps(text.get_window_extent())
            ]
            assert len(near) == 1
            assert distance(near[0], *place) < 30


def distance(box: Bbox, x: float, y: float) -> float:
    across = max(box.x0 - x, 0, x - box.x1)
    up = max(box.y0 - y, 0, y - box.y1)
    return float((across**2 + up**2) ** 0.5)


def test_the_caption_says_how_and_what_is_missing() -> None:
    said = caption_of(THREE, ("macs",), marked=True)
    assert said.startswith("Model layer, dim 128, heads 8, activation gelu. Batch 1, dtype fp32. ")
    assert "checkpoint" not in said
    assert "smallest value of tokens at which one is below the other" in said
    assert "Without a value: linear at 1 of 9 points (8 heads do not divide it)." in said
    assert said.endswith("Made by vitprof 0.1.0.")
    assert "Rings" not in caption_of(THREE, ("macs",), marked=False)
    interrupted = replace(
        THREE,
        points=THREE.points[:10],
        conditions={"threads": 4},
        own={"lambda": {"context": 23, "qkv_bias": True}, "attn": {"kv_heads": 0}},
    )
    said = caption_of(interrupted, ("time",), marked=False)
    assert "Interrupted after 10 of 27 points." in said
    assert "Threads 4." in said
    assert "Of lambda: context 23, qkv bias." in said
    assert "Of attn" not in said
    assert said.endswith("Made by vitprof 0.1.0, python 3.11.7.")


def test_labels_are_spread() -> None:
    assert spread([10, 50, 90], 5, 0, 100) == [10, 50, 90]
    assert spread([50, 50, 50], 10, 0, 100) == [40, 50, 60]
    assert spread([52, 48], 10, 0, 100) == [55, 45]
    assert spread([99, 100], 10, 0, 100) == [90, 100]
    # Pushed up by the two below, the third joins them: 10 + 12 + 25 around their mean.
    assert spread([10, 12, 20], 10, 0, 100) == [4, 14, 24]
    assert spread([1, 1, 1], 10, 0, 100) == [0, 10, 20]


def test_a_word_stands_where_it_is_free() -> None:
    page = Box(0, 0, 100, 100)
    place = {"clear": 3.0, "width": 20.0, "height": 6.0, "within": page}
    above = place_label(50, 50, boxes=[], segments=[], **place)  # type: ignore[arg-type]
    assert above.right < 50 < above.bottom  # to the upper left
    wall = place_label(50, 50, boxes=[], segments=[(0, 55, 100, 55), (0, 20, 100, 90)], **place)  # type: ignore[arg-type]
    assert not wall.cut_by((0, 55, 100, 55))
    assert not wall.cut_by((0, 20, 100, 90))
    corner = place_label(1, 99, boxes=[], segments=[], **place)  # type: ignore[arg-type]
    assert page.holds(corner)
    taken = place_label(50, 50, boxes=[above], segments=[], **place)  # type: ignore[arg-type]
    assert not taken.meets(above)


def test_a_segment_cuts_a_box() -> None:
    box = Box(0, 0, 10, 10)
    assert box.cut_by((-5, 5, 15, 5))
    assert box.cut_by((2, 2, 3, 3))
    assert box.cut_by((5, 5, 5, 50))
    assert not box.cut_by((-5, 11, 15, 11))
    assert not box.cut_by((-1, 5, -1, 6))
    assert not box.cut_by((-10, 5, 5, 20))
