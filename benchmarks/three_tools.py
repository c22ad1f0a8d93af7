"""Three tools read one model; as a script, what it takes to ask all three.

torchinfo and FlopCounterMode read on the meta device. fvcore cannot trace a convolution
there, so it gets the model with data.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torchinfo
from fvcore.nn import FlopCountAnalysis
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from vitprof import specify
from vitprof.modules.build import build

DEVICES = {"torchinfo": "meta", "fvcore": "cpu", "FlopCounterMode": "meta"}


def torchinfo_macs(module: nn.Module, inputs: Tensor) -> int:
    return torchinfo.summary(module, input_data=inputs, verbose=0).total_mult_adds


def fvcore_macs(module: nn.Module, inputs: Tensor) -> int:
    analysis = FlopCountAnalysis(module, inputs).tracer_warnings("none")
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    return int(analysis.total())


def torch_macs(module: nn.Module, inputs: Tensor) -> int:
    with FlopCounterMode(display=False) as mode:
        module(inputs)
    return int(mode.get_total_flops()) // 2


TOOLS: dict[str, Callable[[nn.Module, Tensor], int]] = {
    "torchinfo": torchinfo_macs,
    "fvcore": fvcore_macs,
    "FlopCounterMode": torch_macs,
}


def prepare(tool: str, dim: int) -> tuple[nn.Module, Tensor]:
    """The masked autoencoder of this width, and one image, where the tool can read them."""
    model = specify("mae", options={"dim": dim})
    inputs = torch.zeros(model.input_shape(), device=DEVICES[tool])
    return build(model, device=DEVICES[tool]).eval(), inputs


if __name__ == "__main__":
    with torch.no_grad():
        for name, macs in TOOLS.items():
            print(name, macs(*prepare(name, dim=128)))
