"""Products of matrices: `mm`, `bmm`, `addmm`, and `matmul` and `linear`, which call them."""

from __future__ import annotations

from vitprof.allocation.autograd import Tensor
from vitprof.allocation.eager import Eager
from vitprof.allocation.kernels.elementwise import add
from vitprof.allocation.kernels.views import Grads, expand, permuted, reshape, transpose
from vitprof.allocation.launches import Kind, Product
from vitprof.formulas.op import Shape
from vitprof.values.size import product


def linear(m: Eager, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Follow `at::linear`.

    With a bias it is `addmm` if x is a matrix or contiguous, else a product and a sum.
    """
    if bias is not None:
        bias = m.to_autocast_dtype(bias)
    weight = m.to_autocast_dtype(weight)
    x = m.to_autocast_dtype(x)
    if bias is not None and len(x.sizes) == 2:
        return addmm(m, bias, x, transpose(m, weight, 0, 1))
    if bias is not None and x.is_contiguous:
        rows = reshape(m, x, (product(x.sizes[:-1]), x.sizes[-1]))
        y = addmm(m, bias, rows, transpose(m, weight, 0, 1))
        return reshape(m, y, (*x.sizes[:-1], y.sizes[-1]))
    y = matmul(m, x, transpose(m, weight, 0, 1))
    if bias is not None:
        y = add_in_place(m, y, bias) if m.departs.biases else add(m, y, bias)
    m.free(x)  # the cast of x is an argument, held to the end
    return y


def add_in_place(m: Eager, x: Tensor, y: Tensor) -> Tensor:
    """Follow `x.add_(y)`: the memory of x, and the graph of a sum."""
    node = m.node(x, y)
    z = m.view(x, x.sizes, x.strides)
    m.launch(Kind.ELEMENTWISE, (x, y), (z,))
    return m.made(z, node, (x, y), lambda g, kept: [g[0], g[0]])


def addmm(m: Eager, bias: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Follow x y + b of matrices, which saves x and y; the bias's gradient is the gradient."""
    node = m.node(bias, x, y)
    if node is not None:
        m.save(node, *[x] * node.needs_grad(2), *[y] * node.needs_grad(1))
    of_x, of_y = _by_columns(x), _by_columns(y)

    def back(grads: Grads, saved: Grads) -> list[Tensor | None]:
        assert node is not None
        (g,) = grads
        left = _of_left(m, g, saved[-1], by_columns=of_x) if node.needs_grad(1) else None
        right = _of_right(m, g, saved[0], by_columns=of_y) if node.needs_grad(2) else None
        return [g if node.needs_grad(0) else None, left, right]

    m.contract(node, x, y)
    return m.made(_product(m, x, y, bias), node, (bias, x, y), back)


def mm(m: Eager, x: Tensor, y: Tensor) -> Tensor:
    """Follow x y of matrices: each is saved for the other's gradient; y's is made first."""
    node = m.node(x, y)
    if node is not None:
        m.save(node, *[y] * node.needs_grad(0), *[x] * node.needs_grad(1))
    of_x, of_y = _by_columns(x), _by_columns(y)

    def back(grads: Grads, saved: Grads) -> list[Tensor | None]:
        assert node is not None
        (g,) = grads
        right = _of_right(m, g, saved[-1], by_columns=of_y) if node.needs_grad(1) else None
        left = _of_left(m, g, saved[0], by_columns=of_x) if node.needs_grad(0) else None
        return [left, right]

    m.contract(node, x, y)
    return m.made(_product(m, x, y), node, (x, y), back)


def _by_columns(x: Tensor) -> bool:
    """Return True if a matrix is contiguous by columns."""
    return x.strides[0] == 1 and x.strides[1] == x.shape[0]


def _of_left(m: Eager, g: Tensor, y: Tensor, *, by_columns: bool) -> Tensor:
    """Allocate `mm_mat1_grad`: g y^T, by columns if x is."""
    if by_columns:
        return _transposed(m, _product(m, y, _transposed(m, g)))
    return _product(m, g, _transposed(m, y))


def _of_right(m: Eager, g: Tensor, x: Tensor, *, by_columns: bool) -> Tensor:
    """Allocate `mm_mat2_grad`: x^T g, by columns if y is."""
    if by_columns:
        return _transposed(m, _product(m, _transposed(m, g), x))
    return _product(m, _transposed(m, x), g)


def _transposed(m: Eager, x: Tensor) -> Tensor:
    return permuted(m, x, (1, 0))


def _product(m: Eager, x: Tensor, y: Tensor, *bias: Tensor) -> Tensor:
    """Allocate the product of two matrices, to which a bias may be added.

    A kernel of the CPU copies a matrix that BLAS cannot read in place (`addmm_impl_cpu_` in
    LinearAlgebra.cpp).
    """
    made = m.new((x.sizes[0], y.sizes[1]), x.dtype)
    rows, inner = x.shape
    product = Product(1, rows, inner, y.shape[1])
    m.launch(Kind.PRODUCT, (*bias, x, y), (made,), products=(product,))
    if m.own_memory:
        copies = [m.new(one.sizes, one.dtype) for one in (x, y) if not _readable(one)]
        m.free(made, *copies)
    return made


def _readable(x: Tensor) -> bool:
    """Return True if BLAS can read a matrix by its rows or by its columns."""
    (rows, columns), (down, along) = x.shape, x.strides
    return (along == 1 and down >= max(1, columns)) or (down == 1 and along >= max(1, rows))


def bmm(m: Eager, x: Tensor, y: Tensor) -> Tensor:
    """Follow x y of batches of matrices: each is saved for the other's gradient; y's is first."""
    node = m.node(x, y)
    if node is not None:
        m.save(node, *[y] * node.needs_grad(0), *[x] * node.needs_grad(1))
    left, right = x.sizes, y.sizes

    def back(grads: Grads, saved: Grads) -> list[Tensor | None]:
        assert node is not None
        (g,) = grads
        of_y = _products(m, _turned(m, saved[-1]), g, right) if node.needs_grad(1) else None
        of_x = _products(m, g, _turned(m, saved[0]), left) if node.needs_grad(0) else None
        return [of_x, of_y]

    m.contract(node, x, y)
    return m.made(_products(m, x, y, (*left[:-1], right[-1])), node, (x, y), back)


def _turned(m: Eager, x: Tensor) -> Tensor:
    return permuted(m, x, (0, 2, 1))


def _products(m: Eager, x: Tensor, y: Tensor, sizes: Shape) -> Tensor:
    """Allocate the products of batches of matrices."""
    made = m.new(sizes, x.dtype)
    batch, rows, inner = x.shape
    product = Product(batch, rows, inner, y.shape[2])
    m.launch(Kind.PRODUCT, (x, y), (made,), products=(product,))
    return made


def matmul(m: Eager, x: Tensor, y: Tensor) -> Tensor:
    """Follow `at::matmul`: `mm` if y is a matrix and x can be reshaped to one, else `bmm`.

    For `bmm` both are expanded to the same leading axes, which are then flattened: a copy
    if the strides do not allow a view.
    """
    if len(x.sizes) == 2 and len(y.sizes) == 2:
        return mm(m, x, y)
    lead = x.sizes[:-2]
    if len(y.sizes) == 2 and (y.requires_grad or _folds(x)):
        rows = reshape(m, x, (product(x.sizes[:-1]), x.sizes[-1]))
        return reshape(m, mm(m, rows, y), (*x.sizes[:-1], y.sizes[-1]))
    each = product(lead)
    left = reshape(m, expand(m, x, x.sizes), (each, *x.sizes[-2:]))
    repeated = expand(m, y, (*lead, *y.sizes[-2:]))
    right = reshape(m, repeated, (each, *y.sizes[-2:]))
    return reshape(m, bmm(m, left, right), (*x.sizes[:-1], y.sizes[-1]))


def _folds(x: Tensor) -> bool:
    """Return True if the leading axes and rows of x can be viewed as one (`should_fold`)."""
    return all(
        x.strides[place] == x.strides[place + 1] * x.shape[place + 1]
        for place in range(len(x.shape) - 2)
    )
