"""The formula tree against the torch module, path by path, on the meta device.

Sizes are drawn odd and unequal, so that none can be taken for another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from math import prod
from typing import Any

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from vitprof.formulas.block import ACTIVATIONS
from vitprof.formulas.layer import Layer, Measure, Node
from vitprof.formulas.mixer import Mixer
from vitprof.formulas.mixers import MIXERS
from vitprof.formulas.model import Model
from vitprof.formulas.models import MODELS
from vitprof.formulas.op import Conv, Op, Parameter
from vitprof.formulas.totals import totals
from vitprof.modules.build import build
from vitprof.options import Flag
from vitprof.specs import specify

Choices = Mapping[str, object]


def switches_of(mixer: type[Mixer]) -> list[str]:
    return [name for name, option in mixer.declared().items() if isinstance(option, Flag)]


def spellings() -> Iterator[tuple[str, Choices]]:
    """Every mixer as it is, and with each of its switches on."""
    for name, mixer in MIXERS.items():
        yield name, {}
        for option in switches_of(mixer):
            yield name, {option: True}


@st.composite
def models(draw: st.DrawFn, model: str, mixer: str, switches: Choices) -> Model:
    """Draw a model of odd sizes."""
    heads, decoder_heads = draw(st.permutations([1, 3, 5]))[:2]
    # Sines and cosines of two axes come in fours.
    step = 4 if model == "mae" else 1
    patch_size = draw(st.sampled_from([1, 2, 3]))
    drawn = {
        "patch_size": patch_size,
        "image_size": patch_size * draw(st.sampled_from([1, 5, 7])),
        "channels": draw(st.sampled_from([1, 3])),
        "tokens": draw(st.sampled_from([1, 2, 37])),
        "dim": heads * step * draw(st.sampled_from([1, 7, 11])),
        "heads": heads,
        "depth": draw(st.integers(1, 3)),
        "decoder_dim": decoder_heads * step * draw(st.sampled_from([1, 13, 17])),
        "decoder_heads": decoder_heads,
        "decoder_depth": draw(st.integers(1, 3)),
        "mlp_ratio": draw(st.sampled_from(["1", "2.7", "4"])),
        "mask_ratio": draw(st.sampled_from(["0", "0.3", "0.75", "0.99"])),
        "activation": draw(st.sampled_from(sorted(ACTIVATIONS))),
        "pool": draw(st.sampled_from(["token", "mean"])),
        "classes": draw(st.sampled_from([1, 19])),
        "key_depth": draw(st.sampled_from([1, 23])),
        "receptive_field": draw(st.sampled_from([1, 3, 29])),
        **dict.fromkeys(switches_of(MIXERS[mixer]), False),
        **switches,
    }
    known = {**MODELS[model].declared(), **MIXERS[mixer].declared()}
    assert known.keys() <= drawn.keys(), "a new option is drawn here too"
    return specify(model, mixer=mixer, options={name: drawn[name] for name in known})


SPELLINGS = [
    pytest.param(*spelling, id="-".join((spelling[0], *spelling[1]))) for spelling in spellings()
]
# No shrinking: a drawn model is small as it is.
SETTINGS = settings(
    max_examples=6, deadline=None, derandomize=True, database=None, phases=[Phase.generate]
)


def on_models(test: Callable[[Model], None]) -> Any:
    """Run `test` on models drawn for each model and each spelling of each mixer."""

    @pytest.mark.parametrize("model", MODELS)
    @pytest.mark.parametrize(("mixer", "switches"), SPELLINGS)
    @SETTINGS
    @given(data=st.data())
    def test_on_models(data: st.DataObject, model: str, mixer: str, switches: Choices) -> None:
        test(data.draw(models(model, mixer, switches)))

    return test_on_models


def nodes(model: Model, batch: int = 1) -> list[Node]:
    return list(model.formula(batch).walk(fold=False))


def ops(model: Model, batch: int = 1) -> dict[str, Op]:
    return {node.path: node.item for node in nodes(model, batch) if isinstance(node.item, Op)}


def run(model: Model, module: nn.Module, batch: int) -> None:
    # Evaluation: batch statistics of a single token do not exist.
    with torch.no_grad():
        module.eval()(torch.empty(model.input_shape(batch), device="meta"))


@on_models
def test_parameters(model: Model) -> None:
    module = build(model, device="meta")
    running: Counter[str] = Counter()
    for name, parameter in module.named_parameters():
        owner = name.rpartition(".")[0]
        # What a container holds itself, a class token, is a row of its own on paper.
        is_leaf = not list(module.get_submodule(owner).children())
        running[owner if is_leaf else name] += parameter.numel()
    on_paper = {path: op.params.value for path, op in ops(model).items()}
    assert {path: count for path, count in on_paper.items() if count} == running


@on_models
def test_parameters_add_up(model: Model) -> None:
    module = build(model, device="meta")
    for node in nodes(model):
        if isinstance(node.item, Layer):
            inside = module.get_submodule(node.path).parameters()
            assert node.item.of_one(Measure.PARAMS) == sum(p.numel() for p in inside), node.path


@on_models
def test_trained_and_fixed_parameters(model: Model) -> None:
    parameters = dict(build(model, device="meta").named_parameters())
    fixed = {name: p.numel() for name, p in parameters.items() if not p.requires_grad}
    on_paper = ops(model).items()
    assert fixed.keys() == {
        path for path, op in on_paper if isinstance(op, Parameter) and not op.trained
    }
    total = totals(model.formula(), Measure.PARAMS)
    assert total["all"] == sum(parameter.numel() for parameter in parameters.values())
    assert total["fixed"] == sum(fixed.values()) == total["all"] - total["trainable"]


@on_models
def test_biases(model: Model) -> None:
    module = build(model, device="meta")
    biases = {path: getattr(part, "bias", None) for path, part in module.named_modules()}
    for path, op in ops(model).items():
        bias = biases.get(path)
        assert op.biases.value == (0 if bias is None else bias.numel()), path


@on_models
def test_names_types_and_order(model: Model) -> None:
    module = build(model, device="meta")
    assert [
        (node.path, node.item.type)
        for node in nodes(model)
        if isinstance(node.item, Layer) or node.item.module
    ] == [
        (path, type(part).__name__)
        for path, part in module.named_modules()
        if not isinstance(part, nn.Identity)  # stands for what is switched off
    ]


@on_models
def test_macs(model: Model) -> None:
    module = build(model, device="meta")
    for batch in (1, 3):
        with FlopCounterMode(display=False) as counter:
            run(model, module, batch)
        root = type(module).__name__
        counted = {
            path.removeprefix(root).removeprefix("."): sum(flops.values())
            for path, flops in counter.get_flop_counts().items()
            if path.startswith(root)
        }
        on_paper = {
            node.path: node.item.of_one(Measure.MACS)
            if isinstance(node.item, Layer)
            else node.item.macs.value
            for node in nodes(model, batch)
            if node.item.type != "ModuleList"  # is never called
        }
        assert {path: 2 * macs for path, macs in on_paper.items() if macs} == counted
        assert 2 * model.formula(batch).total(Measure.MACS) == counter.get_total_flops()


def record(
    written: dict[str, tuple[int, ...]], path: str, part: nn.Module, given: object, output: Tensor
) -> None:
    written[path] = tuple(output.shape)


@on_models
def test_shapes(model: Model) -> None:
    module = build(model, device="meta")
    for batch in (1, 3):
        on_paper = {path: op for path, op in ops(model, batch).items() if op.module}
        written: dict[str, tuple[int, ...]] = {}
        hooks = [
            module.get_submodule(path).register_forward_hook(partial(record, written, path))
            for path in on_paper
        ]
        run(model, module, batch)
        for hook in hooks:
            hook.remove()
        assert written.keys() == on_paper.keys()
        for path, op in on_paper.items():
            shape, seen = tuple(size.value for size in op.shape), written[path]
            if isinstance(op, Conv):  # torch gives positions as many axes as its kernel has
                shape, seen = (*shape[:2], prod(shape[2:])), (*seen[:2], prod(seen[2:]))
            assert shape == seen, path


@on_models
def test_folded_rows_stand_for_all_of_theirs(model: Model) -> None:
    folded = model.formula().walk(fold=True)
    assert sorted((path, repr(node.item)) for node in folded for path in node.paths) == sorted(
        (node.path, repr(node.item)) for node in nodes(model)
    )
