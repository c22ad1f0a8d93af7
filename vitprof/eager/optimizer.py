"""What an optimizer holds between steps, and what a step of it takes meanwhile.

Adam and AdamW keep two moments of each trained parameter and a count of its steps, SGD
with momentum one moment (Kingma and Ba 2015, algorithm 1; Sutskever et al. 2013, eq. 3).
To divide by the root of the second moment takes a tensor of its size: of all parameters at
once where the tensors are gone through together (foreach), of one and the one before where
they are gone through one by one (loop), and none in the fused kernel.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from vitprof.formulas.layer import Layer
from vitprof.formulas.op import Op, Parameter
from vitprof.formulas.size import ZERO, Size

if TYPE_CHECKING:
    from vitprof.workload import Workload

_MOMENTS = {"sgd": 0, "momentum": 1, "adam": 2, "adamw": 2}
_COUNT_BYTES = 4  # the count of steps is a tensor of one fp32 number


def trained(tree: Layer) -> list[tuple[Size, int]]:
    """The trained tensors in the order of the torch module's, each with its number."""
    own, below = [], []
    for node in tree.walk(fold=True):
        if isinstance(node.item, Parameter):
            if node.item.trained:
                own.append((node.item.weights, node.repeat))
        elif isinstance(node.item, Op):
            tensors = (node.item.weights, node.item.biases)
            below += [(tensor, node.repeat) for tensor in tensors if tensor is not ZERO]
    return [*own, *below]


def states(tree: Layer, workload: Workload, element: int) -> Size:
    """Bytes that the optimizer holds from its first step on."""
    if workload.inference:
        return ZERO
    moments = _MOMENTS[workload.optimizer]
    tensors = trained(tree)
    numbers = sum(size.value * times for size, times in tensors)
    counts = sum(times for _, times in tensors) if moments == 2 else 0
    return (
        Size(moments) * Size(numbers, "trained parameters") * element
        + Size(counts, "tensors") * _COUNT_BYTES
    )


def temporaries(tree: Layer, workload: Workload, element: int) -> Size:
    """Bytes that a step of the optimizer takes besides."""
    if _MOMENTS[workload.optimizer] < 2 or workload.kernel == "fused":
        return ZERO
    tensors = trained(tree)
    if workload.kernel == "foreach":
        numbers = sum(size.value * times for size, times in tensors)
        return Size(numbers, "trained parameters") * element
    sizes = [size.value for size, _ in tensors]
    return Size(max(before + 2 * size for before, size in pairwise([0, *sizes]))) * element
