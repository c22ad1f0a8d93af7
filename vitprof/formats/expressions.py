"""Write sizes as formulas in LaTeX and HTML."""

from __future__ import annotations

import re
from html import escape

from vitprof.values.size import Size

_LATEX = {"×": r" \times ", "+": " + ", "-": " - ", "/": " / "}
_HTML = {"×": " × ", "+": " + ", "-": " − ", "/": " / "}


def latex(size: Size, *, numbers: bool = False) -> str:
    r"""Return a formula for LaTeX's math mode: `B \times N \times \mathit{in}`."""
    return size.spell(_latex_number if numbers else _latex_leaf, _LATEX)


def html(size: Size, *, numbers: bool = False) -> str:
    """Return a formula in HTML, with names in italics."""
    return size.spell(_number if numbers else _html_leaf, _HTML)


def _number(leaf: Size) -> str:
    return f"{leaf.value:,}"


def _latex_number(leaf: Size) -> str:
    return _number(leaf).replace(",", "{,}")  # in math mode, a bare comma adds a space


def _latex_leaf(leaf: Size) -> str:
    if not leaf.name:
        return str(leaf.value)
    if re.fullmatch(r"[A-Za-z]", leaf.name):
        return leaf.name
    words = re.sub(r"([_%&#$ ])", r"\\\1", leaf.name)
    return rf"\mathit{{{words}}}"


def _html_leaf(leaf: Size) -> str:
    return f"<i>{escape(leaf.name)}</i>" if leaf.name else str(leaf.value)
