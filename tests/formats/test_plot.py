"""Figure of a sweep: its formats, texts, curves and their positions."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from math import isnan
from pathlib import Path
from random import Random
from struct import unpack
from typing import Any
from xml.etree import ElementTree

import matplotlib
import pytest
from figures import boxes_of, check_words, composed, curves, points, rings, words
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from sweeps import THREE, TOKENS, crossover, make, quadratic_and_linear

from vitprof.cli import run
from vitprof.errors import SpecError
from vitprof.formats.drawing.caption import caption_of
from vitprof.formats.drawing.curves import curves_of
from vitprof.formats.drawing.drawing import Drawing
from vitprof.formats.drawing.labels import Box, leader, place_labels, spread
from vitprof.formats.drawing.plot import Picture, draw, find_picture
from vitprof.formats.drawing.size import Size
from vitprof.formulas.mixers import MIXERS
from vitprof.report.sweep import Sweep

SVG = "{http://www.w3.org/2000/svg}"
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


@pytest.fixture(scope="module")
def three() -> Figure:
    return composed(THREE)


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
    assert root.tag == f"{SVG}svg"
    assert root.get("width") == "504pt"
    said = [str(text.text) for text in root.iter(f"{SVG}text")]
    assert {"tokens", "MACs of a forward pass", "peak memory of a training step"} <= {*said}
    assert {"attn", "lambda", "linear", "10 G", "1 GiB", "16,384", "401", "301"} <= {*said}
    conditions = "dim 128, heads 8, activation gelu. Batch 1, dtype fp32"
    assert conditions in " ".join(said)
    assert conditions in str(root.findtext(f"{SVG}desc"))
    # Where the font is not there, one of the same width is likely, and any other will do.
    fonts = {
        re.search("font-family: ([^;]*)", text.get("style", "")) for text in root.iter(f"{SVG}text")
    }
    assert {found and found[1] for found in fonts} == {"'DejaVu Sans', 'Verdana', sans-serif"}


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
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9, "svg.fonttype": "path"}):
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
    words = re.findall("<text [^>]*>(.*?)</text>", anew)
    assert words == re.findall("<text [^>]*>(.*?)</text>", kept)
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
    figure = composed(sweep, Drawing(size=Size(width)))
    boxes = boxes_of(figure)
    assert len(boxes) > 10
    check_words(figure)
    # No curve runs through a word, and no ring lies on one.
    for axes in figure.axes:
        for line in curves(axes):
            path = line.get_path().transformed(line.get_transform())
            for text, box in boxes.items():
                assert not path.intersects_bbox(box, filled=False), (line, text)
        for x, y in rings(axes):
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
    expected = {
        macs: {301: 301 * 400 * 1000, 401: 401 * 500 * 1000},
        memory: {401: 401 * 500 * 4096},
    }
    for axes, crossed in expected.items():
        assert len(rings(axes)) == len(crossed)
        for (at, value), ring in zip(crossed.items(), rings(axes), strict=True):
            assert ring == pytest.approx(tuple(axes.transData.transform((at, value))))
            near = [
                text.get_window_extent()
                for text in words(three)
                if text.get_text() == str(at) and axes.bbox.overlaps(text.get_window_extent())
            ]
            assert len(near) == 1
            assert distance(near[0], *ring) < 30


def distance(box: Bbox, x: float, y: float) -> float:
    across = max(box.x0 - x, 0, x - box.x1)
    up = max(box.y0 - y, 0, y - box.y1)
    return float((across**2 + up**2) ** 0.5)


def caption(sweep: Sweep, measure: str) -> str:
    return caption_of(sweep, {measure: curves_of(sweep, measure)})


def test_the_caption_says_how_and_what_is_missing() -> None:
    said = caption(THREE, "macs")
    assert said.startswith("Model layer, dim 128, heads 8, activation gelu. Batch 1, dtype fp32. ")
    assert "checkpoint" not in said
    assert "smallest value of tokens at which one is below the other" in said
    assert "MACs of a forward pass: 301: linear below attn; 401: lambda below attn. " in said
    assert "Without a value: linear at 1 of 9 points (8 heads do not divide it)." in said
    assert said.endswith("Made by vitprof 0.1.0.")
    assert "Rings" not in caption(replace(THREE, crossovers=()), "macs")
    assert "would overlap" in said
    assert "would overlap" not in caption(THREE, "memory")  # there is one
    interrupted = replace(
        THREE,
        points=THREE.points[:10],
        conditions={"threads": 4},
        own={"lambda": {"context": 23, "qkv_bias": True}, "attn": {"kv_heads": 0}},
    )
    said = caption_of(interrupted, {"time": []})
    assert "Interrupted after 10 of 27 points." in said
    assert "Threads 4." in said
    assert "Of lambda: context 23, qkv bias." in said
    assert "Of attn" not in said
    assert said.endswith("Made by vitprof 0.1.0, python 3.11.7.")


def test_the_caption_names_curves_that_cross_at_one_place_together() -> None:
    found = [crossover("macs", 401, 1, cheaper=name) for name in ("lambda", "linear")]
    found += [crossover("macs", 401, 1, cheaper="linear", than="lambda")]
    said = caption(replace(THREE, crossovers=tuple(found)), "macs")
    assert "401: lambda and linear below attn, linear below lambda." in said
    many = tuple(crossover("macs", at, at) for at in range(100, 150))
    said = caption(replace(THREE, crossovers=many), "macs")
    assert "139: lambda below attn; 10 more." in said


def test_labels_are_spread() -> None:
    assert spread([10, 50, 90], 5, 0, 100) == [10, 50, 90]
    assert spread([50, 50, 50], 10, 0, 100) == [40, 50, 60]
    assert spread([52, 48], 10, 0, 100) == [55, 45]
    assert spread([99, 100], 10, 0, 100) == [90, 100]
    # Pushed up by the two below, the third joins them: 10 + 12 + 25 around their mean.
    assert spread([10, 12, 20], 10, 0, 100) == [4, 14, 24]
    assert spread([1, 1, 1], 10, 0, 100) == [0, 10, 20]


def placed(*points: tuple[float, float], **others: Any) -> list[Box]:
    around: dict[str, Any] = {"within": Box(0, 0, 100, 100), "boxes": [], "segments": [], **others}
    found = place_labels(points, [(20.0, 6.0)] * len(points), clear=3.0, **around)
    assert found is not None
    return found


def test_a_word_stands_where_it_is_free() -> None:
    (above,) = placed((50, 50))
    assert above.right < 50 < above.bottom  # to the upper left
    (wall,) = placed((50, 50), segments=[(0, 55, 100, 55), (0, 20, 100, 90)])
    assert not wall.cut_by((0, 55, 100, 55))
    assert not wall.cut_by((0, 20, 100, 90))
    (corner,) = placed((1, 99))
    assert Box(0, 0, 100, 100).holds(corner)
    (taken,) = placed((50, 50), boxes=[above])
    assert not taken.meets(above)
    small = {"within": Box(35, 35, 65, 65), "boxes": [], "segments": []}
    assert place_labels([(50, 50)], [(20, 6)], clear=3.0, **small) is not None  # type: ignore[arg-type]
    assert place_labels([(50, 50)] * 3, [(20, 6)] * 3, clear=3.0, **small) is None  # type: ignore[arg-type]


def test_words_of_a_crowd_cover_no_point_and_no_leader() -> None:
    random, page, crowds = Random(0), Box(0, 0, 160, 160), 0
    for _ in range(150):
        points = [(70 + 20 * random.random(), 70 + 20 * random.random()) for _ in range(8)]
        found = place_labels(
            points, [(20.0, 6.0)] * 8, clear=3.0, within=page, boxes=[], segments=[]
        )
        if found is None:  # no room for some word
            continue
        crowds += 1
        lines = [leader(*pair, 3.0) for pair in zip(found, points, strict=True)]
        for one, box in enumerate(found):
            assert all(box.away(point) >= 3 for point in points)
            for other, line in enumerate(lines):
                assert one == other or line is None or not box.cut_by(line)
    assert crowds > 100


def test_a_segment_cuts_a_box() -> None:
    box = Box(0, 0, 10, 10)
    assert box.cut_by((-5, 5, 15, 5))
    assert box.cut_by((2, 2, 3, 3))
    assert box.cut_by((5, 5, 5, 50))
    assert not box.cut_by((-5, 11, 15, 11))
    assert not box.cut_by((-1, 5, -1, 6))
    assert not box.cut_by((-10, 5, 5, 20))
