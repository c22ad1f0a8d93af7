"""Memory of an optimizer: the states between steps, and the temporaries of a step.

Adam, AdamW and LAMB keep two moments of each trained parameter, Adam and AdamW a count of its
steps too, SGD with momentum one moment (Kingma and Ba 2015, algorithm 1; You et al. 2020,
algorithm 2; Sutskever et al. 2013, eq. 3). Division by the root of the second moment takes a
tensor of its size: of all parameters at once if they are updated together (foreach), of one and
the one before if they are updated one by one (loop), and none in the fused kernel.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from vitprof.allocation import lamb
from vitprof.allocation.clip import clip
from vitprof.allocation.launches import Kind
from vitprof.allocation.timeline import BYTES
from vitprof.formulas.layer import Layer
from vitprof.formulas.op import Op, Parameter
from vitprof.values.size import ZERO, Size

if TYPE_CHECKING:
    from vitprof.allocation.departures import Departures
    from vitprof.allocation.eager import Eager
    from vitprof.allocation.timeline import Storage, Timeline
    from vitprof.request.workload import Workload

_MOMENTS = {"sgd": 0, "momentum": 1, "adam": 2, "adamw": 2, "lamb": 2}
# Numbers of tensors that the functions of an update read, each of which writes one of them.
_READ = {
    "sgd": (2,),
    "momentum": (1, 2, 2),
    "adam": (2, 1, 3, 1, 1, 1, 3),
    "adamw": (1, 2, 1, 3, 1, 1, 1, 3),
}
_COUNTED = ("adam", "adamw")  # with a tensor that counts the steps of each parameter
_COUNT_BYTES = 4  # the count of steps is an fp32 tensor of one element
_SCALAR_BYTES = 8  # of a scalar operand


def trained(tree: Layer) -> list[tuple[Size, int]]:
    """Return the number of elements of each trained tensor, with the number of such tensors."""
    found = []
    for node in tree.walk(fold=True):
        if isinstance(node.item, Op):
            found += [(size, node.repeat) for size in _tensors(node.item)]
    return found


def parameter_sizes(layer: Layer, most: int | None) -> Iterator[Size]:
    """Yield the elements of each trained tensor in the order of the torch module's parameters.

    Args:
        layer: the module.
        most: how many of equal modules in a row are included; None for all.
    """
    for child in layer.children:
        if isinstance(child, Parameter):
            yield from _tensors(child)
    for child in layer.each(most):
        if isinstance(child, Layer):
            yield from parameter_sizes(child, most)
        elif not isinstance(child, Parameter):
            yield from _tensors(child)


def _tensors(op: Op) -> list[Size]:
    if isinstance(op, Parameter) and not op.trained:
        return []
    return [size for size in (op.weights, op.biases) if size is not ZERO]


def states(tree: Layer, workload: Workload, element: int, departures: Departures) -> Size:
    """Return bytes that the optimizer holds from its first step on.

    The counts of steps are in the memory of the CPU unless the kernel is fused; a trace on
    fake tensors has no other memory.
    """
    if workload.inference:
        return ZERO
    moments = _MOMENTS[workload.optimizer]
    tensors = trained(tree)
    numbers = sum(size.value * times for size, times in tensors)
    there = not departures.counts or workload.device == "cpu" or workload.kernel == "fused"
    counted = workload.optimizer in _COUNTED and there
    counts = sum(times for _, times in tensors) if counted else 0
    states = Size(moments) * Size(numbers, "trained parameters") * element
    return states + Size(counts, "tensors") * _COUNT_BYTES if counts else states


def states_of(size: Size, workload: Workload, element: int) -> list[int]:
    """Return bytes of each state of one parameter on a GPU, in the order of allocation."""
    if workload.inference:
        return []
    moments = _MOMENTS[workload.optimizer]
    counted = workload.optimizer in _COUNTED and workload.kernel == "fused"
    count = [_COUNT_BYTES] if counted else []
    return [*count, *[size.value * element] * moments]


def step(m: Eager, tree: Layer, workload: Workload, *, every: bool) -> None:
    """Follow the clipping of gradients and a step of the optimizer.

    Args:
        m: the step on paper.
        tree: formula of the model.
        workload: optimizer, its kernel, and clipping.
        every: allocate tensor by tensor, also of equal blocks.
    """
    timeline, element = m.timeline, BYTES[m.weight_dtype]
    if workload.clip:
        timeline.at = "clip"
        clip(m, [*parameter_sizes(tree, None)], foreach=workload.kernel != "loop")
    timeline.at = workload.optimizer

    def scalar_operand(copied: int = element) -> list[Storage]:
        """Allocate a scalar operand, and its copy in the other operand's dtype."""
        if not m.own_memory:
            return []
        return [timeline.allocate(size, (Size(size),), "") for size in (_SCALAR_BYTES, copied)]

    if workload.optimizer == "lamb":
        for size in parameter_sizes(tree, None if every or m.launching else 1):
            lamb.update(m, size)
        return
    _launch(m, tree, workload)
    moments, kernel = _MOMENTS[workload.optimizer], workload.kernel
    if kernel == "fused":
        _touch(timeline, scalar_operand(_COUNT_BYTES) if moments == 2 else [])
        return
    if moments < 2:
        _touch(timeline, scalar_operand() if moments else [])
        return
    if kernel == "loop":
        before: list[Storage] = []
        for size in parameter_sizes(tree, None if every else 2):
            root = _root(timeline, size, element)
            scalar = scalar_operand()
            divided = _root(timeline, size, element)
            _touch(timeline, [root, *scalar, *before])
            before = [divided]
        return
    if not m.departs.counts or workload.device == "cpu":
        timeline.allocate(_COUNT_BYTES, (Size(1, "a step"),), "fp32")
    if every:
        roots = [_root(timeline, size, element) for size in parameter_sizes(tree, None)]
    else:
        numbers = sum(size.value * times for size, times in trained(tree))
        roots = [_root(timeline, Size(numbers, "trained parameters"), element)]
    _touch(timeline, [*roots, *scalar_operand()])


def _launch(m: Eager, tree: Layer, workload: Workload) -> None:
    """Note the launches of an update: of all parameters together, or of one after the other."""
    if not m.launching:
        return
    flat = [m.parameter((size,), trained=False) for size in parameter_sizes(tree, None)]
    if workload.kernel == "loop":
        for x in flat:
            for read in _READ[workload.optimizer]:
                m.launch(Kind.ELEMENTWISE, [x] * read, (x,))
        return
    if workload.kernel == "foreach":
        for read in _READ[workload.optimizer]:
            m.launch(Kind.OPTIMIZER, flat * read, flat)
        return
    counts = []
    if workload.optimizer in _COUNTED:
        counts = [m.parameter((), trained=False, dtype="fp32") for _ in flat]
        m.launch(Kind.OPTIMIZER, counts, counts)
    moments = _MOMENTS[workload.optimizer]
    m.launch(Kind.OPTIMIZER, [*flat * (2 + moments), *counts], flat * (1 + moments))


def _touch(timeline: Timeline, storages: list[Storage]) -> None:
    for storage in storages:
        timeline.touch(storage)


def _root(timeline: Timeline, size: Size, element: int) -> Storage:
    return timeline.allocate(size.value * element, (size, Size(element)), "")
