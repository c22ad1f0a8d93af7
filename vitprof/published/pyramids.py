"""Models of stages: PoolFormer, the MetaFormer baselines, ConvNeXt and pyramid transformers."""

from __future__ import annotations

from collections.abc import Iterator

from vitprof.published.figures import Figure, macs, params
from vitprof.published.preset import Preset
from vitprof.published.sources import (
    CONVNEXT,
    CONVNEXT_README,
    METAFORMER,
    METAFORMER_README,
    POOLFORMER,
    POOLFORMER_README,
    PVT_README,
    PVT_V2,
    TIMM_CSV,
    TIMM_CSV_240,
    TORCHVISION_CONVNEXT,
    timm,
)

_IMAGENET: dict[str, object] = {
    "image_size": 224,
    "channels": 3,
    "classes": 1000,
    "activation": "gelu",
    "patch_size": 4,
    "final_norm_tokens": "pooled",
}
_S, _M = (64, 128, 320, 512), (96, 192, 384, 768)


def _shape(depths: tuple[int, ...], widths: tuple[int, ...]) -> dict[str, object]:
    """Return depths and widths, with 32 channels per head for mixers that use heads."""
    heads = tuple(width // 32 for width in widths)
    return {"depths": depths, "widths": widths, "stage_heads": heads}


def presets() -> Iterator[Preset]:
    """Yield the presets."""
    yield from _poolformer()
    yield from _metaformer()
    yield from _convnext()
    yield from _pvt_v2()


def _poolformer() -> Iterator[Preset]:
    for name, depths, widths, count, million, csv, giga in (
        ("s12", (2, 2, 6, 2), _S, "11,915,176", "12 M", "1.82 G", "1.8 G"),
        ("s24", (4, 4, 12, 4), _S, "21,388,968", "21 M", "3.41 G", "3.4 G"),
        ("s36", (6, 6, 18, 6), _S, "30,862,760", "31 M", "5.0 G", "5.0 G"),
        ("m36", (6, 6, 18, 6), _M, "56,172,520", "56 M", "8.8 G", "8.8 G"),
        ("m48", (8, 8, 24, 8), _M, "73,473,448", "73 M", "11.59 G", "11.6 G"),
    ):
        yield Preset(
            name=f"poolformer-{name}",
            model="pyramid",
            mixer="pool",
            options={
                **_IMAGENET,
                **_shape(depths, widths),
                "norm": "group",
                "outer_norm": "layer",
                "stem_kernel": 7,
                "merge_kernel": 3,
                "layer_scale": True,
            },
            source=POOLFORMER,
            libraries=(f"timm:poolformer_{name}",),
            figures=(
                params(count, timm(f"poolformer_{name}")),
                params(million, POOLFORMER_README),
                macs(giga, POOLFORMER_README, "fvcore"),
                macs(csv, TIMM_CSV, "fvcore"),
            ),
            note="the norm before the head is a layer norm of the mean of the tokens, as in timm; "
            "the authors' group norm reads all tokens; each has as many parameters",
        )


_Stages = tuple[tuple[int, ...], tuple[int, ...]]  # depths and widths
_OF_CONVFORMER: dict[str, _Stages] = {
    "s18": ((3, 3, 9, 3), _S),
    "s36": ((3, 12, 18, 3), _S),
    "m36": ((3, 12, 18, 3), (96, 192, 384, 576)),
    "b36": ((3, 12, 18, 3), (128, 256, 512, 768)),
}
_METAFORMER: dict[str, object] = {
    **_IMAGENET,
    "activation": "star-relu",
    "mlp_bias": False,
    "norm_bias": False,
    "res_scale": True,
    "res_scale_from": 3,
    "stem_kernel": 7,
    "stem_norm": True,
    "merge_kernel": 3,
    "merge_norm": "before",
}


def _metaformer() -> Iterator[Preset]:
    """Yield PoolFormerV2, IdentityFormer, RandFormer, ConvFormer and CAFormer."""
    group = {"norm": "group", "outer_norm": "layer"}
    for size, depths, widths, count, million, giga, csv in (
        ("s12", (2, 2, 6, 2), _S, "11,891,712", "11.9 M", "1.8 G", "1.83 G"),
        ("s24", (4, 4, 12, 4), _S, "21,341,464", "21.3 M", "3.4 G", "3.42 G"),
        ("s36", (6, 6, 18, 6), _S, "30,791,216", "30.8 M", "5.0 G", "5.01 G"),
        ("m36", (6, 6, 18, 6), _M, "56,077,168", "56.1 M", "8.8 G", "8.81 G"),
        ("m48", (8, 8, 24, 8), _M, "73,346,056", "73.3 M", "11.5 G", "11.59 G"),
    ):
        options = {**_shape(depths, widths), **group}
        printed = (params(million, METAFORMER_README), macs(giga, METAFORMER_README))
        name = f"poolformerv2_{size}"
        own = (params(count, timm(name)), macs(csv, TIMM_CSV_240, "fvcore"))
        yield _baseline(f"poolformerv2-{size}", "pool", options, (*own, *printed), library=name)
        yield _baseline(f"identityformer-{size}", "identity", options, printed)
        yield _randformer(size, options, million)
    attention = {"mixer_at": "stages.2-3=attn", "qkv_bias": False, "proj_bias": False}
    for of, size, count, million, giga, csv in (
        ("conv", "s18", "26,774,448", "27 M", "3.9 G", "3.96 G"),
        ("conv", "s36", "40,012,152", "40 M", "7.6 G", "7.67 G"),
        ("conv", "m36", "57,051,640", "57 M", "12.8 G", "12.89 G"),
        ("conv", "b36", "99,882,616", "100 M", "22.6 G", "22.69 G"),
        ("ca", "s18", "26,341,656", "26 M", "4.1 G", "4.13 G"),
        ("ca", "s36", "39,297,102", "39 M", "8.0 G", "8.0 G"),
        ("ca", "m36", "56,204,878", "56 M", "13.2 G", "13.29 G"),
        ("ca", "b36", "98,753,614", "99 M", "23.2 G", "23.22 G"),
    ):
        name = f"{of}former_{size}"
        shape = _OF_CONVFORMER[size]
        options = {**_shape(*shape), **(attention if of == "ca" else {})}
        # A head of two layers, with 4 times the last stage's channels between them.
        options |= {"head_hidden": 4 * shape[1][-1], "pre_logits": "squared-relu"}
        figures = (
            params(count, timm(name)),
            params(million, METAFORMER_README),
            macs(giga, METAFORMER_README),
            macs(csv, TIMM_CSV_240, "fvcore"),
        )
        yield _baseline(f"{of}former-{size}", "sepconv", options, figures, library=name)


_RANDOM = {  # fixed parameters and MACs
    "s12": ("0.2 M", "1.9 G"),
    "s24": ("0.5 M", "3.5 G"),
    "s36": ("0.7 M", "5.2 G"),
    "m36": ("0.7 M", "9.0 G"),
    "m48": ("0.9 M", "11.9 G"),
}


def _randformer(size: str, options: dict[str, object], trained: str) -> Preset:
    fixed, giga = _RANDOM[size]
    figures = (
        params(trained, METAFORMER_README, "trained"),
        params(fixed, METAFORMER_README, "fixed"),
        macs(giga, METAFORMER_README),
    )
    random = {**options, "mixer_at": "stages.2-3=random"}
    return _baseline(f"randformer-{size}", "identity", random, figures)


def _baseline(
    name: str,
    mixer: str,
    options: dict[str, object],
    figures: tuple[Figure, ...],
    *,
    library: str = "",
) -> Preset:
    return Preset(
        name=name,
        model="pyramid",
        mixer=mixer,
        options={**_METAFORMER, **options},
        source=METAFORMER,
        libraries=(f"timm:{library}",) if library else (),
        figures=figures,
    )


def _convnext() -> Iterator[Preset]:
    for size, depths, width, count, million, giga, csv, ops in (
        ("tiny", (3, 3, 9, 3), 96, "28,589,128", "29 M", "4.5 G", "4.47 G", "4.456 G"),
        ("small", (3, 3, 27, 3), 96, "50,223,688", "50 M", "8.7 G", "8.71 G", "8.684 G"),
        ("base", (3, 3, 27, 3), 128, "88,591,464", "89 M", "15.4 G", "15.38 G", "15.355 G"),
        ("large", (3, 3, 27, 3), 192, "197,767,336", "198 M", "34.4 G", "34.4 G", "34.361 G"),
    ):
        yield Preset(
            name=f"convnext-{size[0]}",
            model="pyramid",
            mixer="conv",
            options={
                **_IMAGENET,
                **_shape(depths, tuple(width << stage for stage in range(4))),
                "kernel_size": 7,
                "block": "inner",
                "layer_scale": True,
                "stem_norm": True,
                "merge_norm": "before",
            },
            source=CONVNEXT,
            libraries=(f"timm:convnext_{size}", f"torchvision:convnext_{size}"),
            figures=(
                params(count, TORCHVISION_CONVNEXT),
                params(million, CONVNEXT_README),
                macs(ops, TORCHVISION_CONVNEXT),
                macs(giga, CONVNEXT_README),
                macs(csv, TIMM_CSV, "fvcore"),
            ),
            note=f"{CONVNEXT_README}, prints 28 M parameters for weights of ImageNet-1K and 29 M "
            "for those of ImageNet-22K"
            if size == "tiny"
            else "",
        )


def _pvt_v2() -> Iterator[Preset]:
    wide = (64, 128, 320, 512)
    for size, depths, widths, ratios, pool, count, million, csv in (
        ("b0", (2, 2, 2, 2), (32, 64, 160, 256), (8, 8, 4, 4), 0, "3,666,760", "3.7 M", "0.57 G"),
        ("b1", (2, 2, 2, 2), wide, (8, 8, 4, 4), 0, "14,009,000", "14.0 M", "2.12 G"),
        ("b2", (3, 4, 6, 3), wide, (8, 8, 4, 4), 0, "25,362,856", "25.4 M", "4.05 G"),
        ("b2-li", (3, 4, 6, 3), wide, (8, 8, 4, 4), 7, "22,553,512", "22.6 M", "3.91 G"),
        ("b3", (3, 4, 18, 3), wide, (8, 8, 4, 4), 0, "45,238,696", "45.2 M", "6.92 G"),
        ("b4", (3, 8, 27, 3), wide, (8, 8, 4, 4), 0, "62,556,072", "62.6 M", "10.14 G"),
        ("b5", (3, 6, 40, 3), wide, (4, 4, 4, 4), 0, "81,956,008", "82.0 M", "11.76 G"),
    ):
        name = f"pvt_v2_{size.replace('-', '_')}"
        reduced = {"sra_pool": pool} if pool else {"reduction": (8, 4, 2, 1)}
        yield Preset(
            name=f"pvt-v2-{size}",
            model="pyramid",
            mixer="sra",
            options={
                **_IMAGENET,
                "depths": depths,
                "widths": widths,
                "stage_heads": (1, 2, 5, 8),
                "mlp_ratios": ratios,
                "mlp_conv": "relu-conv" if pool else "conv",
                "stem_kernel": 7,
                "stem_norm": True,
                "merge_kernel": 3,
                "merge_norm": "both",
                "final_norm_tokens": "all",
                **reduced,
            },
            source=PVT_V2,
            libraries=(f"timm:{name}",),
            figures=(
                params(count, timm(name)),
                params(million, PVT_README),
                macs(csv, TIMM_CSV_240, "fvcore"),
            ),
            note="the published stem pads 3 pixels on each side, and the one built here 2; each "
            "returns as many tokens",
        )
