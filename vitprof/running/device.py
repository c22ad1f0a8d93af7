"""Devices of this machine, by name."""

from __future__ import annotations

import torch

from vitprof.errors import SpecError, listing
from vitprof.text import quoted


def find_device(name: str) -> torch.device:
    """Return the CPU or a CUDA GPU of this machine.

    Raises:
        SpecError: no device has this name.
    """
    gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    names = ["cpu", *(["cuda", *gpus] if gpus else [])]
    if name not in names:
        raise SpecError(
            f"there is no device {quoted(name)} here; PyTorch {torch.__version__} sees "
            f"{listing(names, 'and')}"
        )
    return torch.device(name)
