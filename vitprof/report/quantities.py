"""Quantities that models are compared by, each with its title and the label of its axis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vitprof.values.amounts import Bytes, Seconds


@dataclass(frozen=True, slots=True)
class Quantity:
    """Something that a model costs.

    Attributes:
        title: what heads a column of it.
        label: what an axis of it is called; its ticks bear the unit.
    """

    title: str
    label: str


QUANTITIES: Mapping[str, Quantity] = {
    "params": Quantity("parameters", "parameters"),
    "macs": Quantity("MACs", "MACs of a forward pass"),
    "memory": Quantity("peak memory", "peak memory of a training step"),
    "batch": Quantity("largest batch", "largest batch (images)"),
    "time": Quantity("time", "time of a step"),
}


def shown(amount: int | float, measure: str) -> int | Seconds:
    """An amount as people write it, with its unit."""
    if isinstance(amount, float):
        return Seconds(amount)
    return Bytes(amount) if measure == "memory" else amount
