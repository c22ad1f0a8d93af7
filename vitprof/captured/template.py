"""Tree of a module with the closed form of each dimension, and its values at sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vitprof.captured.fit import BATCH, Fitted
from vitprof.captured.sizes import Variable
from vitprof.captured.tree import Outputs, Part, Piece
from vitprof.formulas.layer import Layer
from vitprof.formulas.op import Shape
from vitprof.values.size import Size


@dataclass(frozen=True, slots=True)
class Template:
    """Tree of a module with the closed form of each dimension.

    Attributes:
        root: the tree; without closed forms, its numbers hold for the given batch alone.
        batch: the batch that it holds for; 0 if it holds for any.
        variables: sizes that its formulas depend on, other than the batch.
        names: name of each closed form that has one, `N`.
        decided: places at which the forward pass asks for the truth of a tensor.
        is_whole: True if the formulas at other sizes are of all work, False if only of what a
            tool counts.
    """

    root: Part
    batch: int
    variables: tuple[Variable, ...] = ()
    names: Mapping[Fitted, str] = field(default_factory=dict)
    decided: tuple[str, ...] = ()
    is_whole: bool = True

    @property
    def grows(self) -> bool:
        """True if no dimension gets smaller with a size of the inputs."""
        return all(
            coefficient >= 0
            for fitted in self._fits
            for monomial, coefficient in fitted.terms
            if monomial
        )

    def is_positive(self, values: Mapping[str, Any]) -> Any:
        """Return True if all dimensions are positive at sizes, which may be arrays."""
        sizes = {name: Size(value, name) for name, value in values.items()}
        positive: Any = True
        for fitted in self._fits:
            if fitted.variables - {BATCH}:
                positive = positive & (fitted.size(sizes).value > 0)
        return positive

    @property
    def _fits(self) -> set[Fitted]:
        return {fitted for piece in self.root.pieces() for shape in piece.fits for fitted in shape}

    def layer(self, values: Mapping[str, Any]) -> Layer:
        """Return the tree of ops at sizes, which may be arrays.

        Args:
            values: value of each variable, the batch `B` among them.
        """
        sizes = {name: Size(value, name) for name, value in values.items()}
        known: dict[Fitted, Size] = {}

        def size(fitted: Fitted) -> Size:
            if fitted not in known:
                known[fitted] = self._named(fitted, sizes)
            return known[fitted]

        def shapes(piece: Piece | Outputs) -> Sequence[Shape]:
            if not piece.fits and piece.shapes:
                return [tuple(Size(number) for number in shape) for shape in piece.shapes]
            return [tuple(size(one) for one in shape) for shape in piece.fits]

        return self.root.layer(shapes)

    def _named(self, fitted: Fitted, sizes: Mapping[str, Size]) -> Size:
        rest = fitted.without_batch()
        if rest is not None:
            return sizes[BATCH] if rest.is_one else sizes[BATCH] * self._named(rest, sizes)
        made = fitted.size(sizes)
        return made.named(self.names[fitted]) if fitted in self.names else made

    def legend(self, values: Mapping[str, int]) -> dict[str, Size]:
        """Return the arithmetic of each name at sizes."""
        sizes = {name: Size(value, name) for name, value in values.items()}
        return {name: fitted.size(sizes) for fitted, name in self.names.items()}
