"""Valid and invalid requests, and their error sentences."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import fields
from fractions import Fraction

import pytest
from cases import for_each
from spellings import divides_tokens, needs_grid

from vitprof.errors import SpecError, listing
from vitprof.formulas.mixers import MIXERS
from vitprof.formulas.mixers.attention import Attention
from vitprof.formulas.mixers.lambda_layer import LambdaLayer
from vitprof.formulas.models import MODELS
from vitprof.formulas.models.encoder_layer import EncoderLayer
from vitprof.formulas.models.mae import MaskedAutoencoder
from vitprof.request.specs import described, specify
from vitprof.request.workload import Workload
from vitprof.values.options import Options, Whole

KNOWN_MIXERS = listing(MIXERS, "and")


def refused(sentence: str, *, exact: bool = True) -> AbstractContextManager[object]:
    """Expect a SpecError whose message is `sentence`, or begins with it."""
    return pytest.raises(SpecError, match=f"^{re.escape(sentence)}{'$' if exact else ''}")


def test_nothing_asked_for_is_the_report_on_mae_token_mixers() -> None:
    assert specify() == MaskedAutoencoder(mixer=Attention())
    told = specify().conditions()
    assert {name: told[name] for name in list(told)[:19]} == {
        "model": "mae",
        "mixer": "attn",
        "image_size": 256,
        "channels": 1,
        "patch_size": 8,
        "pos_embed": "fixed",
        "dim": 128,
        "depth": 12,
        "heads": 8,
        "decoder_dim": 512,
        "decoder_depth": 8,
        "decoder_heads": 16,
        "mlp_hidden": 0,
        "decoder_mlp_hidden": 0,
        "decoder_output": 0,
        "decoder_embed_bias": True,
        "predict_kept": True,
        "mask_ratio": Fraction(3, 4),
        "class_token": True,
    }
    assert {name: told[name] for name in list(told)[19:41]} == {
        "norm": "layer",
        "norm_bias": True,
        "mlp_ratio": 4,
        "mlp_multiple": 1,
        "mlp": "plain",
        "mlp_bias": True,
        "mlp_conv": "none",
        "mlp_norm": False,
        "activation": "gelu",
        "dropout": 0,
        "block": "pre",
        "patch_interaction": False,
        "branches": 1,
        "layer_scale": False,
        "res_scale": False,
        "drop_path": 0,
        "image_width": 0,
        "patch_width": 0,
        "frames": 1,
        "tubelet": 1,
        "patch_bias": True,
        "pos_embed_token": True,
    }


def test_tokens_ask_for_the_bare_layer() -> None:
    assert specify(options={"tokens": 7}) == EncoderLayer(tokens=7)


def test_attention_is_another_name_of_attn() -> None:
    assert specify(mixer="attention") == specify(mixer="attn")


@for_each(
    "model, mixer",
    [
        (model, mixer)
        for model in MODELS
        for mixer in MIXERS
        if not needs_grid(mixer) and not divides_tokens(mixer)
    ],
)
def test_every_model_takes_every_mixer(model: str, mixer: str) -> None:
    spec = specify(model, mixer=mixer)
    assert (spec.name, spec.mixer.name) == (model, mixer)


def test_a_whole_model_is_returned_as_it_is() -> None:
    model = EncoderLayer(tokens=7)
    assert specify(model) is model
    with refused("the model is already built", exact=False):
        specify(model, options={"dim": 8})
    with refused("the model is already built", exact=False):
        specify(model, mixer="linear")


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("vit", "there is no model 'vit'; known are mae, classifier, pyramid and layer"),
        ("", "there is no model ''; known are mae, classifier, pyramid and layer"),
        (
            "clasifier",
            "there is no model 'clasifier'; did you mean classifier? "
            "known are mae, classifier, pyramid and layer",
        ),
    ],
)
def test_unknown_model(model: str, sentence: str) -> None:
    with refused(sentence):
        specify(model)


@pytest.mark.parametrize(
    ("mixer", "sentence"),
    [
        ("vit", f"there is no mixer 'vit'; known are {KNOWN_MIXERS}"),
        ("", f"there is no mixer ''; known are {KNOWN_MIXERS}"),
        ("lamda", f"there is no mixer 'lamda'; did you mean lambda? known are {KNOWN_MIXERS}"),
    ],
)
def test_unknown_mixer(mixer: str, sentence: str) -> None:
    with refused(sentence):
        specify(mixer=mixer)


@pytest.mark.parametrize(
    ("model", "mixer", "option", "sentence"),
    [
        ("mae", "attn", "key_depth", "key depth is an option of lambda, not of mae with attn"),
        ("mae", "linear", "fused", "fused is an option of attn and sra, not of mae with linear"),
        (
            "mae",
            "attn",
            "classes",
            "classes is an option of classifier and pyramid, not of mae with attn",
        ),
        (
            "layer",
            "lambda",
            "depth",
            "depth is an option of mae and classifier, not of layer with lambda",
        ),
        (
            "mae",
            "attn",
            "tokens",
            "the tokens of mae follow from image size and patch size; "
            "give those, or take the model layer",
        ),
        (
            "classifier",
            "attn",
            "tokens",
            "the tokens of classifier follow from image size and patch size; "
            "give those, or take the model layer",
        ),
        (
            "layer",
            "attn",
            "token",
            "there is no option of layer with attn named 'token'; did you mean tokens? "
            "known are activation, tokens, dim, heads, norm, norm_bias, mlp_ratio, mlp_hidden, "
            "mlp_multiple, mlp, mlp_bias, mlp_conv, mlp_norm, dropout, block, patch_interaction, "
            "branches, layer_scale, res_scale, drop_path, fused, kv_heads, qk_norm, qk_norm_type, "
            "qkv_bias, key_bias, proj_bias, rope, relative, relative_shared and 2 more",
        ),
    ],
)
def test_option_of_something_else(model: str, mixer: str, option: str, sentence: str) -> None:
    with refused(sentence):
        specify(model, mixer=mixer, options={option: 8})


OUT_OF_RANGE = "depth {} is out of range; give a whole number from 1 to 10000"
NOT_WHOLE = "depth {} is not a whole number; give a whole number from 1 to 10000"


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        *[(value, OUT_OF_RANGE) for value in (0, "0", -3, "-3", 10_001, 10**30, "9" * 30)],
        *[(value, NOT_WHOLE) for value in ("1.5", 1.5, 8.0, "abc", "1e3", True, None, "nan")],
    ],
)
def test_a_depth_that_cannot_be(value: object, sentence: str) -> None:
    with refused(sentence.format(value)):
        specify(options={"depth": value})


@for_each(
    "owner, name",
    [
        (owner, name)
        for owner in (*MODELS.values(), *MIXERS.values())
        for name, option in owner.declared().items()
        if isinstance(option, Whole)
    ],
)
def test_every_whole_number_has_its_bounds(owner: type[Options], name: str) -> None:
    option = owner.declared()[name]
    assert isinstance(option, Whole)
    for value in (option.minimum - 1, option.maximum + 1):
        values: dict[str, int] = {name: value}
        with refused(f"{name.replace('_', ' ')} {value} is out of range; give {option.bounds()}"):
            owner(**values)


@pytest.mark.parametrize("value", [2, "8", 10_000])
def test_a_receptive_field_has_a_centre(value: object) -> None:
    with refused(f"receptive field {value} is even; give an odd number from 1 to 10001"):
        specify(mixer="lambda", options={"receptive_field": value})


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        *[(value, "out of range") for value in (1, "1", 1.5, -0.1, "-0.1", "1e400", "7/3")],
        *[(value, "not a number") for value in ("nan", float("nan"), "inf", "x", "", "1/0", True)],
    ],
)
def test_a_mask_ratio_that_cannot_be(value: object, fault: str) -> None:
    shown = "''" if value == "" else value
    with refused(f"mask ratio {shown} is {fault}; give a number from 0 to below 1"):
        specify(options={"mask_ratio": value})


@pytest.mark.parametrize("exponent", ["1000000000", "-1000000000", "1_000_000_000"])
def test_a_ratio_of_a_billion_digits_is_refused_at_once(exponent: str) -> None:
    # In a separate process: the computation of a large number cannot be interrupted.
    asked = f"specify(options={{'mask_ratio': '1e{exponent}'}})"
    ran = subprocess.run(
        [sys.executable, "-c", f"from vitprof.request.specs import specify; {asked}"],
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    assert f"SpecError: mask ratio 1e{exponent} is " in ran.stderr


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"activation": "tanh"},
            "activation can be gelu, relu, silu, quick-gelu, squared-relu or star-relu, not 'tanh'",
        ),
        (
            {"activation": None},
            "activation can be gelu, relu, silu, quick-gelu, squared-relu or star-relu, not None",
        ),
        ({"fused": "yes"}, "fused is on or off (true or false), not 'yes'"),
        ({"fused": 1}, "fused is on or off (true or false), not 1"),
        ({"mlp_ratio": 0}, "mlp ratio 0 is out of range; give a number from 1/1000 to below 1000"),
        (
            {"mlp_ratio": "0.01", "dim": 64},
            "mlp ratio 0.01 gives the MLP of dim 64 no hidden channel; "
            "give a ratio of at least 1/64",
        ),
    ],
)
def test_other_values_that_cannot_be(options: Mapping[str, object], sentence: str) -> None:
    with refused(sentence):
        specify(options=options)


@pytest.mark.parametrize(
    ("model", "options", "sentence"),
    [
        (
            "classifier",
            {"patch_size": 5},
            "image size 28 is not divisible by patch size 5; "
            "patch size can be 1, 2, 4, 7, 14 or 28",
        ),
        (
            "layer",
            {"dim": 100, "heads": 8},
            "dim 100 is not divisible by 8 heads; heads can be 1, 2, 4, 5, 10, 20, 25, 50 or 100",
        ),
        (
            "layer",
            {"dim": 360, "heads": 7},
            "dim 360 is not divisible by 7 heads; "
            "heads can be 1, 2, 3, 4, 5, 6, 8, 9, ... 180 or 360",
        ),
        (
            "mae",
            {"decoder_dim": 44, "decoder_heads": 8},
            "decoder dim 44 is not divisible by 8 decoder heads; "
            "decoder heads can be 1, 2, 4, 11, 22 or 44",
        ),
    ],
)
def test_sizes_that_do_not_divide(model: str, options: Mapping[str, object], sentence: str) -> None:
    with refused(sentence):
        specify(model, options=options)


@pytest.mark.parametrize(
    ("options", "culprit"),
    [
        ({"dim": 102, "heads": 1}, "dim"),
        ({"dim": 6, "heads": 3}, "dim"),
        ({"dim": 2, "heads": 1}, "dim"),
        ({"decoder_dim": 30, "decoder_heads": 5}, "decoder_dim"),
        ({"dim": 100, "heads": 8}, "heads"),
        ({"image_size": 30, "patch_size": 4}, "patch_size"),
    ],
)
def test_what_a_refusal_suggests_is_taken(options: dict[str, object], culprit: str) -> None:
    with pytest.raises(SpecError, match="not divisible by") as refusal:
        specify("mae", options=options)
    suggested = re.findall(r"\d+", re.split("can be|are:", str(refusal.value))[-1])
    assert len(set(suggested)) == len(suggested) > 0
    for value in suggested:
        specify("mae", options={**options, culprit: value})


def test_sines_and_cosines_of_two_axes_come_in_fours() -> None:
    with refused("dim 102 is not divisible by 4", exact=False):
        specify("mae", options={"dim": 102, "heads": 1})
    with refused("decoder dim 30 is not divisible by 4", exact=False):
        specify("mae", options={"decoder_dim": 30, "decoder_heads": 5})


@pytest.mark.parametrize("ratio", ["0.75", 0.75, Fraction(3, 4), "3/4", "75e-2"])
def test_words_and_values_give_the_same_model(ratio: object) -> None:
    words = {"dim": "64", "mask_ratio": ratio, "key_depth": "8", "receptive_field": "5"}
    by_words = specify("mae", mixer="lambda", options=words)
    by_values = MaskedAutoencoder(
        dim=64,
        mask_ratio=Fraction(3, 4),
        mixer=LambdaLayer(key_depth=8, receptive_field=5),
    )
    assert by_words == by_values
    assert hash(by_words) == hash(by_values)


def test_kept_patches_are_rounded_down() -> None:
    model = MaskedAutoencoder(image_size=40, patch_size=8, mask_ratio=Fraction("0.3"))
    assert model.kept == 25 * 7 // 10 == 17


@for_each("owner", [*MODELS.values(), *MIXERS.values(), Workload])
def test_every_default_is_a_value_that_is_allowed(owner: type[Options]) -> None:
    """Defaults are not validated when a model is built, so each is read here."""
    for field in fields(owner):
        if option := owner.declared().get(field.name):
            assert option.read(field.name, field.default) == field.default


@pytest.mark.parametrize(
    ("shared", "title"),
    [
        (
            {"preset": "deit-s", "model": "classifier", "mixer": "attn"},
            "deit-s, classifier with attn",
        ),
        ({"preset": "deit-s", "model": "classifier"}, "deit-s, classifier"),
        ({"model": "layer", "mixer": "attn", "dim": 8}, "layer with attn"),
        ({"module": "net.py:Net", "batch": 1}, "net.py:Net"),
        ({"dim": 8}, ""),
    ],
)
def test_titles_of_what_models_share(shared: dict[str, object], title: str) -> None:
    assert described(shared) == title
