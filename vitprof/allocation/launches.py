"""Launches of kernels in a step: what each reads, writes and multiplies.

A launch is a call of a function of ATen that is neither a view nor an allocation. Views that the
forward pass makes, and gradients that arrive at parameters, stand beside them: no kernel runs, but
the host has work with them. Bytes are those of tensors, by one rule: each input is read once, and
each output is written once. Of a tensor that is expanded or unfolded only the elements that are in
memory count. A function that changes a tensor in place reads and writes it; one that fills it only
writes it. What a kernel copies for itself, or computes into a tensor of its own, is written and
read once more. Partial sums of reductions, which take less than a hundredth of what they sum, are
not included.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from math import prod
from typing import Protocol

from vitprof.allocation.strides import Ints
from vitprof.allocation.timeline import BYTES
from vitprof.formulas.op import Shape
from vitprof.values.size import ONE, Size, product


class Kind(StrEnum):
    """A kind of kernel."""

    PRODUCT = "product"  # of matrices
    CONVOLUTION = "convolution"
    DEPTHWISE = "depthwise"  # convolution, each channel by itself
    ONE_CHANNEL = "one channel"  # convolution of one input channel with windows that overlap
    ATTENTION = "attention"  # fused
    ELEMENTWISE = "elementwise"
    ACTIVATION = "activation"  # elementwise, of an exponential or an error function
    COPY = "copy"  # also a cast
    REDUCTION = "reduction"
    SOFTMAX = "softmax"
    NORM = "norm"
    FFT = "fft"
    PLACES = "places"  # sorting, gathering and scattering by indices
    OPTIMIZER = "optimizer"  # of many tensors at once
    VIEW = "view"  # no kernel
    GRADIENT = "gradient"  # of a parameter, which is handed over: no kernel


ON_HOST = frozenset([Kind.VIEW, Kind.GRADIENT])


@dataclass(frozen=True, slots=True)
class Product:
    """Contraction of a kernel: `rows` by `inner` by `columns`, `batch` times.

    Attributes:
        batch: products of one launch; of a convolution its groups.
        rows: rows of the result.
        inner: terms that are summed.
        columns: columns of the result.
    """

    batch: int
    rows: int
    inner: int
    columns: int

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return self.batch * self.rows * self.inner * self.columns


@dataclass(frozen=True, slots=True)
class Moved:
    """Tensor that a kernel reads or writes.

    Attributes:
        sizes: lengths of its axes, by name.
        strides: strides of its axes, in elements.
        element: bytes of an element.
    """

    sizes: Shape
    strides: Ints
    element: int

    @property
    def axes(self) -> Shape:
        """Sizes whose product is the number of elements that it addresses in memory.

        Axes that repeat others are left out; of windows that overlap it is the number alone.
        """
        shape = tuple([size.value for size in self.sizes])
        number = in_memory(shape, self.strides)
        kept = tuple(
            [
                size
                for size, step in zip(self.sizes, self.strides, strict=True)
                if step and size is not ONE
            ]
        )
        return kept if product(kept).value == number else (Size(number),)


class OnPaper(Protocol):
    """Part of a tensor on paper that its bytes follow from."""

    sizes: Shape
    strides: Ints
    dtype: str


@dataclass(frozen=True, slots=True)
class Launch:
    """Launch of a kernel, or a call that the host alone has work with.

    Attributes:
        at: path of the op that runs.
        kind: kind of kernel.
        read: bytes that it reads.
        written: bytes that it writes.
        products: contractions that it computes.
        dtype: dtype of its first input, a key of `vitprof.allocation.timeline.BYTES`.
        recorded: True if autograd records it in the forward pass, so that the backward pass runs a
            function for it.
        tensors: tensors on paper whose bytes add up to `bytes`; empty in a trace.
    """

    at: str
    kind: Kind
    read: int
    written: int
    products: tuple[Product, ...] = ()
    dtype: str = "fp32"
    recorded: bool = False
    tensors: tuple[OnPaper, ...] = field(default=(), compare=False, repr=False)

    @property
    def has_kernel(self) -> bool:
        """True if a kernel runs."""
        return self.kind not in ON_HOST

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return sum(product.macs for product in self.products)

    @property
    def bytes(self) -> int:
        """Bytes read and written."""
        return self.read + self.written

    @property
    def moved(self) -> tuple[Moved, ...]:
        """Tensors that it reads and writes."""
        return tuple([Moved(x.sizes, x.strides, BYTES[x.dtype]) for x in self.tensors])


@lru_cache(4096)
def in_memory(shape: Ints, strides: Ints) -> int:
    """Return how many elements of memory a tensor addresses, each once.

    An axis of stride 0 repeats the others; windows that overlap share elements.
    """
    if 0 in shape:
        return 0
    axes = [(size, step) for size, step in zip(shape, strides, strict=True) if step and size > 1]
    return min(prod(size for size, _ in axes), 1 + sum((size - 1) * step for size, step in axes))


def convolution_kind(channels: int, groups: int, product: Product, elements: int) -> Kind:
    """Return the kind of a convolution.

    Args:
        channels: input channels of a group.
        groups: groups of channels.
        product: its contraction.
        elements: elements of its input.
    """
    if channels > 1:
        return Kind.CONVOLUTION
    if groups > 1:
        return Kind.DEPTHWISE
    overlap = product.rows * product.inner > elements
    return Kind.ONE_CHANNEL if overlap else Kind.CONVOLUTION


def attention_products(
    heads: int, queries: int, keys: int, of_q: int, of_v: int
) -> tuple[Product, ...]:
    """Return the contractions of fused attention: scores, and their product with the values.

    Args:
        heads: heads of all images, B × h.
        queries: number of queries.
        keys: number of keys.
        of_q: channels of a head of queries and keys.
        of_v: channels of a head of values.
    """
    return Product(heads, queries, of_q, keys), Product(heads, queries, keys, of_v)


def attention_gradient_products(
    heads: int, queries: int, keys: int, of_q: int, of_v: int
) -> tuple[Product, ...]:
    """Return the contractions of its backward pass, which computes the scores again.

    Gradients of values, weights, queries and keys (Dao 2023, FlashAttention-2, algorithm 2).
    """
    scores = Product(heads, queries, of_q, keys)
    of_values, of_weights = Product(heads, keys, queries, of_v), Product(heads, queries, of_v, keys)
    of_queries = Product(heads, queries, keys, of_q)
    of_keys = Product(heads, keys, queries, of_q)
    return scores, of_values, of_weights, of_queries, of_keys


def macs_of(launches: Iterable[Launch]) -> int:
    """Return the multiply-accumulates of launches."""
    return sum(launch.macs for launch in launches)
