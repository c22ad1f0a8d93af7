"""Departures: memory of eager PyTorch that differs from a trace on fake tensors.

Fake tensors run PyTorch's own dispatch, but their kernels are in Python and make results only,
and some functions take another path for a tensor subclass. A step on paper can be read with or
without each of these departures; without any it equals the trace.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace


def _departure(sentence: str) -> bool:
    departs: bool = field(default=True, metadata={"sentence": sentence})
    return departs


@dataclass(frozen=True, kw_only=True)
class Departures:
    """Set of departures: eager PyTorch has all of them, a trace none."""

    sums: bool = _departure("gradients that meet are added in place")
    biases: bool = _departure("a linear layer of what is not contiguous adds its bias in place")
    scatters: bool = _departure("gathered gradients are scattered in place")
    unwanted: bool = _departure("a norm makes no gradient that nobody wants")
    layouts: bool = _departure(
        "gradients of layer norms, ELU and softplus, and axes of length 1, lie otherwise"
    )
    statistics: bool = _departure("norms of mixed dtypes on a CPU keep their statistics in fp32")
    kernels: bool = _departure("kernels of the CPU take copies, buffers and numbers of their own")
    counts: bool = _departure("the optimizer's counts of steps lie in the CPU's memory")

    def without(self, name: str) -> Departures:
        """Return a copy without one departure."""
        return replace(self, **{name: False})


EAGER = Departures()
TRACED = Departures(**{one.name: False for one in fields(Departures)})


def sentences() -> dict[str, str]:
    """Return a sentence per departure, by its name."""
    return {one.name: one.metadata["sentence"] for one in fields(Departures)}
