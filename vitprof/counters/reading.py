"""What a counter is, and what it says of a module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vitprof.counters.convention import Convention, Setting
from vitprof.counters.parts import Part

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A tool's count of a running module.

    Attributes:
        total: what the tool prints as its total.
        by_path: what it says of each submodule, everything below included; a path that
            the tool does not report is not there.
        notes: what the tool itself says that it left out.
    """

    total: int
    by_path: Mapping[str, int]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Why a tool gives no reading."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool that reads a module, and the rules that its readings follow.

    Attributes:
        name: what it is called by, and the name of its column.
        package: the package whose version its readings depend on.
        params: reads the parameters of a module on any device.
        macs: reads the multiply-accumulates of a forward pass of a module on its inputs.
        weighs: what it counts for a model's parameters, in total.
        convention: its rules for multiply-accumulates; where they changed between
            releases or depend on the platform, found out by trying.
        needs_data: whether `macs` fails for this module on the meta device.
    """

    name: str
    package: str
    params: Callable[[nn.Module], Reading]
    macs: Callable[..., Reading]
    weighs: Callable[[list[Part]], int]
    convention: Callable[[Setting], Convention]
    needs_data: Callable[[nn.Module], bool]
