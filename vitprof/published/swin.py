"""Swin Transformer (Liu et al. 2021) and its second version (Liu et al. 2022)."""

from __future__ import annotations

from collections.abc import Iterator

from vitprof.published.figures import macs, params
from vitprof.published.preset import Preset
from vitprof.published.sources import (
    SWIN,
    SWIN_README,
    SWIN_V2,
    TIMM_CSV_240,
    TORCHVISION_SWIN,
    timm,
)

_OF_BOTH: dict[str, object] = {
    **{"channels": 3, "patch_size": 4, "classes": 1000, "stem_norm": True, "merge": "concat"},
    **{"activation": "gelu", "window_shift": True},
}
_OF_SECOND: dict[str, object] = {
    **{"block": "res-post", "merge": "concat-post", "window_relative": "mlp"},
    **{"window_cosine": True, "key_bias": False},
}
_SHAPES = {  # depths, width and heads of the first stage
    "tiny": ((2, 2, 6, 2), 96, 3),
    "small": ((2, 2, 18, 2), 96, 3),
    "base": ((2, 2, 18, 2), 128, 4),
    "large": ((2, 2, 18, 2), 192, 6),
}
_KEYS = "torchvision's swin_v2_{} has biases of the keys, too, {} parameters that it sets to 0"


def _sizes(size: str) -> dict[str, object]:
    depths, width, heads = _SHAPES[size]
    return {
        "depths": depths,
        "widths": tuple(width << stage for stage in range(4)),
        "stage_heads": tuple(heads << stage for stage in range(4)),
    }


def presets() -> Iterator[Preset]:
    """Yield the presets."""
    yield from _first()
    yield from _second()


def _first() -> Iterator[Preset]:
    for size, pixels, window, count, cost, million, giga, ops in (
        ("tiny", 224, 7, "28,288,354", "4.51 G", "28 M", "4.5 G", "4.491 G"),
        ("small", 224, 7, "49,606,258", "8.77 G", "50 M", "8.7 G", "8.741 G"),
        ("base", 224, 7, "87,768,224", "15.47 G", "88 M", "15.4 G", "15.431 G"),
        ("base", 384, 12, "87,903,584", "47.19 G", "88 M", "47.1 G", ""),
        ("large", 224, 7, "196,532,476", "34.53 G", "197 M", "34.5 G", ""),
        ("large", 384, 12, "196,735,516", "104.08 G", "197 M", "103.9 G", ""),
    ):
        model = f"swin_{size}_patch4_window{window}_{pixels}"
        figures = [
            params(count, timm(model)),
            macs(cost, TIMM_CSV_240, "fvcore"),
            params(million, SWIN_README),
            macs(giga, SWIN_README),
        ]
        libraries = [f"timm:{model}"]
        if ops:
            figures += [params(count, TORCHVISION_SWIN), macs(ops, TORCHVISION_SWIN)]
            libraries.append(f"torchvision:swin_{size[0]}")
        yield Preset(
            name=f"swin-{size[0]}" + ("" if pixels == 224 else f"-{pixels}"),
            model="pyramid",
            mixer="window",
            options={**_OF_BOTH, **_sizes(size), "image_size": pixels, "window": window},
            source=SWIN,
            libraries=tuple(libraries),
            figures=tuple(figures),
        )


def _second() -> Iterator[Preset]:
    for size, count, cost, ops, keys in (
        ("tiny", "28,347,154", "5.96 G", "5.94 G", "4,416"),
        ("small", "49,728,418", "11.58 G", "11.546 G", "9,024"),
        ("base", "87,918,816", "20.37 G", "20.325 G", "12,032"),
    ):
        model = f"swinv2_{size}_window8_256"
        yield Preset(
            name=f"swinv2-{size[0]}-256",
            model="pyramid",
            mixer="window",
            options={**_OF_BOTH, **_OF_SECOND, **_sizes(size), "image_size": 256, "window": 8},
            source=SWIN_V2,
            libraries=(f"timm:{model}",),
            figures=(
                params(count, timm(model)),
                macs(cost, TIMM_CSV_240, "fvcore"),
                macs(ops, TORCHVISION_SWIN),
            ),
            note=f"{_KEYS.format(size[0], keys)}; timm's queries, keys and values are one layer",
        )
