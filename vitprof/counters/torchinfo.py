"""torchinfo as a tool: it hooks the leaf modules.

It multiplies the elements of a leaf's weights and biases by the first axis of its output, for a
convolution also by the output positions. It counts nothing for work outside of modules with
weights.
"""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING, Any

from vitprof.counters.convention import Causes, Convention, Setting
from vitprof.counters.parts import Part, each_tensor_once
from vitprof.counters.reading import Reading, Tool
from vitprof.counters.restored import restored
from vitprof.formulas.layer import Leaf, ancestors
from vitprof.formulas.op import BatchNorm, ChannelWise, Conv, Linear, Op
from vitprof.formulas.work import Work
from vitprof.values.size import product

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torchinfo.layer_info import LayerInfo


def params(module: nn.Module, *inputs: Tensor, **keywords: Tensor) -> Reading:
    """Return what `torchinfo.summary(module)` counts, in total and by path."""
    import torchinfo

    statistics = torchinfo.summary(module, verbose=0)
    paths = _paths(module)
    by_path: dict[str, int] = {}
    for info in statistics.summary_list:
        path = paths[info.layer_id]
        by_path[path] = info.num_params
        by_path.update(_own(path, info))
    return Reading(total=statistics.total_params, by_path=by_path)


def macs(module: nn.Module, *inputs: Tensor, **keywords: Tensor) -> Reading:
    """Return the mult-adds of `torchinfo.summary(module, input_data=...)`, in total and by path.

    torchinfo's total is a sum over leaves, so a module's figure is the sum of the leaves
    below it.
    """
    import torchinfo
    import torchinfo.torchinfo as engine

    cached = dict(engine._cached_forward_pass)
    try:
        mode = "train" if module.training else "eval"
        others: dict[str, Any] = dict(keywords) if inputs else {}
        data = list(inputs) if inputs else dict(keywords)
        statistics = torchinfo.summary(module, input_data=data, mode=mode, verbose=0, **others)
    finally:
        engine._cached_forward_pass.clear()
        engine._cached_forward_pass.update(cached)
    paths = _paths(module)
    by_path = dict.fromkeys(paths.values(), 0)
    for info in statistics.summary_list:
        if info.is_leaf_layer:
            for path in ancestors(paths[info.layer_id]):
                by_path[path] += info.macs
    return Reading(total=statistics.total_mult_adds, by_path=by_path)


def _own(path: str, info: LayerInfo) -> dict[str, int]:
    """Return the parameters that a module with children holds directly, by path."""
    from torchinfo.enums import ColumnSettings

    if info.is_leaf_layer:
        return {}
    rows = {name: row for name, row in info.inner_layers.items() if "." not in name}
    return {
        f"{path}.{name}" if path else name: _number(row[ColumnSettings.NUM_PARAMS])
        for name, row in rows.items()
    }


def _number(cell: str) -> int:
    """Read a count from a cell such as `└─1,234`."""
    return int(cell.strip("├└─").replace(",", ""))


def _paths(module: nn.Module) -> dict[int, str]:
    return {id(submodule): path for path, submodule in module.named_modules()}


def convention(setting: Setting) -> Convention:
    """Return torchinfo's rules, which depend neither on the device nor on the mode."""
    return Convention(
        {
            Work.LINEAR: _linear_by_tokens if counts_tokens() else _linear_by_images,
            Work.CONV: _conv,
            Work.MATMUL: _unseen,
            Work.FUSED_ATTENTION: _unseen,
            Work.LAYER_NORM: _norm,
            Work.BATCH_NORM: _norm,
            Work.GROUP_NORM: _norm,
            Work.RMS_NORM: _norm,
            Work.AFFINE: _norm,
            Work.CALL: _unseen_call,
        },
        leaf=_leaf,
    )


def counts_tokens() -> bool:
    """Return True if the installed torchinfo multiplies a linear layer's weights by the tokens.

    Release 1.8.0 does not; its development version does, under the same version number.
    """
    import torch

    layer = torch.nn.Linear(1, 1, bias=False, device="meta")
    with restored(layer):
        return macs(layer, torch.empty(1, 2, 1, device="meta")).total == 2


def predict_params(parts: list[Part]) -> int:
    """Return the parameters that torchinfo should report in total.

    Each leaf counts its tensors; every other module counts its distinct tensors minus the counts
    below it, or 0 if that is negative, as it can be if a tensor is tied to two leaves. A shared
    module counts once.
    """
    amounts: dict[str, int] = {}
    places = {part.module: place for place, part in reversed(list(enumerate(parts)))}
    for place in sorted(places.values(), reverse=True):
        inside = list(takewhile(parts[place].holds, parts[place:]))
        below = sum(amounts.get(part.path, 0) for part in inside)
        amounts[parts[place].path] = each_tensor_once(inside) - below
    return sum(max(amount, 0) for amount in amounts.values())


def _linear_by_images(op: Linear) -> Causes:
    if op.functional:
        return _unseen_call(op)
    images = op.lead[0].value
    seen = images * (op.params - op.biases).value
    return {
        "token axis of Linear ignored": seen - op.macs.value,
        "biases of Linear": images * op.biases.value,
    }


def _linear_by_tokens(op: Linear) -> Causes:
    if op.functional:
        return _unseen_call(op)
    return {"biases of Linear": product(op.lead).value * op.biases.value}


def _conv(op: Conv) -> Causes:
    if op.functional:
        return _unseen_call(op)
    positions = product((op.batch, *op.positions)).value
    return {"biases of convolutions": positions * op.biases.value}


def _unseen(op: Op) -> Causes:
    return {"products of activations have no weights": -op.macs.value}


def _unseen_call(op: Op) -> Causes:
    return {"functions outside of leaf modules are not seen": -op.macs.value}


def _leaf(leaf: Leaf) -> Causes:
    """Return what torchinfo adds for a module without submodules, call by call.

    Parameters are multiplied by the first axis of the output: `weight` and `bias` of a class
    with `Conv` in its name also by the axes from the third on, and any other parameter with
    `weight` or `bias` in its name by the second axis.
    """
    total = 0
    for output in leaf.outputs:
        first, second, others = output[:1], output[1:2], output[2:]
        for name, elements in leaf.tensors:
            if name in {"weight", "bias"}:
                times = product((*first, *(others if "Conv" in leaf.type else ())))
            elif "weight" in name or "bias" in name:
                times = product((*first, *second))
            else:
                continue
            total += elements * times.value
    return {f"parameters of {leaf.type} by its output": total}


def _norm(op: ChannelWise | BatchNorm) -> Causes:
    return {"weights and biases of norms": op.shape[0].value * op.params.value}


TORCHINFO = Tool(
    name="torchinfo",
    package="torchinfo",
    params=params,
    macs=macs,
    predict_params=predict_params,
    convention=convention,
)
