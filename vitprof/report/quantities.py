"""Measures of a model's cost, with the titles of their columns and axes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vitprof.values.amounts import Bytes, Seconds


@dataclass(frozen=True, slots=True)
class Quantity:
    """Titles of one measure.

    Attributes:
        title: title of a column.
        label: title of an axis, whose ticks carry the unit.
    """

    title: str
    label: str


QUANTITIES: Mapping[str, Quantity] = {
    "params": Quantity("parameters", "parameters"),
    "macs": Quantity("MACs", "MACs of a forward pass"),
    "training_macs": Quantity("training MACs", "MACs of a training step"),
    "memory": Quantity("peak memory", "peak memory of a training step"),
    "batch": Quantity("largest batch", "largest batch (images)"),
    "time": Quantity("time", "time of a step"),
    "gpu_time": Quantity("time on the GPU", "predicted time of a step on the GPU"),
}


COUNTED = ("params", "macs", "training_macs")  # measures in counts that units scale


def counts_of(measure: str) -> str:
    """Return the measure if units scale its amounts; else an empty text."""
    return measure if measure in COUNTED else ""


def shown(amount: int | float, measure: str) -> int | Seconds:
    """Return an amount of a measure as a cell, with its unit."""
    if isinstance(amount, float):
        return Seconds(amount)
    return Bytes(amount) if measure == "memory" else amount
