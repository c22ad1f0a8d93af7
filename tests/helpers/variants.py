"""Variants: each option of a model changed, and some that meet in a formula changed together.

Sizes are unequal, so that swapped axes fail; an image that is not square has 4 rows of 6 patches.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import pytest

from vitprof.formulas.block import BLOCKS as ARRANGEMENTS
from vitprof.formulas.block import BlockOptions
from vitprof.formulas.model import Model
from vitprof.formulas.models import MODELS
from vitprof.request.specs import specify, specify_loosely
from vitprof.values.options import Choice, Flag, Whole

Options = dict[str, Any]

IMAGE: Options = {"image_size": 12, "patch_size": 3, "channels": 2}
TOKEN: Options = {"dim": 12, "heads": 3, "mlp_ratio": "2.5"}
SIZES: dict[str, Options] = {
    "mae": {**IMAGE, **TOKEN, "depth": 1, "mask_ratio": "0.4"}
    | {"decoder_dim": 20, "decoder_heads": 5, "decoder_depth": 1},
    "classifier": {**IMAGE, **TOKEN, "depth": 2, "classes": 7},
    "pyramid": {**IMAGE, "classes": 7, "depths": (1, 2), "widths": (6, 12), "stage_heads": (1, 3)}
    | {"mlp_ratio": "2.5"},
    "layer": {**TOKEN, "tokens": 7},
}
# Values of sizes that are off by default, and options that a choice requires.
GIVEN: Options = {
    **{"image_width": 18, "mlp_hidden": 17, "decoder_mlp_hidden": 19},
    **{"registers": 2, "head_hidden": 13, "decoder_output": 7, "stem_kernel": 5},
    **{"neck": 5},
    **{"patch_width": 2, "patch_stride": 2, "patch_stride_width": 4},
}
BESIDE: dict[tuple[str, object], Options] = {
    ("pool", "none"): {"head": False},
    ("neck", 5): {"pool": "none", "head": False},
    ("stem", "conv"): {"patch_size": 4},
    ("patch_interaction", True): {"tokens": 9},
    ("pre_logits", "squared-relu"): {"head_hidden": 13},
    ("mlp_conv", "conv"): {"tokens": 9},
    ("mlp_conv", "relu-conv"): {"tokens": 9},
}

BLOCKS: list[Options] = [
    {"norm": "affine", "mlp": "gated", "layer_scale": True, "activation": "silu"},
    {"norm": "rms", "mlp": "gated", "layer_scale": True},
    {"norm": "batch", "mlp": "linear", "layer_scale": True},
    {"norm": "rms", "mlp": "none", "layer_scale": True},
]
LOCAL: Options = {"patch_interaction": True, "tokens": 9}
CONV_STEM: Options = {"stem": "conv", "patch_size": 4}
CAIT: Options = {"pool": "class", "class_layer": "cait", "class_layers": 3}
XCIT: Options = {"pool": "class", "class_layer": "xcit", "layer_scale": True}
VIDEO: Options = {"frames": 4, "tubelet": 2, "image_width": 18}
PVT: Options = {
    **{"mlp_conv": "conv", "stem_kernel": 5, "stem_norm": True, "merge_kernel": 3},
    **{"merge_norm": "both", "final_norm_tokens": "all"},
}
METAFORMER: Options = {
    **{"norm_bias": False, "mlp_bias": False, "activation": "star-relu", "res_scale": True},
    **{"stem_norm": True, "merge_norm": "before", "head_hidden": 13, "pre_logits": "squared-relu"},
}
DROPS: Options = {"dropout": "0.1", "drop_path": "0.2"}
TOGETHER: dict[str, list[Options]] = {
    "mae": [
        BLOCKS[0],
        DROPS,
        *({"class_token": False, "pos_embed": kind} for kind in ("learned", "none")),
        {"class_token": False, "final_norm": False, "patch_bias": False},
        {"class_token": False, "mask_ratio": "0"},
        {"class_token": False, "norm": "batch"},
        {"pos_embed": "learned", "pos_embed_token": False},
        {"pos_embed": "learned", "image_width": 18},
        {"pos_embed": "none", "patch_bias": False},
        {"decoder_output": 7, "class_token": False, "norm": "rms"},
        {"decoder_output": 7, "predict_kept": False, "decoder_embed_bias": False},
        {**VIDEO, "patch_width": 2, "pos_embed_token": False, "patch_bias": False},
        {**VIDEO, "class_token": False, "predict_kept": False, "norm": "batch"},
    ],
    "classifier": [
        BLOCKS[1],
        DROPS,
        {"final_norm_tokens": "all", "norm": "batch"},
        {"final_norm_tokens": "all", "distillation": True},
        {"final_norm_tokens": "all", "distillation": True, "head": False, "final_norm": False},
        {"final_norm_tokens": "all", "pool": "mean"},
        *({"distillation": True, "norm": norm} for norm in ("rms", "affine", "batch")),
        *({"pool": "mean", "norm": norm} for norm in ("rms", "affine", "batch")),
        {"distillation": True, "head": False},
        {"distillation": True, "final_norm": False},
        {"distillation": True, "pos_embed_token": False},
        {"distillation": True, "pos_embed": "fixed"},
        {"distillation": True, "pos_embed": "none", "image_width": 18},
        {"pool": "mean", "head": False},
        {"pool": "mean", "final_norm": False},
        {"pool": "mean", "pos_embed": "fixed", "image_width": 18},
        {"pool": "none", "head": False, "final_norm": False},
        {"pos_embed": "fixed", "pos_embed_token": False},
        {"registers": 3, "distillation": True, "first_norm": True},
        {"registers": 1, "pos_embed_token": False, "final_norm_tokens": "all"},
        {"registers": 2, "pos_embed": "none", "distillation": True, "head": False},
        {"registers": 2, "pool": "mean", "final_norm_tokens": "pooled", "norm": "rms"},
        {"registers": 2, "pool": "map", "first_norm": True, "norm": "affine"},
        {"registers": 2, "pool": "none", "head": False},
        {"neck": 5, "pool": "none", "head": False, "final_norm": False, "image_width": 18},
        {"neck": 5, "pool": "none", "head": False, "norm": "batch", "registers": 2},
        {"pool": "map", "pool_fused": True, "final_norm_tokens": "pooled", "norm": "batch"},
        {"pool": "map", "mlp": "gated", "mlp_norm": True, "mlp_bias": False, **DROPS},
        {"pool": "map", "mlp": "none", "head_hidden": 13, "head_bias": False},
        {"distillation": True, "head_hidden": 13, "head_bias": False},
        {"branches": 2, "mlp": "gated", "norm": "rms", **DROPS},
        {"pool": "both", "head_norm": True, "final_norm_tokens": "all", "patch_stride": 2},
        {"pool": "both", "final_norm_tokens": "pooled", "head": False, "registers": 2},
        {"patch_width": 4, "patch_stride": 2, "image_width": 17, "patch_bias": False},
        {**VIDEO, "pool": "mean", "pos_embed": "fixed", "final_norm_tokens": "pooled"},
        {**VIDEO, "patch_width": 2, "patch_stride": 2, "patch_norm": True, "registers": 2},
        {"first_norm": True, "patch_bias": False, "activation": "quick-gelu"},
        {**CONV_STEM, "patch_norm": True, "norm": "batch", "activation": "quick-gelu"},
        {**CONV_STEM, "pos_embed": "fourier", "pool": "mean", "image_width": 20},
        {**CONV_STEM, "pos_embed": "fourier", **XCIT, "patch_interaction": True, "block": "post"},
        {"pos_embed": "fourier", "registers": 2, "distillation": True},
        {**XCIT, "class_fused": True, "class_norm_all": False, "final_norm_tokens": "all"},
        {**XCIT, "norm": "batch", "mlp": "none", "registers": 2, **DROPS},
        {**CAIT, "layer_scale": True, "class_fused": True, "pos_embed": "fixed", "head": False},
        {**CAIT, "mlp": "gated", "norm": "rms", "final_norm_tokens": "all", **DROPS},
        {**CAIT, "mlp": "none", "patch_interaction": True, "block": "parallel", "image_width": 18},
    ],
    "pyramid": [
        *BLOCKS,
        DROPS,
        {"norm": "group", "layer_scale": True, "stem_norm": True, "merge_norm": "both"},
        {"norm": "group", "merge": "concat", "final_norm_tokens": "pooled", "image_width": 18},
        {"norm": "batch", "merge": "concat", "stem_kernel": 7, "head_hidden": 13},
        {"merge_norm": "before", "merge_kernel": 5, "block": "inner", "layer_scale": True},
        {"depths": (2,), "widths": (12,), "stage_heads": (2,), "head": False},
        {**METAFORMER, "merge": "pool", "merge_norm": "both", "mlp_ratios": (2, 3)},
        {**PVT, "mlp_ratios": (2, 3)},
        {**PVT, "mlp_conv": "relu-conv", "mlp_norm": True, "merge": "pool", **DROPS},
        {**METAFORMER, "norm": "group", "outer_norm": "layer", "res_scale_from": 2},
        {"outer_norm": "group", "final_norm_bias": False, "stem_norm": True, "mlp_ratios": (3,)},
    ],
    "layer": [
        *BLOCKS,
        *({name: rate} for name, rate in DROPS.items()),
        *({"mlp": mlp, **DROPS} for mlp in ("gated", "linear", "none")),
        *({"block": block, **DROPS} for block in ARRANGEMENTS),
        *({"block": block, "layer_scale": True} for block in ARRANGEMENTS),
        *({"block": block, "mlp": "none"} for block in ARRANGEMENTS),
        *({"block": block, "mlp": "linear", "norm": "batch"} for block in ARRANGEMENTS),
        *({"block": block, "mlp": "gated", "norm": "rms"} for block in ARRANGEMENTS),
        {"mlp": "gated", "mlp_hidden": 17},
        *({"mlp": "gated", "mlp_norm": True, "norm": norm} for norm in ("rms", "affine", "batch")),
        {"mlp": "plain", "mlp_norm": True, "mlp_bias": False, **DROPS},
        *({"mlp": mlp, "mlp_bias": False} for mlp in ("gated", "linear")),
        {"mlp": "gated", "activation": "quick-gelu", "block": "conv"},
        {"mlp": "gated", "mlp_ratio": "2.7", "mlp_multiple": 8},
        *(
            {**LOCAL, "block": block, "layer_scale": True, **DROPS}
            for block in ("pre", "post", "res-post", "parallel")
        ),
        *(
            {**LOCAL, "block": block, "branches": 2, "layer_scale": True, **DROPS}
            for block in ("pre", "res-post")
        ),
        {"branches": 3, "mlp": "none", "norm": "batch"},
        {**LOCAL, "activation": "quick-gelu", "mlp": "none"},
        *({"tokens": 9, "mlp_conv": "conv", "block": block, **DROPS} for block in ARRANGEMENTS),
        {"branches": 2, "res_scale": True, **LOCAL},
        {**LOCAL, "res_scale": True, "norm": "group", "norm_bias": False},
        *({"block": block, "res_scale": True, **DROPS} for block in ARRANGEMENTS),
    ],
}


class Variant(NamedTuple):
    """A model with some of its options changed from the defaults."""

    model: str
    turned: tuple[tuple[str, Any], ...]

    def __str__(self) -> str:
        return "-".join((self.model, *(f"{name}={value}" for name, value in self.turned)))


def alone(model: str) -> Iterator[Options]:
    """Yield each option of a model changed, except sizes; options of a block only for the layer.

    The norm option is tested in every model, since it is also the norm before the head.
    """
    usual = specify(model)
    of_blocks = BlockOptions.declared().keys() - {"norm"}
    for name, option in usual.declared().items():
        if model != "layer" and name in of_blocks:
            continue
        others: tuple[object, ...] = ()
        if isinstance(option, Flag):
            others = (False, True)
        elif isinstance(option, Choice):
            others = option.names
        elif isinstance(option, Whole) and not option.minimum:
            others = (GIVEN[name],)
        for other in others:
            if other != getattr(usual, name):
                yield {name: other, **BESIDE.get((name, other), {})}


VARIANTS = [
    Variant(model, tuple(turned.items()))
    for model in MODELS
    for turned in (*alone(model), *TOGETHER[model])
]
every_variant = pytest.mark.parametrize("variant", VARIANTS, ids=str)


@cache
def spec(variant: Variant) -> Model:
    return specify_loosely(variant.model, options={**SIZES[variant.model], **dict(variant.turned)})
