"""Models that differ from ViT in their positions: relative biases (BEiT, timm's relpos) and rotary
positions (EVA-02, RoPE-ViT, DINOv3).
"""

from __future__ import annotations

from collections.abc import Iterator

from vitprof.published.classifiers import classifier, of_timm
from vitprof.published.figures import Figure, macs, params
from vitprof.published.preset import Preset
from vitprof.published.sources import BEIT_FILE, EVA02_FILE, TIMM_CSV_291

BEIT = "Bao et al. 2021, BEiT: BERT Pre-Training of Image Transformers"
EVA02 = "Fang et al. 2023, EVA-02: A Visual Representation for Neon Genesis"
ROPE = "Heo et al. 2024, Rotary Position Embedding for Vision Transformer"
DINOV3 = "Siméoni et al. 2025, DINOv3"
SWIN_V2 = "timm, with the bias of Liu et al. 2022, Swin Transformer V2"

_T, _S, _M, _B = (192, 12, 3), (384, 12, 6), (512, 12, 8), (768, 12, 12)
_L, _H_PLUS = (1024, 24, 16), (1280, 32, 20)
_POOLED: dict[str, object] = {"pool": "mean", "final_norm_tokens": "pooled"}


def presets() -> Iterator[Preset]:
    """Yield the presets."""
    yield from _beit()
    yield from _relative()
    yield from _eva02()
    yield from _rope()
    yield from _dinov3()


def _beit() -> Iterator[Preset]:
    options: dict[str, object] = {"patch_size": 16, "class_token": True, "pos_embed": "none"}
    options |= {**_POOLED, "relative": "table", "key_bias": False, "layer_scale": True}
    for letter, size, shape, pixels, count, cost in (
        ("b", "base", _B, 224, "86,530,984", "17.58 G"),
        ("b", "base", _B, 384, "86,744,104", "55.54 G"),
        ("l", "large", _L, 224, "304,430,568", "61.6 G"),
        ("l", "large", _L, 384, "304,998,888", "191.21 G"),
        ("l", "large", _L, 512, "305,674,728", "362.24 G"),
    ):
        model = f"beit_{size}_patch16_{pixels}"
        figures: tuple[Figure, ...] = of_timm(model, count, cost)
        if model == "beit_base_patch16_224":
            figures += (macs("17,581,219,584", BEIT_FILE, "fvcore, headless"),)
        yield classifier(
            f"beit-{letter}-16-{pixels}",
            shape,
            BEIT,
            {**options, "image_size": pixels, "classes": 1000},
            figures,
            library=model,
            note="timm's queries, keys and values are one layer, with a bias of two of them",
        )


def _relative() -> Iterator[Preset]:
    options: dict[str, object] = {"image_size": 224, "patch_size": 16, "pos_embed": "none"}
    options |= {"relative": "mlp", "qkv_bias": False, "layer_scale": True, "classes": 1000}
    shared: dict[str, object] = {"pool": "mean", "final_norm_tokens": "all"}
    shared |= {"relative_shared": True}
    for letter, size, shape, more, count, cost in (
        ("s", "relpos_small", _S, _POOLED, "21,983,920", "4.59 G"),
        ("m", "relpos_medium", _M, _POOLED, "38,747,208", "7.97 G"),
        ("b", "relpos_base", _B, _POOLED, "86,429,560", "17.51 G"),
        ("s", "srelpos_small", _S, {**shared, "relative_hidden": 384}, "21,973,486", "4.59 G"),
        ("m", "srelpos_medium", _M, {**shared, "relative_hidden": 512}, "38,735,856", "7.96 G"),
    ):
        model = f"vit_{size}_patch16_224"
        yield classifier(
            f"{size.partition('_')[0]}-{letter}-16",
            shape,
            SWIN_V2,
            {**options, **more},
            of_timm(model, count, cost),
            library=model,
        )
    res_post: dict[str, object] = {"pool": "mean", "final_norm_tokens": "all"}
    res_post |= {"block": "res-post", "layer_scale": False}
    for letter, size, shape, count, cost in (
        ("s", "small", _S, "21,974,704", "4.59 G"),
        ("m", "medium", _M, "38,734,920", "7.97 G"),
        ("b", "base", _B, "86,411,128", "17.51 G"),
    ):
        model = f"vit_relpos_{size}_patch16_rpn_224"
        yield classifier(
            f"relpos-{letter}-16-rpn",
            *(shape, SWIN_V2, {**options, **res_post}),
            of_timm(model, count, cost),
            library=model,
        )


def _eva02() -> Iterator[Preset]:
    options: dict[str, object] = {"patch_size": 14, "rope": "axial", "mlp": "gated"}
    options |= {"activation": "silu", "mlp_ratio": "8/3", "class_token": True, "pool": "mean"}
    headless = {**options, "image_size": 224, "head": False}
    timms: dict[str, object] = {"final_norm_tokens": "pooled", "key_bias": False}
    for letter, size, shape, inner, counts, pretrained in (
        ("t", "tiny", _T, False, ("5,502,144", "1.7 G"), ("5,504,064", "1,703,439,360")),
        ("s", "small", _S, False, ("21,621,120", "6.14 G"), ("21,624,960", "6,135,404,544")),
        ("b", "base", _B, True, ("85,758,720", "23.22 G"), ("85,766,400", "23,216,492,544")),
        ("l", "large", _L, True, ("303,268,800", "81.15 G"), ("303,291,328", "81,146,703,792")),
    ):
        model, norm = f"eva02_{size}_patch14_224", {"mlp_norm": inner}
        figures = of_timm(model, *counts)
        yield classifier(
            *(f"eva02-{letter}-14", shape, EVA02, {**headless, **timms, **norm}, figures),
            library=model,
        )
        count, cost = pretrained
        yield classifier(
            f"eva02-{letter}-14-pre",
            *(shape, EVA02, {**headless, **norm, "final_norm": False}),
            (params(count, EVA02_FILE), macs(cost, EVA02_FILE, "fvcore")),
            note="mmpretrain's, whose keys have a bias, without a final norm",
        )
    for letter, size, shape, pixels, inner, counts, cost in (
        ("t", "tiny", _T, 336, False, ("5,756,584", "4.68 G"), "4,675,416,000"),
        ("s", "small", _S, 336, False, ("22,129,000", "15.48 G"), "15,476,744,064"),
        ("b", "base", _B, 448, True, ("87,117,544", "107.11 G"), "107,105,984,256"),
        ("l", "large", _L, 448, True, ("305,080,232", "362.33 G"), "362,333,836,208"),
    ):
        model = f"eva02_{size}_patch14_{pixels}"
        yield classifier(
            f"eva02-{letter}-14-{pixels}",
            *(shape, EVA02),
            {**options, **timms, "mlp_norm": inner, "image_size": pixels, "classes": 1000},
            (*of_timm(model, *counts), macs(cost, EVA02_FILE, "fvcore, headless")),
            library=model,
        )


def _rope() -> Iterator[Preset]:
    options: dict[str, object] = {"image_size": 224, "patch_size": 16, "layer_scale": True}
    options |= {"classes": 1000, "final_norm_tokens": "all"}
    bare: dict[str, object] = {"pos_embed": "none"}
    added: dict[str, object] = {"pos_embed_token": False}
    for letter, size, shape, counts in (
        ("s", "small", _S, ("21,984,232", "21,988,840", "22,059,496", "22,064,104", "4.61 G")),
        ("b", "base", _B, ("86,434,792", "86,444,008", "86,585,320", "86,594,536", "17.58 G")),
        ("l", "large", _L, ("304,174,056", "304,198,632", "304,374,760", "304,399,336", "61.6 G")),
    ):
        *each, cost = counts
        for count, (words, kind, more) in zip(
            each,
            (
                ("", "axial", bare),
                ("_mixed", "mixed", bare),
                ("_ape", "axial", added),
                ("_mixed_ape", "mixed", added),
            ),
            strict=True,
        ):
            model = f"vit_{size}_patch16_rope{words}_224"
            yield classifier(
                f"rope-{letter}-16{words.replace('_', '-')}",
                *(shape, ROPE, {**options, **more, "rope": kind}),
                of_timm(model, count, cost, TIMM_CSV_291),
                library=model,
            )


def _dinov3() -> Iterator[Preset]:
    options: dict[str, object] = {"image_size": 256, "patch_size": 16, "pos_embed": "none"}
    options |= {"class_token": True, "registers": 4, "pool": "mean", "final_norm_tokens": "all"}
    options |= {"rope": "axial", "qkv_bias": False, "layer_scale": True, "head": False}
    gated: dict[str, object] = {"mlp": "gated", "activation": "silu", "mlp_multiple": 8}
    for letters, size, shape, more, count, cost in (
        ("s", "small", _S, {}, "21,586,944", "6.26 G"),
        ("s-plus", "small_plus", _S, gated, "28,683,264", "8.11 G"),
        ("b", "base", _B, {}, "85,641,216", "23.6 G"),
        ("l", "large", _L, {}, "303,079,424", "82.43 G"),
        ("h-plus", "huge_plus", _H_PLUS, gated, "840,509,440", "224.88 G"),
    ):
        model = f"vit_{size}_patch16_dinov3"
        yield classifier(
            f"dinov3-{letters}-16",
            *(shape, DINOV3, {**options, **more}),
            of_timm(model, count, cost, TIMM_CSV_291),
            library=model,
            note="the authors read the class token, timm the mean of the patches, by default",
        )
