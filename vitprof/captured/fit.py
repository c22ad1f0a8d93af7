"""Closed forms of a dimension, found from its values at several sizes of the input.

A dimension of a vision model is nearly always one of a few shapes: a number, a multiple of the
batch, a polynomial of the image's height and width or of the tokens, or the batch times such a
polynomial. `fit` takes the first that fits the values exactly, at the points that determine it
and at all that are left over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import combinations
from math import isqrt, lcm

from vitprof.values.size import Size

Point = Mapping[str, int]  # value of each variable of the input, `B` among them
Monomial = tuple[str, ...]  # variables that are multiplied, one as often as its power

BATCH = "B"


@dataclass(frozen=True, slots=True)
class Fitted:
    """A polynomial of the input's variables, with rational coefficients.

    Attributes:
        terms: coefficients other than 0, by monomial.
        factored: True if its arithmetic is spelled as a product, False if as a sum.
    """

    terms: tuple[tuple[Monomial, Fraction], ...]
    factored: bool = True

    def at(self, point: Point) -> Fraction:
        """Return its value."""
        total = Fraction(0)
        for monomial, coefficient in self.terms:
            value = coefficient
            for variable in monomial:
                value *= point[variable]
            total += value
        return total

    @property
    def variables(self) -> frozenset[str]:
        """Variables that it depends on."""
        return frozenset(variable for monomial, _ in self.terms for variable in monomial)

    @property
    def is_one(self) -> bool:
        """True if it is the number 1."""
        return self.terms == (((), Fraction(1)),)

    def without_batch(self) -> Fitted | None:
        """Return the polynomial that is multiplied by the batch; None if it is no such product."""
        if not self.terms or any(BATCH not in monomial for monomial, _ in self.terms):
            return None
        rest = tuple(
            (tuple(one for one in monomial if one != BATCH), coefficient)
            for monomial, coefficient in self.terms
        )
        return Fitted(rest, self.factored)

    def size(self, values: Mapping[str, Size]) -> Size:
        """Return it as a size with arithmetic that a person reads, `H / 16 × (W / 16) + 1`."""
        rest = self.without_batch()
        if rest is not None:
            return values[BATCH] * rest.size(values)
        return (_spelled if self.factored else _summed)(dict(self.terms), values)


def fit(values: Sequence[int], points: Sequence[Point]) -> Fitted | None:
    """Return the simplest polynomial that has these values at these points; None if none has."""
    varied = [name for name in points[0] if len({point[name] for point in points}) > 1]
    for basis in _bases(varied):
        found = _solve(basis, values, points)
        if found is not None:
            return found
    return None


def _bases(varied: Sequence[str]) -> Iterable[tuple[Monomial, ...]]:
    """Yield the monomials of each shape that is tried, simple ones first."""
    yield ((),)
    if BATCH in varied:
        yield ((BATCH,),)
    sizes = [name for name in varied if name != BATCH]
    shapes: list[tuple[Monomial, ...]] = []
    for name in sizes:
        shapes.append(((), (name,)))
    if len(sizes) == 1:  # a side of square images, or tokens
        shapes.append(((), (sizes[0],), (sizes[0], sizes[0])))
    for one, other in combinations(sizes, 2):
        shapes.append(((), (one,), (other,), (one, other)))
    for shape in shapes:
        yield shape
        if BATCH in varied:
            yield tuple((BATCH, *monomial) for monomial in shape)
    if BATCH in varied:
        yield ((), (BATCH,))


def _solve(
    basis: tuple[Monomial, ...], values: Sequence[int], points: Sequence[Point]
) -> Fitted | None:
    """Return the combination of these monomials that has these values; None if none has.

    At least one point has to be left over, unless a number is all that is looked for.
    """
    rows = [[Fraction(_value(one, point)) for one in basis] for point in points]
    solution = _eliminate(rows, [Fraction(value) for value in values])
    if solution is None or (len(basis) > 1 and len(points) <= len(basis)):
        return None
    found = Fitted(tuple((m, c) for m, c in zip(basis, solution, strict=True) if c))
    for point, value in zip(points, values, strict=True):
        sizes = {name: Size(number, name) for name, number in point.items()}
        if found.size(sizes).value != value:  # its factors are no whole numbers
            return replace(found, factored=False)
    return found


def _value(monomial: Monomial, point: Point) -> int:
    value = 1
    for variable in monomial:
        value *= point[variable]
    return value


def _eliminate(rows: list[list[Fraction]], values: list[Fraction]) -> list[Fraction] | None:
    """Solve equations exactly; None if they have no solution, or more than one."""
    table = [[*row, value] for row, value in zip(rows, values, strict=True)]
    unknowns = len(rows[0])
    for column in range(unknowns):
        pivot = next((i for i in range(column, len(table)) if table[i][column]), None)
        if pivot is None:
            return None
        table[column], table[pivot] = table[pivot], table[column]
        own = table[column]
        own[:] = [cell / own[column] for cell in own]
        for row in table:
            if row is not own and row[column]:
                by = row[column]
                row[:] = [cell - by * other for cell, other in zip(row, own, strict=True)]
    if any(row[-1] for row in table[unknowns:]):
        return None
    return [table[i][-1] for i in range(unknowns)]


def _spelled(terms: dict[Monomial, Fraction], values: Mapping[str, Size]) -> Size:
    """Return arithmetic for a polynomial of one or two variables."""
    names = sorted({variable for monomial in terms for variable in monomial})
    constant = terms.get((), Fraction(0))
    if not names:
        return Size(int(constant))
    if len(names) == 2:
        return _product_of_two(names, terms, values)
    (name,) = names
    square = terms.get((name, name), Fraction(0))
    if square < 0:
        return _summed(terms, values)
    linear = terms.get((name,), Fraction(0))
    if not square:
        return _line(values[name], linear, constant)
    # a h^2 + b h + c = a (h + b/2a)^2 + rest
    shift = linear / (2 * square)
    one, other = _split(square)
    factors = (_scaled(values[name], shift, one), _scaled(values[name], shift, other))
    return _plus(factors[0] * factors[1], constant - square * shift * shift)


def _summed(terms: dict[Monomial, Fraction], values: Mapping[str, Size]) -> Size:
    """Return a sum of monomials over the common denominator of their coefficients."""
    below = lcm(*(coefficient.denominator for coefficient in terms.values()))
    total: Size | None = None
    for monomial, coefficient in terms.items():
        part = Size(int(coefficient * below))
        for variable in monomial:
            part = values[variable] * part
        total = part if total is None else total + part
    assert total is not None
    return total // below if below != 1 else total


def _product_of_two(
    names: Sequence[str], terms: dict[Monomial, Fraction], values: Mapping[str, Size]
) -> Size:
    """Return `d (h + c/d) (w + b/d) + rest` for `a + b h + c w + d h w`."""
    first, second = names
    of_both = terms.get((first, second), Fraction(0))
    of_first = terms.get((first,), Fraction(0))
    of_second = terms.get((second,), Fraction(0))
    constant = terms.get((), Fraction(0))
    if of_both < 0:
        return _summed(terms, values)
    if not of_both:
        line = _line(values[first], of_first, Fraction(0))
        return _plus(line + _line(values[second], of_second, Fraction(0)), constant)
    one, other = _split(of_both)
    product = _scaled(values[first], of_second / of_both, one) * _scaled(
        values[second], of_first / of_both, other
    )
    return _plus(product, constant - of_first * of_second / of_both)


def _split(number: Fraction) -> tuple[Fraction, Fraction]:
    """Return two equal factors of a number if it is a square, else 1 over its denominator first."""
    if isqrt(number.numerator) ** 2 == number.numerator:
        up = isqrt(number.numerator)
        down = isqrt(number.denominator)
        if down**2 == number.denominator:
            return Fraction(up, down), Fraction(up, down)
    return number, Fraction(1)


def _scaled(size: Size, shift: Fraction, factor: Fraction) -> Size:
    """Return `factor × (size + shift)`."""
    return _line(size, factor, factor * shift)


def _line(size: Size, factor: Fraction, constant: Fraction) -> Size:
    """Return `factor × size + constant`, `(size + 4) / 8` where that needs one division."""
    if constant.denominator != 1:
        shifted = _plus(size * factor.numerator, constant * factor.denominator)
        return shifted // factor.denominator
    scaled = size * factor.numerator if factor.numerator != 1 else size
    if factor.denominator != 1:
        scaled = scaled // factor.denominator
    return _plus(scaled, constant)


def _plus(size: Size, constant: Fraction) -> Size:
    number = int(constant)
    if number < 0:
        return size - Size(-number)
    return size + Size(number) if number else size
