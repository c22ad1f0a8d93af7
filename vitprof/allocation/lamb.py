"""Memory of an update of one parameter by `vitprof.running.lamb`, line by line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitprof.allocation.clip import norm

if TYPE_CHECKING:
    from vitprof.allocation.eager import Eager
    from vitprof.values.size import Size


def update(m: Eager, size: Size) -> None:
    """Follow the update of a parameter of this number of elements."""
    x = m.parameter((size,), trained=False)
    m.in_place_with_scalar(x)  # v β2; `lerp_` and `addcmul_` take scalars without a tensor
    root = m.like(x)
    denominator = m.with_scalar(root)
    m.free(root)
    m.in_place_with_scalar(denominator)  # + ε
    step = m.with_scalar(x)
    of_x, of_step = norm(m, x), norm(m, step)
    both = [m.compared(one) for one in (of_x, of_step)]
    defined = m.new((), "bool")
    m.free(*both)
    ratio, one = m.new((), x.dtype), m.new((), x.dtype)
    m.free(m.new((), x.dtype), defined, ratio, one, of_x, of_step)  # `where`
    m.free(denominator, step)
