"""Masked autoencoders as facebookresearch/mae pre-trains them (He et al. 2021)."""

from __future__ import annotations

from collections.abc import Iterator

from vitprof.published.figures import params
from vitprof.published.preset import Preset
from vitprof.published.sources import EVA, MAE, MAE_CODE

_PRINTED = f"{MAE_CODE}, its parameters added up"
_DECODER: dict[str, object] = {"decoder_dim": 512, "decoder_depth": 8, "decoder_heads": 16}


def presets() -> Iterator[Preset]:
    """Yield the presets; every decoder has width 512, 8 blocks and 16 heads."""
    yield Preset(
        name="eva-mae-b-16",
        model="mae",
        mixer="attn",
        options={
            **{"image_size": 224, "channels": 3, "patch_size": 16},
            **{"dim": 768, "depth": 12, "heads": 12},
            **_DECODER,
            "decoder_output": 512,
        },
        source="Fang et al. 2022, EVA, in the style of MAE by mmpretrain",
        figures=(params("111,776,512", EVA),),
        note="predicts features of CLIP in place of pixels; the model that makes them is not "
        "counted, nor its pass",
    )
    for name, patch, (dim, depth, heads), figures in (
        (
            "mae-b-16",
            16,
            (768, 12, 12),
            (params("111,907,840", _PRINTED), params("111,655,680", _PRINTED, "trained")),
        ),
        ("mae-l-16", 16, (1024, 24, 16), (params("329,541,888", _PRINTED),)),
        ("mae-h-14", 14, (1280, 32, 16), ()),
    ):
        yield Preset(
            name=name,
            model="mae",
            mixer="attn",
            options={
                "image_size": 224,
                "channels": 3,
                "patch_size": patch,
                "dim": dim,
                "depth": depth,
                "heads": heads,
                **_DECODER,
            },
            source=MAE,
            figures=figures,
            note="" if figures else "no published count of the pre-training model was found",
        )
