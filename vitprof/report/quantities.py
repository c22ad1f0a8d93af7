"""What models are compared by, in words: each quantity with its title and its axis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Amount = int | float


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
