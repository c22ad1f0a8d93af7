"""One step of training or inference, as it is run, traced and timed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from vitprof.allocation.buckets import buckets
from vitprof.captured.step import check_trained, checkpoint_blocks, loss_of
from vitprof.running.lamb import Lamb

if TYPE_CHECKING:
    from vitprof.request.workload import Workload

Phase = Callable[[str], AbstractContextManager[None]]
Loss = Callable[[Any], Tensor]  # of a module's output

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def _unwatched(name: str) -> AbstractContextManager[None]:
    return nullcontext()


class Runnable(Protocol):
    """Part of a `vitprof.subject.Subject` that a step needs."""

    @property
    def variant(self) -> str: ...

    @property
    def classifies(self) -> bool: ...

    def build(self, *, device: str, dtype: torch.dtype) -> nn.Module: ...

    def inputs(self, batch: int, *, device: str, dtype: torch.dtype) -> tuple[Tensor, ...]: ...

    def keywords(self, batch: int, *, device: str, dtype: torch.dtype) -> Mapping[str, Tensor]: ...


class Step:
    """Model with its optimizer and its inputs on a device; a call runs one step.

    With DistributedDataParallel's buckets no process group is started: the step allocates the
    same tensors and copies the gradients of every batch into them, but reduces nothing.

    Args:
        model: model that is trained or run.
        workload: batch, dtypes, optimizer and the like.
        device: device of the model and its inputs.
        around: makes a context manager for the model's forward and backward pass.
        loss: loss of the module's output; None for `loss_of`.

    Attributes:
        module: the torch model.
        buckets: buckets of DistributedDataParallel; empty if there are none.
        inputs: what the module is called with, in order.
        keywords: what it is called with by name.
        labels: label of each image.
        optimizer: None in inference.

    Raises:
        SpecError: the module has no activation checkpointing that the workload asks for.
    """

    def __init__(
        self,
        model: Runnable,
        workload: Workload,
        *,
        device: str,
        around: Callable[[], AbstractContextManager[object]] = nullcontext,
        loss: Loss | None = None,
    ) -> None:
        self.model = model
        self.workload = workload
        self._around = around
        self._loss = self.loss_of if loss is None else loss
        self.device = torch.device(device)
        self.dtype = DTYPES[workload.dtype]
        weights = torch.float32 if workload.autocast else self.dtype
        self.module = model.build(device=device, dtype=weights).train(not workload.inference)
        if not workload.inference:
            check_trained(self.module, model.variant)
        self.buckets: list[Tensor] = []
        if workload.ddp != "none":
            self.buckets = _fill_buckets(self.module, view=workload.ddp == "view")
        self.inputs = model.inputs(workload.batch, device=device, dtype=weights)
        self.keywords = model.keywords(workload.batch, device=device, dtype=weights)
        self.labels = torch.zeros(workload.batch, dtype=torch.int64, device=device)
        self.optimizer = None if workload.inference else optimizer(self.module, workload)
        if workload.checkpoint:
            checkpoint_blocks(self.module)

    def __call__(self, phase: Phase = _unwatched) -> None:
        """Run one step, each part of it within `phase(name)`."""
        if self.optimizer is None:
            with phase("forward"), torch.no_grad():
                self.forward()
            return
        self.optimizer.zero_grad(set_to_none=not self.workload.keep_gradients)
        for _ in range(self.workload.accumulate - 1):
            self.propagate()
        with phase("forward"):
            loss = self.forward()
        with phase("backward"):
            self._backward(loss)
        del loss
        with phase("optimizer"):
            if self.workload.clip:
                foreach = self.workload.kernel != "loop"
                nn.utils.clip_grad_norm_(self.module.parameters(), 1.0, foreach=foreach)
            self.optimizer.step()

    def propagate(self) -> None:
        """Run the forward and the backward pass of a batch."""
        self._backward(self.forward())

    def forward(self) -> Tensor:
        """Return the loss of the module's output."""
        with self._autocast(), self._around():
            output = self.module(*self.inputs, **self.keywords)
            return self._loss(output)

    def _autocast(self) -> AbstractContextManager[object]:
        if not self.workload.autocast:  # the meta device has none
            return nullcontext()
        return torch.autocast(self.device.type, self.dtype)

    def loss_of(self, output: Any) -> Tensor:
        """Return the loss of the module's output; see `vitprof.captured.step.loss_of`."""
        return loss_of(output, self.labels, classifies=self.model.classifies)

    def _backward(self, loss: Tensor) -> None:
        # Blocks are recomputed in it, with the functions of the device.
        with self._around():
            torch.autograd.backward(loss)


def optimizer(module: nn.Module, workload: Workload) -> torch.optim.Optimizer:
    """Return the workload's optimizer of the trained parameters."""
    trained = _trained(module)
    if workload.optimizer == "lamb":
        return Lamb(trained, lr=1e-3)
    make: dict[str, Callable[..., torch.optim.Optimizer]] = {
        "sgd": partial(torch.optim.SGD, lr=1e-3),
        "momentum": partial(torch.optim.SGD, lr=1e-3, momentum=0.9),
        "adam": partial(torch.optim.Adam, lr=1e-3),
        "adamw": partial(torch.optim.AdamW, lr=1e-3),
    }
    kernel = workload.kernel
    return make[workload.optimizer](trained, foreach=kernel == "foreach", fused=kernel == "fused")


def _trained(module: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def _fill_buckets(module: nn.Module, *, view: bool) -> list[Tensor]:
    """Return buckets, with hooks that copy gradients into them when they are ready.

    Args:
        module: the model.
        view: replace the gradients by views of the buckets.
    """
    trained, made = _trained(module), []
    for places in buckets([parameter.nbytes for parameter in trained]):
        own = [trained[place] for place in places]
        bucket = torch.zeros(
            sum(one.numel() for one in own), dtype=own[0].dtype, device=own[0].device
        )
        parts = bucket.split([one.numel() for one in own])
        for parameter, part in zip(own, parts, strict=True):
            copy = partial(_copy, part.view_as(parameter), view=view)
            parameter.register_post_accumulate_grad_hook(copy)
        made.append(bucket)
    return made


def _copy(part: Tensor, parameter: Tensor, *, view: bool) -> None:
    assert parameter.grad is not None
    part.copy_(parameter.grad)
    if view:
        parameter.grad = part
