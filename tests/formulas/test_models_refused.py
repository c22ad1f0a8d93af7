"""Options of the models that do not fit together, and those that do."""

from __future__ import annotations

import re

import pytest
from cases import for_each
from variants import Options

from vitprof.errors import SpecError
from vitprof.formulas.layer import Measure
from vitprof.formulas.mixers import MIXERS
from vitprof.formulas.models import MODELS
from vitprof.request.specs import specify


@for_each(
    "model, options, sentence",
    [
        (
            "classifier",
            {"distillation": True, "pool": "mean"},
            "distillation needs a class token in the blocks, and pool mean has none; give pool "
            "token with it",
        ),
        (
            "classifier",
            {"distillation": True, "pool": "none", "head": False},
            "distillation needs a class token in the blocks, and pool none has none; give pool "
            "token with it",
        ),
        (
            "classifier",
            {"distillation": True, "pool": "class"},
            "distillation needs a class token in the blocks, and pool class has none; give pool "
            "token with it",
        ),
        (
            "classifier",
            {"stem": "conv", "image_size": 42, "patch_size": 14},
            "patch size 14 is not 2 or a higher power of 2, and each convolution of stem conv "
            "halves the image; give patch size 2, 4, 8, 16 or 32, or stem patch",
        ),
        (
            "classifier",
            {"stem": "conv", "patch_size": 1},
            "patch size 1 is not 2 or a higher power of 2, and each convolution of stem conv "
            "halves the image; give patch size 2, 4, 8, 16 or 32, or stem patch",
        ),
        (
            "classifier",
            {"stem": "conv", "image_size": 32, "patch_size": 16, "dim": 60, "heads": 6},
            "dim 60 is not divisible by 8, and the first convolution of stem conv has dim / 8 "
            "channels with patch size 16; with these heads dim can be 48 or 72",
        ),
        (
            "classifier",
            {"patch_interaction": True, "registers": 2, "pool": "class"},
            "patch interaction mixes neighbours on a grid, and there is none, because the "
            "registers have no place on a grid; --registers 0 leaves out the registers",
        ),
        ("mae", {"pos_embed": "fourier"}, "pos embed can be learned, fixed or none, not 'fourier'"),
        (
            "classifier",
            {"pool": "none"},
            "pool none returns all patches, which the head cannot classify; give --no-head with it",
        ),
        (
            "classifier",
            {"image_width": 14},
            "image width 14 is not divisible by patch size 4; patch size can be 1, 2, 7 or 14",
        ),
        (
            "mae",
            {"image_width": 4},
            "image width 4 is not divisible by patch size 8; patch size can be 1, 2 or 4",
        ),
        (
            "classifier",
            {"pos_embed": "fixed", "dim": 30, "heads": 6},
            "dim 30 is not divisible by 4, which sines and cosines of two axes need; "
            "with these heads dim can be 24 or 36",
        ),
        (
            "classifier",
            {"pos_embed": "fixed", "dim": 2, "heads": 1},
            "dim 2 is not divisible by 4, which sines and cosines of two axes need; "
            "with these heads dim can be 4",
        ),
        (
            "mae",
            {"decoder_dim": 30, "decoder_heads": 5},
            "decoder dim 30 is not divisible by 4, which sines and cosines of two axes need; "
            "with these heads decoder dim can be 20 or 40",
        ),
        (
            "mae",
            {"class_token": False, "mask_ratio": "0.99", "image_size": 32},
            "mask ratio 0.99 leaves the encoder none of 16 patches, and there is no class token; "
            "lower it, or give --class-token",
        ),
        *(
            (
                "layer",
                {"mlp": mlp, "mlp_ratio": "0.01"},
                "mlp ratio 0.01 gives the MLP of dim 64 no hidden channel; "
                "give a ratio of at least 1/64",
            )
            for mlp in ("plain", "gated")
        ),
        *(
            ("layer", {name: rate}, f"{label} {rate} is out of range; give {bounds}")
            for name, label in (("dropout", "dropout"), ("drop_path", "drop path"))
            for rate in ("1", "-0.1")
            for bounds in ("a number from 0 to below 1",)
        ),
        ("layer", {"norm": "both"}, "norm can be layer, rms, affine, batch or group, not 'both'"),
        ("mae", {"mlp": "deep"}, "mlp can be plain, gated, linear or none, not 'deep'"),
        (
            "layer",
            {"activation": "tanh"},
            "activation can be gelu, relu, silu, quick-gelu, squared-relu or star-relu, not 'tanh'",
        ),
        ("mae", {"pos_embed": "sin"}, "pos embed can be learned, fixed or none, not 'sin'"),
        (
            "classifier",
            {"pool": "cls"},
            "pool can be token, both, mean, map, class or none, not 'cls'",
        ),
        (
            "classifier",
            {"mask_ratio": "0.5"},
            "mask ratio is an option of mae, not of classifier with attn",
        ),
    ],
)
def test_what_does_not_fit_is_refused(model: str, options: Options, sentence: str) -> None:
    with pytest.raises(SpecError) as refusal:
        specify(model, options=options)
    assert str(refusal.value) == sentence


def test_patch_sizes_that_a_refusal_suggests_are_taken() -> None:
    with pytest.raises(SpecError, match="not divisible by") as refusal:
        specify("classifier", options={"image_size": 28, "image_width": 30})
    suggested = re.findall(r"\d+", str(refusal.value).partition("can be")[2])
    assert suggested
    for patch_size in suggested:
        options = {"image_size": 28, "image_width": 30, "patch_size": patch_size}
        specify("classifier", options=options)


@pytest.mark.parametrize(
    ("model", "options"),
    [
        *(("layer", {"mlp": mlp, "dim": 1, "heads": 1}) for mlp in ("linear", "none")),
        *(("layer", {"mlp": mlp, "mlp_ratio": "1/64"}) for mlp in ("plain", "gated")),
        ("classifier", {"pool": "none", "head": False}),
        # Without a table of sines and cosines, any width is allowed.
        *(("mae", {"pos_embed": kind, "dim": 30, "heads": 3}) for kind in ("learned", "none")),
        ("classifier", {"dim": 30, "heads": 3}),
        # One patch is enough, or a class token alone.
        ("mae", {"class_token": False, "mask_ratio": "15/16", "image_size": 32}),
        ("mae", {"mask_ratio": "0.99", "image_size": 32}),
    ],
    ids=str,
)
def test_what_fits_is_taken(model: str, options: Options) -> None:
    assert specify(model, options=options).formula().total(Measure.MACS) > 0


def test_options_of_models_and_mixers_have_names_of_their_own() -> None:
    """The command line takes options of models and mixers in one list."""
    of_models = {name for model in MODELS.values() for name in model.declared()}
    of_mixers = {name for mixer in MIXERS.values() for name in mixer.declared()}
    assert of_models & of_mixers == set()
