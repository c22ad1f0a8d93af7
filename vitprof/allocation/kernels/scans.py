"""Scans: recurrences along an axis, step by step."""

from __future__ import annotations

from vitprof.allocation.autograd import Tensor
from vitprof.allocation.eager import Eager
from vitprof.allocation.kernels.elementwise import add, multiply
from vitprof.allocation.kernels.views import stack, unbind
from vitprof.allocation.launches import Kind


def scan(m: Eager, decay: Tensor, x: Tensor) -> Tensor:
    """Follow h[n] = decay[n] h[n - 1] + x[n] along the second axis, each step two kernels.

    Each product saves its decay and the state before it, and the states are stacked.
    """
    decays, steps = unbind(m, decay, 1), unbind(m, x, 1)
    state = m.new(steps[0].sizes, x.dtype)
    m.launch(Kind.ELEMENTWISE, (), (state,))
    states = []
    for fade, step in zip(decays, steps, strict=True):
        before, state = state, add(m, multiply(m, fade, state), step)
        m.free(before)
        states.append(state)
    y = stack(m, states, 1)
    m.free(decay, x)
    return y
