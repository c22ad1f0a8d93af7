"""The parameters of a module as a tree, each tensor once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from torch import nn

from vitprof.captured.fit import Point, fit
from vitprof.formulas.layer import Layer, join
from vitprof.formulas.op import BatchNorm, Buffer, Conv, LayerNorm, Linear, Op, Parameter
from vitprof.values.size import ONE, Size

if TYPE_CHECKING:
    from torch import Tensor


def parameters(module: nn.Module) -> Layer:
    """Return the parameters of a module as a tree with its paths.

    A tensor that several modules hold is counted where it is met first, and has a row without a
    count at the others.
    """
    return folded(_layer("", module, set(), set()))


def parameters_at(
    trees: Sequence[Layer], points: Sequence[Point], values: Mapping[str, Any]
) -> Layer | None:
    """Return the tree of parameters at other sizes, by closed forms of their axes.

    Args:
        trees: the tree of the module at each of the points.
        points: sizes of the inputs.
        values: the sizes, which may be arrays.

    Returns:
        None if the trees differ in more than the axes of parameters, or an axis has no form.
    """
    sizes = {name: Size(value, name) for name, value in values.items()}
    return _merged([*trees], points, sizes)


def _merged(
    trees: Sequence[Layer], points: Sequence[Point], sizes: Mapping[str, Size]
) -> Layer | None:
    first = trees[0]
    if len({(tree.name, tree.type, len(tree.children)) for tree in trees}) > 1:
        return None
    children: list[Layer | Op] = []
    for same in zip(*(tree.children for tree in trees), strict=True):
        made: Layer | Op | None
        if all(isinstance(one, Layer) for one in same):
            made = _merged([one for one in same if isinstance(one, Layer)], points, sizes)
        else:
            made = _merged_op([one for one in same if isinstance(one, Op)], points, sizes)
        if made is None:
            return None
        children.append(made)
    return replace(first, children=tuple(children))


def _merged_op(ops: Sequence[Op], points: Sequence[Point], sizes: Mapping[str, Size]) -> Op | None:
    first = ops[0]
    if len(ops) != len(points) or len({(type(op), op.name) for op in ops}) > 1:
        return None
    if len({op.params.value for op in ops}) == 1:
        return first
    if not isinstance(first, Parameter):
        return None
    axes = []
    for lengths in zip(*(op.shape for op in ops), strict=True):
        found = fit([length.value for length in lengths], points)
        if found is None:
            return None
        axes.append(found.size(sizes))
    return replace(first, axes=tuple(axes))


def modules(module: nn.Module, saved: Mapping[str, int]) -> Layer:
    """Return the submodules as a tree without ops.

    Args:
        module: the module.
        saved: bytes by path; modules in a row are folded only if theirs are equal, too.
    """
    return folded(_modules("", "", module, saved, set()))


def _modules(
    name: str, path: str, module: nn.Module, saved: Mapping[str, int], walked: set[int]
) -> Layer:
    children: list[Layer | Op] = []
    for child_name, child in module.named_children():
        if id(child) not in walked:
            walked.add(id(child))
            children.append(_modules(child_name, join(path, child_name), child, saved, walked))
    # A row of equal modules has equal names of their contents.
    own = saved.get(path, 0)
    mark = (Buffer(f"{own}", ()),) if own else ()
    return Layer(name, type(module).__name__, (*children, *mark))


def held_again(module: nn.Module) -> int:
    """Return the elements of parameters that are held by more than one module, each time again."""
    own = [parameter for part in module.modules() for parameter in part.parameters(recurse=False)]
    return sum(one.numel() for one in own) - sum(one.numel() for one in {*own})


def buffers(module: nn.Module) -> int:
    """Return the elements of all buffers, each once."""
    return sum(buffer.numel() for buffer in module.buffers())


def _layer(name: str, module: nn.Module, seen: set[int], walked: set[int]) -> Layer:
    children: list[Layer | Op] = []
    held = [pair for pair in module.named_parameters(recurse=False) if id(pair[1]) not in seen]
    seen.update(id(parameter) for _, parameter in held)  # before its children, as torch counts
    for child_name, child in module.named_children():
        if id(child) in walked:  # a shared module
            continue
        walked.add(id(child))
        op = _op(child_name, child, seen)
        children.append(op if op is not None else _layer(child_name, child, seen, walked))
    owned = not children
    for key, parameter in held:
        axes = tuple(Size(length) for length in parameter.shape) or (ONE,)
        children.append(Parameter(key, axes, parameter.requires_grad, owned=owned))
    return Layer(name, type(module).__name__, tuple(children))


def _op(name: str, module: nn.Module, seen: set[int]) -> Op | None:
    """Return the op whose parameters are those of a module; None if it is no such op."""
    own = dict(module.named_parameters())
    fresh = all(id(parameter) not in seen and parameter.requires_grad for parameter in own.values())
    made = _of_class(name, module, own) if fresh and own else None
    if made is None or made.params.value != sum(one.numel() for one in own.values()):
        return None
    seen.update(map(id, own.values()))
    return made


def _of_class(name: str, module: nn.Module, own: Mapping[str, Tensor]) -> Op | None:
    bias = "bias" in own
    if isinstance(module, nn.Linear):
        return Linear(name, (), Size(module.in_features), Size(module.out_features), bias)
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        outputs, inputs, *kernel = (Size(length) for length in module.weight.shape)
        if inputs.value == 1:
            inputs = ONE
        return Conv(name, ONE, tuple(kernel), tuple(kernel), inputs, outputs, bias)
    if isinstance(module, nn.LayerNorm) and len(module.normalized_shape) == 1:
        return LayerNorm(name, (), Size(module.normalized_shape[0]), bias)
    if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        axes = () if isinstance(module, nn.BatchNorm1d) else (ONE, ONE)
        return BatchNorm(name, ONE, Size(module.num_features), axes)
    return None


def folded(layer: Layer) -> Layer:
    """Return a tree with equal modules in a row, numbered by their names, as one."""
    children = [folded(child) if isinstance(child, Layer) else child for child in layer.children]
    kept: list[Layer | Op] = []
    for _, group in groupby(enumerate(children), key=_row_of_equals):
        row = [child for _, child in group]
        first = row[0]
        if isinstance(first, Layer) and len(row) > 1:
            first = replace(first, repeat=Size(len(row)))
        kept.append(first)
    return replace(layer, children=tuple(kept))


def _row_of_equals(place: tuple[int, Layer | Op]) -> tuple[object, ...]:
    index, child = place
    if not (isinstance(child, Layer) and child.name.isdigit()):
        return (index,)
    return (int(child.name) - index, *_signature(child))


def _signature(layer: Layer) -> Iterator[object]:
    yield layer.type
    for child in layer.children:
        if isinstance(child, Layer):
            yield (child.name, child.repeat and child.repeat.value, *_signature(child))
        else:
            yield (child.name, child.type, child.params.formula, child.params.numbers)
