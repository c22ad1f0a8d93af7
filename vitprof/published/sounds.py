"""The Audio Spectrogram Transformer (Gong et al. 2021): overlapping patches of a spectrogram."""

from __future__ import annotations

from collections.abc import Iterator

from vitprof.published.classifiers import classifier
from vitprof.published.figures import params
from vitprof.published.preset import Preset
from vitprof.published.sources import HTS_AT, transformers

AST = "Gong et al. 2021, AST: Audio Spectrogram Transformer, section 2.1"


def presets() -> Iterator[Preset]:
    """Yield the presets."""
    options: dict[str, object] = {"image_size": 128, "image_width": 1024, "channels": 1}
    options |= {"patch_size": 16, "patch_stride": 10, "pool": "both", "head_norm": True}
    yield classifier(
        "ast-b-16",
        (768, 12, 12),
        AST,
        {**options, "final_norm_tokens": "all", "classes": 527},
        (
            params("86,594,063", transformers("ASTForAudioClassification, 527 labels")),
            params("87 M", HTS_AT),
        ),
        note="the image is a spectrogram of 128 mel bins and 1024 frames",
    )
