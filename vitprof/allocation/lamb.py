"""Memory of an update of one parameter by `vitprof.running.lamb`, line by line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitprof.allocation.clip import norm
from vitprof.allocation.kernels.views import filled
from vitprof.allocation.launches import Kind

if TYPE_CHECKING:
    from vitprof.allocation.eager import Eager
    from vitprof.values.size import Size


def update(m: Eager, size: Size) -> None:
    """Follow the update of a parameter of this number of elements."""
    x = m.parameter((size,), trained=False)
    # `lerp_` and `addcmul_` take scalars without a tensor.
    m.launch(Kind.ELEMENTWISE, (x, x), (x,))
    m.in_place_with_scalar(x)  # v β2
    m.launch(Kind.ELEMENTWISE, (x, x, x), (x,))
    root = m.elementwise(x)
    denominator = m.with_scalar(root)
    m.free(root)
    m.in_place_with_scalar(denominator)  # + ε
    step = m.with_scalar(x)
    m.launch(Kind.ELEMENTWISE, (step, denominator), (step,))
    m.launch(Kind.ELEMENTWISE, (step, x), (step,))
    of_x, of_step = norm(m, x), norm(m, step)
    both = [m.compared(one) for one in (of_x, of_step)]
    defined = m.elementwise(*both)
    m.free(*both)
    ratio, one = m.elementwise(of_x, of_step), filled(m, (), x.dtype)
    chosen = m.new((), x.dtype)  # `where`
    m.launch(Kind.ELEMENTWISE, (defined, ratio, one), (chosen,))
    m.free(chosen, defined, ratio, one, of_x, of_step)
    m.launch(Kind.ELEMENTWISE, (step, chosen), (step,))
    m.launch(Kind.ELEMENTWISE, (x, step), (x,))
    m.free(denominator, step)
