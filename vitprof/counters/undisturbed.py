"""Let a tool at a module, and put everything back as it was."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


@contextmanager
def undisturbed(module: nn.Module, *, grad: bool = False) -> Iterator[None]:
    """Run the body with or without gradients; restore module and process after it.

    Restored, also when the body raises: each submodule's mode and hooks, torch's global
    module hooks, random state, default dtype and device, grad mode, warning filters.
    """
    import torch
    from torch.nn.modules import module as torch_module

    modes = {submodule: submodule.training for submodule in module.modules()}
    own = [vars(submodule) for submodule in module.modules()]
    registries = [space[name] for space in own for name in _HOOKS if name in space]
    registries += [value for name, value in vars(torch_module).items() if _is_registry(name)]
    contents = [dict(registry) for registry in registries]
    dtype = torch.get_default_dtype()
    device = torch.get_default_device()
    try:
        with (
            warnings.catch_warnings(),
            torch.random.fork_rng(devices=[]),
            torch.set_grad_enabled(grad),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.set_default_dtype(dtype)
        if torch.get_default_device() != device:
            torch.set_default_device(device)
        for registry, content in zip(registries, contents, strict=True):
            registry.clear()
            registry.update(content)
        for submodule, training in modes.items():
            submodule.training = training


def _is_registry(name: str) -> bool:
    return name.startswith("_global_") and name.endswith("hooks")
