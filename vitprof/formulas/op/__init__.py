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

from vitprof.formulas.op.base import Op, Shape, Uncounted
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
)
from vitprof.formulas.op.tensors import Buffer, Parameter
from vitprof.formulas.op.transforms import FFT

__all__ = [
    "FFT",
    "Affine",
    "BatchNorm",
    "Buffer",
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
    "RMSNorm",
    "Shape",
    "TokenBatchNorm",
    "Uncounted",
]
