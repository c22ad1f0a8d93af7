"""Models without attention: MLP-Mixer, ResMLP, gMLP, ConvMixer, FNet, GFNet and pooling.

None has a class token; the mean of the patches is classified.
"""

from __future__ import annotations

from collections.abc import Iterator

from vitprof.published.figures import Figure, macs, params
from vitprof.published.preset import Preset
from vitprof.published.sources import GFNET, MIXER, RESMLP, RESMLP_README, TIMM_CSV, timm

_IMAGENET: dict[str, object] = {
    "image_size": 224,
    "channels": 3,
    "classes": 1000,
    "activation": "gelu",
    "pool": "mean",
}


def _shape(dim: int, depth: int) -> dict[str, object]:
    """Return a width and a depth, with 64 channels per head for mixers that use heads."""
    return {"dim": dim, "depth": depth, "heads": dim // 64}


def presets() -> Iterator[Preset]:
    """Yield the presets."""
    yield from _mixer()
    yield from _resmlp()
    yield from _gmlp()
    yield from _convmixer()
    yield from _fourier()
    yield Preset(
        name="poolformer-isotropic-s",
        model="classifier",
        mixer="pool",
        options={
            **_IMAGENET,
            "patch_size": 16,
            **_shape(384, 12),
            "pos_embed": "none",
            "layer_scale": True,
        },
        source="Yu et al. 2022, MetaFormer Is Actually What You Need for Vision, section 3",
        note="PoolFormer's block at one resolution, in the shape of ViT-S/16; PoolFormer itself "
        "is a pyramid of four, with GroupNorm, and no count of this shape is published",
    )


def _mixer() -> Iterator[Preset]:
    for size, patch, dim, depth, count, printed, csv in (
        ("s", 32, 512, 8, "19,104,624", "19 M", "1.00 G"),
        ("s", 16, 512, 8, "18,528,264", "18 M", "3.79 G"),
        ("b", 32, 768, 12, "60,293,428", "60 M", "3.24 G"),
        ("b", 16, 768, 12, "59,880,472", "59 M", "12.62 G"),
        ("l", 32, 1024, 24, "206,939,264", "206 M", "11.27 G"),
        ("l", 16, 1024, 24, "208,196,168", "207 M", "44.60 G"),
    ):
        yield Preset(
            name=f"mixer-{size}-{patch}",
            model="classifier",
            mixer="token-mlp",
            options={
                **_IMAGENET,
                "patch_size": patch,
                **_shape(dim, depth),
                "pos_embed": "none",
                "token_hidden": dim // 2,
            },
            source=MIXER,
            libraries=(f"timm:mixer_{size}{patch}_224",),
            figures=(
                params(count, timm(f"mixer_{size}{patch}_224")),
                params(printed, MIXER, "headless"),
                macs(csv, TIMM_CSV, "fvcore"),
            ),
        )


def _resmlp() -> Iterator[Preset]:
    for size, dim, depth, figures in (
        (
            "s12",
            384,
            12,
            (
                params("15,350,872", timm("resmlp_12_224")),
                params("15.4 M", RESMLP),
                macs("3.0 G", RESMLP),
                macs("3.01 G", TIMM_CSV, "fvcore"),
            ),
        ),
        (
            "s24",
            384,
            24,
            (
                params("30,020,680", timm("resmlp_24_224")),
                params("30.0 M", RESMLP),
                macs("6.0 G", RESMLP),
                macs("5.96 G", TIMM_CSV, "fvcore"),
            ),
        ),
        (
            "s36",
            384,
            36,
            (
                params("44,690,488", timm("resmlp_36_224")),
                macs("8.91 G", TIMM_CSV, "fvcore"),
            ),
        ),
        ("b24", 768, 24, (params("115.7 M", RESMLP), macs("23.0 G", RESMLP))),
    ):
        yield Preset(
            name=f"resmlp-{size}",
            model="classifier",
            mixer="token-linear",
            options={
                **_IMAGENET,
                "patch_size": 16,
                **_shape(dim, depth),
                "pos_embed": "none",
                "norm": "affine",
                "layer_scale": True,
            },
            source=RESMLP,
            # timm's resmlp_big_24_224 is B24 with patches of 8 pixels.
            libraries=(f"timm:resmlp_{depth}_224",) if dim == 384 else (),
            figures=figures,
            note=f"{RESMLP_README}, prints 116 M parameters and 23 B FLOPs for S36, which are "
            "those of B24"
            if size == "s36"
            else "",
        )


def _gmlp() -> Iterator[Preset]:
    for size, dim, count, csv in (
        ("ti", 128, "5,867,328", "1.34 G"),
        ("s", 256, "19,422,656", "4.42 G"),
        ("b", 512, "73,075,392", "15.78 G"),
    ):
        yield Preset(
            name=f"gmlp-{size}",
            model="classifier",
            mixer="gmlp",
            options={
                **_IMAGENET,
                "patch_size": 16,
                **_shape(dim, 30),
                "pos_embed": "none",
                "mlp": "none",
                "gate_ratio": 6,
            },
            source="Liu et al. 2021, Pay Attention to MLPs, section 3",
            libraries=(f"timm:gmlp_{size}16_224",),
            figures=(
                params(count, timm(f"gmlp_{size}16_224")),
                macs(csv, TIMM_CSV, "fvcore"),
            ),
        )


def _convmixer() -> Iterator[Preset]:
    for dim, depth, kernel, patch, activation, suffix, count, csv in (
        (1536, 20, 9, 7, "gelu", "", "51,625,960", "48.68 G"),
        (768, 32, 7, 7, "relu", "", "21,110,248", "19.55 G"),
        (1024, 20, 9, 14, "gelu", "_ks9_p14", "24,383,464", "5.55 G"),
    ):
        yield Preset(
            name=f"convmixer-{dim}-{depth}",
            model="classifier",
            mixer="conv",
            options={
                **_IMAGENET,
                "patch_size": patch,
                **_shape(dim, depth),
                "pos_embed": "none",
                "mlp": "linear",
                "norm": "batch",
                "block": "conv",
                "patch_norm": True,
                "final_norm": False,
                "activation": activation,
                "kernel_size": kernel,
            },
            source="Trockman and Kolter 2022, Patches Are All You Need?",
            libraries=(f"timm:convmixer_{dim}_{depth}{suffix}",),
            figures=(
                params(count, timm(f"convmixer_{dim}_{depth}{suffix}")),
                _without_depthwise(csv),
            ),
        )


def _without_depthwise(printed: str) -> Figure:
    return macs(
        printed,
        TIMM_CSV,
        "fvcore, depthwise",
        note="the depthwise convolutions are not counted, since fvcore has no rule for their "
        "padding",
    )


def _fourier() -> Iterator[Preset]:
    for size, dim, depth, million, giga in (
        ("ti", 256, 12, "7 M", "1.3 G"),
        ("xs", 384, 12, "16 M", "2.8 G"),
        ("s", 384, 19, "25 M", "4.5 G"),
        ("b", 512, 19, "43 M", "7.9 G"),
    ):
        wrong = size == "ti"
        yield Preset(
            name=f"gfnet-{size}",
            model="classifier",
            mixer="filter",
            options={
                **_IMAGENET,
                "patch_size": 16,
                **_shape(dim, depth),
                "block": "single",
            },
            source="Rao et al. 2021, Global Filter Networks for Image Classification",
            figures=(
                *(() if wrong else (params(million, GFNET),)),
                macs(giga, GFNET, "contractions, Fourier"),
            ),
            note="Fourier transforms and filters are no contractions, so that the MACs leave them "
            "out; the published FLOPs have the transforms added by hand, says their author (issues "
            "3 and 15 of raoyongming/GFNet), which changes no digit that is printed"
            + ("; the README prints 7 M parameters for 7.5 M" if wrong else ""),
        )
    yield Preset(
        name="fnet-b-16",
        model="classifier",
        mixer="fourier",
        options={
            **_IMAGENET,
            "patch_size": 16,
            **_shape(768, 12),
            "block": "post",
            "final_norm": False,
        },
        source="Lee-Thorp et al. 2021, FNet: Mixing Tokens with Fourier Transforms, section 3",
        note="FNet's layer in the shape of ViT-B/16; the paper is on language, and no "
        "count of a vision model is published",
    )
