"""VideoMAE (Tong et al. 2022): classifiers and masked autoencoders of tubelets of a video."""

from __future__ import annotations

from collections.abc import Iterator

from vitprof.published.classifiers import classifier
from vitprof.published.figures import macs, params
from vitprof.published.preset import Preset
from vitprof.published.sources import transformers

VIDEOMAE = "Tong et al. 2022, VideoMAE, table 7"
_VIDEO: dict[str, object] = {
    **{"image_size": 224, "channels": 3, "patch_size": 16, "frames": 16, "tubelet": 2},
    **{"pos_embed": "fixed", "key_bias": False},
}
_NOTE = "the positions are a parameter that is not trained, in the authors' code a tensor"
_LABELS = transformers("VideoMAEForVideoClassification of this size, 400 labels")


def presets() -> Iterator[Preset]:
    """Yield the presets."""
    for letter, shape, count, million, giga in (
        ("s", (384, 12, 6), "22,033,936", "22 M", "57 G"),
        ("b", (768, 12, 12), "86,534,800", "87 M", "180 G"),
        ("l", (1024, 24, 16), "304,270,736", "", "597 G"),
        ("h", (1280, 32, 16), "632,119,440", "", "1192 G"),
    ):
        printed = {"l": "305 M", "h": "633 M"}.get(letter)
        wrong = f"; the paper's table 7 prints {printed} parameters" if printed else ""
        yield classifier(
            f"videomae-{letter}-16",
            *(shape, VIDEOMAE),
            {**_VIDEO, "pool": "mean", "final_norm_tokens": "pooled", "classes": 400},
            (
                params(count, _LABELS, "trained"),
                *([params(million, VIDEOMAE, "trained")] if million else []),
                macs(giga, VIDEOMAE, "fvcore"),  # which it does not say; 1192 is what fvcore counts
            ),
            note=f"{_NOTE}{wrong}",
        )
    yield Preset(
        name="videomae-b-16-pre",
        model="mae",
        mixer="attn",
        options={
            **_VIDEO,
            **{"dim": 768, "depth": 12, "heads": 12, "class_token": False, "mask_ratio": "0.9"},
            **{"decoder_dim": 384, "decoder_depth": 4, "decoder_heads": 6},
            **{"decoder_embed_bias": False, "predict_kept": False, "activation": "gelu"},
        },
        source="Tong et al. 2022, VideoMAE, section 3.3",
        figures=(params("94,210,944", transformers("VideoMAEForPreTraining"), "trained"),),
        note=_NOTE,
    )
