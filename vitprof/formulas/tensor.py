"""Tensors on paper: shapes of named sizes, moved with torch's own words.

    q, k, v = qkv.reshape(B, N, 3, h, d).permute(2, 0, 3, 1, 4).unbind(0)

A size keeps the name that it was given: `reshape` takes sizes, not -1. What does not fit is
refused in a sentence with both sizes and their names. Sizes that are arrays or symbols belong
to a formula that has been checked at numbers, and are not compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from vitprof.errors import FormulaError
from vitprof.formulas.op import Shape
from vitprof.values.size import ONE, Size, as_size, product


class ForwardPass(Protocol):
    """What a tensor asks of the forward pass that it belongs to."""

    checked: bool

    def place(self, name: str = "") -> str:
        """Where the forward pass is, for a sentence."""


class Tensor:
    """A tensor of which nothing is known but its shape.

    Attributes:
        run: the forward pass that it belongs to.
        shape: its axes.
    """

    __slots__ = ("run", "shape")

    def __init__(self, run: ForwardPass, shape: Shape) -> None:
        self.run = run
        self.shape = shape

    # Views, and copies where there is none

    def reshape(self, *sizes: Size | int) -> Tensor:
        """The same numbers in the same order, on other axes."""
        shape = named(sizes)
        if self.run.checked:
            own = wanted = 1  # spelled out, since every count asks dozens of times
            for size in self.shape:
                own *= size.value
            for size in shape:
                wanted *= size.value
            if own != wanted:
                raise self.refusal(f"reshape to {spell(shape)}", "has another number of elements")
        return Tensor(self.run, shape)

    def flatten(self, start: int, end: int = -1) -> Tensor:
        """Some neighbouring axes as one."""
        axes = self.shape
        start, end = self._axis(start), self._axis(end)
        return self.reshape(*axes[:start], product(axes[start : end + 1]), *axes[end + 1 :])

    def unflatten(self, dim: int, sizes: Sequence[Size | int]) -> Tensor:
        """One axis as several."""
        dim = self._axis(dim)
        return self.reshape(*self.shape[:dim], *sizes, *self.shape[dim + 1 :])

    def permute(self, *dims: int) -> Tensor:
        """The axes in another order."""
        axes = self.shape
        if len({*dims}) != len(axes):
            raise self.refusal(f"permute to {dims}", f"has {len(axes)} axes")
        return Tensor(self.run, tuple([axes[dim] for dim in dims]))

    def transpose(self, one: int, other: int) -> Tensor:
        """Two axes in each other's place."""
        axes = [*self.shape]
        try:
            axes[one], axes[other] = axes[other], axes[one]
        except IndexError:
            raise self.refusal(f"transpose {one} and {other}", f"has {len(axes)} axes") from None
        return Tensor(self.run, tuple(axes))

    @property
    def mT(self) -> Tensor:  # noqa: N802
        """Each matrix transposed, under torch's name."""
        return self.transpose(-2, -1)

    def unsqueeze(self, dim: int) -> Tensor:
        """One more axis, of length 1."""
        dim = dim if dim >= 0 else dim + len(self.shape) + 1
        return Tensor(self.run, (*self.shape[:dim], ONE, *self.shape[dim:]))

    def squeeze(self, dim: int) -> Tensor:
        """One axis less, which has length 1."""
        dim = self._axis(dim)
        if not single(self.shape[dim]):
            raise self.refusal(f"squeeze axis {dim}", "is longer than 1 there")
        return Tensor(self.run, (*self.shape[:dim], *self.shape[dim + 1 :]))

    def expand(self, *sizes: Size | int) -> Tensor:
        """Axes of length 1 repeated, and others put in front."""
        shape, place = named(sizes), len(sizes)
        for own in reversed(self.shape):
            place -= 1
            size = shape[place]
            if own is not size and own is not ONE and not single(own) and not fits(own, size):
                raise self.refusal(f"expand to {spell(shape)}", "is longer than 1 elsewhere")
        return Tensor(self.run, shape)

    # Parts

    def unbind(self, dim: int = 0) -> tuple[Tensor, ...]:
        """The parts along an axis, which goes."""
        dim = self._axis(dim)
        shape = (*self.shape[:dim], *self.shape[dim + 1 :])
        return (Tensor(self.run, shape),) * self.shape[dim].value

    def split(self, sizes: Sequence[Size], dim: int = 0) -> tuple[Tensor, ...]:
        """The parts of given lengths along an axis."""
        dim = self._axis(dim)
        if self.run.checked and sum([size.value for size in sizes]) != self.shape[dim].value:
            raise self.refusal(f"split axis {dim} into {spell(sizes)}", "is not as long there")
        before, after = self.shape[:dim], self.shape[dim + 1 :]
        return tuple([Tensor(self.run, (*before, size, *after)) for size in sizes])

    def narrow(self, dim: int, start: Size | int, length: Size) -> Tensor:
        """A part along an axis; all of it is the tensor by another name."""
        axes, dim = self.shape, self._axis(dim)
        first = start.value if isinstance(start, Size) else start
        if self.run.checked and first + length.value > axes[dim].value:
            raise self.refusal(
                f"narrow axis {dim} to {spell_size(length)} from {first} on",
                "is not as long there",
            )
        return Tensor(self.run, (*axes[:dim], length, *axes[dim + 1 :]))

    def select(self, dim: int, index: int) -> Tensor:
        """One place of an axis, which goes."""
        dim = self._axis(dim)
        shape = (*self.shape[:dim], *self.shape[dim + 1 :])
        return Tensor(self.run, shape)

    def __getitem__(self, places: tuple[slice | int, ...]) -> Tensor:
        """`x[:, :kept]`, `x[:, 1:]`, `x[:, 0]`: `narrow` and `select`, axis by axis."""
        part, dim = self, 0
        for place in places:
            if isinstance(place, int):
                part = part.select(dim, place)
                continue
            start, stop = place.start or 0, place.stop
            if start or stop is not None:
                whole = part.shape[dim]
                part = part.narrow(dim, start, (whole if stop is None else as_size(stop)) - start)
            dim += 1
        return part

    def unfold(self, dim: int, size: Size) -> Tensor:
        """All windows of a length along an axis, each a place of it; what they see goes last."""
        dim = self._axis(dim)
        windows = self.shape[dim] - size + 1
        shape = (*self.shape[:dim], windows, *self.shape[dim + 1 :], size)
        return Tensor(self.run, shape)

    # Copies

    def contiguous(self) -> Tensor:
        """The numbers in their order in memory; a copy where they are not."""
        return self

    def clone(self) -> Tensor:
        """A copy, the numbers in their order in memory."""
        return self

    def flip(self, dim: int) -> Tensor:
        """A copy with an axis from its end to its begin."""
        return self

    def to(self, dtype: str) -> Tensor:
        """The same in another dtype; `float` is that of the weights."""
        return self

    def exact(self) -> Tensor:
        """The same in fp32, if it has fewer bits."""
        return self

    def view_as_complex(self) -> Tensor:
        """The pairs along the last axis as complex numbers."""
        return Tensor(self.run, self.shape[:-1])

    def detach(self) -> Tensor:
        """The same memory, without a gradient."""
        return self

    # Places

    def argsort(self, dim: int) -> Tensor:
        """The places of an axis in the order of their numbers, as int64."""
        return self

    def ge(self, number: Size) -> Tensor:
        """Where a number is not less, as bool."""
        return self

    def gather(self, dim: int, index: Tensor) -> Tensor:
        """The numbers at given places of an axis."""
        return Tensor(self.run, index.shape)

    def index(self, places: Tensor) -> Tensor:
        """`x[places]`: what lies at places of the first axis."""
        return Tensor(self.run, (*places.shape, *self.shape[1:]))

    def _axis(self, dim: int) -> int:
        own = len(self.shape)
        if not -own <= dim < own:
            raise self.refusal(f"take axis {dim}", f"has {own} axes")
        return dim % own

    def refusal(self, what: str, why: str) -> FormulaError:
        """Say that something cannot be done with this tensor."""
        return FormulaError(f"{self.run.place()} cannot {what}: {spell(self.shape)} {why}")


def single(size: Size) -> bool:
    """Whether a size is known to be 1."""
    return size is ONE or (type(size.value) is int and size.value == 1)


def fits(one: Size, other: Size) -> bool:
    """Whether two sizes are equal, as far as they are numbers."""
    left, right = one.value, other.value
    return (
        left is right
        or left.__class__ is not int
        or right.__class__ is not int
        or bool(left == right)
    )


def alike(one: Sequence[Size], other: Sequence[Size]) -> bool:
    """Whether two shapes are equal, as far as they are numbers."""
    return len(one) == len(other) and all(map(fits, one, other))


def named(sizes: tuple[Size | int, ...]) -> Shape:
    """Sizes, of which some are bare numbers, as a shape."""
    for size in sizes:
        if size.__class__ is not Size:
            return tuple([as_size(size) for size in sizes])
    return sizes  # type: ignore[return-value]


def spell(shape: Sequence[Size]) -> str:
    """A shape for a sentence, names and numbers: `(B 3, N 50, 3 × D 192)`."""
    return f"({', '.join(map(spell_size, shape))})"


def spell_size(size: Size) -> str:
    """A size for a sentence: `D 64`."""
    return f"{size.formula} {size.value}" if size.name or size.operator else str(size.value)


def broadcast(one: Tensor, other: Tensor, name: str) -> Shape:
    """The shape of what an op makes of two tensors element by element.

    An axis of length 1, or one that is not there, takes the other's length and name.

    Raises:
        FormulaError: two lengths differ, and neither is 1.
    """
    longer, shorter = one.shape, other.shape
    if len(longer) < len(shorter):
        longer, shorter = shorter, longer
    shape = [*longer]
    for place in range(-len(shorter), 0):
        own, size = longer[place], shorter[place]
        if own is size or size is ONE:
            continue
        if own is ONE or (single(own) and not single(size)):
            shape[place] = size
        elif not single(size) and not fits(own, size):
            raise FormulaError(
                f"{one.run.place(name)} joins {spell(one.shape)} and {spell(other.shape)}, whose "
                f"sizes {spell_size(own)} and {spell_size(size)} differ"
            )
    return tuple(shape)
