"""Forward and backward pass of any module: its loss, and its own switch for checkpointing."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint

from vitprof.errors import SpecError
from vitprof.modules.block import Block
from vitprof.modules.drop_path import DropPath


def loss_of(output: Any, labels: Tensor, *, classifies: bool) -> Tensor:
    """Return the module's own loss, cross entropy of logits, or the mean of the output.

    Its own is `output.loss`, or the first of a tuple if that has one element. Logits are the
    first tensor of a classifier, (B, classes), against the labels; the mean is of that tensor.

    Args:
        output: what the module returns.
        labels: label of each image, (B).
        classifies: True if the module is a classifier.

    Raises:
        SpecError: the output has no tensor.
    """
    own = getattr(output, "loss", None)
    if isinstance(own, Tensor):
        return own
    tensors = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
    floating = [tensor for tensor in tensors if tensor.is_floating_point()]
    if not floating:
        raise SpecError("the module returns no tensor of which a loss could be; give a loss")
    first = floating[0]
    if isinstance(output, tuple) and not first.ndim:
        return first
    if classifies and first.ndim == 2:
        return F.cross_entropy(first, labels)
    return first.mean()


def check_trained(module: nn.Module, name: str, way_out: str = "give --inference") -> None:
    """Raise SpecError if a module has no parameter that is trained."""
    if not any(one.requires_grad for one in module.parameters()):
        raise SpecError(
            f"{name} has no parameter that is trained, so there is no step of training; {way_out}"
        )


def checkpoint_blocks(module: nn.Module) -> None:
    """Turn on activation checkpointing: of each of our blocks, or by the module's own switch.

    Raises:
        SpecError: it has neither.
    """
    blocks = [part for part in module.modules() if isinstance(part, Block)]
    for block in blocks:
        block.forward = partial(  # type: ignore[method-assign]
            checkpoint, block.forward, use_reentrant=False, preserve_rng_state=_draws(block)
        )
    if not blocks:
        _switch_on(module)


def _switch_on(module: nn.Module) -> None:
    """Turn on activation checkpointing by the module's own switch, as timm and transformers do.

    Raises:
        SpecError: it has none.
    """
    of_timm = getattr(module, "set_grad_checkpointing", None)
    of_transformers = getattr(module, "gradient_checkpointing_enable", None)
    try:
        if callable(of_timm):
            of_timm(True)
        elif callable(of_transformers):
            of_transformers()
    except (AssertionError, ValueError) as error:  # their words for a model that has none
        raise SpecError(
            f"{type(module).__name__} has no checkpointing ({error}); leave out checkpoint"
        ) from error
    if not callable(of_timm) and not callable(of_transformers):
        raise SpecError(
            f"{type(module).__name__} has neither set_grad_checkpointing nor "
            "gradient_checkpointing_enable, which turn checkpointing on; leave out checkpoint"
        )


def _draws(block: nn.Module) -> bool:
    """Return True if a block draws random numbers, which its recomputation has to draw again."""
    return any(isinstance(part, nn.Dropout | DropPath) for part in block.modules())
