"""torchvision's own GFLOPs and parameters, to the last digit printed."""

from __future__ import annotations

import pytest
from torchvision_figures import counted, published

NAMES = (
    "alexnet",
    "fcn_resnet50",
    "googlenet",
    "mc3_18",
    "mnasnet0_5",
    "mobilenet_v2",
    "quantized_mobilenet_v2",
    "r3d_18",
    "regnet_y_800mf",
    "resnet18",
    "resnext50_32x4d",
    "s3d",
    "shufflenet_v2_x0_5",
    "squeezenet1_1",
    "vgg11",
    "vit_b_32",
)


@pytest.mark.parametrize("name", NAMES)
def test_figures(name: str) -> None:
    assert counted(name) == published(name)
