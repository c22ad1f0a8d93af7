"""Linear layers, convolutions and products of activations: the ops that have MACs."""

from __future__ import annotations

from dataclasses import dataclass

from vitprof.formulas.op.base import Op, Shape, Uncounted
from vitprof.formulas.work import Work
from vitprof.values.size import ONE, ZERO, Size, across, product


@dataclass(slots=True)
class Linear(Op):
    """`y = x W + b` on the last axis.

    Attributes:
        lead: the axes before the last one.
        inputs: input channels.
        outputs: output channels.
        bias: True if it adds a bias.
        functional: True if no submodule computes it, but a function with given weights.
    """

    lead: Shape
    inputs: Size
    outputs: Size
    bias: bool = True
    functional: bool = False
    work = Work.LINEAR
    contracts = True

    @property
    def module(self) -> bool:  # type: ignore[override]
        return not self.functional

    @property
    def type(self) -> str:
        return "" if self.functional else "Linear"

    @property
    def words(self) -> str:
        return f"linear layer {'with' if self.bias else 'without'} bias"

    @property
    def shape(self) -> Shape:
        return (*self.lead, self.outputs)

    @property
    def weights(self) -> Size:
        return self.inputs.named("in") * self.outputs.named("out")

    @property
    def biases(self) -> Size:
        return self.outputs.named("out") if self.bias else ZERO

    @property
    def macs(self) -> Size:
        return product((*self.lead, self.inputs.named("in"), self.outputs.named("out")))

    @property
    def uncounted(self) -> Uncounted:
        return (("bias", product(self.shape)),) if self.bias else ()


@dataclass(slots=True)
class Conv(Op):
    """A convolution; every output position costs a whole kernel, at padding too.

    Attributes:
        batch: number of images.
        positions: spatial axes of the output.
        kernel: kernel size along each of these axes.
        inputs: input channels per output channel; the literal 1 if it is depthwise.
        outputs: output channels.
        bias: True if it adds a bias.
        functional: True if no submodule computes it, but a function with given weights.
        padding: `same` or `valid` if the padding was given as that word; else empty.
    """

    batch: Size
    positions: Shape
    kernel: Shape
    inputs: Size
    outputs: Size
    bias: bool = True
    functional: bool = False
    padding: str = ""
    work = Work.CONV
    contracts = True

    @property
    def module(self) -> bool:  # type: ignore[override]
        return not self.functional

    @property
    def type(self) -> str:
        return "" if self.functional else f"Conv{len(self.positions)}d"

    @property
    def words(self) -> str:
        kernel = [size for size in (*self.kernel, self.inputs) if size is not ONE] or [ONE]
        return (
            f"convolution {'with' if self.bias else 'without'} bias, a kernel of "
            f"{across(tuple(kernel))} for each output channel"
        )

    @property
    def shape(self) -> Shape:
        return (self.batch, self.outputs, *self.positions)

    @property
    def weights(self) -> Size:
        return product((*self.kernel, self.inputs, self.outputs.named("out")))

    @property
    def biases(self) -> Size:
        return self.outputs.named("out") if self.bias else ZERO

    @property
    def macs(self) -> Size:
        kernel = product((*self.kernel, self.inputs))
        return product((self.batch, *self.positions, kernel, self.outputs.named("out")))

    @property
    def uncounted(self) -> Uncounted:
        return (("bias", product(self.shape)),) if self.bias else ()


@dataclass(slots=True)
class MatMul(Op):
    """A product of two activations, `rows x inner` by `inner x cols`, for each of `lead`."""

    lead: Shape
    rows: Size
    inner: Size
    cols: Size
    work = Work.MATMUL
    contracts = True

    @property
    def words(self) -> str:
        first, second = across((self.rows, self.inner)), across((self.inner, self.cols))
        return f"matrix product of {first} by {second}, for each of {across(self.lead)}"

    @property
    def shape(self) -> Shape:
        return (*self.lead, self.rows, self.cols)

    @property
    def macs(self) -> Size:
        return product((*self.lead, self.rows, self.inner * self.cols))


@dataclass(slots=True)
class FusedAttention(Op):
    """softmax(Q K^T / sqrt(d)) V in one kernel, which never writes the N x N matrix.

    Attributes:
        apart: True if a CPU takes it apart into products all the same, as with dropout.
    """

    lead: Shape
    queries: Size
    keys: Size
    head_dim: Size
    apart: bool = False
    work = Work.FUSED_ATTENTION
    contracts = True

    @property
    def words(self) -> str:
        return "both products of attention, in one fused kernel"

    @property
    def shape(self) -> Shape:
        return (*self.lead, self.queries, self.head_dim)

    @property
    def macs(self) -> Size:
        n, m, d = self.queries, self.keys, self.head_dim
        return product((*self.lead, n, d * m)) + product((*self.lead, n, m * d))

    @property
    def rebuilt(self) -> Size:
        """The scores, which the forward pass does not write: Q K^T is computed again.

        Dao et al. 2022, FlashAttention, algorithm 4; so do the kernels of memory-efficient
        attention (Rabe and Staats 2021) and of a CPU (`cpu_flash_attention_backward` in
        FlashAttentionKernel.cpp).
        """
        return product((*self.lead, self.queries, self.head_dim * self.keys))

    @property
    def uncounted(self) -> Uncounted:
        scores = product((*self.lead, self.queries, self.keys))
        return (("scale", scores), ("softmax", scores))
