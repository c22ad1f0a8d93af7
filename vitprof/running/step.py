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

from vitprof.modules.block import Block

if TYPE_CHECKING:
    from vitprof.request.workload import Workload
    from vitprof.subject import Subject

Phase = Callable[[str], AbstractContextManager[None]]

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def _unwatched(name: str) -> AbstractContextManager[None]:
    return nullcontext()


class Step:
    """A model with its optimizer and its inputs on a device; calling it makes one step.

    Args:
        model: what is trained or run.
        workload: how.
        device: where.
        around: makes a context for the model's forward pass.

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
                        preserve_rng_state=False,  # there is nothing random in a block
                        context_fn=lambda: (nullcontext(), around()),
                    )

    def __call__(self, phase: Phase = _unwatched) -> None:
        """Make one step, each part of it within `phase(name)`."""
        if self.optimizer is None:
            with phase("forward"), torch.no_grad():
                self.forward()
            return
        self.optimizer.zero_grad(set_to_none=True)
        with phase("forward"):
            loss = self.forward()
        with phase("backward"):
            loss.backward()
        del loss
        with phase("optimizer"):
            self.optimizer.step()

    def forward(self) -> Tensor:
        """The loss: the model's own, cross entropy of logits, or the mean of all."""
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


def optimizer(module: nn.Module, workload: Workload) -> torch.optim.Optimizer:
    """The workload's optimizer of the trained parameters."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    make: dict[str, Callable[..., torch.optim.Optimizer]] = {
        "sgd": partial(torch.optim.SGD, lr=1e-3),
        "momentum": partial(torch.optim.SGD, lr=1e-3, momentum=0.9),
        "adam": partial(torch.optim.Adam, lr=1e-3),
        "adamw": partial(torch.optim.AdamW, lr=1e-3),
    }
    kernel = workload.kernel
    return make[workload.optimizer](trained, foreach=kernel == "foreach", fused=kernel == "fused")
