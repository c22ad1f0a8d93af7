"""Named sizes: plain arithmetic that can also be read.

A `Size` is a number with a name. Adding and multiplying sizes gives sizes that
remember how they came about, so that one line of arithmetic has three readings:

    >>> B, N = Size(100, "B"), Size(50, "N")
    >>> macs = B * N * (Size(64, "in") + 1)
    >>> macs.formula
    'B × N × (in + 1)'
    >>> macs.numbers
    '100 × 50 × (64 + 1)'
    >>> macs.value
    325000

The value may be anything that adds and multiplies like an int: a NumPy array
evaluates a formula on many configurations at once, a SymPy symbol yields it as a
polynomial.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

_bare = object.__new__  # without a call of __init__, since every count makes hundreds
_BINDING = {"+": 1, "-": 1, "×": 2, "/": 2}
_SIGNS = {sign: f" {sign} " for sign in _BINDING}


class Size:
    """A number that knows its name or the arithmetic that it came from."""

    __slots__ = ("_operands", "name", "operator", "value")
    _operands: tuple[Size, ...]

    def __init__(self, value: int, name: str = "") -> None:
        self.value = value
        self.name = name
        self.operator = ""

    def named(self, name: str) -> Size:
        """The same number under a name of its own, its arithmetic hidden."""
        made = _bare(Size)
        made.value, made.name, made.operator = self.value, name, ""
        return made

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
        """The arithmetic, with names: `B × N × in × out`; of a leaf, its name or number."""
        return self.spell(lambda leaf: leaf.name or str(leaf.value))

    @property
    def numbers(self) -> str:
        """The arithmetic, with numbers put in: `100 × 50 × 64 × 192`."""
        return self.spell(lambda leaf: str(leaf.value))

    @property
    def is_closed_form(self) -> bool:
        """If it has a name or arithmetic to show, and is no bare number."""
        return bool(self.operator or self.name)

    def spell(
        self,
        leaf: Callable[[Size], str],
        signs: Mapping[str, str] = _SIGNS,
        binding: int = 0,
    ) -> str:
        """The arithmetic in a notation.

        Args:
            leaf: writes a number or its name.
            signs: how + - × / are written.
            binding: of the operator around it, which says if it stands in parentheses.
        """
        if not self.operator:
            return leaf(self)
        operands = self._operands
        if self.operator == "×":
            operands = tuple([size for size in operands if size is not ONE]) or (ONE,)
            if len(operands) == 1:
                return operands[0].spell(leaf, signs, binding)
        own = _BINDING[self.operator]
        # A right operand that binds equally was grouped by whoever wrote the formula.
        grouped = own if self.operator == "+" else own + 1
        first, *others = operands
        words = [first.spell(leaf, signs, own)]
        words += [other.spell(leaf, signs, grouped) for other in others]
        text = signs[self.operator].join(words)
        return f"({text})" if own < binding else text

    def __repr__(self) -> str:
        return f"Size({self.formula} = {self.value})"


ONE = Size(1)  # the literal: a product does not spell it out
ZERO = Size(0)
_LITERALS = {1: ONE, **{number: Size(number) for number in range(2, 17)}}


def product(sizes: tuple[Size, ...]) -> Size:
    """Multiply sizes from left to right; of none, that is 1."""
    value = 1
    for size in sizes:
        value = value * size.value
    return _made(value, "×", sizes)


def _made(value: int, operator: str, operands: tuple[Size, ...]) -> Size:
    made = _bare(Size)
    made.value, made.name = value, ""
    made.operator, made._operands = operator, operands
    return made


def as_size(value: Size | int) -> Size:
    """The size itself, or a number as one without a name."""
    if isinstance(value, Size):
        return value
    return _LITERALS.get(value) or Size(value)
