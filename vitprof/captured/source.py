"""Sources of modules: what builds one, and what it is called with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from vitprof.values.options import Value

if TYPE_CHECKING:
    from torch import nn

BATCH_AXIS = "B"
FIXED = "fixed"  # said of an input that has no batch
DTYPES = {  # name -> that of torch
    "fp32": "float32",
    "fp64": "float64",
    "fp16": "float16",
    "bf16": "bfloat16",
    "int64": "int64",
    "int32": "int32",
    "int16": "int16",
    "int8": "int8",
    "uint8": "uint8",
    "bool": "bool",
    "complex64": "complex64",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A tensor that a module is called with.

    Attributes:
        name: keyword of the argument; empty if it is positional.
        axes: its shape; `BATCH_AXIS` stands where the batch does, and once at most.
        dtype: name of its dtype, a key of `DTYPES`: fp32, int64, bool, ...
    """

    name: str = ""
    axes: tuple[int | str, ...]
    dtype: str = "fp32"

    def shape(self, batch: int) -> tuple[int, ...]:
        """Return the shape for a batch, as numbers."""
        return tuple(batch if axis == BATCH_AXIS else int(axis) for axis in self.axes)


def spell_input(one: Input) -> str:
    """Return an input as `--input` takes it."""
    axes = [str(axis) for axis in one.axes]
    fixed = BATCH_AXIS not in axes
    if len(axes) > 1 and axes[0] == BATCH_AXIS:
        axes = axes[1:]
    name = f"{one.name}=" if one.name else ""
    dtype = f":{one.dtype}" if one.dtype != "fp32" else ""
    return f"{name}{'x'.join(axes)}{dtype}" + (f":{FIXED}" if fixed else "")


class Source(Protocol):
    """A place that a module comes from.

    Attributes:
        reference: how it was named, `timm:vit_base_patch16_224`, or the class of a given module.
        inputs: what the module is called with, images for vision models.
        batch: the batch of tensors or shapes that were given; None if there were none.
    """

    @property
    def reference(self) -> str: ...

    @property
    def inputs(self) -> tuple[Input, ...]: ...

    @property
    def batch(self) -> int | None: ...

    def conditions(self) -> Mapping[str, Value]:
        """Return what the module depends on, by name: reference, arguments, versions."""

    def words(self) -> dict[str, object]:
        """Return what names the module: `module`, and `arg` and `input` in words.

        Raises:
            SpecError: it was given as it is, and has no name.
        """

    def build(self) -> nn.Module:
        """Build the module anew; parameters are on the default device that the caller set.

        Raises:
            SpecError: the module cannot be built.
        """

    def resized(self, height: int, width: int) -> Source | None:
        """Return the source for images of another size; None if that is no argument of it.

        A module that takes images of any size needs no other source.
        """
