"""Each mixer's numbers against its paper's equations, computed token by token.

The loops below are written from the papers, on the modules' weights, and share no line
with the modules. Sizes are odd and unequal, so that no axis can stand for another.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from math import exp, sqrt

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from vitprof.formulas.mixers import MIXERS
from vitprof.modules.mixers.attention import Attention
from vitprof.modules.mixers.lambda_layer import LambdaLayer
from vitprof.modules.mixers.linear_attention import LinearAttention

B, N, HEADS, HEAD_DIM = 2, 7, 3, 5
DIM = HEADS * HEAD_DIM

MIXER_MODULES: dict[str, Callable[[], nn.Module]] = {
    "attn": lambda: Attention(DIM, HEADS),
    "attn-fused": lambda: Attention(DIM, HEADS, fused=True),
    "lambda": lambda: LambdaLayer(DIM, HEADS, key_depth=11, receptive_field=3),
    "linear": lambda: LinearAttention(DIM, HEADS),
}
...
