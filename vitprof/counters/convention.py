"""Conventions: rules for the difference between a tool's count of an op and the op's MACs.

A convention has at most one rule for each kind of work. A rule returns by how much the
tool's count of an op exceeds the op's MACs, split by named cause. For a kind without a rule
the tool counts the MACs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from vitprof.formulas.layer import Layer, Leaf, Measure
from vitprof.formulas.op import Op
from vitprof.formulas.work import Work
from vitprof.values.options import Choice

Causes = Mapping[str, int]
Rule = Callable[..., Causes]

_DEVICE = Choice("device that the model is built on for the tools", ("meta", "cpu"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Settings under which a tool reads the torch module; the formulas depend on none of them.

    Attributes:
        device: `meta`, on which no memory is allocated, or `cpu`, on which the model is executed.
        train: True for train mode, False for eval mode.
        grad: True if autograd is enabled.
        training: True for a forward and a backward pass, False for a forward pass.
    """

    device: str = "meta"
    train: bool = False
    grad: bool = False
    training: bool = False

    def __post_init__(self) -> None:
        _DEVICE.read("device", self.device)

    @property
    def takes_fast_paths(self) -> bool:
        """True if torch computes its encoder layers by one function under these settings."""
        return self.device == "cpu" and not self.train and not self.grad

    def conditions(self) -> dict[str, str]:
        """Return the settings as text by name, for a report."""
        return {
            "device": self.device,
            "mode": "train" if self.train else "eval",
            "gradients": "on" if self.grad else "off",
        }


def caller(op: Op) -> str:
    """Return the class in `torch.nn` of the module whose forward calls an op; empty if none is."""
    if op.caller is not None:
        return op.caller
    return op.type if op.module else ""  # on paper, no other class has a name of torch's


def adds_nothing(layer: Layer) -> Causes:
    """Return what a tool adds for a layer itself: nothing."""
    return {}


def sees_all(layer: Layer) -> str:
    """Return the reason for which a tool counts nothing of a layer: none."""
    return ""


@dataclass(frozen=True, slots=True)
class Convention:
    """Rules of a tool for each kind of work.

    Attributes:
        rules: by kind of work, a function from an op to the MACs that the tool adds to the
            op's own, or to those in training, by cause; negative for MACs that it leaves out.
        leaf: a function from a captured module without submodules to the MACs that the tool
            adds for the module itself; None if it adds none.
        unseen: a function from a layer to the reason for which the tool counts nothing of it and
            all below it; an empty one if it counts them.
        itself: a function from a layer to the MACs that the tool adds for the layer itself, in
            place of what is unseen.
    """

    rules: Mapping[Work, Rule]
    leaf: Callable[[Leaf], Causes] | None = None
    unseen: Callable[[Layer], str] = sees_all
    itself: Callable[[Layer], Causes] = adds_nothing

    def causes(self, item: Op | Layer) -> Causes:
        """Return by how much the tool's count of an op, or of a layer beside what is in it,
        exceeds the MACs, by cause if not 0.
        """
        found: Causes = {}
        if isinstance(item, Layer):
            reason = self.unseen(item)
            if reason:
                found = {reason: -item.of_one(Measure.MACS), **self.itself(item)}
            elif item.leaf is not None and self.leaf is not None:
                found = self.leaf(item.leaf)
        else:
            rule = self.rules.get(item.work)
            found = rule(item) if rule is not None else {}
        return {cause: amount for cause, amount in found.items() if amount}
