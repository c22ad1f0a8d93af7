"""Multiply-accumulates of a training step on paper, by the parts of the step.

The step on paper knows which tensors require a gradient, which functions the backward pass runs
and where a checkpointed block that is recomputed stops. A contraction is computed once more for
each operand that requires a gradient, if a gradient of its output arrives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from vitprof.allocation.step import follow
from vitprof.captured.subject import CapturedModel
from vitprof.errors import FormulaError
from vitprof.formulas.layer import Layer, equal_layers, join
from vitprof.formulas.op import Op, Pass, Passes
from vitprof.request.workload import Workload
from vitprof.values.size import ZERO, Size

if TYPE_CHECKING:
    from vitprof.subject import Subject


def training(model: Subject, batch: int, *, checkpoint: bool = False) -> Layer:
    """Return the ops of a model as a tree, each contraction with its MACs in a training step.

    Args:
        model: the model.
        batch: images at a time.
        checkpoint: recompute each block in the backward pass (activation checkpointing).

    Raises:
        FormulaError: an op has no memory rule, by which gradients are followed.
        SpecError: the model cannot be trained on this batch.
    """
    if isinstance(model, CapturedModel):
        return model.training(batch, checkpoint=checkpoint)
    reading, _ = follow(model, Workload(batch=batch, checkpoint=checkpoint))
    products, rebuilt = reading.eager.products, reading.eager.rebuilt
    tables: dict[str, dict[Pass | None, int]] = {}
    for (path, part), times in products.items():
        tables.setdefault(path, {})[part] = times
    for path, times in rebuilt.items():
        tables.setdefault(path, {})[None] = times
    return _Followed(tables, reading.skipped).layer(model.formula(batch), "")


class _Followed:
    """Products of each op of a step.

    Attributes:
        tables: number of products by path of the op and part of the step; None for kernels that
            compute a part of the forward pass again.
        skipped: indices of equal blocks that were not run, by module list; each is as the block
            before the first of them.
    """

    def __init__(
        self, tables: Mapping[str, Mapping[Pass | None, int]], skipped: Mapping[str, range]
    ) -> None:
        self.tables = tables
        self.skipped = skipped

    def layer(self, layer: Layer, path: str) -> Layer:
        """Return the layer at a path with the MACs of each op in a training step."""
        children: list[Layer | Op] = []
        for child in layer.children:
            if isinstance(child, Op):
                children.append(self._op(child, join(path, child.name)))
            elif child.repeat is None:
                children.append(self.layer(child, join(path, child.name)))
            else:
                children += self._equal(child, path)
        return replace(layer, children=tuple(children), _total=None)

    def _equal(self, layer: Layer, path: str) -> Iterator[Layer]:
        """Yield equal layers of a module list, apart where their MACs in training differ."""
        assert layer.repeat is not None
        skipped = self.skipped.get(path, range(0))
        alike: dict[tuple[object, ...], tuple[Layer, list[int]]] = {}
        key: tuple[object, ...] | None = None
        for index in layer.places():
            if key is None or index not in skipped:
                one = self.layer(layer, join(path, str(index)))
                key = _key(one)
                alike.setdefault(key, (one, []))
            alike[key][1].append(index)
        for one, numbers in alike.values():
            times = len(numbers)
            repeat = layer.repeat if times == layer.repeat.value else Size(times)
            yield equal_layers(one, repeat, tuple(numbers))

    def _op(self, op: Op, path: str) -> Op:
        if not op.contracts:
            return op
        times = self.tables.get(path, {})
        forward = times.get(Pass.FORWARD, 0)
        by_input, by_weight, recomputed, rebuilt = (
            self._each(path, times.get(part, 0), forward)
            for part in (Pass.BY_INPUT, Pass.BY_WEIGHT, Pass.RECOMPUTED, None)
        )
        passes = Passes.of_product(
            op.macs,
            by_input=by_input,
            by_weight=by_weight,
            recomputed=recomputed,
            rebuilt=rebuilt * op.rebuilt if rebuilt else ZERO,
        )
        return replace(op, passes=passes, reads=op.reads)

    def _each(self, path: str, times: int, calls: int) -> int:
        """Return how often something is done for each of the calls of one name."""
        if not calls or times % calls:
            raise FormulaError(
                f"op {path} is called {calls} times, and not each call takes the same gradients; "
                "give each a name of its own"
            )
        return times // calls


def _key(layer: Layer) -> tuple[object, ...]:
    """Return what equal layers have in common, whatever their index is."""
    return tuple(
        _key(child)
        if isinstance(child, Layer)
        else child.passes and tuple(child.passes.of(part).value for part in Pass)
        for child in layer.children
    )
