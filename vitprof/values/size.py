"""Named sizes: numbers that keep the arithmetic that they come from.

A `Size` is a number with a name. Sums and products of sizes keep their operands, so that
one line of arithmetic gives the formula, the formula with numbers, and the value:

    >>> B, N = Size(100, "B"), Size(50, "N")
    >>> macs = B * N * (Size(64, "in") + 1)
    >>> macs.formula
    'B × N × (in + 1)'
    >>> macs.numbers
    '100 × 50 × (64 + 1)'
    >>> macs.value
    325000

The value can be of any type that adds and multiplies like an int: a NumPy array
evaluates a formula on many configurations at once, a SymPy symbol gives a polynomial.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

_bare = object.__new__  # skips __init__, since every count makes hundreds of sizes
_PRECEDENCE = {"+": 1, "-": 1, "×": 2, "/": 2}
_SIGNS = {sign: f" {sign} " for sign in _PRECEDENCE}


class Size:
    """A number with its name or with the arithmetic that it comes from."""

    __slots__ = ("_operands", "name", "operator", "value")
    _operands: tuple[Size, ...]

    def __init__(self, value: int, name: str = "") -> None:
        self.value = value
        self.name = name
        self.operator = ""

    def named(self, name: str) -> Size:
        """Return the same number under a name; formulas show the name, `definition` this size."""
        made = _bare(Size)
        made.value, made.name, made.operator, made._operands = self.value, name, "", (self,)
        return made

    @property
    def definition(self) -> Size | None:
        """Size that this one is a name of; None if it is not made by `named`."""
        operands = None if self.operator else getattr(self, "_operands", None)
        return operands[0] if operands else None

    def names(self) -> Iterator[Size]:
        """Yield each name in the arithmetic, from left to right, then those that define it."""
        operands = self._shown() if self.operator else ()
        if self.name:
            yield self
            operands = getattr(self, "_operands", ())
        for operand in operands:
            yield from operand.names()

    def terms(self) -> list[tuple[str, Size]]:
        """Return the terms of a sum or difference with their signs, "" before the first."""
        if self.operator not in ("+", "-"):
            return [("", self)]
        first, second = self._operands
        return [*first.terms(), (self.operator, second)]

    def __add__(self, other: Size | int) -> Size:
        right = as_size(other)
        return _made(self.value + right.value, "+", (self, right))

    def __radd__(self, other: int) -> Size:
        return Size(other) + self

    def __sub__(self, other: Size | int) -> Size:
        if other == 0:
            return self
        right = as_size(other)
        return _made(self.value - right.value, "-", (self, right))

    def __mul__(self, other: Size | int) -> Size:
        right = other if isinstance(other, Size) else as_size(other)
        if right is ONE:
            return self
        if self is ONE:
            return right
        return _made(self.value * right.value, "×", (self, right))

    def __rmul__(self, other: int) -> Size:
        if other == 1:
            return self
        return _made(other * self.value, "×", (as_size(other), self))

    def __floordiv__(self, other: Size | int) -> Size:
        right = as_size(other)
        return _made(self.value // right.value, "/", (self, right))

    @property
    def formula(self) -> str:
        """Arithmetic with names, `B × N × in × out`; of a leaf, its name or number."""
        return self.spell(lambda leaf: leaf.name or str(leaf.value))

    @property
    def numbers(self) -> str:
        """Arithmetic with numbers: `100 × 50 × 64 × 192`."""
        return self.spell(lambda leaf: str(leaf.value))

    @property
    def is_closed_form(self) -> bool:
        """True if the size has a name or arithmetic, and is not only a number."""
        return bool(self.operator or self.name)

    def spell(
        self,
        leaf: Callable[[Size], str],
        signs: Mapping[str, str] = _SIGNS,
        precedence: int = 0,
    ) -> str:
        """Return the arithmetic in a notation.

        Args:
            leaf: returns the text of a leaf, its name or its number.
            signs: text of each of + - × /.
            precedence: of the operator around it; parentheses are set if it is higher.
        """
        if not self.operator:
            return leaf(self)
        operands = self._shown()
        if len(operands) == 1:
            return operands[0].spell(leaf, signs, precedence)
        own = _PRECEDENCE[self.operator]
        # A right operand of equal precedence had parentheses in the formula's code.
        grouped = own if self.operator == "+" else own + 1
        first, *others = operands
        words = [first.spell(leaf, signs, own)]
        words += [other.spell(leaf, signs, grouped) for other in others]
        text = signs[self.operator].join(words)
        return f"({text})" if own < precedence else text

    def _shown(self) -> tuple[Size, ...]:
        """Return the operands without those that a formula does not show."""
        if self.operator != "×":
            return self._operands
        return tuple([size for size in self._operands if size is not ONE]) or (ONE,)

    def __repr__(self) -> str:
        return f"Size({self.formula} = {self.value})"


ONE = Size(1)  # the literal, which a product does not show
ZERO = Size(0)
_LITERALS = {1: ONE, **{number: Size(number) for number in range(2, 17)}}


def product(sizes: tuple[Size, ...]) -> Size:
    """Multiply sizes from left to right; 1 if there are none."""
    value = 1
    for size in sizes:
        value = value * size.value
    return _made(value, "×", sizes)


def across(shape: tuple[Size, ...]) -> str:
    """Return the axes of a shape by name, `(N × heads) × k`; 1 for that of a scalar."""
    axes = (size.spell(lambda leaf: leaf.name or str(leaf.value), precedence=3) for size in shape)
    return " × ".join(axes) or "1"


def _made(value: int, operator: str, operands: tuple[Size, ...]) -> Size:
    made = _bare(Size)
    made.value, made.name = value, ""
    made.operator, made._operands = operator, operands
    return made


def as_size(value: Size | int) -> Size:
    """Return a size as it is, or a number as a size without a name."""
    if isinstance(value, Size):
        return value
    return _LITERALS.get(value) or Size(value)
