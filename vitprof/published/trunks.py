"""The trunks of XCiT (El-Nouby et al. 2021) and CaiT (Touvron et al. 2021).

A trunk is the stack of layers on the patches. The other parts of the whole model are not built:
XCiT's stem of convolutions and its Fourier features of positions, the class token, the two
layers of class attention, the norm and the head. The figures of the whole models are checked
with the parameters of these parts added, derived by hand.
"""

from __future__ import annotations

from collections.abc import Iterator

from vitprof.published.figures import params
from vitprof.published.preset import Preset
from vitprof.published.sources import timm

_XCIT = "El-Nouby et al. 2021, XCiT: Cross-Covariance Image Transformers"
_CAIT = "Touvron et al. 2021, Going deeper with Image Transformers"
_TRUNK: dict[str, object] = {
    "image_size": 224,
    "channels": 3,
    "patch_size": 16,
    "activation": "gelu",
    "pool": "none",
    "head": False,
    "final_norm": False,
    "layer_scale": True,
}
_CLASS_PART = (  # token, two layers of class attention, norm, head
    "{D} + 2*(12*{D}**2 + 15*{D}) + 2*{D} + 1000*{D} + 1000"
)
_XCIT_STEM = (  # four convolutions of stride 2 with their norms, and the map of Fourier features
    "27*{e} + 9*{e}*{q} + 9*{q}*{h} + 9*{h}*{D} + 2*({e} + {q} + {h} + {D}) + 65*{D}"
)
_CAIT_STEM = "768*{D} + {D} + 196*{D}"  # patch embedding and positions


def presets() -> Iterator[Preset]:
    """Yield the presets."""
    for size, dim, depth, heads, count in (
        ("nano-12", 128, 12, 4, "3,053,224"),
        ("tiny-12", 192, 12, 4, "6,716,272"),
        ("tiny-24", 192, 24, 4, "12,116,896"),
        ("small-12", 384, 12, 8, "26,253,304"),
        ("small-24", 384, 24, 8, "47,671,384"),
        ("medium-24", 512, 24, 8, "84,395,752"),
        ("large-24", 768, 24, 16, "189,096,136"),
    ):
        stem = _XCIT_STEM.format(D=dim, e=dim // 8, q=dim // 4, h=dim // 2)
        yield Preset(
            name=f"xcit-{size}-trunk",
            model="classifier",
            mixer="xca",
            options={
                **_TRUNK,
                "dim": dim,
                "depth": depth,
                "heads": heads,
                "pos_embed": "none",
                "patch_interaction": True,
                "local_scale": True,
            },
            source=_XCIT,
            figures=(
                params(
                    count,
                    timm(f"xcit_{size.replace('-', '_')}_p16_224"),
                    layer="blocks",
                    beside=f"{stem} + {_CLASS_PART.format(D=dim)}",
                ),
            ),
            note="the layers of cross-covariance attention on a plain patch embedding; XCiT has "
            "a stem of convolutions, Fourier features of positions and two layers of class "
            "attention besides",
        )
    for size, dim, depth, heads, image, count in (
        ("xxs-24", 192, 24, 4, 224, "11,956,264"),
        ("xxs-36", 192, 36, 4, 224, "17,299,720"),
        ("xs-24", 288, 24, 6, 384, "26,560,648"),
        ("s-24", 384, 24, 8, 224, "46,916,200"),
        ("s-36", 384, 36, 8, 384, "68,220,712"),
        ("m-36", 768, 36, 16, 384, "270,929,512"),
    ):
        beside = f"{_CAIT_STEM.format(D=dim)} + {_CLASS_PART.format(D=dim)}"
        yield Preset(
            name=f"cait-{size}-trunk",
            model="classifier",
            mixer="attn",
            options={
                **_TRUNK,
                "dim": dim,
                "depth": depth,
                "heads": heads,
                "talking_heads": True,
            },
            source=_CAIT,
            figures=(
                params(
                    count,
                    timm(f"cait_{size.replace('-', '')}_{image} with img_size=224"),
                    layer="blocks",
                    beside=beside,
                ),
            ),
            note="the layers on the patches; CaiT has two layers of class attention, a norm and "
            "a head besides",
        )
