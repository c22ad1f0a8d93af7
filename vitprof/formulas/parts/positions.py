"""Positions that a model computes of a grid and adds to the tokens.

Fourier positions (El-Nouby et al. 2021, XCiT, by `PositionalEncodingFourier` of its code): sines
and cosines of row and column, 32 channels each, through a 1 x 1 convolution to D channels. Of the
i-th of n rows or columns, i = 1 ... n, channel k is, with eps = 1e-6,

sin or cos (2 pi i / (n + eps) / 10000^(2 floor(k / 2) / 32)), sin where k is even

The sines and cosines are a buffer. The convolution is counted once, whatever the batch.
"""

from __future__ import annotations

from functools import partial

from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.size import ONE, Size

PER_AXIS = 32  # channels of sines and cosines of an axis


def add_fourier_positions(run: Run, grid: tuple[Size, Size], x: Tensor) -> Tensor:
    """Add Fourier positions to (B, N, D), N = rows × columns, as the submodule `fourier_embed`."""
    return run.layer("fourier_embed", "FourierPositions", partial(_add, run, grid), x)


def _add(run: Run, grid: tuple[Size, Size], x: Tensor) -> Tensor:
    _, N, D = x.shape
    waves = run.buffer("waves", ONE, Size(2 * PER_AXIS, "waves"), *grid)
    table = run.conv("proj", waves, D, (ONE, ONE)).reshape(ONE, D, N).transpose(1, 2)
    return run.add("positions", x, table)
