"""Ops: the facts of a computation, and the only place where anything is counted.

An op states what nobody disputes: its parameters, its multiply-accumulates, the
shape of what it writes, and the elements of work that is no contraction. What a
tool makes of these facts is that tool's convention (`vitprof.counters`).

A MAC is one multiply and one add. Only contractions have any: linear layers,
convolutions and matrix products. A bias rides on the adds.

Symbols: B images, N tokens; `lead` is every axis before the last one that an op
treats alike, (B, N) for a layer that works on each token.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from vitprof.formulas.size import ZERO, Size, product

Shape = tuple[Size, ...]
Uncounted = tuple[tuple[str, Size], ...]


@dataclass(slots=True)
class Op(ABC):
    """One operation; its name is that of the submodule that computes it.

    Nobody changes one. It is not frozen, which would take three times as long, because every
    count makes dozens.

    Attributes:
        name: last part of the path, `qkv` in `blocks.0.mixer.qkv`.
    """

    name: str
    kind: ClassVar[str]
    module: ClassVar[bool] = True

    @property
    def type(self) -> str:
        """Class name of the torch module that computes it; empty where none does."""
        return self.__class__.__name__

    @property
    @abstractmethod
    def shape(self) -> Shape:
        """Shape of what it writes."""

    @property
    def params(self) -> Size:
        """Its parameters."""
        return self.weights if self.biases is ZERO else self.weights + self.biases

    @property
    def weights(self) -> Size:
        """How many of its parameters are multiplied."""
        return ZERO

    @property
    def biases(self) -> Size:
        """How many of its parameters are added, not multiplied."""
        return ZERO

    @property
    def macs(self) -> Size:
        """Its multiply-accumulates."""
        return ZERO

    @property
    def uncounted(self) -> Uncounted:
        """Its work outside contractions: (kind, elements) pairs."""
        return ()


@dataclass(slots=True)
class Linear(Op):
    """`y = x W + b` on the last axis."""

    lead: Shape
    inputs: Size
    outputs: Size
    bias: bool = True
    kind = "linear"

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
        return product(self.lead) * self.inputs.named("in") * self.outputs.named("out")

    @property
    def uncounted(self) -> Uncounted:
        return (("bias", product(self.shape)),) if self.bias else ()


@dataclass(slots=True)
class Conv(Op):
    """A dense convolution: every output position costs a whole kernel, padding too.

    Attributes:
        batch: images.
        positions: the output's spatial axes.
        kernel: the kernel's spatial axes; an axis of length 1 may be left out.
        rank: how many spatial axes the torch module has.
    """

    batch: Size
    positions: Shape
    kernel: Shape
    inputs: Size
    outputs: Size
    rank: int
    bias: bool = True
    kind = "conv"

    @property
    def type(self) -> str:
        return f"Conv{self.rank}d"

    @property
    def shape(self) -> Shape:
        return (self.batch, self.outputs, *self.positions)

    @property
    def weights(self) -> Size:
        return product(self.kernel) * self.inputs * self.outputs.named("out")

    @property
    def biases(self) -> Size:
        return self.outputs.named("out") if self.bias else ZERO

    @property
    def macs(self) -> Size:
        kernel = product(self.kernel) * self.inputs
        return product((self.batch, *self.positions)) * kernel * self.outputs.named("out")

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
    kind = "matmul"

    @property
    def shape(self) -> Shape:
        return (*self.lead, self.rows, self.cols)

    @property
    def macs(self) -> Size:
        return product(self.lead) * self.rows * (self.inner * self.cols)


@dataclass(slots=True)
class FusedAttention(Op):
    """softmax(Q K^T) V in one kernel: the products' MACs, without the N x N matrix."""

    lead: Shape
    queries: Size
    keys: Size
    head_dim: Size
    kind = "fused_attention"

    @property
    def shape(self) -> Shape:
        return (*self.lead, self.queries, self.head_dim)

    @property
    def macs(self) -> Size:
        heads, n, m, d = product(self.lead), self.queries, self.keys, self.head_dim
        return heads * n * (d * m) + heads * n * (m * d)

    @property
    def uncounted(self) -> Uncounted:
        scores = product(self.lead) * self.queries * self.keys
        return (("scale", scores), ("softmax", scores))


@dataclass(slots=True)
class FFT(Op):
    """A discrete Fourier transform over some axes at once, by the fast algorithm.

    That is no contraction, and it has no MACs. `flops` is the figure that is usual for it.

    Attributes:
        torch_type: class name of the module, `HalfFFT2`.
        lead: axes along which each is transformed apart.
        lengths: axes that are transformed.
        out: shape of what it writes.
    """

    torch_type: str
    lead: Shape
    lengths: Shape
    out: Shape
    kind = "fft"

    @property
    def type(self) -> str:
        return self.torch_type

    @property
    def shape(self) -> Shape:
        return self.out

    @property
    def uncounted(self) -> Uncounted:
        return (("fft", product((*self.lead, *self.lengths))),)

    @property
    def flops(self) -> Size:
        """5 n log2(n) for each transform of n points, the logarithm rounded up.

        The exact sum of the radix-2 algorithm for complex numbers where n is a power of two,
        and an estimate elsewhere; real numbers could do with half of it.
        """
        points = product(self.lengths)
        # As many powers of two are below n; NumPy's arrays have no `bit_length`.
        stages = sum((points.value > 2**power) * 1 for power in range(64))
        return 5 * product((*self.lead, *self.lengths)) * Size(stages, "⌈log2 n⌉")


@dataclass(slots=True)
class ChannelWise(Op):
    """Work on (lead, channels) with a gain a channel, and maybe a bias: a norm, a scale.

    Attributes:
        lead: the axes before the channels.
        dim: the channels.
    """

    lead: Shape
    dim: Size

    @property
    def shape(self) -> Shape:
        return (*self.lead, self.dim)

    @property
    def params(self) -> Size:
        return self.dim if self.biases is ZERO else 2 * self.dim

    @property
    def weights(self) -> Size:
        return self.dim

    @property
    def uncounted(self) -> Uncounted:
        return ((self.kind, product(self.shape)),)


@dataclass(slots=True)
class LayerNorm(ChannelWise):
    """Layer normalisation of the last axis, with a gain and, if so said, a bias."""

    bias: bool = True
    kind = "layer_norm"

    @property
    def biases(self) -> Size:
        return self.dim if self.bias else ZERO


@dataclass(slots=True)
class RMSNorm(ChannelWise):
    """The last axis over its root mean square, with a gain (Zhang and Sennrich 2019, eq. 4)."""

    kind = "rms_norm"


@dataclass(slots=True)
class Affine(ChannelWise):
    """A gain and a bias for each channel, no statistics (Touvron et al. 2021, ResMLP, eq. 1)."""

    kind = "affine"

    @property
    def biases(self) -> Size:
        return self.dim


@dataclass(slots=True)
class TokenBatchNorm(ChannelWise):
    """Batch normalisation of each channel, over the tokens of all images."""

    kind = "batch_norm"

    @property
    def biases(self) -> Size:
        return self.dim

    @property
    def channels(self) -> Size:
        """Those that have a running mean and variance each."""
        return self.dim


@dataclass(slots=True)
class LayerScale(ChannelWise):
    """A gain for each channel of a residual branch (Touvron et al. 2021, CaiT, eq. 4)."""

    kind = "layer_scale"


@dataclass(slots=True)
class BatchNorm(Op):
    """Batch normalisation of the channels of (rows, channels), a row a token or an image.

    Attributes:
        rows: tokens, or images.
        channels: how many.
        positions: the axes of an image.
    """

    rows: Size
    channels: Size
    positions: Shape = ()
    kind = "batch_norm"

    @property
    def type(self) -> str:
        return f"BatchNorm{max(1, len(self.positions))}d"

    @property
    def shape(self) -> Shape:
        return (self.rows, self.channels, *self.positions)

    @property
    def params(self) -> Size:
        return 2 * self.channels

    @property
    def weights(self) -> Size:
        return self.channels

    @property
    def biases(self) -> Size:
        return self.channels

    @property
    def uncounted(self) -> Uncounted:
        return (("batch_norm", product(self.shape)),)


@dataclass(slots=True)
class Elementwise(Op):
    """Work on each element by a module of its own: softmax, GELU, ReLU.

    Attributes:
        work: what is listed as not counted, `softmax`.
        torch_type: class name of the module, `Softmax`.
    """

    work: str
    torch_type: str
    axes: Shape
    kind = "elementwise"

    @property
    def type(self) -> str:
        return self.torch_type

    @property
    def shape(self) -> Shape:
        return self.axes

    @property
    def uncounted(self) -> Uncounted:
        return ((self.work, product(self.axes)),)


@dataclass(slots=True)
class Inline(Op):
    """Element-wise work inside a parent's forward: a residual, a scale, a feature map.

    Attributes:
        work: what is listed as not counted, `add`.
        axes: shape of what it works on.
        out: shape of what it writes, where that is another.
    """

    work: str
    axes: Shape
    out: Shape = ()
    kind = "inline"
    module = False

    @property
    def type(self) -> str:
        return ""

    @property
    def shape(self) -> Shape:
        return self.out or self.axes

    @property
    def uncounted(self) -> Uncounted:
        return ((self.work, product(self.axes)),)


@dataclass(slots=True)
class Parameter(Op):
    """A parameter that no layer owns: a class token, a table of positions.

    Attributes:
        trained: False for one that the optimizer leaves alone.
    """

    axes: Shape
    trained: bool
    kind = "parameter"
    module = False

    @property
    def shape(self) -> Shape:
        return self.axes

    @property
    def weights(self) -> Size:
        return product(self.axes)


@dataclass(slots=True)
class Buffer(Op):
    """Numbers that a module holds and no optimizer changes: no parameters.

    Attributes:
        axes: its shape.
        dtype: `float` for that of the weights, or `int64`.
    """

    axes: Shape
    dtype: str = "float"
    kind = "buffer"
    module = False

    @property
    def type(self) -> str:
        return ""

    @property
    def shape(self) -> Shape:
        return self.axes
