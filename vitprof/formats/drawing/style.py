"""Style of figures: fonts, colours, marks and dashes of curves, and the widths of texts.

The palette is that of Okabe and Ito ("Color Universal Design", 2008), which is safe for
colour-blind readers, without its yellow, which has too little contrast on white, and with the wine
red of Tol (SRON/EPS/TN/09-002). Mixers also differ in marks and dashes, so the figure can be read
in grey.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import matplotlib
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from vitprof.exclusive import exclusive
from vitprof.formats.drawing.curves import Curve

_HUES = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7"),
    *("#E69F00", "#56B4E9", "#000000", "#882255"),
)
_MARKS = "os^DvPX*"
_DASHES: tuple[tuple[float, ...], ...] = ((), (4, 1.6), (1.2, 1.2), (5, 1.5, 1.2, 1.5))
INK, FAINT = "#262626", "#DDDDDD"
LEADING = 1.3  # line height over font size
_FONT = "DejaVu Sans"
# A reader of an SVG who lacks the font has Verdana, which is as wide, or another one.
_IN_SVG = [_FONT, "Verdana", "sans-serif"]
_STYLE: dict[Any, Any] = {  # matplotlib types the keys as literals
    "font.family": [_FONT],
    "text.color": INK,
    "text.hinting": "none",  # texts are as wide as they were measured
    "text.parse_math": False,  # dollar signs are not math
    "svg.fonttype": "none",  # text, not outlines
    "svg.hashsalt": "vitprof",
    "pdf.fonttype": 42,  # TrueType, as publishers require
    "axes.edgecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": INK,
    "ytick.color": INK,
}


@contextmanager
def style(*, svg: bool = False) -> Iterator[None]:
    """Use the defaults of matplotlib with the settings of this module, and restore them."""
    with exclusive(), matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        if svg:
            matplotlib.rcParams.update({"font.family": _IN_SVG, "font.sans-serif": []})
        yield


@dataclass(frozen=True, slots=True)
class Lengths:
    """Lengths in points; by default those of a figure in a paper's column.

    Attributes:
        text: font size of names, ticks and the caption.
        label: font size of the titles of axes.
        edge: margin around the figure.
        pad: distance of a text from its element.
        gap: distance between panels.
        tick: length of a tick.
        tick_pad: distance of a tick from its label.
        to_name: distance between the axes and the names of the curves.
        mark: width of a mark on a curve.
        ring: radius of the ring around a crossover.
        sample: length of a line in the legend.
        legend_gap: distance between entries of the legend.
        curve: width of a curve.
        thin: width of an axis.
        hair: width of the grid and of lines to names.
    """

    text: float = 7.0
    label: float = 8.0
    edge: float = 5.0
    pad: float = 3.0
    gap: float = 14.0
    tick: float = 3.0
    tick_pad: float = 2.5
    to_name: float = 9.0
    mark: float = 4.4
    ring: float = 3.6
    sample: float = 28.0
    legend_gap: float = 12.0
    curve: float = 1.2
    thin: float = 0.6
    hair: float = 0.5

    @property
    def line(self) -> float:
        """Height of a line of text."""
        return LEADING * self.text

    def enlarged(self, factor: float) -> Lengths:
        """Return all lengths multiplied."""
        return Lengths(*(factor * getattr(self, one.name) for one in fields(self)))


def look(curve: Curve, lengths: Lengths) -> dict[str, Any]:
    """Return the style of a curve: colour and mark by mixer, dashes by the other options."""
    turn = curve.of // len(_HUES)  # the second eight mixers pair the hues with other marks
    hue = _HUES[curve.of % len(_HUES)]
    dashes = _DASHES[(curve.variant if curve.variants > 1 else curve.of + turn) % len(_DASHES)]
    mark = _MARKS[(curve.of + turn) % len(_MARKS)]
    hollow = curve.variant >= len(_DASHES)
    return {
        "color": hue,
        "linewidth": lengths.curve,
        "linestyle": (0, dashes) if dashes else "-",
        "marker": mark,
        "markersize": lengths.mark * (1.5 if mark == "*" else 1.15 if mark in "^v" else 1),
        "markeredgewidth": lengths.curve * (0.7 if hollow else 0.4),
        "markeredgecolor": hue if hollow else "white",
        "markerfacecolor": "white" if hollow else hue,
    }


@lru_cache(maxsize=4096)
def width_of(words: str, size: float) -> float:
    """Return the width of a text in points."""
    font = FontProperties(family=[_FONT], size=size)
    width, _, _ = text_to_path.get_text_width_height_descent(words, font, ismath=False)
    return float(width)


def wrapped(text: str, width: float, size: float) -> list[str]:
    """Wrap the text at blanks to lines of at most `width` points."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and width_of(longer, size) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines if text else []
