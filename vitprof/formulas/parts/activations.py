"""Activations, element by element.

quick-gelu   x sigmoid(1.702 x)     (Hendrycks and Gimpel 2016, Gaussian Error Linear Units,
                                     section 2; of CLIP)
squared-relu relu(x)^2              (So et al. 2021, Primer, section 4)
star-relu    s relu(x)^2 + b        (Yu et al. 2022, MetaFormer Baselines for Vision, eq. 4), with a
                                     scale and a bias that are learned, one of each for all channels
"""

from __future__ import annotations

from functools import partial

from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.size import ONE

ACTIVATIONS = ("gelu", "relu", "silu", "quick-gelu", "squared-relu", "star-relu")


def activate(run: Run, activation: str, x: Tensor, name: str = "act") -> Tensor:
    """Run an activation as the submodule `name`."""
    if activation not in _COMPOSED:
        return run.activation(name, activation, x)
    type_, forward = _COMPOSED[activation]
    return run.layer(name, type_, partial(forward, run), x)


def _quick_gelu(run: Run, x: Tensor) -> Tensor:
    return run.multiply("product", x, run.activation("sigmoid", "sigmoid", run.scale("scale", x)))


def _squared_relu(run: Run, x: Tensor) -> Tensor:
    return run.square("square", run.activation("relu", "relu", x))


def _star_relu(run: Run, x: Tensor) -> Tensor:
    y = run.multiply("product", run.parameter("scale", ONE), _squared_relu(run, x))
    return run.add("sum", y, run.parameter("bias", ONE))


_COMPOSED = {  # the class of each activation of several ops, and its forward
    "quick-gelu": ("QuickGELU", _quick_gelu),
    "squared-relu": ("SquaredReLU", _squared_relu),
    "star-relu": ("StarReLU", _star_relu),
}
