"""Every model learns with every mixer, and the masked autoencoder masks as it says."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.testing import assert_close

from vitprof.formulas.mixers import MIXERS
from vitprof.formulas.models import MODELS
from vitprof.modules.build import build
from vitprof.modules.models.mae import MaskedAutoencoderViT
from vitprof.modules.patches import sincos_positions
from vitprof.options import Flag
from vitprof.specs import specify

TINY: dict[str, dict[str, object]] = {
    "mae": {
        "image_size": 16, "patch_size": 4, "dim": 24, "depth": 1, "heads": 3,
        "decoder_dim": 20, "decoder_depth": 1, "decoder_heads": 5,
    },
    "classifier": {"image_size": 12, "patch_size": 4, "dim": 15, "depth": 2, "heads": 3},
    "layer": {"tokens": 7, "dim": 15, "heads": 3},
}


def mae_loss(model: nn.Module) -> Callable[[], Tensor]:
    images = torch.rand(...)
