"""Modules of others as subjects of a trace: built without data, their tensors made fake."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

TOKENS = "tokens"  # last word of a shape whose elements are whole numbers


@dataclass(frozen=True, kw_only=True)
class AnyModule:
    """Module that a function makes; `on_meta` turns its tensors into new ones on the device.

    Attributes:
        make: makes the module.
        shapes: shape of each input of one image.
        named: shapes of inputs by name, of whole numbers.
        classifies: True if it returns logits.
        on_meta: build on the meta device first, as under fake tensors, where reading data fails.
    """

    make: Callable[[], nn.Module]
    shapes: tuple[tuple[int | str, ...], ...]
    named: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    classifies: bool = False
    on_meta: bool = True

    @property
    def variant(self) -> str:
        return "a module"

    def build(self, *, device: str, dtype: torch.dtype) -> nn.Module:
        if not self.on_meta:
            return self.make().to(device, dtype)
        with _disable_current_modes(), torch.device("meta"):
            module = self.make()
        twins: dict[int, tuple[Tensor, Tensor]] = {}
        for part in module.modules():
            kept: tuple[Any, ...] = (part._parameters, part._buffers, part.__dict__)
            for tensors in kept:
                for name, tensor in [*tensors.items()]:
                    if isinstance(tensor, Tensor):
                        if id(tensor) not in twins:
                            twins[id(tensor)] = tensor, _twin(tensor, device, dtype)
                        tensors[name] = twins[id(tensor)][1]
        return module

    def inputs(self, batch: int, *, device: str, dtype: torch.dtype) -> tuple[Tensor, ...]:
        return tuple(_input((batch, *shape), device, dtype) for shape in self.shapes)

    def keywords(self, batch: int, *, device: str, dtype: torch.dtype) -> Mapping[str, Tensor]:
        whole = torch.int64
        return {
            name: torch.zeros((batch, *shape), dtype=whole, device=device)
            for name, shape in self.named.items()
        }


def _input(shape: tuple[int | str, ...], device: str, dtype: torch.dtype) -> Tensor:
    sizes = [size for size in shape if isinstance(size, int)]
    if len(sizes) < len(shape):
        return torch.zeros(sizes, dtype=torch.int64, device=device)
    return torch.randn(sizes, dtype=dtype, device=device)


def _twin(tensor: Tensor, device: str, dtype: torch.dtype) -> Tensor:
    own = dtype if tensor.is_floating_point() else tensor.dtype
    made = torch.empty_strided(tensor.shape, tensor.stride(), dtype=own, device=device)
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(made, requires_grad=tensor.requires_grad)
    return made


def of_timm(name: str, *, size: int = 224, on_meta: bool = True) -> AnyModule:
    """Return a model of timm, for images of 3 channels."""
    import timm  # noqa: PLC0415  # takes seconds

    return AnyModule(
        make=lambda: timm.create_model(name),
        shapes=((3, size, size),),
        classifies=True,
        on_meta=on_meta,
    )


def of_function(function: Callable[..., object], *shapes: tuple[int, ...]) -> AnyModule:
    """Return a module that calls a function on its inputs."""

    class Called(nn.Module):
        def forward(self, *inputs: Tensor) -> object:
            return function(*inputs)

    return AnyModule(make=Called, shapes=shapes)
