"""Rotary position embedding (Su et al. 2021, RoFormer, eq. 34).

The channels of a token are pairs (a, b), a in their first half and b in their second. Token n turns
each pair by an angle that is proportional to n:

(a, b) -> (a cos - b sin, b cos + a sin)     cos, sin N x d/2
"""

from __future__ import annotations

from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.size import Size


def angles(run: Run, tokens: Size, half: Size) -> tuple[Tensor, Tensor]:
    """Return the buffers of cosines and sines, (N, d/2) each."""
    return run.buffer("cosines", tokens, half), run.buffer("sines", tokens, half)


def rotate(run: Run, name: str, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the pairs of (..., N, d); the names of its ops begin with `name`."""
    half = cos.shape[-1]
    a, b = x.split((half, half), -1)
    real = run.subtract(
        f"{name}_real",
        run.multiply(f"{name}_a_cos", a, cos),
        run.multiply(f"{name}_b_sin", b, sin),
    )
    imaginary = run.add(
        f"{name}_imaginary",
        run.multiply(f"{name}_b_cos", b, cos),
        run.multiply(f"{name}_a_sin", a, sin),
    )
    return run.cat([real, imaginary], -1, x.shape[-1])
