"""Runs of a formula: a forward pass on shapes, op by op.

A formula is a forward pass with ops in place of torch's functions, line by line as in the
torch module and with the same variables:

    a = run.softmax("weights", run.matmul("scores", run.scale("scale", q), k.mT), dim=-1)

Each op has the name of the submodule that computes it, takes tensors that have only a shape,
and infers its counts and its output shape. A `Run` records the ops as a tree; a
`vitprof.formulas.trace.Tracer` also records each call with its tensors, as a program.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, NoReturn, TypeVar

from vitprof.errors import FormulaError
from vitprof.formulas.layer import Layer, equal_layers
from vitprof.formulas.op import (
    FFT,
    Affine,
    BatchNorm,
    Buffer,
    Conv,
    Elementwise,
    FusedAttention,
    LayerNorm,
    LayerScale,
    Linear,
    MatMul,
    Op,
    Parameter,
    RMSNorm,
    Shape,
    TokenBatchNorm,
    TokenGroupNorm,
)
from vitprof.formulas.tensor import Tensor, alike, broadcast, fits, spell, spell_size
from vitprof.formulas.work import Work, without_a_rule
from vitprof.values.size import ONE, Size

Made = TypeVar("Made")
Forward = Callable[..., Made]

ACTIVATIONS: dict[str, tuple[Work, str]] = {  # the kind of work, and the class in torch.nn
    work.value: (work, name)
    for work, name in (
        (Work.GELU, "GELU"),
        (Work.RELU, "ReLU"),
        (Work.SILU, "SiLU"),
        (Work.SIGMOID, "Sigmoid"),
        (Work.TANH, "Tanh"),
        (Work.ELU, "ELU"),
        (Work.SOFTPLUS, "Softplus"),
    )
}


@lru_cache(32)
def _counted(on: Hashable) -> list[Layer]:
    """Return the cached layer of a key: a list of one layer, or empty before the first count."""
    return []


@dataclass(frozen=True, slots=True)
class EqualModules:
    """Modules of a ModuleList that are equal, each on the output of the one before it.

    Attributes:
        times: how many they are.
        forward: the forward of one of them.
        key: returns a cache key for an input, with all values that the count of a module
            depends on, so that a sweep counts equal modules once; None for no cache.
        shared: what each of them reads besides the output of the one before.
        numbers: their numbers in the list, ascending; empty if they are all of it.
    """

    times: Size
    forward: Forward[Tensor]
    key: Callable[[Tensor], Hashable] = lambda x: None
    shared: Sequence[Tensor] = ()
    numbers: tuple[int, ...] = ()


class Run:
    """Records the ops of a forward pass as a tree.

    Attributes:
        checked: True if sizes are numbers, which are then compared.
        mixer: name of the mixer whose formula runs, for error sentences.
    """

    def __init__(self, *, checked: bool = True) -> None:
        self.checked = checked
        self.mixer = ""
        self._children: list[Layer | Op] = []
        self._parameters: list[Op] = []

    if not TYPE_CHECKING:  # mypy would then accept any name

        def __getattr__(self, name: str) -> NoReturn:
            raise FormulaError(without_a_rule(self.place(), "op", name, ops()))

    # Contractions

    def linear(self, name: str, x: Tensor, outputs: Size, *, bias: bool = True) -> Tensor:
        """A linear layer on the last axis: (..., in) to (..., out)."""
        *lead, inputs = x.shape
        op = Linear(name, tuple(lead), inputs, outputs, bias)
        return self._call(op, (*lead, outputs), x)

    def conv(
        self,
        name: str,
        x: Tensor,
        outputs: Size,
        kernel: Sequence[Size],
        *,
        positions: Sequence[Size] = (),
        groups: Size = ONE,
        bias: bool = True,
    ) -> Tensor:
        """A convolution: (B, in, *positions) to (B, out, *positions).

        Args:
            name: name of the submodule.
            x: the input, (B, in, *positions).
            outputs: output channels.
            kernel: kernel size along each axis of positions.
            positions: output positions; by default as many as the input has, by padding.
            groups: groups of channels; as many as channels for a depthwise convolution.
            bias: True if there is a bias per output channel.
        """
        batch, channels, *axes = x.shape
        if len(kernel) != len(axes):
            raise FormulaError(
                f"{self.place(name)} has a kernel of {len(kernel)} axes for {spell(x.shape)}, "
                f"which has {len(axes)} axes of positions"
            )
        if groups is ONE:
            inputs = channels
        else:
            inputs = ONE if fits(groups, channels) else channels // groups
        op = Conv(name, batch, tuple(positions or axes), tuple(kernel), inputs, outputs, bias)
        return self._call(op, op.shape, x)

    def matmul(self, name: str, left: Tensor, right: Tensor) -> Tensor:
        """A product of two activations: (..., rows, inner) by (..., inner, cols)."""
        lead, others = left.shape[:-2], right.shape[:-2]
        (rows, inner), (also_inner, cols) = left.shape[-2:], right.shape[-2:]
        if inner is not also_inner and not fits(inner, also_inner):
            raise FormulaError(
                f"{self.place(name)} multiplies {spell(left.shape)} by {spell(right.shape)}: the "
                f"left has {spell_size(inner)} columns and the right "
                f"{spell_size(also_inner)} rows, which have to be equal"
            )
        if lead != others and others and not alike(lead, others):
            raise FormulaError(
                f"{self.place(name)} multiplies {spell(left.shape)} by {spell(right.shape)}: "
                f"the axes before the matrices, {spell(lead)} and {spell(others)}, have to be equal"
            )
        return self._call(MatMul(name, lead, rows, inner, cols), (*lead, rows, cols), left, right)

    def attention(self, name: str, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """softmax(Q K^T / sqrt(d)) V in one kernel: q (..., queries, d), k and v (..., keys, d)."""
        *lead, queries, d = q.shape
        keys = k.shape[-2]
        if not (alike((*lead, keys, d), k.shape) and alike(k.shape, v.shape)):
            raise FormulaError(
                f"{self.place(name)} reads queries {spell(q.shape)}, keys {spell(k.shape)} and "
                f"values {spell(v.shape)}, which can differ only in the number of queries and keys"
            )
        return self._call(FusedAttention(name, tuple(lead), queries, keys, d), q.shape, q, k, v)

    # Norms and scales of channels

    def layer_norm(self, name: str, x: Tensor, *, bias: bool = True) -> Tensor:
        """Layer normalisation of the last axis."""
        return self._call(LayerNorm(name, x.shape[:-1], x.shape[-1], bias), x.shape, x)

    def rms_norm(self, name: str, x: Tensor, *, gain: bool = True) -> Tensor:
        """The last axis divided by its root mean square."""
        return self._call(RMSNorm(name, x.shape[:-1], x.shape[-1], gain), x.shape, x)

    def affine(self, name: str, x: Tensor) -> Tensor:
        """A gain and a bias per channel, without statistics."""
        return self._call(Affine(name, x.shape[:-1], x.shape[-1]), x.shape, x)

    def token_batch_norm(self, name: str, x: Tensor) -> Tensor:
        """Batch normalisation of the last axis over all tokens."""
        return self._call(TokenBatchNorm(name, x.shape[:-1], x.shape[-1]), x.shape, x)

    def token_group_norm(self, name: str, x: Tensor, *, bias: bool = True) -> Tensor:
        """Group normalisation of (B, N, D) or (B, D) with one group, all of an image."""
        return self._call(TokenGroupNorm(name, x.shape[:-1], x.shape[-1], bias), x.shape, x)

    def batch_norm(self, name: str, x: Tensor) -> Tensor:
        """Batch normalisation of the second axis: (rows, channels) or (B, channels, ...)."""
        rows, channels, *positions = x.shape
        return self._call(BatchNorm(name, rows, channels, tuple(positions)), x.shape, x)

    def layer_scale(self, name: str, x: Tensor) -> Tensor:
        """A gain per channel."""
        return self._call(LayerScale(name, x.shape[:-1], x.shape[-1]), x.shape, x)

    # Elementwise work

    def softmax(self, name: str, x: Tensor, dim: int) -> Tensor:
        """A softmax along an axis, by a submodule."""
        own = len(x.shape)
        if not -own <= dim < own:
            raise FormulaError(f"{self.place(name)} has no axis {dim} of {spell(x.shape)}")
        op = Elementwise(name, Work.SOFTMAX, x.shape, None, (dim % own,), "Softmax")
        return self._call(op, x.shape, x)

    def activation(self, name: str, work: str, x: Tensor) -> Tensor:
        """An activation such as GELU, by a submodule; `work` is a key of `ACTIVATIONS`."""
        if work not in ACTIVATIONS:
            place = f"{self.place()}, op {name}"
            raise FormulaError(without_a_rule(place, "activation", work, ACTIVATIONS))
        return self._element(name, *ACTIVATIONS[work], x)

    def avg_pool(self, name: str, x: Tensor, positions: Sequence[Size] = ()) -> Tensor:
        """The mean of neighbours, by a submodule: (B, C, rows, columns) to the same.

        Args:
            name: name of the submodule.
            x: the input.
            positions: rows and columns of the output; by default those of the input, by padding.
        """
        out = (*x.shape[:2], *positions) if positions else x.shape
        op = Elementwise(name, Work.AVERAGE_POOL, x.shape, out, (), "AvgPool2d")
        return self._call(op, out, x)

    def adaptive_pool(self, name: str, x: Tensor, positions: Sequence[Size]) -> Tensor:
        """The means of as many regions as there are `positions`, by a submodule: (B, C, *axes)."""
        out = (*x.shape[:2], *positions)
        op = Elementwise(name, Work.ADAPTIVE_POOL, x.shape, out, (), "AdaptiveAvgPool2d")
        return self._call(op, out, x)

    def elu(self, name: str, x: Tensor) -> Tensor:
        """ELU, without a submodule."""
        return self._element(name, Work.ELU, "", x)

    def exp(self, name: str, x: Tensor) -> Tensor:
        """An exponential, without a submodule."""
        return self._element(name, Work.EXP, "", x)

    def square(self, name: str, x: Tensor) -> Tensor:
        """A square, without a submodule."""
        return self._element(name, Work.SQUARE, "", x)

    def clamp(self, name: str, x: Tensor) -> Tensor:
        """x, and a constant where x is greater, without a submodule."""
        return self._element(name, Work.CLAMP, "", x)

    def cos(self, name: str, x: Tensor) -> Tensor:
        """A cosine, without a submodule."""
        return self._element(name, Work.COS, "", x)

    def sin(self, name: str, x: Tensor) -> Tensor:
        """A sine, without a submodule."""
        return self._element(name, Work.SIN, "", x)

    def scale(self, name: str, x: Tensor, *, quotient: bool = False) -> Tensor:
        """A product with a constant; a quotient by one if `quotient` is True."""
        op = Elementwise(name, Work.SCALE, x.shape, quotient=quotient)
        return self._call(op, x.shape, x)

    def add(self, name: str, *terms: Tensor) -> Tensor:
        """A sum of two tensors, or of one tensor and a constant."""
        return self._join(name, Work.ADD, terms)

    def subtract(self, name: str, x: Tensor, y: Tensor) -> Tensor:
        """x - y."""
        return self._join(name, Work.SUBTRACT, (x, y))

    def multiply(self, name: str, x: Tensor, y: Tensor) -> Tensor:
        """x y, element by element."""
        return self._join(name, Work.MULTIPLY, (x, y))

    def divide(self, name: str, x: Tensor, y: Tensor) -> Tensor:
        """x / y, element by element."""
        return self._join(name, Work.DIVIDE, (x, y))

    def complex_multiply(self, name: str, x: Tensor, y: Tensor) -> Tensor:
        """x y of complex numbers, element by element."""
        return self._join(name, Work.COMPLEX_MULTIPLY, (x, y))

    def shift(self, name: str, x: Tensor, dim: int, places: int) -> Tensor:
        """x moved along an axis by some places, with zeros where nothing comes from."""
        op = Elementwise(name, Work.SHIFT, x.shape, None, (dim % len(x.shape),))
        return self._call(op, x.shape, x)

    def mask_below(self, name: str, x: Tensor, threshold: Tensor) -> Tensor:
        """x, and -inf where it is below a threshold, which takes no gradient."""
        return self._join(name, Work.MASK, (x, threshold))

    def subtract_from_identity(self, name: str, x: Tensor) -> Tensor:
        """A multiple of the identity matrix minus x: (..., n, n)."""
        return self._element(name, Work.SUBTRACT_FROM_IDENTITY, "", x)

    # Random numbers, in training

    def dropout(self, name: str, x: Tensor) -> Tensor:
        """Dropout of single elements, by a submodule; in evaluation x itself."""
        return self._element(name, Work.DROPOUT, "Dropout", x)

    def drop_path(self, name: str, x: Tensor) -> Tensor:
        """Dropout of samples of a branch (B, N, D), by a submodule; in evaluation x itself."""
        return self._element(name, Work.DROP_PATH, "DropPath", x)

    # Reductions

    def sum(self, name: str, x: Tensor, dim: int, *, keepdim: bool = False) -> Tensor:
        """A sum along an axis."""
        return self._reduce(name, Work.SUM, x, (dim,), keepdim=keepdim)

    def mean(self, name: str, x: Tensor, dim: int, *, keepdim: bool = False) -> Tensor:
        """A mean along an axis."""
        return self._reduce(name, Work.MEAN, x, (dim,), keepdim=keepdim)

    def maximum(self, name: str, x: Tensor, *dims: int) -> Tensor:
        """The maximum along some axes, which stay with length 1; without gradient."""
        return self._reduce(name, Work.MAXIMUM, x, dims, keepdim=True)

    def greatest_column_sum(self, name: str, x: Tensor) -> Tensor:
        """The maximum of the column sums of each matrix, as 1 x 1; without gradient."""
        return self._reduce(name, Work.GREATEST_COLUMN_SUM, x, (-2, -1), keepdim=True)

    def cumsum(self, name: str, x: Tensor, dim: int) -> Tensor:
        """The sums of all elements up to each along an axis, without a submodule."""
        op = Elementwise(name, Work.CUMULATIVE_SUM, x.shape, None, (dim % len(x.shape),))
        return self._call(op, x.shape, x)

    def scan(self, name: str, decay: Tensor, x: Tensor) -> Tensor:
        """h[n] = decay[n] h[n - 1] + x[n] along the second axis, one step after the other."""
        self.check_alike(decay, x, name)
        return self._call(Elementwise(name, Work.SCAN, x.shape), x.shape, decay, x)

    def topk(self, name: str, x: Tensor, number: Size) -> Tensor:
        """The largest numbers along the last axis, in order; without gradient."""
        out = (*x.shape[:-1], number)
        return self._call(Elementwise(name, Work.TOP_K, x.shape, out), out, x)

    def l2_norm(self, name: str, x: Tensor) -> Tensor:
        """x divided by its L2 norm along the last axis."""
        return self._element(name, Work.L2_NORM, "", x)

    # Fourier transforms

    def fft2(self, name: str, x: Tensor) -> Tensor:
        """The real part of the transform over the last two axes: (B, N, D)."""
        *lead, rows, columns = x.shape
        op = FFT(name, "RealPartFFT2", tuple(lead), (rows, columns), x.shape)
        return self._call(op, x.shape, x)

    def rfft2(self, name: str, x: Tensor, frequencies: Size) -> Tensor:
        """The transform of real images (B, rows, columns, D) along rows and columns.

        Args:
            name: name of the submodule.
            x: the images.
            frequencies: columns of the spectrum, columns // 2 + 1.
        """
        B, rows, columns, D = x.shape
        op = FFT(name, "HalfFFT2", (B, D), (rows, columns), (B, rows, frequencies, D))
        return self._call(op, op.out, x)

    def irfft2(self, name: str, x: Tensor, columns: Size, like: Tensor) -> Tensor:
        """The real images (B, rows, columns, D) of a spectrum, in the dtype of `like`."""
        B, rows, _, D = x.shape
        op = FFT(name, "InverseHalfFFT2", (B, D), (rows, columns), (B, rows, columns, D))
        y = self._call(op, op.out, x, like)
        op.reads = (x.shape,)  # the module is told the dtype alone
        return y

    # Losses

    def cross_entropy(self, name: str, logits: Tensor) -> Tensor:
        """The mean cross entropy of logits (B, classes) against labels."""
        return self._call(Elementwise(name, Work.CROSS_ENTROPY, logits.shape, ()), (), logits)

    def squared_error(self, name: str, x: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """The mean squared error over the last axis, averaged over the places with mask 1."""
        op = Elementwise(name, Work.SQUARED_ERROR, x.shape, ())
        return self._call(op, (), x, target, mask)

    def mean_of_all(self, name: str, x: Tensor) -> Tensor:
        """The mean of all elements of a tensor."""
        dims = tuple(range(len(x.shape)))
        return self._call(Elementwise(name, Work.MEAN, x.shape, (), dims), (), x)

    # Tensors

    def parameter(self, name: str, *shape: Size, trained: bool = True) -> Tensor:
        """A parameter that the module itself owns."""
        parameter = Parameter(name, shape, trained)
        self._parameters.append(parameter)
        return self._hold(parameter)

    def buffer(self, name: str, *shape: Size, dtype: str = "float") -> Tensor:
        """A buffer of the module."""
        buffer = Buffer(name, shape, dtype)
        self._children.append(buffer)
        return self._hold(buffer)

    def rand(self, *shape: Size) -> Tensor:
        """Random numbers in fp32."""
        return Tensor(self, shape)

    def cat(self, parts: Sequence[Tensor], dim: int, whole: Size) -> Tensor:
        """A concatenation along an axis, whose length is then `whole`."""
        first = parts[0].shape
        dim = dim % len(first)
        shape = (*first[:dim], whole, *first[dim + 1 :])
        if self.checked:
            together = 0
            for part in parts:
                together += part.shape[dim].value
                rest = (*part.shape[:dim], whole, *part.shape[dim + 1 :])
                if rest != shape and not alike(rest, shape):
                    raise FormulaError(
                        f"{self.place()} cannot put {spell(first)} and {spell(part.shape)} "
                        f"together along axis {dim}: another axis differs"
                    )
            if together != whole.value:
                raise FormulaError(
                    f"{self.place()}: the parts of axis {dim} are {together} together, not "
                    f"{spell_size(whole)}"
                )
        return Tensor(self, shape)

    def pad(self, x: Tensor, *sizes: Size) -> Tensor:
        """Zeros around a tensor, up to a shape; the tensor itself if it has that shape."""
        if self.checked:
            if alike(sizes, x.shape):
                return x
            fits_in = [own.value <= size.value for own, size in zip(x.shape, sizes, strict=False)]
            if len(sizes) != len(x.shape) or not all(fits_in):
                raise x.refusal(f"pad to {spell(sizes)}", "has other axes, or a longer one")
        return Tensor(self, sizes)

    # Modules

    def layer(self, name: str, type: str, forward: Forward[Made], *inputs: Tensor) -> Made:
        """Run `forward` on the inputs as a submodule; `type` is its torch class."""
        outside = self._children, self._parameters
        self._children, self._parameters = [], []
        made = forward(*inputs)
        layer = self.tree(name, type)
        layer.reads = tuple([x.shape for x in inputs])
        layer.out = made.shape if isinstance(made, Tensor) else None
        self._children, self._parameters = outside
        self._children.append(layer)
        return made

    def block(self, forward: Forward[Tensor], x: Tensor, *shared: Tensor) -> Tensor:
        """Run a block, which activation checkpointing runs again in the backward pass."""
        return forward(x, *shared)

    def blocks(
        self, name: str, times: Size, type: str, forward: Forward[Tensor]
    ) -> Iterator[Forward[Tensor]]:
        """Yield one forward that represents all modules of a ModuleList, for a loop over it.

        Args:
            name: name of the list.
            times: number of modules.
            type: their torch class.
            forward: the forward of one of them.
        """
        yield from self.module_list(name, type, [EqualModules(times, forward)])

    def module_list(
        self, name: str, type: str, kinds: Sequence[EqualModules]
    ) -> Iterator[Forward[Tensor]]:
        """Yield forwards that represent the modules of a ModuleList, for a loop over it.

        Args:
            name: name of the list.
            type: torch class of its modules.
            kinds: the modules, those that are equal together.
        """
        made: list[Layer] = []

        def block(kind: EqualModules, x: Tensor) -> Tensor:
            on = kind.key(x) if self.checked else None
            counted = [] if on is None else _counted(on)
            if not counted:
                outside = self._children, self._parameters
                self._children, self._parameters = [], []
                y = kind.forward(x)
                one = equal_layers(self.tree("0", type), kind.times, kind.numbers)
                one.reads = (x.shape, *[each.shape for each in kind.shared])
                one.out = y.shape
                counted.append(one)
                self._children, self._parameters = outside
                self.check_alike(x, y, name)
            made.append(counted[0])
            return x

        for kind in kinds:
            yield partial(block, kind)
        first, *_ = made
        listed = tuple(made)
        self._children.append(Layer(name, "ModuleList", listed, reads=first.reads, out=first.out))

    def check_alike(self, x: Tensor, y: Tensor, name: str) -> None:
        """Raise FormulaError if the output `y` has another shape than the input `x`."""
        if x.shape != y.shape and not alike(x.shape, y.shape):
            raise FormulaError(
                f"{self.place(name)} makes {spell(y.shape)} of {spell(x.shape)}; it has to return "
                "the shape that it is given"
            )

    def tree(self, name: str, type: str) -> Layer:
        """Return the recorded ops, a module's own parameters after its submodules."""
        return Layer(name, type, (*self._children, *self._parameters))

    def place(self, name: str = "") -> str:
        """Return the place in the forward pass for an error sentence: an op of a mixer."""
        whose = f"mixer {self.mixer}" if self.mixer else "the model"
        return f"{name} of {whose}" if name else whose

    # Helpers of the ops above

    def _call(self, op: Op, shape: Shape, x: Tensor, *others: Tensor) -> Tensor:
        """Record an op, and return its output."""
        op.reads = (x.shape, *[other.shape for other in others]) if others else (x.shape,)
        self._children.append(op)
        return x if shape is x.shape else Tensor(self, shape)

    def _element(self, name: str, work: Work, torch_type: str, x: Tensor) -> Tensor:
        shape = x.shape
        return self._call(Elementwise(name, work, shape, None, (), torch_type), shape, x)

    def _hold(self, op: Parameter | Buffer) -> Tensor:
        return Tensor(self, op.axes)

    def _join(self, name: str, work: Work, terms: tuple[Tensor, ...]) -> Tensor:
        shape = terms[0].shape
        if terms[-1].shape != shape:
            shape = broadcast(terms[0], terms[-1], name)
        return self._call(Elementwise(name, work, shape), shape, *terms)

    def _reduce(
        self, name: str, work: Work, x: Tensor, dims: tuple[int, ...], *, keepdim: bool
    ) -> Tensor:
        own = len(x.shape)
        reduced = tuple(sorted([dim % own for dim in dims]))
        out = tuple(
            [
                ONE if place in reduced else size
                for place, size in enumerate(x.shape)
                if keepdim or place not in reduced
            ]
        )
        return self._call(Elementwise(name, work, x.shape, out, reduced), out, x)

    def input(self, shape: Shape) -> Tensor:
        """Return an input of the forward pass."""
        return Tensor(self, shape)


def ops() -> dict[str, Callable[..., Tensor]]:
    """Return the words of a run that record an op or make a tensor, by name."""
    others = {"block", "input"}
    return {
        name: word
        for name, word in vars(Run).items()
        if getattr(word, "__annotations__", {}).get("return") == "Tensor"
        and name not in others
        and not name.startswith("_")
    }


def count(
    name: str,
    type: str,
    forward: Callable[[Run, Tensor], object],
    shape: Shape,
    *,
    checked: bool = True,
) -> Layer:
    """Return the ops of a forward pass as a tree.

    Args:
        name: name of the module.
        type: class name of the torch module.
        forward: the forward pass.
        shape: shape of its input.
        checked: True if sizes are numbers, which are then compared.

    Raises:
        FormulaError: two ops do not fit together.
    """
    run = Run(checked=checked)
    forward(run, run.input(shape))
    return run.tree(name, type)
