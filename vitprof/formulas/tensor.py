"""Tensors of a formula: shapes of named sizes, with the tensor methods of torch.

    q, k, v = qkv.reshape(B, N, 3, h, d).permute(2, 0, 3, 1, 4).unbind(0)

A size keeps its name: `reshape` takes sizes, not -1. Shapes that do not fit raise FormulaError
with both sizes and their names. Sizes that are arrays or symbols are not compared, since their
formula has been checked with numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn, Protocol

from vitprof.errors import FormulaError
from vitprof.formulas.op import Shape
from vitprof.formulas.work import without_a_rule
from vitprof.values.size import ONE, Size, as_size, product


class ForwardPass(Protocol):
    """The part of a forward pass that its tensors use."""

    checked: bool

    def place(self, name: str = "") -> str:
        """Return the place in the forward pass, for an error sentence."""


class Tensor:
    """A tensor that has only a shape.

    Attributes:
        run: the forward pass that it belongs to.
        shape: its axes.
    """

    __slots__ = ("run", "shape")

    def __init__(self, run: ForwardPass, shape: Shape) -> None:
        self.run = run
        self.shape = shape

    if not TYPE_CHECKING:  # mypy would then accept any name

        def __getattr__(self, name: str) -> NoReturn:
            if name.startswith("_"):
                raise AttributeError(name)
            words = [word for word in vars(Tensor) if not word.startswith("_")]
            raise FormulaError(without_a_rule(self.run.place(), "method of a tensor", name, words))

    # Views, or copies if no view is possible

    def reshape(self, *sizes: Size | int) -> Tensor:
        """Return the same elements in the same order, in another shape."""
        shape = named(sizes)
        if self.run.checked:
            own = wanted = 1  # a loop, since every count gets here dozens of times
            for size in self.shape:
                own *= size.value
            for size in shape:
                wanted *= size.value
            if own != wanted:
                raise self.refusal(f"reshape to {spell(shape)}", "has another number of elements")
        return Tensor(self.run, shape)

    def flatten(self, start: int, end: int = -1) -> Tensor:
        """Merge neighbouring axes."""
        axes = self.shape
        start, end = self._axis(start), self._axis(end)
        return self.reshape(*axes[:start], product(axes[start : end + 1]), *axes[end + 1 :])

    def unflatten(self, dim: int, sizes: Sequence[Size | int]) -> Tensor:
        """Split an axis into several axes."""
        dim = self._axis(dim)
        return self.reshape(*self.shape[:dim], *sizes, *self.shape[dim + 1 :])

    def permute(self, *dims: int) -> Tensor:
        """Return the axes in another order."""
        axes = self.shape
        if len({*dims}) != len(axes):
            raise self.refusal(f"permute to {dims}", f"has {len(axes)} axes")
        return Tensor(self.run, tuple([axes[dim] for dim in dims]))

    def transpose(self, one: int, other: int) -> Tensor:
        """Exchange two axes."""
        axes = [*self.shape]
        try:
            axes[one], axes[other] = axes[other], axes[one]
        except IndexError:
            raise self.refusal(f"transpose {one} and {other}", f"has {len(axes)} axes") from None
        return Tensor(self.run, tuple(axes))

    @property
    def mT(self) -> Tensor:  # noqa: N802
        """The transpose of each matrix, as in torch."""
        return self.transpose(-2, -1)

    def unsqueeze(self, dim: int) -> Tensor:
        """Insert an axis of length 1."""
        dim = dim if dim >= 0 else dim + len(self.shape) + 1
        return Tensor(self.run, (*self.shape[:dim], ONE, *self.shape[dim:]))

    def squeeze(self, dim: int) -> Tensor:
        """Remove an axis of length 1."""
        dim = self._axis(dim)
        if not single(self.shape[dim]):
            raise self.refusal(f"squeeze axis {dim}", "is longer than 1 there")
        return Tensor(self.run, (*self.shape[:dim], *self.shape[dim + 1 :]))

    def expand(self, *sizes: Size | int) -> Tensor:
        """Expand axes of length 1, and add axes in front."""
        shape, place = named(sizes), len(sizes)
        for own in reversed(self.shape):
            place -= 1
            size = shape[place]
            if own is not size and own is not ONE and not single(own) and not fits(own, size):
                raise self.refusal(f"expand to {spell(shape)}", "is longer than 1 elsewhere")
        return Tensor(self.run, shape)

    # Parts

    def unbind(self, dim: int = 0) -> tuple[Tensor, ...]:
        """Return the slices along an axis, without that axis."""
        dim = self._axis(dim)
        shape = (*self.shape[:dim], *self.shape[dim + 1 :])
        return (Tensor(self.run, shape),) * self.shape[dim].value

    def split(self, sizes: Sequence[Size], dim: int = 0) -> tuple[Tensor, ...]:
        """Split an axis into parts of the given lengths."""
        dim = self._axis(dim)
        if self.run.checked and sum([size.value for size in sizes]) != self.shape[dim].value:
            raise self.refusal(f"split axis {dim} into {spell(sizes)}", "is not as long there")
        before, after = self.shape[:dim], self.shape[dim + 1 :]
        return tuple([Tensor(self.run, (*before, size, *after)) for size in sizes])

    def narrow(self, dim: int, start: Size | int, length: Size) -> Tensor:
        """Return a range of an axis; the whole range is an alias of the tensor."""
        axes, dim = self.shape, self._axis(dim)
        first = start.value if isinstance(start, Size) else start
        if self.run.checked and first + length.value > axes[dim].value:
            raise self.refusal(
                f"narrow axis {dim} to {spell_size(length)} from {first} on",
                "is not as long there",
            )
        return Tensor(self.run, (*axes[:dim], length, *axes[dim + 1 :]))

    def select(self, dim: int, index: int) -> Tensor:
        """Return one index of an axis, without that axis."""
        dim = self._axis(dim)
        shape = (*self.shape[:dim], *self.shape[dim + 1 :])
        return Tensor(self.run, shape)

    def __getitem__(self, places: tuple[slice | int, ...]) -> Tensor:
        """Index by slices and integers, axis by axis: `x[:, :kept]`, `x[:, 1:]`, `x[:, 0]`."""
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
        """Return all windows of a length along an axis; their elements become the last axis."""
        dim = self._axis(dim)
        windows = self.shape[dim] - size + 1
        shape = (*self.shape[:dim], windows, *self.shape[dim + 1 :], size)
        return Tensor(self.run, shape)

    # Copies

    def contiguous(self) -> Tensor:
        """Return a contiguous tensor; a copy if it is not contiguous."""
        return self

    def clone(self) -> Tensor:
        """Return a contiguous copy."""
        return self

    def flip(self, dim: int) -> Tensor:
        """Return a copy with an axis reversed."""
        return self

    def roll(self, shifts: tuple[int, ...], dims: tuple[int, ...]) -> Tensor:
        """Return a copy with elements moved along axes, and those that leave put in front."""
        return self

    def to(self, dtype: str) -> Tensor:
        """Cast to another dtype; `float` is the dtype of the weights."""
        return self

    def type_as(self, other: Tensor) -> Tensor:
        """Cast to the dtype of another tensor."""
        return self

    def exact(self) -> Tensor:
        """Cast to fp32 if the dtype has fewer bits."""
        return self

    def view_as_complex(self) -> Tensor:
        """Return the pairs along the last axis as complex numbers."""
        return Tensor(self.run, self.shape[:-1])

    def detach(self) -> Tensor:
        """Return the same memory without gradient."""
        return self

    # Indices and masks

    def argsort(self, dim: int) -> Tensor:
        """Return the indices that sort an axis, as int64."""
        return self

    def ge(self, number: Size) -> Tensor:
        """Compare each element with a number, `>=`, as bool."""
        return self

    def gather(self, dim: int, index: Tensor) -> Tensor:
        """Return the elements at the given indices of an axis."""
        return Tensor(self.run, index.shape)

    def index(self, indices: Tensor) -> Tensor:
        """Return `x[indices]`, by indices of the first axis."""
        return Tensor(self.run, (*indices.shape, *self.shape[1:]))

    def _axis(self, dim: int) -> int:
        own = len(self.shape)
        if not -own <= dim < own:
            raise self.refusal(f"take axis {dim}", f"has {own} axes")
        return dim % own

    def refusal(self, what: str, why: str) -> FormulaError:
        """Return the error that an operation does not fit this tensor."""
        return FormulaError(f"{self.run.place()} cannot {what}: {spell(self.shape)} {why}")


def single(size: Size) -> bool:
    """True if a size is known to be 1."""
    return size is ONE or (type(size.value) is int and size.value == 1)


def fits(one: Size, other: Size) -> bool:
    """True if two sizes are equal, or one of them is not a number."""
    left, right = one.value, other.value
    return (
        left is right
        or left.__class__ is not int
        or right.__class__ is not int
        or bool(left == right)
    )


def alike(one: Sequence[Size], other: Sequence[Size]) -> bool:
    """True if two shapes are equal, as far as their sizes are numbers."""
    return len(one) == len(other) and all(map(fits, one, other))


def named(sizes: tuple[Size | int, ...]) -> Shape:
    """Return sizes and plain integers as a shape."""
    for size in sizes:
        if size.__class__ is not Size:
            return tuple([as_size(size) for size in sizes])
    return sizes  # type: ignore[return-value]


def spell(shape: Sequence[Size]) -> str:
    """Return a shape for a sentence, with names and numbers: `(B 3, N 50, 3 × D 192)`."""
    return f"({', '.join(map(spell_size, shape))})"


def spell_size(size: Size) -> str:
    """Return a size for a sentence: `D 64`."""
    return f"{size.formula} {size.value}" if size.name or size.operator else str(size.value)


def broadcast(one: Tensor, other: Tensor, name: str) -> Shape:
    """Return the output shape of an elementwise op on two tensors.

    An axis of length 1, or a missing one, takes the other's length and name.

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
