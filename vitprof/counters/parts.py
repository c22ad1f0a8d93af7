"""Modules of a model with the parameters that each holds directly, in the order of a walk.

A walk may meet a tensor more than once: because two modules hold it (tied), or because one
module is at two paths (shared). Each tool decides if it counts such a tensor again.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any

from vitprof.formulas.layer import Layer, ancestors
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
        type: class name of the module.
        home: module that defines the class; empty if it is that of `torch.nn`.
        frozen: keys and names of the tensors that take no gradient.
    """

    path: str
    module: Hashable
    tensors: Mapping[Any, int]
    names: Mapping[str, int] = field(default_factory=dict)
    type: str = ""
    home: str = ""
    frozen: frozenset[Hashable] = frozenset()

    def holds(self, other: Part) -> bool:
        """Return True if the path of `other` is this path or below it."""
        return self.path == "" or other.path == self.path or other.path.startswith(f"{self.path}.")


def formula_parts(tree: Layer) -> list[Part]:
    """Return the modules of a formula tree, in which nothing is tied or shared."""
    parts = []
    for node in tree.walk(fold=False):
        if isinstance(node.item, Layer):
            own = [child for child in node.item.children if isinstance(child, Parameter)]
            frozen = [op for op in own if not op.trained]
            part = Part(
                path=node.path,
                module=node.path,
                tensors={(node.path, op.name): op.params.value for op in own},
                names={op.name: op.params.value for op in own},
                type=node.item.type,
                frozen=frozenset(key for op in frozen for key in ((node.path, op.name), op.name)),
            )
            parts.append(part)
        elif node.item.module:
            tensors = {(node.path, ""): node.item.params.value}
            path, type_ = node.path, node.item.type
            parts.append(Part(path=path, module=path, tensors=tensors, type=type_))
    return parts


def module_parts(module: nn.Module) -> list[Part]:
    """Return the modules of a torch model, shared ones at each of their paths."""
    from vitprof.modules.home import home_of

    parts = []
    for path, submodule in module.named_modules(remove_duplicate=False):
        own = dict(submodule.named_parameters(recurse=False))
        frozen = {name: tensor for name, tensor in own.items() if not tensor.requires_grad}
        part = Part(
            path=path,
            module=id(submodule),
            tensors={id(tensor): tensor.numel() for tensor in own.values()},
            names={name: tensor.numel() for name, tensor in own.items()},
            type=type(submodule).__name__,
            home=home_of(submodule),
            frozen=frozenset(key for name, one in frozen.items() for key in (id(one), name)),
        )
        parts.append(part)
    return parts


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


def unclear_paths(module: nn.Module) -> set[str]:
    """Return the paths of shared modules and of modules around them, but for the model itself.

    A count of one of them by its calls has a shared module in it, which stands elsewhere.
    """
    return {above for path in shared_paths(module) for above in ancestors(path) if above}


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


def trained(parts: Iterable[Part]) -> list[Part]:
    """Return the parts without the tensors that take no gradient."""
    return [
        replace(
            part,
            tensors={key: size for key, size in part.tensors.items() if key not in part.frozen},
            names={name: size for name, size in part.names.items() if name not in part.frozen},
        )
        for part in parts
    ]


def each_trained_once(parts: Iterable[Part]) -> int:
    """Return the number of elements of all tensors that take gradients, each counted once."""
    return each_tensor_once(trained(parts))


def trained_by_path(parts: list[Part]) -> dict[str, int]:
    """Return what `held_by_path` does of the tensors that take gradients."""
    return held_by_path(trained(parts))


def each_tensor_once(parts: Iterable[Part]) -> int:
    """Return the number of elements of all tensors, each tensor counted once."""
    return sum({key: size for part in parts for key, size in part.tensors.items()}.values())
