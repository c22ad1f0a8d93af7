"""Fourier transforms, and what is done to their spectra."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from vitprof.eager.account import Storage
from vitprof.eager.tape import Gradient, Kept
from vitprof.eager.tensor import BYTES, Tensor
from vitprof.formulas.op import FFT, Op
from vitprof.formulas.size import product

if TYPE_CHECKING:
    from vitprof.eager.run import Eager


def fft(run: Eager, op: FFT, x: Tensor, like: Tensor | None = None) -> Tensor:
    """Transforms compute in fp32, and return the dtype that they were given."""
    return _TRANSFORMS[op.type](run, op, x, like or x)


def _real_part_of_fft(run: Eager, op: FFT, x: Tensor, like: Tensor) -> Tensor:
    """What goes in is made complex, and so is the gradient of the real part, a view."""
    elements = x.elements
    wide = run.cast(x, _wide(x))
    storage = run.new(elements, "complex64")
    pairs = run.made(storage, elements, "complex64", (wide,), lambda g, kept: (g,))
    y = run.new(elements, "complex64")
    part = run.made(y, elements, wide.dtype, (run.made(y, elements, "complex64", (pairs,)),))
    del wide, storage, pairs, y
    return run.cast(part, like.dtype)


def _half_fft(run: Eager, op: FFT, x: Tensor, like: Tensor) -> Tensor:
    """Keeps its input; the gradient is filled up with zeros to all frequencies first."""
    elements, points = product(op.shape), x.elements
    wide = run.cast(x, _wide(x))

    def backward(g: Storage, kept: Kept) -> Sequence[Gradient]:
        filled = run.new(points, "complex64") if points.value > elements.value else None
        gradient = run.new(points, "complex64")
        del filled
        return (gradient,)

    y = run.new(elements, "complex64")
    return run.made(y, elements, "complex64", (wide,), backward, run.keep(wide.storage))


def _inverse_half_fft(run: Eager, op: FFT, x: Tensor, like: Tensor) -> Tensor:
    elements, dtype = product(op.shape), _wide(like)
    return run.cast(run.made(run.new(elements, dtype), elements, dtype, (x,)), like.dtype)


def complex_multiply(run: Eager, op: Op, x: Tensor, weight: Tensor) -> Tensor:
    """Times complex weights, pairs of fp32: keeps both, and conjugates them for the gradients."""
    pairs = run.cast(weight, _wide(weight))
    of_x, of_pairs = run.gradient(x), run.gradient(pairs)
    elements, dtype = x.elements, x.dtype

    def backward(g: Storage, kept: Kept) -> Sequence[Gradient]:
        conjugate = run.new(elements, dtype)
        terms = run.new(elements, dtype)
        del conjugate
        of_weight = of_pairs()
        gradient = of_x()
        del of_weight
        total = of_pairs()
        del terms
        return gradient, total

    kept = run.keep(x.storage, pairs.storage)
    return run.made(run.new(elements, dtype), elements, dtype, (x, pairs), backward, kept)


def _wide(x: Tensor) -> str:
    """The dtype that a transform computes in."""
    return "fp32" if BYTES[x.dtype] < BYTES["fp32"] else x.dtype


_TRANSFORMS: Mapping[str, Callable[..., Tensor]] = {
    "RealPartFFT2": _real_part_of_fft,
    "HalfFFT2": _half_fft,
    "InverseHalfFFT2": _inverse_half_fft,
}
