"""Products of a contraction in a training step: forward, for gradients, and recomputed.

A contraction `Y = X W` is computed once in the forward pass. In the backward pass each operand
that wants a gradient takes one product of the same size: `dX = dY W^T` and `dW = X^T dY`
(Goodfellow et al. 2016, Deep Learning, section 6.5.6). An operand wants one if it depends on a
parameter that is trained, and the loss on the product.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import reduce
from typing import Protocol

from vitprof.values.size import ZERO, Size


class Followed(Protocol):
    """An op that a training step may have been followed through."""

    passes: Passes | None


class Pass(Enum):
    """A part of a training step in which contractions are computed."""

    FORWARD = "forward"
    BY_INPUT = "backward_by_input"  # gradients of activations
    BY_WEIGHT = "backward_by_weight"  # gradients of parameters
    RECOMPUTED = "recomputed"  # the forward pass again, by checkpointing or by a fused kernel

    def of(self, op: Followed) -> Size:
        """Return the multiply-accumulates of an op in this part of the step."""
        return ZERO if op.passes is None else op.passes.of(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Passes:
    """Multiply-accumulates of a contraction in a training step.

    Attributes:
        forward: those of the forward pass.
        by_input: those of the gradients of its operands that are activations.
        by_weight: those of the gradients of its operands that are parameters.
        recomputed: those of the forward pass that are computed again in the backward pass.
        rebuilt: those of them that a fused kernel computes again for its own gradients.
        total: all of them.
    """

    forward: Size
    by_input: Size
    by_weight: Size
    recomputed: Size
    rebuilt: Size
    total: Size

    @classmethod
    def of_product(
        cls, macs: Size, *, by_input: int, by_weight: int, recomputed: int, rebuilt: Size
    ) -> Passes:
        """Return those of a contraction whose gradients take products of the same size.

        Args:
            macs: its multiply-accumulates.
            by_input: number of products for gradients of activations.
            by_weight: number of products for gradients of parameters.
            recomputed: number of times that it is computed again.
            rebuilt: multiply-accumulates that its backward kernel computes again.
        """
        every = _times(1 + by_input + by_weight + recomputed, macs)
        return cls(
            forward=macs,
            by_input=_times(by_input, macs),
            by_weight=_times(by_weight, macs),
            recomputed=summed((_times(recomputed, macs), rebuilt)),
            rebuilt=rebuilt,
            total=summed((every, rebuilt)),
        )

    def of(self, part: Pass) -> Size:
        """Return the multiply-accumulates in a part of the step."""
        return {
            Pass.FORWARD: self.forward,
            Pass.BY_INPUT: self.by_input,
            Pass.BY_WEIGHT: self.by_weight,
            Pass.RECOMPUTED: self.recomputed,
        }[part]


def _times(times: int, macs: Size) -> Size:
    return times * macs if times else ZERO


def summed(sizes: tuple[Size, ...]) -> Size:
    """Return the sum of sizes; those that are zero do not stand in its formula."""
    return reduce(Size.__add__, [size for size in sizes if size is not ZERO] or [ZERO])
