"""Write sizes as formulas and as equations, in text, LaTeX and HTML."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from vitprof.values.size import Size

_TEXT = {"×": " × ", "+": " + ", "-": " − ", "/": " / "}
_LATEX = {"×": r" \times ", "+": " + ", "-": " - ", "/": " / "}
_HTML = {"×": " × ", "+": " + ", "-": " − ", "/": " / "}


def latex(size: Size, *, numbers: bool = False) -> str:
    r"""Return a formula for LaTeX's math mode: `B \times N \times \mathit{in}`."""
    return size.spell(_latex_number if numbers else _latex_leaf, _LATEX)


def html(size: Size, *, numbers: bool = False) -> str:
    """Return a formula in HTML, with names in italics."""
    return size.spell(_number if numbers else _html_leaf, _HTML)


@dataclass(frozen=True, slots=True)
class Notation:
    """A language of equations.

    Attributes:
        name: text of a leaf by its name.
        number: text of a leaf by its number.
        signs: text of each of + - × /.
    """

    name: Callable[[Size], str]
    number: Callable[[Size], str]
    signs: Mapping[str, str]

    def sides(self, size: Size) -> list[list[str]]:
        """Return the sides of `formula = numbers = value`, each as its terms with their signs.

        A side that is equal to the one before is left out.
        """
        value = Size(size.value)
        sides = [self._terms(size, self.name), self._terms(size, self.number)]
        sides.append([self.number(value)])
        return [side for n, side in enumerate(sides) if not n or side != sides[n - 1]]

    def _terms(self, size: Size, leaf: Callable[[Size], str]) -> list[str]:
        precedence = {"": 0, "+": 1, "-": 2}  # the right operand of a difference is in parentheses
        return [
            self.signs.get(sign, "").lstrip() + term.spell(leaf, self.signs, precedence[sign])
            for sign, term in size.terms()
        ]

    def equation(self, size: Size) -> str:
        """Return `formula = numbers = value` in a line."""
        return " = ".join(" ".join(side) for side in self.sides(size))

    def shape(self, shape: Sequence[Size], *, numbers: bool) -> str:
        """Return the axes of a shape by name or by number, `B × N × D`; 1 for a scalar."""
        sizes = [Size(axis.value) for axis in shape] if numbers else shape
        leaf = self.number if numbers else self.name
        return self.signs["×"].join(size.spell(leaf, self.signs, 3) for size in sizes) or "1"

    def defined(self, size: Size) -> str:
        """Return a name with its arithmetic and value: `out = 3 × D = 192`."""
        definition = size.definition
        sides = [self.name(size)]
        if definition is not None:
            sides.append(definition.spell(self.name, self.signs))
        value = self.number(Size(size.value))
        return " = ".join(sides if sides[-1] == value else [*sides, value])

    def lines(self, size: Size, width: int) -> Iterator[tuple[bool, str]]:
        """Yield the lines of an equation, broken before `=`, + and -.

        Args:
            size: the count.
            width: characters that a line may have as plain text, unless a single term has more.

        Yields:
            True if the line begins with another side, False if it goes on with terms of the
            same; and its text without the `=` before it.
        """
        begins, line, length = True, "", 0
        for side, plain in zip(self.sides(size), TEXT.sides(size), strict=True):
            whole = sum(len(term) + 1 for term in plain)
            sign = " = "
            if line and length + whole + 2 > width:
                yield begins, line
                begins, line, length = True, "", 0
            for term, letters in zip(side, plain, strict=True):
                if line and length + len(letters) + 1 > width:
                    yield begins, line
                    begins, line, length = False, "", 0
                line += (sign if line else "") + term
                length += len(letters) + 3
                sign = " "
        yield begins, line


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


def _text_leaf(leaf: Size) -> str:
    return leaf.name or _number(leaf)


def _html_leaf(leaf: Size) -> str:
    return f"<i>{escape(leaf.name)}</i>" if leaf.name else str(leaf.value)


def _latex_term(leaf: Size) -> str:
    return _latex_leaf(leaf) if leaf.name else _latex_number(leaf)


def _html_term(leaf: Size) -> str:
    return _html_leaf(leaf) if leaf.name else _number(leaf)


def aligned(size: Size, width: int) -> list[str]:
    r"""Return the lines of an equation for LaTeX's align: `&= B \times N`, `&= 100 \times 50`."""
    return [
        f"&= {line}" if begins else rf"&\quad {line}" for begins, line in LATEX.lines(size, width)
    ]


TEXT = Notation(_text_leaf, _number, _TEXT)
LATEX = Notation(_latex_term, _latex_number, _LATEX)
HTML = Notation(_html_term, _number, _HTML)
