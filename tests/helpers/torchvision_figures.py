"""torchvision's own figures of its models, which stand beside their weights, against captures.

The GFLOPs are half of what PyTorch's FlopCounterMode counts, that is MACs, to three digits. As a
script, this module prints the figures of every model, or of those whose name has a word in it:

    python tests/helpers/torchvision_figures.py swin
"""

from __future__ import annotations

import sys
from decimal import Decimal
from typing import NamedTuple

from captures import captured
from torchvision.models import get_model_weights, list_models

from vitprof.captured.libraries import find_source
from vitprof.captured.source import Source
from vitprof.captured.subject import CapturedModel
from vitprof.errors import SpecError
from vitprof.formulas.layer import Measure

# What the weights' own classifiers are built with.
_AUXILIARY = {
    "googlenet": "aux_logits=False",
    "quantized_googlenet": "aux_logits=False",
    "deeplabv3_mobilenet_v3_large": "aux_loss=True",
    "deeplabv3_resnet50": "aux_loss=True",
    "deeplabv3_resnet101": "aux_loss=True",
    "fcn_resnet50": "aux_loss=True",
    "fcn_resnet101": "aux_loss=True",
}


class Figures(NamedTuple):
    """Figures of a model: MACs in 10⁹ to three digits, and parameters."""

    gmacs: Decimal
    params: int


def published(name: str) -> Figures:
    """Return what torchvision says of a model's usual weights."""
    meta = get_model_weights(name).DEFAULT.meta
    return Figures(Decimal(str(meta["_ops"])), meta["num_params"])


def counted(name: str) -> Figures:
    """Return what is counted of a model at the image size of its usual weights."""
    reference, args = f"torchvision:{name}", [_AUXILIARY[name]] if name in _AUXILIARY else []
    source: Source = find_source(reference, args=args)
    (crop,) = getattr(get_model_weights(name).DEFAULT.transforms(), "crop_size", [0])[:1]
    *_, size = source.inputs[0].axes
    if crop and crop != size:
        built = source.resized(crop, crop)
        source = built or find_source(reference, args=args, inputs=[f"3x{crop}x{crop}"])
    macs = captured(source).total(Measure.MACS)
    params = CapturedModel(source).parameters().total(Measure.PARAMS)
    return Figures(round(Decimal(macs).scaleb(-9), 3), params)


def main(words: list[str]) -> None:
    """Print the figures of the models whose names have these words."""
    for name in list_models():
        if all(word in name for word in words):
            try:
                said, found = published(name), counted(name)
            except SpecError as error:  # its input is no tensor of images
                sys.stdout.write(f"? {name}: {error}\n")
            else:
                sys.stdout.write(f"{'=' if said == found else '≠'} {name}: {said}, {found}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
