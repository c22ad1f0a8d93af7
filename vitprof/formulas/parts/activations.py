"""Activations, element by element.

quick-gelu   x sigmoid(1.702 x)     (Hendrycks and Gimpel 2016, Gaussian Error Linear Units,
                                     section 2; of CLIP)
"""

from __future__ import annotations

from functools import partial

from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor

ACTIVATIONS = ("gelu", "relu", "silu", "quick-gelu")


def activate(run: Run, activation: str, x: Tensor, name: str = "act") -> Tensor:
    """Run an activation as the submodule `name`."""
    if activation == "quick-gelu":
        return run.layer(name, "QuickGELU", partial(_quick_gelu, run), x)
    return run.activation(name, activation, x)


def _quick_gelu(run: Run, x: Tensor) -> Tensor:
    return run.multiply("product", x, run.activation("sigmoid", "sigmoid", run.scale("scale", x)))
