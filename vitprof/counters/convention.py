"""Conventions: what a tool counts for each kind of op, and why that is not the MACs.

A convention is a table of rules, one a kind of work. A rule says by how much the tool's
figure for an op exceeds the op's MACs, broken into named causes. A kind without a rule
is counted as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from vitprof.formulas.op import Op
from vitprof.formulas.work import Work
from vitprof.values.options import Choice

Causes = Mapping[str, int]
Opinion = Callable[..., Causes]

_DEVICE = Choice("where the model is built for the tools", ("meta", "cpu"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How the running module is read; a count of ours depends on none of it.

    Attributes:
        device: `meta`, where nothing is allocated, or `cpu`, where the model is executed.
        train: train mode, not eval.
        grad: with gradients.
    """

    device: str = "meta"
    train: bool = False
    grad: bool = False

    def __post_init__(self) -> None:
        _DEVICE.read("device", self.device)

    def conditions(self) -> dict[str, str]:
        """The setting in words."""
        return {
            "device": self.device,
            "mode": "train" if self.train else "eval",
            "gradients": "on" if self.grad else "off",
        }


@dataclass(frozen=True, slots=True)
class Convention:
    """What a tool makes of each kind of op.

    Attributes:
        rules: by kind of work, a function from the op to what the tool adds to its MACs
            (or, negative, leaves out), by cause.
    """

    rules: Mapping[Work, Opinion]

    def causes(self, op: Op) -> Causes:
        """By how much the tool's figure for this op exceeds its MACs, by cause."""
        rule = self.rules.get(op.work)
        found = rule(op) if rule is not None else {}
        return {cause: amount for cause, amount in found.items() if amount}
