"""Fourier transforms, which compute in fp32, and products of their spectra."""

from __future__ import annotations

from collections.abc import Sequence

from vitprof.allocation.autograd import Tensor
from vitprof.allocation.eager import Eager
from vitprof.allocation.kernels.elementwise import joint
from vitprof.allocation.kernels.views import Grads, filled
from vitprof.allocation.launches import Kind
from vitprof.allocation.strides import Ints
from vitprof.formulas.op import Shape


def to_float32(m: Eager, x: Tensor) -> Tensor:
    """Return x in fp32, in which transforms compute, if its dtype has 16 bits."""
    return m.cast(x, "fp32") if x.dtype in ("bf16", "fp16") else x


def real_part_of_fft(m: Eager, x: Tensor) -> Tensor:
    """Follow `fft2(x).real`: the input is made complex, and so is the real part's gradient."""
    dtype = x.dtype
    wide = to_float32(m, x)
    node = m.node(wide)
    complex_ = m.copied(wide, "complex64")
    pairs = m.made(complex_, node, (wide,), lambda g, kept: [_real(m, g[0])])
    spectrum = _transform(m, pairs, pairs.sizes, (1, 2))
    m.free(wide)
    m.made_view(spectrum)  # `real` is two views: of all parts, and of the real ones
    y = _real(m, spectrum)

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        made = m.new(grads[0].sizes, "complex64")  # `select_backward`
        m.launch(Kind.COPY, grads, (made,))
        return [made]

    y = m.viewed(y, spectrum, back)
    return m.cast(y, dtype)


def _real(m: Eager, x: Tensor) -> Tensor:
    """Return the real parts of complex numbers, a view of every other fp32."""
    y = m.view(x, x.sizes, tuple([2 * stride for stride in x.strides]))
    y.dtype = "fp32"
    return y


def _transform(m: Eager, x: Tensor, out: Shape, dims: tuple[int, ...]) -> Tensor:
    """Follow `_fft_c2c`, whose gradient is a transform too."""
    node = m.node(x)

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        return [_complex_spectrum(m, grads[0], out, dims)]

    return m.made(_complex_spectrum(m, x, out, dims), node, (x,), back)


def _complex_spectrum(m: Eager, x: Tensor, out: Shape, dims: tuple[int, ...]) -> Tensor:
    """Allocate the result of `_fft_c2c`, which takes its axes by their strides, outermost first."""
    return _spectrum(m, x, out, sorted(dims, key=lambda dim: -x.strides[dim]))


def _spectrum(
    m: Eager, x: Tensor, out: Shape, dims: Sequence[int], dtype: str = "complex64"
) -> Tensor:
    """Allocate the result of a transform."""
    made = m.new(out, dtype, _innermost(out, x.strides, dims))
    own = [m.like(x)] if dtype == "fp32" and m.platform is not None else []
    m.launch(Kind.FFT, (x,), (made,), own=own)
    m.free(made, *own)
    return made


def _innermost(sizes: Shape, strides: Ints, dims: Sequence[int]) -> Ints:
    """Return the strides of the result of `_exec_fft`.

    The axes that are not transformed are outside, by their strides, the transformed ones inside.
    """
    others = [dim for dim in range(len(sizes)) if dim not in dims]
    others.sort(key=lambda dim: -strides[dim])
    order = [*others, *dims]
    made = [0] * len(sizes)
    step = 1
    for dim in reversed(order):
        made[dim] = step
        step *= sizes[dim].value
    return tuple(made)


def half_fft(m: Eager, x: Tensor, out: Shape) -> Tensor:
    """Follow `rfft2`, which saves its input; its gradient is padded with zeros first."""
    wide = to_float32(m, x)
    node = m.node(wide)
    m.save(node, wide)
    dims = (1, 2)
    sizes = wide.sizes
    y = _spectrum(m, wide, out, dims)

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        g = grads[0]
        padded = None
        if g.shape != saved[0].shape:
            padded = filled(m, sizes, "complex64")
            m.launch(Kind.COPY, (g,), (g,))
        spectrum = _complex_spectrum(m, padded or g, sizes, dims)
        if padded is not None:
            m.free(padded)
        return [_real(m, spectrum)]

    return m.made(y, node, (wide,), back)


def inverse_half_fft(m: Eager, x: Tensor, out: Shape, dtype: str) -> Tensor:
    """Follow `irfft2`; on a GPU it overwrites its input, so that a clone is transformed.

    `_fft_c2r_cufft` in SpectralOps.cpp.
    """
    node = m.node(x)
    dims = (1, 2)
    sizes = x.sizes
    y = _spectrum(m, x, out, dims, "fp32")

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        spectrum = _spectrum(m, grads[0], sizes, dims)
        inner = out[dims[-1]] - sizes[dims[-1]]  # frequencies that stand for two
        if inner.value > 0:
            shape = tuple([inner if dim == dims[-1] else size for dim, size in enumerate(sizes)])
            twice = m.view(spectrum, shape, spectrum.strides)
            m.launch(Kind.ELEMENTWISE, (twice,), (twice,))
        return [spectrum]

    return m.cast(m.made(y, node, (x,), back), dtype)


def complex_multiply(m: Eager, x: Tensor, y: Tensor) -> Tensor:
    """Follow a complex product: each factor is saved for the other's gradient, and conjugated."""
    node = m.node(x, y)
    if node is not None:
        m.save(node, *[y] * node.needs_grad(0), *[x] * node.needs_grad(1))

    def back(grads: Grads, saved: Grads) -> list[Tensor | None]:
        assert node is not None
        g = grads[0]
        of_y = _conjugated(m, g, saved[-1]) if node.needs_grad(1) else None
        of_x = _conjugated(m, g, saved[0]) if node.needs_grad(0) else None
        return [of_x, of_y]

    return m.made(m.elementwise(x, y, sizes=joint(x, y)), node, (x, y), back)


def _conjugated(m: Eager, g: Tensor, x: Tensor) -> Tensor:
    conjugate = m.copied(x, x.dtype)
    made = m.elementwise(g, conjugate, sizes=g.sizes)
    m.free(conjugate)
    return made
