"""The kinds of work that an op can do: one closed vocabulary.

Counts, tools' conventions and memory rules all dispatch on these words.
"""

from __future__ import annotations

from enum import StrEnum

from vitprof.errors import unknown


class Work(StrEnum):
    """A kind of work; `Work("gelu")` finds one by its word.

    Raises:
        SpecError: there is no such word; the sentence names the nearest one.
    """

    # Contractions, the only work with MACs
    LINEAR = "linear"
    CONV = "conv"
    MATMUL = "matmul"
    FUSED_ATTENTION = "fused_attention"

    # Norms and scales of channels
    LAYER_NORM = "layer_norm"
    RMS_NORM = "rms_norm"
    BATCH_NORM = "batch_norm"
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
    EXP = "exp"

    # Arithmetic, element by element
    SCALE = "scale"
    ADD = "add"
    SUBTRACT = "subtract"
    MULTIPLY = "multiply"
    DIVIDE = "divide"
    SQUARE = "square"
    COMPLEX_MULTIPLY = "complex multiply"
    SUBTRACT_FROM_IDENTITY = "subtract from identity"

    # Reductions
    SUM = "sum"
    MEAN = "mean"
    MAXIMUM = "maximum"
    GREATEST_COLUMN_SUM = "greatest column sum"
    SEGMENT_MEAN = "segment mean"
    AVERAGE_POOL = "average pool"
    L2_NORM = "l2 norm"

    # Transforms and losses
    FFT = "fft"
    CROSS_ENTROPY = "cross entropy"
    SQUARED_ERROR = "squared error"

    # Numbers that a module holds
    PARAMETER = "parameter"
    BUFFER = "buffer"

    @classmethod
    def _missing_(cls, value: object) -> Work:
        raise unknown("kind of work", str(value), (work.value for work in cls))
