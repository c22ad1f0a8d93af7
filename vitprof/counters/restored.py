"""Restoration of a module and of global state after a tool has read the module."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from vitprof.exclusive import exclusive

if TYPE_CHECKING:
    from torch import Tensor, nn


@contextmanager
def restored(module: nn.Module, *, grad: bool = False) -> Iterator[None]:
    """Run the body with or without gradients, then restore the module and the process.

    Restored, also if the body raises: each submodule's attributes, mode, hooks and buffers;
    torch's global module hooks, random state, default dtype and device, grad mode; the functions
    of `torch`, `torch.nn.functional` and `torch.Tensor`; environment variables; warning filters.
    Nothing is logged in the body. One thread at a time is in one.
    """
    with exclusive(), _process(), _restored(module, grad=grad):
        yield


@contextmanager
def _process() -> Iterator[None]:
    """Restore what belongs to the process rather than to a module."""
    import torch
    from torch.nn import functional

    functions = [(place, dict(vars(place))) for place in (torch, functional, torch.Tensor)]
    environment, disabled = dict(os.environ), logging.root.manager.disable
    logging.disable()
    try:
        yield
    finally:
        for place, own in functions:
            _restore_functions(place, own)
        logging.disable(disabled)
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)


@contextmanager
def _restored(module: nn.Module, *, grad: bool) -> Iterator[None]:
    import torch
    from torch.nn.modules import module as torch_module

    parts = list(module.modules())
    modes = [part.training for part in parts]
    buffers = [{name: _copy(buffer) for name, buffer in part._buffers.items()} for part in parts]
    spaces = [vars(torch_module), *(vars(part) for part in parts)]
    hooks = [_hooks(space) for space in spaces]
    attributes = [dict(vars(part)) for part in parts]
    dtype, device = torch.get_default_dtype(), torch.get_default_device()
    try:
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")
            with torch.inference_mode(mode=False), torch.set_grad_enabled(grad):
                yield
    finally:
        torch.set_default_dtype(dtype)
        if torch.get_default_device() != device:
            torch.set_default_device(device)
        for part, own in zip(parts, attributes, strict=True):
            vars(part).clear()
            vars(part).update(own)
        for space, known in zip(spaces, hooks, strict=True):
            _restore(space, known)
        for part, training, known_buffers in zip(parts, modes, buffers, strict=True):
            part.training = training
            _restore_buffers(part, known_buffers)


def _restore_functions(place: Any, own: dict[str, Any]) -> None:
    """Restore the functions of a module or class that were replaced, or put into a class."""
    now = vars(place)
    for name, value in own.items():
        if now.get(name) is not value and callable(value):
            setattr(place, name, value)
    if isinstance(place, type):
        for name in now.keys() - own.keys():
            if any(name in vars(base) for base in place.__mro__[1:]):  # hides what is inherited
                delattr(place, name)


def _hooks(space: dict[str, Any]) -> dict[str, Any]:
    """Return copies of the hook registries in a module's variables, and their flags."""
    return {
        name: dict(value) if isinstance(value, dict) else value
        for name, value in space.items()
        if "_hook" in name and isinstance(value, dict | bool | None)
    }


def _restore(space: dict[str, Any], known: dict[str, Any]) -> None:
    for name, value in known.items():
        if isinstance(value, dict):
            space[name].clear()
            space[name].update(value)
        else:
            space[name] = value


def _copy(buffer: Tensor | None) -> tuple[Tensor, Tensor] | None:
    return None if buffer is None else (buffer, buffer.detach().clone())


def _restore_buffers(part: nn.Module, known: dict[str, tuple[Tensor, Tensor] | None]) -> None:
    import torch

    part._buffers.clear()
    for name, pair in known.items():
        part._buffers[name] = None if pair is None else pair[0]
        if pair is not None:
            with torch.no_grad():
                pair[0].copy_(pair[1])
