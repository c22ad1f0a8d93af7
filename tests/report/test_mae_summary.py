"""torchinfo's tree of the default MAE, row by row as in a report on MAE token mixers.

One row differs: the root is empty under the torchinfo of that report; under the tested release
it is 656,640, the tokens and positions that belong to no layer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import count

import pytest
import torchinfo

from vitprof.modules.build import build
from vitprof.request.specs import specify

Row = tuple[int, str, int]  # depth, type, parameters of its own

TOKENS = 128 + 512
POSITIONS = (32 * 32 + 1) * (128 + 512)

ATTENTION = {
    128: 128 * (3 * 128) + 3 * 128 + 128 * 128 + 128,
    512: 512 * (3 * 512) + 3 * 512 + 512 * 512 + 512,
}
# Queries for each head, one key of 16, one value; two norms; 16 kernels of 9 × 9.
LAMBDA = {
    128: (128 + 1) * (8 * 16 + 16 + 16) + 2 * 8 * 16 + 2 * 16 + (9 * 9 + 1) * 16,
    512: (512 + 1) * (16 * 16 + 16 + 32) + 2 * 16 * 16 + 2 * 32 + (9 * 9 + 1) * 16,
}


def block(width: int, mixer: str, mixer_params: int) -> Iterator[Row]:
    yield 2, "Block", 0
    yield 3, "LayerNorm", 2 * width
    yield 3, mixer, mixer_params
    yield from [(3, "Identity", 0)] * 2
    yield 3, "LayerNorm", 2 * width
    yield 3, "Mlp", width * (4 * width) + 4 * width + (4 * width) * width + width
    yield from [(3, "Identity", 0)] * 2


def mae(mixer: str, mixer_params: dict[int, int]) -> Iterator[Row]:
    yield 0, "MaskedAutoencoderViT", TOKENS + POSITIONS
    yield 1, "PatchEmbed", 0
    yield 2, "Conv2d", 8 * 8 * 1 * 128 + 128
    yield 2, "Identity", 0
    for width, depth in ((128, 12), (512, 8)):
        yield 1, "ModuleList", 0
        for _ in range(depth):
            yield from block(width, mixer, mixer_params[width])
        yield 1, "LayerNorm", 2 * width
        # decoder_embed after the encoder, decoder_pred after the decoder.
        yield 1, "Linear", 128 * 512 + 512 if width == 128 else 512 * 64 + 64


def numbered(rows: Iterator[Row]) -> Iterator[tuple[str, str]]:
    """Return the two columns as printed: at each depth rows are numbered through the tree."""
    numbers = [count(1) for _ in range(4)]
    for depth, kind, params in rows:
        layer = f"{kind}: {depth}-{next(numbers[depth])}" if depth else kind
        yield layer, f"{params:,}" if params else "--"


@pytest.mark.parametrize(
    ("mixer", "kind", "mixer_params", "layers"),
    [
        ("attn", "Attention", ATTENTION, 27_706_816),
        ("lambda", "LambdaLayer", LAMBDA, 20_038_848),
    ],
    ids=["attn", "lambda"],
)
def test_summary(mixer: str, kind: str, mixer_params: dict[int, int], layers: int) -> None:
    model = build(specify("mae", mixer=mixer), device="meta")
    printed = str(torchinfo.summary(model, depth=3, verbose=0))
    # Between rules of ===: nothing, the header, the tree, the totals.
    _, _, tree, totals, *_ = re.split(r"=+\n?", printed)
    rows = [tuple(line.lstrip("│├└─ ").rsplit(maxsplit=1)) for line in tree.splitlines()]
    assert rows == list(numbered(mae(kind, mixer_params)))
    assert totals.splitlines() == [
        f"Total params: {layers + TOKENS + POSITIONS:,}",
        f"Trainable params: {layers + TOKENS:,}",
        f"Non-trainable params: {POSITIONS:,}",
    ]
