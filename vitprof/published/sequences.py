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
_CHANNEL_MIX = "12*({tokens}9*{D}**2{rest})"  # of key, value and receptance


def presets() -> Iterator[Preset]:
    """Yield the presets."""
    yield from _vim()
    D = 192
    yield Preset(
        name="vrwkv-t-spatial",
        model="classifier",
        mixer="rwkv",
        options={
            **_IMAGENET,
            **{"dim": D, "depth": 12, "heads": 3, "pool": "mean", "first_norm": True},
        },
        source="Duan et al. 2024, Vision-RWKV, table 1",
        figures=(
            # With its norm, and a mix of keys and one of receptances.
            params("6.2 M", VRWKV, beside=_CHANNEL_MIX.format(D=D, tokens="", rest=f" + 4*{D}")),
            macs("1.2 G", VRWKV, beside=_CHANNEL_MIX.format(D=D, tokens="196*", rest="")),
        ),
        note="the spatial mix of each block; its channel mix, the mixer channel-mix, is not built",
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
