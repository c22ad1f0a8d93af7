"""A module built without data, its arguments, and its call without output of its own."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from vitprof.captured.source import DTYPES, Input, Source
from vitprof.errors import SpecError
from vitprof.exclusive import exclusive

if TYPE_CHECKING:
    from torch import nn


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep what a module's code, its library and torch print or log out of the output.

    One thread at a time is in a body.
    """
    with exclusive(), _quietly():
        yield


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    silenced, disabled = logger.disabled, logging.root.manager.disable
    logger.disabled = True
    try:
        with (
            warnings.catch_warnings(),
            torch.inference_mode(mode=False),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            logging.disable()  # its handlers know the streams from before
            yield
    finally:
        logger.disabled = silenced
        logging.disable(disabled)


def build_without_data(source: Source) -> nn.Module:
    """Build a module on the meta device, or with its data where it cannot be built there."""
    with torch.inference_mode(mode=False):
        try:
            with torch.device("meta"):
                return source.build()
        except SpecError:
            return source.build()


def arguments(
    inputs: Sequence[Input], batch: int, *, device: str, dtype: torch.dtype | None = None
) -> tuple[list[torch.Tensor], dict[str, torch.Tensor]]:
    """Return tensors of zeros for the inputs of a module: positional ones, and those by name.

    Args:
        inputs: the inputs.
        batch: length of the batch's axis.
        device: device of the tensors.
        dtype: dtype of inputs in floating point; None leaves each its own.
    """
    args, kwargs = [], {}
    for one in inputs:
        own = getattr(torch, DTYPES[one.dtype])
        if dtype is not None and own.is_floating_point:
            own = dtype
        tensor = torch.zeros(one.shape(batch), dtype=own, device=device)
        if one.name:
            kwargs[one.name] = tensor
        else:
            args.append(tensor)
    return args, kwargs
