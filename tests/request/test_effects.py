"""Options that are given and have no effect are refused, and only those."""

from __future__ import annotations

from typing import Any

import pytest
from cases import for_each

import vitprof
from vitprof import Workload, specify
from vitprof.allocation.step import memory
from vitprof.errors import SpecError
from vitprof.formulas.layer import OF_FORWARD
from vitprof.formulas.mixers import MIXERS
from vitprof.formulas.model import Model
from vitprof.formulas.models import MODELS
from vitprof.request.specs import specify_loosely
from vitprof.values.options import Choice, Flag, Option, Ratio, Value

Options = dict[str, Any]


@pytest.mark.parametrize(
    ("model", "mixer", "options", "sentence"),
    [
        (
            "mae",
            "attn",
            {"mlp": "none", "mlp_ratio": 9},
            "mlp ratio 9 has no effect with mlp none; leave it out, or give mlp plain or gated",
        ),
        (
            "classifier",
            "attn",
            {"head": False, "classes": 5},
            "classes 5 has no effect with no head; leave it out, or give head",
        ),
        (
            "layer",
            "attn",
            {"mlp_hidden": 7, "mlp_ratio": "32/3"},
            "mlp ratio 32/3 has no effect with mlp hidden 7; leave it out, or leave out mlp hidden",
        ),
        (
            "layer",
            "attn",
            {"mlp_hidden": 7, "mlp_multiple": 2},
            "mlp multiple 2 has no effect with mlp hidden 7; leave it out, or leave out mlp hidden",
        ),
        (
            "mae",
            "attn",
            {"mlp_hidden": 7, "decoder_mlp_hidden": 9, "mlp_ratio": 3},
            "mlp ratio 3 has no effect with mlp hidden 7 and decoder mlp hidden 9; leave it out, "
            "or leave out mlp hidden or leave out decoder mlp hidden",
        ),
        (
            "layer",
            "attn",
            {"mlp": "none", "activation": "silu"},
            "activation silu has no effect with mlp none, block pre and no patch interaction; "
            "leave it out, or give mlp plain, gated or linear, give block conv or give patch "
            "interaction",
        ),
        (
            "classifier",
            "attn",
            {"pool": "mean", "pos_embed_token": False},
            "no pos embed token has no effect with pool mean and no class token; leave it out, or "
            "give pool token or both or give class token",
        ),
        (
            "layer",
            "aft",
            {"bias_dim": 4},
            "bias dim 4 has no effect with no factorised; leave it out, or give factorised",
        ),
        (
            "layer",
            "lambda",
            {"positions": "global", "receptive_field": 5},
            "receptive field 5 has no effect with positions global; leave it out, or give "
            "positions local or local-2d",
        ),
        (
            "layer",
            "xca",
            {"patch_interaction": True, "block": "single"},
            "patch interaction has no effect with block single; leave it out, or give block pre, "
            "post, res-post or parallel",
        ),
        (
            "classifier",
            "attn",
            {"stem": "conv", "patch_bias": False},
            "no patch bias has no effect with stem conv; leave it out, or give stem patch",
        ),
        (
            "classifier",
            "attn",
            {"pos_embed": "fourier", "pos_embed_token": False},
            "no pos embed token has no effect with pos embed fourier and no class token; leave it "
            "out, or give pos embed learned or fixed or give class token",
        ),
        (
            "classifier",
            "attn",
            {"class_layers": 3},
            "class layers 3 has no effect with pool token; leave it out, or give pool class",
        ),
        (
            "classifier",
            "attn",
            {"pool": "class", "class_norm_all": False},
            "no class norm all has no effect with class layer cait; leave it out, or give class "
            "layer xcit",
        ),
    ],
)
def test_no_effect(model: str, mixer: str, options: Options, sentence: str) -> None:
    with pytest.raises(SpecError) as refused:
        specify(model, mixer=mixer, options=options)
    assert str(refused.value) == sentence


@pytest.mark.parametrize(
    "options",
    [
        {"preset": "vit-b-16", "head": False},  # the preset has 1,000 classes
        {"preset": "vit-b-16", "head": False, "classes": 1000},  # as `check --write` writes it
        {"preset": "deit-s", "mlp": "none"},
        {"preset": "vit-giant-14", "mlp": "none"},  # whose mlp ratio is not the default
        {"model": "classifier", "head": False, "classes": 10},
        {"model": "mae", "mlp_hidden": 7, "mlp_ratio": 3},  # of the decoder
        {"model": "mae", "mlp": "none", "mlp_ratio": 4.0},
    ],
    ids=str,
)
def test_only_what_is_given_counts(options: Options) -> None:
    model = specify(options.pop("model", None), options=options)
    again = {name: value for name, value in model.words().items() if name not in {"model", "mixer"}}
    assert specify(model.name, mixer=model.mixer.name, options=again) == model


def test_preset_that_is_overridden() -> None:
    with pytest.raises(SpecError, match="classes 10 has no effect with no head"):
        specify(options={"preset": "vit-b-16", "head": False, "classes": 10})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"optimizer": "sgd"}, "optimizer sgd has no effect with inference"),
        ({"kernel": "fused"}, "kernel fused has no effect with inference"),
        ({"checkpoint": True}, "checkpoint has no effect with inference"),
        ({"accumulate": 2}, "accumulate 2 has no effect with inference"),
        ({"ddp": "view"}, "ddp view has no effect with inference"),
    ],
)
def test_inference(changes: Options, sentence: str) -> None:
    with pytest.raises(SpecError) as refused:
        Workload(inference=True, **changes)
    assert str(refused.value) == f"{sentence}; leave it out, or leave out inference"
    assert Workload(**changes).as_inference() == Workload(inference=True)


def test_several_models_share_an_option() -> None:
    """An option has to have an effect on one of the models, and those without it ignore it."""
    both = vitprof.compare("layer", mixers=["aft", "attn"], factorised=True, bias_dim=3)
    assert both.sides[0].spec["bias_dim"] == 3
    with pytest.raises(SpecError, match=r"^bias dim 3 has no effect with no factorised"):
        vitprof.compare("layer", mixers=["aft", "attn"], bias_dim=3)
    # Of the two presets, the second has no class token.
    presets = vitprof.compare(presets=["vit-s-16", "mixer-s-16"], pos_embed_token=False)
    assert [side.spec["pos_embed_token"] for side in presets.sides] == [False, False]
    with pytest.raises(SpecError, match=r"^no pos embed token has no effect with pos embed none"):
        vitprof.compare(presets=["mixer-b-16", "mixer-s-16"], pos_embed_token=False)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"mlp": "none", "mlp_ratio": "1,4"}, "mlp ratio 1 has no effect with mlp none"),
        ({"mlp": "none", "mlp_ratio": 2, "dim": "4,8"}, "mlp ratio 2 has no effect with mlp none"),
        ({"dim": "4,8", "optimizer": "sgd"}, "optimizer sgd has no effect with --y macs"),
        ({"dim": "4,8", "device": "cpu"}, "device cpu has no effect with --y macs"),
        ({"dim": "4,8", "batch": 3, "measures": ["params"]}, "batch 3 has no effect with --y par"),
        (
            {"dim": "4,8", "batch": 64, "measures": ["batch"], "memory": "1GiB"},
            "batch 64 has no effect with --y batch; leave it out, or add macs, training_macs, "
            "memory, time or gpu_time",
        ),
        (
            {"dim": "4,8", "batch": "1,2", "measures": ["batch"], "memory": "1GiB"},
            "batch has no effect with --y batch; leave it out, or add macs, training_macs, "
            "memory, time or gpu_time",
        ),
    ],
)
def test_sweep(options: Options, sentence: str) -> None:
    with pytest.raises(SpecError) as refused:
        vitprof.sweep("layer", **{"measures": ["macs"], **options})
    assert str(refused.value).startswith(sentence)


def test_swept_option_that_one_value_needs() -> None:
    swept = vitprof.sweep("layer", mlp_hidden="0,7", mlp_ratio=2, dim=4, measures=["params"])
    by_ratio, by_hidden = (point.values["params"] for point in swept.points)
    assert (by_ratio or 0) - (by_hidden or 0) == (8 - 7) * (2 * 4 + 1)


def costs(model: Model) -> tuple[object, ...]:
    """Return all that an option may change: layers, counts, other work and memory."""
    tree, step = model.formula(), memory(model, Workload(batch=2))
    layers = [(node.path, getattr(node.item, "type", "")) for node in tree.walk(fold=True)]
    totals = [tree.total(measure) for measure in OF_FORWARD]
    return layers, totals, tree.uncounted(), step.peak.bytes, step.kept_bytes


def other_value(model: Model, name: str) -> Value:
    option, value = model.options()[name], {**model.values(), **model.mixer.values()}[name]
    if isinstance(option, Flag):
        return not value
    if isinstance(option, Choice):
        return next(one for one in option.names if one != value)
    return "2.7" if isinstance(option, Ratio) else 5


def unwanted(option: Option, wanted: tuple[Value, ...]) -> Value:
    if isinstance(option, Choice):
        return next(one for one in reversed(option.names) if one not in wanted)
    return not wanted[0] if isinstance(option, Flag) else 5


CASES = [
    (model, mixer, name)
    for model in MODELS
    for mixer in (MIXERS if model == "layer" else ("attn",))
    for name in (MIXERS[mixer].needs() if mixer != "attn" else MODELS[model].needs())
    if model != "mae" or name not in ("patch_interaction", "mlp_conv")  # which has no grid
]


@for_each("model, mixer, name", CASES)
def test_what_is_refused_changes_nothing(model: str, mixer: str, name: str) -> None:
    """Each way in which an option has no effect, by another value of each of those it needs."""
    own: dict[str, Options] = {
        "layer": {"tokens": 100 if mixer == "sra" else 49},
        "pyramid": {"image_size": 64, "depths": (1, 1, 1, 1, 1), "widths": (4, 8, 8, 8, 8)}
        | {"stage_heads": (1, 2, 1, 1, 1)},
    }
    options = own.get(model, {"image_size": 16, "patch_size": 4, "depth": 1})
    pool = "mean" if name in ("patch_interaction", "mlp_conv") else "token"
    options |= {"pool": pool} if model == "classifier" else {}
    options |= {"head_hidden": 5} if name == "pre_logits" else {}
    needs = {**MODELS[model].needs(), **MIXERS[mixer].needs()}[name]
    known = {**MODELS[model].declared(), **MIXERS[mixer].declared()}
    usable = [one for one in needs if one.keys() <= known.keys()]
    held = {other: wanted[0] for other, wanted in usable[0].items()}
    held |= {"head": False} if held.get("pool") == "none" else {}
    on = specify_loosely(model, mixer=mixer, options={**options, **held})
    changed = other_value(on, name)
    assert costs(on) != costs(on.at({name: changed}))
    off = {}
    for needed in usable:  # all alternatives have to fail
        other, wanted = [*needed.items()][-1]
        off[other] = unwanted(known[other], wanted)
    off |= {"head": False} if off.get("pool") == "none" else {}
    base = specify_loosely(model, mixer=mixer, options={**options, **held, **off})
    assert costs(base) == costs(base.at({name: changed}))
    with pytest.raises(SpecError, match="has no effect"):
        specify(model, mixer=mixer, options={**options, **held, **off, name: changed})


@pytest.mark.parametrize(
    ("command", "words", "sentence"),
    [
        ("params", {"why": True}, "why has no effect with counters analytic"),
        ("macs", {"why": True}, "why has no effect with counters analytic"),
        ("macs", {"device": "cpu"}, "device cpu has no effect with counters analytic"),
        ("macs", {"train": True}, "train has no effect with counters analytic"),
        ("macs", {"grad": True}, "grad has no effect with counters analytic"),
        ("macs", {"force": True}, "force has no effect with counters analytic"),
        ("macs", {"strict": True}, "strict has no effect with a model whose work all has rules"),
    ],
)
def test_arguments_without_a_tool(command: str, words: Options, sentence: str) -> None:
    with pytest.raises(SpecError) as refused:
        getattr(vitprof, command)("layer", counters=["analytic"], **words)
    assert str(refused.value).startswith(f"{sentence}; leave it out, or ")


def test_arguments_of_another_way_to_find_a_batch() -> None:
    with pytest.raises(SpecError, match=r"^timeout 5 has no effect with a prediction, .* --device"):
        vitprof.batch_size("layer", memory="1GiB", trace=False, timeout="5")
    with pytest.raises(SpecError, match=r"^no trace has no effect with trials, .* --memory or"):
        vitprof.batch_size("layer", device="cpu", limit="1GiB", trace=False)
