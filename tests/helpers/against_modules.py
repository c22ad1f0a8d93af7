"""Checks that a model's formulas agree with its torch module."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache, partial
from math import prod

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from vitprof.formulas.layer import Layer, Measure, Node
from vitprof.formulas.model import Model
from vitprof.formulas.op import Conv, Op, Parameter
from vitprof.formulas.totals import totals
from vitprof.modules.build import build

BATCH = 3  # tests/counters compare the counts of one image with it


@lru_cache(2)  # of one image, and of the batch
def nodes(model: Model, batch: int = 1) -> list[Node]:
    return list(model.formula(batch).walk(fold=False))


@lru_cache(1)
def built(model: Model) -> nn.Module:
    """Return the module on the meta device, which no check changes."""
    return build(model, device="meta")


def ops(model: Model, batch: int = 1) -> dict[str, Op]:
    return {node.path: node.item for node in nodes(model, batch) if isinstance(node.item, Op)}


Numbers = tuple[int, ...]


@dataclass(frozen=True)
class Ran:
    """A forward pass of the module, as PyTorch's counter and its hooks saw it.

    Attributes:
        flops: FLOPs by path.
        total: all FLOPs.
        shapes: shapes of a submodule's inputs and its output, by path.
    """

    flops: dict[str, int]
    total: int
    shapes: dict[str, list[Numbers]]


@lru_cache(1)
def ran(model: Model) -> Ran:
    """Run the module once for all checks."""
    module = built(model)
    shapes: dict[str, list[Numbers]] = {}
    hooks = [
        part.register_forward_hook(partial(record, shapes, path))
        for path, part in module.named_modules()
        if path
    ]
    # Evaluation: batch statistics of a single token do not exist.
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module.eval()(torch.empty(model.input_shape(BATCH), device="meta"))
    for hook in hooks:
        hook.remove()
    root = type(module).__name__
    flops = {
        path.removeprefix(root).removeprefix("."): sum(flops.values())
        for path, flops in counter.get_flop_counts().items()
        if path.startswith(root)
    }
    return Ran(flops, counter.get_total_flops(), shapes)


def record(
    seen: dict[str, list[Numbers]], path: str, part: nn.Module, given: object, output: object
) -> None:
    assert isinstance(given, tuple)
    seen[path] = [tuple(one.shape) for one in (*given, output) if isinstance(one, Tensor)]


def check_parameters(model: Model) -> None:
    on_paper = {path: op.params.value for path, op in ops(model).items()}
    running: Counter[str] = Counter()
    for name, parameter in built(model).named_parameters():
        owner = name.rpartition(".")[0]
        # A parameter that is no op's, as a class token, has a row of its own in the formulas.
        running[owner if owner in on_paper else name] += parameter.numel()
    assert {path: count for path, count in on_paper.items() if count} == running


def check_parameters_add_up(model: Model) -> None:
    module = built(model)
    for node in nodes(model):
        if isinstance(node.item, Layer):
            inside = module.get_submodule(node.path).parameters()
            assert node.item.of_one(Measure.PARAMS) == sum(p.numel() for p in inside), node.path


def check_trained_and_fixed_parameters(model: Model) -> None:
    parameters = dict(built(model).named_parameters())
    fixed = {name: p.numel() for name, p in parameters.items() if not p.requires_grad}
    on_paper = ops(model).items()
    assert fixed.keys() == {
        path for path, op in on_paper if isinstance(op, Parameter) and not op.trained
    }
    total = totals(model.formula(), Measure.PARAMS)
    assert total["all"] == sum(parameter.numel() for parameter in parameters.values())
    assert total["fixed"] == sum(fixed.values()) == total["all"] - total["trainable"]


def check_biases(model: Model) -> None:
    module = built(model)
    biases = {path: getattr(part, "bias", None) for path, part in module.named_modules()}
    for path, op in ops(model).items():
        bias = biases.get(path)
        assert op.biases.value == (0 if bias is None else bias.numel()), path


def check_names_types_and_order(model: Model) -> None:
    module = built(model)
    assert [
        (node.path, node.item.type)
        for node in nodes(model)
        if isinstance(node.item, Layer) or node.item.module
    ] == [
        (path, type(part).__name__)
        for path, part in module.named_modules()
        if not isinstance(part, nn.Identity)  # replaces a part that is switched off
    ]


def check_macs(model: Model) -> None:
    counted = ran(model)
    on_paper = {
        node.path: node.item.of_one(Measure.MACS)
        if isinstance(node.item, Layer)
        else node.item.macs.value
        for node in nodes(model, BATCH)
        if node.item.type != "ModuleList"  # is never called
    }
    assert {path: 2 * macs for path, macs in on_paper.items() if macs} == counted.flops
    assert 2 * model.formula(BATCH).total(Measure.MACS) == counted.total


def check_shapes(model: Model) -> None:
    identities = {
        path for path, part in built(model).named_modules() if isinstance(part, nn.Identity)
    }
    on_paper: dict[str, Layer | Op] = {
        node.path: node.item
        for node in nodes(model, BATCH)
        if node.path
        and (node.item.module if isinstance(node.item, Op) else node.item.type != "ModuleList")
    }
    seen = ran(model).shapes
    assert seen.keys() - identities == on_paper.keys()
    for path, item in on_paper.items():
        out = item.shape if isinstance(item, Op) else item.out
        if path.endswith(("shared", "rope")):  # returns two tensors and reads none
            assert (out, item.reads) == (None, ()), path
            continue
        assert out is not None, path
        assert item.reads or path.endswith("relative"), path
        shapes = [tuple(size.value for size in shape) for shape in (*item.reads, out)]
        # Torch gives positions as many axes as its kernel has, and the steps of an iteration
        # what they have in common.
        merged = _merged if isinstance(item, Conv) else list
        own = seen[path] if isinstance(item, Op) else seen[path][-len(shapes) :]
        assert merged(shapes) == merged(own), path


def _merged(shapes: list[Numbers]) -> list[Numbers]:
    return [(*shape[:2], prod(shape[2:])) for shape in shapes]


def check_folded_rows_stand_for_all_of_theirs(model: Model) -> None:
    folded = model.formula().walk(fold=True)
    assert sorted((path, repr(node.item)) for node in folded for path in node.paths) == sorted(
        (node.path, repr(node.item)) for node in nodes(model)
    )


CHECKS = [check for name, check in globals().items() if name.startswith("check_")]
