"""What each op allocates and keeps, one rule a kind of op.

A rule is the op's forward pass: it allocates what the op writes, says what is kept for the
backward pass, and hands on which gradients that allocates. The sources are PyTorch's
formulas of the derivatives and the composite functions that the modules call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from vitprof.eager.rules.contractions import contraction, fused_attention, matmul
from vitprof.eager.rules.elementwise import (
    add,
    divide,
    exp,
    keeps_input,
    keeps_output,
    multiply,
    scale,
    softmax,
    square,
    subtract,
    subtract_from_identity,
)
from vitprof.eager.rules.losses import cross_entropy, squared_error
from vitprof.eager.rules.norms import affine, batch_norm, l2_norm, layer_norm, layer_scale, rms_norm
from vitprof.eager.rules.reductions import greatest_column_sum, maximum, mean, segment_mean, sum_
from vitprof.eager.rules.transforms import complex_multiply, fft
from vitprof.eager.tensor import Tensor
from vitprof.errors import SpecError
from vitprof.formulas.op import Buffer, Elementwise, Inline, Op
from vitprof.formulas.size import ZERO, product

if TYPE_CHECKING:
    from vitprof.eager.run import Eager

Rule = Callable[..., Tensor]


def rule_of(op: Op, rules: Mapping[str, Rule]) -> Rule:
    """The rule of an op, by its kind, or by its work where that says more.

    Raises:
        SpecError: there is none.
    """
    key = op.work if isinstance(op, Elementwise | Inline) else op.kind
    if key not in rules:
        raise SpecError(
            f"there is no rule for the memory of {op.name}, which does {key}; "
            "give one by vitprof.eager.rules.RULES"
        )
    return rules[key]


def buffer(run: Eager, op: Buffer) -> Tensor:
    """What the module holds is there before the step."""
    dtype = run.weight_dtype if op.dtype == "float" else op.dtype
    return Tensor(product(op.shape), dtype, run.account.hold(ZERO, "buffers"))


RULES: Mapping[str, Rule] = {
    "linear": contraction,
    "conv": contraction,
    "matmul": matmul,
    "fused_attention": fused_attention,
    "layer_norm": layer_norm,
    "batch_norm": batch_norm,
    "rms_norm": rms_norm,
    "affine": affine,
    "layer_scale": layer_scale,
    "softmax": softmax,
    "relu": keeps_output,
    "gelu": keeps_input,
    "silu": keeps_input,
    "elu": keeps_input,
    "average pool": keeps_input,
    "scale": scale,
    "add": add,
    "subtract": subtract,
    "fft": fft,
    "complex multiply": complex_multiply,
    "sigmoid": keeps_output,
    "divide": divide,
    "multiply": multiply,
    "square": square,
    "exp": exp,
    "maximum": maximum,
    "greatest column sum": greatest_column_sum,
    "subtract from identity": subtract_from_identity,
    "segment mean": segment_mean,
    "l2 norm": l2_norm,
    "buffer": buffer,
    "sum": sum_,
    "mean": mean,
    "cross entropy": cross_entropy,
    "squared error": squared_error,
}
