"""Copies of a module without its data: parameters, buffers and other tensors are made anew."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn


def copy_of(
    module: nn.Module, *, device: str, dtype: torch.dtype | None = None, zeros: bool = False
) -> Any:
    """Return a copy of a module whose tensors are new ones, ties kept.

    The module itself is not changed, and none of its data is copied. Under `FakeTensorMode`, or
    on the meta device, the copy has no data.

    Args:
        module: a module on any device.
        device: device of the copy.
        dtype: dtype of floating-point tensors; None keeps that of each.
        zeros: fill the tensors with zeros.
    """
    twins: dict[int, Any] = {}
    with torch.inference_mode(mode=False):
        for tensor in _tensors(module):
            if id(tensor) not in twins:
                twin = twins[id(tensor)] = _twin(tensor, device, dtype)
                if zeros:
                    with torch.no_grad():
                        twin.zero_()
        return copy.deepcopy(module, twins)


def _twin(tensor: Tensor, device: str, dtype: torch.dtype | None) -> Tensor:
    own = tensor.dtype if dtype is None or not tensor.is_floating_point() else dtype
    made = torch.empty_strided(tuple(tensor.shape), tensor.stride(), dtype=own, device=device)
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(made, requires_grad=tensor.requires_grad)
    return made.requires_grad_(tensor.requires_grad)


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    """Yield each module's parameters and buffers, then its tensors in plain attributes."""
    for part in module.modules():
        yield from part.parameters(recurse=False)
        yield from part.buffers(recurse=False)
    for part in module.modules():
        for name, value in vars(part).items():
            if name not in {"_parameters", "_buffers", "_modules"}:
                yield from _within(value, set())


def _within(value: object, seen: set[int]) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | list | tuple | set) and id(value) not in seen:
        seen.add(id(value))
        for one in value.values() if isinstance(value, dict) else value:
            yield from _within(one, seen)
