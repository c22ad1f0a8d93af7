"""Build the torch module of a validated model."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from importlib import import_module
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vitprof.errors import FormulaError, SpecError, listing
from vitprof.exclusive import exclusive
from vitprof.formulas.faults import line_of, place_of, said
from vitprof.formulas.plugins import describe, is_own

if TYPE_CHECKING:
    from vitprof.formulas.block import Block
    from vitprof.formulas.mixer import Mixer, MixerSizes
    from vitprof.formulas.model import Model


@exclusive()
def build(model: Model, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> nn.Module:
    """Build the torch module of `model`; on the device `meta` it allocates nothing."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            module: nn.Module = _load(model.module)(model)
    finally:
        torch.set_default_dtype(default)
    return module


def build_mixer(mixer: Mixer, sizes: MixerSizes) -> nn.Module:
    """Build the torch module of `mixer` for tokens of these sizes.

    Raises:
        SpecError: the module of another package cannot be imported, or takes other arguments.
    """
    whose = type(mixer)
    try:
        made = _load(mixer.module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a module of another package can raise anything, also exit
        if is_own(whose):
            raise
        line = line_of(error, {mixer.module.partition(".")[0].partition(":")[0]})
        raise SpecError(
            f"{_module_of(whose)} cannot be imported, {said(error)}; mend "
            f"{line or f'the attribute module of {whose.__name__}'}"
        ) from error
    arguments = mixer.arguments(sizes)
    try:
        module: nn.Module = made(**arguments)
    except TypeError as error:
        if error.__traceback__ is None or error.__traceback__.tb_next is not None:
            raise  # of a line of the constructor
        given = listing(arguments or ["no argument"], "and")
        raise SpecError(
            f"{_module_of(whose)} cannot be called with {given}, {said(error)}; let its "
            f"constructor take them, or let arguments of {whose.__name__} return others"
        ) from error
    if not isinstance(module, nn.Module):
        raise SpecError(
            f"{_module_of(whose)} is no torch.nn.Module; give the class of one as the attribute "
            f"module of {whose.__name__}"
        )
    return module


def build_shared(block: Block) -> nn.Module | None:
    """Build the torch module of what blocks like this share; None if they share nothing."""
    mixer = block.mixer
    return _load(mixer.shared_module)(**mixer.arguments(block.sizes)) if mixer.shares else None


def check_output(mixer: type[Mixer], module: nn.Module, x: Tensor, y: object) -> None:
    """Check the output of a mixer's module.

    Raises:
        FormulaError: it is not a tensor of the input's shape.
    """
    if isinstance(y, Tensor) and (torch._C._get_tracing_state() is not None or y.shape == x.shape):
        return
    made = "nothing" if y is None else f"an object of type {type(y).__name__}"
    if isinstance(y, Tensor):
        made = f"a tensor {tuple(y.shape)}"
    raise FormulaError(
        f"{_module_of(mixer)} returns {made}; it has to return a tensor of the shape that it is "
        f"given, {tuple(x.shape)} ({place_of(module.forward)})"
    )


def _module_of(mixer: type[Mixer]) -> str:
    return f"{describe(mixer)} has a torch module {mixer.module!r} that"


def _load(reference: str) -> type[nn.Module]:
    package, _, name = reference.partition(":")
    with redirect_stdout(sys.stderr):
        loaded: type[nn.Module] = getattr(import_module(package), name)
    return loaded
