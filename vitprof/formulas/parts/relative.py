"""Relative position bias: numbers of each head that are added to the scores of two tokens.

P[i, j] depends on the offset of patch j from patch i, one of L = (2 rows - 1)(2 columns - 1):

table   one learned number for each head and offset; prefix tokens have three more: for their
        scores with patches, those of patches with them, and those among them (Bao et al. 2021,
        BEiT; Liu et al. 2021, Swin Transformer, eq. 4)
mlp     relu(C W_1 + b_1) W_2 + b_2, with C, L x 2, the logarithms of the offsets (Liu et al. 2022,
        Swin Transformer V2, eqs. 3 and 4); it is 0 for the scores of prefix tokens
"""

from __future__ import annotations

from vitprof.formulas.mixer import MixerSizes
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.size import ONE, Size

TYPES = {"none": "", "table": "BiasTable", "mlp": "BiasMlp"}  # -> class


def relative_bias(run: Run, kind: str, hidden: Size, sizes: MixerSizes) -> Tensor:
    """Return P: (heads, N, N).

    Args:
        run: the run.
        kind: a key of `TYPES` other than `none`.
        hidden: hidden width of the MLP.
        sizes: sizes at which the mixer works.
    """
    assert sizes.patches is not None
    (rows, columns), h, N = sizes.patches, sizes.heads, sizes.tokens
    offsets = ((2 * rows - 1) * (2 * columns - 1)).named("offsets")
    if kind == "table":
        table = run.parameter("table", offsets + 3 if sizes.prefix else offsets, h)
    else:
        coordinates = run.buffer("offsets", offsets, Size(2))
        y = run.activation("act", "relu", run.linear("fc1", coordinates, hidden))
        table = run.linear("fc2", y, h)
        del y
        if sizes.prefix:
            table = run.cat([table, run.buffer("zero", ONE, h)], 0, offsets + 1)
    index = run.buffer("index", N, N, dtype="int64")
    return table.index(index).permute(2, 0, 1).contiguous()
