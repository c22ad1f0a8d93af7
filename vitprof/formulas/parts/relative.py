"""Relative position bias: numbers of each head that are added to the scores of two tokens.

P[i, j] depends on the offset of patch j from patch i, one of L = (2 rows - 1)(2 columns - 1):

table   one learned number for each head and offset; prefix tokens have three more: for their
        scores with patches, those of patches with them, and those among them (Bao et al. 2021,
        BEiT; Liu et al. 2021, Swin Transformer, eq. 4)
mlp     relu(C W_1 + b_1) W_2 + b_2, with C, L x 2, the logarithms of the offsets (Liu et al. 2022,
        Swin Transformer V2, eqs. 3 and 4); it is 0 for the scores of prefix tokens

bounded   16 sigmoid(relu(C W_1 + b_1) W_2), of patches alone, as in the code of Swin Transformer V2

or on the query of patch i too, with a learned vector of d channels for each offset of rows and one
for each offset of columns, which all heads share (Li et al. 2022, MViTv2, section 4.1):

decomposed   P[i, j] = q_i R_row[row of i - row of j]^T + q_i R_column[column of i - column of j]^T,
             with queries that are not scaled, as in its code; it is 0 for the scores of prefix
             tokens
"""

from __future__ import annotations

from vitprof.formulas.mixer import MixerSizes
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.size import ONE, Size, product

TYPES = {  # -> class
    **{"none": "", "table": "BiasTable", "mlp": "BiasMlp"},
    "decomposed": "DecomposedBias",
}
BOUNDED = "BoundedBiasMlp"  # class
BY_OFFSET = ("table", "mlp")  # those that depend on the offset alone


def relative_bias(run: Run, kind: str, hidden: Size, sizes: MixerSizes) -> Tensor:
    """Return P: (heads, N, N).

    Args:
        run: the run.
        kind: one of `BY_OFFSET`.
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


def bounded_bias(run: Run, sides: tuple[Size, Size], hidden: Size, heads: Size) -> Tensor:
    """Return P of all patches on a grid, by an MLP, between 0 and 16: (heads, N, N).

    Args:
        run: the run.
        sides: rows and columns of the patches.
        hidden: hidden width of the MLP.
        heads: number of heads.
    """
    (rows, columns), N = sides, product(sides)
    offsets = ((2 * rows - 1) * (2 * columns - 1)).named("offsets")
    coordinates = run.buffer("offsets", offsets, Size(2))
    y = run.activation("act", "relu", run.linear("fc1", coordinates, hidden))
    table = run.linear("fc2", y, heads, bias=False)
    del y
    index = run.buffer("index", N, N, dtype="int64")
    bias = run.activation("gate", "sigmoid", table.index(index).permute(2, 0, 1).contiguous())
    return run.scale("scale", bias)


def decomposed_bias(
    run: Run, sides: tuple[Size, Size], prefix: int, axis: int, q: Tensor
) -> Tensor:
    """Return P of queries that have an axis of N tokens: (..., N, ..., d) to (..., N, ..., N).

    Args:
        run: the run.
        sides: rows and columns of the patches.
        prefix: number of tokens before the patches.
        axis: the axis of the tokens.
        q: the queries.
    """
    (rows, columns), n = sides, product(sides)
    tokens = q.shape[axis]
    whole = (*q.shape[:-1], tokens)
    if prefix:
        q = q.narrow(axis, prefix, n)
    shape = (*q.shape[:-1], n)
    q = q.unflatten(axis, (rows, columns))
    # In the order of the scores, so that their sum is.
    by_row = _by_offsets(run, "row", rows, axis, q).contiguous()
    by_column = _by_offsets(run, "column", columns, axis + 1, q)
    bias = run.add("sum", by_row.unsqueeze(-1), by_column.unsqueeze(-2)).reshape(*shape)
    return run.pad(bias, *whole) if prefix else bias


def _by_offsets(run: Run, name: str, side: Size, axis: int, q: Tensor) -> Tensor:
    """Multiply queries with the vectors of their offsets along an axis: (..., d) to (..., side).

    For each place along the axis it is one product, of all queries there with the vectors of the
    offsets of all keys, as `torch.einsum` computes it.
    """
    offsets = (2 * side - 1).named(f"{name} offsets")
    table = run.parameter(f"{name}_table", offsets, q.shape[-1])
    vectors = table.index(run.buffer(f"{name}_index", side, side, dtype="int64"))
    places = [*range(len(q.shape))]
    first = [axis, *places[:axis], *places[axis + 1 :]]
    q = q.permute(*first)
    _, *others, d = q.shape
    y = run.matmul(f"by_{name}", q.reshape(side, product(tuple(others)), d), vectors.mT)
    return y.reshape(side, *others, side).permute(*[first.index(place) for place in places])
