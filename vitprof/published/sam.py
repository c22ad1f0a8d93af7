"""Image encoders of Segment Anything (Kirillov et al. 2023): windows, and attention to all patches
in four blocks (Li et al. 2022, ViTDet).
"""

from __future__ import annotations

from collections.abc import Iterator

from vitprof.published.classifiers import Shape, classifier, of_timm
from vitprof.published.figures import Figure, macs
from vitprof.published.preset import Preset
from vitprof.published.sources import TIMM_CSV_FUSED

SAM = "Kirillov et al. 2023, Segment Anything, section 3"

_OPTIONS: dict[str, object] = {
    **{"patch_size": 16, "window": 14, "window_relative": "decomposed", "relative": "decomposed"},
    "final_norm_tokens": "all",
}
_ENCODER: dict[str, object] = {
    **{"image_size": 1024, "window_pad": True, "pool": "none", "head": False, "neck": 256},
    **{"final_norm": False, "final_norm_tokens": "token"},
}


def presets() -> Iterator[Preset]:
    """Yield the presets."""
    shapes: tuple[tuple[str, str, Shape, str, str, str, str], ...] = (
        ("b", "base", (768, 12, 12), "2,5,8,11", "89,670,912", "486.43 G", "371.55 G"),
        ("l", "large", (1024, 24, 16), "5,11,17,23", "308,278,272", "1493.86 G", "1317.08 G"),
        ("h", "huge", (1280, 32, 16), "7,15,23,31", "637,026,048", "2982.23 G", "2741.59 G"),
    )
    for letter, size, shape, everywhere, count, cost, fused in shapes:
        yield classifier(
            f"sam-vit-{letter}",
            *(shape, SAM, {**_OPTIONS, **_ENCODER, "mixer_at": f"{everywhere}=attn"}),
            (*of_timm(f"samvit_{size}_patch16", count, cost), _fused(fused)),
            mixer="window",
            library=f"samvit_{size}_patch16",
            note="the encoder returns one feature for each patch; timm's model averages them",
        )
    figures = of_timm("samvit_base_patch16_224", "86,457,064", "17.54 G")
    yield classifier(
        "sam-vit-b-224",
        *((768, 12, 12), "timm, with the blocks of Kirillov et al. 2023, Segment Anything"),
        {**_OPTIONS, "image_size": 224, "pos_embed": "none", "pool": "mean", "classes": 1000}
        | {"mixer_at": "2,5,8,11=attn"},
        (*figures, _fused("16.83 G")),
        mixer="window",
        library="samvit_base_patch16_224",
    )


def _fused(printed: str) -> Figure:
    return macs(printed, TIMM_CSV_FUSED, "fvcore, fused")
