"""XCiT (El-Nouby et al. 2021) and CaiT (Touvron et al. 2021): the class token attends to the
patches in two layers after the blocks. Both as timm builds them.
"""

from __future__ import annotations

from collections.abc import Iterator

from vitprof.published.figures import macs, params
from vitprof.published.preset import Preset
from vitprof.published.sources import CAIT_README, TIMM_CSV, XCIT_METAFILE, timm

_XCIT = "El-Nouby et al. 2021, XCiT: Cross-Covariance Image Transformers"
_CAIT = "Touvron et al. 2021, Going deeper with Image Transformers"
_BOTH: dict[str, object] = {
    **{"channels": 3, "activation": "gelu", "classes": 1000, "layer_scale": True},
    **{"pool": "class", "class_layers": 2, "final_norm_tokens": "all"},
}
_OF_XCIT: dict[str, object] = {
    **{"image_size": 224, "stem": "conv", "pos_embed": "fourier", "patch_interaction": True},
    "class_layer": "xcit",
}
_OF_CAIT: dict[str, object] = {"patch_size": 16, "talking_heads": True, "class_layer": "cait"}


def presets() -> Iterator[Preset]:
    """Yield the presets."""
    for size, dim, depth, heads, of_16, of_8 in (
        (
            *("nano-12", 128, 12, 4),
            ("3,053,224", "0.56 G", "557,074,560"),
            ("3,049,016", "2.16 G", "2,156,861,056"),
        ),
        (
            *("tiny-12", 192, 12, 4),
            ("6,716,272", "1.24 G", "1,239,698,112"),
            ("6,706,504", "4.81 G", "4,807,399,872"),
        ),
        (
            *("tiny-24", 192, 24, 4),
            ("12,116,896", "2.34 G", "2,339,305,152"),
            ("12,107,128", "9.21 G", "9,205,828,032"),
        ),
        (
            *("small-12", 384, 12, 8),
            ("26,253,304", "4.82 G", "4,814,951,808"),
            ("26,213,032", "18.69 G", "18,691,601,280"),
        ),
        (
            *("small-24", 384, 24, 8),
            ("47,671,384", "9.1 G", "9,095,064,960"),
            ("47,631,112", "35.81 G", "35,812,053,888"),
        ),
        (
            *("medium-24", 512, 24, 8),
            ("84,395,752", "16.13 G", "16,129,561,088"),
            ("84,323,624", "63.53 G", "63,524,706,816"),
        ),
        (
            *("large-24", 768, 24, 16),
            ("189,096,136", "35.86 G", "35,855,948,544"),
            ("188,932,648", "141.23 G", "141,225,699,072"),
        ),
    ):
        for patch, (count, gmacs, headless) in ((16, of_16), (8, of_8)):
            sizes = {"patch_size": patch, "dim": dim, "depth": depth, "heads": heads}
            norm = {"class_norm_all": False} if size == "nano-12" else {}
            model = f"xcit_{size.replace('-', '_')}_p{patch}_224"
            yield Preset(
                name=f"xcit-{size}-p{patch}",
                model="classifier",
                mixer="xca",
                options={**_BOTH, **_OF_XCIT, **sizes, **norm},
                source=_XCIT,
                libraries=(f"timm:{model}",),
                figures=(
                    params(count, timm(model)),
                    params(count, XCIT_METAFILE),
                    macs(gmacs, TIMM_CSV, "fvcore"),
                    macs(headless, XCIT_METAFILE, "fvcore, headless"),
                ),
            )
    for size, dim, depth, heads, pixels, count, gmacs, of_readme, flops, wrong in (
        ("xxs-24", 192, 24, 4, 224, "11,956,264", "2.53 G", "", "", ""),
        ("xxs-24", 192, 24, 4, 384, "12,029,224", "9.63 G", "", "", ""),
        ("xxs-36", 192, 36, 4, 224, "17,299,720", "3.77 G", "", "", ""),
        ("xxs-36", 192, 36, 4, 384, "17,372,680", "14.35 G", "", "", ""),
        ("xs-24", 288, 24, 6, 384, "26,670,088", "19.28 G", "27 M", "19.3 G", ""),
        ("s-24", 384, 24, 8, 224, "46,916,200", "9.35 G", "47 M", "", "9.4 B"),
        ("s-24", 384, 24, 8, 384, "47,062,120", "32.17 G", "47 M", "32.2 G", ""),
        ("s-36", 384, 36, 8, 384, "68,366,632", "47.99 G", "68 M", "48.0 G", ""),
        ("m-36", 768, 36, 16, 384, "271,221,352", "173.11 G", "271 M", "", "173.3 B"),
        ("m-48", 768, 48, 16, 448, "356,460,520", "329.41 G", "356 M", "", "329.6 B"),
    ):
        model = f"cait_{size.replace('-', '')}_{pixels}"
        figures = [params(count, timm(model)), macs(gmacs, TIMM_CSV, "fvcore")]
        figures += [params(of_readme, CAIT_README)] if of_readme else []
        # The README does not say what it counts; these are what fvcore counts.
        figures += [macs(flops, CAIT_README, "fvcore")] if flops else []
        yield Preset(
            name=f"cait-{size}" if pixels == 224 else f"cait-{size}-{pixels}",
            model="classifier",
            mixer="attn",
            options={
                **_BOTH,
                **_OF_CAIT,
                **{"image_size": pixels, "dim": dim, "depth": depth, "heads": heads},
            },
            source=_CAIT,
            libraries=(f"timm:{model}",),
            figures=tuple(figures),
            note=f"the authors' README prints {wrong} FLOPs, by a counting that it does not say"
            if wrong
            else "",
        )
