"""Configurations of reports whose sums over layers vitprof reproduces."""

from __future__ import annotations

from collections.abc import Iterator

from vitprof.published.preset import Preset


def presets() -> Iterator[Preset]:
    """Yield the presets."""
    yield Preset(
        name="mae-report",
        model="mae",
        mixer="attn",
        options={},
        source="a report on token mixers of a masked autoencoder, its large-decoder version",
        note="the layers hold 27,706,816 parameters with attn, 20,038,848 with lambda",
    )
    yield Preset(
        name="mae-report-small",
        model="mae",
        mixer="attn",
        options={"patch_size": 16, "decoder_dim": 128, "decoder_heads": 8},
        source="a report on token mixers of a masked autoencoder, its small-decoder version",
        note="the layers hold 4,048,384 parameters with attn, 3,172,224 with lambda",
    )
    yield Preset(
        name="classifier-report",
        model="classifier",
        mixer="attn",
        options={},
        source="a report on a ViT classifier of Fashion-MNIST",
        note="an encoder layer holds 49,984 parameters and takes 2,777,600 MACs an image",
    )
