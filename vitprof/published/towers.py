"""Image towers of CLIP (Radford et al. 2021) and SigLIP (Zhai et al. 2023), and DINOv2 (Oquab et
al. 2023) with and without registers (Darcet et al. 2023), as timm builds them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vitprof.published.classifiers import Shape, classifier, of_timm
from vitprof.published.preset import Preset

CLIP = "Radford et al. 2021, Learning Transferable Visual Models From Natural Language Supervision"
DINOV2 = "Oquab et al. 2023, DINOv2: Learning Robust Visual Features without Supervision"
REGISTERS = "Darcet et al. 2023, Vision Transformers Need Registers"
SIGLIP = "Zhai et al. 2023, Sigmoid Loss for Language Image Pre-Training"

_S, _B, _L = (384, 12, 6), (768, 12, 12), (1024, 24, 16)
_H, _GIANT = (1280, 32, 16), (1408, 40, 16)
_CLIP: dict[str, object] = {"first_norm": True, "patch_bias": False, "classes": 1000}
_DINOV2: dict[str, object] = {"image_size": 518, "patch_size": 14, "layer_scale": True}
_DINOV2 |= {"head": False}
_REGISTERS: dict[str, object] = {"registers": 4, "pos_embed_token": False}
_SWIGLU: dict[str, object] = {"mlp": "gated", "activation": "silu", "mlp_hidden": 4096}


def _tower(
    name: str,
    model: str,
    shape: Shape,
    source: str,
    counts: tuple[str, str],
    options: Mapping[str, object],
    note: str = "",
) -> Preset:
    options = {"final_norm_tokens": "all", **options}
    figures = of_timm(model, *counts)
    return classifier(name, shape, source, options, figures, library=model, note=note)


def presets() -> Iterator[Preset]:
    """Yield the presets."""
    yield from _clip()
    yield from _dinov2()
    yield from _siglip()


def _clip() -> Iterator[Preset]:
    head = "CLIP projects to the width of its texts without a bias, --no-head-bias --classes 512"
    for name, model, patch, shape, counts in (
        ("b-32", "base_patch32_clip_224", 32, _B, ("88,225,000", "4.41 G")),
        ("b-16", "base_patch16_clip_224", 16, _B, ("86,568,424", "17.58 G")),
        ("l-14", "large_patch14_clip_224", 14, _L, ("304,204,776", "81.08 G")),
        ("l-14-336", "large_patch14_clip_336", 14, _L, ("304,532,456", "191.11 G")),
        ("h-14", "huge_patch14_clip_224", 14, _H, ("632,047,080", "167.4 G")),
    ):
        size = int(model.rpartition("_")[2])
        sizes = {"image_size": size, "patch_size": patch}
        timms = f"timm's model classifies 1,000 classes; {head}"
        yield _tower(f"clip-{name}", f"vit_{model}", shape, CLIP, counts, {**_CLIP, **sizes}, timms)
    yield _tower(
        "clip-b-16-quickgelu",
        "vit_base_patch16_clip_quickgelu_224",
        _B,
        CLIP,
        ("86,193,152", "17.58 G"),
        {**_CLIP, "image_size": 224, "patch_size": 16, "activation": "quick-gelu", "classes": 512},
        f"timm's head has a bias; {head}, which gives 86,192,640 parameters",
    )
    yield _tower(
        "clip-giant-14",
        "vit_giant_patch14_clip_224",
        _GIANT,
        CLIP,
        ("1,012,646,656", "267.18 G"),
        {**_CLIP, "image_size": 224, "patch_size": 14, "mlp_ratio": "48/11", "classes": 1024},
        "of OpenCLIP; timm's head has a bias",
    )


def _dinov2() -> Iterator[Preset]:
    token = "timm has added the position of the class token to the token itself"
    for size, model, shape, counts, of_registers in (
        ("s", "small", _S, ("22,056,192", "46.76 G"), ("22,057,344", "46.95 G")),
        ("b", "base", _B, ("86,579,712", "151.71 G"), ("86,582,016", "152.25 G")),
        ("l", "large", _L, ("304,367,616", "507.15 G"), ("304,370,688", "508.9 G")),
    ):
        yield _tower(
            f"dinov2-{size}-14", f"vit_{model}_patch14_dinov2", shape, DINOV2, counts, _DINOV2
        )
        yield _tower(
            f"dinov2-{size}-14-reg4",
            f"vit_{model}_patch14_reg4_dinov2",
            shape,
            REGISTERS,
            of_registers,
            {**_DINOV2, **_REGISTERS},
            token,
        )
    yield _tower(
        "dinov2-giant-14-reg4",
        "vit_giant_patch14_reg4_dinov2",
        (1536, 40, 24),
        REGISTERS,
        ("1,136,483,840", "1790.08 G"),
        {**_DINOV2, **_REGISTERS, **_SWIGLU},
        token,
    )
    yield _tower(
        "vit-b-16-reg4-gap",
        "vit_base_patch16_reg4_gap_256",
        _B,
        "timm",
        ("86,615,272", "23.5 G"),
        {"image_size": 256, "patch_size": 16, "classes": 1000, "registers": 4, "pool": "mean"}
        | {"final_norm_tokens": "pooled"},
    )


def _siglip() -> Iterator[Preset]:
    for size, model, shape, pixels, counts in (
        ("b", "base", _B, 224, ("92,884,224", "17.73 G")),
        ("b", "base", _B, 256, ("92,930,304", "23.44 G")),
        ("b", "base", _B, 384, ("93,176,064", "56.12 G")),
        ("b", "base", _B, 512, ("93,520,128", "108.22 G")),
        ("l", "large", _L, 256, ("315,956,224", "81.34 G")),
        ("l", "large", _L, 384, ("316,283,904", "192.07 G")),
    ):
        yield _tower(
            f"siglip-{size}-16-{pixels}",
            f"vit_{model}_patch16_siglip_{pixels}",
            shape,
            SIGLIP,
            counts,
            {"image_size": pixels, "patch_size": 16, "pool": "map", "head": False},
        )
