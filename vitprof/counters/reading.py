"""Tools that count a torch module, and their readings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from vitprof.counters.convention import Convention, Setting
from vitprof.counters.parts import Part, held_by_path
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
        aside: by cause and path, what the tool lists itself as counted beside the model's ops.
    """

    total: int
    by_path: Mapping[str, int]
    notes: tuple[str, ...] = ()
    executed: bool = False
    aside: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

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
        aside = {
            cause: {
                join(name, below.removeprefix(path).removeprefix(".")): count
                for below, count in paths.items()
                if below == path or below.startswith(f"{path}.")
            }
            for cause, paths in self.aside.items()
        }
        by_path = {"": total, name: total, **inside}
        return replace(self, total=total, by_path=by_path, aside=aside)


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Reason for which a tool gives no reading.

    Attributes:
        reason: the reason, in words.
        fails: True if the tool ran and raised.
    """

    reason: str
    fails: bool = False


class NoReadingError(Exception):
    """A tool gives no reading, for a reason that the message says."""


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
        params: counts the parameters of a module on any device, given its inputs, too.
        macs: counts the multiply-accumulates of a forward pass of a module on its inputs.
        predict_params: total that the tool should report for the parameters of these parts.
        predict_by_path: the same at and below each path; None if a submodule's count has a tensor
            at its first path alone.
        params_differ: reason for which `predict_params` differs from the parameters.
        convention: rules for multiply-accumulates; those that depend on the release or on the
            platform are found by running the tool on a small module.
        needs_data: reason for which `macs` needs a module with data rather than one on the meta
            device; empty if it does not.
        extra: extra of vitprof that installs the tool; empty if vitprof does.
        training: counts the multiply-accumulates of forward and backward pass; None if it counts
            forward passes only.
        trains_on_cpu: reason for which `training` has to execute the module on the CPU, to follow
            "it"; empty if it has not.
    """

    name: str
    package: str
    params: Callable[..., Reading]
    macs: Callable[..., Reading]
    predict_params: Callable[[list[Part]], int]
    convention: Callable[[Setting], Convention]
    needs_data: Callable[[nn.Module], str] = lambda module: ""
    extra: str = ""
    predict_by_path: Callable[[list[Part]], dict[str, int]] | None = held_by_path
    params_differ: str = "tensors met again"
    training: Callable[[TrainingStep], Reading] | None = None
    trains_on_cpu: Callable[[nn.Module], str] = lambda module: ""
