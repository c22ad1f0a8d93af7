"""Workspaces of convolutions, which cuDNN chooses at run time.

A plan of cuDNN tells its workspace when it runs (`Conv_v8.cpp`, `run_conv_plan`): it depends on
cuDNN's version, GPU, shape, layout, alignment and TF32. Measured on an H100, it is between 0 and
the larger of two sizes: copies of input, output and weights, or 32 partial gradients of the
weights in fp32; neither is a rule. A depthwise convolution runs in PyTorch's own kernel, which
takes no workspace.
"""

from __future__ import annotations

_PARTIALS = 32
_FP32 = 4


def most_workspace(inputs: int, outputs: int, weights: int, *, element: int) -> int:
    """Return the largest workspace in bytes that a convolution was seen to take; the least is 0.

    Args:
        inputs: elements of the input.
        outputs: elements of the output.
        weights: elements of the weights.
        element: bytes of an element.
    """
    return max(element * (inputs + outputs + weights), _FP32 * _PARTIALS * weights)
