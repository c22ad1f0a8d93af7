"""Memory of gradient clipping by the total norm: `torch.nn.utils.clip_grad_norm_`.

    n_i = ‖g_i‖, n = ‖(n_1, ..., n_T)‖
    g_i ← g_i min(1, c / (n + ε))

Each norm is a tensor of one element in the dtype of the gradients, and so is each step from n to
the factor; the gradients are multiplied in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vitprof.allocation.launches import Kind
from vitprof.cuda.norms import foreach_norm_partials
from vitprof.values.size import Size

if TYPE_CHECKING:
    from vitprof.allocation.autograd import Tensor
    from vitprof.allocation.eager import Eager


def clip(m: Eager, gradients: Sequence[Size], *, foreach: bool) -> None:
    """Clip gradients of these numbers of elements; `foreach` computes their norms together."""
    dtype = m.weight_dtype
    flat = [m.parameter((size,), trained=False) for size in gradients]
    norms = _norms_together(m, flat) if foreach else [norm(m, one) for one in flat]
    stacked = m.new((Size(len(norms), "tensors"),), dtype)
    m.launch(Kind.COPY, norms, (stacked,))
    total = norm(m, stacked)
    m.free(stacked, *norms)
    above = m.with_scalar(total)  # n + ε
    inverse = m.elementwise(above)
    factor = m.with_scalar(inverse)
    m.free(above, inverse)
    clamped = m.elementwise(factor)  # to 1
    m.free(clamped, factor, total)
    for some in [flat] if foreach else [[one] for one in flat]:
        kind = Kind.OPTIMIZER if foreach else Kind.ELEMENTWISE
        m.launch(kind, (*some, clamped), some)


def norm(m: Eager, x: Tensor) -> Tensor:
    """Allocate the norm of a tensor of one axis: `linalg_vector_norm`."""
    y = m.new((), x.dtype)
    m.launch(Kind.REDUCTION, (x,), (y,))
    m.reduction(x, (0,), kind="norm")
    m.free(x, y)
    return y


def _norms_together(m: Eager, flat: Sequence[Tensor]) -> list[Tensor]:
    """Allocate `_foreach_norm`, whose kernel on a GPU sums chunks of tensors into fp32."""
    if m.platform is None:
        return [m.new((), x.dtype) for x in flat]
    partial = m.new((Size(foreach_norm_partials([x.shape[0] for x in flat])),), "bool")
    norms = [m.new((), x.dtype) for x in flat]
    m.launch(Kind.OPTIMIZER, flat, norms)
    m.free(partial)
    return norms
