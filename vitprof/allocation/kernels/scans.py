"""Scans: recurrences along an axis, step by step."""

from __future__ import annotations

from vitprof.allocation.autograd import Tensor
from vitprof.allocation.eager import Eager
from vitprof.allocation.kernels.elementwise import add, multiply
from vitprof.allocation.kernels.views import stack, unbind


def scan(m: Eager, decay: Tensor, x: Tensor) -> Tensor:
    """Follow h[n] = decay[n] h[n - 1] + x[n] along the second axis, each step two kernels.

    Each product saves its decay and the state before it, and the states are stacked.
    """
    decays, steps = unbind(m, decay, 1), unbind(m, x, 1)
    states = [steps[0]]
    for fade, step in zip(decays[1:], steps[1:], strict=True):
        states.append(add(m, multiply(m, fade, states[-1]), step))
    y = stack(m, states, 1)
    m.free(decay, x)
    return y
