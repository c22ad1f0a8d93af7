"""Kinds of work of an op: one closed vocabulary.

Counts, conventions of tools and memory rules are selected by these names.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from enum import StrEnum

from vitprof.errors import unknown


class Work(StrEnum):
    """A kind of work; `Work("gelu")` returns one by its name.

    Raises:
        SpecError: there is no such kind; the sentence suggests the nearest one.
    """

    # Contractions, the only work with MACs
    LINEAR = "linear"
    CONV = "conv"
    MATMUL = "matmul"
    FUSED_ATTENTION = "fused_attention"

    # A call of any torch function, with or without contractions
    CALL = "call"

    # Norms and scales of channels
    LAYER_NORM = "layer_norm"
    RMS_NORM = "rms_norm"
    BATCH_NORM = "batch_norm"
    GROUP_NORM = "group_norm"
    AFFINE = "affine"
    LAYER_SCALE = "layer_scale"

    # Activations
    SOFTMAX = "softmax"
    GELU = "gelu"
    RELU = "relu"
    SILU = "silu"
    SIGMOID = "sigmoid"
    TANH = "tanh"
    ELU = "elu"
    SOFTPLUS = "softplus"
    EXP = "exp"

    # Arithmetic, element by element
    SCALE = "scale"
    ADD = "add"
    SUBTRACT = "subtract"
    MULTIPLY = "multiply"
    DIVIDE = "divide"
    COS = "cos"
    SIN = "sin"
    SQUARE = "square"
    CLAMP = "clamp"
    COMPLEX_MULTIPLY = "complex multiply"
    MASK = "mask"
    SHIFT = "shift"
    SUBTRACT_FROM_IDENTITY = "subtract from identity"

    # Reductions
    SUM = "sum"
    MEAN = "mean"
    MAXIMUM = "maximum"
    GREATEST_COLUMN_SUM = "greatest column sum"
    AVERAGE_POOL = "average pool"
    ADAPTIVE_POOL = "adaptive average pool"
    CUMULATIVE_SUM = "cumulative sum"
    TOP_K = "top k"
    SCAN = "scan"
    L2_NORM = "l2 norm"

    # Random numbers, in training
    DROPOUT = "dropout"
    DROP_PATH = "drop path"

    # Transforms and losses
    FFT = "fft"
    CROSS_ENTROPY = "cross entropy"
    SQUARED_ERROR = "squared error"

    # Tensors that a module holds
    PARAMETER = "parameter"
    BUFFER = "buffer"

    @classmethod
    def _missing_(cls, value: object) -> Work:
        raise unknown("kind of work", str(value), (work.value for work in cls))


def without_a_rule(place: str, kind: str, name: str, known: Iterable[str]) -> str:
    """Return the sentence for a name in a formula that has no rule.

    Args:
        place: `mixer NAME, op PATH`, or what else uses the name.
        kind: noun for what has no rule.
        name: the name that has none.
        known: the names that have one.
    """
    (near,) = get_close_matches(name, [*map(str, known)], n=1, cutoff=0) or ("none",)
    return (
        f"{place}: there is no {kind} {str(name)!r}, the nearest is {near}; docs/mixers.md lists "
        "all that have rules"
    )
