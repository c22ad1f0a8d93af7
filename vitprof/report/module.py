"""Statements of a report on a captured module, beside its rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vitprof.values.size import Size


@dataclass(frozen=True, slots=True, kw_only=True)
class Varied:
    """A size of the inputs that the formulas depend on.

    Attributes:
        name: its name in the formulas.
        value: its value.
        step: the formulas hold at this value plus any multiple of the step.
    """

    name: str
    value: int
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleFacts:
    """Facts on a module that was captured, or whose parameters were read.

    Attributes:
        varied: sizes that the formulas depend on, other than the batch.
        names: arithmetic of the names in formulas.
        fixed: True if the formulas hold at one batch alone.
        only_batch: True if the formulas hold for any batch, but at no other size of the inputs.
        whole: True if the formulas at other sizes are of all work, False if not of work that is
            not counted.
        decided: places at which the forward pass asks for the truth of a tensor.
        unknown: kernels that may contract, which no rule counts: times by path, by kernel.
        buffers: elements of its buffers.
        held_again: elements of parameters that several modules hold, counted once.
    """

    varied: tuple[Varied, ...] = ()
    names: Mapping[str, Size]
    fixed: bool = False
    only_batch: bool = False
    whole: bool = True
    decided: tuple[str, ...] = ()
    unknown: Mapping[str, Mapping[str, int]]
    buffers: int = 0
    held_again: int = 0

    @property
    def unknown_words(self) -> str:
        """Unknown kernels with their places; empty if there are none."""
        return ", ".join(
            f"{kernel} ×{times:,} in {path or 'the model'}"
            for kernel, places in self.unknown.items()
            for path, times in places.items()
        )

    def lines(self) -> dict[str, str]:
        """Return named lines for a table."""
        lines = {}
        if self.unknown:
            lines["unknown"] = (
                f"{self.unknown_words}; what these kernels multiply is not in the count"
            )
        named = [f"{name} = {size.formula} = {size.value:,}" for name, size in self.names.items()]
        named += [
            f"{one.name} = {one.value:,}" + (f", in steps of {abs(one.step)}" * (abs(one.step) > 1))
            for one in self.varied
        ]
        if named:
            lines["where"] = "; ".join(named)
            if not self.whole:
                lines["where"] += "; what is not counted, such as masks, is that of this size"
        elif self.fixed:
            lines["where"] = "the numbers hold at this batch alone"
        elif self.only_batch:
            lines["where"] = "the formulas hold for any batch, and for inputs of this size alone"
        if self.decided:
            lines["decides"] = (
                f"by values of its input ({', '.join(self.decided)}); either way the count is this"
            )
        if self.buffers:
            lines["buffers"] = f"{self.buffers:,} elements, which are no parameters"
        if self.held_again:
            lines["tied"] = f"{self.held_again:,} elements that another module holds, counted once"
        return lines

    def record(self) -> dict[str, object]:
        """Return all fields by name."""
        return {
            "variables": [
                {"name": one.name, "value": one.value, "step": one.step} for one in self.varied
            ],
            "names": {name: size.formula for name, size in self.names.items()},
            "fixed": self.fixed,
            "only_batch": self.only_batch,
            "whole": self.whole,
            "decided": list(self.decided),
            "unknown": {kernel: dict(places) for kernel, places in self.unknown.items()},
            "buffers": self.buffers,
            "tied": self.held_again,
        }
