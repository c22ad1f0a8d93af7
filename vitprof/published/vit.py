"""Vision transformers (Dosovitskiy et al. 2020; the smaller ones Touvron et al. 2020; the
larger ones Zhai et al. 2021), DeiT (Touvron et al. 2020), DeiT III (Touvron et al. 2022), and those
with parallel branches (Touvron et al. 2022, Three Things).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vitprof.published.figures import Figure, macs, params
from vitprof.published.preset import Preset
from vitprof.published.sources import (
    DEIT,
    DEIT3,
    SCALING,
    THREE_THINGS,
    TIMM_CSV,
    TIMM_CSV_240,
    TIMM_CSV_FUSED,
    TORCHVISION,
    VIT,
    timm,
)

_IMAGENET: dict[str, object] = {
    "image_size": 224,
    "channels": 3,
    "classes": 1000,
    "activation": "gelu",
    "final_norm_tokens": "all",
}
_TI, _S, _B = (192, 12, 3), (384, 12, 6), (768, 12, 12)
_L, _H = (1024, 24, 16), (1280, 32, 16)


def _vit(
    name: str,
    patch: int,
    shape: tuple[int, int, int],
    source: str,
    figures: tuple[Figure, ...],
    note: str = "",
    libraries: tuple[str, ...] = (),
    **more: Any,
) -> Preset:
    dim, depth, heads = shape
    sizes = {"patch_size": patch, "dim": dim, "depth": depth, "heads": heads}
    return Preset(
        name=name,
        model="classifier",
        mixer="attn",
        options={**_IMAGENET, **sizes, **more},
        source=source,
        libraries=libraries,
        figures=figures,
        note=note,
    )


def _csv(printed: str) -> Figure:
    return macs(printed, TIMM_CSV, "fvcore")


def _later_table(gmacs: str, parameters: str) -> str:
    return (
        "timm's next table, results/benchmark-infer-amp-nchw-pt113-cu117-rtx3090.csv, prints "
        f"{gmacs} and {parameters} parameters, those of a head with 21,843 classes"
    )


def _csv_fused(printed: str) -> Figure:
    return macs(
        printed,
        TIMM_CSV_FUSED,
        "fvcore, fused",
        note="the products of attention are not counted, since fvcore has no rule for the "
        "fused kernel",
    )


def presets() -> Iterator[Preset]:
    """Yield the presets."""
    yield _vit(
        "vit-ti-16",
        16,
        _TI,
        SCALING,
        (
            params("5,717,416", timm("vit_tiny_patch16_224")),
            params("5.5 M", SCALING, "headless"),
            macs("2.5 G", SCALING, "flops"),
            _csv("1.26 G"),
            _csv_fused("1.08 G"),
        ),
        libraries=("timm:vit_tiny_patch16_224",),
    )
    yield _vit(
        "vit-s-16",
        16,
        _S,
        SCALING,
        (
            params("22,050,664", timm("vit_small_patch16_224")),
            params("22 M", SCALING, "headless"),
            macs("9.2 G", SCALING, "flops"),
            _csv("4.61 G"),
            _csv_fused("4.25 G"),
        ),
        libraries=("timm:vit_small_patch16_224",),
    )
    yield _vit(
        "vit-s-32",
        32,
        _S,
        SCALING,
        (
            params("22,878,952", timm("vit_small_patch32_224")),
            macs("2.3 G", SCALING, "flops"),
            _csv("1.15 G"),
        ),
        libraries=("timm:vit_small_patch32_224",),
    )
    yield _vit(
        "vit-b-16",
        16,
        _B,
        VIT,
        (
            params("86,567,656", TORCHVISION),
            params("86 M", VIT, "headless"),
            macs("17.564 G", TORCHVISION),
            _csv("17.58 G"),
            _csv_fused("16.87 G"),
        ),
        libraries=("timm:vit_base_patch16_224", "torchvision:vit_b_16"),
    )
    yield _vit(
        "vit-b-32",
        32,
        _B,
        VIT,
        (
            params("88,224,232", TORCHVISION),
            macs("4.409 G", TORCHVISION),
            _csv("4.41 G"),
        ),
        libraries=("timm:vit_base_patch32_224", "torchvision:vit_b_32"),
    )
    yield _vit(
        "vit-l-16",
        16,
        _L,
        VIT,
        (
            params("304,326,632", TORCHVISION),
            params("303 M", SCALING, "headless"),
            macs("61.555 G", TORCHVISION),
            _csv("61.6 G"),
            _csv_fused("59.7 G"),
        ),
        libraries=("timm:vit_large_patch16_224", "torchvision:vit_l_16"),
        note="the paper's table 1 prints 307 M parameters for ViT-Large, which L/16 has with none "
        "of its heads and at none of its resolutions; L/32 has 306.5 M",
    )
    yield _vit(
        "vit-l-32",
        32,
        _L,
        VIT,
        (
            params("306,535,400", TORCHVISION),
            macs("15.378 G", TORCHVISION),
            _csv("15.39 G"),
        ),
        libraries=("torchvision:vit_l_32",),
        note=_later_table("15.41 G", "327.9 M"),
    )
    yield _vit(
        "vit-h-14",
        14,
        _H,
        VIT,
        (
            params("632,045,800", TORCHVISION),
            params("632 M", VIT),
            macs("167.295 G", TORCHVISION),
            _csv("167.4 G"),
        ),
        libraries=("torchvision:vit_h_14",),
        note=_later_table("167.43 G", "658.75 M"),
    )
    attention_pooling = (
        "the paper's models pool by an attention head and have no class token; these have one, "
        "as timm's"
    )
    yield _vit(
        "vit-giant-14",
        14,
        (1408, 40, 16),
        SCALING,
        (
            params("1,012,611,432", timm("vit_giant_patch14_224")),
            params("1011 M", SCALING, "headless"),
            _csv("267.18 G"),
        ),
        libraries=("timm:vit_giant_patch14_224",),
        note=attention_pooling,
        mlp_ratio="48/11",
    )
    yield _vit(
        "vit-gigantic-14",
        14,
        (1664, 48, 16),
        SCALING,
        (
            params("1,844,440,680", timm("vit_gigantic_patch14_224")),
            params("1843 M", SCALING, "headless"),
            _csv("483.95 G"),
        ),
        libraries=("timm:vit_gigantic_patch14_224",),
        note=attention_pooling,
        mlp_ratio="64/13",
    )
    yield from _deit()
    yield from _deit3()
    yield from _parallel()


def _deit() -> Iterator[Preset]:
    same = "the shape of the ViT of this size; DeiT is its training"
    for size, shape, count, csv in (
        ("ti", _TI, "5,717,416", "1.26 G"),
        ("s", _S, "22,050,664", "4.61 G"),
        ("b", _B, "86,567,656", "17.58 G"),
    ):
        name = {"ti": "tiny", "s": "small", "b": "base"}[size]
        yield _vit(
            f"deit-{size}",
            16,
            shape,
            DEIT,
            (params(count, timm(f"deit_{name}_patch16_224")), _csv(csv)),
            note=same,
            libraries=(f"timm:deit_{name}_patch16_224",),
        )
    for size, shape, count, csv in (
        ("ti", _TI, "5,910,800", "1.27 G"),
        ("s", _S, "22,436,432", "4.63 G"),
        ("b", _B, "87,338,192", "17.68 G"),
    ):
        name = {"ti": "tiny", "s": "small", "b": "base"}[size]
        yield _vit(
            f"deit-{size}-distilled",
            16,
            shape,
            "Touvron et al. 2020, Training data-efficient image transformers, section 4",
            (params(count, timm(f"deit_{name}_distilled_patch16_224")), _csv(csv)),
            libraries=(f"timm:deit_{name}_distilled_patch16_224",),
            distillation=True,
        )


def _deit3() -> Iterator[Preset]:
    wrong = {
        "s": "the README prints 22.0 M parameters for 22.06 M",
        "b": "the README prints 17.5 G for 17.58 G",
    }
    for size, name, patch, shape, count, printed, csv, readme in (
        ("s", "small_patch16", 16, _S, "22,059,496", "", "4.61 G", "4.6 G"),
        ("m", "medium_patch16", 16, (512, 12, 8), "38,849,512", "38.8 M", "", "8.0 G"),
        ("b", "base_patch16", 16, _B, "86,585,320", "86.6 M", "17.58 G", ""),
        ("l", "large_patch16", 16, _L, "304,374,760", "304.4 M", "61.6 G", "61.6 G"),
        ("h", "huge_patch14", 14, _H, "632,126,440", "632.1 M", "167.4 G", "167.4 G"),
    ):
        figures = [params(count, timm(f"deit3_{name}_224"))]
        figures += [params(printed, DEIT3)] if printed else []
        figures += [_csv(csv)] if csv else []
        # The README does not say what it counts; its 167.4 G of H is what fvcore counts.
        figures += [macs(readme, DEIT3, "fvcore")] if readme else []
        yield _vit(
            f"deit3-{size}",
            patch,
            shape,
            "Touvron, Cord and Jegou 2022, DeiT III: Revenge of the ViT",
            tuple(figures),
            note=wrong.get(size, ""),
            libraries=(f"timm:deit3_{name}_224",),
            pos_embed_token=False,
            layer_scale=True,
        )


def _parallel() -> Iterator[Preset]:
    for size, name, branches, (dim, depth, heads), count, csv, fused in (
        ("s", "small", 2, (384, 18, 6), "64,665,448", "13.71 G", "12.63 G"),
        ("s", "small", 1, (384, 36, 6), "64,665,448", "13.71 G", "12.63 G"),
        ("b", "base", 2, (768, 18, 12), "256,731,880", "52.51 G", "50.37 G"),
    ):
        model = f"vit_{name}_patch16_{depth}x{branches}_224"
        yield _vit(
            f"vit-{size}-16-{depth}x{branches}",
            16,
            (dim, depth, heads),
            THREE_THINGS,
            (params(count, timm(model)), macs(csv, TIMM_CSV_240, "fvcore"), _csv_fused(fused)),
            libraries=(f"timm:{model}",),
            branches=branches,
            layer_scale=True,
        )
