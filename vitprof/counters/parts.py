"""A model's modules and their own parameters, as a walk over the model meets them.

A tensor may be met more than once: under two modules (tied), or because one module stands
in two places (shared). Whether it is then counted again is each tool's own affair.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vitprof.formulas.layer import Layer
from vitprof.formulas.op import Parameter

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A module at a place where the walk meets it, parents first.

    Attributes:
        path: where it stands.
        module: the same at every place where the same module stands.
        tensors: elements of each parameter of its own; a tensor has the same key
            wherever it is met.
    """

    path: str
    module: Hashable
    tensors: Mapping[Any, int]

    def holds(self, other: Part) -> bool:
        """Whether the other stands within this one."""
        return self.path == "" or other.path == self.path or other.path.startswith(f"{self.path}.")


def parts_on_paper(tree: Layer) -> list[Part]:
    """The modules of a formula tree, in which nothing is tied or shared."""
    parts = []
    for node in tree.walk(fold=False):
        if isinstance(node.item, Layer):
            raw = [child for child in node.item.children if isinstance(child, Parameter)]
            tensors = {(node.path, op.name): op.params.value for op in raw}
            parts.append(Part(path=node.path, module=node.path, tensors=tensors))
        elif node.item.module:
            tensors = {(node.path, ""): node.item.params.value}
            parts.append(Part(path=node.path, module=node.path, tensors=tensors))
    return parts


def parts_of(module: nn.Module) -> list[Part]:
    """The modules of a running model."""
    return [
        Part(
            path=path,
            module=id(submodule),
            tensors={id(tensor): tensor.numel() for tensor in submodule.parameters(recurse=False)},
        )
        for path, submodule in module.named_modules(remove_duplicate=False)
    ]


def each_tensor_once(parts: Iterable[Part]) -> int:
    """Elements of all tensors, each counted once however often it is met."""
    return sum({key: size for part in parts for key, size in part.tensors.items()}.values())
