"""A module of any origin as a subject: its counts by formula, its build, its inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vitprof.captured.source import BATCH_AXIS, Input, Source
from vitprof.errors import SpecError
from vitprof.formulas.layer import Layer, Measure
from vitprof.values.derived import derived
from vitprof.values.options import Value

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from vitprof.captured.probe import Template
    from vitprof.formulas.program import Program
    from vitprof.values.size import Size


@dataclass(frozen=True)
class CapturedModel:
    """A module that is captured when its counts are asked for.

    Attributes:
        source: where the module comes from.
        train: True to capture it in train mode.
        sizes: sizes of the inputs that differ from those that the module comes with, by the
            name of the variable.
    """

    source: Source
    train: bool = False
    sizes: tuple[tuple[str, int], ...] = ()

    @property
    def variant(self) -> str:
        return self.source.reference

    def conditions(self) -> dict[str, Value]:
        """Return the module, its arguments, its inputs and the version of its library."""
        inputs = ", ".join(_spelled(one) for one in self.source.inputs)
        return {**self.source.conditions(), "inputs": inputs}

    def built_conditions(self) -> dict[str, Value]:
        """Return the conditions without the inputs."""
        return dict(self.source.conditions())

    def in_mode(self, *, train: bool) -> CapturedModel:
        """Return the module in train or eval mode."""
        return self if train == self.train else replace(self, train=train)

    @derived
    def template(self) -> Template:
        """Tree of the module with the closed form of each dimension."""
        from vitprof.captured.probe import probe

        return probe(self.source, train=self.train)

    def values(self, batch: int) -> dict[str, int]:
        """Return the value of each variable of the formulas."""
        return {
            "B": batch,
            **{one.name: one.value for one in self.template.variables},
            **dict(self.sizes),
        }

    def formula(self, batch: int = 1) -> Layer:
        """Return the ops of a forward pass as a tree.

        Raises:
            SpecError: the module cannot be captured, or not at this batch.
        """
        if self.template.batch not in (0, batch):
            raise SpecError(
                f"{self.source.reference} takes no batch but {self.template.batch}; give that one, "
                "or a module that takes any"
            )
        return self.template.layer(self.values(batch))

    def tree(self, measure: Measure, batch: int = 1) -> Layer:
        """Return the tree in which a measure is counted: `parameters`, or `formula`."""
        return self.parameters() if measure is Measure.PARAMS else self.formula(batch)

    @property
    def classifies(self) -> bool:
        """True if the module returns one row of numbers per image, (B, classes)."""
        return self.template.classifies

    def program(self, batch: int = 1) -> Program:
        """Refuse: what runs is known, but not what is held meanwhile.

        Raises:
            SpecError: always.
        """
        raise SpecError(
            f"the memory of {self.source.reference} is traced, and not known by formula"
        )

    def legend(self, batch: int) -> dict[str, Size]:
        """Return the arithmetic of each name in its formulas."""
        return self.template.legend(self.values(batch))

    def parameters(self) -> Layer:
        """Return the parameters of the module as a tree."""
        from vitprof.captured.parameters import parameters

        return parameters(self.module)

    @derived
    def module(self) -> nn.Module:
        """The module without data, on the meta device."""
        from vitprof.captured.copies import copy_of
        from vitprof.captured.probe import build_without_data

        made: nn.Module = copy_of(build_without_data(self.source), device="meta")
        return made

    def build(self, *, device: str, dtype: torch.dtype) -> nn.Module:
        """Build the module on a device; on `meta`, or of fake tensors, it allocates nothing."""
        import torch
        from torch._guards import detect_fake_mode

        from vitprof.captured.copies import copy_of

        if device == "meta" or detect_fake_mode() is not None or _fake_mode_is_on():
            made: nn.Module = copy_of(self.module, device=device, dtype=dtype)
            return made
        with torch.device(device):
            return self.source.build().to(device=device, dtype=dtype)

    def inputs(self, batch: int, *, device: str, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """Return zeros for the positional arguments."""
        return self._arguments(batch, device, dtype)[0]

    def keywords(self, batch: int, *, device: str, dtype: torch.dtype) -> Mapping[str, Tensor]:
        """Return zeros for the arguments by keyword."""
        return self._arguments(batch, device, dtype)[1]

    def _arguments(
        self, batch: int, device: str, dtype: torch.dtype
    ) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        from vitprof.captured.probe import arguments

        args, kwargs = arguments(self.source.inputs, batch, device=device, dtype=dtype)
        return tuple(args), kwargs


def _fake_mode_is_on() -> bool:
    from torch._C import _get_dispatch_mode, _TorchDispatchModeKey

    return _get_dispatch_mode(_TorchDispatchModeKey.FAKE) is not None


def _spelled(one: Input) -> str:
    """Return an input as `--input` takes it."""
    axes = [str(axis) for axis in one.axes]
    if axes[0] == BATCH_AXIS:
        axes = axes[1:] or axes
    shape = "x".join(axes)
    name = f"{one.name}=" if one.name else ""
    return f"{name}{shape}" + (f":{one.dtype}" if one.dtype != "fp32" else "")
