"""One step of training or inference, as it is run, traced and timed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from vitprof.allocation.buckets import buckets
from vitprof.modules.block import Block
from vitprof.modules.drop_path import DropPath
from vitprof.running.lamb import Lamb

if TYPE_CHECKING:
    from vitprof.request.workload import Workload
    from vitprof.subject import Subject

Phase = Callable[[str], AbstractContextManager[None]]

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def _unwatched(name: str) -> AbstractContextManager[None]:
    return nullcontext()


class Step:
    """Model with its optimizer and its inputs on a device; a call runs one step.

    With DistributedDataParallel's buckets no process group is started: the step allocates the
    same tensors and copies the gradients of every batch into them, but reduces nothing.

    Args:
        model: model that is trained or run.
        workload: batch, dtypes, optimizer and the like.
        device: device of the model and its inputs.
        around: makes a context manager for the model's forward pass.

    Attributes:
        module: the torch model.
        optimizer: None in inference.
    """

    def __init__(
        self,
        model: Subject,
        workload: Workload,
        *,
        device: str,
        around: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self.model = model
        self.workload = workload
        self._around = around
        self.device = torch.device(device)
        self.dtype = DTYPES[workload.dtype]
        weights = torch.float32 if workload.autocast else self.dtype
        self.module = model.build(device=device, dtype=weights).train(not workload.inference)
        if workload.ddp != "none":
            _fill_buckets(self.module, view=workload.ddp == "view")
        self.inputs = model.inputs(workload.batch, device=device, dtype=weights)
        self.labels = torch.zeros(workload.batch, dtype=torch.int64, device=device)
        self.optimizer = None if workload.inference else optimizer(self.module, workload)
        if workload.checkpoint:
            for submodule in self.module.modules():
                if isinstance(submodule, Block):
                    submodule.forward = partial(  # type: ignore[method-assign]
                        checkpoint,
                        submodule.forward,
                        use_reentrant=False,
                        preserve_rng_state=_draws(submodule),
                        context_fn=lambda: (nullcontext(), around()),
                    )

    def __call__(self, phase: Phase = _unwatched) -> None:
        """Run one step, each part of it within `phase(name)`."""
        if self.optimizer is None:
            with phase("forward"), torch.no_grad():
                self.forward()
            return
        self.optimizer.zero_grad(set_to_none=not self.workload.keep_gradients)
        for _ in range(self.workload.accumulate - 1):
            self.forward().backward()
        with phase("forward"):
            loss = self.forward()
        with phase("backward"):
            loss.backward()
        del loss
        with phase("optimizer"):
            if self.workload.clip:
                foreach = self.workload.kernel != "loop"
                nn.utils.clip_grad_norm_(self.module.parameters(), 1.0, foreach=foreach)
            self.optimizer.step()

    def forward(self) -> Tensor:
        """Return the loss: the model's own, cross entropy of logits, or the mean of the output."""
        autocast = torch.autocast(self.device.type, self.dtype, enabled=self.workload.autocast)
        with autocast, self._around():
            output = self.module(*self.inputs)
            if isinstance(output, tuple):
                loss = output[0]
            elif self.model.classifies:
                loss = F.cross_entropy(output, self.labels)
            else:
                loss = output.mean()
        assert isinstance(loss, Tensor)
        return loss


def _draws(block: nn.Module) -> bool:
    """Return True if a block draws random numbers, which its recomputation has to draw again."""
    return any(isinstance(part, nn.Dropout | DropPath) for part in block.modules())


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


def _fill_buckets(module: nn.Module, *, view: bool) -> None:
    """Register hooks that copy gradients into buckets when they are ready.

    Args:
        module: the model.
        view: replace the gradients by views of the buckets.
    """
    trained = _trained(module)
    for places in buckets([parameter.nbytes for parameter in trained]):
        own = [trained[place] for place in places]
        bucket = torch.zeros(
            sum(one.numel() for one in own), dtype=own[0].dtype, device=own[0].device
        )
        parts = bucket.split([one.numel() for one in own])
        for parameter, part in zip(own, parts, strict=True):
            copy = partial(_copy, part.view_as(parameter), view=view)
            parameter.register_post_accumulate_grad_hook(copy)


def _copy(part: Tensor, parameter: Tensor, *, view: bool) -> None:
    assert parameter.grad is not None
    part.copy_(parameter.grad)
    if view:
        parameter.grad = part
