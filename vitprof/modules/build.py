"""Build the torch module of a validated model."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import torch
from torch import nn

from vitprof.exclusive import exclusive

if TYPE_CHECKING:
    from vitprof.formulas.mixer import Mixer, MixerSizes
    from vitprof.formulas.model import Model


@exclusive()
def build(model: Model, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> nn.Module:
    """Build the torch module of `model`; on the device `meta` it allocates nothing."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            module: nn.Module = _load(model.module)(model)
    finally:
        torch.set_default_dtype(default)
    return module


def build_mixer(mixer: Mixer, sizes: MixerSizes) -> nn.Module:
    """Build the torch module of `mixer` for tokens of these sizes."""
    module: nn.Module = _load(mixer.module)(**mixer.arguments(sizes))
    return module


def _load(reference: str) -> type[nn.Module]:
    package, _, name = reference.partition(":")
    loaded: type[nn.Module] = getattr(import_module(package), name)
    return loaded
