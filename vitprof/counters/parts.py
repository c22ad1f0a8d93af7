"""Modules of a model with the parameters that each holds directly, in the order of a walk.

A walk may meet a tensor more than once: because two modules hold it (tied), or because one
module is at two paths (shared). Each tool decides if it counts such a tensor again.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any

from vitprof.formulas.layer import Layer
from vitprof.formulas.op import Parameter

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A module at one of its paths; a walk yields parents before children.

    Attributes:
        path: path of the module; empty for the model.
        module: key of the module; equal at every path of the same module.
        tensors: number of elements of each parameter that the module holds directly; the same
            tensor has the same key in every part.
        names: number of elements of each of them by name; empty if it has no name of its own.
    """

    path: str
    module: Hashable
    tensors: Mapping[Any, int]
    names: Mapping[str, int] = field(default_factory=dict)

    def holds(self, other: Part) -> bool:
        """Return True if the path of `other` is this path or below it."""
        return self.path == "" or other.path == self.path or other.path.startswith(f"{self.path}.")


def formula_parts(tree: Layer) -> list[Part]:
    """Return the modules of a formula tree, in which nothing is tied or shared."""
    parts = []
    for node in tree.walk(fold=False):
        if isinstance(node.item, Layer):
            own = [child for child in node.item.children if isinstance(child, Parameter)]
            tensors = {(node.path, op.name): op.params.value for op in own}
            parts.append(Part(path=node.path, module=node.path, tensors=tensors))
        elif node.item.module:
            tensors = {(node.path, ""): node.item.params.value}
            parts.append(Part(path=node.path, module=node.path, tensors=tensors))
    return parts


def module_parts(module: nn.Module) -> list[Part]:
    """Return the modules of a torch model, shared ones at each of their paths."""
    return [
        Part(
            path=path,
            module=id(submodule),
            tensors={id(tensor): tensor.numel() for tensor in submodule.parameters(recurse=False)},
            names={
                name: tensor.numel() for name, tensor in submodule.named_parameters(recurse=False)
            },
        )
        for path, submodule in module.named_modules(remove_duplicate=False)
    ]


def parts_within(path: str, parts: Iterable[Part]) -> list[Part]:
    """Return the parts at and below a path, with paths from there."""
    return [
        replace(part, path=part.path.removeprefix(path).removeprefix("."))
        for part in parts
        if part.path == path or part.path.startswith(f"{path}.")
    ]


def shared_paths(module: nn.Module) -> list[str]:
    """Return every path of each module that is at several."""
    paths: dict[int, list[str]] = {}
    for path, submodule in module.named_modules(remove_duplicate=False):
        paths.setdefault(id(submodule), []).append(path)
    return [path for own in paths.values() if len(own) > 1 for path in own]


def held_by_path(parts: list[Part]) -> dict[str, int]:
    """Return the elements of each tensor, and of all at and below each module, each once there."""
    inside = {
        part.path: each_tensor_once(takewhile(part.holds, islice(parts, place, None)))
        for place, part in enumerate(parts)
    }
    own = {
        f"{part.path}.{name}".removeprefix("."): elements
        for part in parts
        for name, elements in part.names.items()
    }
    return own | inside


def each_tensor_once(parts: Iterable[Part]) -> int:
    """Return the number of elements of all tensors, each tensor counted once."""
    return sum({key: size for part in parts for key, size in part.tensors.items()}.values())
