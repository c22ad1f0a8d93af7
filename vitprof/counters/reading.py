"""Tools that count a torch module, and their readings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from vitprof.counters.convention import Convention, Setting
from vitprof.counters.parts import Part
from vitprof.formulas.layer import join

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A tool's count of a torch module, in parameters or MACs.

    Attributes:
        total: the total that the tool prints.
        by_path: count of each submodule with everything below it; a path that the tool does
            not report is missing.
        notes: sentences on the work that the tool left out or how it was run.
        executed: True if the model was executed on the CPU, whatever was asked for.
    """

    total: int
    by_path: Mapping[str, int]
    notes: tuple[str, ...] = ()
    executed: bool = False

    def within(self, path: str, name: str = "") -> Reading | Unavailable:
        """Return the reading of the submodule at a path, with paths from there.

        Args:
            path: path of the submodule.
            name: path that it has there; empty if it is the root.
        """
        if path not in self.by_path:
            return Unavailable(f"gives no count of {path} alone")
        total = self.by_path[path]
        inside = {
            join(name, below.removeprefix(f"{path}.")): count
            for below, count in self.by_path.items()
            if below.startswith(f"{path}.")
        }
        return replace(self, total=total, by_path={"": total, name: total, **inside})


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Reason for which a tool gives no reading.

    Attributes:
        reason: the reason, in words.
        fails: True if the tool ran and raised.
    """

    reason: str
    fails: bool = False


class TrainingStep(Protocol):
    """A training step of a module on a device."""

    module: nn.Module

    def propagate(self) -> None:
        """Run the forward and the backward pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool that reads a module, and the rules that its readings follow.

    Attributes:
        name: name of the tool and of its column.
        package: package whose version the readings depend on.
        params: counts the parameters of a module on any device.
        macs: counts the multiply-accumulates of a forward pass of a module on its inputs.
        predict_params: total that the tool should report for the parameters of these parts.
        every_holder: True if a submodule's count has each tensor that it holds, False if that has
            a tensor at its first path alone.
        convention: rules for multiply-accumulates; those that depend on the release or on the
            platform are found by running the tool on a small module.
        needs_data: True if `macs` fails for the module on the meta device.
        training: counts the multiply-accumulates of forward and backward pass; None if it counts
            forward passes only.
    """

    name: str
    package: str
    params: Callable[[nn.Module], Reading]
    macs: Callable[..., Reading]
    predict_params: Callable[[list[Part]], int]
    every_holder: bool
    convention: Callable[[Setting], Convention]
    needs_data: Callable[[nn.Module], bool]
    training: Callable[[TrainingStep], Reading] | None = None
