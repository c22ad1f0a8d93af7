"""Elementwise functions: activations, sums, products, quotients, powers."""

from __future__ import annotations

from vitprof.allocation.autograd import Tensor
from vitprof.allocation.eager import Eager
from vitprof.allocation.kernels.views import Grads, filled, pass_on
from vitprof.allocation.launches import Kind
from vitprof.values.size import ONE, Size


def keeps_input(m: Eager, x: Tensor) -> Tensor:
    """Follow GELU or SiLU: the derivative follows from the input, which is saved."""
    node = m.node(x)
    m.save(node, x)
    return m.made(_activated(m, x), node, (x,), lambda g, kept: [_activated(m, g[0], kept[0])])


def _activated(m: Eager, *inputs: Tensor) -> Tensor:
    return m.elementwise(*inputs, kind=Kind.ACTIVATION)


def elu(m: Eager, x: Tensor) -> Tensor:
    """Follow ELU, which saves its input; by it, fake tensors select one of two gradients."""
    node = m.node(x)
    m.save(node, x)

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        both = (*grads, *saved)
        return [_activated(m, *(both if m.departs.layouts else reversed(both)))]

    return m.made(_activated(m, x), node, (x,), back)


def keeps_output(m: Eager, x: Tensor) -> Tensor:
    """Follow sigmoid or tanh: the derivative follows from the output, which is saved."""
    node = m.node(x)
    y = _activated(m, x)
    m.save(node, y)
    return m.made(y, node, (x,), lambda g, kept: [_activated(m, g[0], kept[0])])


def relu(m: Eager, x: Tensor) -> Tensor:
    """Follow ReLU, which saves its output; `threshold_backward` reads it before the gradient."""
    node = m.node(x)
    y = m.elementwise(x)
    m.save(node, y)
    return m.made(y, node, (x,), lambda g, kept: [m.elementwise(kept[0], g[0])])


def exp(m: Eager, x: Tensor) -> Tensor:
    """Follow exp, which saves its output, a factor of its gradient.

    Autocast on a GPU computes it in fp32.
    """
    x = m.to_float32(x)
    node = m.node(x)
    y = _activated(m, x)
    m.save(node, y)
    return m.made(y, node, (x,), lambda g, kept: [m.elementwise(g[0], kept[0])])


def softplus(m: Eager, x: Tensor) -> Tensor:
    """Follow softplus, whose gradients are made as those of ELU.

    Autocast on a GPU computes it in fp32.
    """
    return elu(m, m.to_float32(x))


def scale(m: Eager, x: Tensor) -> Tensor:
    """Follow a product with a scalar, which alone is saved."""
    node = m.node(x)
    return m.made(
        m.with_scalar(x, node), node, (x,), lambda g, kept: [m.with_scalar(g[0], kept=kept)]
    )


def add(m: Eager, x: Tensor, y: Tensor) -> Tensor:
    """Follow a sum, which saves nothing; its gradient is that of each term."""
    node = m.node(x, y)
    z = m.elementwise(x, y, sizes=joint(x, y))
    return m.made(z, node, (x, y), lambda g, kept: [g[0], g[0]])


def add_scalar(m: Eager, x: Tensor) -> Tensor:
    """Follow a sum with a scalar."""
    node = m.node(x)
    return m.made(m.with_scalar(x), node, (x,), pass_on)


def cos(m: Eager, x: Tensor) -> Tensor:
    """Follow cos, which saves x; its gradient is g (-sin x)."""
    node = m.node(x)
    m.save(node, x)

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        of_x = m.elementwise(saved[0])
        negated = m.elementwise(of_x)
        made = m.elementwise(grads[0], negated)
        m.free(of_x, negated)
        return [made]

    return m.made(m.elementwise(x), node, (x,), back)


def sin(m: Eager, x: Tensor) -> Tensor:
    """Follow sin, which saves x; its gradient is g cos x."""
    node = m.node(x)
    m.save(node, x)

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        of_x = m.elementwise(saved[0])
        made = m.elementwise(grads[0], of_x)
        m.free(of_x)
        return [made]

    return m.made(m.elementwise(x), node, (x,), back)


def subtract(m: Eager, x: Tensor, y: Tensor) -> Tensor:
    """Follow x - y, which saves nothing; its gradient is that of x, and negated that of y."""
    node = m.node(x, y)

    def back(grads: Grads, saved: Grads) -> list[Tensor | None]:
        assert node is not None
        of_y = m.elementwise(grads[0]) if node.needs_grad(1) else None
        return [grads[0] if node.needs_grad(0) else None, of_y]

    return m.made(m.elementwise(x, y, sizes=joint(x, y)), node, (x, y), back)


def multiply(m: Eager, x: Tensor, y: Tensor) -> Tensor:
    """Follow x y: each is saved for the other's gradient; that of y is made first."""
    node = m.node(x, y)
    if node is not None:
        m.save(node, *[y] * node.needs_grad(0), *[x] * node.needs_grad(1))

    def back(grads: Grads, saved: Grads) -> list[Tensor | None]:
        assert node is not None
        of_y = (
            m.elementwise(grads[0], saved[-1], sizes=grads[0].sizes) if node.needs_grad(1) else None
        )
        of_x = (
            m.elementwise(grads[0], saved[0], sizes=grads[0].sizes) if node.needs_grad(0) else None
        )
        return [of_x, of_y]

    return m.made(m.elementwise(x, y, sizes=joint(x, y)), node, (x, y), back)


def divide(m: Eager, x: Tensor, y: Tensor) -> Tensor:
    """Follow x / y, which saves y, and x for the gradient of y: -g ((x / y) / y), made first."""
    node = m.node(x, y)
    if node is not None:
        m.save(node, y, *[x] * node.needs_grad(1))

    def back(grads: Grads, saved: Grads) -> list[Tensor | None]:
        assert node is not None
        (g,), by = grads, saved[0]
        of_y = None
        if node.needs_grad(1):
            quotient = m.elementwise(saved[1], by, sizes=joint(saved[1], by))
            again = m.elementwise(quotient, by)
            negated = m.elementwise(g)
            of_y = m.elementwise(negated, again)
            m.free(quotient, again, negated)
        of_x = m.elementwise(g, by, sizes=g.sizes) if node.needs_grad(0) else None
        return [of_x, of_y]

    return m.made(m.elementwise(x, y, sizes=joint(x, y)), node, (x, y), back)


def square(m: Eager, x: Tensor) -> Tensor:
    """Follow x^2, which saves x; its gradient is g (2 x^1).

    Autocast on a GPU computes it in fp32.
    """
    x = m.to_float32(x)
    node = m.node(x)
    m.save(node, x)

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        first = m.elementwise(saved[0])
        twice = m.with_scalar(first)
        made = m.elementwise(grads[0], twice)
        m.free(first, twice)
        return [made]

    return m.made(m.elementwise(x), node, (x,), back)


def rsqrt(m: Eager, x: Tensor) -> Tensor:
    """Follow y = 1 / sqrt(x), which saves y; its gradient is (-g / 2) y^3."""
    node = m.node(x)
    y = m.elementwise(x)
    m.save(node, y)

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        half = m.with_scalar(grads[0])
        cube = m.elementwise(saved[0])
        made = m.elementwise(half, cube)
        m.free(half, cube)
        return [made]

    return m.made(y, node, (x,), back)


def clamp(m: Eager, x: Tensor) -> Tensor:
    """Follow a clamp from one side by a scalar: a 0 and a mask select the gradient."""
    node = m.node(x)
    m.save(node, x)

    def back(grads: Grads, saved: Grads) -> list[Tensor]:
        zero = filled(m, (), grads[0].dtype)
        mask = m.compared(saved[0])
        made = m.elementwise(mask, grads[0], zero, dtype=grads[0].dtype)
        m.free(zero, mask)
        return [made]

    return m.made(m.elementwise(x), node, (x,), back)


def subtract_from_identity(m: Eager, x: Tensor) -> Tensor:
    """Follow a multiple of the identity matrix less x."""
    identity = filled(m, (x.sizes[-2], x.sizes[-1]), x.dtype)
    multiple = m.with_scalar(identity)
    m.free(identity)
    return subtract(m, multiple, x)


def joint(x: Tensor, y: Tensor) -> tuple[Size, ...]:
    """Return the sizes to which two tensors broadcast."""
    longer, shorter = (x, y) if len(x.sizes) >= len(y.sizes) else (y, x)
    sizes = [*longer.sizes]
    for place in range(-len(shorter.sizes), 0):
        if sizes[place] is ONE or longer.shape[place] == 1 != shorter.shape[place]:
            sizes[place] = shorter.sizes[place]
    return tuple(sizes)
