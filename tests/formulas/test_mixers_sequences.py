"""Mixers of sequences against their papers' equations, token by token.

The references are loops written from the papers, with the modules' weights. Parameters are derived
from the classes of the papers' own code.
"""

from __future__ import annotations

from itertools import product
from math import sqrt

import pytest
import torch
from references import columns, prepare
from torch import Tensor
from torch.testing import assert_close

from vitprof.errors import SpecError
from vitprof.formulas.layer import Measure
from vitprof.formulas.mixer import Mixer, MixerSizes
from vitprof.formulas.mixers.diff_attention import DiffAttention as DiffSpec
from vitprof.modules.mixers.diff_attention import DiffAttention
from vitprof.request.specs import specify
from vitprof.values.size import Size

B, N, HEADS, HEAD_DIM = 2, 7, 3, 10
DIM, HALF = HEADS * HEAD_DIM, HEAD_DIM // 2


@pytest.fixture
def x() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(B, N, DIM, dtype=torch.float64)


def count(mixer: Mixer, measure: Measure, *, tokens: int, dim: int, heads: int) -> int:
    sizes = MixerSizes(tokens=Size(tokens), dim=Size(dim), heads=Size(heads))
    return mixer.formula(sizes, Size(1)).of_one(measure)


def rms(x: Tensor) -> Tensor:
    """Return the vector over its root mean square, with the papers' 1e-5."""
    return x / (x.square().mean() + 1e-5).sqrt()


# Differential attention


@torch.no_grad()
def test_differential_attention_is_the_difference_of_two(x: Tensor) -> None:
    """Ye et al. 2024, eqs. 1 to 3, a query at a time, with lambda_init 0.8."""
    mixer = DiffAttention(DIM, HEADS)
    prepare(mixer)
    factor = mixer.lambda_q1.dot(mixer.lambda_k1).exp()
    factor = factor - mixer.lambda_q2.dot(mixer.lambda_k2).exp() + 0.8
    y = torch.empty_like(x)
    for b, head in product(range(B), range(HEADS)):
        first = head * HEAD_DIM
        q1, q2 = (columns(mixer.qkv, x[b], first + part * HALF, HALF) for part in (0, 1))
        k1, k2 = (columns(mixer.qkv, x[b], DIM + first + part * HALF, HALF) for part in (0, 1))
        v = columns(mixer.qkv, x[b], 2 * DIM + first, HEAD_DIM)
        for n in range(N):
            one, other = (
                torch.stack([q[n].dot(k[m]) / sqrt(HALF) for m in range(N)]).softmax(0)
                for q, k in ((q1, k1), (q2, k2))
            )
            mixed = rms((one - factor * other) @ v) * mixer.norm.weight
            y[b, n, first : first + HEAD_DIM] = (1 - 0.8) * mixed
    assert_close(mixer(x), columns(mixer.fc_out, y, 0, DIM))


def test_differential_attention_has_the_parameters_of_the_papers_code() -> None:
    """`MultiheadDiffAttn` of microsoft/unilm at the 3B model's sizes, D = 3072 and 12 heads.

    Four D x D projections, four vectors of d = 128, a gain of 2d; and here the bias of the output,
    which `DiffAttention` of timm has too.
    """
    d = 3072 // 12 // 2
    spec, sizes = DiffSpec(qkv_bias=False), {"tokens": N, "dim": 3072, "heads": 12}
    assert count(spec, Measure.PARAMS, **sizes) == 4 * 3072**2 + 4 * d + 2 * d + 3072


def test_half_as_many_heads_cost_what_attention_costs() -> None:
    """2h matrices of N x N scores over D / 2h channels, and h products with values of D / h."""
    found = count(DiffSpec(), Measure.MACS, tokens=N, dim=DIM, heads=HEADS)
    assert found == 4 * N * DIM**2 + 2 * HEADS * N * N * HALF + HEADS * N * N * HEAD_DIM


@pytest.mark.parametrize("mixer", ["diff"])
def test_heads_that_cannot_be_halved(mixer: str) -> None:
    with pytest.raises(SpecError) as refused:
        specify("layer", mixer=mixer, options={"dim": 15, "heads": 3})
    assert str(refused.value) == (
        f"dim 15 gives each of 3 heads 5 channels, which {mixer} cannot halve; give a multiple of 6"
    )
