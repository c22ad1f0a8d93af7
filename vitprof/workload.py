"""How a model is trained or run: everything that memory and time depend on besides it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from vitprof.options import Options, Rule, choice, flag, whole

DTYPES = {"fp32": 4, "bf16": 2, "fp16": 2}  # name -> bytes of an element
DEVICES = ("cuda", "cpu")
OPTIMIZERS = ("sgd", "momentum", "adam", "adamw")
KERNELS = ("foreach", "fused", "loop")


@dataclass(frozen=True, kw_only=True)
class Workload(Options):
    """One step of training, or of inference, on a batch of images.

    A training step is a forward pass, a backward pass and a step of the optimizer, the
    gradients dropped before the next forward pass (`zero_grad(set_to_none=True)`).
    """

    device: str = choice(
        "cuda", names=DEVICES, help="whose kernels, and whose autocast, the step runs with"
    )
    batch: int = whole(1, maximum=1_000_000_000, help="images at a time")
    dtype: str = choice("fp32", names=tuple(DTYPES), help="of weights and activations")
    autocast: bool = flag(
        False, help="weights in fp32, contractions in --dtype (mixed precision by autocast)"
    )
    optimizer: str = choice("adamw", names=OPTIMIZERS, help="what updates the weights")
    kernel: str = choice(
        "foreach", names=KERNELS, help="how the optimizer goes through the tensors"
    )
    checkpoint: bool = flag(
        False, help="keep only each block's input, and run the block again in the backward pass"
    )
    inference: bool = flag(False, help="a forward pass in eval mode, without gradients")

    def rules(self) -> Iterator[Rule]:
        yield Rule(
            not (self.autocast and self.dtype == "fp32"),
            lambda: "autocast to fp32 changes nothing; give dtype bf16 or fp16 with it",
        )
        yield Rule(
            not (self.inference and self.checkpoint),
            lambda: "inference keeps nothing to checkpoint; give one of the two",
        )
