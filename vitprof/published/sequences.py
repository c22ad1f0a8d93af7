"""Models of scans: Vim (Zhu et al. 2024) and Vision-RWKV (Duan et al. 2024)."""

from __future__ import annotations

from collections.abc import Iterator

from vitprof.published.figures import macs, params
from vitprof.published.preset import Preset
from vitprof.published.sources import VIM, VRWKV

_IMAGENET: dict[str, object] = {
    **{"image_size": 224, "channels": 3, "patch_size": 16, "classes": 1000},
    **{"activation": "gelu", "mlp": "none"},
}


def presets() -> Iterator[Preset]:
    """Yield the presets."""
    yield from _vim()
    yield from _vrwkv()


def _vrwkv() -> Iterator[Preset]:
    options: dict[str, object] = {**_IMAGENET, "depth": 24, "pool": "mean", "first_norm": True}
    scaled: dict[str, object] = {"block": "res-post", "layer_scale": True}
    wrong = "; the README prints 93.7 M parameters for 93.65 M"
    for size, dim, more, million, giga in (
        ("t", 192, {}, "6.2 M", "1.2 G"),
        ("s", 384, scaled, "23.8 M", "4.6 G"),
        ("b", 768, scaled, "", "18.2 G"),
    ):
        yield Preset(
            name=f"vrwkv-{size}",
            model="classifier",
            mixer="rwkv+channel-mix",
            options={**options, **more, "dim": dim, "heads": dim // 64},
            source="Duan et al. 2024, Vision-RWKV, table 1",
            figures=(*([params(million, VRWKV)] if million else []), macs(giga, VRWKV)),
            note="a block of Vision-RWKV is two here, one of each mixer"
            + ("" if million else wrong),
        )


def _vim() -> Iterator[Preset]:
    for size, dim, million in (("ti", 192, "7 M"), ("s", 384, "26 M"), ("b", 768, "98 M")):
        yield Preset(
            name=f"vim-{size}",
            model="classifier",
            mixer="mamba",
            options={
                **_IMAGENET,
                **{"dim": dim, "depth": 24, "heads": dim // 64, "norm": "rms"},
                **{"dt_rank": dim // 16, "final_norm_tokens": "all"},
            },
            source="Zhu et al. 2024, Vision Mamba, section 3.4",
            figures=(params(million, VIM),),
            note="the class token is in front; Vim has it in the middle, which changes no count",
        )
