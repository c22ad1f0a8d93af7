"""Local patch interaction: neighbours on the grid of the tokens mix (El-Nouby et al. 2021, XCiT,
section 3).

Z = conv(BN(act(conv(X))))    two depthwise 3 x 3 convolutions on rows and columns

A block has it as a branch of its own on the residual stream, between mixer and MLP.
"""

from __future__ import annotations

from vitprof.formulas.parts.activations import activate
from vitprof.formulas.run import Run
from vitprof.formulas.tensor import Tensor
from vitprof.values.size import Size

_KERNEL = (Size(3), Size(3))


def interact(run: Run, activation: str, grid: tuple[Size, Size], x: Tensor) -> Tensor:
    """Run the local patch interaction on (B, N, D), N = rows × columns of the grid."""
    B, N, D = x.shape
    z = x.transpose(1, 2).unflatten(2, grid)
    z = run.conv("conv1", z, D, _KERNEL, groups=D)
    z = activate(run, activation, z)
    z = run.batch_norm("norm", z)
    z = run.conv("conv2", z, D, _KERNEL, groups=D)
    return z.reshape(B, D, N).transpose(1, 2)
