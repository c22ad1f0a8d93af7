"""Products of matrices: `mm`, `bmm`, `addmm`, and `matmul` and `linear`, which are made of them."""

from __future__ import annotations

from vitprof.allocation.autograd import Tensor
from vitprof.allocation.eager import Eager, is_in_order
from vitprof.allocation.kernels.elementwise import add
from vitprof.allocation.kernels.views import Grads, expand, permuted, reshape, transpose
from vitprof.values.size import product


def linear(m: Eager, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`at::linear`: with a bias, `addmm` if x is a matrix or in order; else a product and a sum."""
    if bias is not None:
        bias = m.lower(bias)
    weight = m.lower(weight)
    x = m.lower(x)
    if bias is not None and len(x.sizes) == 2:
        return addmm(m, bias, x, transpose(m, weight, 0, 1))
    if bias is not None and is_in_order(x):
        rows = reshape(m, x, (product(x.sizes[:-1]), x.sizes[-1]))
        y = addmm(m, bias, rows, transpose(m, weight, 0, 1))
        return reshape(m, y, (*x.sizes[:-1], y.sizes[-1]))
    y = matmul(m, x, transpose(m, weight, 0, 1))
    if bias is not None:
        y = add_in_place(m, y, bias) if m.departs.biases else add(m, y, bias)
    m.free(x)  # its cast is an argument, held to the end
    return y


def add_in_place(m: Eager, x: Tensor, y: Tensor) -> Tensor:
    """`x.add_(y)`: the memory of x, and a function as of a sum."""
    node = m.node(x, y)
    z = m.see(x, x.sizes, x.strides)
    return m.made(z, node, (x, y), lambda g, kept: [g[0], g[0]])


def addmm(m: Eager, bias: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """x y + b of matrices: keeps both; the gradient of the bias is the gradient itself."""
    node = m.node(bias, x, y)
    if node is not None:
        m.save(node, *[x] * node.wants(2), *[y] * node.wants(1))
    of_x, of_y = _by_columns(x), _by_columns(y)

    def back(grads: Grads, saved: Grads) -> list[Tensor | None]:
        assert node is not None
        (g,) = grads
        left = _of_left(m, g, saved[-1], by_columns=of_x) if node.wants(1) else None
        right = _of_right(m, g, saved[0], by_columns=of_y) if node.wants(2) else None
        return [g if node.wants(0) else None, left, right]

    return m.made(_product(m, x, y), node, (bias, x, y), back)


def mm(m: Eager, x: Tensor, y: Tensor) -> Tensor:
    """x y of matrices: keeps each that the gradient of the other is made with; y's comes first."""
    node = m.node(x, y)
    if node is not None:
        m.save(node, *[y] * node.wants(0), *[x] * node.wants(1))
    of_x, of_y = _by_columns(x), _by_columns(y)

    def back(grads: Grads, saved: Grads) -> list[Tensor | None]:
        assert node is not None
        (g,) = grads
        right = _of_right(m, g, saved[-1], by_columns=of_y) if node.wants(1) else None
        left = _of_left(m, g, saved[0], by_columns=of_x) if node.wants(0) else None
        return [left, right]

    return m.made(_product(m, x, y), node, (x, y), back)


def _by_columns(x: Tensor) -> bool:
    """Whether the columns of a matrix lie in their order."""
    return x.strides[0] == 1 and x.strides[1] == x.shape[0]


def _of_left(m: Eager, g: Tensor, y: Tensor, *, by_columns: bool) -> Tensor:
    """`mm_mat1_grad`: g y^T, laid out by columns where x is."""
    if by_columns:
        return _turned(m, _product(m, y, _turned(m, g)))
    return _product(m, g, _turned(m, y))


def _of_right(m: Eager, g: Tensor, x: Tensor, *, by_columns: bool) -> Tensor:
    """`mm_mat2_grad`: x^T g, laid out by columns where y is."""
    if by_columns:
        return _turned(m, _product(m, _turned(m, g), x))
    return _product(m, _turned(m, x), g)


def _turned(m: Eager, x: Tensor) -> Tensor:
    return permuted(m, x, (1, 0))


def _product(m: Eager, x: Tensor, y: Tensor) -> Tensor:
    """The product of two matrices; a kernel of the CPU copies what BLAS cannot read in place.

    (`addmm_impl_cpu_` in LinearAlgebra.cpp.)
    """
    made = m.new((x.sizes[0], y.sizes[1]), x.dtype)
    if m.own_memory:
        copies = [m.new(one.sizes, one.dtype) for one in (x, y) if not _readable(one)]
        m.free(made, *copies)
    return made


def _readable(x: Tensor) -> bool:
    """Whether BLAS can read a matrix by its rows or by its columns."""
    (rows, columns), (down, along) = x.shape, x.strides
    return (along == 1 and down >= max(1, columns)) or (down == 1 and along >= max(1, rows))


def bmm(m: Eager, x: Tensor, y: Tensor) -> Tensor:
    """x y of as many matrices: keeps each that the other's gradient is made with; y's first."""
    node = m.node(x, y)
    if node is not None:
        m.save(node, *[y] * node.wants(0), *[x] * node.wants(1))
    left, right = x.sizes, y.sizes

    def back(grads: Grads, saved: Grads) -> list[Tensor | None]:
        assert node is not None
        of_y = m.new(right, grads[0].dtype) if node.wants(1) else None
        of_x = m.new(left, grads[0].dtype) if node.wants(0) else None
        return [of_x, of_y]

    return m.made(m.new((*left[:-1], right[-1]), x.dtype), node, (x, y), back)


def matmul(m: Eager, x: Tensor, y: Tensor) -> Tensor:
    """`at::matmul`: `mm` where y is a matrix and x can be seen as one, else `bmm`.

    For `bmm` both are repeated to the same leading axes, which are then made one: a copy
    where the strides do not allow that.
    """
    if len(x.sizes) == 2 and len(y.sizes) == 2:
        return mm(m, x, y)
    lead = x.sizes[:-2]
    if len(y.sizes) == 2 and (y.wanted or _folds(x)):
        rows = reshape(m, x, (product(x.sizes[:-1]), x.sizes[-1]))
        return reshape(m, mm(m, rows, y), (*x.sizes[:-1], y.sizes[-1]))
    each = product(lead)
    left = reshape(m, expand(m, x, x.sizes), (each, *x.sizes[-2:]))
    repeated = expand(m, y, (*lead, *y.sizes[-2:]))
    right = reshape(m, repeated, (each, *y.sizes[-2:]))
    return reshape(m, bmm(m, left, right), (*x.sizes[:-1], y.sizes[-1]))


def _folds(x: Tensor) -> bool:
    """Whether the leading axes and rows of x lie one within the other (`should_fold`)."""
    return all(
        x.strides[place] == x.strides[place + 1] * x.shape[place + 1]
        for place in range(len(x.shape) - 2)
    )
