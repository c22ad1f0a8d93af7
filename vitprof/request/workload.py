"""How a model is trained or run: everything that memory and time depend on besides it."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass, replace
from typing import Any

from vitprof.values.options import Constraint, Options, Whole, choice, flag, whole

DTYPES = {"fp32": 4, "bf16": 2, "fp16": 2}  # name -> bytes of an element
DEVICES = ("cuda", "cpu")
OPTIMIZERS = ("sgd", "momentum", "adam", "adamw")
KERNELS = ("foreach", "fused", "loop")
BATCH = Whole("images at a time", maximum=1_000_000_000, grows=1_024)


@dataclass(frozen=True, kw_only=True)
class Workload(Options):
    """One step of training, or of inference, on a batch of images.

    A training step is a forward pass, a backward pass and a step of the optimizer, the
    gradients dropped before the next forward pass (`zero_grad(set_to_none=True)`).
    """

    device: str = choice(
        "cuda", names=DEVICES, help="whose kernels, and whose autocast, the step runs with"
    )
    batch: int = whole(1, maximum=BATCH.maximum, help=BATCH.help)
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

    def constraints(self) -> Iterator[Constraint]:
        yield Constraint(
            not (self.autocast and self.dtype == "fp32"),
            lambda: "autocast to fp32 changes nothing; give dtype bf16 or fp16 with it",
        )
        yield Constraint(
            not (self.inference and self.checkpoint),
            lambda: "inference keeps nothing to checkpoint; give one of the two",
        )


def take_workload(
    workload: Workload | None, options: dict[str, object], *, without: Container[str] = ()
) -> Workload:
    """The workload that is given, else one of the options that are its own.

    Args:
        workload: None makes one.
        options: by name; those of a workload that is made are taken out.
        without: options that are left where they are.

    Raises:
        SpecError: a value is wrong.
    """
    if workload is not None:
        return workload
    names = [name for name in Workload.declared() if name in options and name not in without]
    own: dict[str, Any] = {name: options.pop(name) for name in names}
    return Workload(**own)


def place_of(device: str | None, workload: Workload, *, measured: bool) -> tuple[str, Workload]:
    """The device that models are on, and the workload on it.

    Args:
        device: `cpu`, `cuda` or `cuda:1`; None for the CPU if something is measured there, and
            for that of the workload if not.
        workload: how models are trained or run.
        measured: if steps are run.

    Raises:
        SpecError: there is no such device.
    """
    place = device or ("cpu" if measured else workload.device)
    return place, replace(workload, device=place.partition(":")[0])
