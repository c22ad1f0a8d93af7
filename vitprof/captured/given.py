"""A module that a user hands in, with tensors or shapes of what it is called with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vitprof.captured.reference import read_input
from vitprof.captured.source import BATCH_AXIS, DTYPES, Input
from vitprof.errors import SpecError, listing
from vitprof.text import quoted
from vitprof.values.options import Value

if TYPE_CHECKING:
    from torch import nn

_FORMS = (
    "give a tensor, a shape such as (32, 3, 224, 224), text such as '50:int64', several of them in "
    "a tuple or a list, or by keyword in a dict"
)
_MAX_LENGTH = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tensor:
    """Facts on one tensor, before the batch is found among its lengths."""

    name: str
    shape: tuple[int, ...]
    dtype: str


class Given:
    """A source that copies a given module, which stays as it is.

    Attributes:
        module: the module, on any device and in any mode.
        inputs: what it is called with; the batch is the first number of the first tensor, and of
            others that begin with the same number.
        batch: that number; None if no shape says it, as in text.
    """

    def __init__(self, module: nn.Module, inputs: object, *, called: bool = True) -> None:
        """Read the inputs.

        Args:
            module: the module.
            inputs: a tensor, a shape, or text as `--input` takes it; a tuple or list of them for
                several positional arguments, of which the last may be a dict; a dict for
                arguments by keyword.
            called: True if the module is called, so that there have to be inputs.

        Raises:
            SpecError: the module or the inputs are something else.
        """
        from torch import nn

        if not isinstance(module, nn.Module):
            raise SpecError(
                f"a module is a torch.nn.Module, not of type {type(module).__name__}; give one, or "
                "a reference such as 'timm:vit_base_patch16_224'"
            )
        self.module = module
        read = [*_read(inputs)]
        if not read and called:
            raise SpecError(f"no input is given; {_FORMS}")
        known = (one.shape[0] for one in read if isinstance(one, _Tensor) and one.shape)
        self.batch: int | None = next(known, None)
        self.inputs: tuple[Input, ...] = tuple(self._input(one) for one in read)

    @property
    def reference(self) -> str:
        return type(self.module).__name__

    def conditions(self) -> Mapping[str, Value]:
        """Return the class of the module."""
        return {"module": self.reference}

    def words(self) -> dict[str, object]:
        """Refuse: another process cannot have the module.

        Raises:
            SpecError: always.
        """
        raise SpecError(
            f"a {self.reference} that is given has no name by which another process can build it; "
            "give a reference, such as file.py:factory"
        )

    def build(self) -> nn.Module:
        """Return a copy of the module on the meta device, ties kept; no data is copied.

        Raises:
            SpecError: the module cannot be copied.
        """
        from torch.nn.parameter import is_lazy

        from vitprof.captured.copies import copy_of

        try:
            made: nn.Module = copy_of(self.module, device="meta")
        except Exception as error:  # an attribute can refuse with any error
            if any(is_lazy(one) for one in (*self.module.parameters(), *self.module.buffers())):
                raise SpecError(
                    f"the {self.reference} has lazy parts, which have no shapes before they are "
                    "called; call it once before"
                ) from error
            message = " ".join(str(error).split())
            raise SpecError(
                f"the {self.reference} cannot be copied, {type(error).__name__}: {message}; give "
                "a function that makes it, file.py:factory"
            ) from error
        return made

    def resized(self, height: int, width: int) -> None:
        """Return None: a module that is there cannot be built for another size."""

    def _input(self, one: _Tensor | Input) -> Input:
        if isinstance(one, Input):
            return one
        axes: tuple[int | str, ...] = one.shape
        if one.shape and one.shape[0] == self.batch:
            axes = (BATCH_AXIS, *one.shape[1:])
        return Input(name=one.name, axes=axes, dtype=one.dtype)


def _read(inputs: object) -> Iterator[_Tensor | Input]:
    if isinstance(inputs, Mapping):
        for name, value in inputs.items():
            if not (isinstance(name, str) and name.isidentifier()):
                raise SpecError(f"input {quoted(name)} is not a keyword of a module; {_FORMS}")
            yield _one(name, value)
    elif isinstance(inputs, tuple | list) and not _is_shape(inputs):
        *several, last = inputs or [{}]
        for value in several:
            yield _one("", value)
        yield from _read(last) if isinstance(last, Mapping) else [_one("", last)]
    else:
        yield _one("", inputs)


def _one(name: str, value: object) -> _Tensor | Input:
    from torch import Tensor

    if isinstance(value, Tensor):
        dtypes = {torch_name: dtype for dtype, torch_name in DTYPES.items()}
        own = str(value.dtype).removeprefix("torch.")
        if own not in dtypes:
            raise SpecError(
                f"an input of dtype {own} cannot be profiled; give {listing(DTYPES.values())}"
            )
        return _Tensor(name=name, shape=tuple(value.shape), dtype=dtypes[own])
    if isinstance(value, str):
        return read_input(f"{name}={value}" if name else value)
    if not (isinstance(value, tuple | list) and _is_shape(value)):
        raise SpecError(f"an input of type {type(value).__name__} cannot be read; {_FORMS}")
    for length in value:
        if not 1 <= length <= _MAX_LENGTH:
            raise SpecError(
                f"shape {tuple(value)} has a length {length} that is out of range; give whole "
                f"numbers from 1 to {_MAX_LENGTH}"
            )
    return _Tensor(name=name, shape=tuple(value), dtype="fp32")


def _is_shape(value: tuple[object, ...] | list[object]) -> bool:
    """True if all are ints, as in a `torch.Size`, and there are some."""
    return len(value) > 0 and all(
        isinstance(length, int) and not isinstance(length, bool) for length in value
    )
