"""Rotary position embedding (Su et al. 2021, RoFormer, eq. 34).

The channels of a token are pairs (a, b), a in their first half and b in their second. A token turns
each pair by an angle t that follows from its position:

(a, b) -> (a cos t - b sin t, b cos t + a sin t)     cos t, sin t N x d/2

sequence  t = n × f for token n, with d/2 fixed frequencies f
axial     t = row × f for half of the pairs of a patch and column × f for the others, with d/4 fixed
          f; all blocks and heads share cos t and sin t (Fang et al. 2023, EVA-02, section 2.1;
          Siméoni et al. 2025, DINOv3)
mixed     t = row × f + column × g, with d/2 learned f and g of each block and each head of keys
          (Heo et al. 2024, Rotary Position Embedding for Vision Transformer, eq. 14)

On a grid of patches, prefix tokens are not turned.
"""

from __future__ import annotations

from vitprof.formulas.mixer import MixerSizes
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.size import ONE, Size, product

KINDS = {"none": 1, "axial": 4, "mixed": 2}  # on a grid -> number that has to divide the head dim


def angles(run: Run, tokens: Size, half: Size) -> tuple[Tensor, Tensor]:
    """Return the buffers of cosines and sines, (tokens, d/2) each."""
    return run.buffer("cosines", tokens, half), run.buffer("sines", tokens, half)


def mixed_angles(run: Run, sizes: MixerSizes, heads: Size) -> tuple[Tensor, Tensor]:
    """Return cosines and sines of learned frequencies, (heads, patches, d/2) each."""
    n, half = _patches(sizes), half_of(sizes)
    of_row, of_column = (run.parameter(name, heads, ONE, half) for name in ("of_row", "of_column"))
    row, column = run.buffer("row", n, ONE), run.buffer("column", n, ONE)
    t = run.add(
        "angle", run.multiply("by_row", row, of_row), run.multiply("by_column", column, of_column)
    )
    return run.cos("cosine", t), run.sin("sine", t)


def axial_angles(run: Run, sizes: MixerSizes) -> tuple[Tensor, Tensor]:
    """Return the buffers of cosines and sines of patches, (patches, d/2) each."""
    return angles(run, _patches(sizes), half_of(sizes))


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


def rotate_patches(
    run: Run, name: str, x: Tensor, tables: tuple[Tensor, ...], like: Tensor, sizes: MixerSizes
) -> Tensor:
    """Rotate queries or keys, except those of prefix tokens.

    Args:
        run: the run.
        name: `q` or `k`.
        x: (B, heads, N, d), or (B, heads, N, group, d) if a group shares a key.
        tables: cosines and sines.
        like: tensor in whose dtype the result is.
        sizes: sizes at which the mixer works.

    Returns:
        A tensor of the shape of x.
    """
    cos, sin = tables
    if len(x.shape) == 5:
        cos, sin = cos.unsqueeze(-2), sin.unsqueeze(-2)
    prefix = Size(sizes.prefix, "prefix tokens")
    patches = x.narrow(2, prefix, _patches(sizes)) if sizes.prefix else x
    rotated = rotate(run, name, patches, cos, sin)
    if sizes.prefix:
        rotated = run.cat([x.narrow(2, 0, prefix), rotated], 2, sizes.tokens)
    return rotated.type_as(like)


def half_of(sizes: MixerSizes) -> Size:
    """Return d/2, half of the channels of a head."""
    return (sizes.head_dim // 2).named("d/2")


def _patches(sizes: MixerSizes) -> Size:
    assert sizes.patches is not None
    return product(sizes.patches).named("patches")
