"""Ops: computations with their counts, and the only place where anything is counted.

An op states facts: its parameters, its multiply-accumulates (MACs), its output shape, and
the elements of its work outside contractions. The way in which a tool counts these facts is
the tool's convention (`vitprof.counters`).

A MAC is one multiply and one add. Only contractions have MACs: linear layers, convolutions
and matrix products. A bias adds no MACs.

Symbols: B images, N tokens; `lead` is the batch axes before the last axes, (B, N) for a
layer that works on each token.
"""

from __future__ import annotations

from vitprof.formulas.op.base import Op, Shape, Uncounted
from vitprof.formulas.op.called import Called
from vitprof.formulas.op.contractions import Conv, FusedAttention, Linear, MatMul
from vitprof.formulas.op.elementwise import Elementwise
from vitprof.formulas.op.norms import (
    Affine,
    BatchNorm,
    ChannelWise,
    LayerNorm,
    LayerScale,
    RMSNorm,
    TokenBatchNorm,
    TokenGroupNorm,
)
from vitprof.formulas.op.passes import Pass, Passes
from vitprof.formulas.op.tensors import Buffer, Parameter
from vitprof.formulas.op.transforms import FFT

__all__ = [
    "FFT",
    "Affine",
    "BatchNorm",
    "Buffer",
    "Called",
    "ChannelWise",
    "Conv",
    "Elementwise",
    "FusedAttention",
    "LayerNorm",
    "LayerScale",
    "Linear",
    "MatMul",
    "Op",
    "Parameter",
    "Pass",
    "Passes",
    "RMSNorm",
    "Shape",
    "TokenBatchNorm",
    "TokenGroupNorm",
    "Uncounted",
]
