"""Models of stages: PoolFormer (Yu et al. 2022) and ConvNeXt (Liu et al. 2022)."""

from __future__ import annotations

from collections.abc import Iterator

from vitprof.published.figures import macs, params
from vitprof.published.preset import Preset
from vitprof.published.sources import (
    CONVNEXT,
    CONVNEXT_README,
    POOLFORMER,
    POOLFORMER_README,
    TIMM_CSV,
    TORCHVISION_CONVNEXT,
    timm,
)

_IMAGENET: dict[str, object] = {
    "image_size": 224,
    "channels": 3,
    "classes": 1000,
    "activation": "gelu",
    "patch_size": 4,
    "layer_scale": True,
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
    yield from _convnext()


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
                "stem_kernel": 7,
                "merge_kernel": 3,
            },
            source=POOLFORMER,
            libraries=(f"timm:poolformer_{name}",),
            figures=(
                params(count, timm(f"poolformer_{name}")),
                params(million, POOLFORMER_README),
                macs(giga, POOLFORMER_README, "fvcore"),
                macs(csv, TIMM_CSV, "fvcore"),
            ),
            note="the norm before the head reads the mean of the tokens, as in timm, where it is a "
            "layer norm; the authors' group norm reads all tokens; each has as many parameters",
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
                "stem_norm": True,
                "merge_norm": True,
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
